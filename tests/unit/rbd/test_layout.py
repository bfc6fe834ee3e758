"""Striping: against a byte-by-byte reference, and the numbers that librbd gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.rbd import ArgumentOutOfRange, InvalidArgument, Layout


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    order = draw(st.integers(12, 14))
    unit = 1 << draw(st.integers(9, order))
    return Layout(order, unit, draw(st.integers(1, 5)))


def reference(layout: Layout, offset: int) -> tuple[int, int]:
    """One byte's place, by the published formula."""
    su, sc, object_size = layout.stripe_unit, layout.stripe_count, layout.object_size
    block = offset // su
    stripe, pos = block // sc, block % sc
    per = object_size // su
    return (stripe // per) * sc + pos, (stripe % per) * su + offset % su


@given(layouts(), st.integers(0, 1 << 40))
def test_locate(layout: Layout, offset: int) -> None:
    assert layout.locate(offset) == reference(layout, offset)
    assert layout.image_offset(*layout.locate(offset)) == offset


@given(layouts(), st.integers(0, 100_000), st.integers(0, 60_000))
def test_extents_cover_every_byte_once(layout: Layout, offset: int, length: int) -> None:
    seen: dict[int, tuple[int, int]] = {}
    for extent in layout.extents(offset, length):
        assert 0 <= extent.offset < extent.end <= layout.object_size
        assert sum(size for _, size in extent.buffer_extents) == extent.length
        at = extent.offset
        for position, size in extent.buffer_extents:
            for step in (0, size - 1):
                seen[position + step] = (extent.object_no, at + step)
            at += size
    for position, place in seen.items():
        assert place == reference(layout, offset + position)
    pieces = sorted(piece for extent in layout.extents(offset, length) for piece in extent.buffer_extents)
    assert sum(size for _, size in pieces) == length
    position = 0
    for start, size in pieces:
        assert start == position
        position += size


@given(layouts(), st.integers(0, 300_000))
def test_object_count(layout: Layout, size: int) -> None:
    used = {number for number, _, _ in layout.units(0, size)}
    assert layout.object_count(size) == len(used)
    # all sets but the last are complete, hence the numbers have no gaps
    assert used == set(range(len(used)))


def test_default_layout() -> None:
    layout = Layout()
    assert layout.object_size == 4 << 20
    assert layout.is_default
    assert layout.object_count(0) == 0
    assert layout.object_count(1) == 1
    assert layout.object_count(256 << 20) == 64
    extents = layout.extents((4 << 20) - 1, 3)
    assert [(e.object_no, e.offset, e.length) for e in extents] == [(0, (4 << 20) - 1, 1), (1, 0, 2)]


@pytest.mark.parametrize("order", [0, 11, 26])
def test_bad_order(order: int) -> None:
    with pytest.raises(ArgumentOutOfRange) as caught:
        Layout(order)
    assert caught.value.errno == 33


@pytest.mark.parametrize(("unit", "count"), [(256, 1), (3000, 1), (8 << 20, 1), (4096, 0)])
def test_bad_striping(unit: int, count: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Layout(22, unit, count)
    assert caught.value.errno == 22
