"""Who has which role where: grants on projects, domains and the system, and `/v3/role_assignments`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cove.identity import models, roles
from cove.identity.call import Call, Row, links
from cove.identity.errors import NotFound, ValidationError

SYSTEM_ID = "all"
_table = models.assignments

_GRANTED = sa.select(_table.c.role_id).where(
    _table.c.user_id == sa.bindparam("user"),
    _table.c.scope == sa.bindparam("scope"),
    _table.c.scope_id == sa.bindparam("scope_id"),
)


def effective(connection: sa.Connection, user_id: str, scope: str, scope_id: str) -> set[str]:
    """Ids of the roles that a user has there, implied ones too."""
    granted = connection.execute(_GRANTED, {"user": user_id, "scope": scope, "scope_id": scope_id}).scalars().all()
    return roles.expand(granted, roles.implications(connection)) if granted else set()


# --- grants ----------------------------------------------------------------------------------------------------------


def _place(call: Call) -> tuple[str, str, str]:
    """Scope, id and domain of what the path of a grant names. Raises NotFound."""
    if "project_id" in call.params:
        row = call.must(models.projects, "project", call.params["project_id"])
        return "project", row["id"], row["domain_id"]
    if "domain_id" in call.params:
        row = call.must(models.domains, "domain", call.params["domain_id"])
        return "domain", row["id"], row["id"]
    return "system", SYSTEM_ID, ""


def _action(call: Call, verb: str) -> str:
    """The action's name: those on the system have their own."""
    if "project_id" in call.params or "domain_id" in call.params:
        return f"{verb}_grants" if verb == "list" else f"{verb}_grant"
    return f"{verb}_system_grants_for_user" if verb == "list" else f"{verb}_system_grant_for_user"


def _reading(call: Call, verb: str) -> tuple[str, str, str]:
    """Place and user of a grant that is looked at. Raises ActionForbidden, NotFound."""
    action = _action(call, verb)
    if not call.caller.is_admin and not call.caller.system:
        # A reader of a domain sees grants of its users on what is in it; whatever is not there is forbidden, too.
        user = call.row(models.users, call.params["user_id"])
        try:
            place_domain = _place(call)[2]
        except NotFound:
            place_domain = ""
        inside = user is not None and user["domain_id"] == place_domain
        call.require(action, domain_id=place_domain if inside else "")
    call.require(action, domain_id=call.caller.domain_id)
    scope, scope_id, _ = _place(call)
    return scope, scope_id, call.must(models.users, "user", call.params["user_id"])["id"]


def _is(scope: str, scope_id: str, user_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_table.c.scope == scope, _table.c.scope_id == scope_id, _table.c.user_id == user_id)


def list_grants(call: Call) -> dict[str, Any]:
    """GET …/users/{user}/roles."""
    scope, scope_id, user_id = _reading(call, "list")
    granted = sa.select(_table.c.role_id).where(_is(scope, scope_id, user_id))
    rows = call.rows(sa.select(models.roles).where(models.roles.c.id.in_(granted)).order_by(models.roles.c.id))
    place = "system" if scope == "system" else f"{scope}s/{scope_id}"
    return {"roles": [roles.view(call, row) for row in rows], "links": links(call, f"/{place}/users/{user_id}/roles")}


def check_grant(call: Call) -> None:
    """HEAD or GET …/users/{user}/roles/{role}."""
    scope, scope_id, user_id = _reading(call, "check")
    _must_have(call, scope, scope_id, user_id)


def _must_have(call: Call, scope: str, scope_id: str, user_id: str) -> sa.ColumnElement[bool]:
    role = call.must(models.roles, "role", call.params["role_id"])
    this = sa.and_(_is(scope, scope_id, user_id), _table.c.role_id == role["id"])
    if call.connection.execute(sa.select(_table.c.role_id).where(this)).first() is None:
        place = scope if scope == "system" else f"{scope} {scope_id}"
        raise NotFound(f"Could not find role assignment: user {user_id} has no role {role['id']} on {place}.")
    return this


def grant(call: Call) -> None:
    """PUT …/users/{user}/roles/{role}. One that is there already stays."""
    call.require(_action(call, "create"))
    scope, scope_id, _ = _place(call)
    user_id = call.must(models.users, "user", call.params["user_id"])["id"]
    role_id = call.must(models.roles, "role", call.params["role_id"])["id"]
    row = {"user_id": user_id, "scope": scope, "scope_id": scope_id, "role_id": role_id}
    there = sa.and_(_is(scope, scope_id, user_id), _table.c.role_id == role_id)
    if call.connection.execute(sa.select(_table.c.role_id).where(there)).first() is None:
        call.connection.execute(_table.insert(), row)
        call.bump()


def revoke(call: Call) -> None:
    """DELETE …/users/{user}/roles/{role}. The user's tokens there end, and application credentials with the role."""
    call.require(_action(call, "revoke"))
    scope, scope_id, _ = _place(call)
    user_id = call.must(models.users, "user", call.params["user_id"])["id"]
    call.connection.execute(_table.delete().where(_must_have(call, scope, scope_id, user_id)))
    tokens = models.tokens
    there = {
        "project": tokens.c.project_id == scope_id,
        "domain": tokens.c.domain_id == scope_id,
        "system": tokens.c.system,
    }[scope]
    call.connection.execute(tokens.delete().where(tokens.c.user_id == user_id, there))
    if scope == "project":
        _delete_credentials(call, user_id, scope_id)
    call.bump()


def _delete_credentials(call: Call, user_id: str, project_id: str) -> None:
    """Delete the user's application credentials on the project that have a role which the user has no more."""
    left = effective(call.connection, user_id, "project", project_id)
    credentials, having = models.application_credentials, models.application_credential_roles
    beyond = sa.select(having.c.credential_id).where(having.c.role_id.not_in(left))
    call.connection.execute(
        credentials.delete().where(
            credentials.c.user_id == user_id, credentials.c.project_id == project_id, credentials.c.id.in_(beyond)
        )
    )


# --- /role_assignments -----------------------------------------------------------------------------------------------


def list_(call: Call) -> dict[str, Any]:
    """GET /role_assignments, with the filters of Identity v3; `effective` adds implied roles."""
    call.require("list_role_assignments", domain_id=call.caller.domain_id)
    wanted_role = call.argument("role.id")
    expanded = call.is_set("effective")
    if call.argument("group.id") or call.argument("scope.OS-INHERIT:inherited_to"):
        return {"role_assignments": [], "links": links(call, "/role_assignments")}
    rows = call.rows(_filtered(call))
    implied = roles.implications(call.connection) if expanded else []
    shown: list[tuple[Row, str, str | None]] = []
    """Assignment, role, and the role by which that is implied: a role may be there in several ways."""
    for row in rows:
        shown.append((row, row["role_id"], None))
        if expanded:
            more = roles.expand([row["role_id"]], implied) - {row["role_id"]}
            shown += [(row, role_id, row["role_id"]) for role_id in sorted(more)]
    if wanted_role:
        shown = [entry for entry in shown if entry[1] == wanted_role]
    described = _Names(call, rows) if call.is_set("include_names") else None
    forms = [_form(call, row, role_id, prior, described) for row, role_id, prior in shown]
    return {"role_assignments": forms, "links": links(call, "/role_assignments")}


def _filtered(call: Call) -> sa.Select[Any]:
    statement = sa.select(_table).order_by(_table.c.scope, _table.c.scope_id, _table.c.user_id, _table.c.role_id)
    if (user_id := call.argument("user.id")) is not None:
        statement = statement.where(_table.c.user_id == user_id.replace("\0", ""))
    scopes = [
        (scope, call.argument(name))
        for scope, name in (("project", "scope.project.id"), ("domain", "scope.domain.id"), ("system", "scope.system"))
        if call.argument(name) is not None
    ]
    if len(scopes) > 1:
        raise ValidationError(f"Specify a {scopes[0][0]} or a {scopes[1][0]}, not both.")
    for scope, scope_id in scopes:
        statement = statement.where(_table.c.scope == scope, _table.c.scope_id == (scope_id or "").replace("\0", ""))
    if not call.caller.is_admin and not call.caller.system:
        inside = sa.select(models.projects.c.id).where(models.projects.c.domain_id == call.caller.domain_id)
        statement = statement.where(
            sa.or_(
                sa.and_(_table.c.scope == "domain", _table.c.scope_id == call.caller.domain_id),
                sa.and_(_table.c.scope == "project", _table.c.scope_id.in_(inside)),
            )
        )
    return statement


class _Names:
    """Names of all that a list of assignments mentions: four statements, however long it is."""

    def __init__(self, call: Call, rows: list[Row]) -> None:
        self.roles = roles.names(call.connection)
        self.domains = {row["id"]: row["name"] for row in call.rows(sa.select(models.domains))}
        self.users = self._named(call, models.users, {row["user_id"] for row in rows})
        projects = {row["scope_id"] for row in rows if row["scope"] == "project"}
        self.projects = self._named(call, models.projects, projects)

    def _named(self, call: Call, table: sa.Table, ids: set[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        ordered = sorted(ids)
        for start in range(0, len(ordered), 500):  # what a statement may have of parameters
            part = ordered[start : start + 500]
            statement = sa.select(table.c.id, table.c.name, table.c.domain_id).where(table.c.id.in_(part))
            for row in call.rows(statement):
                domain = {"id": row["domain_id"], "name": self.domains.get(row["domain_id"])}
                found[row["id"]] = {"id": row["id"], "name": row["name"], "domain": domain}
        return found


def _form(call: Call, row: Row, role_id: str, prior: str | None, described: _Names | None) -> dict[str, Any]:
    scope, scope_id = row["scope"], row["scope_id"]
    place = "system" if scope == "system" else f"{scope}s/{scope_id}"
    path = f"{call.v3}/{place}/users/{row['user_id']}/roles/{row['role_id']}"
    shown: dict[str, Any] = {"links": {"assignment": path}}
    if prior is not None:
        shown["links"]["prior_role"] = f"{call.v3}/roles/{prior}/implies/{role_id}"
    user: dict[str, Any] = {"id": row["user_id"]}
    target: dict[str, Any] = {"id": scope_id}
    role: dict[str, Any] = {"id": role_id}
    if described is not None:
        user = described.users.get(row["user_id"], user)
        role = role | {"name": described.roles.get(role_id)}
        if scope == "project":
            target = described.projects.get(scope_id, target)
        elif scope == "domain":
            target = target | {"name": described.domains.get(scope_id)}
    shown["scope"] = {"system": {"all": True}} if scope == "system" else {scope: target}
    return shown | {"user": user, "role": role}
