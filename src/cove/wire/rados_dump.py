"""Dumps of pools, as `rados export` writes and `rados import` reads them: a stream of sections.

    super header, POOL_BEGIN, objects, POOL_END
    an object:  OBJECT_BEGIN, DATA..., ATTRS, OMAP_HDR, OMAP..., OBJECT_END

Each section is a header (type and size), a body of that size, and a footer; sections without a body have no footer.
Dumps of placement groups (`ceph-objectstore-tool --op export`) are of the same form and are read, too.

`section_parts` gives a section's bytes. `DumpParser` takes a dump apart: it says how many bytes it needs next, and
makes sections of them; whatever is wrong becomes a PeerError that names the position.

Source: Ceph's tools/RadosDump.h (sections), tools/rados/PoolDump.cc and RadosImport.cc (their order and meaning),
osd/osd_types.h (`object_info_t`, of which a dump of a pool has an empty one with each object).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from .encoding import Buffer, Decoder, Encoder
from .errors import PeerError, UsageError
from .hobject import decode_hobject, encode_hobject
from .types import NOSNAP, HObject

SUPER_MAGIC = 0xFFCEFFCE
VERSION = 2
SHORT_MAGIC = 0xFFCE
END_MAGIC = 0xECFFFFCE
SUPER_BYTES = 16
HEADER_BYTES = 18
FOOTER_BYTES = 10
FRAMING_BYTES_MAX = 4096
"""Of headers and footers as later versions might write them."""
SECTION_BYTES_MAX = 1 << 30
"""Data comes in pieces of 4 MiB, keys 512 at a time with values as large as the OSDs take them."""
OBJECT_BYTES_MAX = 1 << 62
DATA_HEAD_BYTES = 26
"""A data section's body before the data."""
NO_GENERATION = (1 << 64) - 1
NO_SHARD = 0xFF
NO_POOL = -(1 << 63)
USER_ATTRIBUTE = "_"
"""What users' attributes begin with where an OSD stores them; what begins otherwise is the OSD's own."""

_SUPER = struct.Struct("<IIII")
_HEADER = struct.Struct("<BBIIq")
_FOOTER = struct.Struct("<BBII")
_DATA = struct.Struct("<BBIQQI")
_FRAME_BYTES = 6


class SectionType(IntEnum):
    """What a section is."""

    PG_BEGIN = 1
    PG_END = 2
    OBJECT_BEGIN = 3
    OBJECT_END = 4
    DATA = 5
    ATTRS = 6
    OMAP_HDR = 7
    OMAP = 8
    PG_METADATA = 9
    POOL_BEGIN = 10
    POOL_END = 11


class PoolBegin(NamedTuple):
    """The dump is one of a pool."""


class PoolEnd(NamedTuple):
    """It is complete."""


class PgBegin(NamedTuple):
    """The dump is one of a placement group. `shard` is NO_SHARD but for erasure-coded pools."""

    pool: int
    seed: int
    shard: int


class PgEnd(NamedTuple):
    """It is complete."""


class PgMetadata(NamedTuple):
    """The placement group's own state, as bytes: only an OSD has use for it."""

    data: bytes


class ObjectBegin(NamedTuple):
    """Name, namespace and locator key of the object that the next sections belong to; `snap` NOSNAP is its head."""

    name: str
    nspace: str = ""
    locator_key: str = ""
    snap: int = NOSNAP

    @property
    def is_head(self) -> bool:
        """Whether this is the object itself and no snapshot's clone of it."""
        return self.snap == NOSNAP


class ObjectEnd(NamedTuple):
    """The object is complete."""


class Data(NamedTuple):
    """Bytes of the object from `offset` on."""

    offset: int
    data: Buffer


class Attributes(NamedTuple):
    """The users' attributes, all in one section."""

    values: dict[str, bytes]


class OmapHeader(NamedTuple):
    """The header of the object map."""

    data: bytes


class Omap(NamedTuple):
    """Some keys of the object map, and their values."""

    values: dict[str, bytes]


Section = (
    PoolBegin | PoolEnd | PgBegin | PgEnd | PgMetadata | ObjectBegin | ObjectEnd | Data | Attributes | OmapHeader | Omap
)

TYPES: dict[type[Section], SectionType] = {
    PgBegin: SectionType.PG_BEGIN,
    PgEnd: SectionType.PG_END,
    ObjectBegin: SectionType.OBJECT_BEGIN,
    ObjectEnd: SectionType.OBJECT_END,
    Data: SectionType.DATA,
    Attributes: SectionType.ATTRS,
    OmapHeader: SectionType.OMAP_HDR,
    Omap: SectionType.OMAP,
    PgMetadata: SectionType.PG_METADATA,
    PoolBegin: SectionType.POOL_BEGIN,
    PoolEnd: SectionType.POOL_END,
}
FOOTER = _FOOTER.pack(1, 1, 4, END_MAGIC)

# writing


def super_header() -> bytes:
    """What a dump begins with."""
    return _SUPER.pack(SUPER_MAGIC, VERSION, HEADER_BYTES, FOOTER_BYTES)


def section_parts(section: Section) -> tuple[Buffer, ...]:
    """A section's bytes, in pieces: the data of an object is not copied. Raises UsageError."""
    kind = TYPES[type(section)]
    if isinstance(section, Data):
        length = len(section.data)
        head = _DATA.pack(1, 1, DATA_HEAD_BYTES - _FRAME_BYTES + length, section.offset, length, length)
        return _header(kind, DATA_HEAD_BYTES + length) + head, section.data, FOOTER
    body = _body(section)
    return (_header(kind, len(body)), body, FOOTER) if body else (_header(kind, 0),)


def encode_section(section: Section) -> bytes:
    """The same in one piece."""
    return b"".join(section_parts(section))


def _header(kind: SectionType, size: int) -> bytes:
    if size > SECTION_BYTES_MAX:
        raise UsageError(f"a section of {size} bytes: at most {SECTION_BYTES_MAX}")
    return _HEADER.pack(1, 1, HEADER_BYTES - _FRAME_BYTES, kind << 24 | kind << 16 | SHORT_MAGIC, size)


def _body(section: Section) -> bytes:
    encoder = Encoder()
    if isinstance(section, ObjectBegin):
        _encode_object(encoder, section)
    elif isinstance(section, Attributes):
        values = {USER_ATTRIBUTE + name: value for name, value in section.values.items()}
        with encoder.versioned(1, 1):
            encoder.map(values, encoder.str, encoder.blob)
    elif isinstance(section, Omap):
        with encoder.versioned(1, 1):
            encoder.map(section.values, encoder.str, encoder.blob)
    elif isinstance(section, OmapHeader):
        with encoder.versioned(1, 1):
            encoder.blob(section.data)
    elif isinstance(section, (PgBegin, PgMetadata)):
        raise UsageError("dumps of placement groups are only read here")
    return encoder.bytes()


def _encode_object(encoder: Encoder, section: ObjectBegin) -> None:
    if not section.name:
        raise UsageError("an object without a name")
    key = "" if section.locator_key == section.name else section.locator_key
    with encoder.versioned(3, 1):
        encode_hobject(encoder, HObject(NO_POOL, section.name, 0, key, section.nspace, section.snap))
        encoder.u64(NO_GENERATION)
        encoder.u8(NO_SHARD)
        encoder.raw(EMPTY_OBJECT_INFO)


def _empty_object_info() -> bytes:
    """`object_info_t` of no object, version 17."""
    encoder = Encoder()
    with encoder.versioned(17, 8):
        encode_hobject(encoder, HObject(NO_POOL, "", snap=0))
        with encoder.versioned(6, 3):  # its locator
            encoder.i64(NO_POOL)
            encoder.i32(-1)
            encoder.str("")
            encoder.str("")
            encoder.i64(-1)
        encoder.str("")  # category
        encoder.raw(bytes(12 + 12))  # version, and the one before
        with encoder.versioned(2, 2):  # the last request: whose, and which
            encoder.raw(bytes(1 + 8 + 8 + 4))
        encoder.raw(bytes(8 + 8))  # size, modification time
        encoder.u32(0)  # snapshots
        encoder.raw(bytes(8 + 8))  # truncations
        encoder.bool(False)  # lost
        encoder.u32(0)  # watchers, as they were once encoded
        encoder.raw(bytes(12))  # the users' version
        encoder.bool(False)
        encoder.u32(0)  # watchers
        encoder.u32(0)  # flags
        encoder.raw(bytes(8))  # local modification time
        encoder.u32(0xFFFFFFFF)  # no digest of the data
        encoder.u32(0xFFFFFFFF)  # nor of the omap
        encoder.raw(bytes(8 + 8 + 4))  # allocation hint
    return encoder.bytes()


EMPTY_OBJECT_INFO = _empty_object_info()

# reading

_KNOWN = frozenset(SectionType)
_BEGINS = frozenset((SectionType.POOL_BEGIN, SectionType.PG_BEGIN))
_BETWEEN = frozenset((SectionType.OBJECT_BEGIN, SectionType.PG_METADATA, SectionType.POOL_END, SectionType.PG_END))
_WITHIN = frozenset(
    (SectionType.DATA, SectionType.ATTRS, SectionType.OMAP_HDR, SectionType.OMAP, SectionType.OBJECT_END)
)


class DumpParser:
    """Takes a dump apart: feed it exactly `need` bytes until `done`.

    Attributes: need (bytes wanted next); position (bytes taken so far); done (the end section was there); skip (with
    `skim`: bytes of data to jump over before the next `feed`, by `skipped()`).

    `skim` is for looking a dump through without its data: Data sections come empty then, with the right offset.
    """

    def __init__(self, *, skim: bool = False) -> None:
        self.need = SUPER_BYTES
        self.position = 0
        self.skip = 0
        self.done = False
        self._skim = skim
        self._header_bytes = 0
        self._footer_bytes = 0
        self._kind = 0
        self._size = 0
        self._section_at = 0
        self._body: Section | None = None
        self._in_body = False
        self._allowed = _BEGINS

    @classmethod
    def of_object(cls) -> DumpParser:
        """One for the sections of an object as `encode_section` makes them, without what stands around them."""
        parser = cls()
        parser._header_bytes = parser.need = HEADER_BYTES
        parser._footer_bytes = FOOTER_BYTES
        parser._allowed = _WITHIN
        return parser

    def feed(self, data: Buffer) -> Section | None:
        """The next bytes; a section if they complete one. Raises PeerError, also for a dump that ends early."""
        if len(data) != self.need:
            raise self.cut_short(len(data))
        at = self.position
        self.position += len(data)
        try:
            if not self._header_bytes:
                self._read_super(data)
                return None
            if self._in_body:
                return self._read_body(data)
            return self._read_header(data)
        except PeerError as problem:
            raise PeerError(f"byte {at if not self._in_body else self._section_at}: {problem}") from None

    def cut_short(self, length: int = 0) -> PeerError:
        """The error of a dump that has only `length` bytes more."""
        end = self.position + length
        return PeerError(f"byte {end}: it ends here, in the middle: {self.need - length} bytes more were expected")

    def skipped(self) -> None:
        """`skip` bytes have been jumped over."""
        self.position += self.skip
        self.skip = 0

    def _read_super(self, data: Buffer) -> None:
        magic, version, header_bytes, footer_bytes = _SUPER.unpack(data)
        if magic != SUPER_MAGIC:
            raise PeerError(f"no dump of a pool: it begins with {bytes(data[:4]).hex()}, not with ceffceff")
        if version > VERSION:
            raise PeerError(f"a dump of version {version}: versions up to {VERSION} are understood")
        if not (
            HEADER_BYTES <= header_bytes <= FRAMING_BYTES_MAX and FOOTER_BYTES <= footer_bytes <= FRAMING_BYTES_MAX
        ):
            raise PeerError(f"headers of {header_bytes} and footers of {footer_bytes} bytes")
        self._header_bytes = self.need = header_bytes
        self._footer_bytes = footer_bytes

    def _read_header(self, data: Buffer) -> Section | None:
        self._section_at = self.position - len(data)
        decoder = Decoder(data)
        with decoder.versioned(1):
            marker = decoder.u32()
            size = decoder.i64()
        kind = marker >> 24
        if marker & 0xFFFF != SHORT_MAGIC or marker >> 16 & 0xFF != kind:
            raise PeerError(f"no section begins here: {marker:08x} is no mark of one")
        if not 0 <= size <= SECTION_BYTES_MAX:
            raise PeerError(f"a section of {size} bytes: at most {SECTION_BYTES_MAX} are believed")
        self._kind, self._size = kind, size
        if kind in _KNOWN and kind not in self._allowed:
            raise PeerError(f"section {SectionType(kind).name} does not belong here")
        self._in_body = size > 0
        if self._skim and kind == SectionType.DATA:
            self.need = min(size, DATA_HEAD_BYTES)
        elif size:
            self.need = size + self._footer_bytes
        else:
            return self._finish(self._decode(b""))
        return None

    def _read_body(self, data: Buffer) -> Section | None:
        view = memoryview(data)
        section: Section | None
        if self._skim and self._kind == SectionType.DATA:
            if self._body is None:
                self._body = self._decode_data_head(view)
                self.skip = self._size - DATA_HEAD_BYTES
                self.need = self._footer_bytes
                return None
            section, self._body = self._body, None
            footer = view
        else:
            section, footer = self._decode(view[: self._size]), view[self._size :]
        decoder = Decoder(footer)
        with decoder.versioned(1):
            magic = decoder.u32()
        if magic != END_MAGIC:
            raise PeerError(f"the section that begins here does not end as it should: {magic:08x}")
        self._in_body = False
        return self._finish(section)

    def _finish(self, section: Section | None) -> Section | None:
        """Only what belongs there can follow."""
        if section is not None and not isinstance(section, PgMetadata):
            if isinstance(section, (PoolEnd, PgEnd)):
                self.done, self._allowed = True, frozenset()
            elif isinstance(section, (PoolBegin, PgBegin, ObjectEnd)):
                self._allowed = _BETWEEN
            else:
                self._allowed = _WITHIN
        self.need = 0 if self.done else self._header_bytes
        return section

    def _decode_data_head(self, body: Buffer) -> Data:
        if len(body) < DATA_HEAD_BYTES:
            raise PeerError("a data section without data")
        _, compat, length, offset, size, blob = _DATA.unpack_from(body)
        if compat > 1:
            raise PeerError(f"a data section that needs version {compat}, 1 is known")
        if size != blob or length != self._size - _FRAME_BYTES or blob != self._size - DATA_HEAD_BYTES:
            raise PeerError(
                f"a data section whose lengths contradict each other: {self._size}, {length}, {size}, {blob}"
            )
        if offset + size > OBJECT_BYTES_MAX:
            raise PeerError(f"an object with {size} bytes at {offset}")
        return Data(offset, b"")

    def _decode(self, body: Buffer) -> Section | None:
        """The section, None for one of a kind that is not known."""
        if self._kind not in _KNOWN:
            return None
        kind = SectionType(self._kind)
        if kind == SectionType.DATA:
            return self._decode_data_head(body)._replace(data=bytes(body[DATA_HEAD_BYTES:]))
        decoder = Decoder(body)
        if kind == SectionType.OBJECT_BEGIN:
            return _decode_object(decoder)
        if kind == SectionType.PG_BEGIN:
            return _decode_pg(decoder)
        if kind == SectionType.PG_METADATA:
            return PgMetadata(decoder.rest())
        if kind in (SectionType.ATTRS, SectionType.OMAP):
            with decoder.versioned(1):
                values = decoder.map(decoder.str, decoder.blob)
            return Omap(values) if kind == SectionType.OMAP else Attributes(_users_own(values))
        if kind == SectionType.OMAP_HDR:
            with decoder.versioned(1):
                return OmapHeader(decoder.blob())
        return _EMPTY[kind]


_EMPTY: dict[SectionType, Section] = {
    SectionType.PG_END: PgEnd(),
    SectionType.POOL_BEGIN: PoolBegin(),
    SectionType.POOL_END: PoolEnd(),
    SectionType.OBJECT_END: ObjectEnd(),
}


def _users_own(values: dict[str, bytes]) -> dict[str, bytes]:
    """Without the OSD's own attributes, which dumps of placement groups have."""
    return {name[1:]: value for name, value in values.items() if name.startswith(USER_ATTRIBUTE) and len(name) > 1}


def _decode_object(decoder: Decoder) -> ObjectBegin:
    with decoder.versioned(3):  # generation, shard and object_info_t are left: they are the OSD's
        name = decode_hobject(decoder)
    if name.max or not name.oid:
        raise PeerError("an object without a name")
    return ObjectBegin(name.oid, name.nspace, name.key, name.snap)


def _decode_pg(decoder: Decoder) -> PgBegin:
    with decoder.versioned(3) as version:
        decoder.raw(1)
        pool, seed = decoder.u64(), decoder.u32()
        decoder.i32()
        shard = NO_SHARD
        if version > 2:
            decoder.raw(2)  # the superblock's versions
            decoder.raw(decoder.u32())
            shard = decoder.u8()
        return PgBegin(pool, seed, shard)
