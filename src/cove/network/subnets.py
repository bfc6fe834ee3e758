"""Subnets: how they are shown, and creating, changing and deleting them inside a write transaction."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import addresses, errors, ipam, networks, notifier, provisioning, queries, subnetpools, tags
from cove.network import subnet_rules as rules
from cove.network.address_scopes import scopes_of_networks
from cove.network.ipam import IPNetwork, network_of
from cove.network.models import ip_allocations, ports, subnets
from cove.network.models import networks as networks_table
from cove.network.rbac_policies import shared_filter
from cove.network.resource import Object, Resource
from cove.network.rows import Row, new_row, standard
from cove.network.tables.subnet import SUBNET
from cove.network.transaction import Reading, Transaction
from cove.network.validators_addresses import PREFIX_DELEGATION

_p = sa.bindparam
_insert = sa.insert(subnets)
_delete = sa.delete(subnets).where(subnets.c.id == _p("id"))
_external = sa.select(networks_table.c.id).where(
    in_ids(networks_table.c.id, "ids"), networks_table.c.router_external == sa.true()
)
_allocated = sa.select(ip_allocations.c.ip_address).where(ip_allocations.c.subnet_id == _p("id"))
_give_back_all = sa.delete(ip_allocations).where(ip_allocations.c.subnet_id == _p("id"))
_users = (
    sa.select(ip_allocations.c.port_id, ip_allocations.c.ip_address)
    .join(ports, ports.c.id == ip_allocations.c.port_id)
    .where(ip_allocations.c.subnet_id == _p("id"))
    .limit(1)
)
_user = _users.where(ports.c.device_owner.not_in(networks.AUTO_DELETE_OWNERS))
_router = _users.where(ports.c.device_owner.in_(ipam.ROUTER_INTERFACE_OWNERS))
_gateway_router = _router.where(ip_allocations.c.ip_address == _p("address"))
_its_servers = (
    sa.select(ports.c.id, ports.c.project_id)
    .where(
        ports.c.id.in_(sa.select(ip_allocations.c.port_id).where(ip_allocations.c.subnet_id == _p("id"))),
        ports.c.device_owner.in_(networks.AUTO_DELETE_OWNERS),
    )
    .order_by(ports.c.id)
)
_of_port = (
    sa.select(ip_allocations.c.subnet_id, ip_allocations.c.ip_address)
    .where(ip_allocations.c.port_id == _p("id"))
    .order_by(ip_allocations.c.position)
)


# --- showing ---------------------------------------------------------------------------------------------------------


def subnet_dict(row: Row, tags: list[str], *, external: bool = False) -> Object:
    """A subnet as the API and the agents see it. `external`: whether its network leads outside."""
    return {
        "id": row["id"],
        "name": row["name"],
        "network_id": row["network_id"],
        "ip_version": row["ip_version"],
        "cidr": row["cidr"],
        "subnetpool_id": row["subnetpool_id"],
        "gateway_ip": row["gateway_ip"],
        "allocation_pools": row["allocation_pools"],
        "enable_dhcp": row["enable_dhcp"],
        "dns_nameservers": row["dns_nameservers"],
        "host_routes": row["host_routes"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "ipv6_ra_mode": row["ipv6_ra_mode"],
        "ipv6_address_mode": row["ipv6_address_mode"],
        "service_types": row["service_types"],
        "dns_publish_fixed_ip": row["dns_publish_fixed_ip"],
        "router:external": external,
        **standard(row, tags),
    }


def view(reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Subnets as the API shows them."""
    tags_of = tags.of(reading, "subnet", [row["id"] for row in rows])
    ids = ids_parameter({row["network_id"] for row in rows})
    external = set(reading.connection.execute(_external, {"ids": ids}).scalars())
    return [subnet_dict(row, tags_of.get(row["id"], []), external=row["network_id"] in external) for row in rows]


def _external_filter(_reading: Reading, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    outside = sa.select(networks_table.c.id).where(networks_table.c.router_external == sa.true())
    return queries.one_of(subnets.c.network_id.in_(outside), values)


# --- create ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a new subnet gets that its request may leave open."""

    network: IPNetwork
    gateway_ip: str | None
    pools: ipam.Pools
    pool: Row | None
    """The subnet pool that it comes from."""


def create(tx: Transaction, subnet_id: str, values: dict[str, Any]) -> Object:
    """Make a subnet and its free ranges; hosts' ports get their address in it, if it is one where they make them.

    Raises NetworkNotFound, BadRequest, InvalidInput, NetworkMTUSubnetConflict, the affinity errors, those of `ipam` and
    those of cutting from a subnet pool.
    """
    network_id, version = values["network_id"], values["ip_version"]
    network_row = networks.row_for_use(tx, network_id)
    others = addresses.subnets_of(tx, network_id)
    rules.check_mtu(network_id, network_row["mtu"], version)
    rules.check_lists("to be created", version, values)
    rules.check_ipv6_modes(version, values["ipv6_ra_mode"], values["ipv6_address_mode"], values["enable_dhcp"])
    plan = _plan(tx, values)
    rules.check_network(plan.network, version)
    rules.check_dhcp(plan.network, values["enable_dhcp"])
    rules.check_automatic(plan.network, values)
    rules.check_overlap(plan.network, network_id, others)
    scopes = scopes_of_networks(tx, [network_id]).get(network_id, (None, None)) if others else (None, None)
    rules.check_affinity(plan.pool, version, others, scopes[0 if version == 4 else 1])

    row = new_row(SUBNET, subnets, subnet_id, values, tx.now_text) | {
        "cidr": str(plan.network),
        "gateway_ip": plan.gateway_ip,
        "allocation_pools": list(plan.pools),
        "subnetpool_id": None if plan.pool is None else plan.pool["id"],
        "created_ns": time.time_ns(),
    }
    tx.connection.execute(_insert, row)
    ipam.add_ranges(tx.connection, subnet_id, ipam.pool_ranges(plan.network, plan.pools))
    if addresses.is_automatic(row):
        addresses.add_to_ports(tx, row)
    networks.touch(tx, network_id)
    subnet = subnet_dict(row, [], external=network_row["router_external"])
    network = networks.network_for_agents(network_row, [*(other["id"] for other in others), subnet_id])
    notifier.notify(tx, {"subnet": subnet, "network": network}, "subnet.create.end")
    return subnet


def _plan(tx: Transaction, values: Mapping[str, Any]) -> _Plan:
    """CIDR, gateway and pools of a new subnet, with what was not given filled in."""
    cidr, length = values.get("cidr"), values.get("prefixlen")
    if cidr is not None and length is not None:
        raise errors.BadRequest("cidr and prefixlen exclude each other; give one of them")
    if values["subnetpool_id"] == PREFIX_DELEGATION:
        raise errors.BadRequest("prefix delegation needs a router, and there are none here; name a subnet pool")
    pool = subnetpools.pool_for(tx, values)
    if cidr is not None:
        network = network_of(cidr)
        rules.check_network(network, values["ip_version"])
    elif pool is None:
        raise errors.BadRequest("the subnet needs a cidr, or a subnet pool that its prefix is to come from")
    elif "allocation_pools" in values:
        raise errors.BadRequest("allocation_pools need a cidr: the addresses are not known before the pool gives them")
    else:
        return _from_pool(tx, values, pool, pool["default_prefixlen"] if length is None else length)
    if pool is not None:
        subnetpools.cut(tx, pool, values["project_id"], network)
    gateway = values["gateway_ip"] if "gateway_ip" in values else ipam.default_gateway(network)
    return _Plan(network, gateway, rules.pools_of(network, values.get("allocation_pools"), gateway), pool)


def _from_pool(tx: Transaction, values: Mapping[str, Any], pool: Row, length: int) -> _Plan:
    """A subnet without a cidr: its gateway may say which network is meant, else it is any of that length."""
    gateway = values.get("gateway_ip")
    if gateway is not None:
        if (":" in gateway) != (pool["ip_version"] == 6):
            raise errors.InvalidInput(reason=f"gateway_ip {gateway} is not of IP version {pool['ip_version']}")
        if length > (128 if pool["ip_version"] == 6 else 32):
            raise errors.MaxPrefixSubnetAllocationError(prefixlen=length, max_prefixlen=pool["max_prefixlen"])
        wanted = ipaddress.ip_network(f"{gateway}/{length}", strict=False)
        network = subnetpools.cut(tx, pool, values["project_id"], wanted)
    else:
        network = subnetpools.cut(tx, pool, values["project_id"], length)
        if "gateway_ip" not in values:
            gateway = str(network.network_address + 1)
    return _Plan(network, gateway, rules.pools_of(network, None, gateway), pool)


# --- update ----------------------------------------------------------------------------------------------------------


def update(tx: Transaction, row: Row, changes: dict[str, Any]) -> Object:
    """Change a subnet. Raises InvalidInput, GatewayIpInUse, the errors of `ipam`."""
    subnet_id, network_id = row["id"], row["network_id"]
    network = network_of(row["cidr"])
    columns = {column: changes[name] for name, column in SUBNET.columns if name in changes}
    columns = {name: value for name, value in columns.items() if row[name] != value}
    after = {**row, **columns}
    rules.check_lists(subnet_id, row["ip_version"], columns)
    if "enable_dhcp" in columns:
        rules.check_dhcp(network, after["enable_dhcp"])
        rules.check_ipv6_modes(row["ip_version"], row["ipv6_ra_mode"], row["ipv6_address_mode"], after["enable_dhcp"])
    if "gateway_ip" in columns and row["gateway_ip"] is not None:
        _refuse_used_gateway(tx, row)
    if "allocation_pools" in columns:
        ipam.check_pools(network, after["allocation_pools"])
        columns["allocation_pools"] = after["allocation_pools"] = ipam.in_order(network, after["allocation_pools"])
    if "gateway_ip" in columns or "allocation_pools" in columns:
        ipam.check_gateway(network, after["gateway_ip"], after["allocation_pools"])
    if not columns:
        return view(tx, [row])[0]
    columns |= {"revision_number": row["revision_number"] + 1, "updated_at": tx.now_text}
    after |= columns
    if "allocation_pools" in columns or "enable_dhcp" in columns:
        # A port that is being made asks where there is DHCP, and takes addresses: before, or after, but not meanwhile.
        addresses.lock(tx, network_id)
    tx.connection.execute(sa.update(subnets).where(subnets.c.id == subnet_id).values(**columns))
    if "allocation_pools" in columns:
        taken = tx.connection.execute(_allocated, {"id": subnet_id}).scalars()
        ipam.replace_ranges(tx.connection, subnet_id, addresses.free_ranges(row, after["allocation_pools"], taken))
    if columns.get("enable_dhcp") is False:
        provisioning.lift_where_unserved(tx, network_id)
    networks.touch(tx, network_id)
    subnet = view(tx, [after])[0]
    notifier.notify(tx, {"subnet": subnet}, "subnet.update.end")
    return subnet


def _refuse_used_gateway(tx: Transaction, row: Row) -> None:
    """A router's port has the address. Raises GatewayIpInUse."""
    holder = tx.connection.execute(_gateway_router, {"id": row["id"], "address": row["gateway_ip"]}).first()
    if holder is not None:
        raise errors.GatewayIpInUse(ip_address=row["gateway_ip"], port_id=holder[0])


# --- delete ----------------------------------------------------------------------------------------------------------


def delete(tx: Transaction, row: Row) -> Object:
    """Remove a subnet; DHCP servers' addresses in it go with it, and those that hosts make from their MAC address.

    Raises SubnetInUse.
    """
    connection, subnet_id, network_id = tx.connection, row["id"], row["network_id"]
    addresses.lock(tx, network_id)
    automatic = addresses.is_automatic(row)
    user = connection.execute(_router if automatic else _user, {"id": subnet_id}).first()
    if user is not None:
        raise errors.SubnetInUse(
            subnet_id=subnet_id,
            reason=f"one or more ports have an address from it, such as port {user[0]} ({user[1]})",
        )
    subnet = view(tx, [row])[0]
    _remove_servers(tx, row)
    holders = sa.select(ip_allocations.c.port_id).where(ip_allocations.c.subnet_id == subnet_id)
    addresses.touch_ports(tx, ports.c.id.in_(holders))
    connection.execute(_give_back_all, {"id": subnet_id})
    connection.execute(_delete, {"id": subnet_id})
    tags.remove(tx, [subnet_id])
    provisioning.lift_where_unserved(tx, network_id)
    networks.touch(tx, network_id)
    notifier.notify(tx, {"subnet": subnet}, "subnet.delete.end")
    return subnet


def _remove_servers(tx: Transaction, row: Row) -> None:
    """DHCP servers' ports that have no address but in this subnet go: they have nothing left to serve."""
    for port_id, project_id in tx.connection.execute(_its_servers, {"id": row["id"]}).all():
        fixed_ips = [
            {"subnet_id": subnet_id, "ip_address": address}
            for subnet_id, address in tx.connection.execute(_of_port, {"id": port_id})
        ]
        if any(entry["subnet_id"] != row["id"] for entry in fixed_ips):
            continue
        tx.connection.execute(sa.delete(ports).where(ports.c.id == port_id))
        tx.count("port", project_id, -1)
        tags.remove(tx, [port_id])
        # The agent hears of that first, and stops.
        gone = {"id": port_id, "network_id": row["network_id"], "fixed_ips": fixed_ips}
        notifier.notify(tx, {"port": gone}, "port.delete.end")


_FILTERS: Mapping[str, Any] = {
    "shared": shared_filter("network", subnets.c.network_id),
    "router:external": _external_filter,
    **tags.filters(subnets),
}

RESOURCE = Resource(
    attributes=SUBNET,
    table=subnets,
    view=view,
    scope=addresses.subnet_scope,
    create=create,
    update=update,
    delete=delete,
    filters=_FILTERS,
    parent=("network", "network_id"),
    tagged=True,
)
