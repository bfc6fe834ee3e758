"""RBAC policies: what a project shares with another one, or with all ("*").

A policy says that a target may see and use an object as if it were its own (`access_as_shared`), or a network as the
way outside (`access_as_external`). The attribute `shared` of an object is a view of them: true to the caller if one is
for everybody or for its project. Access cannot be taken back while it is used.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cove.db import locks
from cove.db.idlist import ids_parameter, in_ids
from cove.network import errors, queries, quotas
from cove.network.context import RequestContext
from cove.network.models import (
    address_scopes,
    networks,
    port_security_groups,
    ports,
    rbac_policies,
    security_groups,
    subnetpools,
    subnets,
)
from cove.network.resource import Filter, Object, Resource, Scope
from cove.network.rows import Row
from cove.network.tables.rbac_policy import ACTIONS, EVERYONE, EXTERNAL, RBAC_POLICY, SHARED
from cove.network.transaction import Reading, Transaction

_p = sa.bindparam
_c = rbac_policies.c

_TABLES: Mapping[str, sa.Table] = {
    "network": networks,
    "subnetpool": subnetpools,
    "address_scope": address_scopes,
    "security_group": security_groups,
}
_OWNER = {
    # Held until the commit, so that the object does not vanish while a policy on it is made.
    kind: sa.select(table.c.project_id).where(table.c.id == _p("id")).with_for_update(read=True, key_share=True)
    for kind, table in _TABLES.items()
}
_USERS: Mapping[str, sa.Select[Any]] = {
    "network": sa.select(ports.c.project_id).where(ports.c.network_id == _p("id")).distinct(),
    "subnetpool": sa.select(subnets.c.project_id).where(subnets.c.subnetpool_id == _p("id")).distinct(),
    "address_scope": sa.select(subnetpools.c.project_id).where(subnetpools.c.address_scope_id == _p("id")).distinct(),
    "security_group": sa.select(ports.c.project_id)
    .join(port_security_groups, port_security_groups.c.port_id == ports.c.id)
    .where(port_security_groups.c.security_group_id == _p("id"))
    .distinct(),
}
"""The projects that use an object, whoever may."""
_SUBNET_OWNERS = sa.select(subnets.c.project_id).where(subnets.c.network_id == _p("id")).distinct()
_GATEWAY = (
    sa.select(ports.c.id)
    .where(ports.c.network_id == _p("id"), ports.c.device_owner == "network:router_gateway")
    .limit(1)
)
_TARGETS = sa.select(_c.id, _c.target_project).where(_c.object_id == _p("object"), _c.action == _p("action"))
_SHARING = sa.select(_c.object_id, _c.action).where(
    _c.object_type == _p("kind"),
    _c.target_project.in_((EVERYONE, _p("project"))),
    in_ids(_c.object_id, "ids"),
)
_INSERT = sa.insert(rbac_policies)
_DELETE = sa.delete(rbac_policies).where(_c.id == _p("policy"))
_DELETE_ALL = sa.delete(rbac_policies).where(in_ids(_c.object_id, "ids")).returning(_c.project_id)
_DELETE_EXTERNAL = (
    sa.delete(rbac_policies).where(_c.object_id == _p("object"), _c.action == EXTERNAL).returning(_c.project_id)
)
_TOUCH = (
    sa.update(networks)
    .where(networks.c.id == _p("network"))
    .values(revision_number=networks.c.revision_number + 1, updated_at=_p("at"))
)
_SET_EXTERNAL = sa.update(networks).where(networks.c.id == _p("network")).values(router_external=_p("external"))


@dataclass(frozen=True, slots=True)
class Sharing:
    """How an object is shared, as far as one caller is concerned."""

    shared: bool = False
    external: bool = False


# --- for the resources that can be shared ----------------------------------------------------------------------------


def shared_with(context: RequestContext, object_type: str, action: str = SHARED) -> sa.Select[Any]:
    """Ids of the objects that everyone ("*") or the caller's project was given access to, for `column.in_(...)`."""
    return sa.select(_c.object_id).where(
        _c.target_project.in_((EVERYONE, context.project_id)), _c.object_type == object_type, _c.action == action
    )


def own_or_shared(object_type: str, *actions: str) -> Scope:
    """The scope of a kind that can be shared: a project's own objects, and those it was given access to."""
    table = _TABLES[object_type]

    def scope(context: RequestContext) -> sa.ColumnElement[bool]:
        given = (table.c.id.in_(shared_with(context, object_type, action)) for action in actions or (SHARED,))
        return sa.or_(table.c.project_id == context.project_id, *given)

    return scope


def shared_filter(object_type: str, column: sa.Column[Any] | None = None) -> Filter:
    """The filter `shared`: whether the object whose id the column holds (its own row's, unless said) is shared."""
    object_id = _TABLES[object_type].c.id if column is None else column

    def shared(reading: Reading, values: Sequence[Any]) -> sa.ColumnElement[bool]:
        return queries.one_of(object_id.in_(shared_with(reading.context, object_type)), values)

    return shared


def sharing_of(reading: Reading, object_type: str, ids: Iterable[str]) -> Mapping[str, Sharing]:
    """How objects are shared with the caller, in one statement; every id is in the answer."""
    result = dict.fromkeys(ids, _NOT_SHARED)
    if not result:
        return result
    values = {"kind": object_type, "project": reading.context.project_id, "ids": ids_parameter(result)}
    for object_id, action in reading.connection.execute(_SHARING, values):
        known = result[object_id]
        result[object_id] = Sharing(known.shared or action == SHARED, known.external or action == EXTERNAL)
    return result


_NOT_SHARED = Sharing()


def set_shared(tx: Transaction, object_type: str, object_id: str, project_id: str, shared: bool) -> bool:
    """The `shared` attribute of a create or update: a policy for everyone is there, or is not. True if that changed.

    Raises InvalidSharedSetting for a network that others use, RbacPolicyInUse for anything else; both are 409.
    """
    if not shared:
        _lock(tx, object_type, object_id)
    targets = _targets(tx, object_id, SHARED)
    if (EVERYONE in targets) is shared:
        return False
    if shared:
        _insert_implied(tx, object_type, object_id, SHARED, project_id)
        return True
    policy_id = targets.pop(EVERYONE)
    losing = _losing(tx, object_type, object_id, project_id, EVERYONE, targets, with_subnets=True)
    if losing and object_type == "network":
        raise errors.InvalidSharedSetting(network_id=object_id)
    if losing:
        raise errors.RbacPolicyInUse(object_id=object_id, details="other projects use it")
    _delete(tx, policy_id)
    return True


def set_external(tx: Transaction, network_id: str, project_id: str, external: bool) -> bool:
    """The `router:external` attribute of a network: a policy for everyone is there, or none at all. True if it changed.

    The column of the network is the caller's to set. Raises ExternalNetworkInUse (409) where gateway ports are on it.
    """
    if external:
        if EVERYONE in _targets(tx, network_id, EXTERNAL):
            return False
        _insert_implied(tx, "network", network_id, EXTERNAL, project_id)
        return True
    _refuse_gateways(tx, network_id)
    owners = list(tx.connection.execute(_DELETE_EXTERNAL, {"object": network_id}).scalars())
    for owner in owners:
        tx.count("rbac_policy", owner, -1)
    return bool(owners)


def remove_all(tx: Transaction, object_ids: Iterable[str]) -> None:
    """Objects are deleted: so is what was said about them."""
    ids = ids_parameter(object_ids)
    for owner in tx.connection.execute(_DELETE_ALL, {"ids": ids}).scalars().all():
        tx.count("rbac_policy", owner, -1)


# --- the resource itself ---------------------------------------------------------------------------------------------


def scope(context: RequestContext) -> sa.ColumnElement[bool]:
    """One's own policies. Who is given access does not see by which."""
    return _c.project_id == context.project_id


def view(_reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Policies as the API shows them."""
    return [_shown(row) for row in rows]


def create(tx: Transaction, policy_id: str, values: dict[str, Any]) -> Object:
    """Give access to an object.

    Raises InvalidActionForType, DuplicateRbacPolicy, InvalidInput (no such object, or another project's, or one that
    the target could not use).
    """
    kind, object_id, action, target = (values[name] for name in ("object_type", "object_id", "action", "target_tenant"))
    if action not in ACTIONS[kind]:
        raise errors.InvalidActionForType(action=action, object_type=kind, valid_actions=" or ".join(ACTIONS[kind]))
    try:
        _refuse_foreign(tx, kind, object_id)
    except errors.NotFound as error:
        # The policy is what the path is about: that the object is not there is a mistake in the body (Neutron).
        raise errors.InvalidInput(reason=f"object_id: {error}") from None
    _refuse_without_scope(tx, kind, object_id, target)
    targets = _targets(tx, object_id, action)
    if target in targets:
        raise errors.DuplicateRbacPolicy(object_id=object_id, action=action, target=target)
    row = _insert(tx, policy_id, kind, object_id, action, values["project_id"], target)
    if kind == "network":
        _touch_network(tx, object_id, external=True if action == EXTERNAL and not targets else None)
    return _shown(row)


def update(tx: Transaction, row: Row, changes: dict[str, Any]) -> Object:
    """Give the access to another target instead.

    Raises InvalidInput, DuplicateRbacPolicy, RbacPolicyInUse (also where the object is another project's: Neutron).
    """
    target: str = changes["target_tenant"] if "target_tenant" in changes else row["target_project"]
    if target == row["target_project"]:
        return _shown(row)
    kind, object_id, action = row["object_type"], row["object_id"], row["action"]
    try:
        owner = _refuse_foreign(tx, kind, object_id)
    except (errors.NotFound, errors.InvalidInput) as error:
        raise errors.RbacPolicyInUse(object_id=object_id, details=str(error)) from None
    _refuse_without_scope(tx, kind, object_id, target)
    _lock(tx, kind, object_id)
    targets = _targets(tx, object_id, action)
    if target in targets:
        raise errors.DuplicateRbacPolicy(object_id=object_id, action=action, target=target)
    del targets[row["target_project"]]
    _refuse_needed(tx, row, owner, {*targets, target})
    tx.connection.execute(sa.update(rbac_policies).where(_c.id == row["id"]).values(target_project=target))
    if kind == "network":
        _touch_network(tx, object_id)
    return _shown({**row, "target_project": target})


def delete(tx: Transaction, row: Row) -> Object:
    """Take the access back. Raises RbacPolicyInUse."""
    kind, object_id, action = row["object_type"], row["object_id"], row["action"]
    _lock(tx, kind, object_id)
    targets = _targets(tx, object_id, action)
    del targets[row["target_project"]]
    _refuse_needed(tx, row, _owner(tx, kind, object_id), targets)
    last_external = action == EXTERNAL and not targets
    if last_external:
        _refuse_gateways(tx, object_id)
    tx.connection.execute(_DELETE, {"policy": row["id"]})
    if kind == "network":
        _touch_network(tx, object_id, external=False if last_external else None)
    return _shown(row)


def _shown(row: Row) -> Object:
    return {
        "id": row["id"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "object_type": row["object_type"],
        "object_id": row["object_id"],
        "action": row["action"],
        "target_tenant": row["target_project"],
    }


# --- rows ------------------------------------------------------------------------------------------------------------


def _lock(tx: Transaction, kind: str, object_id: str) -> None:
    """Nobody begins to use the object, or is given or loses access to it by another policy, until the commit."""
    locks.lock(tx.connection, kind, object_id)


def _targets(tx: Transaction, object_id: str, action: str) -> dict[str, str]:
    """Target → id of the policy that gives it the access."""
    found = tx.connection.execute(_TARGETS, {"object": object_id, "action": action})
    return {target: policy_id for policy_id, target in found}


def _insert_implied(tx: Transaction, object_type: str, object_id: str, action: str, project_id: str) -> None:
    """A policy for everyone that follows from an attribute of the object. It counts, but no quota stands against it
    (Neutron).
    """
    _insert(tx, str(uuid.uuid4()), object_type, object_id, action, project_id, EVERYONE)
    quotas.count_exempt(tx, "rbac_policy", project_id, 1)


def _insert(
    tx: Transaction, policy_id: str, object_type: str, object_id: str, action: str, project_id: str, target: str
) -> Row:
    row = {
        "id": policy_id,
        "project_id": project_id,
        "object_type": object_type,
        "object_id": object_id,
        "action": action,
        "target_project": target,
    }
    tx.connection.execute(_INSERT, row)
    return row


def _delete(tx: Transaction, policy_id: str) -> None:
    owner = tx.connection.execute(_DELETE.returning(_c.project_id), {"policy": policy_id}).scalar_one()
    tx.count("rbac_policy", owner, -1)


def _touch_network(tx: Transaction, network_id: str, *, external: bool | None = None) -> None:
    """A policy on a network counts as a change of the network."""
    if external is not None:
        tx.connection.execute(_SET_EXTERNAL, {"network": network_id, "external": external})
    tx.connection.execute(_TOUCH, {"network": network_id, "at": tx.now_text})
    tx.forget(network_id)


def _owner(tx: Transaction, kind: str, object_id: str) -> str:
    owner = tx.connection.execute(_OWNER[kind], {"id": object_id}).scalar()
    if owner is None:
        raise errors.not_found(kind, object_id)
    return str(owner)


# --- refusals --------------------------------------------------------------------------------------------------------


def _refuse_foreign(tx: Transaction, kind: str, object_id: str) -> str:
    """The object's owner. Who does not see it hears that there is none; who sees it may still not give it away."""
    owner = _owner(tx, kind, object_id)
    context = tx.context
    if context.is_admin or owner == context.project_id:
        return owner
    sharing = sharing_of(tx, kind, [object_id])[object_id]
    if not (sharing.shared or sharing.external):
        raise errors.not_found(kind, object_id)
    raise errors.InvalidInput(reason=f"{kind} {object_id} belongs to another project, which alone may share it")


def _refuse_without_scope(tx: Transaction, kind: str, object_id: str, target: str) -> None:
    """A subnet pool in an address scope can only be shared with who may use the scope."""
    if kind != "subnetpool":
        return
    found = tx.connection.execute(
        sa.select(address_scopes.c.id, address_scopes.c.project_id)
        .join(subnetpools, subnetpools.c.address_scope_id == address_scopes.c.id)
        .where(subnetpools.c.id == object_id)
    ).first()
    if found is None:
        return
    scope_id, owner = found
    if not {target, EVERYONE} & {owner, *_targets(tx, scope_id, SHARED)}:
        raise errors.InvalidInput(
            reason=f"subnet pool {object_id} is in address scope {scope_id}, which is not shared with {target}"
        )


def _refuse_needed(tx: Transaction, row: Row, owner: str, remaining: Iterable[str]) -> None:
    """Raises RbacPolicyInUse if somebody would lose an access that is used."""
    kind, object_id, target = row["object_type"], row["object_id"], row["target_project"]
    if row["action"] == EXTERNAL:
        default = sa.select(networks.c.is_default).where(networks.c.id == object_id)
        if target == EVERYONE and EVERYONE not in remaining and tx.connection.execute(default).scalar():
            raise errors.RbacPolicyInUse(
                object_id=object_id, details="the default external network is there for everybody"
            )
        return
    if _losing(tx, kind, object_id, owner, target, remaining):
        raise errors.RbacPolicyInUse(
            object_id=object_id, details="projects that have access by it alone use the object"
        )


def _losing(
    tx: Transaction,
    kind: str,
    object_id: str,
    owner: str,
    target: str,
    remaining: Iterable[str],
    *,
    with_subnets: bool = False,
) -> set[str]:
    """The projects that use the object and may no longer once `target` has no access; objects of nobody count not."""
    allowed = {owner, "", *remaining}
    if target in allowed or EVERYONE in allowed:
        return set()
    connection, values = tx.connection, {"id": object_id}
    users = set(connection.execute(_USERS[kind], values).scalars())
    if with_subnets and kind == "network":
        users |= set(connection.execute(_SUBNET_OWNERS, values).scalars())
    return (users if target == EVERYONE else users & {target}) - allowed


def _refuse_gateways(tx: Transaction, network_id: str) -> None:
    if tx.connection.execute(_GATEWAY, {"id": network_id}).first() is not None:
        raise errors.ExternalNetworkInUse(net_id=network_id)


RESOURCE = Resource(
    attributes=RBAC_POLICY,
    table=rbac_policies,
    view=view,
    scope=scope,
    create=create,
    update=update,
    delete=delete,
)
