"""Address scopes: sets of subnet pools in which no address is there twice, so that one may route between them.

A network is in the scope of the pool that its subnets come from, one scope for each IP version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import errors, rbac_policies
from cove.network.models import address_scopes, subnetpools, subnets
from cove.network.resource import Object, Resource
from cove.network.rows import Row, new_row
from cove.network.tables.address_scope import ADDRESS_SCOPE
from cove.network.transaction import Reading, Transaction

_p = sa.bindparam
_insert = sa.insert(address_scopes)
_delete = sa.delete(address_scopes).where(address_scopes.c.id == _p("id"))
_used = sa.select(subnetpools.c.id).where(subnetpools.c.address_scope_id == _p("id")).limit(1)
_of_networks = (
    sa.select(subnets.c.network_id, subnets.c.ip_version, subnetpools.c.address_scope_id)
    .join(subnetpools, subnetpools.c.id == subnets.c.subnetpool_id)
    .where(in_ids(subnets.c.network_id, "ids"), subnetpools.c.address_scope_id.is_not(None))
    .distinct()
)


def scopes_of_networks(reading: Reading, network_ids: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """Network → ids of the scopes of its IPv4 and IPv6 subnets, for those networks that are in any. One statement."""
    found: dict[str, dict[int, str]] = {}
    if network_ids:
        for network_id, version, scope_id in reading.connection.execute(
            _of_networks, {"ids": ids_parameter(network_ids)}
        ):
            found.setdefault(network_id, {})[version] = scope_id
    return {network_id: (scopes.get(4), scopes.get(6)) for network_id, scopes in found.items()}


def address_scope_dict(row: Row, shared: bool) -> Object:
    """An address scope as the API shows it."""
    return {
        "id": row["id"],
        "name": row["name"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "shared": shared,
        "ip_version": row["ip_version"],
    }


def view(reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Address scopes as the API shows them."""
    sharing = rbac_policies.sharing_of(reading, "address_scope", [row["id"] for row in rows])
    return [address_scope_dict(row, sharing[row["id"]].shared) for row in rows]


def create(tx: Transaction, scope_id: str, values: dict[str, Any]) -> Object:
    """Make an address scope."""
    row = new_row(ADDRESS_SCOPE, address_scopes, scope_id, values, tx.now_text)
    tx.connection.execute(_insert, row)
    if values["shared"]:
        rbac_policies.set_shared(tx, "address_scope", scope_id, row["project_id"], True)
    return address_scope_dict(row, values["shared"])


def update(tx: Transaction, row: Row, changes: dict[str, Any]) -> Object:
    """Rename an address scope, or share it. Raises AddressScopeUpdateError: what is shared stays so."""
    shared = rbac_policies.sharing_of(tx, "address_scope", [row["id"]])[row["id"]].shared
    if shared and changes.get("shared") is False:
        raise errors.AddressScopeUpdateError(
            address_scope_id=row["id"], reason="it is shared, and cannot be taken back from those who use it"
        )
    name = changes.get("name", row["name"])
    if name != row["name"]:
        tx.connection.execute(sa.update(address_scopes).where(address_scopes.c.id == row["id"]).values(name=name))
    if changes.get("shared") is True:
        rbac_policies.set_shared(tx, "address_scope", row["id"], row["project_id"], True)
        shared = True
    return address_scope_dict({**row, "name": name}, shared)


def delete(tx: Transaction, row: Row) -> Object:
    """Remove an address scope. Raises AddressScopeInUse."""
    if tx.connection.execute(_used, {"id": row["id"]}).first() is not None:
        raise errors.AddressScopeInUse(address_scope_id=row["id"])
    gone = view(tx, [row])[0]
    rbac_policies.remove_all(tx, [row["id"]])
    tx.connection.execute(_delete, {"id": row["id"]})
    return gone


_FILTERS: Mapping[str, Any] = {"shared": rbac_policies.shared_filter("address_scope")}

RESOURCE = Resource(
    attributes=ADDRESS_SCOPE,
    table=address_scopes,
    view=view,
    scope=rbac_policies.own_or_shared("address_scope"),
    create=create,
    update=update,
    delete=delete,
    filters=_FILTERS,
    counted=False,
)
