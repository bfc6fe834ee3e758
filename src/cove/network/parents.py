"""What an object belongs to: the network of a port or subnet, the group of a rule. Its owner has a say in policy.

A policy target has, beside the object's own attributes, `<parent>:project_id` and `<parent>:tenant_id`; of a network
also `network:shared` and `network:router:external`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import addresses, networks, queries, rbac_policies
from cove.network.models import networks as networks_table
from cove.network.models import security_groups
from cove.network.registry import RESOURCES
from cove.network.resource import Object, Resource
from cove.network.transaction import Reading, Transaction

_FACTS = "parents.facts"
_TABLES: Mapping[str, sa.Table] = {"network": networks_table, "security_group": security_groups}
_OWNERS = {
    name: sa.select(table.c.id, table.c.project_id).where(in_ids(table.c.id, "ids")) for name, table in _TABLES.items()
}

Facts = Mapping[str, Mapping[str, Any]]
"""Id of a parent → what policy targets say of it."""


def require(tx: Transaction, resource: Resource, values: Mapping[str, Any]) -> None:
    """See that the parent of a new object is there, for the caller. Raises the parent's not-found error.

    A network is locked before it is looked at: what decides about its new object (who may use it, its MTU) stays as it
    is until the commit, because whoever changes that takes the lock first.
    """
    if resource.parent is None:
        return
    name, attribute = resource.parent
    if name == "network":
        addresses.lock(tx, values[attribute])
        networks.row_for_use(tx, values[attribute])
    elif not tx.context.is_admin:
        queries.row(tx, RESOURCES[name], values[attribute])


def facts(reading: Reading, resource: Resource, objects: Iterable[Mapping[str, Any]]) -> Facts:
    """What policy asks of the parents of objects, for those parents that exist. One or two statements.

    A transaction remembers it: its objects' parents are none of what it changes.
    """
    if resource.parent is None:
        return {}
    name, attribute = resource.parent
    ids = {item[attribute] for item in objects if attribute in item}
    found: dict[str, dict[str, Any]] = {}
    owners: dict[str, str] = {}
    if isinstance(reading, Transaction):
        found = reading.memory.setdefault(_FACTS, {})
        if name == "network":
            owners = {item_id: reading.networks[item_id]["project_id"] for item_id in ids & reading.networks.keys()}
    new = ids - found.keys()
    unknown = new - owners.keys()
    if unknown:
        rows = reading.connection.execute(_OWNERS[name], {"ids": ids_parameter(unknown)})
        owners |= {item_id: project_id for item_id, project_id in rows}  # noqa: C416 (rows, not pairs)
    for item_id in new & owners.keys():
        found[item_id] = {f"{name}:project_id": owners[item_id], f"{name}:tenant_id": owners[item_id]}
    if name == "network" and new:
        for item_id, sharing in rbac_policies.sharing_of(reading, name, new & found.keys()).items():
            found[item_id] |= {"network:shared": sharing.shared, "network:router:external": sharing.external}
    return found


def target(resource: Resource, item: Object, facts_of: Facts) -> Object:
    """An object as policy looks at it."""
    if resource.parent is None:
        return item
    return {**item, **facts_of.get(item.get(resource.parent[1], ""), {})}
