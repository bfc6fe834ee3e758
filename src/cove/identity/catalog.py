"""Services, endpoints and regions, and the catalogue that a token's answer has of them.

The endpoints of Cove itself are stored without an address: their URLs begin with the one by which the client reached
the API, whatever name or balancer that goes through.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from cove.identity import fields, models
from cove.identity.call import Call, Row, filtered, new_id, page
from cove.identity.errors import Conflict, Forbidden, ValidationError, no_such
from cove.identity.fields import Field, checked

INTERFACES = ("public", "internal", "admin")
_PLACEHOLDER = re.compile(r"[$%]\((\w+)\)s")


def _url(value: Any) -> str:
    if not isinstance(value, str) or not re.match(r"https?://[^\s\0-\x1f\x7f\ud800-\udfff]{1,2000}\Z", value):
        raise ValueError("an URL that begins with http:// or https://")
    return value


SERVICE_FIELDS = (
    Field("type", fields.name(255), required=True),
    Field("name", fields.text),
    Field("description", fields.nullable_text),
    Field("enabled", fields.flag),
)
ENDPOINT_FIELDS = (
    Field("service_id", fields.identifier, required=True),
    Field("interface", fields.one_of(*INTERFACES), required=True),
    Field("url", _url, required=True),
    Field("region_id", lambda value: None if value is None else fields.name(255)(value)),
    Field("region", lambda value: None if value is None else fields.name(255)(value)),
    Field("enabled", fields.flag),
)
REGION_FIELDS = (
    Field("id", lambda value: fields.name(255)(value) if value else None),
    Field("description", fields.text),
    Field("parent_region_id", lambda value: None if value is None else fields.name(255)(value)),
)


def absolute(url: str, base: str) -> str:
    """The URL as a client may use it."""
    return f"{base}{url}" if not url or url.startswith("/") else url


# --- the catalogue ---------------------------------------------------------------------------------------------------

_ENABLED = (
    sa.select(
        models.endpoints.c.id,
        models.endpoints.c.interface,
        models.endpoints.c.region_id,
        models.endpoints.c.url,
        models.services.c.id.label("service_id"),
        models.services.c.type,
        models.services.c.name,
    )
    .join(models.services, models.services.c.id == models.endpoints.c.service_id)
    .where(models.endpoints.c.enabled, models.services.c.enabled)
    .order_by(models.services.c.type, models.services.c.id, models.endpoints.c.interface, models.endpoints.c.id)
)


def catalog(connection: sa.Connection, base: str, user_id: str, project_id: str) -> list[dict[str, Any]]:
    """The services and their endpoints. One whose URL needs a project is left out of a token that has none."""
    values = {"user_id": user_id, "project_id": project_id, "tenant_id": project_id}
    found: dict[str, dict[str, Any]] = {}
    for row in connection.execute(_ENABLED):
        names = _PLACEHOLDER.findall(row.url)
        if not all(values.get(name) for name in names):
            continue
        url = _PLACEHOLDER.sub(lambda match: values[match[1]], row.url)
        service = found.setdefault(
            row.service_id, {"endpoints": [], "id": row.service_id, "type": row.type, "name": row.name}
        )
        service["endpoints"].append(
            {
                "id": row.id,
                "interface": row.interface,
                "region_id": row.region_id,
                "region": row.region_id,
                "url": absolute(url, base),
            }
        )
    return list(found.values())


# --- services --------------------------------------------------------------------------------------------------------


def service_view(call: Call, row: Row) -> dict[str, Any]:
    """As GET shows it."""
    shown = {
        "id": row["id"],
        "type": row["type"],
        "name": row["name"],
        "enabled": row["enabled"],
        "links": {"self": f"{call.v3}/services/{row['id']}"},
    }
    return shown if row["description"] is None else shown | {"description": row["description"]}


def list_services(call: Call) -> dict[str, Any]:
    """GET /services."""
    call.require("list_services")
    table = models.services
    statement = filtered(call, sa.select(table), table, ("id", "name", "type"))
    return page(call, statement, table, "services", "/services", lambda row: service_view(call, row))


def show_service(call: Call) -> dict[str, Any]:
    """GET /services/{id}."""
    call.require("get_service")
    return {"service": service_view(call, call.must(models.services, "service", call.params["service_id"]))}


def create_service(call: Call) -> dict[str, Any]:
    """POST /services."""
    call.require("create_service")
    values = checked("service", SERVICE_FIELDS, call.body, create=True)
    row = {"id": new_id(), "name": "", "description": None, "enabled": True} | values
    call.connection.execute(models.services.insert(), row)
    return {"service": service_view(call, row)}


def update_service(call: Call) -> dict[str, Any]:
    """PATCH /services/{id}."""
    call.require("update_service")
    table = models.services
    row = dict(call.must(table, "service", call.params["service_id"]))
    values = checked("service", SERVICE_FIELDS, call.body, create=False)
    if values:
        call.connection.execute(table.update().where(table.c.id == row["id"]), values)
    return {"service": service_view(call, row | values)}


def delete_service(call: Call) -> None:
    """DELETE /services/{id}, with its endpoints."""
    call.require("delete_service")
    table = models.services
    row = call.must(table, "service", call.params["service_id"])
    call.connection.execute(table.delete().where(table.c.id == row["id"]))


# --- endpoints -------------------------------------------------------------------------------------------------------


def endpoint_view(call: Call, row: Row) -> dict[str, Any]:
    """As GET shows it."""
    return {
        "id": row["id"],
        "interface": row["interface"],
        "region_id": row["region_id"],
        "region": row["region_id"],
        "service_id": row["service_id"],
        "url": absolute(row["url"], call.base),
        "enabled": row["enabled"],
        "links": {"self": f"{call.v3}/endpoints/{row['id']}"},
    }


def list_endpoints(call: Call) -> dict[str, Any]:
    """GET /endpoints."""
    call.require("list_endpoints")
    table = models.endpoints
    statement = filtered(call, sa.select(table), table, ("id", "service_id", "interface", "region_id", "enabled"))
    if (region := call.argument("region")) is not None:
        statement = statement.where(table.c.region_id == region)
    return page(call, statement, table, "endpoints", "/endpoints", lambda row: endpoint_view(call, row))


def show_endpoint(call: Call) -> dict[str, Any]:
    """GET /endpoints/{id}."""
    call.require("get_endpoint")
    return {"endpoint": endpoint_view(call, call.must(models.endpoints, "endpoint", call.params["endpoint_id"]))}


def create_endpoint(call: Call) -> dict[str, Any]:
    """POST /endpoints. A region that `region` names is made if it is not there; `region_id` must be."""
    call.require("create_endpoint")
    values = _endpoint_values(call, create=True)
    row = {"id": new_id(), "region_id": None, "enabled": True} | values
    call.connection.execute(models.endpoints.insert(), row)
    return {"endpoint": endpoint_view(call, row)}


def update_endpoint(call: Call) -> dict[str, Any]:
    """PATCH /endpoints/{id}."""
    call.require("update_endpoint")
    table = models.endpoints
    row = dict(call.must(table, "endpoint", call.params["endpoint_id"]))
    values = _endpoint_values(call, create=False)
    if values:
        call.connection.execute(table.update().where(table.c.id == row["id"]), values)
    return {"endpoint": endpoint_view(call, row | values)}


def _endpoint_values(call: Call, *, create: bool) -> dict[str, Any]:
    values = checked("endpoint", ENDPOINT_FIELDS, call.body, create=create)
    if "service_id" in values and call.row(models.services, values["service_id"]) is None:
        raise ValidationError(f"Could not find service: {values['service_id']}.")
    region = values.pop("region", None)
    if values.get("region_id") is not None:
        if call.row(models.regions, values["region_id"]) is None:
            raise ValidationError(f"Could not find region: {values['region_id']}.")
    elif region is not None:
        values["region_id"] = region
        if call.row(models.regions, region) is None:
            row = {"id": region, "description": "", "parent_region_id": None}
            call.connection.execute(models.regions.insert(), row)
    return values


def delete_endpoint(call: Call) -> None:
    """DELETE /endpoints/{id}."""
    call.require("delete_endpoint")
    table = models.endpoints
    row = call.must(table, "endpoint", call.params["endpoint_id"])
    call.connection.execute(table.delete().where(table.c.id == row["id"]))


# --- regions ---------------------------------------------------------------------------------------------------------


def region_view(call: Call, row: Row) -> dict[str, Any]:
    """As GET shows it."""
    return {
        "id": row["id"],
        "description": row["description"],
        "parent_region_id": row["parent_region_id"],
        "links": {"self": f"{call.v3}/regions/{row['id']}"},
    }


def list_regions(call: Call) -> dict[str, Any]:
    """GET /regions: for anybody with a token."""
    table = models.regions
    statement = filtered(call, sa.select(table), table, ("id", "parent_region_id"))
    return page(call, statement, table, "regions", "/regions", lambda row: region_view(call, row))


def show_region(call: Call) -> dict[str, Any]:
    """GET /regions/{id}: for anybody with a token."""
    return {"region": region_view(call, call.must(models.regions, "region", call.params["region_id"]))}


def create_region(call: Call) -> dict[str, Any]:
    """POST /regions, or PUT /regions/{id}."""
    call.require("create_region")
    values = checked("region", REGION_FIELDS, call.body, create=True)
    region_id = call.params.get("region_id") or values.get("id") or new_id()
    if call.row(models.regions, region_id) is not None:
        raise Conflict(f"Conflict occurred attempting to store region - there is a region {region_id} already.")
    row = {"description": "", "parent_region_id": None} | values | {"id": region_id}
    _check_parent(call, row["parent_region_id"])
    call.connection.execute(models.regions.insert(), row)
    return {"region": region_view(call, row)}


def update_region(call: Call) -> dict[str, Any]:
    """PATCH /regions/{id}."""
    call.require("update_region")
    table = models.regions
    row = dict(call.must(table, "region", call.params["region_id"]))
    values = checked("region", REGION_FIELDS, call.body, create=False)
    values.pop("id", None)
    _check_parent(call, values.get("parent_region_id"))
    if values.get("parent_region_id") == row["id"]:
        raise ValidationError("A region cannot be its own parent.")
    if values:
        call.connection.execute(table.update().where(table.c.id == row["id"]), values)
    return {"region": region_view(call, row | values)}


def _check_parent(call: Call, parent_id: str | None) -> None:
    if parent_id is not None and call.row(models.regions, parent_id) is None:
        raise no_such("region", parent_id)


def delete_region(call: Call) -> None:
    """DELETE /regions/{id}: one that nothing refers to."""
    call.require("delete_region")
    table, endpoints = models.regions, models.endpoints
    row = call.must(table, "region", call.params["region_id"])
    for statement, what in (
        (sa.select(endpoints.c.id).where(endpoints.c.region_id == row["id"]), "endpoints"),
        (sa.select(table.c.id).where(table.c.parent_region_id == row["id"]), "regions"),
    ):
        if call.connection.execute(statement).first() is not None:
            raise Forbidden(f"Cannot delete region {row['id']}: it has {what}.")
    call.connection.execute(table.delete().where(table.c.id == row["id"]))
