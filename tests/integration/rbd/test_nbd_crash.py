"""kill -9 of the process that serves NBD, while real clients write: what was flushed is there afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.unit.rbd.nbd_client import Client

from .conftest import MIB, tool

SIZE = 32 * MIB
BLOCK = 4096
ROUNDS = 6


@asynccontextmanager
async def server(directory: Path, socket: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.rbd.nbd_process", directory, socket, str(SIZE), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, "the server ended"
        yield process
        process.stdin.close()
        async with asyncio.timeout(30):
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Journal:
    """What is known of each block: the last value that was flushed, and those that may have been written since."""

    def __init__(self) -> None:
        self.flushed: dict[int, int] = {}
        self.pending: dict[int, set[int]] = {}

    def flush(self, writes: dict[int, int]) -> None:
        for block, value in writes.items():
            self.flushed[block] = value
            self.pending[block] = set()

    def check(self, block: int, data: bytes) -> None:
        value = int.from_bytes(data[:8], "little")
        assert data == value.to_bytes(8, "little") * (BLOCK // 8), f"block {block} is torn"
        allowed = {self.flushed.get(block, 0)} | self.pending.get(block, set())
        assert value in allowed, f"block {block} holds {value}, expected one of {allowed}"


async def write_until_killed(socket: Path, process: Process, journal: Journal, seed: int, first: int) -> int:
    """Random writes and flushes until the server dies; returns the next value to write."""
    chance = random.Random(seed)
    value = first
    client = await Client.connect(str(socket))
    kill_after = chance.randrange(5, 60)
    killer: asyncio.Task[None] | None = None
    try:
        for turn in range(10_000):
            writes: dict[int, int] = {}
            for _ in range(chance.randrange(1, 20)):
                block, value = chance.randrange(SIZE // BLOCK), value + 1
                if block in writes:
                    continue  # the order of requests that are in flight together is nobody's promise
                writes[block] = value
                journal.pending.setdefault(block, set()).add(value)
                client.send(1, block * BLOCK, data=value.to_bytes(8, "little") * (BLOCK // 8))
            if turn == kill_after:
                killer = asyncio.create_task(kill(process, chance.random() * 0.01))
            for _ in writes_sent(client, writes):
                assert (await client.reply()).error == 0
            assert (await client.call(3)).error == 0
            journal.flush(writes)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        await client.close()
    assert killer is not None
    await killer
    return value


def writes_sent(client: Client, writes: dict[int, int]) -> range:
    """One reply for each request that was sent since the last flush."""
    sent = client.cookie - getattr(client, "answered", 0)
    client.answered = client.cookie + 1  # type: ignore[attr-defined]  # and the flush that follows
    return range(sent)


async def kill(process: Process, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    process.send_signal(signal.SIGKILL)


async def test_flushed_writes_survive_kill(tmp_path: Path) -> None:
    directory, socket = tmp_path / "store", tmp_path / "nbd.sock"
    journal = Journal()
    value = 0
    for round_number in range(ROUNDS):
        async with server(directory, socket) as process:
            client = await Client.connect(str(socket))
            for block in sorted(journal.pending):
                journal.check(block, await client.read(block * BLOCK, BLOCK))
                # what is there now is what counts
                journal.flush({block: int.from_bytes((await client.read(block * BLOCK, 8)), "little")})
            await client.disconnect()
            value = await write_until_killed(socket, process, journal, round_number, value)
    assert len(journal.flushed) > 100


@pytest.mark.parametrize("round_number", range(3))
async def test_kill_while_nbdcopy_and_qemu_io_write(tmp_path: Path, round_number: int) -> None:
    """What qemu-io has flushed is there; the tool that was cut off reports an error; the image works again."""
    directory, socket = tmp_path / "store", tmp_path / "nbd.sock"
    uri = f"nbd+unix:///disk?socket={socket}"
    data = os.urandom(24 * MIB)
    (tmp_path / "in.raw").write_bytes(data)
    async with server(directory, socket) as process:
        await tool("qemu-io", "-f", "raw", uri, "-c", "write -P 55 30M 1M", "-c", "flush")
        killer = asyncio.create_task(kill(process, 0.02 + 0.03 * round_number))
        output = await tool("nbdcopy", "--no-extents", tmp_path / "in.raw", uri, "--flush", check=False)
        await killer
        await process.wait()
    async with server(directory, socket):
        read = await tool("qemu-io", "-f", "raw", uri, "-c", "read -P 55 30M 1M")
        assert "failed" not in read, (read, output)
        await tool("nbdcopy", tmp_path / "in.raw", uri, "--flush")
        await tool("nbdcopy", uri, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes()[: 24 * MIB] == data
