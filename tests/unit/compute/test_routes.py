"""`/v2.1/servers` over HTTP: Nova's forms in, Nova's forms out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from cove.compute.network_api import Network
from cove.compute.routes import name_matches, parse_boot, server_routes
from cove.compute.servers import InvalidRequest
from tests.unit.compute import fakes
from tests.unit.compute.conftest import Bench
from tests.unit.compute.fakes import NETWORK

UNKNOWN = "99999999-0000-0000-0000-000000000000"
BODY: dict[str, Any] = {
    "server": {"name": "vm1", "networks": [{"uuid": NETWORK.id}], "cove:disk_bytes": 64 << 20, "flavorRef": "1"}
}


@dataclass(frozen=True)
class Caller:
    """What whoever lets requests in leaves in the scope."""

    project_id: str
    is_admin: bool = False
    roles: frozenset[str] = frozenset({"member", "reader"})


ANN, BEN = Caller("ann"), Caller("ben")
READER = Caller("ann", roles=frozenset({"reader"}))
ADMIN = Caller("admins", is_admin=True, roles=frozenset({"admin"}))
OPERATOR = Caller("demo", is_admin=True, roles=frozenset({"admin"}))


@pytest.fixture
def as_caller(bench: Bench) -> Callable[[Caller], httpx.AsyncClient]:
    routes = Starlette(routes=server_routes(lambda: bench.service, project_id="demo"))

    def client(caller: Caller) -> httpx.AsyncClient:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["cove.context"] = caller
            await routes(scope, receive, send)

        headers = {"X-Auth-Token": f"token-of-{caller.project_id}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cove", headers=headers)

    return client


@pytest.fixture
async def client(as_caller: Callable[[Caller], httpx.AsyncClient]) -> AsyncIterator[httpx.AsyncClient]:
    async with as_caller(OPERATOR) as client:
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


# -- who asks ----------------------------------------------------------------------------------------------------------


async def test_servers_of_another_project_are_not_there(
    as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench
) -> None:
    ann, ben, admin = as_caller(ANN), as_caller(BEN), as_caller(ADMIN)
    server_id = await create(ann, bench)
    assert bench.fakes.network.requests[0].project_id == "ann"
    path = f"/v2.1/servers/{server_id}"
    missing = (await ben.get(f"/v2.1/servers/{UNKNOWN}")).json()
    for method, where, body in (
        ("GET", path, None),
        ("DELETE", path, None),
        ("POST", f"{path}/action", {"os-stop": None}),
        ("POST", f"{path}/action", {"os-start": None}),
        ("POST", f"{path}/action", {"os-getConsoleOutput": {}}),
    ):
        answer = await ben.request(method, where, json=body)
        assert answer.status_code == 404
        assert answer.json()["itemNotFound"]["message"] == missing["itemNotFound"]["message"].replace(
            UNKNOWN, server_id
        )
    for query in ("", "?name=vm1", "?status=active"):
        assert (await ben.get(f"/v2.1/servers{query}")).json() == {"servers": []}
        assert (await ben.get(f"/v2.1/servers/detail{query}")).json() == {"servers": []}
    assert (await ann.get(path)).json()["server"]["tenant_id"] == "ann"

    # The same name, and nothing of the other's is touched or told.
    other_id = await create(ben, bench)
    disks = [(await client.get(f"/v2.1/servers/{found}")).json()["server"]["cove:disk"]["name"]
             for client, found in ((ann, server_id), (ben, other_id))]  # fmt: skip
    assert disks == [f"vm1-disk-{found[:8]}" for found in (server_id, other_id)]

    assert (await admin.get("/v2.1/servers")).json() == {"servers": []}
    every = (await admin.get("/v2.1/servers?all_tenants=1")).json()["servers"]
    assert {found["id"] for found in every} == {server_id, other_id}
    assert (await admin.get(path)).status_code == 200
    assert (await ben.get("/v2.1/servers?all_tenants=1")).status_code == 403
    assert (await ben.get("/v2.1/servers?all_tenants=0")).status_code == 200
    assert (await admin.delete(path)).status_code == 204


async def test_where_the_console_is_on_the_host_is_the_operators_business(
    as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench
) -> None:
    server_id = await create(as_caller(ANN), bench)
    for caller, told in ((ANN, False), (READER, False), (ADMIN, True)):
        [server] = (await as_caller(caller).get("/v2.1/servers/detail?all_tenants=" + "01"[told])).json()["servers"]
        assert server["id"] == server_id
        assert ("cove:console_socket" in server, "cove:console_log" in server) == (told, told)


@pytest.mark.parametrize("caller", [Caller(""), Caller("", is_admin=True)])
async def test_a_server_belongs_to_a_project(
    as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench, caller: Caller
) -> None:
    answer = await as_caller(caller).post("/v2.1/servers", json=BODY)
    assert answer.status_code == 403
    assert "scoped" in answer.json()["forbidden"]["message"]
    assert (await as_caller(caller).get("/v2.1/servers")).json() == {"servers": []}
    assert await bench.service.list() == []


async def test_a_request_of_nobody_gets_no_answer(bench: Bench) -> None:
    routes = Starlette(routes=server_routes(lambda: bench.service, project_id="demo"))
    transport = httpx.ASGITransport(routes, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cove") as client:
        assert (await client.get("/v2.1/servers")).status_code == 500
        assert (await client.get(f"/v2.1/servers/{UNKNOWN}")).status_code in (404, 500)


async def test_a_port_of_another_project_is_not_taken(
    as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench
) -> None:
    """The owner of a network sees all ports on it; a server on one of them would be in its owner's place."""
    network = bench.fakes.network
    theirs, own = network.add(), network.add()
    await network.update(theirs.id, project_id="ben")
    await network.update(own.id, project_id="ann")

    def body(port_id: str) -> dict[str, Any]:
        return {"server": {"name": "vm1", "networks": [{"port": port_id}], "cove:disk_bytes": 64 << 20}}

    answer = await as_caller(ANN).post("/v2.1/servers", json=body(theirs.id))
    assert answer.status_code == 400
    assert "not ann's to use" in answer.json()["badRequest"]["message"]
    assert network.ports[theirs.id].device_id == ""
    for caller, port_id in ((ANN, own.id), (ADMIN, theirs.id)):
        server_id = (await as_caller(caller).post("/v2.1/servers", json=body(port_id))).json()["server"]["id"]
        await bench.service.wait(server_id, 10)
        assert network.ports[port_id].device_id == server_id


async def test_only_its_owner_chooses_addresses_in_a_network(
    as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes, "NETWORK", Network(id=NETWORK.id, name="lan", project_id="ann", shared=True))
    place = {"uuid": NETWORK.id, "fixed_ip": "1.1.1.77"}
    body = {"server": {"name": "vm1", "networks": [place], "cove:disk_bytes": 64 << 20}}
    answer = await as_caller(BEN).post("/v2.1/servers", json=body)
    assert answer.status_code == 400
    assert "fixed_ip 1.1.1.77" in answer.json()["badRequest"]["message"]
    for caller in (ANN, ADMIN):
        assert (await as_caller(caller).post("/v2.1/servers", json=body)).status_code == 202


async def test_a_reader_only_looks(as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench) -> None:
    server_id = await create(as_caller(ANN), bench)
    reader = as_caller(READER)
    assert (await reader.get(f"/v2.1/servers/{server_id}")).status_code == 200
    assert (await reader.post("/v2.1/servers", json=BODY)).status_code == 403
    assert (await reader.delete(f"/v2.1/servers/{server_id}")).status_code == 403
    assert (await reader.post(f"/v2.1/servers/{server_id}/action", json={"os-stop": None})).status_code == 403


async def test_what_a_request_names_is_looked_up_with_the_callers_eyes(
    as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench
) -> None:
    await create(as_caller(ANN), bench)
    assert bench.fakes.network.asked[0] == {"x-auth-token": "token-of-ann"}
    assert bench.fakes.network.asked[1] is None  # what happens later is the service's own business
    bench.fakes.network.asked.clear()
    await create(as_caller(ADMIN), bench)
    assert set(bench.fakes.network.asked) == {None}


async def test_an_external_network_is_seen_but_not_used(
    as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    external = Network(id=NETWORK.id, name="lan", project_id="admins", external=True)
    monkeypatch.setattr(fakes, "NETWORK", external)
    answer = await as_caller(ANN).post("/v2.1/servers", json=BODY)
    assert answer.status_code == 400
    assert "external" in answer.json()["badRequest"]["message"]
    await create(as_caller(ADMIN), bench)


async def test_security_groups(as_caller: Callable[[Caller], httpx.AsyncClient], bench: Bench) -> None:
    ann = as_caller(ANN)
    body = {"server": {**BODY["server"], "security_groups": [{"name": "web"}]}}
    server_id = (await ann.post("/v2.1/servers", json=body)).json()["server"]["id"]
    await bench.service.wait(server_id, 10)
    assert bench.fakes.network.requests[0].security_groups == (bench.fakes.network.groups[0].id,)
    wrongs: tuple[Any, ...] = ([{"name": "none"}], ["web"], [{}], "web")
    for wrong in wrongs:
        body = {"server": {**BODY["server"], "name": "vm2", "security_groups": wrong}}
        assert (await ann.post("/v2.1/servers", json=body)).status_code == 400
