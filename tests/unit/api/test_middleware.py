from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from cove.api import create_app
from cove.api.middleware import BODY_BYTES_MAX
from cove.network import DEMO_PROJECT_ID
from tests.unit.api.conftest import TOKEN
from tests.unit.network.fakes import Cloud

PATHS = ["/v2.0/ports", "/v2.0/", "/v2.0/extensions", "/v2.1/x", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "the-toke", "the-token2", "THE-TOKEN", "t\u00f6ken"])
async def test_without_the_token(api: httpx.AsyncClient, path: str, token: str | None) -> None:
    headers = {} if token is None else {b"X-Auth-Token": token.encode()}
    del api.headers["X-Auth-Token"]
    response = await api.get(path, headers=headers)
    assert response.status_code == 401
    error = response.json()["error"]
    assert (error["code"], error["title"]) == (401, "Unauthorized")
    assert response.headers["www-authenticate"].startswith("Keystone")
    assert TOKEN not in response.text


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_paths_that_need_none(api: httpx.AsyncClient, path: str) -> None:
    del api.headers["X-Auth-Token"]
    assert (await api.get(path)).status_code == 200


def test_an_empty_token_is_refused(c: Cloud) -> None:
    with pytest.raises(ValueError, match="not empty"):
        create_app(c.settings, c.service, (), "")


def _network(size: int) -> bytes:
    frame = b'{"network": {"name": ""}}'
    return frame[:-2] + b" " * (size - len(frame)) + frame[-2:]


@pytest.mark.parametrize(("size", "code"), [(BODY_BYTES_MAX, 201), (BODY_BYTES_MAX + 1, 413)])
async def test_the_limit_of_the_body(api: httpx.AsyncClient, size: int, code: int) -> None:
    response = await api.post("/v2.0/networks", content=_network(size))
    assert response.status_code == code


@pytest.mark.parametrize(("size", "code"), [(BODY_BYTES_MAX, 201), (BODY_BYTES_MAX + 1, 413)])
async def test_the_limit_without_an_announced_length(api: httpx.AsyncClient, size: int, code: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        body = _network(size)
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    response = await api.post("/v2.0/networks", content=chunks())
    assert response.status_code == code
    if code == 413:
        assert response.json()["NeutronError"]["type"] == "HTTPRequestEntityTooLarge"
        assert len((await api.get("/v2.0/networks")).json()["networks"]) == 0


async def test_the_project(api: httpx.AsyncClient) -> None:
    async def project(headers: dict[str, str], **attributes: str) -> str:
        response = await api.post("/v2.0/networks", json={"network": attributes}, headers=headers)
        assert response.status_code == 201
        network = response.json()["network"]
        assert network["project_id"] == network["tenant_id"]
        return str(network["project_id"])

    assert await project({}) == DEMO_PROJECT_ID
    assert await project({"X-Project-Id": "p1"}) == "p1"
    assert await project({"X-Project-Id": "p1"}, tenant_id="p2") == "p2"
    response = await api.get("/v2.0/networks", headers={"X-Project-Id": "a b"})
    assert (response.status_code, response.json()["NeutronError"]["type"]) == (400, "HTTPBadRequest")


async def test_extra_routes(api: httpx.AsyncClient) -> None:
    assert (await api.get("/v2.1/servers")).json() == {"extra": "servers"}


async def test_every_request_has_an_id_of_its_own(api: httpx.AsyncClient) -> None:
    ids = {(await api.get(path)).headers["x-openstack-request-id"] for path in ("/", "/v2.0/ports", "/nothing")}
    assert len(ids) == 3
