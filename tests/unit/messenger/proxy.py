"""A TCP proxy that misbehaves on command: cuts, stalls, corrupts and delays, at exact bytes and without sleeps.

    async with Proxy("127.0.0.1", port) as proxy:
        proxy.to_server.cut_at = 1000       # forward 1000 bytes of what the client sends, then cut both ways
        ... connect to proxy.port ...
        await proxy.to_server.reached(1000)

What is set counts for each connection anew (offsets start at its first byte); `cut`, `stall` and `go` act on the
open ones, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK_BYTES = 1 << 16
Change = Callable[[int, bytes], bytes]


class Way:
    """One direction: what is done to the bytes that go there."""

    def __init__(self) -> None:
        self.cut_at: int | None = None
        """Cut the connection after so many bytes."""
        self.stall_at: int | None = None
        """Forward so many bytes and then no more, until `go`."""
        self.flip_at: int | None = None
        """Change the byte at this offset (its lowest bit)."""
        self._next_flip: tuple[int, int] | None = None
        self.chunk_bytes = CHUNK_BYTES
        """Forward at most so many bytes in one piece; 1: byte by byte."""
        self.forwarded = 0
        """Bytes that went this way, over all connections."""
        self.log: bytearray | None = None
        """Set it to an empty bytearray to see the bytes."""
        self._open = asyncio.Event()
        self._open.set()
        self._progress: list[tuple[int, asyncio.Future[None]]] = []

    def stall(self) -> None:
        """Forward nothing from now on; the kernel's buffers fill."""
        self._open.clear()

    def go(self) -> None:
        """Forward again."""
        self.stall_at = None
        self._open.set()

    async def reached(self, total: int) -> None:
        """Wait until so many bytes went this way in all."""
        if self.forwarded < total:
            future = asyncio.get_running_loop().create_future()
            self._progress.append((total, future))
            await future

    def count(self, data: bytes) -> None:
        """These have been forwarded."""
        self.forwarded += len(data)
        if self.log is not None:
            self.log += data
        for total, future in self._progress:
            if self.forwarded >= total and not future.done():
                future.set_result(None)

    async def next_size(self, offset: int) -> int:
        """How many bytes may go in one piece now, at this offset of a connection; 0: cut."""
        if self.stall_at is not None and offset >= self.stall_at:
            self._open.clear()
        await self._open.wait()
        size = self.chunk_bytes
        for limit in (self.cut_at, self.stall_at):
            if limit is not None:
                size = min(size, max(limit - offset, 0))
        return size

    def flip_next(self, index: int, bits: int = 1) -> None:
        """Once, change these bits of the byte that has this index in what goes this way from now on."""
        self._next_flip = self.forwarded + index, bits

    def change(self, offset: int, data: bytes) -> bytes:
        """What becomes of bytes that begin at this offset of a connection."""
        if self._next_flip is not None and self._next_flip[0] < self.forwarded + len(data):
            at, bits = self._next_flip
            self._next_flip = None
            changed = bytearray(data)
            changed[at - self.forwarded] ^= bits
            return bytes(changed)
        flip = self.flip_at
        if flip is None or not offset <= flip < offset + len(data):
            return data
        changed = bytearray(data)
        changed[flip - offset] ^= 1
        return bytes(changed)


class Proxy:
    """Listens on 127.0.0.1 and forwards to one server."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.port = 0
        self.to_server, self.to_client = Way(), Way()
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def open_connections(self) -> int:
        """How many are being forwarded."""
        return len(self._links)

    def cut(self) -> None:
        """Cut all open connections: both ends see a reset or an end."""
        for writers in self._links.values():
            for writer in writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        self._links[task] = [writer]
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            self._links[task].append(server_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, server_writer, self.to_server))
                group.create_task(self._pump(server_reader, writer, self.to_client))
        except* (OSError, _Cut):
            pass
        except* asyncio.CancelledError:
            pass
        finally:
            for each in self._links.pop(task):
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        offset = 0
        while True:
            size = await way.next_size(offset)
            if size == 0 and way.cut_at is not None and offset >= way.cut_at:
                raise _Cut
            if size == 0:
                continue
            data = await reader.read(size)
            if not data:
                raise _Cut
            await way._open.wait()
            writer.write(way.change(offset, data))
            await writer.drain()
            offset += len(data)
            way.count(data)


class _Cut(Exception):
    """End both directions."""
