"""The full OSD map as bytes: a wrapper around a section for clients, one for OSDs, and a checksum over both.

Each section is a table of fields with the version that brought them. Maps are read from Luminous' layout on, and
written as Nautilus or Reef do; a client section without later fields is the same map without what they could say.

Source: Ceph's osd/OSDMap.cc (encode, decode), osd/osd_types.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from . import features as feature
from .crc import ceph_crc32c
from .crush.map import CrushMap, decode_crush, encode_crush
from .encoding import NS_PER_S, TIME_MAX_NS, Buffer, Decoder, Encoder
from .errors import PeerError, UsageError
from .intervals import INTERVALS
from .map_fields import (
    ADDRVECS,
    BLOCKLIST,
    F32,
    OSD_U32,
    PG_OSD,
    PG_OSDS,
    PG_PAIRS,
    U32S,
    Field,
    counted,
    dict_of,
    read_fields,
    refuse_older,
    string_order,
    write_fields,
)
from .names import FSID
from .osdmap import OsdInfo, OSDMap, OsdOnly, OsdXInfo, StretchMode
from .pool import PgPool
from .pool_codec import decode_pool, encode_pool
from .structure import BOOL, I32, I64, STR, U8, U32, UTIME, Codec

WRAPPER: Final = 8
WRAPPER_COMPAT: Final = 7
CRC_SEED: Final = 0xFFFFFFFF
NEWEST_CLIENT, OLDEST_CLIENT = 10, 6
NEWEST_OSD, OLDEST_OSD = 12, 5

# the parts of sections

_INFO = struct.Struct("<B6I")


def _encode_infos(encoder: Encoder, infos: list[OsdInfo]) -> None:
    encoder.u32(len(infos))
    for info in infos:
        encoder.raw(_INFO.pack(1, *info))


def _decode_infos(decoder: Decoder) -> list[OsdInfo]:
    count = counted(decoder, _INFO.size, "OSDs")
    infos = []
    for version, *epochs in _INFO.iter_unpack(decoder.raw(count * _INFO.size)):
        if version != 1:
            raise PeerError(f"an osd_info has version {version}, not 1")
        infos.append(OsdInfo(*epochs))
    return infos


OSD_INFOS: Codec[list[OsdInfo]] = Codec(_encode_infos, _decode_infos)

_XINFO_4 = struct.Struct("<BBIIIIIQIIII")
_XINFO_SIZE = 40


def encode_xinfo(encoder: Encoder, info: OsdXInfo) -> None:
    """osd_xinfo_t, as Octopus and later write it."""
    with encoder.versioned(4, 1):
        encoder.utime(info.down_stamp_ns)
        encoder.u32(info.laggy_probability)
        encoder.u32(info.laggy_interval)
        encoder.u64(info.features)
        encoder.u32(info.old_weight)
        encoder.utime(info.last_purged_snaps_scrub_ns)
        encoder.u32(info.dead_epoch)


def decode_xinfo(decoder: Decoder) -> OsdXInfo:
    """osd_xinfo_t. Raises PeerError."""
    data, position, end = decoder.window()
    if end - position >= _XINFO_4.size:  # nearly always this layout
        version, compat, size, down_s, down_ns, laggy, interval, bits, weight, scrub_s, scrub_ns, dead = (
            _XINFO_4.unpack_from(data, position)
        )
        if version == 4 and compat == 1 and size == _XINFO_SIZE:
            decoder.skip_to(position + _XINFO_4.size)
            down_stamp = min(down_s * NS_PER_S + down_ns, TIME_MAX_NS)
            scrub = min(scrub_s * NS_PER_S + scrub_ns, TIME_MAX_NS)
            return OsdXInfo(down_stamp, laggy, interval, bits, weight, scrub, dead)
    with decoder.versioned(4) as version:
        down_stamp, laggy, interval = decoder.utime(), decoder.u32(), decoder.u32()
        bits = decoder.u64() if version >= 2 else 0
        weight = decoder.u32() if version >= 3 else 0
        scrub, dead = (decoder.utime(), decoder.u32()) if version >= 4 else (0, 0)
    return OsdXInfo(down_stamp, laggy, interval, bits, weight, scrub, dead)


def _decode_xinfos(decoder: Decoder) -> list[OsdXInfo]:
    return [decode_xinfo(decoder) for _ in range(counted(decoder, 6, "OSDs"))]


XINFO: Codec[OsdXInfo] = Codec(encode_xinfo, decode_xinfo)
OSD_XINFOS: Codec[list[OsdXInfo]] = Codec(
    lambda encoder, infos: encoder.list(infos, lambda info: encode_xinfo(encoder, info)), _decode_xinfos
)
OSD_UUIDS: Codec[list[Any]] = Codec(
    lambda encoder, ids: encoder.list(ids, lambda value: encoder.raw(value.bytes)),
    lambda decoder: [FSID.decode(decoder) for _ in range(counted(decoder, 16, "OSD ids"))],
)

_STRETCH = struct.Struct("<?IIIi")


def _encode_stretch(encoder: Encoder, mode: StretchMode) -> None:
    encoder.raw(_STRETCH.pack(*mode))


STRETCH: Codec[StretchMode] = Codec(
    _encode_stretch, lambda decoder: StretchMode(*_STRETCH.unpack(decoder.raw(_STRETCH.size)))
)

POOL_SNAPS = dict_of(I64, INTERVALS)
POOL_NAMES = dict_of(I64, STR)
PROFILES = dict_of(STR, dict_of(STR, STR, string_order), string_order)


def crush_codec(features: int) -> Codec[CrushMap]:
    """A CRUSH map as a blob."""
    return Codec(
        lambda encoder, crush: encoder.blob(encode_crush(crush, features)), lambda decoder: decode_crush(decoder.blob())
    )


def pools_codec(features: int) -> Codec[dict[int, PgPool]]:
    """Pools by number."""
    pool: Codec[PgPool] = Codec(lambda encoder, value: encode_pool(encoder, value, features), decode_pool)
    return dict_of(I64, pool)


# the sections

_ANY_FEATURES: Final = feature.SUPPORTED


def client_fields(features: int = _ANY_FEATURES) -> tuple[Field, ...]:
    """The client section; what pools and the CRUSH map look like depends on the features (when writing)."""
    return (
        Field("fsid", FSID),
        Field("epoch", U32),
        Field("created_ns", UTIME),
        Field("modified_ns", UTIME),
        Field("pools", pools_codec(features)),
        Field("pool_names", POOL_NAMES),
        Field("pool_max", I32),
        Field("flags", U32),
        Field("max_osd", I32),
        Field("osd_state", U32S),
        Field("osd_weight", U32S),
        Field("client_addrs", ADDRVECS),
        Field("pg_temp", PG_OSDS),
        Field("primary_temp", PG_OSD),
        Field("primary_affinity", U32S),
        Field("crush", crush_codec(features)),
        Field("erasure_code_profiles", PROFILES),
        Field("pg_upmap", PG_OSDS),
        Field("pg_upmap_items", PG_PAIRS),
        Field("crush_version", U32),
        Field("new_removed_snaps", POOL_SNAPS, 7),
        Field("new_purged_snaps", POOL_SNAPS, 7),
        Field("last_up_change_ns", UTIME, 9),
        Field("last_in_change_ns", UTIME, 9),
        Field("pg_upmap_primaries", PG_OSD, 10),
    )


_CLIENT_FIELDS: Final = client_fields()

OSD_FIELDS: Final = (
    Field("hb_back_addrs", ADDRVECS),
    Field("osd_info", OSD_INFOS),
    Field("blocklist", BLOCKLIST),
    Field("cluster_addrs", ADDRVECS),
    Field("cluster_snapshot_epoch", U32),
    Field("cluster_snapshot", STR),
    Field("osd_uuid", OSD_UUIDS),
    Field("osd_xinfo", OSD_XINFOS),
    Field("hb_front_addrs", ADDRVECS),
    Field("nearfull_ratio", F32),
    Field("full_ratio", F32),
    Field("backfillfull_ratio", F32),
    Field("require_min_compat_client", U8),
    Field("require_osd_release", U8),
    Field("removed_snaps_queue", POOL_SNAPS, 6),
    Field("crush_node_flags", OSD_U32, 8),
    Field("device_class_flags", OSD_U32, 9),
    Field("stretch", STRETCH, 10),
    Field("range_blocklist", BLOCKLIST, 11),
    Field("allow_crimson", BOOL, 12),
)

_VECTORS: Final = ("osd_state", "osd_weight", "client_addrs")
_OSD_VECTORS: Final = ("hb_back_addrs", "osd_info", "cluster_addrs", "osd_uuid", "osd_xinfo", "hb_front_addrs")


def checksum(parts: Iterable[Buffer]) -> int:
    """The crc of a map over its bytes, piece by piece."""
    crc = CRC_SEED
    for part in parts:
        crc = ceph_crc32c(crc, part)
    return crc


def decode_osdmap(data: Buffer) -> OSDMap:
    """A full map from its bytes. Raises PeerError, also if the checksum is wrong."""
    decoder = Decoder(data)
    with open_wrapper(decoder, "an OSD map") as version:
        with decoder.versioned(NEWEST_CLIENT) as client:
            refuse_older("an OSD map's client section", client, OLDEST_CLIENT)
            values = read_fields(decoder, _CLIENT_FIELDS, client)
        with decoder.versioned(NEWEST_OSD) as osd:
            refuse_older("an OSD map's OSD section", osd, OLDEST_OSD)
            osd_only = read_fields(decoder, OSD_FIELDS, osd)
        if version >= WRAPPER:
            verify_crc(decoder, data, "an OSD map")
    _check_sizes(values, osd_only)
    return OSDMap(**values, osd_only=OsdOnly(**osd_only))


def encode_osdmap(osdmap: OSDMap, features: int = feature.SUPPORTED) -> bytes:
    """A full map for peers with these features. Raises UsageError for peers older than Nautilus."""
    check_features(features)
    encoder = Encoder()
    version = 10 if feature.has(features, feature.SERVER_REEF) else 9
    with encoder.versioned(version, 1):
        write_fields(encoder, _client_fields_for(features), version, osdmap)
    version = osd_section_version(osdmap.osd_only)
    with encoder.versioned(version, 1):
        write_fields(encoder, OSD_FIELDS, version, osdmap.osd_only)
    return b"".join(close_wrapper(encoder.bytes()))


_client_fields_for = lru_cache(maxsize=8)(client_fields)


def osd_section_version(osd_only: OsdOnly) -> int:
    """Later layouts are used only by clusters that need them."""
    if osd_only.allow_crimson:
        return 12
    if osd_only.range_blocklist:
        return 11
    return 10 if osd_only.stretch.enabled else 9


def check_features(features: int) -> None:
    """Raises UsageError for a peer that can't read what is written here."""
    if not feature.has(features, feature.SERVER_NAUTILUS):
        raise UsageError(f"features {features:#x} are those of a peer older than Nautilus; maps are not written for it")


# the wrapper

_HEAD = struct.Struct("<BBI")
_CRC = struct.Struct("<I")


@contextmanager
def open_wrapper(decoder: Decoder, what: str) -> Iterator[int]:
    """Enter a map's outermost struct and yield its version. Raises PeerError for the forms before Firefly."""
    data, position, end = decoder.window()
    if end - position and data[position] < WRAPPER_COMPAT:
        raise PeerError(f"{what} has version {data[position]}, a form that is too old; {WRAPPER_COMPAT} is the oldest")
    with decoder.versioned(WRAPPER) as version:
        yield version


def close_wrapper(sections: bytes) -> tuple[bytes, bytes, bytes]:
    """A full map's bytes around its two sections: head, sections, and the checksum of these."""
    head = _HEAD.pack(WRAPPER, WRAPPER_COMPAT, len(sections) + _CRC.size)
    return head, sections, _CRC.pack(checksum((head, sections)))


def verify_crc(decoder: Decoder, data: Buffer, what: str) -> int:
    """Read the checksum of everything in `data` before it and after it in the struct. Raises PeerError."""
    _, position, end = decoder.window()
    whole = memoryview(data)
    found = decoder.u32()
    wanted = checksum((whole[:position], whole[position + _CRC.size : end]))
    if found != wanted:
        raise PeerError(f"{what} has checksum {found:#010x}; its bytes give {wanted:#010x}")
    return found


def _check_sizes(values: dict[str, Any], osd_only: dict[str, Any]) -> None:
    """Each vector has an entry for each OSD: whoever uses the map relies on it."""
    max_osd = values["max_osd"]
    vectors = chain(((name, values[name]) for name in _VECTORS), ((name, osd_only[name]) for name in _OSD_VECTORS))
    for name, vector in vectors:
        if len(vector) != max_osd:
            raise PeerError(f"an OSD map for {max_osd} OSDs has {len(vector)} entries of {name}")
    if values["primary_affinity"] and len(values["primary_affinity"]) != max_osd:
        raise PeerError(f"an OSD map for {max_osd} OSDs has {len(values['primary_affinity'])} primary affinities")
