"""A terminal on a guest's serial console: bytes both ways between a tty and a unix socket.

The terminal is raw meanwhile, so that every key but the escape key reaches the guest, and is restored whatever happens.
"""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cove.errors import CoveError

ESCAPE = b"\x1d"  # Ctrl-]
CHUNK_BYTES = 4096
CONNECT_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 30.0


class ConsoleError(CoveError):
    """The console cannot be reached."""


@contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Make a terminal raw for the length of the block; anything that is no terminal is left as it is."""
    if not os.isatty(descriptor):
        yield
        return
    saved = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead is kept
        yield
    finally:
        # DRAIN: what the guest said last is shown before the mode changes.
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


async def attach(socket_path: Path, stdin_fd: int, stdout_fd: int, escape: bytes = ESCAPE) -> str:
    """Connect the terminal to the console until the escape key, the end of the input or the end of the guest.

    Returns which it was: "escape", "input" or "guest". Raises ConsoleError if the console cannot be reached (one
    terminal at a time may be attached).
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(str(socket_path))
    except FileNotFoundError:
        raise ConsoleError(f"no console at {socket_path}: is the server running?") from None
    except (TimeoutError, BlockingIOError):
        raise ConsoleError(f"{socket_path}: somebody else is attached to this console") from None
    except OSError as error:
        raise ConsoleError(f"{socket_path}: {error.strerror}") from error
    try:
        with raw_terminal(stdin_fd):
            return await _copy(reader, writer, stdin_fd, stdout_fd, escape)
    finally:
        writer.close()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stdin_fd: int, stdout_fd: int, escape: bytes
) -> str:
    to_guest = asyncio.create_task(_keys(writer, stdin_fd, escape))
    to_person = asyncio.create_task(_screen(reader, stdout_fd))
    tasks = (to_guest, to_person)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return (to_person if to_person in done else to_guest).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keys(writer: asyncio.StreamWriter, stdin_fd: int, escape: bytes) -> str:
    while True:
        await _readable(stdin_fd)
        try:
            data = os.read(stdin_fd, CHUNK_BYTES)
        except BlockingIOError:
            continue
        except OSError:  # the terminal was closed
            return "input"
        before, found, _ = data.partition(escape) if escape else (data, b"", b"")
        try:
            writer.write(before)
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await writer.drain()
        except (OSError, TimeoutError):
            return "guest"
        if found:
            return "escape"
        if not data:
            return "input"


async def _screen(reader: asyncio.StreamReader, stdout_fd: int) -> str:
    while True:
        try:
            data = await reader.read(CHUNK_BYTES)
        except OSError:
            return "guest"
        if not data:
            return "guest"
        # A terminal that is stopped (Ctrl-S) may block for ever: in a thread it holds up only itself.
        await asyncio.to_thread(_write_all, stdout_fd, data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


async def _readable(descriptor: int) -> None:
    """Wait until there is something to read. Files, which the event loop cannot watch, always have."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    try:
        loop.add_reader(descriptor, wake)
    except PermissionError:
        return
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
