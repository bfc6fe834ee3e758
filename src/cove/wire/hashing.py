"""Placement hashes: object name → 32-bit hash → placement group.

Source: Robert Jenkins' 1997 string hash as Ceph uses it (common/ceph_hash), and Ceph's `stable_mod`.
"""

from __future__ import annotations

from .errors import PeerError

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9

MIX_BIAS = 1 << 34
"""Keeps the subtractions of `mix` from borrowing out of a lane: more than a + b + c can be."""


def mix(a: int, b: int, c: int, bias: int = MIX_BIAS, mask: int = _MASK) -> tuple[int, int, int]:
    """Stir three 32-bit numbers, as every hash of Ceph's placement does.

    Works on many triples at once, one in each lane of three long integers, if `bias` and `mask` are given with their
    bits in every lane. Lanes have at least 48 bits: what is shifted up stays inside, and what is shifted down out of
    the next lane arrives above the 32 bits that the mask keeps.
    """
    a = (a + bias - b - c ^ c >> 13) & mask
    b = (b + bias - c - a ^ a << 8) & mask
    c = (c + bias - a - b ^ b >> 13) & mask
    a = (a + bias - b - c ^ c >> 12) & mask
    b = (b + bias - c - a ^ a << 16) & mask
    c = (c + bias - a - b ^ b >> 5) & mask
    a = (a + bias - b - c ^ c >> 3) & mask
    b = (b + bias - c - a ^ a << 10) & mask
    c = (c + bias - a - b ^ b >> 15) & mask
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
        a, b, c = mix(a, b, c)
    tail = data[whole:]
    c = (c + length) & _MASK
    a = (a + int.from_bytes(tail[0:4], "little")) & _MASK
    b = (b + int.from_bytes(tail[4:8], "little")) & _MASK
    # the lowest byte of c holds the length, so the rest starts one byte higher
    c = (c + (int.from_bytes(tail[8:12], "little") << 8)) & _MASK
    return mix(a, b, c)[2]


def str_hash_linux(data: bytes) -> int:
    """The 32-bit hash of a name, object_hash 1 of a pool: what Linux' dcache once used."""
    value = 0
    for byte in data:
        value = (value + (byte << 4) + (byte >> 4)) * 11 & _MASK
    return value


OBJECT_HASH_LINUX = 1
OBJECT_HASH_RJENKINS = 2
_OBJECT_HASHES = {OBJECT_HASH_LINUX: str_hash_linux, OBJECT_HASH_RJENKINS: str_hash_rjenkins}


def object_hash(oid: str, key: str = "", nspace: str = "", kind: int = OBJECT_HASH_RJENKINS) -> int:
    """The raw placement hash of an object: of its key, or else its name, with the namespace mixed in.

    `kind` is the pool's object_hash. Raises PeerError if the pool has one that does not exist.
    """
    name = (key or oid).encode("utf-8", "surrogateescape")
    if nspace:
        name = nspace.encode("utf-8", "surrogateescape") + b"\x1f" + name
    hash_of = _OBJECT_HASHES.get(kind)
    if hash_of is None:
        raise PeerError(f"a pool hashes names by function {kind}, which does not exist")
    return hash_of(name)


def stable_mod(x: int, n: int) -> int:
    """`x` modulo the PG count `n`, such that growing `n` splits groups instead of shuffling all of them."""
    mask = (1 << (n - 1).bit_length()) - 1
    t = x & mask
    return t if t < n else x & (mask >> 1)


def reverse_bits(value: int) -> int:
    """The 32 bits of a hash in reverse: listings run in this order."""
    return int(f"{value & _MASK:032b}"[::-1], 2)
