"""A store in a temporary directory, a client of it, and io contexts that fail on purpose."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cove.messenger import LoopbackNetwork
from cove.rados import AioCompletion, IoCtx, LoopbackTransport, Rados, make_error
from cove.rados.errors import outcome_unknown
from cove.rados.operations import OpVector
from cove.rados.results import OpResult
from cove.store import Store


@asynccontextmanager
async def open_pool(path: Path, pool: str = "rbd") -> AsyncIterator[IoCtx]:
    """Store and client for as long as the context lasts."""
    network = LoopbackNetwork()
    store = Store(path, map_size_bytes=1 << 32)
    await store.start(network)
    try:
        async with Rados(LoopbackTransport(network)) as cluster, cluster.open_ioctx(pool) as ioctx:
            yield ioctx
    finally:
        await store.stop()


@contextmanager
def store_directory() -> Iterator[Path]:
    """A directory in memory where there is one: these tests are about what is stored, not about the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory) / "store"


@pytest.fixture
async def ioctx() -> AsyncIterator[IoCtx]:
    with store_directory() as directory:
        async with open_pool(directory) as opened:
            yield opened


async def object_names(ioctx: IoCtx) -> set[str]:
    return {entry.name async for entry in ioctx.list_objects()}


class Died(BaseException):
    """Stands for kill -9: nothing runs after it."""


class FaultyIoCtx:
    """Passes everything on to a real io context, except that operation number `at` (from 0) goes wrong.

    Modes: "error" (not applied, EIO), "unknown" (applied, the answer is lost), "cancel" (applied, the caller is
    cancelled), "die" (not applied, and nothing after it is), "die after" (applied, and nothing after it is).
    """

    def __init__(self, inner: IoCtx, at: int, mode: str, only: Callable[[OpVector], bool] = lambda op: True) -> None:
        self._inner = inner
        self._at = at
        self._mode = mode
        self._only = only
        self.count = 0
        self.dead = False
        self.log: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def aio_operate(self, oid: str, op: OpVector, **arguments: Any) -> Any:
        """As operate, as far as it has failed synchronously."""
        if self.dead:
            raise Died
        hit = self._only(op) and self.count == self._at
        self.count += self._only(op)
        self.log.append((oid, op.name))
        if not hit:
            return self._inner.aio_operate(oid, op, **arguments)
        if self._mode == "error":
            raise make_error(-5, operation=op.name, oid=oid)
        self.dead = self._mode.startswith("die")
        if self._mode == "die":
            raise Died
        return self.doom(oid, op)

    async def operate(self, oid: str, op: OpVector) -> OpResult:
        result: OpResult = await self.aio_operate(oid, op)
        return result

    def doom(self, oid: str, op: OpVector) -> Doomed:
        """Apply the operation, and lose its answer in the way of the mode."""
        failure: BaseException = Died()
        if self._mode == "unknown":
            failure = outcome_unknown(-110, operation=op.name, oid=oid)
        elif self._mode == "cancel":
            failure = asyncio.CancelledError()
        return Doomed(self._inner.aio_operate(oid, op), failure)


class RefusingIoCtx:
    """Passes everything on to a real io context, but fails operations whose names contain one of `refused`."""

    def __init__(self, inner: IoCtx, number: int, *refused: str) -> None:
        self._inner = inner
        self._number = number
        self.refused = list(refused)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def aio_operate(self, oid: str, op: OpVector, **arguments: Any) -> AioCompletion:
        """As IoCtx.aio_operate."""
        if any(name in op.name for name in self.refused):
            raise make_error(-self._number, operation=op.name, oid=oid)
        return self._inner.aio_operate(oid, op, **arguments)

    async def operate(self, oid: str, op: OpVector) -> OpResult:
        """As IoCtx.operate."""
        return await self.aio_operate(oid, op)


class Doomed:
    """A completion whose answer does not arrive."""

    def __init__(self, completion: AioCompletion, failure: BaseException) -> None:
        self._completion = completion
        self._failure = failure

    def cancel(self) -> bool:
        return False

    def __await__(self) -> Generator[Any, None, OpResult]:
        yield from self._completion.wait_for_complete().__await__()
        raise self._failure


@pytest.fixture
def faulty(ioctx: IoCtx) -> Callable[..., Any]:
    return lambda at, mode, **arguments: FaultyIoCtx(ioctx, at, mode, **arguments)
