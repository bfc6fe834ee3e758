"""Whatever is sent, every operation answers in the API's form, and never with an error of the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.db import DatabaseBusy, OutcomeUnknown
from cove.identity.routes import OPERATIONS, Operation
from tests.unit.identity.lab import DEMO_ID, DEMO_PROJECT_ID, LOCAL_TOKEN, Lab, by_password, lab
from tests.unit.identity.test_policy import path_of

KINDS = ("user", "project", "domain", "role", "service", "endpoint", "region", "application_credential")
MEMBERS = (
    *("name", "id", "description", "enabled", "tags", "domain_id", "parent_id", "password", "original_password"),
    *("options", "roles", "expires_at", "secret", "url", "interface", "service_id", "region", "colour"),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**4200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["default", "\0", "public", "http://x", "2030-01-01T00:00:00", "0001-01-01T00:00:00+23:59"])
)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(MEMBERS), scalars, max_size=2)
objects = st.dictionaries(st.sampled_from(MEMBERS), values, max_size=6)
bodies = st.dictionaries(st.sampled_from(KINDS), objects | scalars, min_size=1, max_size=2) | values
queries = st.lists(
    st.tuples(
        st.sampled_from(
            [*MEMBERS, "limit", "marker", "name__contains", "user.id", "scope.project.id", "effective", "parent_id"]
        ),
        st.text(max_size=5),
    ),
    max_size=3,
)
IDS = {"user_id": DEMO_ID, "project_id": DEMO_PROJECT_ID, "domain_id": "default"}
WITH_BODY = [operation for operation in OPERATIONS if operation.method in ("POST", "PATCH")]


def _id(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


async def _fine(api: Lab, response: Any) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and response.request.method != "HEAD":
        error = response.json()["error"]
        assert error["code"] == response.status_code
        assert error["message"]


@pytest.mark.parametrize("operation", WITH_BODY, ids=_id)
def test_any_body(tmp_path: Path, operation: Operation) -> None:
    path = path_of(operation, IDS)

    async def run() -> None:
        async with lab(tmp_path) as api:
            token = await api.token("demo") if operation.path.endswith("application_credentials") else LOCAL_TOKEN

            async def one(body: Any) -> None:
                await _fine(api, await api.call(operation.method, path, body, token))

            loop = asyncio.get_running_loop()

            @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
            @given(bodies)
            def every(body: Any) -> None:
                asyncio.run_coroutine_threadsafe(one(body), loop).result(30)

            await asyncio.to_thread(every)

    asyncio.run(run())


def test_any_query(tmp_path: Path) -> None:
    paths = [path_of(operation, IDS) for operation in OPERATIONS if operation.method == "GET"]

    async def run() -> None:
        async with lab(tmp_path) as api:

            async def one(path: str, query: Any) -> None:
                response = await api.http.get(path, params=query, headers={"x-auth-token": LOCAL_TOKEN})
                await _fine(api, response)

            loop = asyncio.get_running_loop()

            @settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
            @given(st.sampled_from(paths), queries)
            def every(path: str, query: Any) -> None:
                asyncio.run_coroutine_threadsafe(one(path, query), loop).result(30)

            await asyncio.to_thread(every)

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/v3/nothing", "/v3/users/a/b/c", "/identity/v3/x", "/v3/OS-TRUST/trusts"])
async def test_paths_that_are_not_there(api: Lab, path: str) -> None:
    response = await api.call("GET", path, token=LOCAL_TOKEN)
    assert (response.status_code, response.json()["error"]["title"]) == (404, "Not Found")
    assert (await api.call("GET", path)).status_code == 401, "strangers are not told"


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("PUT", "/v3/users", "GET, HEAD, POST"), ("POST", "/v3/auth/catalog", "GET, HEAD")]
)
async def test_methods_that_are_not_there(api: Lab, method: str, path: str, allow: str) -> None:
    response = await api.call(method, path, token=LOCAL_TOKEN)
    assert (response.status_code, response.json()["error"]["title"]) == (405, "Method Not Allowed")
    assert response.headers["allow"] == allow


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999", "0001-01-01T00:00+01:00"])
async def test_times_beyond_the_calendar(api: Lab, end: str) -> None:
    body = {"application_credential": {"name": "ci", "expires_at": end}}
    path = f"/v3/users/{DEMO_ID}/application_credentials"
    response = await api.call("POST", path, body, await api.token("demo"))
    assert (response.status_code, response.json()["error"]["title"]) == (400, "Bad Request")


@pytest.mark.parametrize("url", ["http://a\0b", "http://a\x1bb", "http://a\x7f", "javascript:alert(1)", "http://"])
async def test_urls_that_no_database_or_client_takes(api: Lab, url: str) -> None:
    service = (await api.ok("POST", "/v3/services", {"service": {"type": "x"}}))["service"]
    body = {"endpoint": {"service_id": service["id"], "interface": "public", "url": url}}
    assert (await api.call("POST", "/v3/endpoints", body, LOCAL_TOKEN)).status_code == 400


async def test_a_password_that_no_login_takes(api: Lab) -> None:
    response = await api.call("POST", "/v3/users", {"user": {"name": "x", "password": "a\0b"}}, LOCAL_TOKEN)
    assert response.status_code == 400
    assert "a\\u0000b" not in response.text, "secrets are not repeated"


@pytest.mark.parametrize("argument", ["name=a", "tags=a", "limit=1", "x=1"])
async def test_a_query_of_thousands(api: Lab, argument: str) -> None:
    response = await api.call("GET", f"/v3/projects?{'&'.join([argument] * 2000)}", token=LOCAL_TOKEN)
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("error", "code", "title"),
    [(DatabaseBusy, 503, "Service Unavailable"), (OutcomeUnknown, 504, "Gateway Timeout")],
)
async def test_a_database_that_is_away(
    api: Lab, monkeypatch: pytest.MonkeyPatch, error: type[Exception], code: int, title: str
) -> None:
    """For all operations, and for a login: neither 500, nor words about logins, nor what the database said."""

    async def write(*_: object, **__: object) -> None:
        raise error("postgresql://10.0.0.1 said something")

    demo = by_password("demo", api.passwords["demo"])
    monkeypatch.setattr(api.db, "write", write)
    for response in (
        await api.call("POST", "/v3/projects", {"project": {"name": "x"}}, LOCAL_TOKEN),
        await api.login(demo),
    ):
        assert (response.status_code, response.json()["error"]["title"]) == (code, title)
        assert "10.0.0.1" not in response.text
        assert "login" not in response.text
        assert response.headers.get("retry-after") == ("1" if code == 503 else None)


async def test_no_token_is_taken_while_the_database_is_away(api: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was good a second ago may be revoked since: 503, not 200, and not 401 either."""
    token = await api.token("demo")
    assert await api.valid(token)

    async def read(*_: object) -> None:
        raise DatabaseBusy("away")

    monkeypatch.setattr(api.db, "read", read)
    api.clock.now += 1.0
    response = await api.call("GET", "/v3/auth/projects", token=token)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


async def test_what_nobody_may_assign(api: Lab) -> None:
    """Members that name what is inside: kept as any unknown member is, or passed over; never in force."""
    user = await api.user("u", "pw")
    inside = {
        "id": "x",
        "is_admin": True,
        "password_hash": "$sha256$0",
        "extra": {"a": 1},
        "links": {},
        "roles": "admin",
    }
    shown = (await api.ok("PATCH", f"/v3/users/{user['id']}", {"user": inside}))["user"]
    assert (shown["id"], shown["name"], shown["links"]) == (user["id"], "u", user["links"])
    token = (await api.login(by_password("u", "pw"))).headers["x-subject-token"]
    assert (await api.call("GET", "/v3/users", token=token)).status_code == 403
    other = (await api.ok("POST", "/v3/domains", {"domain": {"name": "other"}}))["domain"]
    moved = {"user": {"domain_id": other["id"]}}
    assert (await api.call("PATCH", f"/v3/users/{user['id']}", moved, LOCAL_TOKEN)).status_code == 400


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 5000, b'{"user": {"name": "\\ud800"}}'])
async def test_what_is_no_json(api: Lab, body: bytes) -> None:
    response = await api.http.post("/v3/users", content=body, headers={"x-auth-token": LOCAL_TOKEN})
    assert (response.status_code, response.json()["error"]["title"]) == (400, "Bad Request")
