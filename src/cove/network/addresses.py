"""The addresses of one port: choosing, taking and giving back, with the rules of Networking v2.0's `fixed_ips`."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.network import errors, ipam, queries
from cove.network.models import ip_allocations
from cove.network.rows import Row
from cove.network.transaction import Transaction

FIXED_IPS_MAX = 64

_p = sa.bindparam
_insert = sa.insert(ip_allocations)
_holder = sa.select(ip_allocations.c.port_id).where(
    ip_allocations.c.network_id == _p("network_id"), ip_allocations.c.ip_address == _p("ip_address")
)
_delete_one = sa.delete(ip_allocations).where(
    ip_allocations.c.network_id == _p("n"),
    ip_allocations.c.ip_address == _p("a"),
    ip_allocations.c.port_id == _p("p"),
)
_delete_of_port = sa.delete(ip_allocations).where(ip_allocations.c.port_id == _p("p"))


@functools.lru_cache(maxsize=1024)
def network_of(cidr: str) -> ipaddress.IPv4Network:
    """The parsed CIDR of a subnet."""
    return ipaddress.IPv4Network(cidr)


def subnets_of(tx: Transaction, network_id: str) -> list[Row]:
    """The rows of a network's subnets, read once in a transaction."""
    rows = tx.subnets.get(network_id)
    if rows is None:
        rows = tx.subnets[network_id] = queries.subnet_rows(tx.connection, network_id)
    return rows


def allocate(
    tx: Transaction, network_id: str, port_id: str, wanted: Sequence[Mapping[str, str]] | None
) -> list[dict[str, str]]:
    """Give a new port its addresses: one from the first subnet that has any if `wanted` is None, else those wanted.

    Raises InvalidInput, SubnetNotFound, InvalidIpForSubnet, InvalidIpForNetwork, IpAddressAlreadyAllocated,
    IpAddressGenerationFailure.
    """
    subnets = subnets_of(tx, network_id)
    if wanted is None:
        fixed_ips = _any_address(tx, network_id, subnets)
    else:
        fixed_ips = take(tx, network_id, wanted)
    _store(tx, network_id, port_id, fixed_ips, position=0)
    return fixed_ips


def take(tx: Transaction, network_id: str, wanted: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Take the wanted addresses out of the free ranges; named ones first, as automatic ones must avoid them."""
    if len(wanted) > FIXED_IPS_MAX:
        raise errors.InvalidInput(reason=f"a port has at most {FIXED_IPS_MAX} fixed_ips, {len(wanted)} are given")
    subnets = subnets_of(tx, network_id)
    chosen: list[tuple[Row, str | None]] = [
        (_subnet_for(tx, network_id, subnets, want), want.get("ip_address")) for want in wanted
    ]
    taken: dict[int, str] = {}
    for index, (subnet, address) in enumerate(chosen):
        if address is not None:
            _take_address(tx, network_id, subnet, address)
            taken[index] = address
    for index, (subnet, address) in enumerate(chosen):
        if address is None:
            offset = ipam.take_next(tx.connection, subnet["id"])
            if offset is None:
                raise errors.IpAddressGenerationFailure(network_id=network_id)
            taken[index] = ipam.address_at(network_of(subnet["cidr"]), offset)
    return [{"subnet_id": subnet["id"], "ip_address": taken[i]} for i, (subnet, _) in enumerate(chosen)]


def change(
    tx: Transaction,
    network_id: str,
    port_id: str,
    before: list[dict[str, str]],
    wanted: Sequence[Mapping[str, str]],
) -> list[dict[str, str]]:
    """Set a port's addresses to those wanted, keeping what it has where that serves; returns them.

    A wanted entry without an address keeps an address that the port has in that subnet (Neutron: update_port).
    """
    kept: dict[int, dict[str, str]] = {}
    rest = {entry["ip_address"]: entry for entry in before}
    for index, want in enumerate(wanted):
        old = rest.get(want.get("ip_address", ""))
        if old is not None and want.get("subnet_id", old["subnet_id"]) == old["subnet_id"]:
            kept[index] = rest.pop(old["ip_address"])
    for index, want in enumerate(wanted):
        if index in kept or "ip_address" in want:
            continue
        old = next((entry for entry in rest.values() if entry["subnet_id"] == want.get("subnet_id")), None)
        if old is not None:
            kept[index] = rest.pop(old["ip_address"])
    new_indexes = [index for index in range(len(wanted)) if index not in kept]
    if not rest and not new_indexes and [kept[i] for i in range(len(wanted))] == before:
        return before
    release(tx, network_id, port_id, list(rest.values()))
    added = dict(zip(new_indexes, take(tx, network_id, [wanted[i] for i in new_indexes]), strict=True))
    after = [kept.get(i) or added[i] for i in range(len(wanted))]
    tx.connection.execute(_delete_of_port, {"p": port_id})
    _store(tx, network_id, port_id, after, position=0)
    return after


def release(tx: Transaction, network_id: str, port_id: str, fixed_ips: Sequence[Mapping[str, str]]) -> None:
    """Give a port's addresses back to their subnets."""
    subnets = {subnet["id"]: subnet for subnet in subnets_of(tx, network_id)}
    for entry in fixed_ips:
        subnet = subnets[entry["subnet_id"]]
        network = network_of(subnet["cidr"])
        tx.connection.execute(_delete_one, {"n": network_id, "a": entry["ip_address"], "p": port_id})
        ipam.release(
            tx.connection,
            subnet["id"],
            ipam.offset_of(network, entry["ip_address"]),
            ipam.pool_ranges(network, subnet["allocation_pools"]),
        )


def _any_address(tx: Transaction, network_id: str, subnets: Sequence[Row]) -> list[dict[str, str]]:
    """One address, of the first subnet that has one left; none on a network without subnets."""
    for subnet in subnets:
        offset = ipam.take_next(tx.connection, subnet["id"])
        if offset is not None:
            address = ipam.address_at(network_of(subnet["cidr"]), offset)
            return [{"subnet_id": subnet["id"], "ip_address": address}]
    if subnets:
        raise errors.IpAddressGenerationFailure(network_id=network_id)
    return []


def _subnet_for(tx: Transaction, network_id: str, subnets: Sequence[Row], want: Mapping[str, str]) -> Row:
    if not subnets:
        raise errors.InvalidInput(reason=f"fixed_ips were given, and network {network_id} has no subnet")
    subnet_id, address = want.get("subnet_id"), want.get("ip_address")
    if subnet_id is None and address is None:
        raise errors.InvalidInput(reason="an entry of fixed_ips needs a subnet_id or an ip_address")
    if subnet_id is None:
        assert address is not None
        for subnet in subnets:
            if ipam.is_host_address(network_of(subnet["cidr"]), address):
                return subnet
        raise errors.InvalidIpForNetwork(ip_address=address, network_id=network_id)
    named = next((row for row in subnets if row["id"] == subnet_id), None)
    if named is None:
        queries.subnet_row(tx.connection, tx.context, subnet_id)  # not found at all: that is the better answer
        raise errors.InvalidInput(reason=f"subnet {subnet_id} in fixed_ips is not on network {network_id}")
    if address is not None and not ipam.is_host_address(network_of(named["cidr"]), address):
        raise errors.InvalidIpForSubnet(ip_address=address, subnet_id=subnet_id, cidr=named["cidr"])
    return named


def _take_address(tx: Transaction, network_id: str, subnet: Row, address: str) -> None:
    offset = ipam.offset_of(network_of(subnet["cidr"]), address)
    if ipam.take(tx.connection, subnet["id"], offset):
        return
    # Outside the pools, which is allowed, or allocated. (The constraint has the last word: this is for the message.)
    if tx.connection.execute(_holder, {"network_id": network_id, "ip_address": address}).first() is not None:
        raise errors.IpAddressAlreadyAllocated(ip_address=address, subnet_id=subnet["id"])


def _store(
    tx: Transaction, network_id: str, port_id: str, fixed_ips: Sequence[Mapping[str, Any]], *, position: int
) -> None:
    if fixed_ips:
        tx.connection.execute(
            _insert,
            [
                {**entry, "network_id": network_id, "port_id": port_id, "position": position + index}
                for index, entry in enumerate(fixed_ips)
            ],
        )
