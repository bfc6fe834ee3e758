"""The map of monitors: names, ranks and addresses; a client's second map, after the one in its configuration.

Ranks matter (they name monitors in messages), and so do all of a monitor's addresses, of which the msgr2 one is used.
Layouts 6 to 9 differ in what they have; 5 also has a list of legacy addresses, and 10 says which ciphers the
monitors' tickets use. A map is written as 9, or as 10 if it says that.

Source: Ceph's mon/MonMap.h, MonMap.cc; mon/mon_types.h (`mon_info_t`, `mon_feature_t`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from .address import AddrVec, EntityAddr, decode_addrvec, encode_addrvec, msgr2_address
from .encoding import Buffer, Decoder, Encoder
from .errors import PeerError
from .map_fields import (
    ADDR,
    Field,
    dict_of,
    read_fields,
    refuse_older,
    set_of,
    string_order,
    tuple_of,
    write_fields,
)
from .names import FSID
from .structure import BOOL, I32, STR, U8, U32, UTIME, Codec

NEWEST, OLDEST = 10, 5
CIPHER_AES = 1
CIPHER_AES256 = 2
MONITORS_MAX = 1024
"""Far more than the few that can agree in time."""


class Election:
    """Values of `MonMap.strategy`."""

    CLASSIC = 1
    DISALLOW = 2
    CONNECTIVITY = 3


class MonCiphers(NamedTuple):
    """Ciphers of the cluster's tickets: 1 is AES-128, 2 AES-256. The defaults hold where a map does not say."""

    auth_epoch: int = 0
    service: int = CIPHER_AES
    allowed: tuple[int, ...] = (CIPHER_AES, CIPHER_AES256)
    preferred: int = CIPHER_AES


@dataclass(frozen=True, slots=True)
class MonInfo:
    """One monitor."""

    name: str
    public_addrs: AddrVec
    priority: int = 0
    weight: int = 0
    crush_loc: dict[str, str] = field(default_factory=dict)
    time_added_ns: int | None = None
    """None where the map is too old to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonMap:
    """One epoch. Times are nanoseconds since the epoch."""

    fsid: UUID
    epoch: int
    last_changed_ns: int = 0
    created_ns: int = 0
    persistent_features: int = 0
    optional_features: int = 0
    mon_info: dict[str, MonInfo] = field(default_factory=dict)
    ranks: tuple[str, ...] = ()
    """Names by rank; each is in `mon_info`."""
    min_mon_release: int = 0
    removed_ranks: tuple[int, ...] = ()
    strategy: int = Election.CLASSIC
    disallowed_leaders: tuple[str, ...] = ()
    stretch_mode_enabled: bool = False
    tiebreaker_mon: str = ""
    stretch_marked_down_mons: tuple[str, ...] = ()
    ciphers: MonCiphers | None = None
    """None where the map does not say."""

    def addresses(self) -> list[tuple[str, int, EntityAddr]]:
        """Name, rank and msgr2 address of each monitor that has one, by rank."""
        found = []
        for rank, name in enumerate(self.ranks):
            addr = msgr2_address(self.mon_info[name].public_addrs)
            if addr is not None:
                found.append((name, rank, addr))
        return found

    def rank_of(self, name: str) -> int:
        """Rank of the monitor with that name, -1 if there is none."""
        return self.ranks.index(name) if name in self.ranks else -1


def _encode_features(encoder: Encoder, bits: int) -> None:
    with encoder.versioned(1, 1):
        encoder.u64(bits)


def _decode_features(decoder: Decoder) -> int:
    with decoder.versioned(1):
        return decoder.u64()


def _encode_info(encoder: Encoder, info: MonInfo) -> None:
    version = 5 if info.time_added_ns is None else 6
    with encoder.versioned(version, 1):
        encoder.str(info.name)
        encode_addrvec(encoder, info.public_addrs)
        encoder.u16(info.priority)
        encoder.u16(info.weight)
        _STRINGS.encode(encoder, info.crush_loc)
        if info.time_added_ns is not None:
            encoder.utime(info.time_added_ns)


def _decode_info(decoder: Decoder) -> MonInfo:
    with decoder.versioned(6) as version:
        name, addrs = decoder.str(), decode_addrvec(decoder)
        priority = decoder.u16() if version >= 2 else 0
        weight = decoder.u16() if version >= 4 else 0
        crush_loc = _STRINGS.decode(decoder) if version >= 5 else {}
        return MonInfo(name, addrs, priority, weight, crush_loc, decoder.utime() if version >= 6 else None)


_CIPHERS = tuple_of(I32)
_STRINGS = dict_of(STR, STR, string_order)
_NAMES = set_of(STR, string_order)


def _encode_ciphers(encoder: Encoder, ciphers: MonCiphers) -> None:
    encoder.u32(ciphers.auth_epoch)
    encoder.i32(ciphers.service)
    _CIPHERS.encode(encoder, tuple(sorted(ciphers.allowed)))
    encoder.i32(ciphers.preferred)


_FEATURES: Codec[int] = Codec(_encode_features, _decode_features)
_FIELDS = (
    Field("fsid", FSID),
    Field("epoch", U32),
    Field("legacy_addrs", dict_of(STR, ADDR, string_order), 0, 5),
    Field("last_changed_ns", UTIME),
    Field("created_ns", UTIME),
    Field("persistent_features", _FEATURES),
    Field("optional_features", _FEATURES),
    Field("mon_info", dict_of(STR, Codec(_encode_info, _decode_info), string_order)),
    Field("ranks", tuple_of(STR), 6),
    Field("min_mon_release", U8, 7),
    Field("removed_ranks", set_of(U32), 8),
    Field("strategy", U8, 8),
    Field("disallowed_leaders", _NAMES, 8),
    Field("stretch_mode_enabled", BOOL, 9),
    Field("tiebreaker_mon", STR, 9),
    Field("stretch_marked_down_mons", _NAMES, 9),
    Field(
        "ciphers",
        Codec(
            _encode_ciphers,
            lambda decoder: MonCiphers(decoder.u32(), decoder.i32(), _CIPHERS.decode(decoder), decoder.i32()),
        ),
        10,
    ),
)


def encode_monmap(monmap: MonMap) -> bytes:
    """The map for peers since Nautilus."""
    encoder = Encoder()
    version = 9 if monmap.ciphers is None else 10
    with encoder.versioned(version, 6):
        write_fields(encoder, _FIELDS, version, monmap)
    return encoder.bytes()


def decode_monmap(data: Buffer) -> MonMap:
    """A map from its bytes. Raises PeerError."""
    decoder = Decoder(data)
    _, position, end = decoder.window()
    if end - position:
        refuse_older("a monitor map", data[0], OLDEST)
    with decoder.versioned(NEWEST) as version:
        values = read_fields(decoder, _FIELDS, version)
    values.pop("legacy_addrs", None)
    infos: dict[str, MonInfo] = values["mon_info"]
    if version < 6:  # ranks were the order of addresses
        values["ranks"] = tuple(sorted(infos, key=lambda name: _by_address(infos[name].public_addrs)))
    ranks = values["ranks"]
    if len(ranks) > MONITORS_MAX or len(set(ranks)) != len(ranks) or not infos.keys() >= set(ranks):
        raise PeerError(f"a monitor map of {len(infos)} monitors has {len(ranks)} ranks, not all of them theirs")
    return MonMap(**values)


def _by_address(addrs: AddrVec) -> tuple[tuple[int, bytes, bytes], ...]:
    return tuple((addr.type, addr.nonce.to_bytes(4, "little"), addr.sockaddr) for addr in addrs)
