"""Sets of prefixes: joining, comparing and subtracting them, and finding room in one. Pure arithmetic.

A set is sorted, disjoint ranges of addresses as ints; all of it is of one IP version. Nothing here looks at each pair
of prefixes: it sorts once and passes over both lists together.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from cove.network.ipam import IPNetwork, Range

BITS = {4: 32, 6: 128}


def ranges_of(networks: Iterable[IPNetwork]) -> list[Range]:
    """The addresses of all these networks, as ranges without overlap or seam."""
    joined: list[Range] = []
    for first, last in sorted((int(n.network_address), int(n.broadcast_address)) for n in networks):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def difference(left: Iterable[Range], right: Iterable[Range]) -> list[Range]:
    """What is in the first set and not in the second."""
    result: list[Range] = []
    gaps = list(right)
    position = 0
    for first, last in left:
        start = first
        while position < len(gaps) and gaps[position][1] < start:
            position += 1
        cursor = position
        while cursor < len(gaps) and gaps[cursor][0] <= last:
            if start < gaps[cursor][0]:
                result.append((start, gaps[cursor][0] - 1))
            start = max(start, gaps[cursor][1] + 1)
            cursor += 1
        position = max(position, cursor - 1)
        if start <= last:
            result.append((start, last))
    return result


def overlap(left: Iterable[Range], right: Iterable[Range]) -> bool:
    """Whether two sets share an address."""
    left = list(left)
    return difference(left, right) != left


def cidrs(ranges: Iterable[Range], ip_version: int) -> list[IPNetwork]:
    """The fewest networks that are exactly these addresses, in ascending order."""
    address = ipaddress.IPv4Address if ip_version == 4 else ipaddress.IPv6Address
    result: list[IPNetwork] = []
    for first, last in ranges:
        result.extend(ipaddress.summarize_address_range(address(first), address(last)))
    return result


def compact(networks: Iterable[IPNetwork]) -> list[IPNetwork]:
    """The same addresses with the fewest networks, in ascending order. All are of one IP version."""
    given = list(networks)
    return cidrs(ranges_of(given), given[0].version) if given else []


def first_fit(free: Iterable[Range], ip_version: int, prefix_length: int) -> IPNetwork | None:
    """A network of that length out of a set: the first of the smallest block that has room for it (as Neutron).

    So large blocks stay whole as long as there are smaller ones.
    """
    blocks = [block for block in cidrs(free, ip_version) if block.prefixlen <= prefix_length]
    if not blocks:
        return None
    best = max(blocks, key=lambda block: block.prefixlen)
    return ipaddress.ip_network((best.network_address, prefix_length))


def contains(ranges: Iterable[Range], network: IPNetwork) -> bool:
    """Whether all addresses of a network are in the set."""
    first, last = int(network.network_address), int(network.broadcast_address)
    return any(start <= first and last <= end for start, end in ranges)
