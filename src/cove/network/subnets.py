"""Subnets inside a write transaction: create, update, delete; and the rules that their values must keep together."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.network import errors, ipam, networks, notifier, queries
from cove.network.models import ip_allocations, ports, subnets
from cove.network.rows import ACTIVE, Row, subnet_dict
from cove.network.transaction import Transaction

DNS_NAMESERVERS_MAX = 5
HOST_ROUTES_MAX = 20
DHCP_PREFIX_LENGTH_MAX = 30
ROUTER_INTERFACE_OWNERS = ("network:router_interface", "network:ha_router_replicated_interface")

_insert = sa.insert(subnets)
_p = sa.bindparam
_users = (
    sa.select(ip_allocations.c.port_id, ip_allocations.c.ip_address)
    .join(ports, ports.c.id == ip_allocations.c.port_id)
    .where(ip_allocations.c.subnet_id == _p("id"), ports.c.device_owner.not_in(networks.AUTO_DELETE_OWNERS))
    .limit(1)
)
_router_port = (
    sa.select(ip_allocations.c.port_id)
    .join(ports, ports.c.id == ip_allocations.c.port_id)
    .where(
        ip_allocations.c.subnet_id == _p("id"),
        ip_allocations.c.ip_address == _p("address"),
        ports.c.device_owner.in_(ROUTER_INTERFACE_OWNERS),
    )
)


# --- rules -----------------------------------------------------------------------------------------------------------


def check_dhcp(network: ipaddress.IPv4Network, enable_dhcp: bool) -> None:
    """Refuse networks in which no DHCP server can work. Raises InvalidInput."""
    if not enable_dhcp:
        return
    reasons = (
        (network.prefixlen > DHCP_PREFIX_LENGTH_MAX, f"its prefix is longer than /{DHCP_PREFIX_LENGTH_MAX}"),
        (network.is_multicast, "it is a multicast network"),
        (network.is_loopback, "it is a loopback network"),
        (int(network.network_address) == 0, "its first address is 0.0.0.0"),
    )
    for applies, reason in reasons:
        if applies:
            raise errors.InvalidInput(reason=f"subnet {network} cannot have enable_dhcp: {reason}")


def check_limits(subnet_id: str, values: Mapping[str, Any]) -> None:
    """Refuse too many name servers or routes. Raises DNSNameServersExhausted, HostRoutesExhausted."""
    if len(values.get("dns_nameservers") or ()) > DNS_NAMESERVERS_MAX:
        raise errors.DNSNameServersExhausted(subnet_id=subnet_id, quota=DNS_NAMESERVERS_MAX)
    if len(values.get("host_routes") or ()) > HOST_ROUTES_MAX:
        raise errors.HostRoutesExhausted(subnet_id=subnet_id, quota=HOST_ROUTES_MAX)


def check_overlap(network: ipaddress.IPv4Network, network_id: str, others: Sequence[Row]) -> None:
    """Refuse a CIDR that overlaps another subnet of the same network. Raises InvalidInput."""
    for other in others:
        if network.overlaps(ipaddress.IPv4Network(other["cidr"])):
            raise errors.InvalidInput(
                reason=f"cidr {network} overlaps with subnet {other['id']} ({other['cidr']}) of network {network_id}"
            )


def resolve(attributes: Mapping[str, Any]) -> tuple[ipaddress.IPv4Network, str | None, list[dict[str, str]]]:
    """CIDR, gateway and pools of a new subnet, with what was not given filled in. Raises the errors of `ipam`."""
    if attributes["ip_version"] != 4:
        raise errors.InvalidInput(reason=f"ip_version {attributes['ip_version']} is not supported yet; use 4")
    network = ipaddress.IPv4Network(attributes["cidr"])
    check_dhcp(network, attributes["enable_dhcp"])
    if "gateway_ip" in attributes:
        gateway_ip = attributes["gateway_ip"]
    else:
        first, last = ipam.host_range(network)
        # A single-address subnet needs its address for the port.
        gateway_ip = ipam.address_at(network, first) if last > first else None
    if "allocation_pools" in attributes:
        pools = list(attributes["allocation_pools"])
        ipam.check_pools(network, pools)
        ipam.check_gateway(network, gateway_ip, pools)
    else:
        ipam.check_gateway(network, gateway_ip, ())
        pools = ipam.default_pools(network, gateway_ip)
    return network, gateway_ip, pools


# --- transactions ----------------------------------------------------------------------------------------------------


def create(tx: Transaction, subnet_id: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Make a subnet and its free ranges. Raises NetworkNotFound, NotAuthorized, InvalidInput, the errors of `ipam`."""
    connection, network_id = tx.connection, attributes["network_id"]
    network_row = queries.network_row(connection, tx.context, network_id)
    if not tx.context.is_admin and network_row["project_id"] != tx.context.project_id:
        raise errors.NotAuthorized(action=f"creating a subnet on network {network_id} of another project")
    network, gateway_ip, pools = resolve(attributes)
    check_limits("to be created", attributes)
    check_overlap(network, network_id, queries.subnet_rows(connection, network_id))
    row = {
        "id": subnet_id,
        "project_id": attributes["project_id"],
        "name": attributes["name"],
        "description": attributes["description"],
        "revision_number": 1,
        "created_at": tx.now_text,
        "updated_at": tx.now_text,
        "network_id": network_id,
        "ip_version": 4,
        "cidr": str(network),
        "gateway_ip": gateway_ip,
        "enable_dhcp": attributes["enable_dhcp"],
        "dns_nameservers": attributes["dns_nameservers"],
        "host_routes": attributes["host_routes"],
        "allocation_pools": pools,
        "created_ns": time.time_ns(),
    }
    connection.execute(_insert, row)
    ipam.replace_ranges(connection, subnet_id, ipam.pool_ranges(network, pools))
    networks.touch(tx, network_id)
    subnet = subnet_dict(row)
    notifier.notify(
        tx,
        {"subnet": subnet, "network": queries.get_network(connection, tx.context, network_id)},
        "subnet.create.end",
    )
    return subnet


def update(tx: Transaction, subnet_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Change a subnet. Raises SubnetNotFound, GatewayIpInUse, and what `create` raises."""
    connection = tx.connection
    row = queries.subnet_row(connection, tx.context, subnet_id)
    _own(tx, row)
    network = ipaddress.IPv4Network(row["cidr"])
    columns = {name: value for name, value in changes.items() if name in subnets.c and row[name] != value}
    check_limits(subnet_id, columns)
    if columns.get("enable_dhcp"):
        check_dhcp(network, enable_dhcp=True)
    pools: list[dict[str, str]] = (
        columns["allocation_pools"] if "allocation_pools" in columns else row["allocation_pools"]
    )
    if "allocation_pools" in columns:
        ipam.check_pools(network, pools)
    if "gateway_ip" in columns and row["gateway_ip"] is not None:
        holder = connection.execute(_router_port, {"id": subnet_id, "address": row["gateway_ip"]}).first()
        if holder is not None:
            raise errors.GatewayIpInUse(ip_address=row["gateway_ip"], port_id=holder[0])
    if "gateway_ip" in columns or "allocation_pools" in columns:
        ipam.check_gateway(network, columns.get("gateway_ip", row["gateway_ip"]), pools)
    if columns:
        connection.execute(
            sa.update(subnets)
            .where(subnets.c.id == subnet_id)
            .values(**columns, revision_number=subnets.c.revision_number + 1, updated_at=tx.now_text)
        )
        tx.forget(row["network_id"])
    if "allocation_pools" in columns:
        taken = connection.execute(
            sa.select(ip_allocations.c.ip_address).where(ip_allocations.c.subnet_id == subnet_id)
        ).scalars()
        offsets = [ipam.offset_of(network, address) for address in taken]
        ipam.replace_ranges(connection, subnet_id, ipam.subtract(ipam.pool_ranges(network, pools), offsets))
    if columns.get("enable_dhcp") is False:
        _lift_dhcp_blocks(tx, row["network_id"])
    subnet = queries.get_subnet(connection, tx.context, subnet_id)
    if columns:
        notifier.notify(tx, {"subnet": subnet}, "subnet.update.end")
    return subnet


def delete(tx: Transaction, subnet_id: str) -> dict[str, Any]:
    """Remove a subnet; DHCP servers' addresses in it go with it. Raises SubnetNotFound, SubnetInUse."""
    connection = tx.connection
    row = queries.subnet_row(connection, tx.context, subnet_id)
    _own(tx, row)
    user = connection.execute(_users, {"id": subnet_id}).first()
    if user is not None:
        raise errors.SubnetInUse(
            subnet_id=subnet_id,
            reason=f"one or more ports have an address from it, such as port {user[0]} ({user[1]})",
        )
    holders = (
        connection.execute(
            sa.select(ip_allocations.c.port_id).where(ip_allocations.c.subnet_id == subnet_id).distinct()
        )
        .scalars()
        .all()
    )
    before = {port_id: queries.port_fixed_ips(connection, port_id) for port_id in holders}
    connection.execute(sa.delete(ip_allocations).where(ip_allocations.c.subnet_id == subnet_id))
    for port_id, fixed_ips in before.items():
        if queries.port_fixed_ips(connection, port_id):
            connection.execute(
                sa.update(ports)
                .where(ports.c.id == port_id)
                .values(revision_number=ports.c.revision_number + 1, updated_at=tx.now_text)
            )
            continue
        # The DHCP server's port has nothing left to serve: its agent hears of that first, and stops.
        connection.execute(sa.delete(ports).where(ports.c.id == port_id))
        gone = {"id": port_id, "network_id": row["network_id"], "fixed_ips": fixed_ips}
        notifier.notify(tx, {"port": gone}, "port.delete.end")
    connection.execute(sa.delete(subnets).where(subnets.c.id == subnet_id))
    networks.touch(tx, row["network_id"])
    subnet = subnet_dict(row)
    notifier.notify(tx, {"subnet": subnet}, "subnet.delete.end")
    return subnet


def _lift_dhcp_blocks(tx: Transaction, network_id: str) -> None:
    """No DHCP server will ever report the ports that have no address in a DHCP subnet now: they are ready."""
    served = (
        sa.exists()
        .where(ip_allocations.c.port_id == ports.c.id, subnets.c.id == ip_allocations.c.subnet_id)
        .where(subnets.c.enable_dhcp == sa.true())
    )
    tx.connection.execute(
        sa.update(ports)
        .where(ports.c.network_id == network_id, ports.c.dhcp_pending == sa.true(), ~served)
        .values(
            dhcp_pending=False,
            status=sa.case((ports.c.admin_state_up == sa.true(), ACTIVE), else_=ports.c.status),
            revision_number=ports.c.revision_number + 1,
            updated_at=tx.now_text,
        )
    )


def _own(tx: Transaction, row: Row) -> None:
    """Others' subnets may be visible (shared network) without being theirs to change."""
    if not tx.context.is_admin and row["project_id"] != tx.context.project_id:
        raise errors.NotAuthorized(action=f"changing subnet {row['id']} of another project")
