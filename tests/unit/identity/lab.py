"""An Identity service behind its HTTP front, on a new SQLite file, with a clock that tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware

from cove.api.auth import EmbeddedIdentity, LocalToken
from cove.api.middleware import OPEN_REQUESTS, Authenticate, BodyLimit, RequestId
from cove.config import Settings
from cove.db import Database
from cove.identity import IdentityService
from cove.identity import routes as identity_routes
from cove.identity.bootstrap import ADMIN_ID, ADMIN_PROJECT_ID, DEMO_ID, DEMO_PROJECT_ID
from tests.unit.network.fakes import new_database

LOCAL_TOKEN = "the-token-of-the-machine"
BASE = "http://cove.test"
START = 1_800_000_000.0


@dataclass
class Clock:
    """Wall-clock and monotonic time in one; they differ by what somebody has set the clock."""

    now: float = START
    stepped: float = 0.0

    def __call__(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - self.stepped

    def step(self, seconds: float) -> None:
        self.now += seconds
        self.stepped += seconds


@dataclass
class Lab:
    """One server process, with short ways to use it."""

    service: IdentityService
    db: Database
    settings: Settings
    clock: Clock
    http: httpx.AsyncClient
    passwords: dict[str, str] = field(default_factory=dict)

    async def login(self, identity: dict[str, Any], scope: Any = None, query: str = "") -> httpx.Response:
        auth: dict[str, Any] = {"identity": identity}
        if scope is not None:
            auth["scope"] = scope
        return await self.http.post(f"/v3/auth/tokens{query}", json={"auth": auth})

    async def token(self, name: str = "admin", password: str | None = None, **scope: Any) -> str:
        """A token by password; for the project admin or demo unless a scope is given."""
        wanted = scope or {"project": {"name": name, "domain": {"id": "default"}}}
        response = await self.login(by_password(name, password or self.passwords[name]), wanted)
        assert response.status_code == 201, response.text
        return response.headers["x-subject-token"]

    async def call(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["x-auth-token"] = token
        return await self.http.request(method, path, json=body, headers=sent)

    async def ok(self, method: str, path: str, body: Any = None, token: str = LOCAL_TOKEN, **headers: str) -> Any:
        """The body of an answer that must be a success."""
        response = await self.call(method, path, body, token, **headers)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    async def project(self, name: str = "p", **attributes: Any) -> dict[str, Any]:
        made: dict[str, Any] = (await self.ok("POST", "/v3/projects", {"project": {"name": name, **attributes}}))[
            "project"
        ]
        return made

    async def user(self, name: str = "u", password: str | None = "pw", **attributes: Any) -> dict[str, Any]:  # noqa: S107
        body = {"user": {"name": name, "password": password, **attributes}}
        made: dict[str, Any] = (await self.ok("POST", "/v3/users", body))["user"]
        return made

    async def role_id(self, name: str) -> str:
        return str((await self.ok("GET", f"/v3/roles?name={name}"))["roles"][0]["id"])

    async def grant(self, user: dict[str, Any], role: str, place: str) -> None:
        """`place` is projects/ID, domains/ID or system."""
        await self.ok("PUT", f"/v3/{place}/users/{user['id']}/roles/{await self.role_id(role)}")

    async def revoke(self, user: dict[str, Any], role: str, place: str) -> None:
        await self.ok("DELETE", f"/v3/{place}/users/{user['id']}/roles/{await self.role_id(role)}")

    async def member(self, name: str = "u", role: str = "member") -> tuple[dict[str, Any], dict[str, Any], str]:
        """A user with a role on a project of its own, and a token for it."""
        user, project = await self.user(name), await self.project(f"{name}-project")
        await self.grant(user, role, f"projects/{project['id']}")
        return user, project, await self.token(name, "pw", project={"id": project["id"]})

    async def valid(self, token: str) -> bool:
        return (await self.call("GET", "/v3/auth/projects", token=token)).status_code == 200


def by_password(name: str, password: str, domain: str = "default") -> dict[str, Any]:
    user = {"name": name, "domain": {"id": domain}, "password": password}
    return {"methods": ["password"], "password": {"user": user}}


def by_token(token: str) -> dict[str, Any]:
    return {"methods": ["token"], "token": {"id": token}}


def by_credential(**credential: Any) -> dict[str, Any]:
    return {"methods": ["application_credential"], "application_credential": credential}


def front(service: IdentityService) -> Starlette:
    """The API without Networking."""
    return Starlette(
        routes=identity_routes.identity_routes(service),
        middleware=[
            Middleware(RequestId),
            Middleware(
                Authenticate,
                local=LocalToken(LOCAL_TOKEN),
                authenticator=EmbeddedIdentity(service),
                open_requests=OPEN_REQUESTS | identity_routes.OPEN_REQUESTS,
            ),
            Middleware(BodyLimit),
        ],
    )


@asynccontextmanager
async def lab(directory: Path, clock: Clock | None = None, **settings: Any) -> AsyncIterator[Lab]:
    """A server. Two on the same directory are two processes on one database, as far as the service knows."""
    if "database_url" not in settings:
        new_database(directory)
    clock = clock or Clock()
    made = Settings(state_dir=directory, run_dir=directory, **settings)
    db = Database(made.database_url)
    await db.start()
    service = IdentityService(db, made, now=clock, monotonic=clock.monotonic)
    try:
        await service.start()
        transport = httpx.ASGITransport(app=front(service), client=("192.0.2.7", 1234))
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
            passwords = {
                name: path.read_text().strip()
                for name in ("admin", "demo")
                if (path := directory / f"{name}-password").exists()
            }
            yield Lab(service, db, made, clock, http, passwords)
    finally:
        await service.stop()
        await db.close()


__all__ = ["ADMIN_ID", "ADMIN_PROJECT_ID", "DEMO_ID", "DEMO_PROJECT_ID"]
