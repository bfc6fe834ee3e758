"""Files to objects and back (`cove rados put`, `get`): in pieces, several of them under way at once.

Reading and writing the file happens on a thread: a pipe may make us wait for as long as it likes, and the connections
to the cluster must live meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from .output import errors, printable
from .rados_options import PATIENCE_S

if TYPE_CHECKING:
    from ..rados import AioCompletion, IoCtx

PIECE = 4 << 20
"""Bytes of one operation, as Ceph's own tool has it."""
PIECES_MAX = 4
"""Pieces under way at once."""
STANDARD = "-"


class Meter:
    """A progress bar on the terminal that shows itself only when a transfer takes long."""

    def __init__(self, text: str, total: int | None) -> None:
        self.moved = 0
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(True), TransferSpeedColumn())
        self._progress = Progress(*columns, console=errors, transient=True)
        self._task: TaskID = self._progress.add_task(printable(text), total=total)
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if errors.is_terminal:
            self._handle = asyncio.get_running_loop().call_later(PATIENCE_S, self._progress.start)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._progress.stop()

    def total(self, total: int) -> None:
        """How much it will be."""
        self._progress.update(self._task, total=total)

    def move(self, count: int) -> None:
        """So many bytes more."""
        self.moved += count
        self._progress.update(self._task, advance=count)


@contextmanager
def source_of(path: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file to read, or standard input; with its size in bytes, if it has one. Raises OSError."""
    if path == STANDARD:
        yield sys.stdin.buffer, _size(sys.stdin.buffer)
        return
    with Path(path).open("rb") as file:
        yield file, _size(file)


def _size(file: BinaryIO) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except OSError:  # it has no descriptor
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


async def put(ioctx: IoCtx, oid: str, source: BinaryIO, meter: Meter) -> int:
    """Make the object what the source holds; its size in bytes. An error tells how far it came."""
    from ..rados import Error, WriteOp

    piece = await asyncio.to_thread(source.read, PIECE)
    await ioctx.write_full(oid, piece)  # alone: what is refused is refused before the rest is read
    meter.move(len(piece))
    offset = len(piece)
    under_way: deque[tuple[AioCompletion, int]] = deque()
    try:
        while True:
            if len(piece) == PIECE:
                piece = await asyncio.to_thread(source.read, PIECE)
                if piece:
                    under_way.append((ioctx.aio_operate(oid, WriteOp().write(piece, offset)), len(piece)))
                    offset += len(piece)
            else:
                piece = b""
            if len(under_way) == PIECES_MAX or not piece:
                if not under_way:
                    return offset
                completion, length = under_way.popleft()
                await completion
                meter.move(length)
    except BaseException as problem:
        for completion, _ in under_way:
            completion.cancel()
        if isinstance(problem, Error):
            problem.add_note(f"the object is incomplete: the first {meter.moved} bytes of it were written")
        raise


async def get(ioctx: IoCtx, oid: str, path: str, meter: Meter) -> int:
    """Write the object into a file, or to standard output; its size in bytes.

    The file is made (or emptied) only once the object has been found. One that is new is removed again if the rest of
    the object can't be had.
    """
    first = await ioctx.read(oid, PIECE)
    if path == STANDARD:
        await _copy(ioctx, oid, first, sys.stdout.buffer, meter)
        sys.stdout.buffer.flush()
        return meter.moved
    target = Path(path)
    is_new = not target.exists()
    with target.open("wb") as file:
        try:
            await _copy(ioctx, oid, first, file, meter)
        except BaseException as problem:
            if is_new:
                target.unlink()
            else:
                problem.add_note(f"{path} holds only the first {meter.moved} bytes of the object")
            raise
    return meter.moved


async def _copy(ioctx: IoCtx, oid: str, first: bytes, target: BinaryIO, meter: Meter) -> None:
    """Read ahead, and write in order, until a piece is short."""
    from ..rados import ReadOp

    await asyncio.to_thread(target.write, first)
    meter.move(len(first))
    if len(first) < PIECE:
        return
    meter.total((await ioctx.stat(oid)).size)
    offset = PIECE
    under_way: deque[AioCompletion] = deque()
    try:
        while True:
            while len(under_way) < PIECES_MAX:
                under_way.append(ioctx.aio_operate(oid, ReadOp().read(PIECE, offset)))
                offset += PIECE
            piece = (await under_way.popleft()).data(0)
            await asyncio.to_thread(target.write, piece)
            meter.move(len(piece))
            if len(piece) < PIECE:
                return
    finally:
        for completion in under_way:
            completion.cancel()
