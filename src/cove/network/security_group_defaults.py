"""What new security groups begin with: rules that an admin may add to and take from (security-groups-default-rules).

Each is used for the default groups of projects, for all other new groups, or for both. Groups that are there already
do not change with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cove.network import errors
from cove.network import security_group_values as values
from cove.network.context import RequestContext
from cove.network.models import default_security_group_rules, security_groups
from cove.network.resource import Object, Resource
from cove.network.rows import Row, new_row
from cove.network.security_groups import PARENT, rule_match
from cove.network.tables.security_group_rule import DEFAULT_SECURITY_GROUP_RULE as ATTRIBUTES
from cove.network.transaction import Reading, Transaction

_USES = ("used_in_default_sg", "used_in_non_default_sg")

_p = sa.bindparam
_insert = sa.insert(default_security_group_rules)
_delete = sa.delete(default_security_group_rules).where(default_security_group_rules.c.id == _p("rule_id"))
_all = sa.select(default_security_group_rules)
_group = sa.select(security_groups.c.id).where(security_groups.c.id == _p("group_id"))


def scope(_context: RequestContext) -> sa.ColumnElement[bool]:
    """They belong to no project; policy says who sees them."""
    return sa.true()


def view(_reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Rules as the API shows them."""
    return [
        {
            "id": row["id"],
            **rule_match(row),
            "used_in_default_sg": row["used_in_default_sg"],
            "used_in_non_default_sg": row["used_in_non_default_sg"],
            "description": row["description"],
        }
        for row in rows
    ]


def create(tx: Transaction, rule_id: str, attributes: dict[str, Any]) -> Object:
    """Make a rule for new groups.

    Raises errors of `security_group_values.check`, SecurityGroupNotFound, DuplicateDefaultSgRuleInPost;
    DefaultSecurityGroupRuleExists where groups of one of its kinds get such a rule already.
    """
    values.check(attributes)
    values.refuse_address_group(attributes)
    remote = attributes["remote_group_id"]
    if remote not in (None, PARENT) and tx.connection.execute(_group, {"group_id": remote}).first() is None:
        raise errors.SecurityGroupNotFound(id=remote)
    key = values.key(attributes)
    made: set[str] = tx.memory.setdefault(__name__, set())
    for other in tx.connection.execute(_all).mappings():
        if values.key(other) == key and any(other[use] and attributes[use] for use in _USES):
            if other["id"] in made:
                raise errors.DuplicateDefaultSgRuleInPost(rule=attributes["direction"])
            raise errors.DefaultSecurityGroupRuleExists(rule_id=other["id"])
    row = new_row(ATTRIBUTES, default_security_group_rules, rule_id, attributes, tx.now_text)
    tx.connection.execute(_insert, row)
    made.add(rule_id)
    return view(tx, [row])[0]


def delete(tx: Transaction, row: Row) -> Object:
    """Remove a rule for new groups."""
    tx.connection.execute(_delete, {"rule_id": row["id"]})
    return view(tx, [row])[0]


RESOURCE = Resource(
    attributes=ATTRIBUTES,
    table=default_security_group_rules,
    view=view,
    scope=scope,
    create=create,
    delete=delete,
    counted=False,
)
