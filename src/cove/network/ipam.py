"""Addresses: the arithmetic of subnets and pools for both IP versions, and allocation from free ranges.

Free addresses of a subnet are ranges of offsets from its first address, in `subnet_free_ranges`; they cover what lies
in an allocation pool and is not allocated. Taking the next one is one index look-up and one update, in ascending
order, however many addresses are taken; giving one back joins it to its neighbours. Requested addresses may lie outside
the pools, and never touch a range then. Here offsets are ints; in the table they are 32 hexadecimal digits.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.network import errors
from cove.network.models import subnet_free_ranges as ranges
from cove.network.retry import Retry

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

Range = tuple[int, int]
"""First and last offset, both included."""

Pools = Sequence[Mapping[str, str]]
"""Allocation pools as the API has them: [{"start", "end"}]."""

ROUTER_INTERFACE_OWNERS = (
    "network:router_interface",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
)
ROUTER_OWNERS = (*ROUTER_INTERFACE_OWNERS, "network:router_centralized_snat")
"""device_owner of ports that take their addresses as routers do: from pools, never from their MAC address."""
ROUTER_PORT_OWNERS = (*ROUTER_OWNERS, "network:router_gateway")

EUI64_PREFIX_LENGTH = 64
_EUI64_MARK, _EUI64_MASK = 0xFFFE << 24, 0xFFFF << 24
_LOCAL_BIT = 1 << 57
"""The bit of an interface identifier that says "assigned globally" inverted (RFC 4291, appendix A)."""


# --- arithmetic on a subnet ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def network_of(cidr: str) -> IPNetwork:
    """The parsed CIDR of a subnet."""
    return ipaddress.ip_network(cidr)


def host_range(network: IPNetwork) -> Range:
    """Offsets that pools may hold.

    IPv4: all but the network and broadcast address; /31 and /32 have neither (RFC 3021). IPv6: all but the first,
    which every router answers to (RFC 4291, section 2.6.1); a /128 is its own only host.
    """
    size = network.num_addresses
    if network.version == 6:
        return (0, 0) if size == 1 else (1, size - 1)
    return (0, size - 1) if size <= 2 else (1, size - 2)


def offset_of(network: IPNetwork, address: str) -> int:
    """The offset of an address (of the same version) from the subnet's first; negative for one before it."""
    return int(ipaddress.ip_address(address)) - int(network.network_address)


def address_at(network: IPNetwork, offset: int) -> str:
    """The address at an offset."""
    return str(network.network_address + offset)


def is_host_address(network: IPNetwork, address: str, device_owner: str = "") -> bool:
    """Whether a port may have the address: in the subnet, and not one that stands for something else there.

    IPv4: neither the network nor the broadcast address. IPv6: the subnet's first address is for routers, and for ports
    of whom nothing is known.
    """
    ip = ipaddress.ip_address(address)
    if ip.version != network.version or ip not in network:
        return False
    if network.version == 4:
        return network.prefixlen >= 31 or ip not in (network.network_address, network.broadcast_address)
    return not device_owner or device_owner in ROUTER_PORT_OWNERS or ip != network.network_address


def default_gateway(network: IPNetwork) -> str:
    """The gateway of a subnet that names none: IPv4 its first host address; IPv6 the routers' anycast address.

    (Neutron 29. One that is cut out of a subnet pool gets its second address instead: see `subnetpools`.)
    """
    if network.version == 6:
        return str(network.network_address)
    # Of a /32, that is the address behind it: a gateway may lie outside the subnet.
    return address_at(network, 0 if network.prefixlen == 31 else 1)


def default_pools(network: IPNetwork, gateway_ip: str | None) -> list[dict[str, str]]:
    """The pools of a subnet that names none: every host address but the gateway; the one address of a /32 or /128."""
    first, last = host_range(network)
    kept: list[Range] = [(first, last)]
    if gateway_ip is not None and network.num_addresses > 1 and same_version(network, gateway_ip):
        gateway = offset_of(network, gateway_ip)
        if first <= gateway <= last:
            kept = [(a, b) for a, b in ((first, gateway - 1), (gateway + 1, last)) if a <= b]
    return [{"start": address_at(network, a), "end": address_at(network, b)} for a, b in kept]


def same_version(network: IPNetwork, address: str) -> bool:
    """Whether an address is of the subnet's IP version."""
    return (":" in address) == (network.version == 6)


def check_pools(network: IPNetwork, pools: Pools) -> None:
    """Refuse pools that are reversed, leave the host addresses, or overlap.

    Raises InvalidAllocationPool, OutOfBoundsAllocationPool, OverlappingAllocationPools.
    """
    first, last = host_range(network)
    spans: list[tuple[int, int, str]] = []
    for pool in pools:
        text = f"{pool['start']}-{pool['end']}"
        if not (same_version(network, pool["start"]) and same_version(network, pool["end"])):
            raise errors.InvalidAllocationPool(pool=text, reason=f"it is not of IP version {network.version}")
        start, end = offset_of(network, pool["start"]), offset_of(network, pool["end"])
        if start > end:
            raise errors.InvalidAllocationPool(pool=text, reason="the start comes after the end")
        if start < first or end > last:
            raise errors.OutOfBoundsAllocationPool(pool=text, cidr=network)
        spans.append((start, end, text))
    spans.sort()
    for (_, end, text), (start, _, next_text) in itertools.pairwise(spans):
        if start <= end:
            raise errors.OverlappingAllocationPools(pool_1=text, pool_2=next_text, cidr=network)


def check_gateway(network: IPNetwork, gateway_ip: str | None, pools: Pools) -> None:
    """Refuse a gateway of the other IP version, one that is a network or broadcast address, or one inside a pool.

    It may lie outside the subnet: hosts then reach it on the link (a /32's gateway; IPv6: fe80::1).
    Raises InvalidInput, GatewayConflictWithAllocationPools.
    """
    if gateway_ip is None:
        return
    if not same_version(network, gateway_ip):
        raise errors.InvalidInput(reason=f"gateway_ip {gateway_ip} is not of IP version {network.version}")
    gateway = offset_of(network, gateway_ip)
    if network.version == 4 and network.prefixlen < 31 and gateway in (0, network.num_addresses - 1):
        raise errors.InvalidInput(reason=f"gateway_ip {gateway_ip} is the network or broadcast address of {network}")
    for pool in pools:
        if offset_of(network, pool["start"]) <= gateway <= offset_of(network, pool["end"]):
            raise errors.GatewayConflictWithAllocationPools(
                ip_address=gateway_ip, pool=f"{pool['start']}-{pool['end']}"
            )


def in_order(network: IPNetwork, pools: Pools) -> list[dict[str, str]]:
    """The pools, the lowest first."""
    return sorted((dict(pool) for pool in pools), key=lambda pool: offset_of(network, pool["start"]))


def pool_ranges(network: IPNetwork, pools: Iterable[Mapping[str, str]]) -> list[Range]:
    """The pools as sorted, disjoint ranges; adjacent ones are joined, as `release` would join them."""
    joined: list[Range] = []
    for first, last in sorted((offset_of(network, p["start"]), offset_of(network, p["end"])) for p in pools):
        if joined and joined[-1][1] + 1 >= first:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def pool_size(network: IPNetwork, pools: Pools) -> int:
    """How many addresses the pools have: up to 2^128."""
    return sum(last - first + 1 for first, last in pool_ranges(network, pools))


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


# --- addresses that follow from a MAC address ------------------------------------------------------------------------


def eui64(network: IPNetwork, mac_address: str) -> str:
    """The address that a host gives itself in a /64 (RFC 4862), from its MAC address aa:bb:cc:dd:ee:ff."""
    assert network.version == 6, network
    assert network.prefixlen == EUI64_PREFIX_LENGTH, network
    mac = int(mac_address.replace(":", ""), 16)
    identifier = (mac >> 24 << 40 | _EUI64_MARK | mac & 0xFFFFFF) ^ _LOCAL_BIT
    return address_at(network, identifier)


def is_eui64(address: str) -> bool:
    """Whether an address has the form that `eui64` gives: ff:fe in the middle of its interface identifier."""
    ip = ipaddress.ip_address(address)
    return ip.version == 6 and int(ip) & _EUI64_MASK == _EUI64_MARK


# --- the table of free ranges ----------------------------------------------------------------------------------------


def text_of(offset: int) -> str:
    """An offset as the table holds it: sorts as the number does."""
    return f"{offset:032x}"


_p = sa.bindparam
# Ranges are disjoint, so the order of their ends is that of their beginnings.
_ranges = sa.select(ranges.c.first, ranges.c.last).where(ranges.c.subnet_id == _p("s")).order_by(ranges.c.last).limit(1)
_lowest = _ranges
_at_or_above = _ranges.where(ranges.c.last >= _p("o"))
_ending_at = _ranges.where(ranges.c.last == _p("o"))
# The old bounds are part of every condition: where transactions can interleave, the loser changes no row and retries.
_same = (ranges.c.subnet_id == _p("s"), ranges.c.first == _p("f"), ranges.c.last == _p("l"))
_set_first = sa.update(ranges).where(*_same).values(first=_p("new"))
_set_last = sa.update(ranges).where(*_same).values(last=_p("new"))
_delete = sa.delete(ranges).where(*_same)
_insert = sa.insert(ranges)
_delete_all = sa.delete(ranges).where(ranges.c.subnet_id == _p("s"))


def _change(
    connection: sa.Connection, statement: Any, subnet_id: str, first: int, last: int, new: int | None = None
) -> None:
    values = {"s": subnet_id, "f": text_of(first), "l": text_of(last)}
    if new is not None:
        values["new"] = text_of(new)
    if connection.execute(statement, values).rowcount != 1:
        raise Retry("a free range changed under the transaction")


def _add(connection: sa.Connection, subnet_id: str, free: Iterable[Range]) -> None:
    rows = [{"subnet_id": subnet_id, "first": text_of(first), "last": text_of(last)} for first, last in free]
    if rows:
        connection.execute(_insert, rows)


def _find(connection: sa.Connection, statement: Any, subnet_id: str, offset: int | None = None) -> Range | None:
    values = {"s": subnet_id} if offset is None else {"s": subnet_id, "o": text_of(offset)}
    row = connection.execute(statement, values).first()
    return None if row is None else (int(row[0], 16), int(row[1], 16))


def replace_ranges(connection: sa.Connection, subnet_id: str, free: Iterable[Range]) -> None:
    """Set all free ranges of a subnet."""
    connection.execute(_delete_all, {"s": subnet_id})
    _add(connection, subnet_id, free)


def add_ranges(connection: sa.Connection, subnet_id: str, free: Iterable[Range]) -> None:
    """Set the free ranges of a subnet that has none yet."""
    _add(connection, subnet_id, free)


def take_next(connection: sa.Connection, subnet_id: str) -> int | None:
    """Take the lowest free offset of a subnet; None if it is exhausted."""
    found = _find(connection, _lowest, subnet_id)
    if found is None:
        return None
    first, last = found
    if first == last:
        _change(connection, _delete, subnet_id, first, last)
    else:
        _change(connection, _set_first, subnet_id, first, last, first + 1)
    return first


def take(connection: sa.Connection, subnet_id: str, offset: int) -> bool:
    """Take one offset out of the free ranges; False if it is in none (outside the pools, or allocated)."""
    found = _find(connection, _at_or_above, subnet_id, offset)
    if found is None or found[0] > offset:
        return False
    first, last = found
    if first == last:
        _change(connection, _delete, subnet_id, first, last)
    elif offset == first:
        _change(connection, _set_first, subnet_id, first, last, first + 1)
    elif offset == last:
        _change(connection, _set_last, subnet_id, first, last, last - 1)
    else:
        _change(connection, _set_last, subnet_id, first, last, offset - 1)
        _add(connection, subnet_id, [(offset + 1, last)])
    return True


def release(connection: sa.Connection, subnet_id: str, offset: int, pools: Iterable[Range]) -> None:
    """Give an allocated offset back: it joins its free neighbours. One outside the pools just disappears."""
    if not any(first <= offset <= last for first, last in pools):
        return
    above = _find(connection, _at_or_above, subnet_id, offset)
    if above is not None and above[0] <= offset:
        raise AssertionError(f"offset {offset} of subnet {subnet_id} is free already")
    if above is not None and above[0] > offset + 1:
        above = None  # no neighbour
    below = _find(connection, _ending_at, subnet_id, offset - 1) if offset else None
    if below is not None:
        if above is not None:
            _change(connection, _delete, subnet_id, *above)
        _change(connection, _set_last, subnet_id, *below, offset if above is None else above[1])
    elif above is not None:
        _change(connection, _set_first, subnet_id, *above, offset)
    else:
        _add(connection, subnet_id, [(offset, offset)])
