"""Paths, methods and links of the resources, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from cove.network.registry import RESOURCES
from tests.unit.network.fakes import Cloud

NOWHERE = "00000000-0000-4000-8000-000000000000"

COLLECTIONS = [resource.collection for resource in RESOURCES.values()]


@pytest.mark.parametrize("collection", COLLECTIONS)
@pytest.mark.parametrize("ending", ["", "/", ".json"])
@pytest.mark.parametrize("dash", ["-", "_"])
async def test_ways_to_write_a_collection(api: httpx.AsyncClient, collection: str, ending: str, dash: str) -> None:
    answer = await api.get(f"/v2.0/{collection.replace('_', dash)}{ending}")
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()[collection], list)


@pytest.mark.parametrize("ending", ["", "/", ".json"])
async def test_ways_to_write_an_object(c: Cloud, api: httpx.AsyncClient, ending: str) -> None:
    network = await c.network(name="n")
    path = f"/v2.0/networks/{network['id']}{ending}"
    assert (await api.get(path)).json()["network"]["name"] == "n"
    assert (await api.put(path, json={"network": {"name": "m"}})).json()["network"]["name"] == "m"
    assert (await api.delete(path)).status_code == 204
    answer = await api.post(f"/v2.0/networks{ending}", json={"network": {}})
    assert answer.status_code == 201


NOT_THERE = ["nothing", "network", "networks/x/y", "networks//x", "routers", "floatingips", "security", "networks.xml"]


@pytest.mark.parametrize("path", NOT_THERE)
async def test_paths_that_are_not_there(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(f"/v2.0/{path}")
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (404, "HTTPNotFound")


IDS = ["x", "%00", "%20", "x" * 2000, "%ff", "%ed%a0%80", "'", "..%2f", "a%0ab"]


@pytest.mark.parametrize("item_id", IDS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_ids_that_are_none(api: httpx.AsyncClient, method: str, item_id: str) -> None:
    body = {"json": {"network": {"name": "n"}}} if method == "PUT" else {}
    answer = await api.request(method, f"/v2.0/networks/{item_id}", **body)  # type: ignore[arg-type]
    assert answer.status_code == 404
    assert answer.json()["NeutronError"]["type"] in ("NetworkNotFound", "HTTPNotFound")


METHODS: list[tuple[str, str, str]] = [
    ("PUT", "networks", "GET, HEAD, POST"),
    ("DELETE", "networks", "GET, HEAD, POST"),
    ("PATCH", "networks", "GET, HEAD, POST"),
    ("POST", f"networks/{NOWHERE}", "DELETE, GET, HEAD, PUT"),
    ("PATCH", f"networks/{NOWHERE}", "DELETE, GET, HEAD, PUT"),
    ("PUT", f"security-group-rules/{NOWHERE}", "DELETE, GET, HEAD"),
    ("POST", "agents", "GET, HEAD"),
]


@pytest.mark.parametrize(("method", "path", "allow"), METHODS)
async def test_methods_that_are_not_there(api: httpx.AsyncClient, method: str, path: str, allow: str) -> None:
    answer = await api.request(method, f"/v2.0/{path}")
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (405, "HTTPMethodNotAllowed")
    assert answer.headers["allow"] == allow


async def test_head_is_get_without_a_body(c: Cloud, api: httpx.AsyncClient) -> None:
    network = await c.network()
    for path, status in (("networks", 200), (f"networks/{network['id']}", 200), (f"networks/{NOWHERE}", 404)):
        assert (await api.head(f"/v2.0/{path}")).status_code == status


async def test_a_delete_takes_no_body(c: Cloud, api: httpx.AsyncClient) -> None:
    network = await c.network()
    for content in (b"{}", b"x", b'{"network": {}}'):
        answer = await api.request("DELETE", f"/v2.0/networks/{network['id']}", content=content)
        assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (400, "HTTPBadRequest")
    assert (await api.delete(f"/v2.0/networks/{network['id']}")).status_code == 204


SHOWN: list[tuple[str, int, set[str] | None]] = [
    ("fields=name", 200, {"name"}),
    ("fields=name&fields=id&fields=name", 200, {"name", "id"}),
    ("fields=nothing", 200, set()),
    ("fields=", 200, None),
    ("fields=project_id&fields=tenant_id", 200, {"project_id", "tenant_id"}),
    ("name=other&limit=1", 200, None),
    ("bogus=1", 400, None),
    ("shared=perhaps", 400, None),
]


@pytest.mark.parametrize(("query", "status", "keys"), SHOWN)
async def test_arguments_of_one_object(
    c: Cloud, api: httpx.AsyncClient, query: str, status: int, keys: set[str] | None
) -> None:
    network = await c.network()
    answer = await api.get(f"/v2.0/networks/{network['id']}?{query}")
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["network"].keys() == (network.keys() if keys is None else keys)


async def test_links_of_a_page(c: Cloud, api: httpx.AsyncClient) -> None:
    networks = await c.bulk("network", [{"name": name} for name in "abc"])
    query = "sort_key=name&sort_dir=asc&name=a&name=b&name=c&limit=2&fields=id"
    answer = (await api.get(f"/v2.0/networks?{query}")).json()
    assert list(answer) == ["networks", "networks_links"]
    assert [link["rel"] for link in answer["networks_links"]] == ["next", "previous"]
    links = {link["rel"]: urlsplit(link["href"]) for link in answer["networks_links"]}
    for rel, more in (
        ("next", [("marker", networks[1]["id"])]),
        ("previous", [("marker", networks[0]["id"]), ("page_reverse", "True")]),
    ):
        assert (links[rel].scheme, links[rel].path) == ("http", "/v2.0/networks")
        assert parse_qsl(links[rel].query) == [*parse_qsl(query), *more]
    following = (await api.get(links["next"].geturl())).json()
    assert [network["id"] for network in following["networks"]] == [networks[2]["id"]]
    assert [link["rel"] for link in following["networks_links"]] == ["previous"]
    whole = (await api.get("/v2.0/networks")).json()
    assert list(whole) == ["networks"]


BODIES: list[tuple[Any, str]] = [
    ({}, "needs a body"),
    ([], "needs a body"),
    ("network", "needs a body"),
    (5, "needs a body"),
    ({"network": None}, "'network' must be an object"),
    ({"network": "x"}, "'network' must be an object"),
    ({"network": [{}]}, "'network' must be an object"),
    ({"networks": None}, "must be a list"),
    ({"networks": "x"}, "must be a list"),
    ({"networks": []}, "at least one"),
    ({"networks": [None]}, "'network' must be an object"),
    ({"networks": [{}, 5]}, "'network' must be an object"),
    ({"networks": [{"network": 5}]}, "'network' must be an object"),
    ({"subnet": {}}, "no object 'network'"),
]


@pytest.mark.parametrize(("body", "says"), BODIES)
async def test_bodies_that_are_no_network(api: httpx.AsyncClient, body: Any, says: str) -> None:
    answer = await api.post("/v2.0/networks", json=body)
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (400, "HTTPBadRequest")
    assert says in answer.json()["NeutronError"]["message"]
    assert (await api.get("/v2.0/networks")).json() == {"networks": []}
