"""`/v3/domains`: the outermost folders of users and projects. One, `default`, is always there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cove.identity import fields, models
from cove.identity.call import Call, Row, filtered, new_id, page
from cove.identity.errors import Conflict, Forbidden, no_such
from cove.identity.fields import Field, checked

DEFAULT_ID = "default"

FIELDS = (
    Field("name", fields.name(64), required=True),
    Field("description", fields.text),
    Field("enabled", fields.flag),
    Field("tags", fields.tags),
    Field("options", fields.nothing("no options of domains are supported")),
)
_table = models.domains


def view(call: Call, row: Row) -> dict[str, Any]:
    """As GET shows it."""
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "enabled": row["enabled"],
        "tags": row["tags"],
        "options": {},
        "links": {"self": f"{call.v3}/domains/{row['id']}"},
    }


def list_(call: Call) -> dict[str, Any]:
    """GET /domains."""
    call.require("list_domains", domain_id=call.caller.domain_id)
    statement = filtered(call, sa.select(_table), _table, ("id", "name", "enabled"))
    if not call.caller.is_admin and not call.caller.system:
        statement = statement.where(_table.c.id == call.caller.domain_id)
    return page(call, statement, _table, "domains", "/domains", lambda row: view(call, row))


def show(call: Call) -> dict[str, Any]:
    """GET /domains/{id}."""
    row = call.row(_table, call.params["domain_id"])
    call.require("get_domain", domain_id=call.params["domain_id"])
    if row is None:
        raise no_such("domain", call.params["domain_id"])
    return {"domain": view(call, row)}


def create(call: Call) -> dict[str, Any]:
    """POST /domains."""
    call.require("create_domain")
    values = checked("domain", FIELDS, call.body, create=True)
    _refuse_taken(call, values["name"])
    row = {
        "id": new_id(),
        "name": values["name"],
        "description": values.get("description", ""),
        "enabled": values.get("enabled", True),
        "tags": values.get("tags", []),
    }
    call.connection.execute(_table.insert(), row)
    return {"domain": view(call, row)}


def update(call: Call) -> dict[str, Any]:
    """PATCH /domains/{id}. One that is disabled makes the tokens of its users and for its projects worthless."""
    call.require("update_domain")
    row = dict(call.must(_table, "domain", call.params["domain_id"]))
    values = checked("domain", FIELDS, call.body, create=False)
    values.pop("options", None)
    if values.get("name", row["name"]) != row["name"]:
        _refuse_taken(call, values["name"])
    if row["id"] == DEFAULT_ID and not values.get("enabled", True):
        raise Forbidden("Cannot disable the domain default: nobody could log in any more.")
    if values:
        call.connection.execute(_table.update().where(_table.c.id == row["id"]), values)
        call.bump()
    if values.get("enabled") is False:
        _delete_tokens(call, row["id"])
    return {"domain": view(call, row | values)}


def delete(call: Call) -> None:
    """DELETE /domains/{id}, with all that is in it. It must have been disabled before."""
    call.require("delete_domain")
    row = call.must(_table, "domain", call.params["domain_id"])
    if row["enabled"]:
        raise Forbidden("Cannot delete a domain that is enabled, please disable it first.")
    call.bump()
    projects, users, assignments = models.projects, models.users, models.assignments
    inside = sa.select(projects.c.id).where(projects.c.domain_id == row["id"])
    call.connection.execute(
        assignments.delete().where(
            sa.or_(
                sa.and_(assignments.c.scope == "domain", assignments.c.scope_id == row["id"]),
                sa.and_(assignments.c.scope == "project", assignments.c.scope_id.in_(inside)),
            )
        )
    )
    call.connection.execute(users.delete().where(users.c.domain_id == row["id"]))
    # Parents refer to each other; without their links, projects go in any order.
    call.connection.execute(projects.update().where(projects.c.domain_id == row["id"]).values(parent_id=None))
    call.connection.execute(projects.delete().where(projects.c.domain_id == row["id"]))
    call.connection.execute(_table.delete().where(_table.c.id == row["id"]))


def _delete_tokens(call: Call, domain_id: str) -> None:
    """Delete the tokens of the domain's users, for the domain, and for its projects."""
    tokens, users, projects = models.tokens, models.users, models.projects
    call.connection.execute(
        tokens.delete().where(
            sa.or_(
                tokens.c.domain_id == domain_id,
                tokens.c.user_id.in_(sa.select(users.c.id).where(users.c.domain_id == domain_id)),
                tokens.c.project_id.in_(sa.select(projects.c.id).where(projects.c.domain_id == domain_id)),
            )
        )
    )


def _refuse_taken(call: Call, name: str) -> None:
    if call.connection.execute(sa.select(_table.c.id).where(_table.c.name == name)).first() is not None:
        raise Conflict(f"Conflict occurred attempting to store domain - there is a domain {name} already.")
