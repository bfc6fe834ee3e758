"""An increment: what one epoch of the OSD map changed, and its bytes.

Monitors send these instead of full maps to whoever has the epoch before. Fields that change nothing have a value that
says so: empty, -1, -1.0 or 255. `osdmap_apply.py` makes the next map from them.

Source: Ceph's osd/OSDMap.h (`OSDMap::Incremental`), OSDMap.cc.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from . import features as feature
from .address import AddrVec, EntityAddr
from .encoding import Buffer, Decoder, Encoder
from .intervals import IntervalSet
from .map_fields import (
    ADDRS,
    BLOCKLIST,
    F32,
    OSD_ADDRVECS,
    OSD_U32,
    PG_OSD,
    PG_OSDS,
    PG_PAIRS,
    PG_SET,
    Field,
    dict_of,
    read_fields,
    refuse_older,
    set_of,
    tuple_of,
    write_fields,
)
from .names import FSID
from .osdmap import OsdXInfo, StretchMode
from .osdmap_codec import (
    POOL_NAMES,
    POOL_SNAPS,
    PROFILES,
    WRAPPER,
    WRAPPER_COMPAT,
    XINFO,
    check_features,
    checksum,
    open_wrapper,
    pools_codec,
    verify_crc,
)
from .pool import PgPool
from .structure import BLOB, I32, I64, STR, U8, U32, U64, UTIME, Codec
from .types import PgId

NEWEST_CLIENT, OLDEST_CLIENT = 9, 5
NEWEST_OSD, OLDEST_OSD = 12, 6
NO_RELEASE: Final = 255


class StretchChange(NamedTuple):
    """Whether the stretch mode changes, and to what."""

    change: bool = False
    bucket_count: int = 0
    degraded: int = 0
    recovering: int = 0
    bucket_type: int = 0
    enabled: bool = False

    @property
    def mode(self) -> StretchMode:
        """What it is afterwards."""
        return StretchMode(self.enabled, self.bucket_count, self.degraded, self.recovering, self.bucket_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incremental:
    """The changes from the epoch before to `epoch`; fields are named as what they change, with `new_` or `old_`."""

    fsid: UUID
    epoch: int
    modified_ns: int = 0
    new_pool_max: int = -1
    new_flags: int = -1
    fullmap: bytes = b""
    """If there is one: the whole map of this epoch, and nothing else counts."""
    crush: bytes = b""
    """The whole new CRUSH map, encoded."""
    new_max_osd: int = -1
    new_pools: dict[int, PgPool] = field(default_factory=dict)
    new_pool_names: dict[int, str] = field(default_factory=dict)
    old_pools: tuple[int, ...] = ()
    new_up_client: dict[int, AddrVec] = field(default_factory=dict)
    """OSDs that came up, and where clients reach them."""
    new_state: dict[int, int] = field(default_factory=dict)
    """Bits of each OSD's state that toggle; 0 stands for `up`."""
    new_weight: dict[int, int] = field(default_factory=dict)
    new_pg_temp: dict[PgId, tuple[int, ...]] = field(default_factory=dict)
    """An empty list removes the entry."""
    new_primary_temp: dict[PgId, int] = field(default_factory=dict)
    """-1 removes the entry."""
    new_primary_affinity: dict[int, int] = field(default_factory=dict)
    new_erasure_code_profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    old_erasure_code_profiles: tuple[str, ...] = ()
    new_pg_upmap: dict[PgId, tuple[int, ...]] = field(default_factory=dict)
    old_pg_upmap: tuple[PgId, ...] = ()
    new_pg_upmap_items: dict[PgId, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    old_pg_upmap_items: tuple[PgId, ...] = ()
    new_removed_snaps: dict[int, IntervalSet] = field(default_factory=dict)
    new_purged_snaps: dict[int, IntervalSet] = field(default_factory=dict)
    new_last_up_change_ns: int = 0
    new_last_in_change_ns: int = 0
    new_pg_upmap_primaries: dict[PgId, int] = field(default_factory=dict)
    old_pg_upmap_primaries: tuple[PgId, ...] = ()
    # the section for OSDs
    new_hb_back_up: dict[int, AddrVec] = field(default_factory=dict)
    new_up_thru: dict[int, int] = field(default_factory=dict)
    new_last_clean_interval: dict[int, tuple[int, int]] = field(default_factory=dict)
    new_lost: dict[int, int] = field(default_factory=dict)
    new_blocklist: dict[EntityAddr, int] = field(default_factory=dict)
    old_blocklist: tuple[EntityAddr, ...] = ()
    new_up_cluster: dict[int, AddrVec] = field(default_factory=dict)
    cluster_snapshot: str = ""
    new_uuid: dict[int, UUID] = field(default_factory=dict)
    new_xinfo: dict[int, OsdXInfo] = field(default_factory=dict)
    new_hb_front_up: dict[int, AddrVec] = field(default_factory=dict)
    encode_features: int = 0
    """Features with which this and the full map that results were encoded."""
    new_nearfull_ratio: float = -1.0
    new_full_ratio: float = -1.0
    new_backfillfull_ratio: float = -1.0
    new_require_min_compat_client: int = NO_RELEASE
    new_require_osd_release: int = NO_RELEASE
    new_crush_node_flags: dict[int, int] = field(default_factory=dict)
    """0 removes the entry, as for device classes."""
    new_device_class_flags: dict[int, int] = field(default_factory=dict)
    stretch: StretchChange = StretchChange()
    new_range_blocklist: dict[EntityAddr, int] = field(default_factory=dict)
    old_range_blocklist: tuple[EntityAddr, ...] = ()
    mutate_allow_crimson: int = 0
    """1 allows, 2 forbids."""
    full_crc: int = 0
    """Checksum that the resulting full map has if it is encoded with `encode_features`; 0 if it is not known."""


_SPAN = struct.Struct("<II")
_STRETCH = struct.Struct("<?IIIi?")
_INTERVAL: Codec[tuple[int, int]] = Codec(
    lambda encoder, span: encoder.raw(_SPAN.pack(*span)), lambda decoder: (decoder.u32(), decoder.u32())
)
_STRETCH_CHANGE: Codec[StretchChange] = Codec(
    lambda encoder, change: encoder.raw(_STRETCH.pack(*change)),
    lambda decoder: StretchChange(*_STRETCH.unpack(decoder.raw(_STRETCH.size))),
)


def client_fields(features: int = feature.SUPPORTED) -> tuple[Field, ...]:
    """The client section; what pools look like depends on the features (when writing)."""
    return (
        Field("fsid", FSID),
        Field("epoch", U32),
        Field("modified_ns", UTIME),
        Field("new_pool_max", I64),
        Field("new_flags", I32),
        Field("fullmap", BLOB),
        Field("crush", BLOB),
        Field("new_max_osd", I32),
        Field("new_pools", pools_codec(features)),
        Field("new_pool_names", POOL_NAMES),
        Field("old_pools", set_of(I64)),
        Field("new_up_client", OSD_ADDRVECS),
        Field("new_state", OSD_U32),
        Field("new_weight", OSD_U32),
        Field("new_pg_temp", PG_OSDS),
        Field("new_primary_temp", PG_OSD),
        Field("new_primary_affinity", OSD_U32),
        Field("new_erasure_code_profiles", PROFILES),
        Field("old_erasure_code_profiles", tuple_of(STR)),
        Field("new_pg_upmap", PG_OSDS),
        Field("old_pg_upmap", PG_SET),
        Field("new_pg_upmap_items", PG_PAIRS),
        Field("old_pg_upmap_items", PG_SET),
        Field("new_removed_snaps", POOL_SNAPS, 6),
        Field("new_purged_snaps", POOL_SNAPS, 6),
        Field("new_last_up_change_ns", UTIME, 8),
        Field("new_last_in_change_ns", UTIME, 8),
        Field("new_pg_upmap_primaries", PG_OSD, 9),
        Field("old_pg_upmap_primaries", PG_SET, 9),
    )


_CLIENT_FIELDS: Final = client_fields()
_client_fields_for = lru_cache(maxsize=8)(client_fields)

OSD_FIELDS: Final = (
    Field("new_hb_back_up", OSD_ADDRVECS),
    Field("new_up_thru", OSD_U32),
    Field("new_last_clean_interval", dict_of(I32, _INTERVAL)),
    Field("new_lost", OSD_U32),
    Field("new_blocklist", BLOCKLIST),
    Field("old_blocklist", ADDRS),
    Field("new_up_cluster", OSD_ADDRVECS),
    Field("cluster_snapshot", STR),
    Field("new_uuid", dict_of(I32, FSID)),
    Field("new_xinfo", dict_of(I32, XINFO)),
    Field("new_hb_front_up", OSD_ADDRVECS),
    Field("encode_features", U64),
    Field("new_nearfull_ratio", F32),
    Field("new_full_ratio", F32),
    Field("new_backfillfull_ratio", F32),
    Field("new_require_min_compat_client", U8),
    Field("new_require_osd_release", U8),
    Field("new_crush_node_flags", OSD_U32, 8),
    Field("new_device_class_flags", OSD_U32, 9),
    Field("stretch", _STRETCH_CHANGE, 10),
    Field("new_range_blocklist", BLOCKLIST, 11),
    Field("old_range_blocklist", ADDRS, 11),
    Field("mutate_allow_crimson", U8, 12),
)


def decode_incremental(data: Buffer) -> Incremental:
    """An increment from its bytes. Raises PeerError, also if the checksum is wrong."""
    decoder = Decoder(data)
    with open_wrapper(decoder, "an OSD map's increment") as version:
        with decoder.versioned(NEWEST_CLIENT) as client:
            refuse_older("an increment's client section", client, OLDEST_CLIENT)
            values = read_fields(decoder, _CLIENT_FIELDS, client)
        with decoder.versioned(NEWEST_OSD) as osd:
            refuse_older("an increment's OSD section", osd, OLDEST_OSD)
            values |= read_fields(decoder, OSD_FIELDS, osd)
        if version >= WRAPPER:
            verify_crc(decoder, data, "an OSD map's increment")
            values["full_crc"] = decoder.u32()
    return Incremental(**values)


_HEAD = struct.Struct("<BBI")
_CRC = struct.Struct("<I")


def encode_incremental(change: Incremental, features: int = feature.SUPPORTED) -> bytes:
    """An increment for peers with these features. Raises UsageError for peers older than Nautilus."""
    check_features(features)
    encoder = Encoder()
    version = 9 if feature.has(features, feature.SERVER_REEF) else 8
    with encoder.versioned(version, 1):
        write_fields(encoder, _client_fields_for(features), version, change)
    version = _osd_section_version(change)
    with encoder.versioned(version, 1):
        write_fields(encoder, OSD_FIELDS, version, change)
    sections = encoder.bytes()
    head = _HEAD.pack(WRAPPER, WRAPPER_COMPAT, len(sections) + 2 * _CRC.size)
    full_crc = _CRC.pack(change.full_crc)
    return b"".join((head, sections, _CRC.pack(checksum((head, sections, full_crc))), full_crc))


def _osd_section_version(change: Incremental) -> int:
    """Later layouts are used only where they are needed."""
    if change.mutate_allow_crimson:
        return 12
    if change.new_range_blocklist or change.old_range_blocklist:
        return 11
    return 10 if change.stretch.change else 9
