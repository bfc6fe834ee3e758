"""The client of the Networking API: requests it sends, and what it makes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cove.compute.network_api import (
    TRANSLATIONS,
    FixedIp,
    FixedIpAlreadyInUse,
    HttpNetworkApi,
    Network,
    NetworkAmbiguous,
    NetworkApiError,
    NetworkNotFound,
    NoMoreFixedIps,
    Port,
    PortInUse,
    PortLimitExceeded,
    PortNotFound,
    PortNotFree,
    PortRequest,
    check_binding,
)

NET, PORT = "11111111-0000-0000-0000-000000000001", "22222222-0000-0000-0000-000000000001"
PORT_FORM = {
    "id": PORT, "network_id": NET, "mac_address": "fa:16:3e:00:00:01", "status": "DOWN", "device_id": "vm",
    "fixed_ips": [{"subnet_id": "s", "ip_address": "1.1.1.10"}], "tags": [], "name": "",
}  # fmt: skip
REQUEST = PortRequest(network_id=NET, device_id="vm", host="host1", project_id="demo")


def api(answer: Callable[[httpx.Request], httpx.Response]) -> HttpNetworkApi:
    return HttpNetworkApi(httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://api"))


def refuse(status: int, kind: str, message: str = "no") -> Callable[[httpx.Request], httpx.Response]:
    body = {"NeutronError": {"type": kind, "message": message, "detail": ""}}
    return lambda _: httpx.Response(status, json=body)


async def test_create_port_sends_what_an_instance_is() -> None:
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(201, json={"port": PORT_FORM})

    macs = {"fa:16:3e:00:00:02", "fa:16:3e:00:00:01"}
    request = PortRequest(
        network_id=NET, device_id="vm", host="host1", project_id="demo", fixed_ip="1.1.1.10",
        security_groups=("sg",), available_macs=macs, extra_dhcp_opts=({"opt_name": "mtu", "opt_value": "1"},),
    )  # fmt: skip
    port = await api(answer).create_port(request)
    body = {
        "network_id": NET, "device_id": "vm", "device_owner": "compute:nova", "admin_state_up": True,
        "project_id": "demo", "binding:host_id": "host1", "fixed_ips": [{"ip_address": "1.1.1.10"}],
        "security_groups": ["sg"], "extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1"}],
        "mac_address": "fa:16:3e:00:00:01",
    }  # fmt: skip
    assert seen == [("POST", "/v2.0/ports", {"port": body})]
    assert macs == {"fa:16:3e:00:00:02"}
    assert port == Port(PORT, NET, "fa:16:3e:00:00:01", "DOWN", [FixedIp("1.1.1.10", "s")], "vm")


async def test_a_plain_port_asks_for_nothing_special() -> None:
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content)["port"])
        return httpx.Response(201, json={"port": PORT_FORM})

    await api(answer).create_port(REQUEST)
    assert not {"fixed_ips", "security_groups", "mac_address", "extra_dhcp_opts"} & set(seen[0])


CASES: list[tuple[int, str, type[NetworkApiError]]] = [
    (409, "IpAddressInUse", FixedIpAlreadyInUse),
    (409, "IpAddressAlreadyAllocated", FixedIpAlreadyInUse),
    (409, "OverQuota", PortLimitExceeded),
    (409, "IpAddressGenerationFailure", NoMoreFixedIps),
    (409, "IpAddressGenerationFailureAllSubnets", NoMoreFixedIps),
    (409, "MacAddressInUse", PortInUse),
]


def test_every_translation_is_tested() -> None:
    assert {kind for _, kind, _ in CASES} == set(TRANSLATIONS)


@pytest.mark.parametrize(("status", "kind", "wanted"), CASES)
async def test_translation(status: int, kind: str, wanted: type[NetworkApiError]) -> None:
    with pytest.raises(wanted) as caught:
        await api(refuse(status, kind)).create_port(REQUEST)
    assert type(caught.value) is wanted
    assert (caught.value.status, caught.value.type) == (status, kind)
    assert isinstance(caught.value.__cause__, NetworkApiError)


@pytest.mark.parametrize(("status", "kind"), [(400, "InvalidIpForNetwork"), (503, "Busy"), (409, "Conflict")])
async def test_other_errors_are_passed_on(status: int, kind: str) -> None:
    with pytest.raises(NetworkApiError, match="as it came") as caught:
        await api(refuse(status, kind, "as it came")).create_port(REQUEST)
    assert type(caught.value) is NetworkApiError
    assert (caught.value.status, caught.value.type) == (status, kind)


async def test_no_mac_left() -> None:
    request = PortRequest(network_id=NET, device_id="vm", host="h", project_id="p", available_macs=set())
    with pytest.raises(PortNotFree):
        await api(refuse(500, "never asked")).create_port(request)


async def test_a_fixed_ip_that_is_none() -> None:
    request = PortRequest(network_id=NET, device_id="vm", host="h", project_id="p", fixed_ip="1.1.1")
    with pytest.raises(NetworkApiError, match=r"fixed_ip '1\.1\.1'"):
        await api(refuse(500, "never asked")).create_port(request)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500, text="<html>oops</html>"),
        httpx.Response(401, json={"error": {"message": "who are you", "code": 401}}),
        httpx.Response(200, json={"something": "else"}),
        httpx.Response(200, json={"port": {"id": 5}}),
        httpx.Response(200, json=[]),
    ],
)
async def test_answers_that_make_no_sense(response: httpx.Response) -> None:
    with pytest.raises(NetworkApiError):
        await api(lambda _: response).show_port(PORT)


async def test_no_answer_at_all() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(NetworkApiError, match="connection refused"):
        await api(answer).show_port(PORT)


@pytest.mark.parametrize("port_id", ["", "../networks", "a?b", "a/b"])
async def test_an_id_that_is_none_never_gets_into_a_url(port_id: str) -> None:
    with pytest.raises(PortNotFound):
        await api(refuse(500, "never asked")).show_port(port_id)


async def test_what_is_gone_need_not_be_removed() -> None:
    gone = api(refuse(404, "PortNotFound"))
    await gone.delete_port(PORT)
    await gone.unbind_port(PORT)
    with pytest.raises(PortNotFound):
        await gone.show_port(PORT)


async def test_delete_has_no_body() -> None:
    await api(lambda _: httpx.Response(204)).delete_port(PORT)


async def test_bind_and_list() -> None:
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, str(request.url), request.content))
        key = "port" if request.url.path.endswith(PORT) else "ports"
        return httpx.Response(200, json={key: PORT_FORM if key == "port" else [PORT_FORM]})

    await api(answer).bind_port(PORT, device_id="vm", host="host1")
    assert [port.id for port in await api(answer).list_ports("vm")] == [PORT]
    assert [request[:2] for request in seen[:2]] == [(m, f"http://api/v2.0/ports/{PORT}") for m in ("GET", "PUT")]
    assert json.loads(seen[1][2])["port"]["binding:host_id"] == "host1"
    assert seen[2][:2] == ("GET", "http://api/v2.0/ports?device_id=vm")


@pytest.mark.parametrize(
    ("rivals", "error"),
    [(["", ""], None), (["", "other"], PortInUse), ([""] * 99, NetworkApiError)],
)
async def test_of_two_who_bind_a_port_at_once_one_gets_it(rivals: list[str], error: Any) -> None:
    """Whatever changes the port between the look and the change has it looked at again; `rivals`: whose it is then."""
    revision, device, waiting = 7, "", list(rivals)
    puts: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal revision, device
        if request.method == "PUT":
            puts.append(request.headers["If-Match"])
            if waiting:
                revision, device = revision + 1, waiting.pop(0)
            if puts[-1] != f"revision_number={revision}":
                form = {"type": "RevisionNumberConstraintFailed", "message": "no", "detail": ""}
                return httpx.Response(412, json={"NeutronError": form})
        return httpx.Response(200, json={"port": PORT_FORM | {"revision_number": revision, "device_id": device}})

    bind = api(answer).bind_port(PORT, device_id="vm", host="host1")
    if error is None:
        await bind
        assert puts == [f"revision_number={number}" for number in (7, 8, 9)]
    else:
        with pytest.raises(error):
            await bind
        assert len(puts) <= 5


@pytest.mark.parametrize(
    ("wanted", "networks", "found"),
    [
        ("lan", [{"id": "1", "name": "lan", "mtu": 1450}], Network("1", "lan", 1450)),
        ("1", [{"id": "1", "name": "lan"}, {"id": "2", "name": "1"}], Network("1", "lan")),
        ("lan", [{"id": "1", "name": "lan"}, {"id": "2", "name": "lan"}], NetworkAmbiguous),
        ("lan", [], NetworkNotFound),
        ("", [], NetworkNotFound),
    ],
)
async def test_find_network(wanted: str, networks: list[dict[str, Any]], found: Any) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        [(key, value)] = request.url.params.items()
        return httpx.Response(200, json={"networks": [n for n in networks if n[key] == value]})

    if isinstance(found, Network):
        assert await api(answer).find_network(wanted) == found
    else:
        with pytest.raises(found):
            await api(answer).find_network(wanted)


def test_check_binding() -> None:
    free, ours, theirs = (Port(PORT, NET, "m", "DOWN", device_id=device) for device in ("", "vm", "other"))
    check_binding(free, "vm")
    check_binding(ours, "vm")
    with pytest.raises(PortInUse, match="other"):
        check_binding(theirs, "vm")


async def test_who_asks() -> None:
    """Looking things up for somebody is done with that person's token, everything else with the service's own."""
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path.rpartition("/")[2], request.headers["x-auth-token"]))
        return httpx.Response(200, json={"networks": [{"id": "n"}], "security_groups": [{"id": "g"}], "subnets": []})

    client = httpx.AsyncClient(
        transport=httpx.MockTransport(answer), base_url="http://api", headers={"X-Auth-Token": "own"}
    )
    made = HttpNetworkApi(client)
    await made.find_network("n", credentials={"x-auth-token": "ann's"})
    await made.find_security_groups(["g"], project_id="p", credentials={"x-auth-token": "ann's"})
    await made.find_network("n")
    await made.list_subnets("n")
    assert seen == [("networks", "ann's"), ("security-groups", "ann's"), ("networks", "own"), ("subnets", "own")]
