"""`cove server` finds the servers of all projects; of several with one name, that of one's own project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cove.cli.client import Client
from cove.cli.servers import all_servers, find_server
from cove.errors import CoveError

SERVERS = (
    {"id": "1", "name": "web", "tenant_id": "own"},
    {"id": "2", "name": "web", "tenant_id": "ann"},
    {"id": "3", "name": "db", "tenant_id": "ann"},
    {"id": "4", "name": "mail", "tenant_id": "ann"},
    {"id": "5", "name": "mail", "tenant_id": "ben"},
    {"id": "6", "name": "3", "tenant_id": "ben"},
)


@pytest.fixture
def client() -> Iterator[Client]:
    def answer(request: httpx.Request) -> httpx.Response:
        every = request.url.params.get("all_tenants") == "1"
        found: list[dict[str, Any]] = [s for s in SERVERS if every or s["tenant_id"] == "own"]
        return httpx.Response(200, json={"servers": found})

    with Client(httpx.Client(transport=httpx.MockTransport(answer), base_url="http://cove")) as made:
        yield made


@pytest.mark.parametrize(("given", "found"), [("web", "1"), ("2", "2"), ("db", "3"), ("3", "3"), ("5", "5")])
def test_a_server_by_name_or_id(client: Client, given: str, found: str) -> None:
    assert find_server(client, given)["id"] == found


@pytest.mark.parametrize(("given", "why"), [("mail", "2 servers"), ("none", "no server 'none'")])
def test_no_server_by_that_name(client: Client, given: str, why: str) -> None:
    with pytest.raises(CoveError, match=why):
        find_server(client, given)


def test_all_of_them(client: Client) -> None:
    assert len(all_servers(client)) == len(SERVERS)
