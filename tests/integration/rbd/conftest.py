"""A store, a server over it, and running the real tools against it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cove import rbd
from cove.messenger import LoopbackNetwork
from cove.rados import IoCtx, LoopbackTransport, Rados
from cove.rbd.nbd import ImageBackend, NbdServer
from cove.store import Store

TOOL_TIMEOUT_S = 60.0
MIB = 1 << 20


class ToolFailed(AssertionError):
    pass


async def tool(*command: str | Path, stdin: bytes = b"", check: bool = True) -> str:
    """Runs a program; its output, standard error included. Skips the test where it is not installed."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TOOL_TIMEOUT_S):
            output, _ = await process.communicate(stdin)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if check and process.returncode:
        raise ToolFailed(f"{command}: {process.returncode}\n{output.decode(errors='replace')}")
    return output.decode(errors="replace")


@pytest.fixture
async def ioctx(tmp_path: Path) -> AsyncIterator[IoCtx]:
    network = LoopbackNetwork()
    store = Store(tmp_path / "store", map_size_bytes=1 << 34)
    await store.start(network)
    try:
        async with Rados(LoopbackTransport(network)) as cluster, cluster.open_ioctx("rbd") as opened:
            yield opened
    finally:
        await store.stop()


@asynccontextmanager
async def serving(
    ioctx: IoCtx,
    names: list[str],
    *,
    read_only: bool = False,
    listen: Callable[[NbdServer], Awaitable[object]] | None = None,
) -> AsyncIterator[NbdServer]:
    """An NBD server of these images."""

    async def open_backend(name: str) -> ImageBackend:
        return ImageBackend(await rbd.Image.open(ioctx, name, read_only=read_only))

    server = NbdServer(open_backend, names, read_only=read_only, description="a test image")
    try:
        if listen is not None:
            await listen(server)
        yield server
    finally:
        await server.close()
