"""Interval sets against plain sets of numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.encoding import Decoder
from cove.wire.errors import PeerError
from cove.wire.intervals import INTERVALS, IntervalSet, contains, difference, normalized, union

RUNS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=6).map(tuple)


def numbers(runs: IntervalSet) -> set[int]:
    return {number for start, length in runs for number in range(start, start + length)}


@given(RUNS, RUNS)
def test_they_compute_as_sets_do(a: IntervalSet, b: IntervalSet) -> None:
    assert numbers(union(a, b)) == numbers(a) | numbers(b)
    assert numbers(difference(a, b)) == numbers(a) - numbers(b)
    assert {number for number in range(30) if contains(a, number)} == numbers(a)


@given(RUNS, RUNS)
def test_equal_sets_have_one_form(a: IntervalSet, b: IntervalSet) -> None:
    assert (normalized(a) == normalized(b)) == (numbers(a) == numbers(b))
    assert union(a, b) == normalized(union(b, a))
    for runs in (normalized(a), difference(a, b)):
        assert all(length for _, length in runs)
        assert all(x + length < y for (x, length), (y, _) in pairwise(runs))


def test_bytes() -> None:
    runs = ((2, 1), (7, 3))
    assert INTERVALS.pack(runs).hex() == "02000000" + "0200000000000000010000000000000007000000000000000300000000000000"
    assert INTERVALS.unpack(INTERVALS.pack(runs)) == runs
    with pytest.raises(PeerError, match="4000000 runs in 8 bytes"):
        INTERVALS.decode(Decoder((4_000_000).to_bytes(4, "little") + bytes(8)))
