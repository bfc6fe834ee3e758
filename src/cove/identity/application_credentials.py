"""`/v3/users/{id}/application_credentials`: secrets for programs, for one project and some of their user's roles."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cove.identity import assignments, fields, models, roles, times
from cove.identity.call import Call, Row, filtered, new_id, page
from cove.identity.errors import Conflict, Forbidden, ValidationError, no_such
from cove.identity.fields import Field, checked

ROLES_MAX = 100


def _expiry(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("a time such as 2027-01-31T12:00:00, or null")
    try:
        seconds = times.parsed(value)
        times.shown(seconds)  # the last day of the last year may be beyond it in UTC
        return seconds
    except (ValueError, OverflowError):
        raise ValueError("a time such as 2027-01-31T12:00:00, or null") from None


def _roles(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or len(value) > ROLES_MAX:
        raise ValueError(f"a list of at most {ROLES_MAX} roles")
    for role in value:
        named = isinstance(role, dict) and isinstance(role.get("id", role.get("name")), str)
        if not named:
            raise ValueError('a list of roles such as {"name": "reader"} or {"id": …}')
    return value


FIELDS = (
    Field("name", fields.name(255), required=True),
    Field("description", fields.nullable_text),
    Field("secret", fields.password, secret=True),
    Field("expires_at", _expiry),
    Field("unrestricted", lambda value: False if value is None else fields.flag(value)),
    Field("roles", lambda value: [] if value is None else _roles(value)),
    Field("project_id", fields.nullable_identifier),
    Field("access_rules", fields.nothing("access rules are not supported: give it fewer roles instead")),
    Field("system", fields.nothing("application credentials for the system are not supported")),
)
_table = models.application_credentials
_having = models.application_credential_roles


def secret_of(body: Any) -> str | None:
    """The secret that a POST brings; None if one is to be drawn. Raises ValidationError."""
    return checked("application_credential", FIELDS, body, create=True).get("secret")


def roles_of(connection: sa.Connection, ids: list[str]) -> dict[str, list[Row]]:
    """The roles of each of these credentials."""
    found: dict[str, list[Row]] = {credential_id: [] for credential_id in ids}
    for start in range(0, len(ids), 500):
        statement = (
            sa.select(_having.c.credential_id, models.roles)
            .join(models.roles, models.roles.c.id == _having.c.role_id)
            .where(_having.c.credential_id.in_(ids[start : start + 500]))
            .order_by(models.roles.c.id)
        )
        for row in connection.execute(statement):
            found[row._mapping["credential_id"]].append(dict(row._mapping))
    return found


def view(call: Call, row: Row, having: list[Row]) -> dict[str, Any]:
    """As GET shows it: never the secret."""
    path = f"/users/{row['user_id']}/application_credentials/{row['id']}"
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "user_id": row["user_id"],
        "project_id": row["project_id"],
        "system": None,
        "expires_at": None if row["expires_at"] is None else times.shown_plain(row["expires_at"]),
        "unrestricted": row["unrestricted"],
        "roles": [
            {"id": role["id"], "name": role["name"], "domain_id": None, "description": role["description"]}
            for role in having
        ],
        "access_rules": [],
        "links": {"self": f"{call.v3}{path}"},
    }


def list_(call: Call) -> dict[str, Any]:
    """GET /users/{id}/application_credentials."""
    user_id = call.params["user_id"]
    call.require("list_application_credentials", user_id=user_id)
    call.must(models.users, "user", user_id)
    statement = filtered(call, sa.select(_table).where(_table.c.user_id == user_id), _table, ("name", "project_id"))
    path = f"/users/{user_id}/application_credentials"
    answer = page(call, statement, _table, "application_credentials", path, dict)
    having = roles_of(call.connection, [row["id"] for row in answer["application_credentials"]])
    shown = [view(call, row, having[row["id"]]) for row in answer["application_credentials"]]
    return answer | {"application_credentials": shown}


def show(call: Call) -> dict[str, Any]:
    """GET /users/{id}/application_credentials/{id}."""
    row = _one(call, "get_application_credential")
    return {"application_credential": view(call, row, roles_of(call.connection, [row["id"]])[row["id"]])}


def _one(call: Call, action: str) -> Row:
    user_id, credential_id = call.params["user_id"], call.params["application_credential_id"]
    call.require(action, user_id=user_id)
    row = call.row(_table, credential_id)
    if row is None or row["user_id"] != user_id:
        raise no_such("application credential", credential_id)
    return row


def create(call: Call) -> dict[str, Any]:
    """POST /users/{id}/application_credentials. `prepared` is (secret, its hash); only this answer shows the secret."""
    user_id = call.params["user_id"]
    call.require("create_application_credential", user_id=user_id)
    _refuse_restricted(call)
    values = checked("application_credential", FIELDS, call.body, create=True)
    project_id = values.get("project_id") or call.caller.project_id
    if not call.caller.project_id or project_id != call.caller.project_id:
        raise ValidationError("An application credential is for the project of the token that makes it: log in there.")
    if call.row(models.users, user_id) is None:  # deleted meanwhile
        raise no_such("user", user_id)
    expires_at = values.get("expires_at")
    if expires_at is not None and expires_at <= call.now:
        raise ValidationError("Invalid input for field/attribute expires_at. It must not be before now.")
    role_ids = _wanted_roles(call, values.get("roles") or [])
    taken = sa.select(_table.c.id).where(_table.c.user_id == user_id, _table.c.name == values["name"])
    if call.connection.execute(taken).first() is not None:
        raise Conflict(f"Conflict occurred attempting to store application_credential - {values['name']} is there.")
    secret, secret_hash = call.prepared
    row = {
        "id": new_id(),
        "user_id": user_id,
        "project_id": project_id,
        "name": values["name"],
        "secret_hash": secret_hash,
        "description": values.get("description"),
        "expires_at": expires_at,
        "unrestricted": values.get("unrestricted", False),
    }
    call.connection.execute(_table.insert(), row)
    call.connection.execute(
        _having.insert(), [{"credential_id": row["id"], "role_id": role_id} for role_id in sorted(role_ids)]
    )
    shown = view(call, row, roles_of(call.connection, [row["id"]])[row["id"]])
    return {"application_credential": shown | {"secret": secret}}


def _wanted_roles(call: Call, wanted: list[dict[str, str]]) -> set[str]:
    """Ids of the roles it is to have: those of the token, or some of these. Raises ValidationError."""
    known = roles.names(call.connection)
    ids = {name: role_id for role_id, name in known.items()}
    # What the token has, not what the user has: else a credential with few roles could make one with more.
    may_have = {ids[name] for name in call.caller.roles if name in ids}
    may_have &= assignments.effective(call.connection, call.caller.user_id, "project", call.caller.project_id)
    if not wanted:
        chosen = may_have
    else:
        chosen = {role["id"] if "id" in role else ids.get(role["name"], "") for role in wanted}
    if not chosen or not chosen <= may_have:
        raise ValidationError("Invalid application credential: it can have only roles that you have on the project.")
    return chosen


def _refuse_restricted(call: Call) -> None:
    if call.caller.restricted:
        raise Forbidden("You are not authorized: this application credential may not manage others (unrestricted).")


def delete(call: Call) -> None:
    """DELETE /users/{id}/application_credentials/{id}, with its tokens."""
    row = _one(call, "delete_application_credential")
    _refuse_restricted(call)
    call.connection.execute(_table.delete().where(_table.c.id == row["id"]))
    call.bump()
