"""Counts the writes of an image: a flush waits for those that were begun before it, a resize stops them all.

Source: Ceph's librbd io::ImageRequestWQ / ImageDispatcher (`block_writes`, flush tracking).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .errors import ImageClosed


class WriteGate:
    """Writes in flight, by the order in which they were begun."""

    def __init__(self) -> None:
        self._in_flight: OrderedDict[int, None] = OrderedDict()
        self._sequence = 0
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._open = asyncio.Event()
        self._open.set()
        self._blocking = asyncio.Lock()
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Number of writes begun and not done."""
        return len(self._in_flight)

    async def enter(self) -> int:
        """Begin a write: waits while writes are blocked. Give the number to `leave`. Raises ImageClosed."""
        while not self._open.is_set():
            await self._open.wait()
        if self._closed:
            raise ImageClosed("the image is closed: open it again")
        self._sequence += 1
        self._in_flight[self._sequence] = None
        return self._sequence

    def leave(self, sequence: int) -> None:
        """The write is done, well or not."""
        del self._in_flight[sequence]
        oldest = next(iter(self._in_flight), self._sequence + 1)
        while self._flushes and self._flushes[0][0] < oldest:
            _, waiter = self._flushes.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def drain(self) -> None:
        """Wait until every write that was begun before now is done."""
        if not self._in_flight:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._flushes.append((self._sequence, waiter))
        await waiter

    @asynccontextmanager
    async def blocked(self) -> AsyncIterator[None]:
        """No write is in flight inside, and none begins. Raises ImageClosed."""
        async with self._blocking:
            if self._closed:
                raise ImageClosed("the image is closed: open it again")
            self._open.clear()
            try:
                await self.drain()
                yield
            finally:
                self._open.set()

    async def close(self) -> None:
        """Refuse new writes, and wait for those in flight and for who has them blocked."""
        self._closed = True
        async with self._blocking:
            await self.drain()
