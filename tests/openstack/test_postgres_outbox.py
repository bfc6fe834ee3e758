"""The outbox of several server processes on one PostgreSQL database: whoever reaches the agent tells it, in order."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cove.bus import Bus, LocalBus, Target
from cove.config import Settings
from cove.db import Database
from cove.network import NetworkService, outbox, outbox_table
from cove.network.models import outbox as table
from cove.timeline import Timeline
from tests.unit.network.fakes import HOST, Cloud, FakeBus


class Agent:
    """Remembers what it was told: (method, payload)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        self.news = asyncio.Event()

    def handlers(self) -> dict[str, Any]:
        names = [
            f"{what}_{how}_end" for what in ("network", "subnet", "port") for how in ("create", "update", "delete")
        ]

        def handler(name: str) -> Any:
            async def handle(payload: Mapping[str, Any], **_: Any) -> None:
                self.told.append((name, payload))
                self.news.set()

            return handle

        return {name: handler(name) for name in names}

    async def until(self, count: int, timeout_s: float = 20) -> None:
        async with asyncio.timeout(timeout_s):
            while len(self.told) < count:
                self.news.clear()
                await self.news.wait()


class Process:
    """What one server process has."""

    def __init__(self, url: str, directory: Path, bus: Bus) -> None:
        self.db, self.bus = Database(url), bus
        self.settings = Settings(state_dir=directory, run_dir=directory, host=HOST, database_url=url)
        self.service = NetworkService(self.db, bus, Timeline(), self.settings)
        self.cloud = Cloud(self.service, bus, self.db, Timeline(), self.settings)  # type: ignore[arg-type]

    async def start(self) -> None:
        await self.db.start()
        await self.bus.start()
        await self.service.start()

    async def stop(self) -> None:
        await self.service.stop()
        await self.bus.close()
        await self.db.close()

    async def die(self) -> None:
        """End without a word: what was not sent stays in the table."""
        for task in self.service._dispatcher._tasks:
            task.cancel()
        await asyncio.gather(*self.service._dispatcher._tasks, return_exceptions=True)
        self.service._dispatcher._tasks = []
        await self.stop()


@pytest.fixture
async def processes(tmp_path: Path, postgres_url: str) -> AsyncIterator[Any]:
    """Makes processes and ends them."""
    async with AsyncExitStack() as stack:

        async def make(bus: Bus | None = None) -> Process:
            process = Process(postgres_url, tmp_path, bus or LocalBus())
            await process.start()
            stack.push_async_callback(process.stop)
            return process

        yield make


async def rows(db: Database) -> int:
    return await db.read(lambda c: int(c.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()))


async def empty(db: Database) -> None:
    async with asyncio.timeout(20):
        while await rows(db):
            await asyncio.sleep(0.02)


async def test_what_is_for_an_agent_of_another_process_reaches_it_in_order(processes: Any) -> None:
    up, server = await processes(), await processes()
    agent = Agent()
    await up.bus.serve("dhcp_agent", HOST, agent.handlers())
    await report(up)
    network = await server.cloud.network()
    await server.cloud.subnet(network)
    ports = await asyncio.gather(*(server.cloud.port(network) for _ in range(30)))
    for port in ports:
        await server.cloud.update("port", port["id"], extra_dhcp_opts=[{"opt_name": "mtu", "opt_value": "1400"}])
        await server.cloud.delete("port", port["id"])
    await agent.until(2 + 3 * 30)
    methods = [method for method, _ in agent.told]
    assert methods[:2] == ["network_create_end", "subnet_create_end"]
    for port in ports:
        own = [method for method, payload in agent.told if _port_of(payload) == port["id"]]
        assert own == ["port_create_end", "port_update_end", "port_delete_end"]
    await empty(up.db)


def _port_of(payload: Mapping[str, Any]) -> str:
    return str(payload.get("port_id") or payload.get("port", {}).get("id"))


async def report(process: Process, host: str = HOST) -> None:
    state = {"binary": "neutron-dhcp-agent", "host": host, "topic": "dhcp_agent", "agent_type": "DHCP agent"}
    arguments = {"agent_state": {"agent_state": state}, "time": None}
    await process.bus.call(Target("q-reports-plugin"), "report_state", arguments)


async def test_it_is_told_at_once(processes: Any) -> None:
    up, server = await processes(), await processes()
    agent = Agent()
    await up.bus.serve("dhcp_agent", HOST, agent.handlers())
    await report(up)
    network = await server.cloud.network()
    await server.cloud.subnet(network)
    await agent.until(2)
    began = time.monotonic()
    for number in range(10):
        await server.cloud.port(network)
        await agent.until(3 + number)
    # Without word from the other process it would look only once a second.
    assert time.monotonic() - began < 10 * outbox.LOOK_S / 2


async def test_news_that_got_lost_are_found_anyhow(processes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LOOK_S", 0.1)
    up, server = await processes(), await processes()
    monkeypatch.setattr(server.db, "notify", _silent)
    agent = Agent()
    await up.bus.serve("dhcp_agent", HOST, agent.handlers())
    await report(up)
    network = await server.cloud.network()
    await server.cloud.subnet(network)
    await agent.until(2)


async def _silent(_channel: str) -> None:
    pass


async def test_more_than_fits_at_once(processes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_table, "LOAD_MAX", 3)
    up, server = await processes(), await processes()
    await report(up)
    network = await server.cloud.network()
    await server.cloud.subnet(network)
    for _ in range(10):
        await server.cloud.port(network)
    assert await rows(up.db) == 12  # nobody can deliver them yet
    agent = Agent()
    await up.bus.serve("dhcp_agent", HOST, agent.handlers())
    await agent.until(12)
    assert [method for method, _ in agent.told[2:]] == ["port_create_end"] * 10
    await empty(up.db)


async def test_a_fanout_reaches_the_agent_of_another_process(processes: Any) -> None:
    up, server = await processes(), await processes()
    agent = Agent()
    await up.bus.serve("dhcp_agent", HOST, agent.handlers())
    network = await server.cloud.network()
    await server.cloud.delete("network", network["id"])
    await agent.until(1)
    assert agent.told == [("network_delete_end", {"network_id": network["id"], "priority": 2})]


async def test_rows_of_a_dead_process_are_sent_by_one_of_the_others(
    processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bus that reaches everybody: age tells of a death."""
    monkeypatch.setattr(outbox, "LOOK_S", 0.05)
    monkeypatch.setattr(outbox, "ADOPT_S", 0.5)
    one, two = FakeBus(), FakeBus()
    first, _ = await processes(one), await processes(two)
    stuck = FakeBus(gate=asyncio.Event())
    dying = await processes(stuck)
    await report(first)
    network = await dying.cloud.network()
    await dying.cloud.subnet(network)
    ports = [await dying.cloud.port(network) for _ in range(20)]
    assert one.sent == two.sent == []  # they are not the others' while they are fresh
    await dying.die()
    await empty(first.db)
    sent = one.sent + two.sent
    assert [method for _, method, _ in sent[:2]] == ["network_create_end", "subnet_create_end"]
    told = [payload["port"]["id"] for _, method, payload in sent if method == "port_create_end"]
    assert sorted(told) == sorted(port["id"] for port in ports)  # each once


async def test_a_commit_whose_outcome_was_not_known_is_told_in_the_end(
    processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LOOK_S", 0.05)
    monkeypatch.setattr(outbox, "ADOPT_S", 0.2)
    bus = FakeBus()
    process = await processes(bus)
    me = process.service.plugin.config.server_id
    await _insert(process.db, me, HOST, time.time())
    await empty(process.db)
    assert [(host, method) for host, method, _ in bus.sent] == [(HOST, "port_create_end")]


async def test_what_nobody_can_deliver_is_dropped_in_the_end(processes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LOOK_S", 0.05)
    monkeypatch.setattr(outbox, "ADOPT_S", 0.1)
    process = await processes()
    now = time.time()
    await _insert(process.db, str(uuid.uuid4()), "gone", now - 2 * outbox.EXPIRE_S)
    await _insert(process.db, process.service.plugin.config.server_id, "gone", now - 2 * outbox.EXPIRE_S)
    await _insert(process.db, str(uuid.uuid4()), "gone", now)
    async with asyncio.timeout(20):
        while await rows(process.db) > 1:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert await rows(process.db) == 1  # its agent may yet come


async def _insert(db: Database, sender: str, host: str, at: float) -> None:
    row = {
        "network_id": "n", "method": "port_create_end", "host": host, "sender": sender, "created_at": at,
        "payload": json.dumps({"port": {"id": "p"}}),
    }  # fmt: skip
    await db.write(lambda c: c.execute(sa.insert(table), row) and None)
