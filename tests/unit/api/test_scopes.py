"""What tokens that are for no project may do in Networking: see that it is there, and nothing of anybody's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar

import httpx
import pytest

from cove.api import create_app
from cove.api.auth import Unauthorized
from cove.network.context import RequestContext
from cove.network.registry import RESOURCES
from tests.unit.api.conftest import TOKEN
from tests.unit.network.fakes import Cloud

UNSCOPED = RequestContext("", is_admin=False, request_id="", user_id="u", roles=frozenset())
ALL_ROLES = frozenset({"admin", "manager", "member", "reader"})


class Known:
    """Tokens without a project."""

    tokens: ClassVar = {
        "unscoped": UNSCOPED,
        "domain": replace(UNSCOPED, domain_id="d", roles=ALL_ROLES),
        "system": replace(UNSCOPED, system_scope="all", roles=ALL_ROLES),
        "system reader": replace(UNSCOPED, system_scope="all", roles=frozenset({"reader"})),
        "member": replace(UNSCOPED, project_id="p", roles=frozenset({"member", "reader"})),
    }

    async def authenticate(self, token: str) -> RequestContext:
        try:
            return self.tokens[token]
        except KeyError:
            raise Unauthorized("no") from None


@pytest.fixture
async def http(c: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(c.settings, c.service, [], TOKEN, authenticator=Known(), is_admin=c.service.policy.is_admin)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cove.test") as client:
        yield client


async def shared_things(http: httpx.AsyncClient) -> dict[str, Any]:
    """A network, its subnet, and a pool that are shared with all projects; collection → the object."""
    made: dict[str, Any] = {}
    for collection, attributes in (
        ("networks", {"name": "shared", "shared": True}),
        ("subnets", {"ip_version": 4, "cidr": "192.0.2.0/24"}),
        ("subnetpools", {"name": "pool", "prefixes": ["10.0.0.0/8"], "shared": True}),
    ):
        if collection == "subnets":
            attributes["network_id"] = made["networks"]["id"]
        resource = collection.removesuffix("s")
        response = await http.post(f"/v2.0/{collection}", json={resource: attributes}, headers={"X-Auth-Token": TOKEN})
        assert response.status_code == 201, response.text
        made[collection] = response.json()[resource]
    return made


@pytest.mark.parametrize("name", [name for name in Known.tokens if name != "member"])
async def test_they_see_nothing_and_change_nothing(http: httpx.AsyncClient, name: str) -> None:
    made = await shared_things(http)
    headers = {"X-Auth-Token": name}
    for resource in RESOURCES.values():
        path = f"/v2.0/{resource.attributes.collection.replace('_', '-')}"
        answer = await http.get(path, headers=headers)
        assert answer.status_code == 403 or answer.json() == {resource.attributes.collection: []}, path
        body = {resource.attributes.resource: {"project_id": "p", "tenant_id": "p"}}
        assert 400 <= (await http.post(path, json=body, headers=headers)).status_code < 500
    for collection, found in made.items():
        path = f"/v2.0/{collection}/{found['id']}"
        assert (await http.get(path, headers=headers)).status_code == 404
        assert (await http.get(path, headers={"X-Auth-Token": "member"})).status_code == 200, "is shared with projects"
        body = {collection.removesuffix("s"): {"name": "mine"}}
        assert (await http.put(path, json=body, headers=headers)).status_code in (403, 404)
        assert (await http.delete(path, headers=headers)).status_code in (403, 404)
        assert (await http.get(f"{path}/tags", headers=headers)).status_code in (403, 404)
    for path in ("/v2.0/quotas", "/v2.0/quotas/p", "/v2.0/quotas/p/details.json"):
        assert (await http.get(path, headers=headers)).status_code == 403
    port = {"port": {"network_id": made["networks"]["id"], "project_id": "p"}}
    assert (await http.post("/v2.0/ports", json=port, headers=headers)).status_code in (400, 403, 404)
    for network in (await http.get("/v2.0/networks", headers={"X-Auth-Token": TOKEN})).json()["networks"]:
        assert network["name"] == "shared", "nothing was made"
