"""Requests made to do harm: each is refused with 4xx, and everybody else is served as before."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.network.fakes import Cloud


async def network_with_subnet(c: Cloud) -> str:
    network = await c.network()
    await c.subnet(network, "10.0.0.0/24")
    return str(network["id"])


def option(name: str, value: str) -> dict[str, Any]:
    return {"extra_dhcp_opts": [{"opt_name": name, "opt_value": value}]}


def nested(levels: int) -> str:
    """JSON of objects in one another; as text, since `json` could not encode it."""
    return '{"a":' * levels + "1" + "}" * levels


PORTS: list[tuple[dict[str, Any], str]] = [
    ({"fixed_ips": None}, "null is not a list"),
    ({"binding:profile": {"a": "x" * 5000}}, "at most 4095"),
    ({"dns_name": "10.0.0.7."}, "last label"),
    ({"dns_name": "1.2.3.4"}, "last label"),
    ({"dns_name": "ignore."}, "full name"),
    ({"dns_name": ".".join(["a" * 60] * 4)}, "at most 253"),
    (option("client-id", "x,aa:bb:cc:dd:ee:ff"), "client-id"),
    (option("61", "x,10.0.0.7"), "61"),
    (option("bootfile-name", "ü"), "printable ASCII"),
    (option("a_b", "x"), "a_b"),
    (option("a:b", "x"), "a:b"),
    (option("999", "x"), "from 1 to 254"),
    (option("tag:a,tag:b", "x"), "tag:a,tag:b"),
]


@pytest.mark.parametrize(("attributes", "says"), PORTS)
async def test_ports_that_would_do_harm(
    c: Cloud, api: httpx.AsyncClient, attributes: dict[str, Any], says: str
) -> None:
    network_id = await network_with_subnet(c)
    answer = await api.post("/v2.0/ports", json={"port": {"network_id": network_id, **attributes}})
    assert answer.status_code == 400
    assert says in answer.json()["NeutronError"]["message"]
    # What cannot be created cannot be had by an update either.
    port = await c.create("port", network_id=network_id)
    answer = await api.put(f"/v2.0/ports/{port['id']}", json={"port": attributes})
    assert answer.status_code == 400
    assert await c.get("port", port["id"]) == port


async def test_pools_that_are_null(c: Cloud, api: httpx.AsyncClient) -> None:
    """As in Neutron: a new subnet gets all its addresses, one that is there loses its pools."""
    network = await c.network()
    body: dict[str, Any] = {
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": "10.0.0.0/24",
        "allocation_pools": None,
    }
    created = await api.post("/v2.0/subnets", json={"subnet": body})
    assert created.status_code == 201
    assert created.json()["subnet"]["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.254"}]
    change = {"subnet": {"allocation_pools": None}}
    changed = await api.put(f"/v2.0/subnets/{created.json()['subnet']['id']}", json=change)
    assert (changed.status_code, changed.json()["subnet"]["allocation_pools"]) == (200, [])


@pytest.mark.parametrize("levels", [28, 40, 500, 960, 970])
async def test_nesting_never_breaks_the_list_of_ports(c: Cloud, api: httpx.AsyncClient, levels: int) -> None:
    network_id = await network_with_subnet(c)
    body = f'{{"port": {{"network_id": "{network_id}", "binding:profile": {nested(levels)}}}}}'
    answer = await api.post("/v2.0/ports", content=body)
    assert answer.status_code == (201 if levels < 30 else 400)
    assert (await api.get("/v2.0/ports")).status_code == 200


async def test_many_objects_side_by_side_are_not_nested(c: Cloud, api: httpx.AsyncClient) -> None:
    network_id = await network_with_subnet(c)
    answer = await api.post("/v2.0/ports", json={"ports": [{"network_id": network_id}] * 100})
    assert answer.status_code == 201


async def test_an_error_does_not_repeat_a_long_value(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v2.0/networks", json={"network": {"mtu": "9" * 100_000}})
    assert answer.status_code == 400
    assert len(answer.content) < 2000


@pytest.mark.parametrize("limit", ["9" * 5000, "0" * 5000 + "1"])
async def test_long_limits(c: Cloud, api: httpx.AsyncClient, limit: str) -> None:
    await c.network()
    await c.network()
    answer = await api.get(f"/v2.0/networks?limit={limit}")
    assert answer.status_code == 200
    assert len(answer.json()["networks"]) == (2 if limit[0] == "9" else 1)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("PATCH", "/v2.0/ports", "GET, HEAD, POST"), ("POST", "/v2.0/ports/x", "DELETE, GET, HEAD, PUT")],
)
async def test_a_wrong_method_is_told_all_the_right_ones(
    api: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await api.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allow


async def test_unbinding_with_null(c: Cloud, api: httpx.AsyncClient) -> None:
    """As Nova lets go of a port."""
    network_id = await network_with_subnet(c)
    port = await c.create("port", **{"network_id": network_id, "binding:host_id": "node1", "device_id": "vm"})
    body: dict[str, Any] = {
        "port": {"device_id": "", "device_owner": "", "binding:host_id": None, "binding:profile": {}}
    }
    answer = await api.put(f"/v2.0/ports/{port['id']}", json=body)
    assert answer.status_code == 200
    assert answer.json()["port"]["binding:vif_type"] == "unbound"
