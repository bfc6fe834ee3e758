"""The map of managers: which one is active, and where; clients send it the commands that monitors don't answer.

Most of a real one is the catalogue of its modules, which clients have no use for: it is skipped. What is written is
the map of a cluster without modules, with or without an active manager.

Source: Ceph's mon/MgrMap.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .address import AddrVec, EntityAddr, decode_addrvec, encode_addrvec, msgr2_address
from .encoding import Buffer, Decoder, Encoder
from .map_fields import refuse_older

OLDEST, NEWEST = 6, 13
WRITTEN = 12
COMPAT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class MgrMap:
    """One epoch."""

    epoch: int = 1
    active_addrs: AddrVec = ()
    active_gid: int = 0
    """Global id of the active manager; 0 if there is none."""
    available: bool = False
    """Whether it serves already."""
    active_name: str = ""
    standbys: dict[int, str] = field(default_factory=dict)
    """Names of the managers that wait, by global id."""

    @property
    def address(self) -> EntityAddr | None:
        """Where the active manager takes commands by msgr2, None if nowhere."""
        return msgr2_address(self.active_addrs) if self.available else None


def encode_mgrmap(mgrmap: MgrMap) -> bytes:
    """The map without modules, services and standbys."""
    encoder = Encoder()
    with encoder.versioned(WRITTEN, COMPAT):
        encoder.u32(mgrmap.epoch)
        encode_addrvec(encoder, mgrmap.active_addrs)
        encoder.u64(mgrmap.active_gid)
        encoder.bool(mgrmap.available)
        encoder.str(mgrmap.active_name)
        encoder.u32(0)  # standbys
        encoder.u32(0)  # enabled modules
        encoder.u32(0)  # services
        encoder.u32(0)  # modules there are
        encoder.utime(0)  # since when it is active
        encoder.u32(0)  # modules that are always on
        encoder.u64(0)  # the active manager's features
        encoder.u32(0)  # the OSD map's epoch when the last one failed
        encoder.u32(0)  # addresses of its clients
        encoder.u32(0)  # names of its clients
    return encoder.bytes()


def decode_mgrmap(data: Buffer) -> MgrMap:
    """What a client needs of the map. Raises PeerError."""
    decoder = Decoder(data)
    with decoder.versioned(NEWEST) as version:
        refuse_older("a manager map", version, OLDEST)
        epoch, addrs, gid = decoder.u32(), decode_addrvec(decoder), decoder.u64()
        available, name = decoder.bool(), decoder.str()
        standbys = decoder.map(decoder.u64, lambda: _decode_standby(decoder))
    return MgrMap(
        epoch=epoch,
        active_addrs=addrs,
        active_gid=gid,
        available=available,
        active_name=name,
        standbys=standbys,
    )


def _decode_standby(decoder: Decoder) -> str:
    """StandbyInfo: its global id again, its name, and a catalogue of modules."""
    with decoder.versioned(4):
        decoder.u64()
        return decoder.str()
