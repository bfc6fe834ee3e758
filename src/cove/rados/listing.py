"""Listing the objects of a pool: one placement group after the other, page by page.

The cursor is the name of the next object in the cluster's own order (by reversed hash); each page asks the group
that the cursor falls into, and the answer's handle is the next cursor.

Source: Ceph's Objecter::enumerate_objects, pg_nls_response_t, hobject_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..wire.encoding import Decoder, Encoder
from ..wire.osd_ops import OpCode, OSDOp, PgList
from ..wire.types import HOBJECT_MAX, HOBJECT_MIN, HObject, ObjectLocator
from .operations import OpVector

PAGE_ENTRIES = 1024
_MIN_POOL = HOBJECT_MIN.pool


class ListedObject(NamedTuple):
    """One object of a listing. Name, and the namespace and locator key that belong to its identity."""

    name: str
    nspace: str
    locator_key: str


@dataclass(frozen=True, slots=True)
class Page:
    """Objects, the cursor of the next page, and whether the placement group has ended with it."""

    objects: list[ListedObject]
    handle: HObject


class PgListOp(OpVector):
    """The request for one page."""

    __slots__ = ()

    def __init__(self, cursor: HObject, count: int, start_epoch: int) -> None:
        super().__init__()
        self._add(OSDOp(OpCode.PGNLS, PgList(count, start_epoch), encode_hobject(cursor)))


def encode_hobject(name: HObject) -> bytes:
    """hobject_t, version 4."""
    encoder = Encoder()
    with encoder.versioned(4, 3):
        encoder.str(name.key)
        encoder.str(name.oid)
        encoder.u64(name.snap)
        encoder.u32(name.hash)
        encoder.bool(name.max)
        encoder.str(name.nspace)
        encoder.i64(name.pool)
    return encoder.bytes()


def decode_hobject(decoder: Decoder) -> HObject:
    """hobject_t; an old form of the smallest name becomes HOBJECT_MIN."""
    with decoder.versioned(4):
        key, oid, snap, position = decoder.str(), decoder.str(), decoder.u64(), decoder.u32()
        last, nspace, pool = decoder.bool(), decoder.str(), decoder.i64()
    if last:
        return HOBJECT_MAX
    if pool in (-1, _MIN_POOL) and not oid and not snap and not position:
        return HOBJECT_MIN
    return HObject(pool=pool, oid=oid, hash=position, key=key, nspace=nspace, snap=snap)


def decode_page(data: bytes) -> Page:
    """Output of pgnls. Raises PeerError."""
    decoder = Decoder(data)
    with decoder.versioned(1):
        handle = decode_hobject(decoder)
        objects = decoder.list(lambda: _entry(decoder))
    return Page(objects, handle)


def _entry(decoder: Decoder) -> ListedObject:
    nspace, name, key = decoder.str(), decoder.str(), decoder.str()
    return ListedObject(name, nspace, key)


def cursor_locator(pool: int, cursor: HObject, nspace: str) -> ObjectLocator:
    """Where the page at a cursor is: the placement group of its hash."""
    return ObjectLocator(pool=pool, nspace=nspace, hash=cursor.hash)
