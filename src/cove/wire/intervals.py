"""Sets of snapshot ids as runs: `interval_set<snapid>` of Ceph, as pools and maps carry them.

A set is a tuple of (start, length), ascending, disjoint, and merged where runs touch: one canonical form for equal
sets. What a peer sends is kept as it is and brought into that form where it is computed with.

Source: Ceph's include/interval_set.h.
"""

from __future__ import annotations

import struct

from .encoding import Decoder, Encoder
from .errors import PeerError
from .structure import Codec

IntervalSet = tuple[tuple[int, int], ...]

_RUN = struct.Struct("<QQ")


def contains(runs: IntervalSet, value: int) -> bool:
    """Whether a number is in the set."""
    return any(start <= value < start + length for start, length in runs)


def normalized(runs: IntervalSet) -> IntervalSet:
    """The canonical form: sorted, overlapping and touching runs joined, empty ones dropped."""
    merged: list[tuple[int, int]] = []
    for start, length in sorted(runs):
        if not length:
            continue
        if merged and start <= merged[-1][0] + merged[-1][1]:
            begin, before = merged[-1]
            merged[-1] = begin, max(before, start + length - begin)
        else:
            merged.append((start, length))
    return tuple(merged)


def union(a: IntervalSet, b: IntervalSet) -> IntervalSet:
    """What is in either set."""
    return normalized(a + b)


def difference(a: IntervalSet, b: IntervalSet) -> IntervalSet:
    """What is in `a` and not in `b`."""
    holes = normalized(b)
    left: list[tuple[int, int]] = []
    at = 0
    for start, length in normalized(a):
        end = start + length
        while at < len(holes) and holes[at][0] + holes[at][1] <= start:
            at += 1
        look = at
        while look < len(holes) and holes[look][0] < end:
            hole, size = holes[look]
            if hole > start:
                left.append((start, hole - start))
            start = max(start, hole + size)
            look += 1
        if start < end:
            left.append((start, end - start))
    return tuple(left)


def _encode(encoder: Encoder, runs: IntervalSet) -> None:
    encoder.u32(len(runs))
    for start, length in runs:
        encoder.u64(start)
        encoder.u64(length)


def _decode(decoder: Decoder) -> IntervalSet:
    count = decoder.u32()
    if count * _RUN.size > decoder.remaining:
        raise PeerError(f"an interval set of {count} runs in {decoder.remaining} bytes")
    return tuple(_RUN.iter_unpack(decoder.raw(count * _RUN.size)))


INTERVALS: Codec[IntervalSet] = Codec(_encode, _decode)
"""u32 count, then start and length of each run."""
