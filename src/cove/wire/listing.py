"""Listing a placement group (pgnls): the cursor that a request carries, and the page that answers it.

Source: Ceph's common/hobject.h (`hobject_t`), osd/osd_types.h (`pg_nls_response_t`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .encoding import Decoder, Encoder
from .types import HOBJECT_MAX, HOBJECT_MIN, HObject


class ListedObject(NamedTuple):
    """One object of a listing. Name, and the namespace and locator key that belong to its identity."""

    name: str
    nspace: str
    locator_key: str


@dataclass(frozen=True, slots=True)
class ListPage:
    """Objects, and the cursor of the next page."""

    objects: Sequence[ListedObject]
    handle: HObject


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
    if pool in (-1, HOBJECT_MIN.pool) and not oid and not snap and not position:
        return HOBJECT_MIN
    return HObject(pool=pool, oid=oid, hash=position, key=key, nspace=nspace, snap=snap)


def pack_cursor(cursor: HObject) -> bytes:
    """Input of pgnls."""
    encoder = Encoder()
    encode_hobject(encoder, cursor)
    return encoder.bytes()


def pack_page(page: ListPage) -> bytes:
    """Output of pgnls."""
    encoder = Encoder()
    with encoder.versioned(1, 1):
        encode_hobject(encoder, page.handle)
        encoder.u32(len(page.objects))
        for entry in page.objects:
            encoder.str(entry.nspace)
            encoder.str(entry.name)
            encoder.str(entry.locator_key)
    return encoder.bytes()


def unpack_page(data: bytes) -> ListPage:
    """Output of pgnls. Raises PeerError."""
    decoder = Decoder(data)

    def entry() -> ListedObject:
        nspace, name, key = decoder.str(), decoder.str(), decoder.str()
        return ListedObject(name, nspace, key)

    with decoder.versioned(1):
        handle = decode_hobject(decoder)
        return ListPage(decoder.list(entry), handle)
