# mypy: allow-untyped-calls
from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.crc import ceph_crc32c
from cove.wire.hashing import object_hash, reverse_bits, stable_mod, str_hash_rjenkins


def test_the_hash_that_every_ceph_manual_shows():
    # `ceph osd map POOL foo` prints pg N.7fc1f406
    assert str_hash_rjenkins(b"foo") == 0x7FC1F406
    assert object_hash("foo") == 0x7FC1F406


def test_the_key_replaces_the_name_and_the_namespace_is_mixed_in():
    assert object_hash("anything", key="foo") == object_hash("foo")
    assert object_hash("foo", nspace="ns") == str_hash_rjenkins(b"ns\x1ffoo") != object_hash("foo")


@given(st.binary(max_size=40))
def test_hashes_have_32_bits(data):
    assert 0 <= str_hash_rjenkins(data) < 1 << 32


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_stable_mod_stays_within_and_splits_in_place(x, n):
    seed = stable_mod(x, n)
    assert 0 <= seed < n
    after = stable_mod(x, n + 1)
    assert after in (seed, n)  # one more group: an object stays, or goes to the new one


def test_stable_mod_spreads():
    counts = Counter(stable_mod(str_hash_rjenkins(str(i).encode()), 12) for i in range(6000))
    assert set(counts) == set(range(12))


@given(st.integers(0, 2**32 - 1))
def test_reversing_twice_gives_the_number_back(x):
    assert reverse_bits(reverse_bits(x)) == x
    assert reverse_bits(1) == 1 << 31


@pytest.mark.parametrize(
    ("seed", "data", "expected"),
    [
        (0, b"foo bar baz", 4119623852),
        (1234, b"foo bar baz", 881700046),
        (0, b"whiz bang boom", 2360230088),
        (5678, b"whiz bang boom", 3743019208),
        (0, b"", 0),
    ],
)
def test_crc_values_of_ceph(seed, data, expected):
    assert ceph_crc32c(seed, data) == expected


@given(st.binary(max_size=50), st.integers(0, 50))
def test_crcs_chain(data, cut):
    assert ceph_crc32c(ceph_crc32c(7, data[:cut]), data[cut:]) == ceph_crc32c(7, data)
    assert ceph_crc32c(7, memoryview(data)) == ceph_crc32c(7, bytearray(data))
