"""The addresses of one port: choosing, taking and giving back, with the rules of Networking v2.0's `fixed_ips`.

A port that asks for nothing gets one address of each IP version from the oldest subnet that has one left. Whatever it
asks for, it also gets an address in every subnet where hosts make their own from their MAC address (SLAAC and stateless
DHCPv6): it will use it anyway. Routers' ports are the exception, they take theirs from the pools there too.

One network's addresses are given out by one transaction at a time (`lock`). What follows from a MAC address is unique
without that, and is in no free range; what is taken from a pool is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cove.db import locks
from cove.network import errors, ipam, rbac_policies
from cove.network.context import RequestContext
from cove.network.ipam import ROUTER_INTERFACE_OWNERS, ROUTER_OWNERS, network_of
from cove.network.models import ip_allocations, ports, subnets
from cove.network.rows import Row
from cove.network.transaction import Transaction

FIXED_IPS_MAX = 64
OWNER_DHCP = "network:dhcp"
AUTOMATIC_MODES = frozenset({"slaac", "dhcpv6-stateless"})
"""Modes in which hosts make their addresses themselves (EUI-64)."""

FixedIp = dict[str, str]

_LOCKED = "addresses.locked"

_p = sa.bindparam
_of_network = sa.select(subnets).where(subnets.c.network_id == _p("id")).order_by(subnets.c.created_ns, subnets.c.id)
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


@dataclass(frozen=True, slots=True)
class _Want:
    """One address to take: this one, or the next of the first of the subnets that has any."""

    subnets: Sequence[Row]
    address: str | None = None


# --- subnets ---------------------------------------------------------------------------------------------------------


def lock(tx: Transaction, network_id: str) -> None:
    """Keep other transactions from giving out or taking back addresses of the network until this one ends."""
    locked: set[str] = tx.memory.setdefault(_LOCKED, set())
    if network_id not in locked:
        locks.lock(tx.connection, "network", network_id)
        locked.add(network_id)


def subnets_of(tx: Transaction, network_id: str) -> list[Row]:
    """The rows of a network's subnets, oldest first, read once in a transaction, and locked until its end."""
    rows = tx.subnets.get(network_id)
    if rows is None:
        lock(tx, network_id)
        rows = tx.subnets[network_id] = list(tx.connection.execute(_of_network, {"id": network_id}).mappings())
    return rows


def is_automatic(subnet: Row) -> bool:
    """Whether hosts in the subnet make their addresses from their MAC address."""
    return subnet["ipv6_address_mode"] in AUTOMATIC_MODES or subnet["ipv6_ra_mode"] in AUTOMATIC_MODES


def subnet_scope(context: RequestContext) -> sa.ColumnElement[bool]:
    """Subnets that a caller who is no admin may see: its own, and those on networks shared with it or external."""
    return sa.or_(
        subnets.c.project_id == context.project_id,
        subnets.c.network_id.in_(rbac_policies.shared_with(context, "network")),
        subnets.c.network_id.in_(rbac_policies.shared_with(context, "network", "access_as_external")),
    )


def serves(subnet: Row, device_owner: str) -> bool:
    """Whether ports of that owner may have addresses from the subnet (extension subnet-service-types)."""
    types = subnet["service_types"]
    return not types or device_owner in types or (device_owner == OWNER_DHCP and bool(subnet["enable_dhcp"]))


def _candidates(rows: Sequence[Row], network_id: str, device_owner: str) -> list[Row]:
    """The subnets for a port of that owner, those made for such ports first. Raises …NoMatchingSubnet."""
    found = [row for row in rows if serves(row, device_owner)]
    if rows and not found:
        raise errors.IpAddressGenerationFailureNoMatchingSubnet(network_id=network_id, service_type=device_owner)
    if any(row["service_types"] for row in found):
        found.sort(key=lambda row: not row["service_types"])
    return found


# --- for ports -------------------------------------------------------------------------------------------------------


def allocate(
    tx: Transaction,
    network_id: str,
    port_id: str,
    wanted: Sequence[Mapping[str, str]] | None,
    *,
    mac_address: str,
    device_owner: str,
) -> list[FixedIp]:
    """Give a new port (whose row is there already) its addresses, and store them; returns its fixed_ips.

    `wanted` is the request's fixed_ips, checked by `validators.fixed_ips`; None where it has none: then it gets one
    address of each IP version that the network's subnets have. One of each SLAAC and DHCPv6-stateless subnet is added.

    Raises InvalidInput, SubnetNotFound, InvalidIpForSubnet, InvalidIpForNetwork, AllocationOnAutoAddressSubnet,
    IpAddressAlreadyAllocated, IpAddressGenerationFailure, IpAddressGenerationFailureNoMatchingSubnet.
    """
    _refuse_too_many(wanted or ())
    candidates = _candidates(subnets_of(tx, network_id), network_id, device_owner)
    if wanted is None:
        wants = _one_of_each_version(candidates)
    else:
        wants = _requested(tx, network_id, candidates, wanted, mac_address, device_owner)
    taken = {want.subnets[0]["id"] for want in wants if want.address is not None}
    wants += _automatic(candidates, mac_address, device_owner, taken)
    fixed_ips = _take(tx, network_id, wants)
    _store(tx, network_id, port_id, fixed_ips)
    return fixed_ips


def change(
    tx: Transaction,
    network_id: str,
    port_id: str,
    before: list[FixedIp],
    wanted: Sequence[Mapping[str, str]],
    *,
    mac_address: str,
    device_owner: str,
) -> list[FixedIp]:
    """Set a port's addresses to those wanted, keeping what it has where that serves; returns its fixed_ips after that.

    A wanted entry without an address keeps one that the port has in that subnet. Addresses that follow from the MAC
    address stay, whether they are wanted or not; those of another MAC address (it is changing) are replaced.
    Raises what `allocate` raises.
    """
    _refuse_too_many(wanted)
    rows = subnets_of(tx, network_id)
    by_id = {row["id"]: row for row in rows}
    router = device_owner in ROUTER_OWNERS
    stale = set() if router else {e["ip_address"] for e in before if _is_stale(by_id[e["subnet_id"]], e, mac_address)}
    rest = {entry["ip_address"]: entry for entry in before if entry["ip_address"] not in stale}
    kept: dict[int, FixedIp] = {}
    added: dict[int, Mapping[str, str]] = {}
    for index, want in enumerate(wanted):
        old = rest.get(want.get("ip_address", ""))
        if old is not None and want.get("subnet_id", old["subnet_id"]) == old["subnet_id"]:
            kept[index] = rest.pop(old["ip_address"])
    for index, want in enumerate(wanted):
        if index in kept or want.get("ip_address") in stale:
            continue
        old = None
        if "ip_address" not in want:
            old = next((entry for entry in rest.values() if entry["subnet_id"] == want.get("subnet_id")), None)
        if old is not None:
            kept[index] = rest.pop(old["ip_address"])
        else:
            added[index] = want
    staying = [] if router else [entry for entry in rest.values() if is_automatic(by_id[entry["subnet_id"]])]
    removed = [entry for entry in before if entry not in kept.values() and entry not in staying]

    candidates = _candidates(rows, network_id, device_owner) if added else [r for r in rows if serves(r, device_owner)]
    wants = {
        index: _requested(tx, network_id, candidates, [want], mac_address, device_owner)
        for index, want in added.items()
    }
    have = {entry["subnet_id"] for entry in (*kept.values(), *staying)}
    have |= {want.subnets[0]["id"] for some in wants.values() for want in some if want.address is not None}
    automatic = _automatic(candidates, mac_address, device_owner, have)
    flat = [want for index in sorted(wants) for want in wants[index]]
    if not (removed or flat or automatic):
        return before
    _give_back(tx, network_id, port_id, removed)
    taken = iter(_take(tx, network_id, [*flat, *automatic]))
    after: list[FixedIp] = []
    for index in range(len(wanted)):
        after += [kept[index]] if index in kept else [next(taken) for _ in wants.get(index, ())]
    after += [*staying, *taken]
    tx.connection.execute(_delete_of_port, {"p": port_id})
    _store(tx, network_id, port_id, after)
    return after


def mac_changed(
    tx: Transaction, network_id: str, port_id: str, fixed_ips: list[FixedIp], mac_address: str
) -> list[FixedIp]:
    """Make a port's EUI-64 addresses those of its new MAC address; returns its fixed_ips after that.

    For ports of hosts: routers' ports have no addresses that follow from their MAC address.
    """
    by_id = {row["id"]: row for row in subnets_of(tx, network_id)}
    if not any(_is_stale(by_id[entry["subnet_id"]], entry, mac_address) for entry in fixed_ips):
        return fixed_ips
    return change(tx, network_id, port_id, fixed_ips, fixed_ips, mac_address=mac_address, device_owner="")


def release(tx: Transaction, network_id: str, port_id: str, fixed_ips: Sequence[Mapping[str, str]]) -> None:
    """Give a port's addresses back to their subnets."""
    if fixed_ips:
        _give_back(tx, network_id, port_id, fixed_ips)


# --- for subnets -----------------------------------------------------------------------------------------------------


def add_to_ports(tx: Transaction, subnet: Row) -> list[str]:
    """A SLAAC or DHCPv6-stateless subnet is new: each host's port on its network gets its address there.

    Returns the ids of the ports, whose revision counts up. A fixed number of statements.
    """
    network_id = subnet["network_id"]
    found = tx.connection.execute(
        sa.select(ports.c.id, ports.c.mac_address, ports.c.device_owner, _last_position())
        .where(ports.c.network_id == network_id, ports.c.device_owner.not_in(ROUTER_OWNERS))
        .order_by(ports.c.id)
    )
    network = network_of(subnet["cidr"])
    rows = [
        {
            "network_id": network_id,
            "ip_address": ipam.eui64(network, mac_address),
            "subnet_id": subnet["id"],
            "port_id": port_id,
            "position": 0 if last is None else last + 1,
        }
        for port_id, mac_address, device_owner, last in found
        if serves(subnet, device_owner)
    ]
    if rows:
        tx.connection.execute(_insert, rows)
        given = sa.select(ip_allocations.c.port_id).where(ip_allocations.c.subnet_id == subnet["id"])
        touch_ports(tx, ports.c.id.in_(given))
    return [row["port_id"] for row in rows]


def _last_position() -> sa.ScalarSelect[Any]:
    return (
        sa.select(sa.func.max(ip_allocations.c.position))
        .where(ip_allocations.c.port_id == ports.c.id)
        .correlate(ports)
        .scalar_subquery()
    )


def touch_ports(tx: Transaction, which: sa.ColumnElement[bool]) -> None:
    """Ports changed: count their revisions up."""
    tx.connection.execute(
        sa.update(ports).where(which).values(revision_number=ports.c.revision_number + 1, updated_at=tx.now_text)
    )


def free_ranges(subnet: Row, pools: ipam.Pools, allocated: Iterable[str]) -> list[ipam.Range]:
    """The free ranges of a subnet with these pools, of which these addresses are given out."""
    network = network_of(subnet["cidr"])
    offsets = [ipam.offset_of(network, address) for address in allocated if _is_tracked(subnet, address)]
    return ipam.subtract(ipam.pool_ranges(network, pools), offsets)


# --- steps -----------------------------------------------------------------------------------------------------------


def _one_of_each_version(candidates: Sequence[Row]) -> list[_Want]:
    """What a port gets that asks for nothing: an IPv4 address, and an IPv6 one where a server gives them out."""
    by_version: dict[int, list[Row]] = {4: [], 6: []}
    for subnet in candidates:
        if not is_automatic(subnet):
            by_version[subnet["ip_version"]].append(subnet)
    return [_Want(rows) for rows in by_version.values() if rows]


def _automatic(candidates: Sequence[Row], mac_address: str, device_owner: str, exclude: Collection[str]) -> list[_Want]:
    """The addresses that follow from the MAC address, in the subnets that have such (but those excluded, by id)."""
    if device_owner in ROUTER_OWNERS:
        return []
    return [
        _Want((subnet,), ipam.eui64(network_of(subnet["cidr"]), mac_address))
        for subnet in candidates
        if is_automatic(subnet) and subnet["id"] not in exclude
    ]


def _requested(
    tx: Transaction,
    network_id: str,
    candidates: Sequence[Row],
    wanted: Sequence[Mapping[str, str]],
    mac_address: str,
    device_owner: str,
) -> list[_Want]:
    """What the entries of fixed_ips ask for; those that name a subnet with automatic addresses are left to these."""
    wants = []
    for want in wanted:
        subnet, address = _subnet_for(tx, network_id, candidates, want, device_owner), want.get("ip_address")
        if is_automatic(subnet):
            if address is None and device_owner not in ROUTER_OWNERS:
                continue
            if (
                address is not None
                and device_owner not in ROUTER_INTERFACE_OWNERS
                and address != ipam.eui64(network_of(subnet["cidr"]), mac_address)
            ):
                raise errors.AllocationOnAutoAddressSubnet(ip_address=address, subnet_id=subnet["id"])
        wants.append(_Want((subnet,), address))
    return wants


def _subnet_for(
    tx: Transaction, network_id: str, candidates: Sequence[Row], want: Mapping[str, str], device_owner: str
) -> Row:
    if not candidates:
        raise errors.InvalidInput(reason=f"fixed_ips were given, and network {network_id} has no subnet")
    subnet_id, address = want.get("subnet_id"), want.get("ip_address")
    if subnet_id is None and address is None:
        raise errors.InvalidInput(reason="an entry of fixed_ips needs a subnet_id or an ip_address")
    if subnet_id is None:
        assert address is not None
        for subnet in candidates:
            if ipam.is_host_address(network_of(subnet["cidr"]), address, device_owner):
                return subnet
        raise errors.InvalidIpForNetwork(ip_address=address, network_id=network_id)
    named = next((row for row in candidates if row["id"] == subnet_id), None)
    if named is None:
        _refuse_unseen(tx, subnet_id)  # not found at all: that is the better answer
        raise errors.InvalidInput(
            reason=f"subnet {subnet_id} in fixed_ips is not on network {network_id}, or not for such ports"
        )
    if address is not None and not ipam.is_host_address(network_of(named["cidr"]), address, device_owner):
        raise errors.InvalidIpForSubnet(ip_address=address, subnet_id=subnet_id, cidr=named["cidr"])
    return named


def _refuse_too_many(wanted: Sequence[Mapping[str, str]]) -> None:
    if len(wanted) > FIXED_IPS_MAX:
        raise errors.InvalidInput(reason=f"a port has at most {FIXED_IPS_MAX} fixed_ips, {len(wanted)} are given")


def _refuse_unseen(tx: Transaction, subnet_id: str) -> None:
    statement = sa.select(subnets.c.id).where(subnets.c.id == subnet_id)
    if not tx.config.policy.sees_all(tx.context):
        statement = statement.where(subnet_scope(tx.context))
    if tx.connection.execute(statement).first() is None:
        raise errors.SubnetNotFound(subnet_id=subnet_id)


def _take(tx: Transaction, network_id: str, wants: Sequence[_Want]) -> list[FixedIp]:
    """Take addresses; named ones first, as others must avoid them. Returns them in the order of `wants`."""
    taken: dict[int, FixedIp] = {}
    for index, want in enumerate(wants):
        if want.address is not None:
            subnet = want.subnets[0]
            _take_named(tx, network_id, subnet, want.address)
            taken[index] = {"subnet_id": subnet["id"], "ip_address": want.address}
    for index, want in enumerate(wants):
        if want.address is None:
            taken[index] = _take_next(tx, network_id, want.subnets)
    return [taken[index] for index in range(len(wants))]


def _take_named(tx: Transaction, network_id: str, subnet: Row, address: str) -> None:
    if _is_tracked(subnet, address):
        offset = ipam.offset_of(network_of(subnet["cidr"]), address)
        if ipam.take(tx.connection, subnet["id"], offset):
            return
    # Outside the pools, which is allowed, or allocated. (The constraint has the last word: this is for the message.)
    if tx.connection.execute(_holder, {"network_id": network_id, "ip_address": address}).first() is not None:
        raise errors.IpAddressAlreadyAllocated(ip_address=address, subnet_id=subnet["id"])


def _take_next(tx: Transaction, network_id: str, rows: Sequence[Row]) -> FixedIp:
    for subnet in rows:
        offset = ipam.take_next(tx.connection, subnet["id"])
        if offset is not None:
            return {"subnet_id": subnet["id"], "ip_address": ipam.address_at(network_of(subnet["cidr"]), offset)}
    raise errors.IpAddressGenerationFailure(network_id=network_id)


def _give_back(tx: Transaction, network_id: str, port_id: str, fixed_ips: Iterable[Mapping[str, str]]) -> None:
    by_id = {row["id"]: row for row in subnets_of(tx, network_id)}
    for entry in fixed_ips:
        subnet, address = by_id[entry["subnet_id"]], entry["ip_address"]
        tx.connection.execute(_delete_one, {"n": network_id, "a": address, "p": port_id})
        if _is_tracked(subnet, address):
            network = network_of(subnet["cidr"])
            pools = ipam.pool_ranges(network, subnet["allocation_pools"])
            ipam.release(tx.connection, subnet["id"], ipam.offset_of(network, address), pools)


def _is_tracked(subnet: Row, address: str) -> bool:
    """Whether the free ranges know of an address. What follows from MAC addresses would shred them."""
    return not (is_automatic(subnet) and ipam.is_eui64(address))


def _is_stale(subnet: Row, entry: Mapping[str, str], mac_address: str) -> bool:
    """Whether an address follows from another MAC address than the port's."""
    address = entry["ip_address"]
    return (
        is_automatic(subnet)
        and ipam.is_eui64(address)
        and address != ipam.eui64(network_of(subnet["cidr"]), mac_address)
    )


def _store(tx: Transaction, network_id: str, port_id: str, fixed_ips: Sequence[FixedIp]) -> None:
    if fixed_ips:
        tx.connection.execute(
            _insert,
            [
                {**entry, "network_id": network_id, "port_id": port_id, "position": position}
                for position, entry in enumerate(fixed_ips)
            ],
        )
