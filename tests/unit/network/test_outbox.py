"""The outbox: nothing lost, order kept, whatever the bus does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cove.db import Database, DatabaseBusy
from cove.network import outbox, outbox_table
from cove.network.models import outbox as table
from tests.unit.network.fakes import HOST, Cloud, cloud, copy_database


async def empty(c: Cloud) -> None:
    """Wait until the rows of what was sent have been deleted."""
    async with asyncio.timeout(10):
        while (await c.rows("SELECT count(*) FROM outbox"))[0][0]:
            await asyncio.sleep(0.02)


async def test_rows_go_away_soon_after_they_were_sent(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    await asyncio.gather(*(c.port(network) for _ in range(50)))
    assert len(await c.sent()) == 52
    await empty(c)


async def test_the_row_commits_with_the_change(c: Cloud) -> None:
    c.bus.gate = asyncio.Event()
    network = await c.network()
    await c.subnet(network)
    port = await c.port(network)
    rows = await c.rows("SELECT method, host, network_id FROM outbox ORDER BY id")
    assert rows == [(m, HOST, network["id"]) for m in ("network_create_end", "subnet_create_end", "port_create_end")]
    assert c.bus.sent == []
    c.bus.gate.set()
    sent = await c.sent()
    assert sent[-1][2]["port"]["id"] == port["id"]


async def test_what_a_crash_left_is_sent_at_the_next_start_in_order(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with cloud(before) as c:
        await c.report()
        c.bus.gate = asyncio.Event()  # the bus stands still: nothing committed is sent
        network = await c.network()
        await c.subnet(network)
        ports = [await c.port(network) for _ in range(5)]
        await c.delete("port", ports[0]["id"])
        copy_database(before, after)
        c.bus.gate.set()
    async with cloud(after) as c:
        sent = await c.sent()
        assert [method for _, method, _ in sent] == [
            "network_create_end", "subnet_create_end", *["port_create_end"] * 5, "port_delete_end",
        ]  # fmt: skip
        assert [payload["port"]["id"] for _, _, payload in sent[2:7]] == [port["id"] for port in ports]
        # What is new comes after what was left.
        new = await c.port(network)
        assert (await c.sent())[0][2]["port"]["id"] == new["id"]
        await empty(c)


async def test_sent_and_not_deleted_is_sent_again(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with cloud(before) as c:
        await c.report()
        await c.subnet(await c.network())
        first = await c.sent()
        copy_database(before, after)  # within DELETE_DELAY_S of the sending
    async with cloud(after) as c:
        assert await c.sent() == first


async def test_a_clean_stop_leaves_nothing(tmp_path: Path) -> None:
    async with cloud(tmp_path) as c:
        await c.report()
        await c.subnet(await c.network())
    async with cloud(tmp_path) as c:
        assert await c.rows("SELECT count(*) FROM outbox") == [(0,)]
        assert await c.sent() == []


async def test_a_bus_that_fails_is_tried_again(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RETRY_DELAY_MIN_S", 0.001)
    c.bus.failures = 5
    network = await c.network()
    await c.subnet(network)
    await c.port(network)
    assert [method for _, method, _ in await c.sent()] == ["network_create_end", "subnet_create_end", "port_create_end"]
    assert c.bus.failures == 0


async def test_a_message_that_cannot_be_sent_does_not_stop_the_others(c: Cloud) -> None:
    c.bus.failures, c.bus.error = 1, TypeError("not JSON")
    network = await c.network()
    await c.subnet(network)
    assert [method for _, method, _ in await c.sent()] == ["subnet_create_end"]


async def test_a_slow_bus_does_not_fill_the_memory(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MEMORY_ENTRIES_MAX", 5)
    monkeypatch.setattr(outbox_table, "LOAD_MAX", 3)
    network = await c.network()
    await c.subnet(network, "10.0.0.0/16")
    await c.sent()
    c.bus.gate = asyncio.Event()
    ports = []
    for _ in range(4):
        ports += await asyncio.gather(*(c.port(network) for _ in range(10)))
    assert len(c.service._dispatcher._memory) <= 5
    c.bus.gate.set()
    # More arrive while it catches up.
    ports += await asyncio.gather(*(c.port(network) for _ in range(20)))
    sent = [payload["port"]["id"] for _, _, payload in await c.sent()]
    assert len(sent) == len(set(sent)) == 60
    assert set(sent) == {port["id"] for port in ports}
    # In the order of the commits, which is that of the addresses.
    order = {port["id"]: int(port["fixed_ips"][0]["ip_address"].split(".")[-1]) for port in ports}
    assert [order[port_id] for port_id in sent] == sorted(order.values())
    # And it takes the short way again afterwards.
    assert c.service._dispatcher._behind is False
    await empty(c)


async def test_a_commit_while_it_looks_for_more_rows(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    network = await c.network()
    await c.subnet(network)
    await c.sent()
    dispatcher, read = c.service._dispatcher, c.db.read
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def slow_read(fn: Any) -> Any:
        result = await read(fn)
        looked.set()
        await go_on.wait()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(dispatcher._db, "read", slow_read)
        dispatcher._behind = True
        dispatcher._wake.set()
        await asyncio.wait_for(looked.wait(), 10)  # it has found nothing, and is about to go back to the short way
        port = await c.port(network)
        go_on.set()
        assert [payload["port"]["id"] for _, _, payload in await c.sent()] == [port["id"]]


async def test_a_caller_that_goes_away_after_its_commit(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    await c.sent()
    tasks = [asyncio.create_task(c.port(network)) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await c.network()  # everything before it has committed
    stored = {row[0] for row in await c.rows("SELECT id FROM ports")}
    assert {payload["port"]["id"] for _, _, payload in await c.sent()} == stored


@pytest.mark.parametrize(
    ("ids", "spans"), [([], []), ([1], [(1, 1)]), ([1, 2, 3], [(1, 3)]), ([1, 2, 5, 6, 9], [(1, 2), (5, 6), (9, 9)])]
)
def test_spans(ids: list[int], spans: list[tuple[int, int]]) -> None:
    assert outbox_table.spans(ids) == spans


async def test_ids_are_never_used_again(c: Cloud) -> None:
    await c.subnet(await c.network())
    await empty(c)
    await c.subnet(await c.network())
    ids = await c.db.read(lambda connection: connection.execute(sa.select(table.c.id)).scalars().all())
    assert min(ids, default=3) >= 3


async def test_a_database_that_cannot_be_read_for_a_while_delays_what_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with cloud(before) as c:
        await c.report()
        c.bus.gate = asyncio.Event()
        network = await c.network()
        await c.subnet(network)
        copy_database(before, after)
        c.bus.gate.set()
    failures = [sa.exc.OperationalError("SELECT", {}, Exception("disk I/O error")), DatabaseBusy("busy")]
    read = Database.read

    async def failing(self: Database, fn: Any) -> Any:
        if failures:
            raise failures.pop()
        return await read(self, fn)

    monkeypatch.setattr(Database, "read", failing)
    async with cloud(after) as c:
        assert [method for _, method, _ in await c.sent()] == ["network_create_end", "subnet_create_end"]
        assert failures == []


async def test_a_row_that_cannot_be_read_does_not_hold_up_the_others(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with cloud(before) as c:
        await c.report()
        c.bus.gate = asyncio.Event()
        network = await c.network()
        await c.subnet(network)
        await c.port(network)
        await c.db.write(lambda d: d.exec_driver_sql("UPDATE outbox SET payload='{' WHERE id=2") and None)
        copy_database(before, after)
        c.bus.gate.set()
    async with cloud(after) as c:
        assert [method for _, method, _ in await c.sent()] == ["network_create_end", "port_create_end"]
        await empty(c)
