"""What one server checks while another one changes it, on PostgreSQL: the one waits for the other, or is refused.

Nothing is left to chance: the first server's transaction stands still before a statement until the second one is done,
or waits for a lock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from cove.network import RequestContext, errors
from tests.openstack.test_postgres_races import kinds, pair  # noqa: F401
from tests.unit.network.fakes import Cloud

HELD_S_MAX = 10.0
POLL_S = 0.02
OWNER = RequestContext("a" * 32, is_admin=False, roles=frozenset({"member", "reader"}))
OTHER = RequestContext("b" * 32, is_admin=False, roles=frozenset({"member", "reader"}))

Pair = tuple[Cloud, Cloud]


class Held:
    """A transaction that stands still before its first statement that begins in a certain way."""

    def __init__(self, statement: str) -> None:
        self._statement = statement
        self._taken = threading.Lock()
        self.reached = threading.Event()
        self.released = threading.Event()

    def __call__(self, _connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith(self._statement) and self._taken.acquire(blocking=False):
            self.reached.set()
            self.released.wait(HELD_S_MAX)


@contextmanager
def held_before(statement: str) -> Iterator[Held]:
    held = Held(statement)
    sa.event.listen(sa.Engine, "before_cursor_execute", held)
    try:
        yield held
    finally:
        held.released.set()
        sa.event.remove(sa.Engine, "before_cursor_execute", held)


async def race(first: Awaitable[Any], before: str, second: Awaitable[Any], watch: sa.Engine) -> list[Any]:
    """`first` is held before its statement `before` until `second` is done or waits for a lock; what came of both."""
    with held_before(before) as held:
        one = asyncio.ensure_future(first)
        assert await asyncio.to_thread(held.reached.wait, HELD_S_MAX), f"it never came to {before!r}"
        two = asyncio.ensure_future(second)
        deadline = asyncio.get_running_loop().time() + HELD_S_MAX
        while not two.done() and not await asyncio.to_thread(_waits, watch):
            assert asyncio.get_running_loop().time() < deadline, "the second one neither ends nor waits"
            await asyncio.wait([two], timeout=POLL_S)
        held.released.set()
        return list(await asyncio.gather(one, two, return_exceptions=True))


def _waits(watch: sa.Engine) -> bool:
    with watch.connect() as connection:
        return bool(connection.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar())


@pytest.fixture
async def watch(pair: Pair) -> AsyncIterator[sa.Engine]:  # noqa: F811
    engine = sa.create_engine(pair[0].settings.database_url, poolclass=sa.pool.NullPool)
    yield engine
    engine.dispose()


def count(free: list[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in free)


async def shared_network(c: Cloud) -> dict[str, Any]:
    network = await c.network(shared=True, project_id=OWNER.project_id)
    await c.subnet(network, project_id=OWNER.project_id)
    return network


async def test_a_port_of_another_project_and_the_end_of_sharing(pair: Pair, watch: sa.Engine) -> None:  # noqa: F811
    a, b = pair
    network = await shared_network(a)
    a.context = OTHER
    port, unshared = await race(
        a.port(network), "INSERT INTO ports", b.update("network", network["id"], shared=False), watch
    )
    assert isinstance(unshared, errors.InvalidSharedSetting), unshared
    assert port["project_id"] == OTHER.project_id


async def test_the_end_of_sharing_and_a_port_of_another_project(pair: Pair, watch: sa.Engine) -> None:  # noqa: F811
    a, b = pair
    network = await shared_network(a)
    b.context = OTHER
    unshared, port = await race(
        a.update("network", network["id"], shared=False), "DELETE FROM rbac_policies", b.port(network), watch
    )
    assert unshared["shared"] is False
    assert isinstance(port, errors.NetworkNotFound), port


async def test_two_policies_of_which_one_is_needed(pair: Pair, watch: sa.Engine) -> None:  # noqa: F811
    a, b = pair
    network = await a.network(project_id=OWNER.project_id)
    about = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared"}
    policies = [await a.create("rbac_policy", **about, target_tenant=target) for target in (OTHER.project_id, "*")]
    await a.subnet(network, project_id=OWNER.project_id)
    b.context = OTHER
    await b.port(network)
    b.context = a.context
    results = await race(
        a.delete("rbac_policy", policies[0]["id"]),
        "DELETE FROM rbac_policies",
        b.delete("rbac_policy", policies[1]["id"]),
        watch,
    )
    assert kinds(results) == ["RbacPolicyInUse", "done"], results


async def test_one_default_external_network(pair: Pair, watch: sa.Engine) -> None:  # noqa: F811
    a, b = pair
    wanted = {"is_default": True, "router:external": True}
    results = await race(a.network(**wanted), "INSERT INTO networks", b.network(**wanted), watch)
    assert kinds(results) == ["DefaultExternalNetworkExists", "done"], results
    await a.update("network", results[0]["id"], is_default=False)
    others = [await a.network(**{"router:external": True}) for _ in range(2)]
    results = await race(
        a.update("network", others[0]["id"], is_default=True),
        "UPDATE networks",
        b.update("network", others[1]["id"], is_default=True),
        watch,
    )
    assert kinds(results) == ["DefaultExternalNetworkExists", "done"], results


async def test_a_small_mtu_and_an_ipv6_subnet(pair: Pair, watch: sa.Engine) -> None:  # noqa: F811
    a, b = pair
    network = await a.network()
    six = b.create("subnet", network_id=network["id"], ip_version=6, cidr="2001:db8::/64")
    results = await race(a.update("network", network["id"], mtu=1000), "UPDATE networks", six, watch)
    assert kinds(results) == ["NetworkMTUSubnetConflict", "done"], results


async def test_an_agent_that_asks_two_servers_for_its_port(pair: Pair, watch: sa.Engine) -> None:  # noqa: F811
    a, b = pair
    network = await a.network()
    await a.subnet(network)
    wanted = {"port": {"network_id": network["id"], "device_id": "dhcp-1", "name": ""}}
    results = await race(
        a.rpc("create_dhcp_port", port=wanted, host="node1"),
        "INSERT INTO ports",
        b.rpc("create_dhcp_port", port=wanted, host="node1"),
        watch,
    )
    assert kinds(results) == ["done", "done"], results
    assert results[0]["id"] == results[1]["id"]


async def test_a_port_that_two_servers_remove(pair: Pair, watch: sa.Engine) -> None:  # noqa: F811
    a, b = pair
    network = await a.network()
    await a.subnet(network, "192.0.2.0/29")
    wanted = {"port": {"network_id": network["id"], "device_id": "dhcp-1", "name": ""}}
    port = await a.rpc("create_dhcp_port", port=wanted, host="node1")
    before = await a.free()
    results = await race(
        a.delete("port", port["id"]),
        "DELETE FROM ip_allocations",
        b.rpc("release_dhcp_port", network_id=network["id"], device_id="dhcp-1", host="node1"),
        watch,
    )
    assert kinds(results) == ["done", "done"], results
    # Given back once: the next two ports get different addresses.
    assert count(await a.free()) == count(before) + 1
    addresses = {(await a.port(network))["fixed_ips"][0]["ip_address"] for _ in range(2)}
    assert len(addresses) == 2
