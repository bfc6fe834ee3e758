"""The wire form of every refusal: HTTP code, type, and a message that names what was wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from cove.network import errors

NOBODY = "00000000-0000-4000-8000-000000000000"


def every_class(root: type[errors.NetworkingError]) -> list[type[errors.NetworkingError]]:
    return [root, *(found for sub in root.__subclasses__() for found in every_class(sub))]


CODES: Mapping[type[errors.NetworkingError], int] = {
    errors.NetworkingError: 500,
    errors.BadRequest: 400,
    errors.NotAuthorized: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.RevisionNumberConstraintFailed: 412,
    errors.ServiceUnavailable: 503,
    errors.OutcomeUnknown: 504,
}
"""The classes that say a code. All others have that of the nearest one above them."""

DECIDED_BY = {
    # What clients (Nova, openstacksdk, Terraform, Heat) look at, and not only at the code.
    400: "HTTPBadRequest InvalidInput InvalidIpForNetwork InvalidIpForSubnet SubnetPoolDeleteError",
    403: "PolicyNotAuthorized",
    404: "NetworkNotFound SubnetNotFound PortNotFound SecurityGroupNotFound SecurityGroupRuleNotFound HTTPNotFound",
    409: "NetworkInUse SubnetInUse MacAddressInUse IpAddressAlreadyAllocated IpAddressGenerationFailure OverQuota"
    " PortBound SecurityGroupInUse SecurityGroupRuleExists GatewayIpInUse InvalidSharedSetting RbacPolicyInUse",
    412: "RevisionNumberConstraintFailed",
}


def test_a_code_comes_from_one_place() -> None:
    for error in every_class(errors.NetworkingError):
        nearest = next(base for base in error.__mro__ if base in CODES)
        assert error.code == CODES[nearest], error
        assert ("code" in vars(error)) == (error in CODES), f"{error} says a code of its own"


def test_types_are_unique() -> None:
    types = [error.type for error in every_class(errors.NetworkingError)]
    assert sorted(types) == sorted(set(types))


@pytest.mark.parametrize(("code", "types"), DECIDED_BY.items())
def test_what_clients_decide_by(code: int, types: str) -> None:
    by_type = {error.type: error for error in every_class(errors.NetworkingError)}
    assert {name: by_type[name].code for name in types.split()} == dict.fromkeys(types.split(), code)


def test_every_error_can_happen() -> None:
    """A class that nothing raises, and nothing builds on, is a promise that nobody keeps."""
    sources = Path(errors.__file__).parents[2]
    text = "\n".join(path.read_text() for path in sources.rglob("*.py") if path.parent.name != "errors")
    for error in every_class(errors.NetworkingError):
        used = re.search(rf"\berrors\.{error.__name__}\b", text)
        assert used or error.__subclasses__() or error.__name__ in NOT_FOUND, error.__name__


NOT_FOUND = {kind.__name__ for kind, _ in errors.NOT_FOUND.values()}


CASES: list[tuple[str, str, Any, int, str, str]] = [
    # method, path, JSON body, code, type, what the message names
    ("POST", "/v2.0/networks", {"network": {"colour": 1}}, 400, "HTTPBadRequest", "'colour'"),
    ("POST", "/v2.0/networks", {"network": {"id": NOBODY}}, 400, "HTTPBadRequest", "'id' cannot be given"),
    ("POST", "/v2.0/networks", {"network": {"mtu": -1}}, 400, "HTTPBadRequest", "mtu"),
    ("POST", "/v2.0/networks", {"network": {"mtu": 1501}}, 400, "InvalidInput", "1501"),
    ("POST", "/v2.0/networks", {"network": {"mtu": "x"}}, 400, "InvalidInput", "mtu"),
    ("POST", "/v2.0/networks", {"network": {"name": "a\nb"}}, 400, "HTTPBadRequest", "control character"),
    ("POST", "/v2.0/networks", {"network": []}, 400, "HTTPBadRequest", "'network' must be an object"),
    ("POST", "/v2.0/networks", {"net": {}}, 400, "HTTPBadRequest", "no object 'network'"),
    ("POST", "/v2.0/networks", {}, 400, "HTTPBadRequest", "needs a body"),
    ("POST", "/v2.0/networks", [], 400, "HTTPBadRequest", "needs a body"),
    ("POST", "/v2.0/networks", {"networks": []}, 400, "HTTPBadRequest", "at least one"),
    ("POST", "/v2.0/networks", {"networks": {}}, 400, "HTTPBadRequest", "must be a list"),
    ("POST", "/v2.0/ports", {"ports": [{"network_id": NOBODY}] * 1001}, 400, "HTTPBadRequest", "at most 1000"),
    ("POST", "/v2.0/subnets", {"subnet": {"network_id": "N", "ip_version": 4}}, 400, "BadRequest", "cidr"),
    (
        "POST",
        "/v2.0/subnets",
        {"subnet": {"network_id": "N", "ip_version": 4, "cidr": "x"}},
        400,
        "InvalidInput",
        "x",
    ),
    (
        "POST",
        "/v2.0/subnets",
        {"subnet": {"network_id": "N", "ip_version": 4, "cidr": "2001:db8::/64"}},
        400,
        "InvalidInput",
        "2001:db8::/64",
    ),
    (
        "POST",
        "/v2.0/subnets",
        {"subnet": {"network_id": "N", "ip_version": 4, "cidr": "192.0.2.0/25"}},
        400,
        "InvalidInput",
        "overlaps",
    ),
    (
        "POST",
        "/v2.0/subnets",
        {"subnet": {"network_id": "N", "ip_version": 4, "cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.255"}},
        400,
        "InvalidInput",
        "10.0.0.255",
    ),
    (
        "POST",
        "/v2.0/subnets",
        {
            "subnet": {
                "network_id": "N",
                "ip_version": 4,
                "cidr": "10.0.0.0/24",
                "allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.9"}],
            }
        },
        409,
        "GatewayConflictWithAllocationPools",
        "10.0.0.1",
    ),
    ("POST", "/v2.0/ports", {"port": {}}, 400, "HTTPBadRequest", "'network_id'"),
    ("POST", "/v2.0/ports", {"port": {"network_id": NOBODY}}, 404, "NetworkNotFound", NOBODY),
    (
        "POST",
        "/v2.0/ports",
        {"port": {"network_id": "N", "fixed_ips": [{"ip_address": "10.0.0.1"}]}},
        400,
        "InvalidIpForNetwork",
        "10.0.0.1",
    ),
    (
        "POST",
        "/v2.0/ports",
        {"port": {"network_id": "N", "fixed_ips": [{"subnet_id": "S", "ip_address": "10.0.0.1"}]}},
        400,
        "InvalidIpForSubnet",
        "10.0.0.1",
    ),
    (
        "POST",
        "/v2.0/ports",
        {"port": {"network_id": "N", "fixed_ips": [{"ip_address": "192.0.2.2"}]}},
        409,
        "IpAddressAlreadyAllocated",
        "192.0.2.2",
    ),
    ("POST", "/v2.0/ports", {"port": {"network_id": "N", "mac_address": "MAC"}}, 409, "MacAddressInUse", "MAC"),
    (
        "POST",
        "/v2.0/ports",
        {"ports": [{"network_id": "N"}] * 6},
        409,
        "IpAddressGenerationFailure",
        "no more IP addresses",
    ),
    ("PUT", "/v2.0/networks/N", {"network": {"status": "DOWN"}}, 400, "HTTPBadRequest", "'status'"),
    ("PUT", "/v2.0/networks/N", {"port": {}}, 400, "HTTPBadRequest", "no object 'network'"),
    ("PUT", f"/v2.0/networks/{NOBODY}", {"network": {}}, 404, "NetworkNotFound", NOBODY),
    ("PUT", f"/v2.0/subnets/{NOBODY}", {"subnet": {}}, 404, "SubnetNotFound", NOBODY),
    ("PUT", f"/v2.0/ports/{NOBODY}", {"port": {}}, 404, "PortNotFound", NOBODY),
    ("GET", "/v2.0/networks/demo", None, 404, "NetworkNotFound", "demo"),
    ("GET", f"/v2.0/subnets/{NOBODY}", None, 404, "SubnetNotFound", NOBODY),
    ("GET", f"/v2.0/ports/{NOBODY}", None, 404, "PortNotFound", NOBODY),
    ("GET", "/v2.0/ports?colour=red", None, 400, "HTTPBadRequest", "'colour'"),
    ("GET", "/v2.0/ports?admin_state_up=x", None, 400, "InvalidInput", "admin_state_up"),
    ("GET", "/v2.0/ports?fixed_ips=x", None, 400, "InvalidInput", "fixed_ips"),
    ("GET", "/v2.0/ports?sort_key=fixed_ips", None, 400, "HTTPBadRequest", "fixed_ips"),
    ("GET", "/v2.0/ports?sort_key=name&sort_dir=up", None, 400, "HTTPBadRequest", "'up'"),
    ("GET", "/v2.0/ports?sort_dir=asc", None, 400, "HTTPBadRequest", "sort_dir"),
    ("GET", "/v2.0/ports?limit=-1", None, 400, "BadRequest", "'-1'"),
    ("GET", "/v2.0/ports?limit=5&marker=x", None, 404, "PortNotFound", "port x"),
    ("DELETE", "/v2.0/networks/N", None, 409, "NetworkInUse", "PORT"),
    ("DELETE", "/v2.0/subnets/S", None, 409, "SubnetInUse", "PORT"),
    ("DELETE", f"/v2.0/ports/{NOBODY}", None, 404, "PortNotFound", NOBODY),
    ("GET", "/v2.0/routers", None, 404, "HTTPNotFound", "/v2.0/routers"),
    ("GET", "/v3/auth/tokens", None, 404, "HTTPNotFound", "/v3/auth/tokens"),
    ("PATCH", "/v2.0/ports", {}, 405, "HTTPMethodNotAllowed", "PATCH"),
    ("GET", "/v2.0/extensions/router", None, 404, "HTTPNotFound", "'router'"),
]


def _replaced(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize(("method", "path", "body", "code", "kind", "names"), CASES)
async def test_refusals(
    api: httpx.AsyncClient, method: str, path: str, body: Any, code: int, kind: str, names: str
) -> None:
    network = (await api.post("/v2.0/networks", json={"network": {}})).json()["network"]["id"]
    subnet_body = {"network_id": network, "ip_version": 4, "cidr": "192.0.2.0/29"}
    subnet = (await api.post("/v2.0/subnets", json={"subnet": subnet_body})).json()["subnet"]["id"]
    port = (await api.post("/v2.0/ports", json={"port": {"network_id": network}})).json()["port"]
    known = {"N": network, "S": subnet, "MAC": port["mac_address"], "PORT": port["id"]}
    path = "/".join(known.get(part, part) for part in path.split("/"))
    before = (await api.get("/v2.0/ports")).json(), (await api.get("/v2.0/networks")).json()
    response = await api.request(method, path, json=_replaced(body, known) if body is not None else None)
    assert response.status_code == code, response.text
    answer = response.json()
    assert list(answer) == ["NeutronError"]
    assert set(answer["NeutronError"]) == {"type", "message", "detail"}
    assert answer["NeutronError"]["type"] == kind
    assert known.get(names, names) in answer["NeutronError"]["message"]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-openstack-request-id"].startswith("req-")
    assert ((await api.get("/v2.0/ports")).json(), (await api.get("/v2.0/networks")).json()) == before


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "content",
    [b"{", b'{"network": }', b"\xff\xfe", b'{"network": {"name": "\xff"}}', b"nothing", b"[" * 100_000, b"{} {}"],
)
async def test_malformed_json(api: httpx.AsyncClient, method: str, content: bytes) -> None:
    path = "/v2.0/networks" if method == "POST" else f"/v2.0/networks/{NOBODY}"
    response = await api.request(method, path, content=content)
    assert response.status_code == 400
    assert response.json()["NeutronError"]["type"] == "MalformedRequestBody"


async def test_no_body(api: httpx.AsyncClient) -> None:
    response = await api.post("/v2.0/networks")
    assert (response.status_code, response.json()["NeutronError"]["type"]) == (400, "HTTPBadRequest")


async def test_our_own_mistakes_are_not_shown(api: httpx.AsyncClient) -> None:
    response = await api.get("/v2.1/x?fail=1")
    assert response.status_code == 500
    assert response.json()["NeutronError"]["type"] == "HTTPInternalServerError"
    assert "secret" not in response.text
