"""Whatever is sent, every operation answers in the API's form, and never with an error of the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.identity.routes import OPERATIONS, Operation
from tests.unit.identity.lab import DEMO_ID, DEMO_PROJECT_ID, LOCAL_TOKEN, Lab, lab
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


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 5000, b'{"user": {"name": "\\ud800"}}'])
async def test_what_is_no_json(api: Lab, body: bytes) -> None:
    response = await api.http.post("/v3/users", content=body, headers={"x-auth-token": LOCAL_TOKEN})
    assert (response.status_code, response.json()["error"]["title"]) == (400, "Bad Request")
