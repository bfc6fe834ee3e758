"""Full object names: their bytes, their order, and the range of names that one placement group holds.

Listings, cursors and backoffs walk a placement group in the order of `order_key`: by the reversed bits of the hash,
so that a group that splits falls into two ranges that are each still in one piece.

Source: Ceph's common/hobject.h (`hobject_t`), osd/osd_types.h (`pg_t::get_hobj_start`, `get_hobj_end`).
"""

from __future__ import annotations

from typing import NamedTuple

from .encoding import Decoder, Encoder
from .hashing import reverse_bits
from .structure import Codec
from .types import HOBJECT_MAX, HOBJECT_MIN, NOSNAP, HObject, PgId

HASH_SPACE = 1 << 32
_OLD_MIN_POOL = -1

OrderKey = tuple[bool, int, int, bytes, bytes, bytes, int]


def encode_hobject(encoder: Encoder, name: HObject) -> None:
    """hobject_t, version 4."""
    with encoder.versioned(4, 3):
        encoder.str(name.key)
        encoder.str(name.oid)
        encoder.u64(name.snap)
        encoder.u32(name.hash)
        encoder.bool(name.max)
        encoder.str(name.nspace)
        encoder.i64(name.pool)


def decode_hobject(decoder: Decoder) -> HObject:
    """hobject_t; an old form of the smallest name becomes HOBJECT_MIN."""
    with decoder.versioned(4):
        key, oid, snap, position = decoder.str(), decoder.str(), decoder.u64(), decoder.u32()
        last, nspace, pool = decoder.bool(), decoder.str(), decoder.i64()
    if last:
        return HOBJECT_MAX
    if pool in (_OLD_MIN_POOL, HOBJECT_MIN.pool) and not oid and not snap and not position:
        return HOBJECT_MIN
    return HObject(pool=pool, oid=oid, hash=position, key=key, nspace=nspace, snap=snap)


HOBJECT: Codec[HObject] = Codec(encode_hobject, decode_hobject)


def order_key(name: HObject) -> OrderKey:
    """What names are compared by. Text counts by its bytes; a name without a key stands where its oid says."""
    oid = name.oid.encode("utf-8", "surrogateescape")
    return (
        name.max,
        name.pool,
        reverse_bits(name.hash),
        name.nspace.encode("utf-8", "surrogateescape"),
        name.key.encode("utf-8", "surrogateescape") or oid,
        oid,
        name.snap,
    )


class HObjectRange(NamedTuple):
    """Names from `begin` to before `end`; if both are equal, that one name."""

    begin: HObject
    end: HObject

    def contains(self, name: HObject) -> bool:
        """Whether the range holds this name."""
        first, at = order_key(self.begin), order_key(name)
        if self.begin == self.end:
            return at == first
        return first <= at < order_key(self.end)


def pg_bits(seed: int, pg_num: int) -> int:
    """How many low bits of a hash are fixed by the group's seed: one more for those that have been split already."""
    bits = (pg_num - 1).bit_length()
    half = (1 << bits) >> 1
    if pg_num == 1 << bits or seed % half < pg_num % half:
        return bits
    return bits - 1


def pg_range(pg: PgId, pg_num: int) -> HObjectRange:
    """The names that a placement group can hold, in a pool of `pg_num` groups."""
    bits = pg_bits(pg.seed, pg_num)
    begin = HObject(pool=pg.pool, oid="", hash=pg.seed, snap=0)
    end = reverse_bits(pg.seed) + (HASH_SPACE >> bits)
    if end >= HASH_SPACE:
        return HObjectRange(begin, HOBJECT_MAX)
    return HObjectRange(begin, HObject(pool=pg.pool, oid="", hash=reverse_bits(end), snap=NOSNAP))
