"""Networks: how they are shown, and creating, changing and deleting them inside a write transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.db import locks
from cove.db.idlist import ids_parameter, in_ids
from cove.network import addresses, errors, notifier, queries, rbac_policies, segments, tags
from cove.network.address_scopes import scopes_of_networks
from cove.network.availability_zones import check_zones, zones_of_networks
from cove.network.models import ip_allocations, networks, ports, subnets
from cove.network.rbac_policies import Sharing
from cove.network.resource import Object, Resource
from cove.network.rows import ACTIVE, Row, new_row, standard
from cove.network.subnet_rules import check_mtu
from cove.network.tables.network import NETWORK
from cove.network.tables.rbac_policy import EXTERNAL, SHARED
from cove.network.transaction import Reading, Transaction

OWNER_DHCP = "network:dhcp"
AUTO_DELETE_OWNERS = (OWNER_DHCP,)
"""Ports that do not keep a network or subnet in use: they go with it."""
VXLAN_OVERHEAD_BYTES = 50
LOCKING = frozenset({"mtu", "shared"})
"""What new ports and subnets are checked against: none is made while it changes."""

_p = sa.bindparam
_insert = sa.insert(networks)
_touch = (
    sa.update(networks)
    .where(networks.c.id == _p("network_id"))
    .values(revision_number=networks.c.revision_number + 1, updated_at=_p("at"))
)
_user_ports = (
    sa.select(ports.c.id)
    .where(ports.c.network_id == _p("id"), ports.c.device_owner.not_in(AUTO_DELETE_OWNERS))
    .limit(1)
)
_subnet_ids = (
    sa.select(subnets.c.network_id, subnets.c.id)
    .where(in_ids(subnets.c.network_id, "ids"))
    .order_by(subnets.c.created_ns, subnets.c.id)
)
_default_external = sa.select(networks.c.id).where(networks.c.is_default == sa.true())


# --- showing ---------------------------------------------------------------------------------------------------------


def network_dict(
    row: Row,
    subnet_ids: Sequence[str],
    *,
    sharing: Sharing,
    tags: list[str],
    zones: list[str],
    scopes: tuple[str | None, str | None] = (None, None),
) -> Object:
    """A network as the API shows it. `scopes`: the address scopes of its IPv4 and IPv6 subnets."""
    return {
        "id": row["id"],
        "name": row["name"],
        "status": row["status"],
        "admin_state_up": row["admin_state_up"],
        "subnets": list(subnet_ids),
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "shared": sharing.shared,
        "mtu": row["mtu"],
        "router:external": row["router_external"],
        "is_default": row["is_default"],
        "port_security_enabled": row["port_security_enabled"],
        "dns_domain": row["dns_domain"],
        "provider:network_type": row["network_type"],
        "provider:physical_network": row["physical_network"],
        "provider:segmentation_id": row["segmentation_id"],
        "availability_zone_hints": row["availability_zone_hints"],
        "availability_zones": zones,
        "ipv4_address_scope": scopes[0],
        "ipv6_address_scope": scopes[1],
        **standard(row, tags),
    }


def network_for_agents(row: Row, subnet_ids: Sequence[str]) -> Object:
    """A network beside a new port in a message to agents: what they read of it, without a look at other tables."""
    return network_dict(row, subnet_ids, sharing=Sharing(), tags=[], zones=[])


def view(reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Networks as the API shows them."""
    ids = [row["id"] for row in rows]
    by_network: dict[str, list[str]] = {}
    for network_id, subnet_id in reading.connection.execute(_subnet_ids, {"ids": ids_parameter(ids)}):
        by_network.setdefault(network_id, []).append(subnet_id)
    sharing = rbac_policies.sharing_of(reading, "network", ids)
    tags_of = tags.of(reading, "network", ids)
    zones_of = zones_of_networks(reading, ids)
    scopes_of = scopes_of_networks(reading, list(by_network)) if by_network else {}
    return [
        network_dict(
            row,
            by_network.get(row["id"], ()),
            sharing=sharing[row["id"]],
            tags=tags_of.get(row["id"], []),
            zones=zones_of.get(row["id"], []),
            scopes=scopes_of.get(row["id"], (None, None)),
        )
        for row in rows
    ]


scope = rbac_policies.own_or_shared("network", SHARED, EXTERNAL)
"""One's own networks, and those that are shared with one or lead outside for one."""


# --- transactions ----------------------------------------------------------------------------------------------------


def create(tx: Transaction, network_id: str, values: dict[str, Any]) -> Object:
    """Make a network. Raises InvalidInput, AvailabilityZoneNotFound, and the …InUse of its segment."""
    if values["availability_zone_hints"]:
        check_zones(tx, values["availability_zone_hints"])
    if values["is_default"]:
        _check_default(tx, network_id, external=values["router:external"])
    segment = segments.choose(tx, values)
    row = new_row(NETWORK, networks, network_id, values, tx.now_text) | {
        "status": ACTIVE,
        "mtu": _mtu(tx, values.get("mtu"), segment.network_type),
        "network_type": segment.network_type,
        "physical_network": segment.physical_network,
        "segmentation_id": segment.segmentation_id,
    }
    tx.connection.execute(_insert, row)
    segments.allocate(tx, network_id, segment)
    if values["shared"]:
        rbac_policies.set_shared(tx, "network", network_id, row["project_id"], True)
    if values["router:external"]:
        rbac_policies.set_external(tx, network_id, row["project_id"], True)
    sharing = Sharing(shared=values["shared"], external=values["router:external"])
    network = network_dict(row, (), sharing=sharing, tags=[], zones=[])
    notifier.notify(tx, {"network": network}, "network.create.end")
    return network


def update(tx: Transaction, row: Row, changes: dict[str, Any]) -> Object:
    """Change a network. Raises InvalidInput, InvalidSharedSetting, ExternalNetworkInUse."""
    network_id = row["id"]
    if changes.keys() & LOCKING:
        addresses.lock(tx, network_id)
    before = queries.view_one(tx, RESOURCE, row)
    external = bool(changes.get("router:external", row["router_external"]))
    if changes.get("is_default", row["is_default"]) and ("is_default" in changes or "router:external" in changes):
        _check_default(tx, network_id, external=external)
    columns = {column: changes[name] for name, column in NETWORK.columns if name in changes}
    if "mtu" in columns:
        columns["mtu"] = _mtu(tx, columns["mtu"], row["network_type"])
        _check_subnets_mtu(tx, network_id, columns["mtu"])
    if any(name in changes for name in segments.ATTRIBUTES):
        columns["segmentation_id"] = segments.change_id(tx, dict(row), changes)
    columns = {name: value for name, value in columns.items() if row[name] != value}
    sharing = False
    if "shared" in changes:
        sharing = rbac_policies.set_shared(tx, "network", network_id, row["project_id"], changes["shared"])
    if "router_external" in columns:
        sharing |= rbac_policies.set_external(tx, network_id, row["project_id"], columns["router_external"])
    if not (columns or sharing):
        return before
    columns |= {"revision_number": row["revision_number"] + 1, "updated_at": tx.now_text}
    tx.connection.execute(sa.update(networks).where(networks.c.id == network_id).values(columns))
    tx.forget(network_id)
    if sharing:
        network = queries.view_one(tx, RESOURCE, {**row, **columns})
    else:
        network = {**before, **{name: columns[column] for name, column in NETWORK.columns if column in columns}}
    notifier.notify(tx, {"network": network}, "network.update.end")
    return network


def delete(tx: Transaction, row: Row) -> Object:
    """Remove a network with its subnets and its DHCP servers' ports. Raises NetworkInUse."""
    connection, network_id = tx.connection, row["id"]
    # Nobody makes a port or subnet on it between the look and the leap.
    locks.lock(connection, "network", network_id)
    user_port = connection.execute(_user_ports, {"id": network_id}).first()
    if user_port is not None:
        raise errors.NetworkInUse(
            network_id=network_id,
            # Test suites look for the first of these words.
            reason=f"There are one or more ports still in use on the network, such as {user_port[0]}; delete them",
        )
    network = queries.view_one(tx, RESOURCE, row)
    its_ports = connection.execute(
        sa.select(ports.c.id, ports.c.project_id).where(ports.c.network_id == network_id)
    ).all()
    for port_id, project_id in its_ports:
        # The agent hears of its own port first, and stops serving.
        allocated = connection.execute(
            sa.select(ip_allocations.c.subnet_id, ip_allocations.c.ip_address)
            .where(ip_allocations.c.port_id == port_id)
            .order_by(ip_allocations.c.position)
        )
        fixed_ips = [{"subnet_id": subnet_id, "ip_address": address} for subnet_id, address in allocated]
        connection.execute(sa.delete(ports).where(ports.c.id == port_id))
        tx.count("port", project_id, -1)
        gone = {"id": port_id, "network_id": network_id, "fixed_ips": fixed_ips}
        notifier.notify(tx, {"port": gone}, "port.delete.end")
    its_subnets = connection.execute(
        sa.select(subnets.c.id, subnets.c.project_id).where(subnets.c.network_id == network_id)
    ).all()
    connection.execute(sa.delete(subnets).where(subnets.c.network_id == network_id))
    for _, project_id in its_subnets:
        tx.count("subnet", project_id, -1)
    connection.execute(sa.delete(networks).where(networks.c.id == network_id))
    rbac_policies.remove_all(tx, [network_id])
    tags.remove(tx, [network_id, *(port_id for port_id, _ in its_ports), *(subnet_id for subnet_id, _ in its_subnets)])
    tx.forget(network_id)
    notifier.notify(tx, {"network": network}, "network.delete.end")
    return network


def touch(tx: Transaction, network_id: str) -> None:
    """The network changed: count its revision up."""
    tx.connection.execute(_touch, {"network_id": network_id, "at": tx.now_text})
    tx.forget(network_id)


def row_for_use(tx: Transaction, network_id: str) -> Row:
    """The row of a network that the caller may see, read once in a transaction. Raises NetworkNotFound."""
    row = tx.networks.get(network_id)
    if row is None:
        row = tx.networks[network_id] = queries.row(tx, RESOURCE, network_id)
    return row


def _mtu(tx: Transaction, wanted: int | None, network_type: str) -> int:
    """The MTU in bytes; 0 asks for the default, which is the most. Raises InvalidInput."""
    most = tx.config.network_mtu - (VXLAN_OVERHEAD_BYTES if network_type == "vxlan" else 0)
    if wanted and wanted > most:
        raise errors.InvalidInput(reason=f"mtu {wanted} is too big; the most for a {network_type} network is {most}")
    return wanted or most


def _check_subnets_mtu(tx: Transaction, network_id: str, mtu: int) -> None:
    """Every subnet must work with the MTU. Raises NetworkMTUSubnetConflict."""
    versions = sa.select(subnets.c.ip_version).where(subnets.c.network_id == network_id).distinct()
    for version in tx.connection.execute(versions).scalars():
        check_mtu(network_id, mtu, version)


def _check_default(tx: Transaction, network_id: str, *, external: bool) -> None:
    """There is one default external network at most. Raises DefaultExternalNetworkExists, InvalidInput."""
    if not external:
        raise errors.InvalidInput(reason="is_default is for external networks only (router:external)")
    locks.lock(tx.connection, "default external network", "")
    other = tx.connection.execute(_default_external.where(networks.c.id != network_id)).first()
    if other is not None:
        raise errors.DefaultExternalNetworkExists(net_id=other[0])


_FILTERS: Mapping[str, Any] = {"shared": rbac_policies.shared_filter("network"), **tags.filters(networks)}

RESOURCE = Resource(
    attributes=NETWORK,
    table=networks,
    view=view,
    scope=scope,
    create=create,
    update=update,
    delete=delete,
    filters=_FILTERS,
    tagged=True,
)
