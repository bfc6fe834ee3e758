"""Keys of the store's tables. All integers in keys are big-endian, so that bytes sort as the numbers do.

| table | key | value |
| --- | --- | --- |
| objects | pool, bit-reversed hash, namespace, key or name, name, snap | `ObjectInfo` with the object's number |
| data | object number, chunk number | at most one chunk of bytes; what is missing is zeros |
| attrs | object number, kind, name | an xattr, or the omap header |
| omap | object number, omap key | value |
| pgs | pool, seed | the PG's version counters |
| meta | text | superblock, map, counters |

Names may be 2048 bytes long, LMDB's keys 511: only the `objects` table holds names, all others an object's number.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import NamedTuple

from ..wire.hashing import reverse_bits
from ..wire.types import NOSNAP

KEY_LENGTH_MAX = 500
_KEPT = 460
_POSITION = struct.Struct(">QI")
_CHUNK = struct.Struct(">QI")
_NUMBER = struct.Struct(">Q")
_PG = struct.Struct(">QI")
_TERMINATOR = b"\0\0"

XATTR = b"x"
OMAP_HEADER = b"h"
OMAP_BUCKET_LENGTH = 480
"""Omap keys from this length on share an entry with those that begin with the same bytes (see `omap.py`)."""


class ObjectName(NamedTuple):
    """What names an object within a pool. Strings as bytes."""

    nspace: bytes
    key: bytes
    oid: bytes
    snap: int = NOSNAP


def to_bytes(text: str) -> bytes:
    """A name's bytes; those that are no UTF-8 travel as surrogate escapes."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """The reverse of `to_bytes`."""
    return data.decode("utf-8", "surrogateescape")


def _escape(text: bytes) -> bytes:
    return text.replace(b"\0", b"\0\xff") + _TERMINATOR


def _unescape(data: bytes, start: int) -> tuple[bytes, int]:
    end = start
    while True:
        end = data.index(b"\0", end)
        if data[end + 1] == 0:
            return data[start:end].replace(b"\0\xff", b"\0"), end + 2
        end += 2


def full_object_key(pool: int, raw_hash: int, name: ObjectName) -> bytes:
    """The sort key of an object, of any length, in the order in which listings run."""
    effective = name.key or name.oid
    tail = b"\1" + _escape(name.oid) if name.key else b"\0"
    position = _POSITION.pack(pool, reverse_bits(raw_hash))
    return position + _escape(name.nspace) + _escape(effective) + tail + _NUMBER.pack(name.snap)


def is_shortened(full_key: bytes) -> bool:
    """Whether the key in the table can't hold the whole name."""
    return len(full_key) > KEY_LENGTH_MAX


def shorten(full_key: bytes) -> bytes:
    """The key in the table: a long one is cut, and made unique by a digest."""
    if not is_shortened(full_key):
        return full_key
    return full_key[:_KEPT] + hashlib.sha256(full_key).digest()


@lru_cache(maxsize=65536)
def object_key(pool: int, raw_hash: int, nspace: str, key: str, oid: str, snap: int = NOSNAP) -> bytes:
    """The key of an object in the table `objects`."""
    return shorten(full_object_key(pool, raw_hash, ObjectName(to_bytes(nspace), to_bytes(key), to_bytes(oid), snap)))


def parse_full_key(full_key: bytes) -> tuple[int, int, ObjectName]:
    """Pool, raw hash and name out of a full key."""
    pool, reversed_hash = _POSITION.unpack_from(full_key)
    nspace, at = _unescape(full_key, _POSITION.size)
    effective, at = _unescape(full_key, at)
    marker = full_key[at]
    key, oid = b"", effective
    at += 1
    if marker:
        key = effective
        oid, at = _unescape(full_key, at)
    (snap,) = _NUMBER.unpack_from(full_key, at)
    return pool, reverse_bits(reversed_hash), ObjectName(nspace, key, oid, snap)


def position_key(pool: int, reversed_hash: int) -> bytes:
    """The smallest key at that position of the pool's hash space; 2^32 is past the last one."""
    if reversed_hash >> 32:
        return _NUMBER.pack(pool + 1)
    return _POSITION.pack(pool, reversed_hash)


def pool_prefix(pool: int) -> bytes:
    """What all object keys of a pool begin with."""
    return _NUMBER.pack(pool)


chunk_key = _CHUNK.pack
"""Key of a chunk: object number, chunk number."""
parse_chunk_key = _CHUNK.unpack
number_prefix = _NUMBER.pack
"""What all keys of an object begin with in the tables `data`, `attrs` and `omap`."""
pg_key = _PG.pack
parse_pg_key = _PG.unpack


def xattr_key(number: int, name: bytes) -> bytes:
    """Key of an xattr."""
    return _NUMBER.pack(number) + XATTR + name


def omap_header_key(number: int) -> bytes:
    """Key of the omap header."""
    return _NUMBER.pack(number) + OMAP_HEADER
