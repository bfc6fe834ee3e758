"""Who a request is from: the machine's own token, tokens of the authenticator, paths for everybody, guarded paths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cove.api.auth import IdentityUnavailable, LocalToken, Unauthorized
from cove.api.middleware import Authenticate, BodyLimit, Guards, RequestId
from cove.network import DEMO_PROJECT_ID
from cove.network.context import ADMIN_ROLES, RequestContext

LOCAL = "the-machines"
MEMBER = RequestContext("p", is_admin=False, request_id="", user_id="u", roles=frozenset({"member", "reader"}))
ADMIN = replace(MEMBER, roles=frozenset({"admin", "member", "reader"}))
SYSTEM = replace(ADMIN, project_id="", system_scope="all")


class Known:
    """An authenticator with a handful of tokens."""

    tokens: ClassVar = {"member": MEMBER, "admin": ADMIN, "system": SYSTEM}

    async def authenticate(self, token: str) -> RequestContext:
        if token == "down":
            raise IdentityUnavailable("no answer from the secret place")
        if token == "broken":
            raise ValueError("a bug")
        try:
            return self.tokens[token]
        except KeyError:
            raise Unauthorized("no") from None


async def _who(request: Request) -> JSONResponse:
    context = request.scope.get("cove.context")
    if context is None:
        return JSONResponse({"open": True})
    return JSONResponse(
        {
            "project": context.project_id,
            "user": context.user_id,
            "admin": context.is_admin,
            "roles": sorted(context.roles),
            "system": context.system_scope,
            "same_id": context.request_id == request.scope["cove.request_id"],
            "local": bool(request.scope.get("cove.local")),
        }
    )


def client(**options: Any) -> httpx.AsyncClient:
    options = {"authenticator": Known(), **options}
    app = Starlette(
        routes=[Route("/{rest:path}", _who, methods=["GET", "POST"])],
        middleware=[
            Middleware(RequestId),
            Middleware(Authenticate, local=LocalToken(LOCAL), **options),
            Middleware(Guards),
            Middleware(BodyLimit),
        ],
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://cove.test")


async def get(path: str = "/x", token: str | bytes = "", headers: Any = None, **options: Any) -> httpx.Response:
    sent = dict(headers or {})
    if token:
        sent["X-Auth-Token"] = token
    async with client(**options) as http:
        return await http.get(path, headers=sent)


async def test_the_machines_own_token() -> None:
    shown = (await get(token=LOCAL)).json()
    assert shown == {
        "project": DEMO_PROJECT_ID,
        "user": "",
        "admin": True,
        "roles": sorted(ADMIN_ROLES),
        "system": "",
        "same_id": True,
        "local": True,
    }


@pytest.mark.parametrize(
    ("token", "project", "admin", "system"),
    [("member", "p", False, ""), ("admin", "p", True, ""), ("system", "", True, "all")],
)
async def test_tokens_of_the_authenticator(token: str, project: str, admin: bool, system: str) -> None:
    shown = (await get(token=token)).json()
    assert (shown["project"], shown["admin"], shown["system"]) == (project, admin, system)
    assert shown["user"] == "u"
    assert shown["same_id"]
    assert not shown["local"]


async def test_only_the_machines_own_token_chooses_its_project() -> None:
    other = {"X-Project-Id": "other"}
    assert (await get(token=LOCAL, headers=other)).json()["project"] == "other"
    assert (await get(token="admin", headers=other)).json()["project"] == "p"
    response = await get(token=LOCAL, headers={"X-Project-Id": "a b"})
    assert (response.status_code, response.json()["NeutronError"]["type"]) == (400, "HTTPBadRequest")


async def test_the_policy_decides_who_is_an_admin() -> None:
    def cooks(context: RequestContext) -> bool:
        return "member" in context.roles

    assert (await get(token="member", is_admin=cooks)).json()["admin"]
    assert not (await get(token="admin", is_admin=lambda context: False)).json()["admin"]


@pytest.mark.parametrize(
    "token", ["", "nobody", LOCAL[:-1], LOCAL + "x", LOCAL.upper(), "t\u00f6ken".encode(), b"\xff"]
)
async def test_strangers(token: str | bytes) -> None:
    response = await get(token=token)
    assert response.status_code == 401
    error = response.json()["error"]
    assert (error["code"], error["title"]) == (401, "Unauthorized")
    assert response.headers["www-authenticate"] == 'Keystone uri="http://cove.test/v3"'
    assert response.headers["x-openstack-request-id"].startswith("req-")


async def test_where_to_log_in_with_a_keystone() -> None:
    response = await get(identity_url="https://keystone.example/v3")
    assert response.headers["www-authenticate"] == 'Keystone uri="https://keystone.example/v3"'


async def test_without_an_authenticator_there_is_the_machines_own_token_only() -> None:
    assert (await get(token="admin", authenticator=None)).status_code == 401
    assert (await get(token=LOCAL, authenticator=None)).status_code == 200


async def test_when_nobody_can_tell() -> None:
    """503, not 401: a client must not throw its token away."""
    response = await get(token="down")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]["title"] == "Service Unavailable"
    assert "secret place" not in response.text


async def test_a_bug_is_not_the_clients_fault() -> None:
    assert (await get(token="broken")).status_code == 500


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_open_paths(path: str) -> None:
    for token in ("", "nobody", "member"):
        assert (await get(path, token)).json() == {"open": True}
    async with client() as http:
        assert (await http.head(path)).status_code == 200
        assert (await http.post(path)).status_code == 401, "open for reading"


@pytest.mark.parametrize("path", ["/healthz/", "/healthz%2F", "/healthz%00", "/%2e/healthz"])
async def test_nothing_else_is_open(path: str) -> None:
    assert (await get(path)).status_code == 401


@pytest.mark.parametrize(
    ("path", "member", "admin"),
    [
        ("/cove/v1/status", 403, 403),
        ("/cove/v1/shutdown", 403, 403),
        ("/cove/", 403, 403),
        ("/v2.1/servers", 200, 200),
        ("/v2.0/networks", 200, 200),
        ("/covered", 200, 200),
    ],
)
async def test_guards(path: str, member: int, admin: int) -> None:
    assert (await get(path, "member")).status_code == member
    assert (await get(path, "admin")).status_code == admin
    assert (await get(path, LOCAL)).status_code == 200
    assert (await get(path)).status_code == 401
    if member == 403:
        assert (await get(path, "member")).json()["error"]["code"] == 403


async def test_websockets_are_refused() -> None:
    sent: list[Any] = []

    async def app(*_: Any) -> None:
        raise AssertionError

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    await Authenticate(app, LocalToken(LOCAL))({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
