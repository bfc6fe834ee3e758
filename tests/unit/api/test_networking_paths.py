"""The paths that are no collection of their own: tags, agents' networks, zones, use of addresses, discovery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cove.network.extensions import EXTENSIONS
from tests.unit.network.callers import MINE, Api, networking_api
from tests.unit.network.fakes import Cloud, cloud

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as made:
        await made.report()
        yield made


@pytest.fixture
async def api(c: Cloud) -> AsyncIterator[Api]:
    async with networking_api(c) as made:
        yield made


def kind_of(response: Any) -> tuple[int, str]:
    """Status and error type of an answer."""
    body = response.json() if response.content else None
    return response.status_code, (body or {}).get("NeutronError", {}).get("type", "")


# --- tags ------------------------------------------------------------------------------------------------------------

TAG_STEPS: list[tuple[str, str, Any, tuple[int, str], list[str]]] = [
    # method, path behind /tags, body → answer, the tags then
    ("PUT", "", {"tags": ["red", "blue"]}, (200, ""), ["blue", "red"]),
    ("PUT", "/green", None, (201, ""), ["blue", "green", "red"]),
    ("PUT", "/red", None, (201, ""), ["blue", "green", "red"]),
    ("PUT", "/black.or.white", None, (201, ""), ["black.or.white", "blue", "green", "red"]),
    ("GET", "/black.or.white", None, (204, ""), ["black.or.white", "blue", "green", "red"]),
    ("POST", "", {"tags": ["red", "a/b"]}, (200, ""), ["a/b", "black.or.white", "blue", "green", "red"]),
    ("GET", "/a%2Fb", None, (204, ""), ["a/b", "black.or.white", "blue", "green", "red"]),
    ("PUT", "", {"tags": ["red", "blue"]}, (200, ""), ["blue", "red"]),
    ("GET", "/green", None, (404, "TagNotFound"), ["blue", "red"]),
    ("DELETE", "/green", None, (404, "TagNotFound"), ["blue", "red"]),
    ("DELETE", "/red", None, (204, ""), ["blue"]),
    ("PUT", f"/{'x' * 256}", None, (400, "InvalidInput"), ["blue"]),
    ("PUT", "", {"tags": "red"}, (400, "InvalidInput"), ["blue"]),
    ("PUT", "", {"tags": [f"tag-{number}" for number in range(51)]}, (400, "BadRequest"), ["blue"]),
    ("POST", "", {"tags": [f"tag-{number}" for number in range(50)]}, (400, "BadRequest"), ["blue"]),
    ("DELETE", "", None, (204, ""), []),
    ("PATCH", "", None, (405, "HTTPMethodNotAllowed"), []),
]


async def tagged_objects(api: Api) -> dict[str, str]:
    """Path of an object of each resource that has tags."""
    network = await api.create("member", "network")
    subnet = await api.create("member", "subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/24")
    port = await api.create("member", "port", network_id=network["id"])
    pool = await api.create("member", "subnetpool", name="pool", prefixes=["198.51.100.0/24"])
    group = await api.create("member", "security_group", name="group")
    return {
        "network": f"/networks/{network['id']}",
        "subnet": f"/subnets/{subnet['id']}",
        "port": f"/ports/{port['id']}",
        "subnetpool": f"/subnetpools/{pool['id']}",
        "security_group": f"/security-groups/{group['id']}",
    }


@pytest.mark.parametrize("resource", ["network", "subnet", "port", "subnetpool", "security_group"])
async def test_tags_of_an_object(api: Api, resource: str) -> None:
    path = (await tagged_objects(api))[resource]
    before = (await api.get("member", path))[resource]
    for method, rest, body, expected, then in TAG_STEPS:
        response = await api.request("member", method, f"{path}/tags{rest}", body)
        assert kind_of(response) == expected, (method, rest)
        if body is not None and expected[0] == 200:
            assert response.json() == body
        assert (await api.get("reader", f"{path}/tags"))["tags"] == then
        assert (await api.get("member", path))[resource]["tags"] == then
    after = (await api.get("member", path))[resource]
    assert after["revision_number"] == before["revision_number"] + 7
    assert after | {"revision_number": 0, "updated_at": ""} == before | {"revision_number": 0, "updated_at": ""}


async def test_tags_find_objects(api: Api) -> None:
    paths = await tagged_objects(api)
    for resource, path in paths.items():
        collection, item_id = path.rsplit("/", 1)
        await api.request("member", "PUT", f"{path}/tags", {"tags": ["red", "blue"]})
        for filters, found in (
            ({"tags": "red,blue"}, True),
            ({"tags": "red,green"}, False),
            ({"tags-any": "red,green"}, True),
            ({"not-tags": "red,green"}, True),
            ({"not-tags": "red"}, False),
            ({"not-tags-any": "green"}, True),
            ({"not-tags-any": "green,red"}, False),
            ({"changed_since": "2020-01-01T00:00:00Z"}, True),
            ({"changed_since": "2120-01-01T00:00:00Z"}, False),
        ):
            items = (await api.get("member", collection, **filters))[f"{resource}s"]
            assert (item_id in [item["id"] for item in items]) is found, (resource, filters)


@pytest.mark.parametrize("resource", ["network", "subnet", "port", "subnetpool", "security_group"])
async def test_who_may_tag(api: Api, resource: str) -> None:
    path = (await tagged_objects(api))[resource]
    for method, rest, body in (
        ("GET", "", None),
        ("GET", "/red", None),
        ("PUT", "", {"tags": ["x"]}),
        ("POST", "", {"tags": ["x"]}),
        ("PUT", "/x", None),
        ("DELETE", "/red", None),
        ("DELETE", "", None),
    ):
        await api.request("member", "PUT", f"{path}/tags", {"tags": ["red"]})
        for who in ("stranger", "nobody"):
            refused = await api.request(who, method, f"{path}/tags{rest}", body)
            unknown = await api.request(who, method, f"{path.rsplit('/', 1)[0]}/{NOWHERE}/tags{rest}", body)
            assert kind_of(refused) == kind_of(unknown) == (404, "TagResourceNotFound"), (who, method, rest)
        read_only = await api.request("reader", method, f"{path}/tags{rest}", body)
        assert kind_of(read_only)[0] == ({"": 200, "/red": 204}[rest] if method == "GET" else 403)
        assert (await api.get("member", f"{path}/tags"))["tags"] == ["red"]
        assert (await api.request("admin", method, f"{path}/tags{rest}", body)).is_success


async def test_what_has_no_tags_has_no_paths_for_them(api: Api) -> None:
    for collection in ("agents", "rbac-policies", "security-group-rules", "address-scopes", "routers", "quotas"):
        response = await api.request("admin", "GET", f"/{collection}/{NOWHERE}/tags")
        assert kind_of(response) == (404, "HTTPNotFound"), collection


# --- agents ----------------------------------------------------------------------------------------------------------


async def test_the_networks_of_an_agent(api: Api, c: Cloud) -> None:
    network = await api.create("member", "network", name="mine")
    (agent,) = (await api.get("admin", "/agents"))["agents"]
    hosted, hosting = f"/agents/{agent['id']}/dhcp-networks", f"/networks/{network['id']}/dhcp-agents"
    assert (await api.get("admin", hosted)) == {"networks": []}
    response = await api.request("admin", "POST", hosted, {"network_id": network["id"]})
    assert (response.status_code, response.json()) == (201, None)
    assert [item["name"] for item in (await api.get("admin", hosted))["networks"]] == ["mine"]
    assert [item["id"] for item in (await api.get("admin", hosting))["agents"]] == [agent["id"]]
    assert (await api.get("member", f"/networks/{network['id']}"))["network"]["availability_zones"] == ["nova"]
    again = await api.request("admin", "POST", hosted, {"network_id": network["id"]})
    assert kind_of(again) == (409, "NetworkHostedByDHCPAgent")
    assert (await api.request("admin", "DELETE", f"{hosted}/{network['id']}")).status_code == 204
    gone = await api.request("admin", "DELETE", f"{hosted}/{network['id']}")
    assert kind_of(gone) == (409, "NetworkNotHostedByDhcpAgent")
    assert [method for _, method, _ in await c.sent()] == ["network_create_end", "network_delete_end"]


REFUSED: list[tuple[str, str, Any, tuple[int, str]]] = [
    ("GET", f"/agents/{NOWHERE}/dhcp-networks", None, (404, "AgentNotFound")),
    ("POST", f"/agents/{NOWHERE}/dhcp-networks", {"network_id": NOWHERE}, (404, "NetworkNotFound")),
    ("POST", f"/agents/{NOWHERE}/dhcp-networks", {"network_id": 1}, (400, "HTTPBadRequest")),
    ("POST", f"/agents/{NOWHERE}/dhcp-networks", {}, (400, "HTTPBadRequest")),
    ("POST", f"/agents/{NOWHERE}/dhcp-networks", [], (400, "HTTPBadRequest")),
    ("DELETE", f"/agents/{NOWHERE}/dhcp-networks/{NOWHERE}", None, (404, "AgentNotFound")),
    ("PUT", f"/agents/{NOWHERE}", {"agent": {"description": ""}}, (404, "AgentNotFound")),
    ("DELETE", f"/agents/{NOWHERE}", None, (404, "AgentNotFound")),
    ("POST", "/agents", {"agent": {}}, (405, "HTTPMethodNotAllowed")),
]


@pytest.mark.parametrize(("method", "path", "body", "expected"), REFUSED)
async def test_what_cannot_be_done_with_agents(
    api: Api, method: str, path: str, body: Any, expected: tuple[int, str]
) -> None:
    assert kind_of(await api.request("admin", method, path, body)) == expected


@pytest.mark.parametrize("who", ["member", "stranger", "nobody"])
async def test_agents_are_for_admins(api: Api, who: str) -> None:
    (agent,) = (await api.get("admin", "/agents"))["agents"]
    network = await api.create("member", "network")
    assert (await api.get(who, "/agents")) == {"agents": []}
    for method, body in (("GET", None), ("PUT", {"agent": {"admin_state_up": False}}), ("DELETE", None)):
        answers = {kind_of(await api.request(who, method, f"/agents/{item}", body)) for item in (agent["id"], NOWHERE)}
        assert answers == {(404, "AgentNotFound")}
    for method, path, body in (
        ("GET", "/agents/{}/dhcp-networks", None),
        ("POST", "/agents/{}/dhcp-networks", {"network_id": network["id"]}),
        ("DELETE", f"/agents/{{}}/dhcp-networks/{network['id']}", None),
        ("GET", f"/networks/{network['id']}/dhcp-agents", None),
    ):
        answers = {kind_of(await api.request(who, method, path.format(item), body)) for item in (agent["id"], NOWHERE)}
        assert answers == {(403, "PolicyNotAuthorized")}


async def test_agents_are_found(api: Api, c: Cloud) -> None:
    await c.report("node2", availability_zone="cellar", binary="other")
    for filters, hosts in (
        ({}, ["node1", "node2"]),
        ({"host": "node2"}, ["node2"]),
        ({"availability_zone": "cellar"}, ["node2"]),
        ({"agent_type": "DHCP agent", "alive": "true"}, ["node1", "node2"]),
        ({"alive": "False"}, []),
        ({"admin_state_up": "true", "binary": "neutron-dhcp-agent"}, ["node1"]),
        ({"sort_dir": "desc"}, ["node2", "node1"]),
        ({"limit": "1"}, ["node1"]),
    ):
        found = (await api.get("admin", "/agents", sort_key="host", **filters))["agents"]
        assert [item["host"] for item in found] == hosts, filters
    for sort_key in ("alive", "heartbeat_timestamp", "created_at", "started_at", "topic"):
        assert len((await api.get("admin", "/agents", sort_key=sort_key))["agents"]) == 2
    response = await api.request("admin", "GET", "/agents", params={"configurations": "x"})
    assert kind_of(response) == (400, "HTTPBadRequest")
    (only,) = (await api.get("admin", "/agents", host="node2", fields="host"))["agents"]
    assert only == {"host": "node2"}


async def test_an_agent_is_switched_off_and_described(api: Api, c: Cloud) -> None:
    (agent,) = (await api.get("admin", "/agents"))["agents"]
    path = f"/agents/{agent['id']}"
    for change in ({"description": "in the cellar"}, {"admin_state_up": False}):
        response = await api.request("admin", "PUT", path, {"agent": change})
        assert response.status_code == 200
        assert response.json()["agent"].items() >= change.items()
    assert [(host, method, payload) for host, method, payload in await c.sent()] == [
        ("node1", "agent_updated", {"admin_state_up": False})
    ]
    for change in ({"host": "x"}, {"alive": True}, {"admin_state_up": "perhaps"}, {"description": "x" * 256}):
        assert (await api.request("admin", "PUT", path, {"agent": change})).status_code == 400
    assert (await api.request("admin", "DELETE", path)).status_code == 204
    assert (await api.get("admin", "/agents")) == {"agents": []}


async def test_if_match_is_not_looked_at_where_there_is_no_revision(api: Api) -> None:
    (agent,) = (await api.get("admin", "/agents"))["agents"]
    scope = await api.create("admin", "address_scope", ip_version=4)
    for path, body in (
        (f"/agents/{agent['id']}", {"agent": {"description": "x"}}),
        (f"/address-scopes/{scope['id']}", {"address_scope": {"name": "x"}}),
    ):
        headers = {"X-Auth-Token": "admin", "If-Match": "revision_number=7"}
        response = await api.client.put(f"/v2.0{path}", json=body, headers=headers)
        assert response.status_code == 200, response.text


# --- zones and use of addresses --------------------------------------------------------------------------------------


async def test_zones(api: Api, c: Cloud) -> None:
    await c.report("node2", availability_zone="cellar")
    cellar = {"name": "cellar", "resource": "network", "state": "available"}
    nova = {"name": "nova", "resource": "network", "state": "available"}
    for who in ("admin", "member", "reader", "stranger"):
        assert (await api.get(who, "/availability_zones")) == {"availability_zones": [cellar, nova]}
    assert (await api.get("nobody", "/availability_zones")) == {"availability_zones": []}
    assert (await api.get("member", "/availability_zones", name="nova", fields="name")) == {
        "availability_zones": [{"name": "nova"}]
    }
    assert (await api.get("member", "/availability_zones", state="unavailable")) == {"availability_zones": []}
    response = await api.request("member", "GET", "/availability_zones", params={"colour": "red"})
    assert kind_of(response) == (400, "HTTPBadRequest")


async def test_zone_hints(api: Api, c: Cloud) -> None:
    await c.report("node2", availability_zone="cellar")
    network = await api.create("member", "network", availability_zone_hints=["cellar"])
    assert network["availability_zone_hints"] == ["cellar"]
    assert network["availability_zones"] == []
    await api.create("member", "subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/24")
    assert (await api.get("member", f"/networks/{network['id']}"))["network"]["availability_zones"] == ["cellar"]
    body = {"network": {"availability_zone_hints": ["cellar", "attic"]}}
    assert kind_of(await api.request("member", "POST", "/networks", body)) == (404, "AvailabilityZoneNotFound")


async def test_use_of_addresses(api: Api) -> None:
    network = await api.create("member", "network", name="mine")
    await api.create("member", "subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/29")
    await api.create("member", "subnet", network_id=network["id"], ip_version=6, cidr="2001:db8::/32")
    path = f"/network-ip-availabilities/{network['id']}"
    shown = (await api.get("admin", path))["network_ip_availability"]
    assert (shown["network_name"], shown["tenant_id"], shown["project_id"]) == ("mine", MINE, MINE)
    assert shown["total_ips"] == sum(part["total_ips"] for part in shown["subnet_ip_availability"]) > 2**95
    listed = await api.get("admin", "/network-ip-availabilities", ip_version=4, fields="total_ips")
    assert listed == {"network_ip_availabilities": [{"total_ips": 5}]}
    assert (await api.get("member", "/network-ip-availabilities")) == {"network_ip_availabilities": []}
    for who, item in (("member", network["id"]), ("stranger", network["id"]), ("admin", NOWHERE)):
        response = await api.request(who, "GET", f"/network-ip-availabilities/{item}")
        assert kind_of(response) == (404, "NetworkNotFound")
    for params in ({"limit": "x"}, {"limit": "-1"}, {"sort_key": "used_ips"}, {"cidr": "192.0.2.0/29"}):
        response = await api.request("admin", "GET", "/network-ip-availabilities", params=params)
        assert kind_of(response) == (400, "HTTPBadRequest"), params


async def test_pages_of_availabilities(api: Api) -> None:
    ids = sorted([(await api.create("member", "network"))["id"] for _ in range(3)])

    async def page(**params: Any) -> list[str]:
        found = (await api.get("admin", "/network-ip-availabilities", **params))["network_ip_availabilities"]
        return [item["network_id"] for item in found]

    assert await page(limit=2) == ids[:2]
    assert await page(limit=2, marker=ids[1]) == ids[2:]
    assert await page(sort_key="network_id", sort_dir="desc") == ids[::-1]
    assert await page(limit="0" * 9000 + "1") == ids[:1]


async def test_there_are_no_providers_of_services(api: Api) -> None:
    assert (await api.get("member", "/service-providers")) == {"service_providers": []}
    assert (await api.get("member", "/service-providers", service_type="VPN")) == {"service_providers": []}


# --- discovery -------------------------------------------------------------------------------------------------------


async def test_versions_are_as_clients_expect_them(api: Api) -> None:
    response = await api.client.get("/", headers={"X-Auth-Token": "nobody"})
    link = {"rel": "self", "href": "http://cove.test/v2.0/"}
    assert response.json() == {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


async def test_every_collection_that_is_listed_is_there(api: Api) -> None:
    for entry in (await api.get("member", "/"))["resources"]:
        (link,) = entry["links"]
        path = link["href"].removeprefix("http://cove.test/v2.0")
        assert next(iter(await api.get("admin", path))) == entry["collection"]


async def test_extensions(api: Api) -> None:
    listed = (await api.get("nobody", "/extensions"))["extensions"]
    assert [entry["alias"] for entry in listed] == list(EXTENSIONS)
    for entry in listed:
        assert (await api.get("nobody", f"/extensions/{entry['alias']}")) == {"extension": entry}
    assert (await api.get("nobody", "/extensions/agent.json")) == (await api.get("nobody", "/extensions/agent"))
    response = await api.request("admin", "GET", "/extensions/router")
    assert kind_of(response) == (404, "HTTPNotFound")


NO_ROUTER = "/routers/00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("path", ["/routers", "/floatingips", NO_ROUTER, "/nothing", "/ports/a/b"])
async def test_what_is_not_there(api: Api, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        response = await api.request("admin", method, path, {} if method in ("POST", "PUT") else None)
        assert kind_of(response) == (404, "HTTPNotFound")
