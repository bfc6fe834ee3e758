# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.crush.hash import hash1, hash2, hash3, hash4, hash5, lanes_of
from cove.wire.crush.ln import DRAWS, LN_MAX, crush_ln
from cove.wire.errors import PeerError
from cove.wire.hashing import object_hash, str_hash_linux, str_hash_rjenkins

HASHES: tuple[Callable[..., int], ...] = (hash1, hash2, hash3, hash4, hash5)
NUMBERS = st.integers(-(2**31), 2**32 - 1)


def test_values_of_ceph():
    assert [hash1(0), hash1(1)] == [398764043, 3574081617]
    assert [hash2(1, 2), hash2(0, -1)] == [3079532188, 169703898]
    assert [hash3(1, 2, 3), hash3(12345, -2, 7)] == [1935332395, 3347251315]
    assert hash4(1, 2, 3, 4) == 1768759062
    assert hash5(1, 2, 3, 4, 5) == 1262657953


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_every_lane_is_hashed_as_if_it_were_alone(rows):
    lanes = lanes_of(len(rows))
    columns = [lanes.pack(column) for column in zip(*rows, strict=True)]
    for count, function in enumerate(HASHES, 1):
        expected = [function(*row[:count]) for row in rows]
        hashes = function(*columns[:count], lanes)
        assert list(lanes.whole(hashes)) == expected
        assert list(lanes.low(hashes)) == [value & 0xFFFF for value in expected]


@given(NUMBERS, st.integers(1, 9))
def test_one_number_in_all_lanes(number, count):
    lanes = lanes_of(count)
    assert lanes.spread(number) == lanes.pack([number] * count)


@pytest.mark.parametrize(
    ("u", "expected"),
    [
        (0, 0),
        (1, 1 << 44),
        (2, 27882955186109),
        (255, 1 << 47),
        (256, 140836779814266),
        (32767, 263882790666240),
        (32768, 263883565195424),
        (65534, 281474932780304),
        (65535, 281474708275200),
    ],
)
def test_logarithms_of_ceph(u, expected):
    assert crush_ln(u) == expected
    assert DRAWS[u] == LN_MAX - expected > 0


def test_draws_by_weight():
    u = hash3(1, 2, 3) & 0xFFFF
    assert u == 54315
    assert [DRAWS[u] // weight for weight in (0x10000, 0x18000)] == [72723397, 48482264]


@pytest.mark.parametrize(
    ("name", "rjenkins", "linux"),
    [
        (b"", 3175731469, 0),
        (b"a", 703514648, 17138),
        (b"foo", 2143417350, 2415402),
        (b"obj1", 0x6CF8DEFF, 28399855),
        (b"rbd_directory", 816417820, 2506742316),
        (b"0123456789a", 2430042782, 2597695638),
        (b"0123456789ab", 2465405648, 2804865556),
        (b"\0\xff" * 20, 529533780, 1601391220),
    ],
)
def test_names(name, rjenkins, linux):
    assert str_hash_rjenkins(name) == rjenkins
    assert str_hash_linux(name) == linux
    text = name.decode("utf-8", "surrogateescape")
    assert object_hash(text) == object_hash(text, kind=2) == rjenkins
    assert object_hash(text, kind=1) == linux


def test_a_pool_with_a_hash_that_does_not_exist():
    with pytest.raises(PeerError, match="function 3"):
        object_hash("foo", kind=3)
