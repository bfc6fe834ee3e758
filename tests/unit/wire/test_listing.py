"""Cursors of listings: their order, their text, slices; pages and filters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cove.wire.encoding import Decoder
from cove.wire.errors import PeerError, UsageError
from cove.wire.hobject import decode_hobject, order_key
from cove.wire.listing import (
    BEGIN,
    END,
    ListedObject,
    ListPage,
    ObjectCursor,
    list_slice,
    pack_cursor,
    pack_filtered_cursor,
    pack_page,
    plain_filter,
    unpack_page,
)
from cove.wire.types import HOBJECT_MAX, HOBJECT_MIN, NOSNAP, SNAPDIR, HObject

TEXT = st.binary(max_size=8).map(lambda data: data.decode("utf-8", "surrogateescape"))
SNAPS = st.sampled_from([0, 1, 0x1F, NOSNAP, SNAPDIR]) | st.integers(0, NOSNAP)
NAMES = st.builds(
    HObject,
    pool=st.integers(0, 2**63 - 1),
    oid=TEXT,
    hash=st.integers(0, 2**32 - 1),
    key=TEXT,
    nspace=TEXT,
    snap=SNAPS,
)
CURSORS = NAMES.map(ObjectCursor) | st.sampled_from([BEGIN, END])


@given(CURSORS)
@example(ObjectCursor(HObject(1, "a:b/c%d#e\n\x7fé", 3, key=":", nspace="#")))
def test_text_and_back(cursor: ObjectCursor) -> None:
    text = str(cursor)
    assert ObjectCursor.parse(text) == cursor
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


def test_the_text_is_that_of_ceph() -> None:
    assert str(BEGIN) == "MIN"
    assert str(END) == "MAX"
    name = HObject(pool=2, oid="rbd_data.1:0", hash=0x1, nspace="ns", key="k e y")
    assert str(ObjectCursor(name)) == "#2:80000000:ns:k%20e%20y:rbd_data.1%3a0:head#"


def test_ceph_escapes_less() -> None:
    """It leaves spaces and # as they are: its text is read as well."""
    assert ObjectCursor.parse("#2:80000000::k e y:a#b:head#").position == HObject(2, "a#b", 1, key="k e y")


@given(st.text(st.characters(), max_size=40) | st.from_regex(r"#\d+:[0-9a-f]{8}:[^:]*:[^:]*:[^:]*:[a-z0-9]+#"))
@example("#1:00000000::::heads#")
@example("#99999999999999999999:00000000::::head#")
@example("#9999999999999999999:00000000::::head#")
@example("#1:00000000::::fffffffffffffffff#")
@example("#1:0000000::::head#")
@example("#1:00000000::a#b::head#")
@example("#1:00000000:::\udc80:head#")
@example("#1:00000000:::\ud800:head#")
@example("#1:00000000:::%zz%:head#")
@example("min")
@example("")
def test_any_text_gives_a_cursor_or_a_usage_error(text: str) -> None:
    try:
        cursor = ObjectCursor.parse(text)
    except UsageError:
        return
    assert ObjectCursor.parse(str(cursor)) == cursor


@given(CURSORS, CURSORS)
def test_order(one: ObjectCursor, other: ObjectCursor) -> None:
    assert (one < other) == (order_key(one.position) < order_key(other.position))
    assert BEGIN <= one <= END


@given(st.integers(1, 40), CURSORS, CURSORS, NAMES)
@example(2, BEGIN, ObjectCursor(HObject(1, "", 0, snap=0)), HObject(1, "", 0))
def test_slices_are_the_whole(count: int, one: ObjectCursor, other: ObjectCursor, name: HObject) -> None:
    """They follow one another without gap or overlap, so that every name is in one of them."""
    parts = [list_slice(1, n, count) for n in range(count)]
    assert parts[0][0] == BEGIN
    assert parts[-1][1] == END
    for before, after in itertools.pairwise(parts):
        assert before[1] == after[0]
        assert before[0] < before[1]
    begin, end = sorted([one, other])
    inner = [list_slice(1, n, count, begin, end) for n in range(count)]
    if begin < end:
        assert inner[0][0] == begin
        assert inner[-1][1] == end
        assert all(first <= last for first, last in inner)
        assert all(before[1] == after[0] for before, after in itertools.pairwise(inner))
    else:
        assert all(first == last for first, last in inner)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (1, 1), (-1, 2), (5, 5)])
def test_slices_that_cannot_be(n: int, m: int) -> None:
    with pytest.raises(UsageError):
        list_slice(1, n, m)


def test_slices_are_equal_parts_of_the_hashes() -> None:
    begins = [str(list_slice(7, n, 4)[0]) for n in range(4)]
    assert begins == ["MIN", *(f"#7:{top}0000000::::head#" for top in "48c")]


PAGES = st.builds(
    ListPage, st.lists(st.builds(ListedObject, TEXT, TEXT, TEXT), max_size=4), NAMES | st.just(HOBJECT_MAX)
)


@given(PAGES)
def test_pages(page: ListPage) -> None:
    data = pack_page(page)
    assert unpack_page(data) == page
    for length in range(len(data)):
        with pytest.raises(PeerError):
            unpack_page(data[:length])


@given(st.binary(max_size=100))
def test_any_bytes_give_a_page_or_a_peer_error(data: bytes) -> None:
    try:
        unpack_page(data)
    except PeerError:
        pass


def test_inputs() -> None:
    assert decode_hobject(Decoder(pack_cursor(HOBJECT_MIN))) == HOBJECT_MIN
    decoder = Decoder(pack_filtered_cursor(plain_filter("name", b"value"), HOBJECT_MIN))
    assert [decoder.str() for _ in range(5)] == ["pg", "filter", "plain", "_name", "value"]
    assert decode_hobject(decoder) == HOBJECT_MIN
    assert decoder.remaining == 0
