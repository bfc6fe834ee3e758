"""Security groups inside transactions: the groups, each project's default group, and which ports are in them.

A project's default group is made when it is first looked for: by a list of groups or rules, by a new group, by a port
that names none. There is one for each project because `default_security_groups` has one row for each: who comes second
runs its transaction again and finds it. Nothing else can be called "default", so the name tells as well.

What a new group begins with is in the table `default_security_group_rules`; its rules count against the quota, those
of a default group are counted but never refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import errors, quotas, rbac_policies, tags
from cove.network import security_group_values as values
from cove.network.context import RequestContext
from cove.network.models import (
    default_security_group_rules,
    default_security_groups,
    port_security_groups,
    ports,
    security_group_rules,
    security_groups,
)
from cove.network.resource import Filter, Object, Prepare, Resource
from cove.network.rows import Row, new_row, standard
from cove.network.tables.common import PROJECT_LENGTH_MAX
from cove.network.tables.security_group import SECURITY_GROUP as ATTRIBUTES
from cove.network.transaction import Reading, Transaction

OBJECT_TYPE = "security_group"
DEFAULT_NAME = "default"
DEFAULT_DESCRIPTION = "Default security group"
PARENT = "PARENT"
"""In a rule for new groups: the remote group is the group itself."""

_p = sa.bindparam
_insert = sa.insert(security_groups)
_insert_default = sa.insert(default_security_groups)
_insert_rule = sa.insert(security_group_rules)
_insert_bindings = sa.insert(port_security_groups)
_delete = sa.delete(security_groups).where(security_groups.c.id == _p("group_id"))
_default_of = sa.select(default_security_groups.c.security_group_id).where(
    default_security_groups.c.project_id == _p("project_id")
)
_some_port = (
    sa.select(port_security_groups.c.port_id).where(port_security_groups.c.security_group_id == _p("group_id")).limit(1)
)
_rules_of = (
    sa.select(security_group_rules)
    .where(in_ids(security_group_rules.c.security_group_id, "ids"))
    .order_by(security_group_rules.c.created_at, security_group_rules.c.id)
)
_rules_lost = (
    sa.select(security_group_rules.c.project_id, security_group_rules.c.security_group_id, sa.func.count())
    .where(
        sa.or_(
            security_group_rules.c.security_group_id == _p("group_id"),
            security_group_rules.c.remote_group_id == _p("group_id"),
        )
    )
    .group_by(security_group_rules.c.project_id, security_group_rules.c.security_group_id)
)
_touch = (
    sa.update(security_groups)
    .where(in_ids(security_groups.c.id, "ids"))
    .values(revision_number=security_groups.c.revision_number + 1, updated_at=_p("at"))
)
_groups_of_ports = (
    sa.select(port_security_groups.c.port_id, port_security_groups.c.security_group_id)
    .where(in_ids(port_security_groups.c.port_id, "ids"))
    .order_by(port_security_groups.c.security_group_id)
)
_forget_in_template = sa.delete(default_security_group_rules).where(
    default_security_group_rules.c.remote_group_id == _p("group_id")
)
_unbind = sa.delete(port_security_groups).where(port_security_groups.c.port_id == _p("of_port"))
_statefulness = sa.select(security_groups.c.id, security_groups.c.stateful).where(in_ids(security_groups.c.id, "ids"))


@dataclass(slots=True)
class _Memory:
    """What a transaction has found out: a bulk request asks for the same groups again and again."""

    defaults: dict[str, str] = field(default_factory=dict)
    stateful: dict[str, bool] = field(default_factory=dict)


def _memory(tx: Transaction) -> _Memory:
    memory: _Memory = tx.memory.setdefault(__name__, _Memory())
    return memory


# --- the default group of a project ----------------------------------------------------------------------------------


def default_group_id(tx: Transaction, project_id: str) -> str:
    """The project's default group; made if there is none yet. One indexed SELECT a transaction where it is there.

    Where two transactions make it at once, the later one meets IntegrityError and is to be run again.
    """
    defaults = _memory(tx).defaults
    group_id = defaults.get(project_id)
    if group_id is None:
        found: str | None = tx.connection.execute(_default_of, {"project_id": project_id}).scalar()
        group_id = defaults[project_id] = found if found is not None else _make_default(tx, project_id)
    return group_id


def _make_default(tx: Transaction, project_id: str) -> str:
    group_id = str(uuid.uuid4())
    attributes = {
        "project_id": project_id,
        "name": DEFAULT_NAME,
        "description": DEFAULT_DESCRIPTION,
        "stateful": True,
    }
    tx.connection.execute(_insert, new_row(ATTRIBUTES, security_groups, group_id, attributes, tx.now_text))
    tx.connection.execute(_insert_default, {"project_id": project_id, "security_group_id": group_id})
    rules = _first_rules(tx, group_id, project_id, default=True)
    quotas.count_exempt(tx, "security_group", project_id, 1)
    quotas.count_exempt(tx, "security_group_rule", project_id, len(rules))
    return group_id


def _first_rules(tx: Transaction, group_id: str, project_id: str, *, default: bool) -> list[dict[str, Any]]:
    """Give a new group the rules that are set for new groups; returns their rows."""
    template = default_security_group_rules
    used = template.c.used_in_default_sg if default else template.c.used_in_non_default_sg
    rows = [
        {
            "id": str(uuid.uuid4()),
            "project_id": project_id,
            "description": None,
            "revision_number": 1,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
            "security_group_id": group_id,
            "direction": rule["direction"],
            "ethertype": rule["ethertype"],
            "protocol": rule["protocol"],
            "port_range_min": rule["port_range_min"],
            "port_range_max": rule["port_range_max"],
            "remote_ip_prefix": rule["remote_ip_prefix"],
            "normalized_cidr": values.normalized_cidr(rule["remote_ip_prefix"]),
            "remote_group_id": group_id if rule["remote_group_id"] == PARENT else rule["remote_group_id"],
        }
        for rule in tx.connection.execute(sa.select(template).where(used == sa.true())).mappings()
    ]
    if rows:
        tx.connection.execute(_insert_rule, rows)
    return sorted(rows, key=lambda row: row["id"])  # as they will be read


def default_missing(reading: Reading, filters: Mapping[str, Sequence[Any]] | None = None) -> bool:
    """Whether a list of groups or rules is to make a default group first: the caller's, or the asked-for project's."""
    project_id = _listed_project(reading.context, filters)
    if not project_id:
        return False
    return reading.connection.execute(_default_of, {"project_id": project_id}).scalar() is None


def make_default(tx: Transaction, filters: Mapping[str, Sequence[Any]] | None = None) -> None:
    """Make what `default_missing` misses."""
    project_id = _listed_project(tx.context, filters)
    if project_id:
        default_group_id(tx, project_id)


def _listed_project(context: RequestContext, filters: Mapping[str, Sequence[Any]] | None) -> str:
    """An admin that lists another project's groups sees its default group, too (Neutron)."""
    asked = (filters or {}).get("project_id") or (filters or {}).get("tenant_id")
    if asked and context.is_admin:
        project_id = str(asked[0])
        return project_id if len(project_id) <= PROJECT_LENGTH_MAX else ""  # what is longer is nobody's
    return context.project_id


# --- the resource ----------------------------------------------------------------------------------------------------


scope = rbac_policies.own_or_shared(OBJECT_TYPE)


def view(reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Groups with their rules, tags, and whether they are shared."""
    ids = [row["id"] for row in rows]
    rules: dict[str, list[Object]] = {group_id: [] for group_id in ids}
    defaults = {row["id"] for row in rows if row["name"] == DEFAULT_NAME}
    for rule in reading.connection.execute(_rules_of, {"ids": ids_parameter(ids)}).mappings():
        group_id = rule["security_group_id"]
        rules[group_id].append(_rule_in_group(rule, of_default=group_id in defaults))
    sharing = rbac_policies.sharing_of(reading, OBJECT_TYPE, ids)
    tagged = tags.of(reading, OBJECT_TYPE, ids)
    return [_object(row, rules[row["id"]], sharing[row["id"]].shared, tagged.get(row["id"], [])) for row in rows]


def _object(row: Row, rules: list[Object], shared: bool, tags_: list[str]) -> Object:
    return {
        "id": row["id"],
        "name": row["name"],
        "stateful": row["stateful"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "shared": shared,
        "security_group_rules": rules,
        **standard(row, tags_),
    }


def _rule_in_group(row: Row, *, of_default: bool) -> Object:
    """A rule as its group shows it: with tags, which no rule has."""
    return {**rule_object(row, of_default=of_default), "tags": []}


def rule_match(row: Row) -> Object:
    """What traffic a rule is about, as the API shows it."""
    return {
        "ethertype": row["ethertype"],
        "direction": row["direction"],
        "protocol": row["protocol"],
        "port_range_min": row["port_range_min"],
        "port_range_max": row["port_range_max"],
        "remote_ip_prefix": row["remote_ip_prefix"],
        "remote_address_group_id": None,
        "remote_group_id": row["remote_group_id"],
    }


def rule_object(row: Row, *, of_default: bool) -> Object:
    """A rule as the API shows it by itself."""
    return {
        "id": row["id"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "security_group_id": row["security_group_id"],
        **rule_match(row),
        "normalized_cidr": row["normalized_cidr"],
        "belongs_to_default_sg": of_default,
        "description": row["description"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "revision_number": row["revision_number"],
    }


def create(tx: Transaction, group_id: str, attributes: dict[str, Any]) -> Object:
    """Make a group, and its project's default group where that is missing. Raises SecurityGroupDefaultAlreadyExists."""
    _refuse_default_name(attributes)
    project_id = attributes["project_id"]
    default_group_id(tx, project_id)
    row = new_row(ATTRIBUTES, security_groups, group_id, attributes, tx.now_text)
    tx.connection.execute(_insert, row)
    rules = _first_rules(tx, group_id, project_id, default=False)
    tx.count("security_group_rule", project_id, len(rules))
    return _object(row, [_rule_in_group(rule, of_default=False) for rule in rules], False, [])


def update(tx: Transaction, row: Row, changes: dict[str, Any]) -> Object:
    """Change a group's name, description or statefulness.

    Raises SecurityGroupDefaultAlreadyExists, SecurityGroupCannotUpdateDefault; SecurityGroupInUse where ports are in a
    group that would change between stateful and stateless.
    """
    _refuse_default_name(changes)
    if "name" in changes and row["name"] == DEFAULT_NAME:
        raise errors.SecurityGroupCannotUpdateDefault()
    new = {name: value for name, value in changes.items() if row[name] != value}
    if "stateful" in new:
        _refuse_used(tx, row["id"], "ports are in it: stateful cannot change")
    after = {**row, **new}
    if new:
        after |= {"revision_number": row["revision_number"] + 1, "updated_at": tx.now_text}
        changed = {name: after[name] for name in (*new, "revision_number", "updated_at")}
        tx.connection.execute(sa.update(security_groups).where(security_groups.c.id == row["id"]).values(changed))
    return view(tx, [after])[0]


def delete(tx: Transaction, row: Row) -> Object:
    """Remove a group with its rules, and the rules of others that name it.

    Raises SecurityGroupInUse; SecurityGroupCannotRemoveDefault (an admin may: the project gets a new one).
    """
    group_id = row["id"]
    _refuse_used(tx, group_id, "ports are in it: take them out first")
    if row["name"] == DEFAULT_NAME and not tx.context.is_admin:
        raise errors.SecurityGroupCannotRemoveDefault()
    gone = view(tx, [row])[0]
    others = set()
    for project_id, rule_group_id, count in tx.connection.execute(_rules_lost, {"group_id": group_id}):
        tx.count("security_group_rule", project_id, -count)
        others.add(rule_group_id)
    touch(tx, others - {group_id})
    tx.connection.execute(_delete, {"group_id": group_id})
    tx.connection.execute(_forget_in_template, {"group_id": group_id})
    tags.remove(tx, [group_id])
    rbac_policies.remove_all(tx, [group_id])
    _memory(tx).defaults.pop(row["project_id"], None)
    return gone


def touch(tx: Transaction, group_ids: Iterable[str]) -> None:
    """The rules of groups changed: count their revisions up."""
    if ids := list(group_ids):
        tx.connection.execute(_touch, {"ids": ids_parameter(ids), "at": tx.now_text})


def _refuse_default_name(attributes: Mapping[str, Any]) -> None:
    if attributes.get("name", "").lower() == DEFAULT_NAME:
        raise errors.SecurityGroupDefaultAlreadyExists()


def _refuse_used(tx: Transaction, group_id: str, reason: str) -> None:
    if tx.connection.execute(_some_port, {"group_id": group_id}).first() is not None:
        raise errors.SecurityGroupInUse(id=group_id, reason=reason)


# --- the groups of ports ---------------------------------------------------------------------------------------------


def check_port_security(
    enabled: bool, *, groups: Sequence[str], groups_given: bool, pairs: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse what needs port security on a port that has none. Pure.

    `groups` and `pairs` are those that the port would have; `groups_given` says whether the request itself names the
    groups. Raises AddressPairAndPortSecurityRequired, PortSecurityAndIPRequiredForSecurityGroups,
    PortSecurityPortHasSecurityGroup.
    """
    if enabled:
        return
    if pairs:
        raise errors.AddressPairAndPortSecurityRequired()
    if groups and groups_given:
        raise errors.PortSecurityAndIPRequiredForSecurityGroups()
    if groups:
        raise errors.PortSecurityPortHasSecurityGroup()


def for_port(
    tx: Transaction, project_id: str, wanted: list[str] | None, *, port_security: bool, trusted_owner: bool
) -> list[str]:
    """The groups of a port that is made, or of one whose groups change, sorted.

    `wanted`: as the client gave them; None for the project's default group. `trusted_owner`: the network service's own
    ports (device_owner network:*) are in no group. Raises PortSecurityAndIPRequiredForSecurityGroups for groups
    without port security; SecurityGroupNotFound for one that the caller cannot see; SecurityGroupConflict for stateful
    and stateless ones together.
    """
    if not port_security:
        check_port_security(False, groups=wanted or (), groups_given=True, pairs=())
        return []
    if trusted_owner:
        return []
    if wanted is None:
        return [default_group_id(tx, project_id)]
    if not wanted:
        return []
    stateful = _memory(tx).stateful
    unknown = sorted(set(wanted) - stateful.keys())
    if unknown:
        statement = _statefulness
        if not tx.context.is_admin:
            statement = statement.where(scope(tx.context))
        stateful |= {row.id: row.stateful for row in tx.connection.execute(statement, {"ids": ids_parameter(unknown)})}
        missing = [group_id for group_id in unknown if group_id not in stateful]
        if missing:
            raise errors.SecurityGroupNotFound(id=", ".join(missing))
    if len({stateful[group_id] for group_id in wanted}) > 1:
        raise errors.SecurityGroupConflict(
            groups=", ".join(wanted), reason="a port cannot be in both stateful and stateless groups"
        )
    return sorted(wanted)


def bind(tx: Transaction, port_id: str, group_ids: Sequence[str]) -> None:
    """Put a new port into groups."""
    if group_ids:
        tx.connection.execute(
            _insert_bindings, [{"port_id": port_id, "security_group_id": group_id} for group_id in group_ids]
        )


def rebind(tx: Transaction, port_id: str, group_ids: Sequence[str]) -> None:
    """Put a port into these groups, and out of all others."""
    tx.connection.execute(_unbind, {"of_port": port_id})
    bind(tx, port_id, group_ids)


def of_ports(reading: Reading, port_ids: Sequence[str]) -> dict[str, list[str]]:
    """The groups of ports: port id → sorted ids, for those that are in any. One statement for thousands of ports."""
    result: dict[str, list[str]] = {}
    if port_ids:
        for port_id, group_id in reading.connection.execute(_groups_of_ports, {"ids": ids_parameter(port_ids)}):
            result.setdefault(port_id, []).append(group_id)
    return result


def _in_groups(_reading: Reading, wanted: Sequence[Any]) -> sa.ColumnElement[bool]:
    ids = [str(group_id) for value in wanted for group_id in (value if isinstance(value, list) else [value])]
    members = sa.select(port_security_groups.c.port_id).where(port_security_groups.c.security_group_id.in_(ids))
    return ports.c.id.in_(members)


PORT_FILTERS: Mapping[str, Filter] = {"security_groups": _in_groups}
"""The filter of ports by their groups: those in any of them (extension port-security-groups-filtering)."""

PREPARE = Prepare(default_missing, make_default)

RESOURCE = Resource(
    attributes=ATTRIBUTES,
    table=security_groups,
    view=view,
    scope=scope,
    create=create,
    update=update,
    delete=delete,
    filters={"shared": rbac_policies.shared_filter(OBJECT_TYPE), **tags.filters(security_groups)},
    tagged=True,
    prepare=PREPARE,
)
