"""The Networking API in memory, asked by named callers: for tests of who sees and does what."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from cove.api.middleware import answer
from cove.api.networking import networking_routes
from cove.api.responses import EXCEPTION_HANDLERS, unauthorized_body
from cove.network import RequestContext
from tests.unit.network.fakes import Cloud

MINE, THEIRS = "a" * 32, "b" * 32
"""Two projects."""

READER, MEMBER, MANAGER, ADMIN_ROLES = (
    frozenset({"reader"}),
    frozenset({"reader", "member"}),
    frozenset({"reader", "member", "manager"}),
    frozenset({"reader", "member", "manager", "admin"}),
)


def caller(name: str, project_id: str, roles: frozenset[str]) -> RequestContext:
    """A context as authentication would make it."""
    return RequestContext(
        project_id=project_id, is_admin="admin" in roles, user_id=f"user-{name}", user_name=name, roles=roles
    )


CALLERS: Mapping[str, RequestContext] = {
    name: caller(name, project_id, roles)
    for name, project_id, roles in (
        ("admin", "c" * 32, ADMIN_ROLES),
        ("member", MINE, MEMBER),
        ("reader", MINE, READER),
        ("stranger", THEIRS, MEMBER),
        ("strange reader", THEIRS, READER),
        ("nobody", THEIRS, frozenset()),
    )
}


class _Authenticate:
    """Takes the token for the caller's name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"x-auth-token"), "")
        if name not in CALLERS:
            await answer(send, 401, unauthorized_body())
            return
        scope["cove.request_id"] = "req-test"
        scope["cove.context"] = dataclasses.replace(CALLERS[name])
        await self._app(scope, receive, send)


@dataclasses.dataclass(frozen=True)
class Api:
    """Requests as one caller or another. Paths are below /v2.0."""

    client: httpx.AsyncClient

    async def request(self, who: str, method: str, path: str, json: Any = None, **more: Any) -> httpx.Response:
        body = {} if json is None else {"json": json}
        return await self.client.request(method, f"/v2.0{path}", headers={"X-Auth-Token": who}, **body, **more)

    async def get(self, who: str, path: str, **params: Any) -> Any:
        """The body of a GET that succeeds."""
        response = await self.request(who, "GET", path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    async def create(self, who: str, resource: str, **attributes: Any) -> Any:
        """A new object, of a POST that succeeds."""
        collection = (
            "policies" if resource == "policy" else f"{resource[:-1]}ies" if resource[-1] == "y" else f"{resource}s"
        )
        path = f"/{collection.replace('_', '-')}"
        response = await self.request(who, "POST", path, {resource: attributes})
        assert response.status_code == 201, response.text
        return response.json()[resource]


def networking_app(cloud: Cloud) -> ASGIApp:
    """The application; a caller's name is its token."""
    return _Authenticate(Starlette(routes=networking_routes(cloud.service), exception_handlers=EXCEPTION_HANDLERS))


@asynccontextmanager
async def networking_api(cloud: Cloud) -> AsyncIterator[Api]:
    transport = httpx.ASGITransport(app=networking_app(cloud), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cove.test") as client:
        yield Api(client)
