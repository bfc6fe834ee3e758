"""`/v3/users`. Passwords come in hashed already (`Call.prepared`): that is done outside the transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cove.identity import fields, models
from cove.identity.call import Call, Row, filtered, links, new_id, page
from cove.identity.domains import DEFAULT_ID
from cove.identity.errors import Conflict, Unauthorized, ValidationError, no_such
from cove.identity.fields import Field, checked, member

FIELDS = (
    Field("name", fields.name(255), required=True),
    Field("domain_id", fields.nullable_identifier),
    Field("default_project_id", fields.nullable_identifier),
    Field("description", fields.nullable_text),
    Field("enabled", fields.flag),
    Field("password", fields.password, secret=True),
    Field("federated", fields.nothing("federated users are not supported"), secret=True),
    Field("options", fields.nothing("no options of users are supported")),
)
CHANGE_FIELDS = (
    Field("original_password", fields.password, required=True, secret=True),
    Field("password", fields.password, required=True, secret=True),
)
_NOT_COLUMNS = ("password", "options", "federated")
_table = models.users


def view(call: Call, row: Row) -> dict[str, Any]:
    """As GET shows it."""
    shown: dict[str, Any] = row["extra"] | {
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "enabled": row["enabled"],
        "password_expires_at": None,
        "options": {},
        "links": {"self": f"{call.v3}/users/{row['id']}"},
    }
    for optional in ("default_project_id", "description"):
        if row[optional] is not None:
            shown[optional] = row[optional]
    return shown


def list_(call: Call) -> dict[str, Any]:
    """GET /users."""
    call.require("list_users", domain_id=call.caller.domain_id)
    statement = filtered(call, sa.select(_table), _table, ("id", "name", "domain_id", "enabled"))
    if not call.caller.is_admin and not call.caller.system:
        statement = statement.where(_table.c.domain_id == call.caller.domain_id)
    return page(call, statement, _table, "users", "/users", lambda row: view(call, row))


def show(call: Call) -> dict[str, Any]:
    """GET /users/{id}."""
    return {"user": view(call, _visible(call, "get_user"))}


def groups(call: Call) -> dict[str, Any]:
    """GET /users/{id}/groups: none, as there are no groups."""
    row = _visible(call, "list_groups_for_user")
    return {"groups": [], "links": links(call, f"/users/{row['id']}/groups")}


def no_groups(call: Call) -> dict[str, Any]:
    """GET /groups: none."""
    call.require("list_groups", domain_id=call.caller.domain_id)
    return {"groups": [], "links": links(call, "/groups")}


def no_access_rules(call: Call) -> dict[str, Any]:
    """GET /users/{id}/access_rules: none, as application credentials have none here."""
    row = _visible(call, "list_access_rules")
    return {"access_rules": [], "links": links(call, f"/users/{row['id']}/access_rules")}


def _visible(call: Call, action: str) -> Row:
    user_id = call.params["user_id"]
    row = call.row(_table, user_id)
    call.require(
        action,
        user_id=user_id if row is not None else "",
        domain_id=row["domain_id"] if row is not None else "",
    )
    if row is None:
        raise no_such("user", user_id)
    return row


def password_of(body: Any) -> str | None:
    """The password in the body of a POST or PATCH, None if there is none to hash. Raises ValidationError."""
    return checked("user", FIELDS, body, create=False).get("password")


def create(call: Call) -> dict[str, Any]:
    """POST /users."""
    call.require("create_user")
    values = checked("user", FIELDS, call.body, create=True, extra=True)
    domain_id = values.get("domain_id") or call.caller.domain_id or call.caller.project_domain_id or DEFAULT_ID
    call.must(models.domains, "domain", domain_id)
    _refuse_taken(call, domain_id, values["name"])
    row = {
        "id": new_id(),
        "domain_id": domain_id,
        "name": values["name"],
        "password_hash": call.prepared,
        "enabled": values.get("enabled", True),
        "default_project_id": values.get("default_project_id"),
        "description": values.get("description"),
        "extra": values["extra"],
    }
    call.connection.execute(_table.insert(), row)
    return {"user": view(call, row)}


def update(call: Call) -> dict[str, Any]:
    """PATCH /users/{id}. A new password, or being disabled, ends the user's tokens."""
    call.require("update_user")
    row = dict(call.must(_table, "user", call.params["user_id"]))
    values = checked("user", FIELDS, call.body, create=False, extra=True)
    if values.pop("domain_id", row["domain_id"]) not in (row["domain_id"], None):
        raise ValidationError("Cannot change domain_id of a user.")
    if values.get("name", row["name"]) != row["name"]:
        _refuse_taken(call, row["domain_id"], values["name"])
    new_password = "password" in values
    for other in _NOT_COLUMNS:
        values.pop(other, None)
    if new_password:
        values["password_hash"] = call.prepared
    values["extra"] = {key: value for key, value in (row["extra"] | values["extra"]).items() if value is not None}
    call.connection.execute(_table.update().where(_table.c.id == row["id"]), values)
    if new_password or values.get("enabled") is False:
        _end_tokens(call, row["id"])
    call.bump()
    return {"user": view(call, row | values)}


def change_password(call: Call) -> None:
    """POST /users/{id}/password, by who knows the old one. `prepared`: the hash of the old one, and of the new."""
    before, after = call.prepared
    changed = call.connection.execute(
        _table.update()
        .where(_table.c.id == call.params["user_id"], _table.c.password_hash == before)
        .values(password_hash=after)
    )
    if changed.rowcount != 1:  # somebody was faster
        raise Unauthorized
    _end_tokens(call, call.params["user_id"])
    call.bump()


def passwords_of_change(body: Any) -> tuple[str, str]:
    """Old and new password in the body of a change. Raises ValidationError."""
    values = checked("user", CHANGE_FIELDS, body, create=True)
    if values["original_password"] is None or values["password"] is None:
        raise ValidationError("Invalid input for field/attribute password. Expected text.")
    return values["original_password"], values["password"]


def has_password(body: Any) -> bool:
    """Whether a body sets the password."""
    return "password" in member(body, "user")


def _end_tokens(call: Call, user_id: str) -> None:
    call.connection.execute(models.tokens.delete().where(models.tokens.c.user_id == user_id))


def delete(call: Call) -> None:
    """DELETE /users/{id}, with its assignments, application credentials and tokens (foreign keys)."""
    call.require("delete_user")
    row = call.must(_table, "user", call.params["user_id"])
    call.connection.execute(_table.delete().where(_table.c.id == row["id"]))
    call.bump()


def _refuse_taken(call: Call, domain_id: str, name: str) -> None:
    taken = sa.select(_table.c.id).where(_table.c.domain_id == domain_id, _table.c.name == name)
    if call.connection.execute(taken).first() is not None:
        raise Conflict(f"Conflict occurred attempting to store user - there is a user {name} in domain {domain_id}.")
