"""The OpenAPI document: whole, true of the routes there are, and of what they answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from cove.api.networking import networking_routes
from cove.api.openapi import document, operations
from cove.network.attributes import REQUIRED, UNSET
from cove.network.registry import RESOURCES
from tests.unit.network.callers import Api, networking_api
from tests.unit.network.fakes import Cloud, cloud

DOCUMENT: Mapping[str, Any] = document(RESOURCES.values())


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as made:
        await made.report()
        yield made


@pytest.fixture
async def api(c: Cloud) -> AsyncIterator[Api]:
    async with networking_api(c) as made:
        yield made


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON value."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from nodes(inner)


def resolve(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_every_reference_leads_somewhere() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert len(references) > 30
    for reference in references:
        assert resolve(reference)


def test_every_schema_is_used() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]} - references == set()


def test_operations_have_names_of_their_own() -> None:
    found = operations(RESOURCES.values())
    names = [operation.to_json()["operationId"] for operation in found]
    assert len(set(names)) == len(names) == sum(len(path) for path in DOCUMENT["paths"].values())


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_parameters_in_paths_are_declared(path: str) -> None:
    for operation in DOCUMENT["paths"][path].values():
        parameters = operation.get("parameters", [])
        declared = [parameter["name"] for parameter in parameters if parameter["in"] == "path"]
        assert declared == re.findall(r"{(\w+)}", path)
        names = [(parameter["in"], parameter["name"]) for parameter in parameters]
        assert len(set(names)) == len(names)


def routed(service: Any) -> set[tuple[str, str]]:
    """(method, path) of every route; the forms with .json and the paths of no version are left out."""
    found = set()
    for resource in RESOURCES.values():
        path = f"/v2.0/{resource.collection.replace('_', '-')}"
        found |= {("GET", path), ("GET", f"{path}/{{id}}")}
        for method, where, there in (
            ("POST", path, resource.create),
            ("PUT", f"{path}/{{id}}", resource.update),
            ("DELETE", f"{path}/{{id}}", resource.delete),
        ):
            if there is not None:
                found.add((method, where))
    tagged = [resource.collection.replace("_", "-") for resource in RESOURCES.values() if resource.tagged]
    for route in networking_routes(service):
        if not isinstance(route, Route) or route.path in ("/", "/healthz", "/v2.0"):
            continue
        path = route.path.replace("{tag:path}", "{tag}")
        if path.endswith(".json") and path != "/v2.0/openapi.json":
            continue
        paths = [path.replace("{collection}", name) for name in tagged] if "{collection}" in path else [path]
        found |= {(method, one) for one in paths for method in (route.methods or set()) - {"HEAD"}}
    return found


def alike(path: str) -> str:
    """A path without the names of its parameters."""
    return re.sub(r"{\w+}", "{}", path)


async def test_it_has_every_route_and_no_other(c: Cloud) -> None:
    documented = {(method.upper(), alike(path)) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert documented == {(method, alike(path)) for method, path in routed(c.service)}


@pytest.mark.parametrize("name", RESOURCES)
def test_what_can_be_given_is_what_the_table_says(name: str) -> None:
    table, schemas = RESOURCES[name].attributes, DOCUMENT["components"]["schemas"]
    for kind, taken in (
        ("create", [a for a in table.attributes if a.post]),
        ("update", [a for a in table.attributes if a.put]),
    ):
        if not taken:
            assert f"{name}_{kind}" not in schemas
            continue
        schema = schemas[f"{name}_{kind}"]
        assert list(schema["properties"]) == [a.name for a in taken]
        assert schema["additionalProperties"] is False
        for attribute in taken:
            if kind == "create" and attribute.default not in (REQUIRED, UNSET):
                assert schema["properties"][attribute.name]["default"] == attribute.default
    if RESOURCES[name].create is not None:
        required = [a.name for a in table.attributes if a.post and a.default is REQUIRED]
        assert schemas[f"{name}_create"].get("required", []) == required


def test_every_filter_is_a_parameter() -> None:
    for resource in RESOURCES.values():
        path = f"/v2.0/{resource.collection.replace('_', '-')}"
        parameters = {one["name"]: one for one in DOCUMENT["paths"][path]["get"]["parameters"]}
        wanted = {a.name for a in resource.attributes.attributes if a.filter} | set(resource.filters)
        assert wanted <= set(parameters)
        sortable = [a.name for a in resource.attributes.attributes if a.sort]
        assert parameters["sort_key"]["schema"]["items"]["enum"] == sortable


TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value has one of the types that a schema says; the rest of it is for schemathesis."""
    if "$ref" in schema:
        return fits(value, resolve(schema["$ref"]))
    if "anyOf" in schema and "type" not in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    kinds = schema.get("type", list(TYPES))
    return type(value) in {kind for name in ([kinds] if isinstance(kinds, str) else kinds) for kind in TYPES[name]}


async def test_answers_are_what_it_says(api: Api) -> None:
    network = await api.create("admin", "network", availability_zone_hints=["nova"])
    shown = {"network": network}
    shown["subnet"] = await api.create("admin", "subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/24")
    shown["port"] = await api.create("admin", "port", network_id=network["id"])
    shown["subnetpool"] = await api.create("admin", "subnetpool", name="x", prefixes=["10.0.0.0/8"])
    shown["address_scope"] = await api.create("admin", "address_scope", ip_version=6)
    shown["security_group"] = await api.create("admin", "security_group")
    shown["rbac_policy"] = await api.create(
        "admin",
        "rbac_policy",
        object_type="network",
        object_id=network["id"],
        action="access_as_shared",
        target_tenant="f" * 32,
    )
    for name in set(RESOURCES) - set(shown):
        resource = RESOURCES[name]
        shown[name] = (await api.get("admin", f"/{resource.collection.replace('_', '-')}"))[resource.collection][0]
    for name, item in shown.items():
        properties = DOCUMENT["components"]["schemas"][name]["properties"]
        for attribute, value in item.items():
            assert fits(value, properties[attribute]), (name, attribute, value)


async def test_it_is_served(api: Api) -> None:
    served = await api.get("nobody", "/openapi.json")
    assert served["openapi"].startswith("3.1.")
    assert set(served["paths"]) == set(DOCUMENT["paths"])
    assert served["components"]["securitySchemes"]["token"]["name"] == "X-Auth-Token"
