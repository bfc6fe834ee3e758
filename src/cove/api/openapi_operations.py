"""Operations of the OpenAPI document: what one is, and those of the paths that are no collection.

Quotas, tags, the networks of agents, operations on subnet pools, and what describes the API itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cove.api.discovery import path_of
from cove.api.responses import MEDIA_TYPE
from cove.api.routes import PREFIX
from cove.network import tags
from cove.network.resource import Resource
from cove.network.tables.quota import LIMIT, MODIFIERS
from cove.network.tables.subnetpool import SUBNETPOOL
from cove.network.transaction import QUOTA_DEFAULTS

PATH = f"{PREFIX}/openapi.json"

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
OBJECT: Json = {"type": "object"}
ID_IN_PATH: Json = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^/]+$"}
TAG: Json = {"type": "string", "maxLength": tags.TAG_LENGTH_MAX}
TAGS: Json = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": TAG, "uniqueItems": True, "maxItems": tags.TAGS_MAX}},
    "required": ["tags"],
}
QUOTA: Json = {
    "type": "object",
    "properties": dict.fromkeys(QUOTA_DEFAULTS, LIMIT.schema),
}
QUOTA_CHANGE: Json = {
    "type": "object",
    "properties": {**QUOTA["properties"], **{name: {"type": "boolean"} for name in MODIFIERS}},
}
ERROR: Json = {
    "type": "object",
    "properties": {
        "NeutronError": {
            "type": "object",
            "properties": {"type": TEXT, "message": TEXT, "detail": TEXT},
            "required": ["type", "message", "detail"],
        }
    },
    "required": ["NeutronError"],
}
UNAUTHORIZED: Json = {
    "type": "object",
    "properties": {"error": {"type": "object", "properties": {"code": {"const": 401}, "message": TEXT, "title": TEXT}}},
    "required": ["error"],
}
ERRORS: Mapping[int, str] = {
    400: "The request makes no sense.",
    401: "There is no valid token.",
    403: "The caller may not do that.",
    404: "It is not there, or not for the caller to see.",
    405: "The path does not take that method.",
    409: "It does not fit what is there.",
    412: "If-Match names another revision.",
    413: "The body is too large.",
    503: "The server is too busy, or its database is.",
}


def object_of(**properties: Json) -> Json:
    """The schema of an object with these, all of them there."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def list_of(schema: Json) -> Json:
    """The schema of a list."""
    return {"type": "array", "items": schema}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a path. `answer`: the schema of what a success has as body, None where it has none."""

    method: str
    path: str
    summary: str
    tag: str
    status: int = 200
    answer: Json | None = None
    body: Json | None = None
    parameters: Sequence[Json] = ()

    def to_json(self) -> Json:
        """As an OpenAPI operation object."""
        name = self.path.removeprefix(PREFIX).strip("/").replace("/", "-").replace("{", "by-").replace("}", "")
        success: Json = {"description": "Done."}
        if self.answer is not None:
            success["content"] = {MEDIA_TYPE: {"schema": self.answer}}
        result: Json = {
            "operationId": f"{self.method.lower()}-{name}",
            "summary": self.summary,
            "tags": [self.tag],
            "responses": {str(self.status): success, **_error_responses(self.method)},
        }
        in_path = [part[1:-1] for part in self.path.split("/") if part.startswith("{")]
        parameters = [
            *({"name": part, "in": "path", "required": True, "schema": ID_IN_PATH} for part in in_path),
            *self.parameters,
        ]
        if parameters:
            result["parameters"] = parameters
        if self.body is not None:
            result["requestBody"] = {"required": True, "content": {MEDIA_TYPE: {"schema": self.body}}}
        return result


def _error_responses(method: str) -> Json:
    codes = [code for code in ERRORS if method != "GET" or code not in (409, 412, 413)]
    return {str(code): {"$ref": f"#/components/responses/{code}"} for code in codes}


def words(collection: str) -> str:
    """A collection's name in a sentence."""
    return collection.replace("_", " ")


_QUOTA_OBJECT = object_of(quota=QUOTA)
_DETAILS = object_of(quota={"type": "object", "additionalProperties": {"type": "object"}})
_NETWORKS = object_of(networks=list_of({"$ref": "#/components/schemas/network"}))
_AGENTS = object_of(agents=list_of({"$ref": "#/components/schemas/agent"}))
_PREFIXES = object_of(prefixes=dict(SUBNETPOOL.by_name["prefixes"].convert.schema))
_EXTENSION: Json = {"type": "object", "properties": dict.fromkeys(("alias", "name", "description", "updated"), TEXT)}

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", f"{PREFIX}/", "List all collections.", "discovery", answer=object_of(resources=list_of(OBJECT))),
    Operation(
        "GET",
        f"{PREFIX}/extensions",
        "List the extensions.",
        "discovery",
        answer=object_of(extensions=list_of(_EXTENSION)),
    ),
    Operation(
        "GET",
        f"{PREFIX}/extensions/{{alias}}",
        "Show an extension.",
        "discovery",
        answer=object_of(extension=_EXTENSION),
    ),
    Operation("GET", PATH, "This document.", "discovery", answer=OBJECT),
    Operation(
        "GET",
        f"{PREFIX}/quotas",
        "List the quotas that differ from the defaults.",
        "quotas",
        answer=object_of(quotas=list_of(QUOTA)),
    ),
    Operation(
        "GET", f"{PREFIX}/quotas/tenant", "Show the project of the token.", "quotas", answer=object_of(tenant=OBJECT)
    ),
    Operation(
        "GET", f"{PREFIX}/quotas/project", "Show the project of the token.", "quotas", answer=object_of(project=OBJECT)
    ),
    Operation("GET", f"{PREFIX}/quotas/{{project}}", "Show a project's quota.", "quotas", answer=_QUOTA_OBJECT),
    Operation("GET", f"{PREFIX}/quotas/{{project}}/default", "Show the default quota.", "quotas", answer=_QUOTA_OBJECT),
    Operation(
        "GET",
        f"{PREFIX}/quotas/{{project}}/details",
        "Show a project's quota and what is used of it.",
        "quotas",
        answer=_DETAILS,
    ),
    Operation(
        "PUT",
        f"{PREFIX}/quotas/{{project}}",
        "Change a project's quota.",
        "quotas",
        answer=_QUOTA_OBJECT,
        body=object_of(quota=QUOTA_CHANGE),
    ),
    Operation(
        "DELETE", f"{PREFIX}/quotas/{{project}}", "Give a project the default quota again.", "quotas", status=204
    ),
    Operation(
        "GET",
        f"{PREFIX}/agents/{{agent_id}}/dhcp-networks",
        "List the networks that a DHCP agent serves.",
        "agents",
        answer=_NETWORKS,
    ),
    Operation(
        "POST",
        f"{PREFIX}/agents/{{agent_id}}/dhcp-networks",
        "Give a network to a DHCP agent.",
        "agents",
        status=201,
        answer={"type": "null"},
        body=object_of(network_id=TEXT),
    ),
    Operation(
        "DELETE",
        f"{PREFIX}/agents/{{agent_id}}/dhcp-networks/{{network_id}}",
        "Take a network from a DHCP agent.",
        "agents",
        status=204,
    ),
    Operation(
        "GET",
        f"{PREFIX}/networks/{{network_id}}/dhcp-agents",
        "List the DHCP agents that serve a network.",
        "agents",
        answer=_AGENTS,
    ),
    Operation(
        "PUT",
        f"{PREFIX}/subnetpools/{{id}}/add_prefixes",
        "Add prefixes to a subnet pool.",
        "subnetpools",
        answer=_PREFIXES,
        body=_PREFIXES,
    ),
    Operation(
        "PUT",
        f"{PREFIX}/subnetpools/{{id}}/remove_prefixes",
        "Remove prefixes from a subnet pool.",
        "subnetpools",
        answer=_PREFIXES,
        body=_PREFIXES,
    ),
    Operation(
        "PUT",
        f"{PREFIX}/subnetpools/{{id}}/onboard_network_subnets",
        "Take the subnets of a network into a subnet pool.",
        "subnetpools",
        answer=list_of(object_of(id=TEXT, cidr=TEXT)),
        body=object_of(network_id=TEXT),
    ),
)


def of_tags(resource: Resource) -> list[Operation]:
    """The operations of the tags of one resource's objects."""
    path = f"{PREFIX}/{path_of(resource.attributes)}/{{id}}/tags"
    whose = f"of one of the {words(resource.collection)}"
    tag = resource.collection
    return [
        Operation("GET", path, f"List the tags {whose}.", tag, answer=TAGS),
        Operation("PUT", path, f"Replace the tags {whose}.", tag, answer=TAGS, body=TAGS),
        Operation("POST", path, f"Add to the tags {whose}.", tag, answer=TAGS, body=TAGS),
        Operation("DELETE", path, f"Remove all tags {whose}.", tag, status=204),
        Operation("GET", f"{path}/{{tag}}", f"Show whether there is a tag {whose}.", tag, status=204),
        Operation("PUT", f"{path}/{{tag}}", f"Add one tag {whose}.", tag, status=201, answer={"type": "null"}),
        Operation("DELETE", f"{path}/{{tag}}", f"Remove one tag {whose}.", tag, status=204),
    ]
