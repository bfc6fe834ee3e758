"""The whole application as `cove up` serves it, with real users, and fakes where the machine would be."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from cove.api import create_app
from cove.api.routes import ResourceRoutes
from cove.compute.network_api import HttpNetworkApi
from cove.compute.routes import server_routes
from cove.compute.servers import ComputeService
from cove.compute.uids import UidPool
from cove.daemon.disks import NoSuchDisk
from cove.daemon.routes import cove_routes
from cove.identity import IdentityService
from cove.network import DEMO_PROJECT_ID
from tests.unit.compute.conftest import PATIENCE
from tests.unit.compute.fakes import Fakes, World
from tests.unit.network.fakes import Cloud, cloud

MACHINE = "the-token-of-the-machine"
BASE = "http://cove.test"
UNKNOWN = "99999999-0000-4000-8000-000000000000"


class Machine:
    """Stands for the daemon behind /cove/v1: whoever gets as far as asking it anything is answered 404, or ends it."""

    def __init__(self) -> None:
        self.stopped = False

    def request_stop(self, *, take_down: bool = False) -> None:
        """`cove down`."""
        self.stopped = True

    def __getattr__(self, name: str) -> Any:
        raise NoSuchDisk(f"{name} was asked for")


@dataclass
class Everything:
    """The application, whoever may be let in, and what is behind it."""

    app: Starlette
    client: httpx.AsyncClient
    cloud: Cloud
    compute: ComputeService
    fakes: Fakes
    machine: Machine
    tokens: dict[str, str] = field(default_factory=dict)
    projects: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)

    async def call(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request of somebody; "nobody" has no token, "machine" the machine's own."""
        token = {"nobody": "", "machine": MACHINE, "forger": "gAAAA-made-up"} | self.tokens
        headers = {"X-Auth-Token": token[who]} if token[who] else {}
        return await self.client.request(method, path, json=body, headers=headers)

    async def ok(self, who: str, method: str, path: str, body: Any = None) -> Any:
        """The body of an answer that must be a success."""
        answer = await self.call(who, method, path, body)
        assert answer.is_success, f"{who} {method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def project(self, name: str) -> str:
        """A project's id; it is made if it is not there yet."""
        if name not in self.projects:
            made = await self.ok("machine", "POST", "/v3/projects", {"project": {"name": name}})
            self.projects[name] = made["project"]["id"]
        return self.projects[name]

    async def join(self, who: str, role: str = "", project: str = "") -> str:
        """A new user with a role in a project, or in none, logs in; the token."""
        body = {"user": {"name": who, "password": f"pw-{who}"}}
        user_id = self.users[who] = (await self.ok("machine", "POST", "/v3/users", body))["user"]["id"]
        scope: Any = None
        if role:
            project_id = await self.project(project)
            [found] = (await self.ok("machine", "GET", f"/v3/roles?name={role}"))["roles"]
            await self.ok("machine", "PUT", f"/v3/projects/{project_id}/users/{user_id}/roles/{found['id']}")
            scope = {"project": {"id": project_id}}
        user = {"name": who, "domain": {"id": "default"}, "password": f"pw-{who}"}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        answer = await self.client.post("/v3/auth/tokens", json={"auth": auth | ({"scope": scope} if scope else {})})
        assert answer.status_code == 201, answer.text
        self.tokens[who] = answer.headers["x-subject-token"]
        return self.tokens[who]

    async def cloud_port(self, who: str, network_id: str) -> str:
        """The id of a new port of somebody's."""
        made = await self.ok(who, "POST", "/v2.0/ports", {"port": {"network_id": network_id}})
        return str(made["port"]["id"])

    def routes(self) -> Iterator[tuple[str, str]]:
        """Method and path of everything that is served, with parameters as {name}; those of /identity are /v3's."""
        for route in self.app.routes:
            if isinstance(route, ResourceRoutes):
                yield from _of_resources(route._collections)
            else:
                assert isinstance(route, Route), f"{route}: a kind of route that this test does not know"
                yield from ((method, route.path) for method in sorted(route.methods or ()) if method != "HEAD")


def _of_resources(collections: Mapping[str, Sequence[Mapping[str, object]]]) -> Iterator[tuple[str, str]]:
    for collection, (on_all, on_one) in collections.items():
        yield from ((method, f"/v2.0/{collection}") for method in on_all)
        yield from ((method, f"/v2.0/{collection}/{{id}}") for method in on_one)


def filled(path: str) -> str:
    """A path with something in the place of each parameter: a resource's collection, ids that are nobody's."""
    path = path.replace("{collection}", "networks").replace("{rest:path}", "nothing-here").replace("{tag:path}", "t")
    path = path.replace("{pool}", "rbd").replace("{image}", "disk").replace("{alias}", "quotas")
    return re.sub(r"\{\w+\}", UNKNOWN, path)


@asynccontextmanager
async def everything(directory: Path) -> AsyncIterator[Everything]:
    """The application over a new database."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(cloud(directory))
        await made.report()
        identity = IdentityService(made.db, made.settings)
        stack.push_async_callback(identity.stop)
        await identity.start()
        fakes, machine = Fakes(World(directory)), Machine()
        fakes.hypervisor.silent = True  # guests that report on their consoles would have to know these ports

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        inside = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(inner), base_url=BASE, headers={"X-Auth-Token": MACHINE})
        )
        compute = ComputeService(
            made.db, HttpNetworkApi(inside), fakes.disks, made.timeline, made.settings,
            hypervisor=fakes.hypervisor, wiring=fakes.wiring, uids=UidPool(lambda: ()), patience=PATIENCE,
        )  # fmt: skip
        stack.push_async_callback(compute.stop)
        routes = [*server_routes(lambda: compute, project_id=DEMO_PROJECT_ID), *cove_routes(machine)]  # type: ignore[arg-type]
        app = create_app(
            made.settings, made.service, routes, MACHINE, identity=identity, is_admin=made.service.policy.is_admin
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.7", 1234))
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=BASE))
        yield Everything(app, client, made, compute, fakes, machine)
