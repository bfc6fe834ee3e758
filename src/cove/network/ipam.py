"""Addresses: pool arithmetic, and allocation from free ranges.

Free addresses of a subnet are ranges of offsets in `subnet_free_ranges`; they cover what lies in an allocation pool
and is not allocated. Taking the next one is one index look-up and one update, in ascending order, however many
addresses are taken; giving one back joins it to its neighbours. Requested addresses may lie outside the pools, and
never touch a range then.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.network import errors
from cove.network.models import subnet_free_ranges as ranges
from cove.network.retry import Retry

Range = tuple[int, int]
"""First and last offset, both included."""


# --- arithmetic on a subnet ------------------------------------------------------------------------------------------


def host_range(network: ipaddress.IPv4Network) -> Range:
    """Offsets of the host addresses: all but the network and broadcast address; /31 and /32 have neither."""
    size = network.num_addresses
    return (0, size - 1) if size <= 2 else (1, size - 2)


def offset_of(network: ipaddress.IPv4Network, address: str) -> int:
    """The offset of an address from the subnet's first."""
    return int(ipaddress.IPv4Address(address)) - int(network.network_address)


def address_at(network: ipaddress.IPv4Network, offset: int) -> str:
    """The address at an offset."""
    return str(ipaddress.IPv4Address(int(network.network_address) + offset))


def is_host_address(network: ipaddress.IPv4Network, address: str) -> bool:
    """Whether a port may have the address: in the subnet, and neither its network nor its broadcast address.

    A /31 or /32 has neither of those two (RFC 3021): all its addresses are host addresses.
    """
    ip = ipaddress.IPv4Address(address)
    if ip not in network:
        return False
    return network.prefixlen >= 31 or ip not in (network.network_address, network.broadcast_address)


def default_pools(network: ipaddress.IPv4Network, gateway_ip: str | None) -> list[dict[str, str]]:
    """The pools of a subnet that names none: every host address but the gateway."""
    first, last = host_range(network)
    kept: list[Range] = [(first, last)]
    if gateway_ip is not None and first <= (gateway := offset_of(network, gateway_ip)) <= last:
        kept = [(a, b) for a, b in ((first, gateway - 1), (gateway + 1, last)) if a <= b]
    return [{"start": address_at(network, a), "end": address_at(network, b)} for a, b in kept]


def check_pools(network: ipaddress.IPv4Network, pools: Sequence[Mapping[str, str]]) -> None:
    """Refuse pools that are reversed, leave the host addresses, or overlap.

    Raises InvalidAllocationPool, OutOfBoundsAllocationPool, OverlappingAllocationPools.
    """
    first, last = host_range(network)
    spans: list[tuple[int, int, str]] = []
    for pool in pools:
        text = f"{pool['start']}-{pool['end']}"
        start, end = offset_of(network, pool["start"]), offset_of(network, pool["end"])
        if start > end:
            raise errors.InvalidAllocationPool(pool=text)
        if start < first or end > last:
            raise errors.OutOfBoundsAllocationPool(pool=text, cidr=network)
        spans.append((start, end, text))
    spans.sort()
    for (_, end, text), (start, _, next_text) in itertools.pairwise(spans):
        if start <= end:
            raise errors.OverlappingAllocationPools(pool_1=text, pool_2=next_text, cidr=network)


def check_gateway(network: ipaddress.IPv4Network, gateway_ip: str | None, pools: Sequence[Mapping[str, str]]) -> None:
    """Refuse a gateway outside the subnet's host addresses or inside a pool.

    Raises InvalidInput, GatewayConflictWithAllocationPools.
    """
    if gateway_ip is None:
        return
    if not is_host_address(network, gateway_ip):
        raise errors.InvalidInput(reason=f"gateway_ip {gateway_ip} is not a host address of {network}")
    gateway = offset_of(network, gateway_ip)
    for pool in pools:
        if offset_of(network, pool["start"]) <= gateway <= offset_of(network, pool["end"]):
            raise errors.GatewayConflictWithAllocationPools(
                ip_address=gateway_ip, pool=f"{pool['start']}-{pool['end']}"
            )


def pool_ranges(network: ipaddress.IPv4Network, pools: Iterable[Mapping[str, str]]) -> list[Range]:
    """The pools as sorted, disjoint ranges; adjacent ones are joined, as `release` would join them."""
    joined: list[Range] = []
    for first, last in sorted((offset_of(network, p["start"]), offset_of(network, p["end"])) for p in pools):
        if joined and joined[-1][1] + 1 >= first:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def subtract(free: Iterable[Range], taken: Iterable[int]) -> list[Range]:
    """The ranges without the single offsets in `taken`."""
    gaps = sorted(set(taken))
    result: list[Range] = []
    position = 0
    for first, last in sorted(free):
        start = first
        while position < len(gaps) and gaps[position] < start:
            position += 1
        cursor = position
        while cursor < len(gaps) and gaps[cursor] <= last:
            if start <= gaps[cursor] - 1:
                result.append((start, gaps[cursor] - 1))
            start = gaps[cursor] + 1
            cursor += 1
        position = cursor
        if start <= last:
            result.append((start, last))
    return result


# --- the table of free ranges ----------------------------------------------------------------------------------------

_p = sa.bindparam
_lowest = (
    sa.select(ranges.c.first, ranges.c.last).where(ranges.c.subnet_id == _p("s")).order_by(ranges.c.first).limit(1)
)
_at_or_below = (
    sa.select(ranges.c.first, ranges.c.last)
    .where(ranges.c.subnet_id == _p("s"), ranges.c.first <= _p("o"))
    .order_by(ranges.c.first.desc())
    .limit(1)
)
_above = sa.select(ranges.c.last).where(ranges.c.subnet_id == _p("s"), ranges.c.first == _p("o"))
# The old bounds are part of every condition: where transactions can interleave, the loser changes no row and retries.
_same = (ranges.c.subnet_id == _p("s"), ranges.c.first == _p("f"), ranges.c.last == _p("l"))
_set_first = sa.update(ranges).where(*_same).values(first=_p("new"))
_set_last = sa.update(ranges).where(*_same).values(last=_p("new"))
_delete = sa.delete(ranges).where(*_same)
_insert = sa.insert(ranges)
_delete_all = sa.delete(ranges).where(ranges.c.subnet_id == _p("s"))


def _changed(result: sa.CursorResult[Any]) -> None:
    if result.rowcount != 1:
        raise Retry("a free range changed under the transaction")


def replace_ranges(connection: sa.Connection, subnet_id: str, free: Iterable[Range]) -> None:
    """Set all free ranges of a subnet."""
    connection.execute(_delete_all, {"s": subnet_id})
    rows = [{"subnet_id": subnet_id, "first": first, "last": last} for first, last in free]
    if rows:
        connection.execute(_insert, rows)


def take_next(connection: sa.Connection, subnet_id: str) -> int | None:
    """Take the lowest free offset of a subnet; None if it is exhausted."""
    row = connection.execute(_lowest, {"s": subnet_id}).first()
    if row is None:
        return None
    first, last = row
    bounds = {"s": subnet_id, "f": first, "l": last}
    _changed(
        connection.execute(_delete, bounds)
        if first == last
        else connection.execute(_set_first, {**bounds, "new": first + 1})
    )
    return int(first)


def take(connection: sa.Connection, subnet_id: str, offset: int) -> bool:
    """Take one offset out of the free ranges; False if it is in none (outside the pools, or allocated)."""
    row = connection.execute(_at_or_below, {"s": subnet_id, "o": offset}).first()
    if row is None or row[1] < offset:
        return False
    first, last = row
    bounds = {"s": subnet_id, "f": first, "l": last}
    if first == last:
        _changed(connection.execute(_delete, bounds))
    elif offset == first:
        _changed(connection.execute(_set_first, {**bounds, "new": first + 1}))
    elif offset == last:
        _changed(connection.execute(_set_last, {**bounds, "new": last - 1}))
    else:
        _changed(connection.execute(_set_last, {**bounds, "new": offset - 1}))
        connection.execute(_insert, {"subnet_id": subnet_id, "first": offset + 1, "last": last})
    return True


def release(connection: sa.Connection, subnet_id: str, offset: int, pools: Iterable[Range]) -> None:
    """Give an allocated offset back: it joins its free neighbours. One outside the pools just disappears."""
    if not any(first <= offset <= last for first, last in pools):
        return
    below = connection.execute(_at_or_below, {"s": subnet_id, "o": offset}).first()
    if below is not None and below[1] >= offset:
        raise AssertionError(f"offset {offset} of subnet {subnet_id} is free already")
    above = connection.execute(_above, {"s": subnet_id, "o": offset + 1}).first()
    joins_below = below is not None and below[1] == offset - 1
    if joins_below and above is not None:
        assert below is not None
        _changed(connection.execute(_delete, {"s": subnet_id, "f": offset + 1, "l": above[0]}))
        _changed(connection.execute(_set_last, {"s": subnet_id, "f": below[0], "l": below[1], "new": above[0]}))
    elif joins_below:
        assert below is not None
        _changed(connection.execute(_set_last, {"s": subnet_id, "f": below[0], "l": below[1], "new": offset}))
    elif above is not None:
        _changed(connection.execute(_set_first, {"s": subnet_id, "f": offset + 1, "l": above[0], "new": offset}))
    else:
        connection.execute(_insert, {"subnet_id": subnet_id, "first": offset, "last": offset})
