"""The quota paths: who may, and what they answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from cove.api.quota_routes import quota_routes
from cove.api.responses import EXCEPTION_HANDLERS
from cove.network.context import RequestContext
from cove.network.transaction import Reading, Transaction
from tests.unit.network.transactions import Store, store

MINE, OTHERS = "1" * 32, "2" * 32
LIMITS = {"network": 2, "port": 3}
ADMIN = RequestContext(project_id="a" * 32)
MEMBER = RequestContext(project_id=MINE, is_admin=False, roles=frozenset({"member", "reader"}))
MANAGER = RequestContext(project_id=MINE, is_admin=False, roles=frozenset({"manager", "member", "reader"}))
UNSCOPED = RequestContext(project_id="", is_admin=False, roles=frozenset())


class Plugin:
    """The part of the core plugin that the routes use."""

    def __init__(self, db: Store) -> None:
        self.config = db.config
        self._db = db

    async def read(self, context: RequestContext, fn: Callable[[Reading], Any]) -> Any:
        return self._db.read(fn, context)

    async def write(self, context: RequestContext, fn: Callable[[Transaction], Any]) -> Any:
        return self._db.write(fn, context)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path, quotas=LIMITS) as made:
        made.write(lambda tx: tx.count("port", MINE, 2))
        yield made


class Client:
    def __init__(self, db: Store) -> None:
        self.context = ADMIN
        app = Starlette(routes=quota_routes(Plugin(db)), exception_handlers=EXCEPTION_HANDLERS)  # type: ignore[arg-type]

        async def authenticated(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "cove.context": self.context}, receive, send)

        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(authenticated), base_url="http://cove/v2.0")

    async def __call__(
        self, method: str, path: str, quota: Any = None, *, by: RequestContext = ADMIN
    ) -> tuple[int, Any]:
        self.context = by
        answer = await self.http.request(method, path, json=None if quota is None else {"quota": quota})
        body: Any = answer.json() if answer.content else None
        return answer.status_code, body["NeutronError"]["type"] if answer.status_code >= 400 else body


@pytest.fixture
async def call(db: Store) -> AsyncIterator[Client]:
    client = Client(db)
    yield client
    await client.http.aclose()


DETAILS = {"network": {"limit": 2, "used": 0, "reserved": 0}, "port": {"limit": 3, "used": 2, "reserved": 0}}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (f"/quotas/{MINE}", {"quota": LIMITS}),
        (f"/quotas/{MINE}.json", {"quota": LIMITS}),
        (f"/quotas/{MINE}/default", {"quota": LIMITS}),
        (f"/quotas/{MINE}/default.json", {"quota": LIMITS}),
        (f"/quotas/{MINE}/details", {"quota": DETAILS}),
        (f"/quotas/{MINE}/details.json", {"quota": DETAILS}),
        ("/quotas/tenant", {"tenant": {"tenant_id": MINE}}),
        ("/quotas/project", {"project": {"project_id": MINE}}),
        ("/quotas/project.json", {"project": {"project_id": MINE}}),
    ],
)
async def test_ones_own(call: Client, path: str, answer: Any) -> None:
    assert await call("GET", path, by=MEMBER) == (200, answer)


@pytest.mark.parametrize("path", ["", "/default", "/details", ".json"])
async def test_others(call: Client, path: str) -> None:
    assert (await call("GET", f"/quotas/{OTHERS}{path}"))[0] == 200
    for context in (MEMBER, MANAGER):
        refusal = "AdminRequired" if path == "/details" else "PolicyNotAuthorized"
        assert await call("GET", f"/quotas/{OTHERS}{path}", by=context) == (403, refusal)


async def test_a_manager_changes_nothing(call: Client) -> None:
    for method in ("PUT", "DELETE"):
        answer = await call(method, f"/quotas/{MINE}", {"port": 9}, by=MANAGER)
        assert answer == (403, "PolicyNotAuthorized")
    for context in (MEMBER, MANAGER):
        assert await call("GET", "/quotas", by=context) == (403, "PolicyNotAuthorized")


async def test_from_the_default_and_back(call: Client) -> None:
    assert await call("GET", "/quotas") == (200, {"quotas": []})
    assert await call("PUT", f"/quotas/{MINE}", {"port": 9}) == (200, {"quota": {"network": 2, "port": 9}})
    assert await call("GET", "/quotas.json") == (
        200,
        {"quotas": [{"network": 2, "port": 9, "project_id": MINE, "tenant_id": MINE}]},
    )
    assert await call("GET", f"/quotas/{MINE}/default", by=MEMBER) == (200, {"quota": LIMITS})
    assert await call("DELETE", f"/quotas/{MINE}") == (204, None)
    assert await call("DELETE", f"/quotas/{MINE}") == (404, "TenantQuotaNotFound")
    assert await call("GET", f"/quotas/{MINE}") == (200, {"quota": LIMITS})


async def test_a_limit_below_the_usage(call: Client) -> None:
    assert await call("PUT", f"/quotas/{MINE}", {"port": 1}) == (400, "HTTPBadRequest")
    assert await call("PUT", f"/quotas/{MINE}", {"port": 1, "check_limit": True}) == (400, "HTTPBadRequest")
    assert (await call("PUT", f"/quotas/{MINE}", {"port": 1, "force": True}))[0] == 200


async def test_what_makes_no_sense(call: Client) -> None:
    assert await call("PUT", f"/quotas/{MINE}", {"router": 1}) == (400, "HTTPBadRequest")
    assert await call("PUT", f"/quotas/{MINE}") == (400, "HTTPBadRequest")
    assert await call("GET", f"/quotas/{'x' * 300}") == (400, "HTTPBadRequest")
    assert await call("GET", "/quotas/%00") == (400, "HTTPBadRequest")
    assert await call("GET", "/quotas/project", by=UNSCOPED) == (400, "QuotaMissingTenant")
    assert (await call("POST", "/quotas", {}))[0] == 405
