"""Filling images: from another image of the cluster, and from a raw file or stream. Holes and zeros stay holes.

Used to import images and to make a server's disk from one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .create import create
from .errors import InvalidArgument
from .image import Image
from .remove import remove

if TYPE_CHECKING:
    from ..rados import IoCtx
    from ..wire.encoding import Buffer

CHUNK_BYTES = 1 << 20
CHUNKS_IN_FLIGHT = 8
ZERO_BLOCK_BYTES = 64 << 10
"""Runs of zeros are looked for in blocks of this size."""
_ZERO_BLOCK = bytes(ZERO_BLOCK_BYTES)

Progress = Callable[[int, int], None]
"""Gets bytes done and bytes to do."""


class _Writer:
    """Writes to an image with a bounded number of chunks in flight; owns their tasks."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, offset: int, data: Buffer) -> None:
        """Write those blocks that aren't all zeros. Raises the error of an earlier write."""
        while len(self._tasks) >= CHUNKS_IN_FLIGHT:
            await self._reap(asyncio.FIRST_COMPLETED)
        self._tasks.add(asyncio.get_running_loop().create_task(self._write(offset, data)))

    async def _write(self, offset: int, data: Buffer) -> None:
        for start, end in data_ranges(data):
            await self._image.write(offset + start, memoryview(data)[start:end])

    async def _reap(self, when: str) -> None:
        done, self._tasks = await asyncio.wait(self._tasks, return_when=when)
        for task in done:
            task.result()

    async def finish(self) -> None:
        """Wait for all, and for their commit."""
        while self._tasks:
            await self._reap(asyncio.ALL_COMPLETED)
        await self._image.flush()

    async def cancel(self) -> None:
        """Give up what is in flight."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


def data_ranges(data: Buffer) -> list[tuple[int, int]]:
    """Start and end of the runs of blocks in `data` that aren't all zeros."""
    raw = bytes(data)
    found: list[tuple[int, int]] = []
    for start in range(0, len(raw), ZERO_BLOCK_BYTES):
        end = min(start + ZERO_BLOCK_BYTES, len(raw))
        if raw[start:end] == _ZERO_BLOCK[: end - start]:
            continue
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


async def copy_image(source: Image, destination: Image, *, on_progress: Progress | None = None) -> int:
    """Copy the content of an image into a new, empty one, which must be at least as large. Returns bytes of data."""
    if destination.size < source.size:
        raise InvalidArgument(
            f"image {destination.name!r} has {destination.size} bytes, image {source.name!r} {source.size}: "
            "make it at least as large"
        )

    async def chunks() -> AsyncIterator[tuple[int, Buffer]]:
        position = 0
        for length, allocated in await source.block_status(0, source.size) if source.size else ():
            end = position + length
            while allocated and position < end:
                size = min(CHUNK_BYTES, end - position)
                at = position
                for piece, data in await source.read_segments(position, size):
                    if data is not None:
                        yield at, data
                    at += piece
                position += size
            position = end

    return await _fill(destination, chunks(), source.size, on_progress)


async def import_file(image: Image, path: Path, *, on_progress: Progress | None = None) -> int:
    """Copy a raw file into a new, empty image, which must be at least as large. Returns bytes of data."""
    descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if image.size < size:
            raise InvalidArgument(f"image {image.name!r} has {image.size} bytes, {path} {size}: make it as large")
        return await _fill(image, _file_chunks(descriptor, size), size, on_progress)
    finally:
        os.close(descriptor)


async def _file_chunks(descriptor: int, size: int) -> AsyncIterator[tuple[int, Buffer]]:
    position = 0
    while position < size:
        try:
            position = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:
            return  # only a hole is left
        end = min(os.lseek(descriptor, position, os.SEEK_HOLE), size)
        while position < end:
            data = await asyncio.to_thread(os.pread, descriptor, min(CHUNK_BYTES, end - position), position)
            if not data:
                return
            yield position, data
            position += len(data)


async def import_stream(image: Image, stream: AsyncIterable[Buffer], *, on_progress: Progress | None = None) -> int:
    """Copy consecutive pieces of bytes into a new, empty image. Raises InvalidArgument if they are too many."""

    async def chunks() -> AsyncIterator[tuple[int, Buffer]]:
        position = 0
        async for data in stream:
            if position + len(data) > image.size:
                raise InvalidArgument(f"the stream is longer than image {image.name!r} with {image.size} bytes")
            yield position, data
            position += len(data)

    return await _fill(image, chunks(), image.size, on_progress)


async def _fill(
    image: Image, chunks: AsyncIterator[tuple[int, Buffer]], total: int, on_progress: Progress | None
) -> int:
    writer = _Writer(image)
    written = 0
    try:
        async for offset, data in chunks:
            await writer.write(offset, data)
            written += len(data)
            if on_progress is not None:
                on_progress(offset + len(data), total)
        await writer.finish()
    except BaseException:
        await writer.cancel()
        raise
    if on_progress is not None:
        on_progress(total, total)
    return written


async def create_from_image(
    source_ioctx: IoCtx,
    source: str,
    ioctx: IoCtx,
    name: str,
    size_bytes: int = 0,
    *,
    on_progress: Progress | None = None,
) -> int:
    """Create an image with the content of another, of any pool of the cluster; `size_bytes` 0: of the same size.

    Returns bytes of data. Whatever fails, the new image is removed again. Raises as `create`, ImageNotFound,
    InvalidArgument (smaller than the source).
    """
    async with await Image.open(source_ioctx, source, read_only=True) as origin:
        if size_bytes and size_bytes < origin.size:
            raise InvalidArgument(f"size_bytes={size_bytes}: image {source!r} has {origin.size}, give at least that")
        await create(ioctx, name, size_bytes or origin.size, order=origin.layout.order)
        try:
            async with await Image.open(ioctx, name) as copy:
                return await copy_image(origin, copy, on_progress=on_progress)
        except BaseException:
            await asyncio.shield(remove(ioctx, name))
            raise


async def create_from_file(
    ioctx: IoCtx, name: str, path: Path, size_bytes: int = 0, *, on_progress: Progress | None = None
) -> int:
    """Create an image with the content of a raw file; `size_bytes` 0: of the file's size, rounded up to 512.

    Returns bytes of data. Whatever fails, the image is removed again.
    """
    file_size = path.stat().st_size
    if size_bytes and size_bytes < file_size:
        raise InvalidArgument(f"size_bytes={size_bytes}: {path} has {file_size}, give at least that")
    await create(ioctx, name, size_bytes or -(-file_size // 512) * 512)
    try:
        async with await Image.open(ioctx, name) as image:
            return await import_file(image, path, on_progress=on_progress)
    except BaseException:
        await asyncio.shield(remove(ioctx, name))
        raise
