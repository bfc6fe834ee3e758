"""The ports of DHCP servers, which agents ask for: made, taken over and released inside a write transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from cove.network import addresses, networks, ports, queries, quotas
from cove.network.models import ports as ports_table
from cove.network.networks import OWNER_DHCP
from cove.network.notifier import RESERVED_DHCP_PORT
from cove.network.resource import Object
from cove.network.rows import Row
from cove.network.scheduler import dhcp_device_id
from cove.network.tables.port import PORT
from cove.network.transaction import Transaction

_of_device = (
    sa.select(ports_table)
    .where(ports_table.c.device_id == sa.bindparam("device_id"), ports_table.c.network_id == sa.bindparam("network_id"))
    .with_for_update(key_share=True)
)


def create(tx: Transaction, wanted: Mapping[str, Any], host: str) -> tuple[Object, bool]:
    """The DHCP port of `host` that an agent asks for, and whether it is new.

    An agent that asks twice, because it did not live to see the first answer, gets the same port.
    Raises HTTPBadRequest, NetworkNotFound, address errors.
    """
    values = _values(tx, wanted, host)
    addresses.lock(tx, values["network_id"])
    existing = _by_device(tx, values["network_id"], values["device_id"])
    if not existing:
        quotas.count_exempt(tx, "port", values["project_id"], 1)
        return ports.create(tx, str(uuid.uuid4()), values), True
    changes = {"binding:host_id": host}
    if values.get("fixed_ips") is not None:
        changes["fixed_ips"] = values["fixed_ips"]
    return ports.update(tx, existing[0], changes), False


def update(tx: Transaction, port_id: str, wanted: Mapping[str, Any], host: str) -> Object | None:
    """Change an agent's own port, or take over a reserved one; None if it is another agent's. Raises PortNotFound."""
    row = queries.row(tx, ports.RESOURCE, port_id, lock=True)
    if row["device_id"] not in (RESERVED_DHCP_PORT, dhcp_device_id(row["network_id"], host)):
        return None
    known = {name: value for name, value in wanted.items() if name in PORT.by_name and PORT.by_name[name].put}
    return ports.update(tx, row, PORT.for_update({**known, "binding:host_id": host}))


def release(tx: Transaction, network_id: str, device_id: str) -> None:
    """The agent does not serve the network any more: remove its port."""
    addresses.lock(tx, network_id)
    for row in _by_device(tx, network_id, device_id):
        ports.delete(tx, row)
        quotas.count_exempt(tx, "port", row["project_id"], -1)


def _by_device(tx: Transaction, network_id: str, device_id: str) -> list[Row]:
    return list(tx.connection.execute(_of_device, {"network_id": network_id, "device_id": device_id}).mappings())


def _values(tx: Transaction, wanted: Mapping[str, Any], host: str) -> dict[str, Any]:
    """A DHCP port's attributes: the agent's, with owner and host set by the server and defaults filled."""
    given = {name: value for name, value in wanted.items() if name in PORT.by_name and PORT.by_name[name].post}
    given |= {"device_owner": OWNER_DHCP, "binding:host_id": host}
    if not given.get("project_id") and "network_id" in given:
        given["project_id"] = networks.row_for_use(tx, given["network_id"])["project_id"]
    if not given.get("mac_address"):
        given.pop("mac_address", None)
    return PORT.for_create(given, tx.context)
