"""CRUSH's hash of one to five numbers, for one set of arguments or for a whole bucket at once.

A bucket compares one draw for each of its items. Instead of hashing them one after the other, the arguments of all
items are laid side by side in long integers (`Lanes`), and each step of the hash is done once for all: Python's cost
is in the number of operations, not in the length of the numbers.

Source: Ceph's crush/hash.c (rjenkins1).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from ..hashing import MIX_BIAS, mix

_MASK = 0xFFFFFFFF
_SEED = 1315423911
_X = 231232
_Y = 1232
_LANE_BITS = 48
_LANE_BYTES = _LANE_BITS // 8


class Lanes:
    """`count` numbers of 32 bits in one integer, 48 bits apart, the first lowest; and the constants in that form."""

    __slots__ = ("_all", "_low", "bias", "count", "mask", "ones", "seed", "x", "y")

    def __init__(self, count: int) -> None:
        self.count = count
        self.ones = int.from_bytes(b"\1\0\0\0\0\0" * count, "little")
        self.mask = _MASK * self.ones
        self.bias = MIX_BIAS * self.ones
        self.seed = _SEED * self.ones
        self.x = _X * self.ones
        self.y = _Y * self.ones
        self._all = struct.Struct("<" + "I2x" * count)
        self._low = struct.Struct("<" + "H4x" * count)

    def pack(self, values: Sequence[int]) -> int:
        """One number in each lane, modulo 2^32."""
        return int.from_bytes(self._all.pack(*[value & _MASK for value in values]), "little")

    def spread(self, value: int) -> int:
        """The same number in all lanes, modulo 2^32."""
        return (value & _MASK) * self.ones

    def whole(self, packed: int) -> tuple[int, ...]:
        """The 32 bits of each lane."""
        return self._all.unpack(packed.to_bytes(_LANE_BYTES * self.count, "little"))

    def low(self, packed: int) -> tuple[int, ...]:
        """The lower 16 bits of each lane."""
        return self._low.unpack(packed.to_bytes(_LANE_BYTES * self.count, "little"))


_SHARED_COUNT_MAX = 1024
_shared_lanes = lru_cache(maxsize=128)(Lanes)


def lanes_of(count: int) -> Lanes:
    """Lanes for a bucket of that size; buckets of the same size share them, unless they are so large as to be rare."""
    return _shared_lanes(count) if count <= _SHARED_COUNT_MAX else Lanes(count)


SCALAR = Lanes(1)


def hash1(a: int, lanes: Lanes = SCALAR) -> int:
    """Of one number. In all of these, numbers count modulo 2^32, and lanes must be those the arguments are laid in."""
    bias, mask = lanes.bias, lanes.mask
    a &= mask
    h = mix(a, lanes.x, lanes.seed ^ a, bias, mask)[2]
    return mix(lanes.y, a, h, bias, mask)[2]


def hash2(a: int, b: int, lanes: Lanes = SCALAR) -> int:
    """Of two numbers."""
    bias, mask = lanes.bias, lanes.mask
    a &= mask
    b &= mask
    a, b, h = mix(a, b, lanes.seed ^ a ^ b, bias, mask)
    _, a, h = mix(lanes.x, a, h, bias, mask)
    return mix(b, lanes.y, h, bias, mask)[2]


def hash3(a: int, b: int, c: int, lanes: Lanes = SCALAR) -> int:
    """Of three numbers."""
    bias, mask = lanes.bias, lanes.mask
    a &= mask
    b &= mask
    c &= mask
    a, b, h = mix(a, b, lanes.seed ^ a ^ b ^ c, bias, mask)
    c, x, h = mix(c, lanes.x, h, bias, mask)
    y, a, h = mix(lanes.y, a, h, bias, mask)
    b, x, h = mix(b, x, h, bias, mask)
    return mix(y, c, h, bias, mask)[2]


def hash4(a: int, b: int, c: int, d: int, lanes: Lanes = SCALAR) -> int:
    """Of four numbers."""
    bias, mask = lanes.bias, lanes.mask
    a &= mask
    b &= mask
    c &= mask
    d &= mask
    a, b, h = mix(a, b, lanes.seed ^ a ^ b ^ c ^ d, bias, mask)
    c, d, h = mix(c, d, h, bias, mask)
    a, x, h = mix(a, lanes.x, h, bias, mask)
    y, b, h = mix(lanes.y, b, h, bias, mask)
    c, x, h = mix(c, x, h, bias, mask)
    return mix(y, d, h, bias, mask)[2]


def hash5(a: int, b: int, c: int, d: int, e: int, lanes: Lanes = SCALAR) -> int:
    """Of five numbers."""
    bias, mask = lanes.bias, lanes.mask
    a &= mask
    b &= mask
    c &= mask
    d &= mask
    e &= mask
    a, b, h = mix(a, b, lanes.seed ^ a ^ b ^ c ^ d ^ e, bias, mask)
    c, d, h = mix(c, d, h, bias, mask)
    e, x, h = mix(e, lanes.x, h, bias, mask)
    y, a, h = mix(lanes.y, a, h, bias, mask)
    b, x, h = mix(b, x, h, bias, mask)
    y, c, h = mix(y, c, h, bias, mask)
    d, x, h = mix(d, x, h, bias, mask)
    return mix(y, e, h, bias, mask)[2]
