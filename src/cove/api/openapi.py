"""The OpenAPI document of Networking v2.0, made from the attribute tables: /v2.0/openapi.json.

    tables → schemas (answer, create, update) and query parameters → paths of collections and members
    openapi_operations → the paths that are no collection: quotas, tags, agents' networks, …

It says what the server takes and gives, so that clients and tests can be generated from it. What the policy hides or
refuses depends on who asks; nothing in an answer is therefore required.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import cove
from cove.api.discovery import path_of
from cove.api.openapi_operations import (
    ERROR,
    ERRORS,
    OPERATIONS,
    PATH,
    TEXT,
    UNAUTHORIZED,
    Json,
    Operation,
    list_of,
    object_of,
    of_tags,
    words,
)
from cove.api.responses import MEDIA_TYPE
from cove.api.routes import PREFIX
from cove.network.attributes import REQUIRED, UNSET, Attribute, AttributeTable
from cove.network.registry import RESOURCES
from cove.network.resource import Resource
from cove.network.tables.views import AVAILABILITY_ZONE, IP_VERSION, NETWORK_IP_AVAILABILITY, SERVICE_PROVIDER
from cove.network.validators import nullable

PAGING: Mapping[str, Json] = {
    "limit": {"type": "integer", "minimum": 0},
    "marker": TEXT,
    "page_reverse": {"type": "boolean"},
}


# --- collections -----------------------------------------------------------------------------------------------------


def of_table(table: AttributeTable, resource: Resource | None, *, member: str = "id") -> list[Operation]:
    """The operations of a collection and its members. `resource` None: it can only be looked at.

    `member`: the name of the id in the path; empty where there are no members.
    """
    name, collection, path = table.resource, table.collection, f"{PREFIX}/{path_of(table)}"
    shown = {"$ref": f"#/components/schemas/{name}"}
    links = list_of({"type": "object", "properties": {"rel": TEXT, "href": TEXT}})
    answer: Json = {
        "type": "object",
        "properties": {collection: list_of(shown), f"{collection}_links": links},
        "required": [collection],
    }
    tag = collection
    fields = _query("fields", {"type": "string", "enum": [attribute.name for attribute in table.attributes]})
    found = [
        Operation(
            "GET",
            path,
            f"List {words(collection)}.",
            tag,
            answer=answer,
            parameters=_list_parameters(table, resource),
        )
    ]
    if resource is not None and resource.create is not None:
        given = {"$ref": f"#/components/schemas/{name}_create"}
        found.append(
            Operation(
                "POST",
                path,
                f"Create one of the {words(collection)}, or several at once: all or none.",
                tag,
                status=201,
                answer={"anyOf": [object_of(**{name: shown}), object_of(**{collection: list_of(shown)})]},
                body={
                    "anyOf": [object_of(**{name: given}), object_of(**{collection: {**list_of(given), "minItems": 1}})]
                },
            )
        )
    if not member:
        return found
    one = f"{path}/{{{member}}}"
    found.append(
        Operation(
            "GET",
            one,
            f"Show one of the {words(collection)}.",
            tag,
            answer=object_of(**{name: shown}),
            parameters=[fields],
        )
    )
    # What has no revision takes any: it is not looked at.
    if_match = [_header("If-Match", {"type": "string", "pattern": "^revision_number=[0-9]{1,18}$"})]
    if resource is not None and resource.update is not None:
        found.append(
            Operation(
                "PUT",
                one,
                f"Change one of the {words(collection)}.",
                tag,
                answer=object_of(**{name: shown}),
                body=object_of(**{name: {"$ref": f"#/components/schemas/{name}_update"}}),
                parameters=if_match,
            )
        )
    if resource is not None and resource.delete is not None:
        found.append(
            Operation("DELETE", one, f"Delete one of the {words(collection)}.", tag, status=204, parameters=if_match)
        )
    return found


def _query(name: str, item: Mapping[str, Any]) -> Json:
    """A query argument that may be repeated."""
    return {"name": name, "in": "query", "required": False, "explode": True, "schema": list_of(dict(item))}


def _header(name: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": schema}


def _list_parameters(table: AttributeTable, resource: Resource | None) -> list[Json]:
    own = dict.fromkeys(resource.filters if resource is not None else (), TEXT)
    filters = own | {a.name: _filter_schema(a) for a in table.attributes if a.filter}
    sortable = [attribute.name for attribute in table.attributes if attribute.sort]
    parameters = [_query(name, schema) for name, schema in filters.items()]
    parameters.append(_query("fields", {"type": "string", "enum": [attribute.name for attribute in table.attributes]}))
    if sortable:
        parameters.append(_query("sort_key", {"type": "string", "enum": sortable}))
        parameters.append(_query("sort_dir", {"type": "string", "enum": ["asc", "desc"]}))
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in PAGING.items()
        ]
    return parameters


def _filter_schema(attribute: Attribute) -> Json:
    """A filter takes any text, and what the attribute could not have matches nothing; unless it is strict."""
    schema = attribute.convert.schema
    return dict(schema) if attribute.strict_filter and schema.get("type") in ("boolean", "integer") else TEXT


# --- schemas ---------------------------------------------------------------------------------------------------------


def schemas_of(table: AttributeTable) -> Json:
    """The schemas of a resource: as it is shown, as it is created, as it is changed."""
    name = table.resource
    found: Json = {
        name: {
            "type": "object",
            "properties": {a.name: _shown_schema(a) for a in table.attributes if a is not IP_VERSION},
        }
    }
    for kind, taken in (
        ("create", [a for a in table.attributes if a.post]),
        ("update", [a for a in table.attributes if a.put]),
    ):
        if taken:
            schema: Json = {
                "type": "object",
                "properties": {a.name: _given_schema(a, kind) for a in taken},
                "additionalProperties": False,
            }
            required = [a.name for a in taken if a.default is REQUIRED]
            if kind == "create" and required:
                schema["required"] = required
            found[f"{name}_{kind}"] = schema
    return found


def _given_schema(attribute: Attribute, kind: str) -> Json:
    schema = dict(attribute.convert.schema)
    if kind == "create" and attribute.default not in (REQUIRED, UNSET):
        schema["default"] = attribute.default
    return schema


_DIGITS: Json = {"type": "string", "pattern": "^[0-9]+$"}
SHOWN_AS: Mapping[str, Json] = {
    "default_prefixlen": _DIGITS,
    "min_prefixlen": _DIGITS,
    "max_prefixlen": _DIGITS,
    "protocol": {"type": ["string", "null"]},
}
"""Attributes that are shown in another form than they are given in: numbers as text, as Neutron does."""


def _shown_schema(attribute: Attribute) -> Json:
    """What may be given may also be shown, and null where there is nothing to show."""
    if attribute.name in SHOWN_AS:
        return SHOWN_AS[attribute.name]
    return {**nullable(attribute.convert.schema), "readOnly": not (attribute.post or attribute.put)}


# --- the document ----------------------------------------------------------------------------------------------------


def operations(resources: Iterable[Resource]) -> list[Operation]:
    """Every operation that the document has."""
    found: list[Operation] = []
    for resource in resources:
        found += of_table(resource.attributes, resource)
        if resource.tagged:
            found += of_tags(resource)
    found += of_table(AVAILABILITY_ZONE, None, member="")
    found += of_table(NETWORK_IP_AVAILABILITY, None, member="network_id")
    found += of_table(SERVICE_PROVIDER, None, member="")
    return [*found, *OPERATIONS]


def document(resources: Iterable[Resource]) -> Json:
    """The OpenAPI document."""
    resources = list(resources)
    paths: dict[str, Json] = {}
    for operation in operations(resources):
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.to_json()
    tables = [
        *(resource.attributes for resource in resources),
        AVAILABILITY_ZONE,
        NETWORK_IP_AVAILABILITY,
        SERVICE_PROVIDER,
    ]
    schemas: Json = {"error": ERROR, "unauthorized": UNAUTHORIZED}
    for table in tables:
        schemas |= schemas_of(table)
    responses = {
        str(code): {
            "description": description,
            "content": {
                MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{'unauthorized' if code == 401 else 'error'}"}}
            },
        }
        for code, description in ERRORS.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cove: Networking v2.0",
            "version": cove.__version__,
            "description": "Networks, subnets, ports and what belongs to them.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(tag for table in tables for tag in (table.collection,))]
        + [{"name": "quotas"}, {"name": "discovery"}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "schemas": schemas,
            "responses": responses,
        },
    }


@functools.cache
def _encoded() -> bytes:
    return msgspec.json.encode(document(RESOURCES.values()))


def openapi_routes() -> list[BaseRoute]:
    """The route of the document."""

    async def openapi(_request: Request) -> Response:
        return Response(_encoded(), media_type=MEDIA_TYPE)

    return [Route(PATH, openapi, methods=["GET"])]
