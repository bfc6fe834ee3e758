"""How many addresses of each network and its subnets can be used, and are (extension network-ip-availability).

Read only, for admins by policy. Pools are counted from the subnets' own rows, used addresses by one GROUP BY for all of
them, and those in pools (extension network-ip-availability-details) from what is left free there: the number of
statements does not depend on how many networks there are, nor the work on how many ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import errors, ipam, networks
from cove.network.addresses import is_automatic
from cove.network.ipam import IPNetwork, network_of
from cove.network.models import ip_allocations, subnet_free_ranges, subnets
from cove.network.models import networks as table
from cove.network.resource import Object
from cove.network.rows import Row
from cove.network.tables.views import DETAILS, DETAILS_COUNTED
from cove.network.transaction import Reading

NAME = "network_ip_availability"
FILTERS: Mapping[str, sa.Column[Any]] = {
    "network_id": table.c.id,
    "network_name": table.c.name,
    "project_id": table.c.project_id,
    "tenant_id": table.c.project_id,
    "ip_version": subnets.c.ip_version,
}

_addresses = sa.select(ip_allocations.c.subnet_id, ip_allocations.c.ip_address).where(
    in_ids(ip_allocations.c.subnet_id, "ids")
)


@dataclass(frozen=True, slots=True)
class Query:
    """What a list request asks for. `marker`: id of the last network seen."""

    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    descending: bool = False
    limit: int | None = None
    marker: str | None = None


def get(reading: Reading, network_id: str) -> Object:
    """The counts of one network. Raises NetworkNotFound."""
    found = find(reading, Query({"network_id": [network_id]}))
    if not found:
        raise errors.NetworkNotFound(network_id=network_id)
    return found[0]


def find(reading: Reading, query: Query) -> list[Object]:
    """The counts of the networks that match and that the caller may see, by id. Numbers may exceed 64 bits."""
    connection, policy, context = reading.connection, reading.config.policy, reading.context
    page = _page(reading, query)
    rows = connection.execute(page).mappings().all()
    if not rows:
        return []
    ids = page.with_only_columns(table.c.id)
    its_subnets = sa.select(subnets).where(subnets.c.network_id.in_(ids))
    versions = _versions(query)
    if versions is not None:
        its_subnets = its_subnets.where(subnets.c.ip_version.in_(versions))
    by_network: dict[str, list[Row]] = {}
    for subnet in connection.execute(its_subnets.order_by(subnets.c.created_ns, subnets.c.id)).mappings():
        by_network.setdefault(subnet["network_id"], []).append(subnet)
    counts = connection.execute(
        sa.select(ip_allocations.c.subnet_id, sa.func.count())
        .where(ip_allocations.c.network_id.in_(ids))
        .group_by(ip_allocations.c.subnet_id)
    )
    used = {subnet_id: count for subnet_id, count in counts}  # noqa: C416 (rows are no pairs to mypy)
    in_pools = _in_pools(reading, its_subnets, [subnet for some in by_network.values() for subnet in some])
    found = [_of_network(row, by_network.get(row["id"], ()), used, in_pools) for row in rows]
    return [item for item in found if policy.may_get(context, NAME, item)]


def _page(reading: Reading, query: Query) -> sa.Select[Any]:
    statement = sa.select(table)
    if not reading.config.policy.sees_all(reading.context):
        statement = statement.where(networks.scope(reading.context))
    for name, values in query.filters.items():
        if name != "ip_version":
            statement = statement.where(FILTERS[name].in_([value for value in values if "\x00" not in str(value)]))
    versions = _versions(query)
    if versions is not None:
        statement = statement.where(
            sa.exists().where(subnets.c.network_id == table.c.id, subnets.c.ip_version.in_(versions))
        )
    if query.marker is not None:
        statement = statement.where(table.c.id < query.marker if query.descending else table.c.id > query.marker)
    statement = statement.order_by(table.c.id.desc() if query.descending else table.c.id)
    return statement if query.limit is None else statement.limit(query.limit)


def _versions(query: Query) -> list[int] | None:
    if "ip_version" not in query.filters:
        return None
    return [value for value in query.filters["ip_version"] if value in (4, 6)]


def _in_pools(reading: Reading, selected: sa.Select[Any], its_subnets: Sequence[Row]) -> dict[str, int]:
    """Subnet → how many of the addresses that are used lie in its pools: what is not free there."""
    if not its_subnets:
        return {}
    sizes = {each["id"]: ipam.pool_size(network_of(each["cidr"]), each["allocation_pools"]) for each in its_subnets}
    ids = selected.with_only_columns(subnets.c.id)
    free = sa.select(subnet_free_ranges).where(subnet_free_ranges.c.subnet_id.in_(ids))
    for subnet_id, first, last in reading.connection.execute(free):
        sizes[subnet_id] -= int(last, 16) - int(first, 16) + 1
    # Of addresses that hosts make from their MAC addresses the free ranges know nothing.
    automatic = {each["id"]: network_of(each["cidr"]) for each in its_subnets if is_automatic(each)}
    pools = {
        each["id"]: ipam.pool_ranges(automatic[each["id"]], each["allocation_pools"])
        for each in its_subnets
        if each["id"] in automatic
    }
    if automatic:
        for subnet_id, address in reading.connection.execute(_addresses, {"ids": ids_parameter(automatic)}):
            offset = ipam.offset_of(automatic[subnet_id], address)
            if ipam.is_eui64(address) and any(first <= offset <= last for first, last in pools[subnet_id]):
                sizes[subnet_id] += 1
    return sizes


def _of_network(row: Row, its_subnets: Sequence[Row], used: Mapping[str, int], in_pools: Mapping[str, int]) -> Object:
    parts = [
        {
            "subnet_id": subnet["id"],
            "ip_version": subnet["ip_version"],
            "cidr": subnet["cidr"],
            "subnet_name": subnet["name"],
            "used_ips": used.get(subnet["id"], 0),
            "total_ips": total_ips(subnet["cidr"], subnet["allocation_pools"]),
            DETAILS: {
                "total_ips_in_subnet": _hosts(network_of(subnet["cidr"])),
                "total_ips_in_allocation_pool": ipam.pool_size(network_of(subnet["cidr"]), subnet["allocation_pools"]),
                "used_ips_in_subnet": used.get(subnet["id"], 0),
                "used_ips_in_allocation_pool": in_pools[subnet["id"]],
            },
        }
        for subnet in its_subnets
    ]
    return {
        "network_id": row["id"],
        "network_name": row["name"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "subnet_ip_availability": parts,
        "used_ips": sum(part["used_ips"] for part in parts),
        "total_ips": sum(part["total_ips"] for part in parts),
        DETAILS: {name: sum(part[DETAILS][name] for part in parts) for name in DETAILS_COUNTED},
    }


def total_ips(cidr: str, pools: Sequence[Mapping[str, str]]) -> int:
    """The addresses of a subnet's pools; all of its prefix where it has none."""
    if not pools:
        return ipaddress.ip_network(cidr).num_addresses
    return sum(int(ipaddress.ip_address(pool["end"])) - int(ipaddress.ip_address(pool["start"])) + 1 for pool in pools)


def _hosts(network: IPNetwork) -> int:
    """The addresses of a prefix that a host can have; IPv6 knows no address that none can have (so says Neutron)."""
    if network.version == 6:
        return network.num_addresses
    first, last = ipam.host_range(network)
    return last - first + 1
