"""The console's terminal: bytes both ways, the escape key, and a terminal that is as before."""

from __future__ import annotations

import asyncio
import os
import pty
import termios
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cove.compute.console import ConsoleError, attach
from tests.unit.compute.conftest import until


class Guest:
    """The other side of the serial socket: notes what it gets, says what it is told to."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.writers: list[asyncio.StreamWriter] = []
        self.changed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.changed.set()
        while data := await reader.read(100):
            self.heard += data
            self.changed.set()
        writer.close()

    async def hears(self, wanted: bytes) -> None:
        async with asyncio.timeout(5):
            while wanted not in self.heard:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def guest(tmp_path: Path) -> AsyncIterator[Guest]:
    guest = Guest()
    server = await asyncio.start_unix_server(guest.serve, tmp_path / "serial.sock")
    yield guest
    for writer in guest.writers:
        writer.close()
    server.close()
    await server.wait_closed()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


async def test_keys_and_screen_and_escape(guest: Guest, terminal: tuple[int, int], tmp_path: Path) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    task = asyncio.create_task(attach(tmp_path / "serial.sock", theirs, theirs))
    await until(lambda: guest.writers and not termios.tcgetattr(theirs)[3] & termios.ICANON)
    os.write(ours, b"ls\x03\n")
    await guest.hears(b"ls\x03\n")  # also Ctrl-C is the guest's
    guest.writers[0].write(b"file\r\n")
    seen = b""
    while b"file" not in seen:
        seen += await asyncio.to_thread(os.read, ours, 100)
    os.write(ours, b"last\x1dnot this")
    assert await asyncio.wait_for(task, 5) == "escape"
    await guest.hears(b"last")
    assert b"not this" not in guest.heard
    assert termios.tcgetattr(theirs) == before


async def test_the_guest_ends(guest: Guest, terminal: tuple[int, int], tmp_path: Path) -> None:
    _, theirs = terminal
    before = termios.tcgetattr(theirs)
    task = asyncio.create_task(attach(tmp_path / "serial.sock", theirs, theirs))
    await until(lambda: guest.writers)
    guest.writers[0].close()
    assert await asyncio.wait_for(task, 5) == "guest"
    assert termios.tcgetattr(theirs) == before


async def test_cancelled(guest: Guest, terminal: tuple[int, int], tmp_path: Path) -> None:
    _, theirs = terminal
    before = termios.tcgetattr(theirs)
    task = asyncio.create_task(attach(tmp_path / "serial.sock", theirs, theirs))
    await until(lambda: not termios.tcgetattr(theirs)[3] & termios.ICANON)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert termios.tcgetattr(theirs) == before


async def test_input_from_a_file_ends(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"poweroff\n")
    with open(tmp_path / "input", "rb") as keys, open(tmp_path / "output", "wb") as screen:
        assert await asyncio.wait_for(attach(tmp_path / "serial.sock", keys.fileno(), screen.fileno()), 5) == "input"
    await guest.hears(b"poweroff\n")


async def test_no_console(tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="is the server running"):
        await attach(tmp_path / "none.sock", 0, 1)
