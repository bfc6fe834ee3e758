"""`/v2.1/servers` over HTTP: Nova's forms in, Nova's forms out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from cove.compute.routes import name_matches, parse_boot, server_routes
from cove.compute.servers import InvalidRequest
from tests.unit.compute.conftest import Bench
from tests.unit.compute.fakes import NETWORK

UNKNOWN = "99999999-0000-0000-0000-000000000000"
BODY = {"server": {"name": "vm1", "networks": [{"uuid": NETWORK.id}], "cove:disk_bytes": 64 << 20, "flavorRef": "1"}}


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=server_routes(lambda: bench.service, project_id="demo"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cove") as client:
        yield client


async def create(client: httpx.AsyncClient, bench: Bench) -> str:
    answer = await client.post("/v2.1/servers", json=BODY)
    assert answer.status_code == 202, answer.text
    server_id = str(answer.json()["server"]["id"])
    assert answer.headers["Location"] == f"http://cove/v2.1/servers/{server_id}"
    await bench.service.wait(server_id, 10)
    return server_id


async def test_the_life_of_a_server(client: httpx.AsyncClient, bench: Bench) -> None:
    server_id = await create(client, bench)
    server = (await client.get(f"/v2.1/servers/{server_id}")).json()["server"]
    assert server["status"] == "ACTIVE"
    assert (server["OS-EXT-STS:power_state"], server["OS-EXT-STS:vm_state"]) == (1, "active")
    address = {"version": 4, "addr": "1.1.1.10", "OS-EXT-IPS:type": "fixed"}
    assert server["addresses"] == {"lan": [{**address, "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01"}]}
    assert server["cove:disk"] == {"pool": "rbd", "name": "vm1-disk", "size_bytes": 64 << 20}
    assert server["cove:console_socket"].endswith(f"/{server_id}/serial.sock")
    assert "fault" not in server

    action = f"/v2.1/servers/{server_id}/action"
    output = await client.post(action, json={"os-getConsoleOutput": {"length": "2"}})
    assert output.json()["output"].startswith("disk=vda")
    assert (await client.post(action, json={"os-stop": None})).status_code == 202
    await bench.service.wait(server_id, 10)
    assert (await client.get(f"/v2.1/servers/{server_id}")).json()["server"]["status"] == "SHUTOFF"
    assert (await client.post(action, json={"os-start": None})).status_code == 202
    await bench.service.wait(server_id, 10)
    assert (await client.delete(f"/v2.1/servers/{server_id}")).status_code == 204
    assert (await client.get(f"/v2.1/servers/{server_id}")).status_code == 404


async def test_lists(client: httpx.AsyncClient, bench: Bench) -> None:
    server_id = await create(client, bench)
    link = {"rel": "self", "href": f"http://cove/v2.1/servers/{server_id}"}
    short = {"servers": [{"id": server_id, "name": "vm1", "links": [link]}]}
    assert (await client.get("/v2.1/servers")).json() == short
    assert (await client.get("/v2.1/servers?name=^vm1$&status=active")).json() == short
    for nothing in ("name=vm2", "status=error"):
        assert (await client.get(f"/v2.1/servers?{nothing}")).json() == {"servers": []}
    [server] = (await client.get("/v2.1/servers/detail")).json()["servers"]
    assert server == (await client.get(f"/v2.1/servers/{server_id}")).json()["server"]


async def test_a_fault_is_shown(client: httpx.AsyncClient, bench: Bench) -> None:
    bench.world.fail.add("launch")
    server_id = await create(client, bench)
    server = (await client.get(f"/v2.1/servers/{server_id}")).json()["server"]
    assert server["status"] == "ERROR"
    assert server["fault"]["message"] == "launch"
    assert server["fault"]["code"] == 500


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "member"),
    [
        ("GET", f"/{UNKNOWN}", None, 404, "itemNotFound"),
        ("GET", "/vm1", None, 404, "itemNotFound"),
        ("DELETE", f"/{UNKNOWN}", None, 404, "itemNotFound"),
        ("POST", f"/{UNKNOWN}/action", b'{"os-start": null}', 404, "itemNotFound"),
        ("POST", f"/{UNKNOWN}/action", b'{"dance": null}', 400, "badRequest"),
        ("POST", f"/{UNKNOWN}/action", b"{}", 400, "badRequest"),
        ("POST", f"/{UNKNOWN}/action", b'{"os-getConsoleOutput": {"length": -5}}', 400, "badRequest"),
        ("POST", f"/{UNKNOWN}/action", b'{"os-getConsoleOutput": 5}', 400, "badRequest"),
        ("POST", "", b"{", 400, "badRequest"),
        ("POST", "", b'{"server": {"name": "vm1", "networks": [{"uuid": "none"}]}}', 400, "badRequest"),
        ("POST", "", b'{"server": {"name": "vm1", "networks": [{"port": "00"}]}}', 400, "badRequest"),
    ],
)
async def test_errors_have_novas_form(
    client: httpx.AsyncClient, method: str, path: str, body: bytes | None, status: int, member: str
) -> None:
    answer = await client.request(method, f"/v2.1/servers{path}", content=body)
    assert answer.status_code == status
    assert answer.json()[member]["code"] == status
    assert answer.json()[member]["message"]


async def test_conflicts(client: httpx.AsyncClient, bench: Bench) -> None:
    server_id = await create(client, bench)
    for path, body in (("", BODY), (f"/{server_id}/action", {"os-start": None})):
        answer = await client.post(f"/v2.1/servers{path}", json=body)
        assert answer.status_code == 409
        assert "conflictingRequest" in answer.json()


@pytest.mark.parametrize(
    "server",
    [
        None,
        [],
        {},
        {"name": "vm1"},
        {"name": "vm1", "networks": "auto"},
        {"name": "vm1", "networks": []},
        {"name": "vm1", "networks": [{"uuid": "a"}, {"uuid": "b"}]},
        {"name": "vm1", "networks": [{}]},
        {"name": "vm1", "networks": [{"uuid": 5}]},
        {"name": "vm1", "networks": [{"uuid": "a", "tag": "x"}]},
        {"name": 5, "networks": [{"uuid": "a"}]},
        {"name": "vm1", "networks": [{"uuid": "a"}], "user_data": "x"},
        {"name": "vm1", "networks": [{"uuid": "a"}], "cove:disk_bytes": "1G"},
        {"name": "vm1", "networks": [{"uuid": "a"}], "cove:memory_mb": True},
        {"name": "vm1", "networks": [{"uuid": "a"}], "max_count": 2},
    ],
)
def test_bodies_that_cannot_be(server: Any) -> None:
    with pytest.raises(InvalidRequest):
        parse_boot({"server": server}, "demo")


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [("", "vm1", True), ("m", "vm1", True), ("^vm", "vm1", True), ("^m", "vm1", False), ("1$", "vm1", True),
     ("v$", "vm1", False), ("^vm1$", "vm1", True), ("^vm1$", "vm11", False), (r"^vm\-1$", "vm-1", True)],
)  # fmt: skip
def test_name_filter(pattern: str, name: str, wanted: bool) -> None:
    assert name_matches(pattern, name) is wanted
