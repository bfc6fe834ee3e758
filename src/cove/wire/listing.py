"""Listing a placement group (pgnls): the cursor that a request carries, the filter, and the page that answers it.

A cursor is a place in the order of all objects of a pool: by the reversed bits of the placement hash, then namespace,
locator key and name. As text (`str(cursor)`, `ObjectCursor.parse`) it has the form in which Ceph prints such names:

    #POOL:REVERSED_HASH:NAMESPACE:KEY:NAME:SNAP#    or MIN, or MAX

Source: Ceph's osd/osd_types.h (`pg_nls_response_t`), common/hobject.cc (the text), osd/PGLSFilter (filters),
librados' IoCtxImpl::object_list_slice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import Final, NamedTuple, Self
from urllib.parse import unquote_to_bytes

from .encoding import Buffer, Decoder, Encoder, encode_text
from .errors import UsageError
from .hashing import reverse_bits
from .hobject import HASH_SPACE, decode_hobject, encode_hobject, order_key
from .types import HOBJECT_MAX, HOBJECT_MIN, NOSNAP, SNAPDIR, HObject

CURSOR_TEXT_MAX: Final = 65536
_MIN_TEXT, _MAX_TEXT = "MIN", "MAX"
_SNAP_NAMES = {NOSNAP: "head", SNAPDIR: "snapdir"}
_SNAP_NUMBERS = {name: number for number, name in _SNAP_NAMES.items()}
_TEXT = re.compile(
    r"#(?P<pool>\d{1,19}):(?P<hash>[0-9a-f]{8}):(?P<nspace>[ -9;-~]*):(?P<key>[ -9;-~]*):(?P<oid>[ -9;-~]*):"
    r"(?P<snap>[0-9a-z]+)#",
    re.ASCII,
)
"""Names are printable ASCII without colons: all else is escaped. (Ceph leaves spaces and `#` as they are.)"""
_ESCAPED = frozenset(b"%:/#")


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


def _escape(text: str) -> str:
    raw = encode_text(text)
    return "".join(f"%{byte:02x}" if byte <= 32 or byte >= 127 or byte in _ESCAPED else chr(byte) for byte in raw)


def _unescape(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


@total_ordering
@dataclass(frozen=True, slots=True)
class ObjectCursor:
    """A place in the listing of a pool; cursors compare by their order, and survive as text."""

    position: HObject

    @classmethod
    def at_hash(cls, pool: int, position: int) -> Self:
        """Before the objects of that hash (32 bits). Raises UsageError."""
        if not 0 <= position < HASH_SPACE:
            raise UsageError(f"hash position {position}: must have 32 bits")
        return cls(HObject(pool=pool, oid="", hash=position))

    @property
    def is_begin(self) -> bool:
        """Whether it is before all objects."""
        return self.position == HOBJECT_MIN

    @property
    def is_end(self) -> bool:
        """Whether it is behind all objects."""
        return self.position.max

    @property
    def hash(self) -> int:
        """The hash at which it stands; of the end 0."""
        return self.position.hash

    def __lt__(self, other: ObjectCursor) -> bool:
        return order_key(self.position) < order_key(other.position)

    def __str__(self) -> str:
        """The cursor as text, which `parse` reads."""
        at = self.position
        if self.is_begin:
            return _MIN_TEXT
        if self.is_end:
            return _MAX_TEXT
        names = ":".join(_escape(text) for text in (at.nspace, at.key, at.oid))
        return f"#{at.pool}:{reverse_bits(at.hash):08x}:{names}:{_SNAP_NAMES.get(at.snap) or f'{at.snap:x}'}#"

    @classmethod
    def parse(cls, text: str) -> Self:
        """A cursor from its text. Raises UsageError."""
        if text == _MIN_TEXT:
            return cls(HOBJECT_MIN)
        if text == _MAX_TEXT:
            return cls(HOBJECT_MAX)
        found = _TEXT.fullmatch(text) if len(text) <= CURSOR_TEXT_MAX else None
        snap = None if found is None else _parse_snap(found["snap"])
        if found is None or snap is None or int(found["pool"]) >= 1 << 63:
            raise UsageError(f"{text[:200]!r} is no cursor of a listing")
        return cls(
            HObject(
                pool=int(found["pool"]),
                oid=_unescape(found["oid"]),
                hash=reverse_bits(int(found["hash"], 16)),
                key=_unescape(found["key"]),
                nspace=_unescape(found["nspace"]),
                snap=snap,
            )
        )


BEGIN: Final = ObjectCursor(HOBJECT_MIN)
END: Final = ObjectCursor(HOBJECT_MAX)


def _parse_snap(text: str) -> int | None:
    if text in _SNAP_NUMBERS:
        return _SNAP_NUMBERS[text]
    try:
        number = int(text, 16)
    except ValueError:
        return None
    return number if number < NOSNAP else None


def list_slice(
    pool: int, n: int, m: int, begin: ObjectCursor = BEGIN, end: ObjectCursor = END
) -> tuple[ObjectCursor, ObjectCursor]:
    """Begin and end of part `n` (from 0) of `m` equal parts, by hash, of a range. Raises UsageError."""
    if m < 1 or not 0 <= n < m:
        raise UsageError(f"part {n} of {m}: the parts are numbered from 0 to one less than their count")
    if begin >= end:
        return end, end
    first = reverse_bits(begin.position.hash)
    last = HASH_SPACE if end.is_end else reverse_bits(end.position.hash)

    def cut(part: int) -> ObjectCursor:
        if part in (0, m):
            return end if part else begin
        at = reverse_bits(first + (last - first) * part // m)
        return min(end, max(begin, ObjectCursor.at_hash(pool, at)))

    return cut(n), cut(n + 1)


def pack_cursor(cursor: HObject) -> bytes:
    """Input of pgnls."""
    encoder = Encoder()
    encode_hobject(encoder, cursor)
    return encoder.bytes()


def plain_filter(xattr: str, value: Buffer) -> bytes:
    """The filter of pgnls_filter that lets through the objects with this value of an attribute."""
    encoder = Encoder()
    encoder.str("plain")
    encoder.str("_" + xattr)  # as the OSD names the attributes of users
    encoder.blob(value)
    return encoder.bytes()


def pack_filtered_cursor(filter: bytes, cursor: HObject) -> bytes:
    """Input of pgnls_filter. `filter`: its name and its own input, as `plain_filter` makes it."""
    encoder = Encoder()
    encoder.str("pg")
    encoder.str("filter")
    encoder.raw(filter)
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
