"""An NBD backend in memory, with which the server is tested alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cove.rbd.nbd.replies import Buffer, Segment

BLOCK = 4096


class MemoryBackend:
    def __init__(self, size: int, *, durable_writes: bool = True) -> None:
        self.data = bytearray(size)
        self.size = size
        self.durable_writes = durable_writes
        self.allocated: set[int] = set()
        self.flushes = 0
        self.closed = False
        self.discards: list[tuple[int, int]] = []
        self.thick: list[bool] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = 0
        self.failure: Exception | None = None

    async def _enter(self) -> None:
        self.entered += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    async def read(self, offset: int, length: int) -> Sequence[Segment]:
        await self._enter()
        pieces: list[Segment] = []
        while length:
            size = min(BLOCK - offset % BLOCK, length)
            used = offset // BLOCK in self.allocated
            pieces.append((size, bytes(self.data[offset : offset + size]) if used else None))
            offset, length = offset + size, length - size
        return pieces

    async def write(self, offset: int, data: Buffer) -> None:
        await self._enter()
        self.data[offset : offset + len(data)] = data
        self.allocated.update(range(offset // BLOCK, (offset + len(data) - 1) // BLOCK + 1))

    async def discard(self, offset: int, length: int) -> None:
        await self._enter()
        self.discards.append((offset, length))

    async def write_zeroes(self, offset: int, length: int, *, thick: bool) -> None:
        await self._enter()
        self.thick.append(thick)
        self.data[offset : offset + length] = bytes(length)

    async def flush(self) -> None:
        await self._enter()
        self.flushes += 1

    async def block_status(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        await self._enter()
        extents: list[tuple[int, bool]] = []
        while length:
            size = min(BLOCK - offset % BLOCK, length)
            extents.append((size, offset // BLOCK in self.allocated))
            offset, length = offset + size, length - size
        return extents

    async def close(self) -> None:
        self.closed = True
