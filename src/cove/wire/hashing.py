"""Placement hashes: object name → 32-bit hash → placement group.

Source: Robert Jenkins' 1997 string hash as Ceph uses it (common/ceph_hash), and Ceph's `stable_mod`.
"""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    a = ((a - b - c) & _MASK) ^ (c >> 13)
    b = ((b - c - a) & _MASK) ^ ((a << 8) & _MASK)
    c = ((c - a - b) & _MASK) ^ (b >> 13)
    a = ((a - b - c) & _MASK) ^ (c >> 12)
    b = ((b - c - a) & _MASK) ^ ((a << 16) & _MASK)
    c = ((c - a - b) & _MASK) ^ (b >> 5)
    a = ((a - b - c) & _MASK) ^ (c >> 3)
    b = ((b - c - a) & _MASK) ^ ((a << 10) & _MASK)
    c = ((c - a - b) & _MASK) ^ (b >> 15)
    return a, b, c


def str_hash_rjenkins(data: bytes) -> int:
    """The 32-bit hash of a name, object_hash 2 of a pool."""
    a = b = _GOLDEN
    c = 0
    length = len(data)
    whole = length - length % 12
    for i in range(0, whole, 12):
        a = (a + int.from_bytes(data[i : i + 4], "little")) & _MASK
        b = (b + int.from_bytes(data[i + 4 : i + 8], "little")) & _MASK
        c = (c + int.from_bytes(data[i + 8 : i + 12], "little")) & _MASK
        a, b, c = _mix(a, b, c)
    tail = data[whole:]
    c = (c + length) & _MASK
    a = (a + int.from_bytes(tail[0:4], "little")) & _MASK
    b = (b + int.from_bytes(tail[4:8], "little")) & _MASK
    # the lowest byte of c holds the length, so the rest starts one byte higher
    c = (c + (int.from_bytes(tail[8:12], "little") << 8)) & _MASK
    return _mix(a, b, c)[2]


def object_hash(oid: str, key: str = "", nspace: str = "") -> int:
    """The raw placement hash of an object: of its key, or else its name, with the namespace mixed in."""
    name = (key or oid).encode("utf-8", "surrogateescape")
    if nspace:
        name = nspace.encode("utf-8", "surrogateescape") + b"\x1f" + name
    return str_hash_rjenkins(name)


def stable_mod(x: int, n: int) -> int:
    """`x` modulo the PG count `n`, such that growing `n` splits groups instead of shuffling all of them."""
    mask = (1 << (n - 1).bit_length()) - 1
    t = x & mask
    return t if t < n else x & (mask >> 1)


def reverse_bits(value: int) -> int:
    """The 32 bits of a hash in reverse: listings run in this order."""
    return int(f"{value & _MASK:032b}"[::-1], 2)
