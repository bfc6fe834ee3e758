"""Listing a placement group (pgnls): the cursor that a request carries, and the page that answers it.

Source: Ceph's osd/osd_types.h (`pg_nls_response_t`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .encoding import Decoder, Encoder
from .hobject import decode_hobject, encode_hobject
from .types import HObject


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
