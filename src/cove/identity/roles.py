"""`/v3/roles`, and which roles imply which: admin → manager → member → reader, as Keystone bootstraps them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from cove.identity import fields, models
from cove.identity.call import Call, Row, filtered, links, new_id, page
from cove.identity.errors import Conflict, Forbidden, no_such
from cove.identity.fields import Field, checked

FIELDS = (
    Field("name", fields.name(255), required=True),
    Field("description", fields.nullable_text),
    Field("domain_id", fields.nothing("roles of a single domain are not supported")),
    Field("options", lambda value: _options(value)),
)
_table = models.roles
_implied = models.implied_roles


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) - {"immutable"} or not isinstance(value.get("immutable", False), bool):
        raise ValueError('an object with "immutable", true or false, or an empty one')
    return value


def expand(role_ids: Iterable[str], implications: Iterable[tuple[str, str]]) -> set[str]:
    """The roles and all they imply, directly or through others. Circles end."""
    implied: dict[str, list[str]] = {}
    for prior, following in implications:
        implied.setdefault(prior, []).append(following)
    found: set[str] = set()
    waiting = list(role_ids)
    while waiting:
        role_id = waiting.pop()
        if role_id not in found:
            found.add(role_id)
            waiting += implied.get(role_id, ())
    return found


_ALL_IMPLIED = sa.select(_implied.c.prior_role_id, _implied.c.implied_role_id)
_ALL_NAMES = sa.select(_table.c.id, _table.c.name)


def implications(connection: sa.Connection) -> list[tuple[str, str]]:
    """All pairs (role, role that it implies)."""
    return [(prior, following) for prior, following in connection.execute(_ALL_IMPLIED)]


def names(connection: sa.Connection) -> dict[str, str]:
    """Id → name of every role; there are few."""
    return {row.id: row.name for row in connection.execute(_ALL_NAMES)}


def view(call: Call, row: Row) -> dict[str, Any]:
    """As GET shows it."""
    return {
        "id": row["id"],
        "name": row["name"],
        "domain_id": None,
        "description": row["description"],
        "options": {"immutable": True} if row["immutable"] else {},
        "links": {"self": f"{call.v3}/roles/{row['id']}"},
    }


def list_(call: Call) -> dict[str, Any]:
    """GET /roles."""
    call.require("list_roles")
    statement = filtered(call, sa.select(_table), _table, ("id", "name"))
    if call.argument("domain_id"):
        statement = statement.where(sa.false())
    return page(call, statement, _table, "roles", "/roles", lambda row: view(call, row))


def show(call: Call) -> dict[str, Any]:
    """GET /roles/{id}."""
    call.require("get_role")
    return {"role": view(call, call.must(_table, "role", call.params["role_id"]))}


def create(call: Call) -> dict[str, Any]:
    """POST /roles."""
    call.require("create_role")
    values = checked("role", FIELDS, call.body, create=True)
    _refuse_taken(call, values["name"])
    row = {
        "id": new_id(),
        "name": values["name"],
        "description": values.get("description"),
        "immutable": bool(values.get("options", {}).get("immutable", False)),
    }
    call.connection.execute(_table.insert(), row)
    return {"role": view(call, row)}


def update(call: Call) -> dict[str, Any]:
    """PATCH /roles/{id}. What tokens can do goes by names: they are looked at anew."""
    call.require("update_role")
    row = dict(call.must(_table, "role", call.params["role_id"]))
    values = checked("role", FIELDS, call.body, create=False)
    values.pop("domain_id", None)
    options = values.pop("options", None)
    if row["immutable"] and (values or options is None or options.get("immutable", True)):
        raise Forbidden(f"Cannot change role {row['name']}: it is immutable (option immutable).")
    if options is not None:
        values["immutable"] = bool(options.get("immutable", row["immutable"]))
    if values.get("name", row["name"]) != row["name"]:
        _refuse_taken(call, values["name"])
    if values:
        call.connection.execute(_table.update().where(_table.c.id == row["id"]), values)
        call.bump()
    return {"role": view(call, row | values)}


def delete(call: Call) -> None:
    """DELETE /roles/{id}, with its assignments, and the application credentials that have it."""
    call.require("delete_role")
    row = call.must(_table, "role", call.params["role_id"])
    if row["immutable"]:
        raise Forbidden(f"Cannot delete role {row['name']}: it is immutable (option immutable).")
    having, credentials = models.application_credential_roles, models.application_credentials
    with_it = sa.select(having.c.credential_id).where(having.c.role_id == row["id"])
    call.connection.execute(credentials.delete().where(credentials.c.id.in_(with_it)))
    call.connection.execute(_table.delete().where(_table.c.id == row["id"]))
    call.bump()


def _refuse_taken(call: Call, name: str) -> None:
    if call.connection.execute(sa.select(_table.c.id).where(_table.c.name == name)).first() is not None:
        raise Conflict(f"Conflict occurred attempting to store role - there is a role {name} already.")


# --- implied roles ---------------------------------------------------------------------------------------------------


def _short(call: Call, row: Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": {"self": f"{call.v3}/roles/{row['id']}"}}


def inferences(call: Call) -> dict[str, Any]:
    """GET /role_inferences: all rules."""
    call.require("list_role_inference_rules")
    known = {row["id"]: row for row in call.rows(sa.select(_table))}
    rules: dict[str, list[str]] = {}
    for prior, following in sorted(implications(call.connection)):
        rules.setdefault(prior, []).append(following)
    return {
        "role_inferences": [
            {"prior_role": _short(call, known[prior]), "implies": [_short(call, known[one]) for one in following]}
            for prior, following in rules.items()
        ],
        "links": links(call, "/role_inferences"),
    }


def implied_by(call: Call) -> dict[str, Any]:
    """GET /roles/{prior}/implies."""
    call.require("list_implied_roles")
    prior = call.must(_table, "role", call.params["role_id"])
    ids = sa.select(_implied.c.implied_role_id).where(_implied.c.prior_role_id == prior["id"])
    rows = call.rows(sa.select(_table).where(_table.c.id.in_(ids)).order_by(_table.c.id))
    inference = {"prior_role": _short(call, prior), "implies": [_short(call, row) for row in rows]}
    return {"role_inference": inference, "links": links(call, f"/roles/{prior['id']}/implies")}


def show_implied(call: Call) -> dict[str, Any]:
    """GET /roles/{prior}/implies/{implied}."""
    call.require("check_implied_role")
    prior, following = _pair(call)
    if not _implies(call, prior, following):
        raise no_such("implied role", f"{prior['id']} implies {following['id']}")
    return _inference(call, prior, following)


def check_implied(call: Call) -> None:
    """HEAD /roles/{prior}/implies/{implied}."""
    show_implied(call)


def create_implied(call: Call) -> dict[str, Any]:
    """PUT /roles/{prior}/implies/{implied}."""
    call.require("create_implied_role")
    prior, following = _pair(call)
    if following["name"] == "admin":
        raise Forbidden("The role admin cannot be implied by another.")
    if not _implies(call, prior, following):
        call.connection.execute(_implied.insert(), {"prior_role_id": prior["id"], "implied_role_id": following["id"]})
        call.bump()
    return _inference(call, prior, following)


def delete_implied(call: Call) -> None:
    """DELETE /roles/{prior}/implies/{implied}."""
    call.require("delete_implied_role")
    prior, following = _pair(call)
    if not _implies(call, prior, following):
        raise no_such("implied role", f"{prior['id']} implies {following['id']}")
    call.connection.execute(_implied.delete().where(_one(prior, following)))
    call.bump()


def _pair(call: Call) -> tuple[Row, Row]:
    return (
        call.must(_table, "role", call.params["role_id"]),
        call.must(_table, "role", call.params["implied_role_id"]),
    )


def _one(prior: Row, following: Row) -> sa.ColumnElement[bool]:
    return sa.and_(_implied.c.prior_role_id == prior["id"], _implied.c.implied_role_id == following["id"])


def _implies(call: Call, prior: Row, following: Row) -> bool:
    return call.connection.execute(sa.select(_implied).where(_one(prior, following))).first() is not None


def _inference(call: Call, prior: Row, following: Row) -> dict[str, Any]:
    path = f"/roles/{prior['id']}/implies/{following['id']}"
    inference = {"prior_role": _short(call, prior), "implies": _short(call, following)}
    return {"role_inference": inference, "links": {"self": f"{call.v3}{path}"}}
