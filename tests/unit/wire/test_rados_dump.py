"""Dumps of pools: there and back, cut short at every byte, damaged at every byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.wire.errors import PeerError, UsageError
from cove.wire.rados_dump import (
    EMPTY_OBJECT_INFO,
    FOOTER,
    SECTION_BYTES_MAX,
    Attributes,
    Data,
    DumpParser,
    ObjectBegin,
    ObjectEnd,
    Omap,
    OmapHeader,
    PgBegin,
    PgEnd,
    PgMetadata,
    PoolBegin,
    PoolEnd,
    Section,
    encode_section,
    section_parts,
    super_header,
)
from cove.wire.types import NOSNAP

names = st.binary(min_size=1, max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
texts = st.one_of(st.just(""), names)
maps = st.dictionaries(names, st.binary(max_size=20), max_size=4)
begins = st.builds(ObjectBegin, names, texts, texts, st.just(NOSNAP)).map(
    lambda begin: begin._replace(locator_key="") if begin.locator_key == begin.name else begin
)
parts_of_objects = st.one_of(
    st.builds(Data, st.integers(0, 1 << 40), st.binary(max_size=50)),
    st.builds(Attributes, maps),
    st.builds(OmapHeader, st.binary(max_size=20)),
    st.builds(Omap, maps),
)
objects = st.tuples(begins, st.lists(parts_of_objects, max_size=5)).map(lambda o: [o[0], *o[1], ObjectEnd()])
dumps = st.lists(objects, max_size=3).map(
    lambda found: [PoolBegin(), *(section for one in found for section in one), PoolEnd()]
)

SAMPLE: list[Section] = [
    PoolBegin(),
    ObjectBegin("a", "ns", "key"),
    Data(0, b"first"),
    Data(1 << 22, b"second"),
    Attributes({"one": b"1", "two": b""}),
    OmapHeader(b"header"),
    Omap({"k": b"v"}),
    ObjectEnd(),
    ObjectBegin("b"),
    ObjectEnd(),
    PoolEnd(),
]


def encode(sections: list[Section]) -> bytes:
    return super_header() + b"".join(map(encode_section, sections))


def parse(dump: bytes, *, skim: bool = False) -> list[Section]:
    parser = DumpParser(skim=skim)
    found = []
    at = 0
    while not parser.done:
        section = parser.feed(dump[at : at + parser.need])
        at = parser.position
        if parser.skip:
            at += parser.skip
            parser.skipped()
        if section is not None:
            found.append(section)
    assert parser.need == 0
    assert at == len(dump)
    return found


@given(dumps)
def test_there_and_back(sections: list[Section]) -> None:
    dump = encode(sections)
    assert parse(dump) == sections
    without_data = [s._replace(data=b"") if isinstance(s, Data) else s for s in sections]
    assert parse(dump, skim=True) == without_data


def test_data_is_not_copied() -> None:
    data = bytes(1 << 20)
    assert section_parts(Data(0, data))[1] is data


def test_the_bytes_of_the_real_tool() -> None:
    """What `rados export` wrote for one object `a` with data, an attribute, an omap header and a key."""
    assert super_header().hex() == "ceffceff02000000120000000a000000"
    assert encode_section(PoolBegin()).hex() == "01010c000000ceff0a0a0000000000000000"
    assert encode_section(Attributes({"one": b"1"})).hex() == (
        "01010c000000ceff06061700000000000000" "01011100000001000000040000005f6f6e650100000031" "010104000000ceffffec"
    )  # fmt: skip
    begin = encode_section(ObjectBegin("a"))
    assert begin[18:].hex().startswith("0301190100000403220000000000000001000000" "61feffffffffffffff")  # fmt: skip
    assert len(begin) == 18 + 287 + 10
    assert len(EMPTY_OBJECT_INFO) == 232


@pytest.mark.parametrize("skim", [False, True])
def test_cut_short_at_every_byte(skim: bool) -> None:
    dump = encode(SAMPLE)
    for end in range(len(dump)):
        with pytest.raises(PeerError, match=r"^byte \d+: "):
            parse(dump[:end], skim=skim)


@settings(max_examples=300)
@given(st.data())
def test_damage_is_an_error_or_other_sections(data: st.DataObject) -> None:
    dump = bytearray(encode(SAMPLE))
    dump[data.draw(st.integers(0, len(dump) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parse(bytes(dump))
    except (PeerError, AssertionError):
        return


@given(st.binary(max_size=200))
def test_any_bytes(junk: bytes) -> None:
    for dump in (junk, super_header() + junk, super_header() + encode_section(PoolBegin()) + junk):
        with pytest.raises(PeerError):
            parse(dump)


def test_positions_of_damage() -> None:
    dump = encode(SAMPLE)
    at = dump.index(b"first")
    footer = dump.index(FOOTER, at)
    broken = dump[: footer + 6] + b"\0" + dump[footer + 7 :]
    section = at - 26 - 18
    with pytest.raises(PeerError, match=f"^byte {section}: the section that begins here does not end"):
        parse(broken)
    with pytest.raises(PeerError, match=f"^byte {section}: no section begins here"):
        parse(dump[:section] + bytes((1, 1, 12, 0, 0, 0)) + dump[section + 7 :])
    with pytest.raises(PeerError, match="byte 0: no dump of a pool: it begins with 726f6f74"):
        parse(b"root" + dump[4:])
    with pytest.raises(PeerError, match="version 3"):
        parse(dump[:4] + b"\3" + dump[5:])


def test_sections_out_of_place() -> None:
    wrong: list[list[Section]] = [
        [PoolEnd()],
        [PoolBegin(), ObjectEnd()],
        [PoolBegin(), Data(0, b"x")],
        [PoolBegin(), ObjectBegin("a"), PoolEnd()],
        [PoolBegin(), ObjectBegin("a"), ObjectBegin("b")],
        [PoolBegin(), PoolBegin()],
    ]
    for sections in wrong:
        with pytest.raises(PeerError, match="does not belong here"):
            parse(encode(sections))


def header(kind: int, size: int) -> bytes:
    return struct.pack("<BBIIq", 1, 1, 12, kind << 24 | kind << 16 | 0xFFCE, size)


def test_unknown_sections_are_passed_over() -> None:
    dump = encode(SAMPLE[:1]) + header(77, 3) + b"xyz" + FOOTER + header(78, 0) + encode(SAMPLE[1:])[16:]
    assert parse(dump) == SAMPLE


def test_sizes_that_are_not_believed() -> None:
    for size in (-1, SECTION_BYTES_MAX + 1, 1 << 62):
        with pytest.raises(PeerError, match="a section of"):
            parse(encode([PoolBegin(), ObjectBegin("a")]) + header(5, size))
    body = struct.pack("<BBIQQI", 1, 1, 24, 1 << 63, 4, 4) + b"data"
    with pytest.raises(PeerError, match="an object with"):
        parse(encode([PoolBegin(), ObjectBegin("a")]) + header(5, len(body)) + body + FOOTER)


def test_dumps_of_placement_groups() -> None:
    """Clones, and the OSD's own attributes, beside the users'."""
    pg = struct.pack("<BQIi", 1, 7, 3, -1)
    superblock = struct.pack("<BBI", 9, 5, 4) + b"####"
    body = pg + superblock + b"\xff"
    begin = struct.pack("<BBI", 3, 2, len(body)) + body
    attributes = bytes.fromhex("01010d000000" "01000000" "01000000" "5f" "00000000")  # fmt: skip
    dump = b"".join(
        (
            super_header(),
            header(1, len(begin)) + begin + FOOTER,
            encode_section(ObjectBegin("a", snap=5)),
            header(6, len(attributes)) + attributes + FOOTER,
            encode_section(ObjectEnd()),
            header(9, 4) + b"meta" + FOOTER,
            header(2, 0),
        )
    )
    found = parse(dump)
    clone = found[1]
    assert isinstance(clone, ObjectBegin)
    assert not clone.is_head
    assert [found[0], *found[2:]] == [PgBegin(7, 3, 255), Attributes({}), ObjectEnd(), PgMetadata(b"meta"), PgEnd()]


def test_what_can_not_be_written() -> None:
    with pytest.raises(UsageError):
        encode_section(ObjectBegin(""))
    with pytest.raises(UsageError):
        encode_section(PgMetadata(b""))


def test_one_object_alone() -> None:
    parser = DumpParser.of_object()
    data = b"".join(map(encode_section, SAMPLE[2:7]))
    found = []
    while parser.position < len(data):
        section = parser.feed(data[parser.position : parser.position + parser.need])
        if section is not None:
            found.append(section)
    assert found == SAMPLE[2:7]
