"""How many statements a request costs: a number that grows with nothing, and that nobody adds to unnoticed.

The numbers are those of SQLite.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from cove.network import RequestContext
from tests.unit.network.callers import MEMBER, MINE, caller
from tests.unit.network.fakes import Cloud

OWNER = caller("owner", MINE, MEMBER)
ADMIN = RequestContext(MINE)


@contextmanager
def statements() -> Iterator[list[str]]:
    """All that is executed meanwhile, by whatever thread."""
    seen: list[str] = []

    def see(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", see)


async def cost(c: Cloud, what: Awaitable[Any]) -> int:
    """Statements of one request, without those of the dispatcher, which sends and deletes at a time of its own."""
    await c.service.drained()
    with statements() as seen:
        await what
    return len([text for text in seen if not text.startswith("BEGIN") and "FROM outbox" not in text])


@pytest.fixture
async def network(c: Cloud) -> dict[str, Any]:
    """A network of the owner's, which an agent serves, with an address in two subnets for each port."""
    c.context = OWNER
    made = await c.network()
    await c.subnet(made)
    await c.create("subnet", network_id=made["id"], ip_version=6, cidr="2001:db8::/64")
    await c.port(made)
    return made


REQUESTS = {
    "create": (14, 13),
    "show": (6, 4),
    "list": (6, 4),
    "rename": (7, 5),
    "move": (23, 21),
    "delete": (19, 17),
    "show its network": (6, 6),
    "list networks": (6, 6),
    "rename its network": (9, 9),
}
"""Request → statements for the owner, and for an admin."""


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("admin", [False, True])
async def test_statements(c: Cloud, network: dict[str, Any], request_: str, admin: bool) -> None:
    port = await c.port(network)
    await c.find("security_group")
    c.context = ADMIN if admin else OWNER
    await c.find("port")  # whatever happens once has happened
    requests: dict[str, Callable[[], Awaitable[Any]]] = {
        "create": lambda: c.port(network),
        "show": lambda: c.get("port", port["id"]),
        "list": lambda: c.find("port"),
        "rename": lambda: c.update("port", port["id"], name="n"),
        "move": lambda: c.update("port", port["id"], fixed_ips=[{"ip_address": "192.0.2.77"}]),
        "delete": lambda: c.delete("port", port["id"]),
        "show its network": lambda: c.get("network", network["id"]),
        "list networks": lambda: c.find("network"),
        "rename its network": lambda: c.update("network", network["id"], name="n"),
    }
    assert await cost(c, requests[request_]()) == REQUESTS[request_][admin]


@pytest.mark.parametrize("resource", ["network", "port"])
@pytest.mark.parametrize("context", [OWNER, ADMIN])
async def test_a_list_costs_the_same_however_long(c: Cloud, network: Any, resource: str, context: Any) -> None:
    c.context = context
    few = await cost(c, c.find(resource))
    item = {"network_id": network["id"], "tags": ["x"], "fixed_ips": []} if resource == "port" else {}
    c.context = RequestContext(MINE)
    await c.bulk(resource, [item] * 90)
    c.context = context
    assert await cost(c, c.find(resource)) <= few
    assert await cost(c, c.find(resource, ("limit", "50"), ("sort_key", "name"))) <= few


async def test_a_bulk_reads_what_is_common_once(c: Cloud, network: dict[str, Any]) -> None:
    one = await cost(c, c.bulk("port", [{"network_id": network["id"]}]))
    eleven = await cost(c, c.bulk("port", [{"network_id": network["id"]}] * 11))
    # Its row, two addresses out of two ranges and the rows of both, its group, who is told, the message.
    # And one look for MAC addresses that are free.
    assert eleven - one <= 10 * 9 + 1
