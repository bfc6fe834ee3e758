from __future__ import annotations

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.network import prefixes
from cove.network.ipam import IPNetwork, Range, network_of

BITS = 6
"""The model is the last 6 bits of an address space: 64 addresses, of which all sets can be compared one by one."""
BASES = {4: int(ipaddress.IPv4Address("192.0.2.64")), 6: int(ipaddress.IPv6Address("2001:db8::40"))}


def members(ranges: list[Range]) -> set[int]:
    return {address for first, last in ranges for address in range(first, last + 1)}


def network(version: int, offset: int, length: int) -> IPNetwork:
    """The network of 2^(6-length) addresses that holds an offset of the model."""
    total = prefixes.BITS[version] - BITS + length
    address = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    return ipaddress.ip_network((address(BASES[version] + offset), total), strict=False)


VERSION = st.sampled_from((4, 6))
PARTS = st.lists(st.tuples(st.integers(0, 63), st.integers(0, BITS)), max_size=8)


@given(VERSION, PARTS, PARTS)
def test_sets_of_prefixes_are_sets(version: int, left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    ours, theirs = ([network(version, *part) for part in side] for side in (left, right))
    a, b = prefixes.ranges_of(ours), prefixes.ranges_of(theirs)
    model_a, model_b = members(a), members(b)
    assert model_a == {int(address) for each in ours for address in each}
    assert all(one[1] + 1 < two[0] for one, two in itertools.pairwise(a))
    assert members(prefixes.difference(a, b)) == model_a - model_b
    assert prefixes.overlap(a, b) is bool(model_a & model_b)
    assert all(prefixes.contains(a, each) is ({int(x) for x in each} <= model_a) for each in theirs)


@given(VERSION, PARTS)
def test_compact_is_the_fewest_networks(version: int, parts: list[tuple[int, int]]) -> None:
    given_networks = [network(version, *part) for part in parts]
    result = prefixes.compact(given_networks)
    assert result == list(ipaddress.collapse_addresses(given_networks))  # type: ignore[type-var]
    assert prefixes.ranges_of(result) == prefixes.ranges_of(given_networks)


@given(VERSION, PARTS, PARTS, st.integers(0, BITS))
def test_first_fit_against_every_possible_place(
    version: int, pool: list[tuple[int, int]], taken: list[tuple[int, int]], length: int
) -> None:
    have = prefixes.ranges_of(network(version, *part) for part in pool)
    free = prefixes.difference(have, prefixes.ranges_of(network(version, *part) for part in taken))
    left = members(free)
    bits = prefixes.BITS[version] - BITS + length

    def fits(candidate: IPNetwork) -> bool:
        return {int(address) for address in candidate} <= left

    every = [network(version, offset, length) for offset in range(0, 64, 1 << (BITS - length))]
    possible = [candidate for candidate in every if fits(candidate)]
    found = prefixes.first_fit(free, version, bits)
    if not possible:
        assert found is None
        return
    assert found in possible

    # It is the first one in the smallest free block that is large enough.
    def block_of(candidate: IPNetwork) -> IPNetwork:
        while fits(candidate.supernet()):
            candidate = candidate.supernet()
        return candidate

    assert found is not None
    smallest = max(block_of(candidate).prefixlen for candidate in possible)
    assert found == min(
        (candidate for candidate in possible if block_of(candidate).prefixlen == smallest),
        key=lambda candidate: int(candidate.network_address),
    )


def test_large_blocks_stay_whole_while_there_are_smaller_ones() -> None:
    free = prefixes.difference(
        prefixes.ranges_of([network_of("10.0.0.0/16")]), prefixes.ranges_of([network_of("10.0.255.0/25")])
    )
    assert prefixes.first_fit(free, 4, 26) == network_of("10.0.255.128/26")
    assert prefixes.first_fit(free, 4, 24) == network_of("10.0.254.0/24")
    assert prefixes.first_fit(free, 4, 17) == network_of("10.0.0.0/17")
    assert prefixes.first_fit(free, 4, 16) is None


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_from_nothing(version: int) -> None:
    assert prefixes.first_fit([], version, 24) is None
    assert prefixes.compact([]) == []
    assert not prefixes.overlap([], [(0, 5)])
