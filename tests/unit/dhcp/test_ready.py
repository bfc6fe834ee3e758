"""dhcp_ready_on_ports in batches."""

from __future__ import annotations

import asyncio

import pytest

from cove.bus import CallTimeout
from cove.dhcp import ready
from cove.dhcp.ready import ReadyReporter


class Server:
    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.errors = 0
        self.block = asyncio.Event()
        self.block.set()

    async def send(self, ids) -> None:
        await self.block.wait()
        if self.errors:
            self.errors -= 1
            raise CallTimeout("no")
        self.batches.append(list(ids))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while sum(map(len, self.batches)) < count:
                await asyncio.sleep(0)


@pytest.fixture
async def server():
    return Server()


@pytest.fixture
async def reporter(server):
    reporter = ReadyReporter(server.send)
    task = asyncio.create_task(reporter.run())
    yield reporter
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_goes_alone_and_at_once(server, reporter):
    reporter.add(["a"])
    await server.until(1)
    assert server.batches == [["a"]]


async def test_what_comes_meanwhile_shares_the_next_call(server, reporter):
    server.block.clear()
    reporter.add(["first"])
    await asyncio.sleep(0)
    for n in range(200):
        reporter.add([str(n)])
    server.block.set()
    await server.until(201)
    assert [len(batch) for batch in server.batches] == [1, 64, 64, 64, 8]
    assert server.batches[1][0] == "0"


async def test_failures_are_repeated(server, reporter, monkeypatch):
    monkeypatch.setattr(ready, "RETRY_FIRST_S", 0.001)
    server.errors = 1
    reporter.add(["a"])
    await server.until(1)
    assert server.batches == [["a"]]


async def test_a_deleted_port_is_not_reported(server, reporter):
    reporter.add(["a", "b"])
    reporter.discard("a")
    await server.until(1)
    assert server.batches == [["b"]]
