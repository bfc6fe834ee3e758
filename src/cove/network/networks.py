"""Networks inside a write transaction: create, update, delete."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cove.network import errors, notifier, queries
from cove.network.models import networks, ports, subnets
from cove.network.rows import ACTIVE, Row, network_dict
from cove.network.transaction import Transaction

OWNER_DHCP = "network:dhcp"
AUTO_DELETE_OWNERS = (OWNER_DHCP,)
"""Ports that do not keep a network or subnet in use: they go with it."""

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


def create(tx: Transaction, network_id: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Make a network; returns it as the API shows it."""
    row = {
        "id": network_id,
        "project_id": attributes["project_id"],
        "name": attributes["name"],
        "description": attributes["description"],
        "revision_number": 1,
        "created_at": tx.now_text,
        "updated_at": tx.now_text,
        "admin_state_up": attributes["admin_state_up"],
        "status": ACTIVE,
        "shared": attributes["shared"],
        "mtu": attributes.get("mtu", tx.config.network_mtu),
        "router_external": attributes["router:external"],
        "port_security_enabled": attributes["port_security_enabled"],
        "dns_domain": attributes["dns_domain"],
    }
    tx.connection.execute(_insert, row)
    network = network_dict(row, [])
    notifier.notify(tx, {"network": network}, "network.create.end")
    return network


def update(tx: Transaction, network_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Change a network. Raises NetworkNotFound, NotAuthorized, InvalidSharedSetting."""
    row = queries.network_row(tx.connection, tx.context, network_id)
    _own(tx, row)
    if row["shared"] and changes.get("shared") is False:
        strangers = sa.select(ports.c.id).where(
            ports.c.network_id == network_id,
            ports.c.project_id != row["project_id"],
            ports.c.device_owner.not_in(AUTO_DELETE_OWNERS),
        )
        if tx.connection.execute(strangers.limit(1)).first() is not None:
            raise errors.InvalidSharedSetting(network_id=network_id)
    columns = {name.replace("router:external", "router_external"): value for name, value in changes.items()}
    columns = {name: value for name, value in columns.items() if row[name] != value}
    if columns:
        tx.connection.execute(sa.update(networks).where(networks.c.id == network_id).values(**columns))
        touch(tx, network_id)
    network = queries.get_network(tx.connection, tx.context, network_id)
    if columns:
        notifier.notify(tx, {"network": network}, "network.update.end")
    return network


def delete(tx: Transaction, network_id: str) -> dict[str, Any]:
    """Remove a network with its subnets and its DHCP servers' ports. Raises NetworkNotFound, NetworkInUse."""
    connection = tx.connection
    row = queries.network_row(connection, tx.context, network_id)
    _own(tx, row)
    user_port = connection.execute(_user_ports, {"id": network_id}).first()
    if user_port is not None:
        raise errors.NetworkInUse(
            network_id=network_id,
            reason=f"there are one or more ports on it, such as {user_port[0]}; delete them first",
        )
    network = queries.get_network(connection, tx.context, network_id)
    for port in connection.execute(sa.select(ports.c.id).where(ports.c.network_id == network_id)).scalars().all():
        # The agent hears of its own port first, and stops serving.
        fixed_ips = queries.port_fixed_ips(connection, port)
        connection.execute(sa.delete(ports).where(ports.c.id == port))
        gone = {"id": port, "network_id": network_id, "fixed_ips": fixed_ips}
        notifier.notify(tx, {"port": gone}, "port.delete.end")
    connection.execute(sa.delete(subnets).where(subnets.c.network_id == network_id))
    connection.execute(sa.delete(networks).where(networks.c.id == network_id))
    tx.forget(network_id)
    notifier.notify(tx, {"network": network}, "network.delete.end")
    return network


def touch(tx: Transaction, network_id: str) -> None:
    """The network changed: count its revision up."""
    tx.connection.execute(_touch, {"network_id": network_id, "at": tx.now_text})
    tx.forget(network_id)


def _own(tx: Transaction, row: Row) -> None:
    """Others' networks may be visible (shared) without being theirs to change."""
    if not tx.context.is_admin and row["project_id"] != tx.context.project_id:
        raise errors.NotAuthorized(action=f"changing network {row['id']} of another project")
