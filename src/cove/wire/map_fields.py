"""What the cluster's maps are written with: tables of fields by version, and codecs for the types that only maps have.

A section of a map is a list of fields, each of which exists from some version on. `Field` says so, and `read_fields`
and `write_fields` go through such a table: the layouts of pools, monitor maps, OSD maps and their increments are data.

Vectors with one entry for each OSD are most of a big map; their codecs read them in bulk.

Source: Ceph's include/encoding.h, osd/osd_types.h, msg/msg_types.h; doc/dev/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from .address import AddrVec, EntityAddr, decode_addr, decode_addrvec, encode_addr, encode_addrvec
from .encoding import Decoder, Encoder, encode_text
from .errors import PeerError, UsageError
from .names import decode_pg, encode_pg
from .structure import I32, U32, UTIME, Codec
from .types import PgId

T = TypeVar("T")
K = TypeVar("K")

OSDS_MAX = 65536
"""Far above the largest clusters; a map that claims more is refused before anything is made for it."""


class Field(NamedTuple):
    """One field of a section: the attribute's name, how it is written, and the version that brought it."""

    name: str
    codec: Codec[Any]
    since: int = 0
    until: int = 255
    """Last version that has it."""


def read_fields(decoder: Decoder, fields: Iterable[Field], version: int) -> dict[str, Any]:
    """The fields that a section of that version has, by name. Raises PeerError."""
    return {field.name: field.codec.decode(decoder) for field in fields if field.since <= version <= field.until}


def write_fields(encoder: Encoder, fields: Iterable[Field], version: int, values: object) -> None:
    """Append the fields that a section of that version has, from the attributes of `values`. Raises UsageError."""
    for field in fields:
        if field.since <= version <= field.until:
            try:
                field.codec.encode(encoder, getattr(values, field.name))
            except struct.error as problem:
                raise UsageError(f"{field.name}: {problem}") from None


def refuse_older(what: str, version: int, oldest: int) -> None:
    """Raises PeerError for a layout that only releases long gone write."""
    if version < oldest:
        raise PeerError(f"{what} has version {version}; {oldest} is the oldest that is understood")


# numbers and containers

_F32 = struct.Struct("<f")
_F64 = struct.Struct("<d")


def _struct_codec(layout: struct.Struct) -> Codec[float]:
    return Codec(
        lambda encoder, value: encoder.raw(layout.pack(value)),
        lambda decoder: float(layout.unpack(decoder.raw(layout.size))[0]),
    )


F32 = _struct_codec(_F32)
F64 = _struct_codec(_F64)


def counted(decoder: Decoder, least_bytes: int, what: str) -> int:
    """A count that is believed only if there are `least_bytes` for each item. Raises PeerError."""
    count = decoder.u32()
    if count * least_bytes > decoder.remaining:
        raise PeerError(f"{count} {what} in {decoder.remaining} bytes")
    return count


def tuple_of(item: Codec[T]) -> Codec[tuple[T, ...]]:
    """u32 count and the items, in the order given."""

    def encode(encoder: Encoder, items: tuple[T, ...]) -> None:
        encoder.u32(len(items))
        for value in items:
            item.encode(encoder, value)

    def decode(decoder: Decoder) -> tuple[T, ...]:
        return tuple([item.decode(decoder) for _ in range(counted(decoder, 1, "items"))])

    return Codec(encode, decode)


def set_of(item: Codec[T], key: Callable[[T], Any] | None = None) -> Codec[tuple[T, ...]]:
    """A set as a tuple: u32 count and the items in ascending order (of `key`)."""
    plain = tuple_of(item)
    order: Callable[[Any], Any] = key or _identity
    return Codec(lambda encoder, items: plain.encode(encoder, tuple(sorted(set(items), key=order))), plain.decode)


def _identity(value: Any) -> Any:
    return value


def dict_of(key: Codec[K], value: Codec[T], order: Callable[[K], Any] | None = None) -> Codec[dict[K, T]]:
    """u32 count, then keys and values in ascending order of the keys."""
    sort_key: Callable[[Any], Any] = order or _identity

    def encode(encoder: Encoder, items: Mapping[K, T]) -> None:
        encoder.u32(len(items))
        for k in sorted(items, key=sort_key):
            key.encode(encoder, k)
            value.encode(encoder, items[k])

    def decode(decoder: Decoder) -> dict[K, T]:
        read_key, read_value = key.decode, value.decode
        return {read_key(decoder): read_value(decoder) for _ in range(counted(decoder, 1, "entries"))}

    return Codec(encode, decode)


def string_order(text: str) -> bytes:
    """Strings are ordered by their bytes."""
    return encode_text(text)


# placement groups

_I32S = [struct.Struct(f"<{count}i") for count in range(32)]


PG: Codec[PgId] = Codec(encode_pg, decode_pg)


def _encode_osds(encoder: Encoder, osds: tuple[int, ...]) -> None:
    encoder.u32(len(osds))
    encoder.raw(struct.pack(f"<{len(osds)}i", *osds))


def _decode_osds(decoder: Decoder) -> tuple[int, ...]:
    count = counted(decoder, 4, "OSD numbers")
    layout = _I32S[count] if count < len(_I32S) else struct.Struct(f"<{count}i")
    return layout.unpack(decoder.raw(layout.size))


OSDS: Codec[tuple[int, ...]] = Codec(_encode_osds, _decode_osds)
"""A list of OSD numbers."""


def _encode_pairs(encoder: Encoder, pairs: tuple[tuple[int, int], ...]) -> None:
    encoder.u32(len(pairs))
    for before, after in pairs:
        encoder.i32(before)
        encoder.i32(after)


_PAIR = struct.Struct("<ii")


def _decode_pairs(decoder: Decoder) -> tuple[tuple[int, int], ...]:
    count = counted(decoder, _PAIR.size, "pairs of OSD numbers")
    return tuple(_PAIR.iter_unpack(decoder.raw(count * _PAIR.size)))


OSD_PAIRS: Codec[tuple[tuple[int, int], ...]] = Codec(_encode_pairs, _decode_pairs)
"""A list of (instead of this OSD, that one)."""

PG_OSDS = dict_of(PG, OSDS)
PG_OSD = dict_of(PG, I32)
PG_PAIRS = dict_of(PG, OSD_PAIRS)
PG_SET = set_of(PG)

# addresses

ADDR: Codec[EntityAddr] = Codec(encode_addr, decode_addr)
ADDRVEC: Codec[AddrVec] = Codec(encode_addrvec, decode_addrvec)


def addr_order(addr: EntityAddr) -> bytes:
    """Addresses are ordered by their bytes in memory on a little-endian machine."""
    return addr.type.to_bytes(4, "little") + addr.nonce.to_bytes(4, "little") + addr.sockaddr


BLOCKLIST = dict_of(ADDR, UTIME, addr_order)
"""When each address is let in again, in nanoseconds since the epoch."""
ADDRS = tuple_of(ADDR)
OSD_ADDRVECS = dict_of(I32, ADDRVEC)
OSD_U32 = dict_of(I32, U32)

# vectors with one entry for each OSD


def _encode_u32s(encoder: Encoder, values: list[int]) -> None:
    encoder.u32(len(values))
    encoder.raw(struct.pack(f"<{len(values)}I", *values))


def _osd_count(decoder: Decoder, least_bytes: int) -> int:
    count = counted(decoder, least_bytes, "OSDs")
    if count > OSDS_MAX:
        raise PeerError(f"{count} OSDs; at most {OSDS_MAX} are taken")
    return count


def _decode_u32s(decoder: Decoder) -> list[int]:
    count = _osd_count(decoder, 4)
    return list(struct.unpack(f"<{count}I", decoder.raw(4 * count)))


U32S: Codec[list[int]] = Codec(_encode_u32s, _decode_u32s)

_VECTOR_HEAD = struct.Struct("<BI")
_ADDR_IPV4 = struct.Struct("<3sIIII16s")
_ADDR_HEAD = b"\x01\x01\x01"
_IPV4 = b"\x02\x00"
_VECTOR_MARKER = 2


def _decode_addrvecs(decoder: Decoder) -> list[AddrVec]:
    """As `decode_addrvec` for each, with a short cut for vectors of one or two IPv4 addresses."""
    vectors: list[AddrVec] = []
    for _ in range(_osd_count(decoder, _VECTOR_HEAD.size)):
        data, position, end = decoder.window()
        if end - position < _VECTOR_HEAD.size:
            raise PeerError(f"{_VECTOR_HEAD.size} bytes wanted, {end - position} left")
        marker, count = _VECTOR_HEAD.unpack_from(data, position)
        position += _VECTOR_HEAD.size
        if marker == _VECTOR_MARKER and count <= 2 and end - position >= count * _ADDR_IPV4.size:
            addrs = []
            for _ in range(count):
                head, length, kind, nonce, size, sockaddr = _ADDR_IPV4.unpack_from(data, position)
                if head != _ADDR_HEAD or length != 28 or size != 16 or kind > 4 or sockaddr[:2] != _IPV4:
                    break
                addrs.append(EntityAddr(kind, nonce, sockaddr))
                position += _ADDR_IPV4.size
            else:
                decoder.skip_to(position)
                vectors.append(tuple(addrs))
                continue
        vectors.append(decode_addrvec(decoder))
    return vectors


ADDRVECS: Codec[list[AddrVec]] = Codec(
    lambda encoder, vectors: encoder.list(vectors, lambda addrs: encode_addrvec(encoder, addrs)), _decode_addrvecs
)
