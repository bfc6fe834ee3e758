"""Ceph's crc32c: Castagnoli's polynomial with a caller-chosen seed and no final inversion.

Used by frames, by maps, and by the store's checksums.

Source: Ceph's include/crc32c.h.
"""

from __future__ import annotations

import crc32c as _crc32c

from .encoding import Buffer

CRC_MASK = 0xFFFFFFFF

crc32c_extend = _crc32c.crc32c
"""The library's own: `crc32c_extend(data, previous=0)`, inverted at both ends. Where every call counts (frames),
it is used directly: with Ceph's seed 0xffffffff the two differ by one inversion at the end."""


def ceph_crc32c(seed: int, data: Buffer) -> int:
    """The 32-bit checksum of `data` (contiguous), continuing from `seed` (0 or 0xffffffff at a start).

    The library inverts at both ends, Ceph at neither; so invert around it.
    """
    return int(crc32c_extend(data, seed ^ CRC_MASK)) ^ CRC_MASK
