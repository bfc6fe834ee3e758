"""Networks leave an agent that is silent: the whole way, from the database to the next agent and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cove.db import DatabaseBusy
from cove.network.context import service_context
from cove.network.failover import DhcpFailover
from cove.network.models import agents
from cove.network.scheduler import dhcp_device_id
from tests.unit.network.fakes import Cloud, cloud


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as made:
        for host in ("node1", "node2"):
            await made.report(host)
        yield made


async def silence(c: Cloud, host: str, seconds: float = 100.0) -> None:
    """The agent has not been heard of for so long."""
    long_ago = sa.update(agents).where(agents.c.host == host)
    since = time.time() - seconds
    await c.service.plugin.write(
        service_context(),
        lambda tx: tx.connection.execute(long_ago.values(heartbeat_at=since, started_at=since - 1000)) and None,
    )


async def serving(c: Cloud, host: str) -> list[str]:
    infos = await c.rpc("get_active_networks_info", host=host)
    return [info["id"] for info in infos]


async def test_a_network_moves_with_the_address_of_its_server_and_stays(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    assert await serving(c, "node1") == [network["id"]]
    wanted = {
        "network_id": network["id"],
        "project_id": network["project_id"],
        "device_id": dhcp_device_id(network["id"], "node1"),
        "name": "",
        "admin_state_up": True,
        "fixed_ips": [{"subnet_id": subnet["id"]}],
    }
    port = await c.rpc("create_dhcp_port", port={"port": wanted}, host="node1")
    await c.sent()

    failover = DhcpFailover(c.service.plugin)
    assert await failover.look() == 0
    await silence(c, "node1")
    assert await failover.look() == 1
    assert [(host, method) for host, method, _ in await c.sent()] == [("node2", "network_create_end")]
    assert await failover.look() == 0

    info = await c.rpc("get_network_info", network_id=network["id"], host="node2")
    (reserved,) = info["ports"]
    assert (reserved["id"], reserved["device_id"]) == (port["id"], "reserved_dhcp_port")
    mine = {"port": {"network_id": network["id"], "device_id": dhcp_device_id(network["id"], "node2")}}
    adopted = await c.rpc("update_dhcp_port", port_id=port["id"], port=mine, host="node2")
    assert (adopted["fixed_ips"], adopted["mac_address"]) == (port["fixed_ips"], port["mac_address"])

    # The agent that was silent hears that it was, asks, and has nothing to serve any more.
    assert await c.report("node1") == "revived"
    assert await serving(c, "node1") == []
    assert await serving(c, "node2") == [network["id"]]


async def test_nothing_moves_after_the_clock_was_set_or_the_server_slept(c: Cloud) -> None:
    await c.subnet(await c.network())
    failover = DhcpFailover(c.service.plugin)
    now = time.time()
    assert await failover.look(now - 1000) == 0
    await silence(c, "node1")
    assert await failover.look(now) == 0
    assert await failover.look(now + 1) == 1


async def test_it_goes_on_looking_whatever_fails(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, enough = 0, asyncio.Event()

    async def look(_self: DhcpFailover, now: float | None = None) -> int:
        nonlocal looks
        looks += 1
        if looks == 3:
            enough.set()
        raise DatabaseBusy("too much is waiting")

    monkeypatch.setattr(DhcpFailover, "look", look)
    failover = DhcpFailover(c.service.plugin, interval_s=0.001)
    await failover.start()
    await asyncio.wait_for(enough.wait(), 10)
    await failover.stop()
    await failover.stop()


async def test_one_network_that_cannot_be_moved_does_not_keep_the_others(
    c: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = [await c.network() for _ in range(3)]
    for network in networks:
        await c.subnet(network)
    await silence(c, "node1", 0.0)
    hosted = await serving(c, "node1") + await serving(c, "node2")
    assert sorted(hosted) == sorted(network["id"] for network in networks)
    await silence(c, "node1")
    of_node1 = len(
        await c.rows(
            "SELECT 1 FROM network_dhcp_agent_bindings b JOIN agents a ON a.id = b.agent_id WHERE a.host = 'node1'"
        )
    )
    assert of_node1 > 1
    write = c.service.plugin.write
    failed: list[int] = []

    async def failing_once(*args, **more):
        if not failed:
            failed.append(1)
            raise DatabaseBusy("too much is waiting")
        return await write(*args, **more)

    monkeypatch.setattr(c.service.plugin, "write", failing_once)
    failover = DhcpFailover(c.service.plugin)
    assert await failover.look() == of_node1 - 1
    assert await failover.look() == 1
