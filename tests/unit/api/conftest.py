from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cove.api import create_app
from tests.unit.network.fakes import Cloud, cloud

TOKEN = "the-token"


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as made:
        await made.report()
        yield made


async def _extra(request: Request) -> JSONResponse:
    if request.query_params.get("fail"):
        raise RuntimeError("a secret of the server")
    return JSONResponse({"extra": request.path_params["name"]})


@pytest.fixture
async def api(c: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(c.settings, c.service, [Route("/v2.1/{name}", _extra)], TOKEN)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"X-Auth-Token": TOKEN}
    async with httpx.AsyncClient(transport=transport, base_url="http://cove.test", headers=headers) as client:
        yield client
