"""Security group rules inside transactions. A rule is made and removed, never changed; its group counts both.

The rules of one request are of one group and one project, and none is there twice (Neutron's rules, whose edges are
its clients': a rule is a duplicate also where it says the same in other words, such as 0.0.0.0/0 for everywhere).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import errors, security_groups, tags
from cove.network import security_group_values as values
from cove.network.context import RequestContext
from cove.network.models import default_security_groups, security_group_rules
from cove.network.models import security_groups as groups
from cove.network.resource import Object, Resource
from cove.network.rows import Row, new_row
from cove.network.tables.security_group_rule import SECURITY_GROUP_RULE as ATTRIBUTES
from cove.network.transaction import Reading, Transaction

_p = sa.bindparam
_insert = sa.insert(security_group_rules)
_delete = sa.delete(security_group_rules).where(security_group_rules.c.id == _p("rule_id"))
_of_group = sa.select(security_group_rules).where(security_group_rules.c.security_group_id == _p("group_id"))
_defaults = sa.select(default_security_groups.c.security_group_id).where(
    in_ids(default_security_groups.c.security_group_id, "ids")
)
_group = sa.select(groups.c.id).where(groups.c.id == _p("group_id"))


@dataclass(slots=True)
class _Memory:
    """The rules that this transaction makes: of which group and project, and the keys of all that the group has."""

    group_id: str
    project_id: str
    of_default: bool
    existing: dict[tuple[Any, ...], str] = field(default_factory=dict)
    made: set[tuple[Any, ...]] = field(default_factory=set)


def scope(context: RequestContext) -> sa.ColumnElement[bool]:
    """The rules of the caller's own groups, whoever made them."""
    own = sa.select(groups.c.id).where(groups.c.project_id == context.project_id)
    return security_group_rules.c.security_group_id.in_(own)


def view(reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Rules as the API shows them."""
    group_ids = {row["security_group_id"] for row in rows}
    defaults = set(reading.connection.execute(_defaults, {"ids": ids_parameter(group_ids)}).scalars())
    return [security_groups.rule_object(row, of_default=row["security_group_id"] in defaults) for row in rows]


def create(tx: Transaction, rule_id: str, attributes: dict[str, Any]) -> Object:
    """Make a rule.

    Raises errors of `security_group_values.check`; SecurityGroupNotFound for its own or its remote group;
    SecurityGroupRuleExists, DuplicateSecurityGroupRuleInPost, SecurityGroupNotSingleGroupRules,
    SecurityGroupRulesNotSingleProject.
    """
    values.check(attributes)
    values.refuse_address_group(attributes)
    memory = _remember(tx, attributes)
    remote = attributes["remote_group_id"]
    if remote is not None and remote != memory.group_id:
        _refuse_unseen(tx, remote)
    key = values.key(attributes)
    if key in memory.made:
        raise errors.DuplicateSecurityGroupRuleInPost(rule=_described(attributes))
    if key in memory.existing:
        raise errors.SecurityGroupRuleExists(rule_id=memory.existing[key])
    memory.made.add(key)
    attributes["normalized_cidr"] = values.normalized_cidr(attributes["remote_ip_prefix"])
    row = new_row(ATTRIBUTES, security_group_rules, rule_id, attributes, tx.now_text)
    tx.connection.execute(_insert, row)
    return security_groups.rule_object(row, of_default=memory.of_default)


def _remember(tx: Transaction, attributes: dict[str, Any]) -> _Memory:
    """What the transaction knows of the rule's group; with its first rule, the group is looked at and counted up."""
    group_id, project_id = attributes["security_group_id"], attributes["project_id"]
    memory: _Memory | None = tx.memory.get(__name__)
    if memory is None:
        _refuse_unseen(tx, group_id)
        # The update comes before the look: it keeps others from adding the same rule at the same time.
        security_groups.touch(tx, [group_id])
        is_default = tx.connection.execute(_defaults, {"ids": ids_parameter([group_id])}).first() is not None
        memory = tx.memory[__name__] = _Memory(group_id, project_id, is_default)
        for row in tx.connection.execute(_of_group, {"group_id": group_id}).mappings():
            memory.existing[values.key(row)] = row["id"]
    if group_id != memory.group_id:
        raise errors.SecurityGroupNotSingleGroupRules(first=memory.group_id, second=group_id)
    if project_id != memory.project_id:
        raise errors.SecurityGroupRulesNotSingleProject(first=memory.project_id, second=project_id)
    return memory


def _refuse_unseen(tx: Transaction, group_id: str) -> None:
    statement = _group if tx.context.is_admin else _group.where(security_groups.scope(tx.context))
    if tx.connection.execute(statement, {"group_id": group_id}).first() is None:
        raise errors.SecurityGroupNotFound(id=group_id)


def _described(attributes: dict[str, Any]) -> str:
    names = ("direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix")
    return " ".join(str(attributes[name]) for name in names if attributes[name] is not None)


def delete(tx: Transaction, row: Row) -> Object:
    """Remove a rule."""
    gone = view(tx, [row])[0]
    tx.connection.execute(_delete, {"rule_id": row["id"]})
    security_groups.touch(tx, [row["security_group_id"]])
    return gone


def _belongs_to_default(_reading: Reading, wanted: Sequence[Any]) -> sa.ColumnElement[bool]:
    belongs = security_group_rules.c.security_group_id.in_(sa.select(default_security_groups.c.security_group_id))
    return sa.or_(*(belongs if value else sa.not_(belongs) for value in wanted))


RESOURCE = Resource(
    attributes=ATTRIBUTES,
    table=security_group_rules,
    view=view,
    scope=scope,
    create=create,
    delete=delete,
    filters={"belongs_to_default_sg": _belongs_to_default, "changed_since": tags.changed_since(security_group_rules)},
    parent=("security_group", "security_group_id"),
    prepare=security_groups.PREPARE,
)
