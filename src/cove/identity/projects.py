"""`/v3/projects`: who owns networks and ports. Projects may lie in one another; rights are not inherited."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cove.identity import fields, models
from cove.identity.call import Call, Row, filtered, links, new_id, page
from cove.identity.domains import DEFAULT_ID
from cove.identity.errors import Conflict, Forbidden, ValidationError, no_such
from cove.identity.fields import Field, checked

DEPTH_MAX = 5
"""Projects on a way from the domain down."""

FIELDS = (
    Field("name", fields.name(64), required=True),
    Field("domain_id", fields.nullable_identifier),
    Field("parent_id", fields.nullable_identifier),
    Field("description", fields.text),
    Field("enabled", fields.flag),
    Field("tags", fields.tags),
    Field("is_domain", fields.nothing("projects that act as domains are not supported; use /v3/domains")),
    Field("options", fields.nothing("no options of projects are supported")),
)
_table = models.projects


def view(call: Call, row: Row) -> dict[str, Any]:
    """As GET shows it. The parent of an outermost project is its domain."""
    extra: dict[str, Any] = row["extra"]
    return extra | {
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "description": row["description"],
        "enabled": row["enabled"],
        "parent_id": row["parent_id"] or row["domain_id"],
        "is_domain": False,
        "tags": row["tags"],
        "options": {},
        "links": {"self": f"{call.v3}/projects/{row['id']}"},
    }


def list_(call: Call) -> dict[str, Any]:
    """GET /projects."""
    call.require("list_projects", domain_id=call.caller.domain_id)
    statement = filtered(call, sa.select(_table), _table, ("id", "name", "domain_id", "enabled"))
    if not call.caller.is_admin and not call.caller.system:
        statement = statement.where(_table.c.domain_id == call.caller.domain_id)
    if (parent := call.argument("parent_id")) is not None:
        outermost = sa.and_(_table.c.parent_id.is_(None), _table.c.domain_id == parent)
        statement = statement.where(sa.or_(_table.c.parent_id == parent, outermost))
    if call.is_set("is_domain"):
        statement = statement.where(sa.false())
    answer = page(call, statement, _table, "projects", "/projects", lambda row: view(call, row))
    answer["projects"] = [project for project in answer["projects"] if _has_tags(call, project["tags"])]
    return answer


def _has_tags(call: Call, tags: list[str]) -> bool:
    has = set(tags)
    for key, value in call.query:
        asked = set(value.split(","))
        if (
            (key == "tags" and not asked <= has)
            or (key == "tags-any" and not asked & has)
            or (key == "not-tags" and asked <= has)
            or (key == "not-tags-any" and asked & has)
        ):
            return False
    return True


def show(call: Call) -> dict[str, Any]:
    """GET /projects/{id}, with its parents or what is in it where the query asks."""
    row = call.row(_table, call.params["project_id"])
    call.require(
        "get_project",
        project_id=call.params["project_id"] if row is not None else "",
        domain_id=row["domain_id"] if row is not None else "",
    )
    if row is None:
        raise no_such("project", call.params["project_id"])
    project = view(call, row)
    if call.is_set("parents_as_list"):
        project["parents"] = [{"project": view(call, parent)} for parent in _ancestors(call, row)]
    if call.is_set("parents_as_ids"):
        tree: dict[str, Any] = {row["domain_id"]: None}
        for parent in reversed(_ancestors(call, row)):
            tree = {parent["id"]: tree}
        project["parents"] = tree
    if call.is_set("subtree_as_list"):
        project["subtree"] = [{"project": view(call, child)} for child in _below(call, row["id"])]
    if call.is_set("subtree_as_ids"):
        ids: dict[str, dict[str, Any]] = {row["id"]: {}}
        for child in _below(call, row["id"]):
            ids[child["id"]] = ids[child["parent_id"]][child["id"]] = {}
        project["subtree"] = ids[row["id"]] or None
    return {"project": project}


def _ancestors(call: Call, row: Row) -> list[Row]:
    """The projects in which it lies, the nearest first."""
    found: list[Row] = []
    parent_id = row["parent_id"]
    while parent_id is not None and len(found) < DEPTH_MAX:
        parent = call.must(_table, "project", parent_id)
        found.append(parent)
        parent_id = parent["parent_id"]
    return found


def _below(call: Call, project_id: str) -> list[Row]:
    """The projects that lie in it, at any depth, outer ones first. One statement a level."""
    found: list[Row] = []
    level = [project_id]
    for _ in range(DEPTH_MAX):
        rows = call.rows(sa.select(_table).where(_table.c.parent_id.in_(level)).order_by(_table.c.id))
        if not rows:
            break
        found += rows
        level = [row["id"] for row in rows]
    return found


def create(call: Call) -> dict[str, Any]:
    """POST /projects."""
    call.require("create_project")
    values = checked("project", FIELDS, call.body, create=True, extra=True)
    domain_id = values.get("domain_id")
    parent_id = values.get("parent_id")
    parent = None
    if parent_id is not None and call.row(models.domains, parent_id) is not None:
        # A domain as the parent: the project is an outermost one there.
        domain_id, parent_id = domain_id or parent_id, None
    if parent_id is not None:
        parent = call.row(_table, parent_id)
        if parent is None:
            raise ValidationError(f"Could not find project: {parent_id} (parent_id).")
        domain_id = domain_id or parent["domain_id"]
        if parent["domain_id"] != domain_id:
            raise ValidationError(f"The parent project {parent_id} lies in another domain than {domain_id}.")
        if not parent["enabled"]:
            raise Forbidden(f"The parent project {parent_id} is disabled.")
        if len(_ancestors(call, parent)) + 2 > DEPTH_MAX:
            raise Forbidden(f"Projects lie at most {DEPTH_MAX} deep in one another.")
    domain_id = domain_id or call.caller.domain_id or call.caller.project_domain_id or DEFAULT_ID
    if call.row(models.domains, domain_id) is None:
        raise ValidationError(f"Could not find domain: {domain_id}.")
    _refuse_taken(call, domain_id, values["name"])
    row = {
        "id": new_id(),
        "domain_id": domain_id,
        "name": values["name"],
        "parent_id": parent_id,
        "description": values.get("description", ""),
        "enabled": values.get("enabled", True),
        "tags": values.get("tags", []),
        "extra": values["extra"],
    }
    call.connection.execute(_table.insert(), row)
    return {"project": view(call, row)}


def update(call: Call) -> dict[str, Any]:
    """PATCH /projects/{id}. One that is disabled takes its tokens with it."""
    call.require("update_project")
    row = dict(call.must(_table, "project", call.params["project_id"]))
    values = checked("project", FIELDS, call.body, create=False, extra=True)
    for fixed in ("options", "is_domain"):
        values.pop(fixed, None)
    for fixed, now in (("domain_id", row["domain_id"]), ("parent_id", row["parent_id"] or row["domain_id"])):
        if values.pop(fixed, now) not in (now, None):
            raise ValidationError(f"Cannot change {fixed} of a project.")
    if values.get("name", row["name"]) != row["name"]:
        _refuse_taken(call, row["domain_id"], values["name"])
    if values.get("enabled") is False and any(child["enabled"] for child in _below(call, row["id"])):
        raise Forbidden(f"Cannot disable project {row['id']} since its subtree contains enabled projects.")
    if values.get("enabled") is True and any(not parent["enabled"] for parent in _ancestors(call, row)):
        raise Forbidden(f"Cannot enable project {row['id']} since it lies in a disabled one.")
    values["extra"] = _merged(row["extra"], values["extra"])
    call.connection.execute(_table.update().where(_table.c.id == row["id"]), values)
    call.bump()
    if values.get("enabled") is False:
        call.connection.execute(models.tokens.delete().where(models.tokens.c.project_id == row["id"]))
    return {"project": view(call, row | values)}


def _merged(before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (before | changes).items() if value is not None}


def delete(call: Call) -> None:
    """DELETE /projects/{id}. Its networks and ports stay until somebody deletes them, as with Keystone."""
    call.require("delete_project")
    row = call.must(_table, "project", call.params["project_id"])
    if _below(call, row["id"]):
        raise Forbidden(f"Cannot delete project {row['id']}: there are projects in it; delete those first.")
    assignments = models.assignments
    call.connection.execute(
        assignments.delete().where(assignments.c.scope == "project", assignments.c.scope_id == row["id"])
    )
    call.connection.execute(_table.delete().where(_table.c.id == row["id"]))
    call.bump()


def of_user(call: Call) -> dict[str, Any]:
    """GET /users/{id}/projects: where the user has a role."""
    user_id = call.params["user_id"]
    user = call.row(models.users, user_id)
    call.require(
        "list_user_projects",
        user_id=user_id if user is not None else "",
        domain_id=user["domain_id"] if user is not None else "",
    )
    if user is None:
        raise no_such("user", user_id)
    statement = filtered(call, with_role(user_id), _table, ("id", "name", "domain_id", "enabled"))
    path = f"/users/{user_id}/projects"
    return page(call, statement, _table, "projects", path, lambda row: view(call, row))


def mine(call: Call) -> dict[str, Any]:
    """GET /auth/projects: what the caller may scope a token to."""
    statement = with_role(call.caller.user_id).join(models.domains, models.domains.c.id == _table.c.domain_id)
    statement = statement.where(_table.c.enabled, models.domains.c.enabled).order_by(_table.c.id)
    rows = call.rows(statement)
    return {"projects": [view(call, row) for row in rows], "links": links(call, "/auth/projects")}


def with_role(user_id: str) -> sa.Select[Any]:
    """The projects in which a user has a role."""
    assignments = models.assignments
    having = sa.select(assignments.c.scope_id).where(assignments.c.user_id == user_id, assignments.c.scope == "project")
    return sa.select(_table).where(_table.c.id.in_(having))


def _refuse_taken(call: Call, domain_id: str, name: str) -> None:
    taken = sa.select(_table.c.id).where(_table.c.domain_id == domain_id, _table.c.name == name)
    if call.connection.execute(taken).first() is not None:
        raise Conflict(f"Conflict occurred attempting to store project - there is a project {name} in {domain_id}.")
