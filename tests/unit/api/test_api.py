"""The API as a client uses it: codes, forms, lists with filters, fields, sorting and pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cove.network.registry import RESOURCES


async def make(api: httpx.AsyncClient, resource: str, **attributes: Any) -> dict[str, Any]:
    response = await api.post(f"/v2.0/{resource}s", json={resource: attributes})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()[resource]
    return made


async def names(api: httpx.AsyncClient, path: str) -> list[str]:
    response = await api.get(path)
    assert response.status_code == 200, response.text
    (items,) = (value for key, value in response.json().items() if not key.endswith("_links"))
    return [item["name"] for item in items]


async def test_a_life(api: httpx.AsyncClient) -> None:
    network = await make(api, "network", name="n")
    subnet = await make(api, "subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/24")
    port = await make(api, "port", network_id=network["id"], name="p")
    for resource, item in (("network", network), ("subnet", subnet), ("port", port)):
        path = f"/v2.0/{resource}s/{item['id']}"
        shown = (await api.get(path)).json()
        assert list(shown) == [resource]
        assert shown[resource].keys() <= RESOURCES[resource].attributes.by_name.keys()
        assert (await api.get(f"{path}.json")).json() == shown
        changed = await api.put(path, json={resource: {"description": "d"}})
        assert changed.status_code == 200
        assert changed.json()[resource]["description"] == "d"
        assert changed.json()[resource]["revision_number"] > item["revision_number"]
    for resource, item in (("port", port), ("subnet", subnet), ("network", network)):
        response = await api.delete(f"/v2.0/{resource}s/{item['id']}")
        assert (response.status_code, response.content) == (204, b"")
        assert (await api.get(f"/v2.0/{resource}s/{item['id']}")).status_code == 404
        assert (await api.get(f"/v2.0/{resource}s.json")).json() == {f"{resource}s": []}


async def test_bulk(api: httpx.AsyncClient) -> None:
    response = await api.post("/v2.0/networks", json={"networks": [{"name": "a"}, {"network": {"name": "b"}}]})
    assert response.status_code == 201
    assert [network["name"] for network in response.json()["networks"]] == ["a", "b"]


async def test_what_the_answer_of_a_create_says_is_what_is_stored(api: httpx.AsyncClient) -> None:
    network = await make(api, "network")
    await make(api, "subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/24")
    options = [{"opt_name": "mtu", "opt_value": "1400"}]
    port = await make(
        api,
        "port",
        network_id=network["id"],
        extra_dhcp_opts=options,
        allowed_address_pairs=[{"ip_address": "192.0.2.128/28"}],
        **{"binding:profile": {"k": ["v", None]}, "binding:host_id": "h", "binding:vnic_type": "direct"},
    )
    assert (await api.get(f"/v2.0/ports/{port['id']}")).json()["port"] == port
    assert (await api.get("/v2.0/ports")).json()["ports"] == [port]


FILTERS = [
    ("", ["a", "b", "c"]),
    ("name=a", ["a"]),
    ("name=a&name=b", ["a", "b"]),
    ("name=", []),
    ("name=x", []),
    ("name=a&device_id=vm2", []),
    ("device_id=vm2", ["b"]),
    ("device_id=", ["a", "c"]),
    ("admin_state_up=False", ["c"]),
    ("admin_state_up=true&status=DOWN", ["a", "b"]),
    ("fixed_ips=ip_address=192.0.2.3", ["b"]),
    ("fixed_ips=ip_address%3D192.0.2.3&fixed_ips=ip_address%3D192.0.2.4", ["b", "c"]),
    ("fixed_ips=ip_address_substr=.2.4", ["c"]),
    ("fixed_ips=ip_address_substr=%25", []),
    ("fixed_ips=subnet_id=SUBNET", ["a", "b", "c"]),
    ("fixed_ips=subnet_id=SUBNET&fixed_ips=ip_address=192.0.2.2", ["a"]),
    ("fixed_ips=subnet_id=x&fixed_ips=ip_address=192.0.2.2", []),
    ("network_id=NETWORK", ["a", "b", "c"]),
    ("network_id=x", []),
    ("mac_address=FA-16-3E-00-00-0B", ["b"]),
    ("mac_address=zzz", []),
    ("binding:host_id=node1", ["b"]),
    ("project_id=p9", ["c"]),
    ("tenant_id=p9", ["c"]),
    ("revision_number=1", ["a", "b", "c"]),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS)
async def test_filters(api: httpx.AsyncClient, query: str, expected: list[str]) -> None:
    network = await make(api, "network")
    subnet = await make(api, "subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/24")
    on = {"network_id": network["id"]}
    await make(api, "port", name="a", **on)
    await make(
        api, "port", name="b", device_id="vm2", mac_address="fa:16:3e:00:00:0b", **on, **{"binding:host_id": "node1"}
    )
    await make(api, "port", name="c", admin_state_up=False, project_id="p9", **on)
    query = query.replace("SUBNET", subnet["id"]).replace("NETWORK", network["id"])
    assert sorted(await names(api, f"/v2.0/ports?{query}")) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("networks?shared=true", ["s"]),
        ("networks?router:external=true", ["e"]),
        ("networks?mtu=1400", ["e"]),
        ("networks?shared=false&mtu=1500", ["n"]),
        ("subnets?enable_dhcp=false", ["off"]),
        ("subnets?ip_version=4", ["off", "on"]),
        ("subnets?cidr=192.0.2.0/25", ["on"]),
        ("subnets?gateway_ip=192.0.2.129", ["off"]),
    ],
)
async def test_filters_of_networks_and_subnets(api: httpx.AsyncClient, path: str, expected: list[str]) -> None:
    await make(api, "network", name="s", shared=True)
    await make(api, "network", name="e", mtu=1400, **{"router:external": True})
    on = {"network_id": (await make(api, "network", name="n"))["id"], "ip_version": 4}
    await make(api, "subnet", name="on", cidr="192.0.2.0/25", **on)
    await make(api, "subnet", name="off", cidr="192.0.2.128/25", enable_dhcp=False, **on)
    assert sorted(await names(api, f"/v2.0/{path}")) == expected


async def test_fields(api: httpx.AsyncClient) -> None:
    network = await make(api, "network", name="n")
    assert (await api.get("/v2.0/networks?fields=id&fields=name")).json() == {
        "networks": [{"id": network["id"], "name": "n"}]
    }
    shown = await api.get(f"/v2.0/networks/{network['id']}?fields=name&fields=colour")
    assert shown.json() == {"network": {"name": "n"}}


async def test_sorting(api: httpx.AsyncClient) -> None:
    for name, mtu in (("a", 1400), ("b", 1500), ("c", 1400)):
        await make(api, "network", name=name, mtu=mtu)
    assert await names(api, "/v2.0/networks?sort_key=name") == ["a", "b", "c"]
    assert await names(api, "/v2.0/networks?sort_key=name&sort_dir=desc") == ["c", "b", "a"]
    query = "sort_key=mtu&sort_dir=desc&sort_key=name&sort_dir=asc"
    assert await names(api, f"/v2.0/networks?{query}") == ["b", "a", "c"]


@pytest.mark.parametrize("sort", ["sort_key=name", "sort_key=name&sort_dir=desc", "sort_key=mtu&sort_key=name", ""])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_pages_forth_and_back(api: httpx.AsyncClient, sort: str, limit: int) -> None:
    await api.post("/v2.0/networks", json={"networks": [{"name": f"n{n}", "mtu": 1400 + n % 3} for n in range(7)]})
    everything = await names(api, f"/v2.0/networks?{sort}")
    seen: list[str] = []
    path: str | None = f"/v2.0/networks?limit={limit}&{sort}"
    back = None
    while path:
        answer = (await api.get(path)).json()
        page = [network["name"] for network in answer["networks"]]
        assert len(page) <= limit
        seen += page
        links = {link["rel"]: link["href"] for link in answer.get("networks_links", ())}
        if page:
            back = links.get("previous")
        path = links.get("next")
    assert seen == everything
    reverse: list[str] = []
    last = seen[-limit:] if 7 % limit == 0 else seen[-(7 % limit) :]
    while back:
        answer = (await api.get(back)).json()
        reverse = [network["name"] for network in answer["networks"]] + reverse
        links = {link["rel"]: link["href"] for link in answer.get("networks_links", ())}
        back = links.get("previous")
    assert reverse + last == everything


async def test_discovery(api: httpx.AsyncClient) -> None:
    versions = (await api.get("/")).json()["versions"]
    assert [(version["id"], version["status"]) for version in versions] == [("v2.0", "CURRENT")]
    assert versions[0]["links"][0]["href"] == "http://cove.test/v2.0/"
    for path in ("/v2.0", "/v2.0/"):
        resources = (await api.get(path)).json()["resources"]
        assert {resource["collection"] for resource in resources} >= {
            resource.collection for resource in RESOURCES.values()
        }
    aliases = {extension["alias"] for extension in (await api.get("/v2.0/extensions")).json()["extensions"]}
    assert {"binding", "extra_dhcp_opt", "net-mtu", "standard-attr-revisions"} <= aliases
    assert "router" not in aliases
    assert (await api.get("/v2.0/extensions/binding")).json()["extension"]["alias"] == "binding"
    assert (await api.get("/healthz")).json()["status"] == "ok"
    (agent,) = (await api.get("/v2.0/agents")).json()["agents"]
    assert (agent["host"], agent["alive"]) == ("node1", True)
