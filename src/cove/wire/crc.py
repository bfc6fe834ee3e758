"""Ceph's crc32c: Castagnoli's polynomial with a caller-chosen seed and no final inversion."""

from __future__ import annotations

import crc32c as _crc32c

from .encoding import Buffer


def ceph_crc32c(seed: int, data: Buffer) -> int:
    """The 32-bit checksum of `data`, continuing from `seed` (0 or 0xffffffff at a start).

    The library inverts at both ends, Ceph at neither; so invert around it.
    """
    return int(_crc32c.crc32c(bytes(data), seed ^ 0xFFFFFFFF)) ^ 0xFFFFFFFF
