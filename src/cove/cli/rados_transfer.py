"""Files to objects and back (`cove rados put`, `get`): in pieces, several of them under way at once."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from .output import errors, human_bytes, printable
from .rados_options import PATIENCE_S
from .rados_streams import STANDARD, Unbuffered, standard_output, writing

if TYPE_CHECKING:
    from ..rados import AioCompletion, IoCtx, PoolStats, Rados

PIECE = 4 << 20
"""Bytes of one operation, as Ceph's own tool has it."""
PIECES_MAX = 4
"""Pieces under way at once."""


class AmountColumn(ProgressColumn):
    """`1.5 MiB of 4 MiB  300 MiB/s`, or `1,234 of 5,000 objects  900/s`: of what is known yet."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """The column."""
        bare = self._unit == "bytes"
        done, total, speed = (
            None if value is None else human_bytes(round(value)) if bare else f"{value:,.0f}"
            for value in (task.completed, task.total, task.finished_speed or task.speed)
        )
        amount = done if total is None else f"{done} of {total}"
        return Text((amount or "") + ("" if bare else f" {self._unit}") + (f"  {speed}/s" if speed else ""))


class Meter:
    """A progress bar on the terminal that shows itself only when a transfer takes long."""

    def __init__(self, text: str, total: int | None, *, unit: str = "bytes") -> None:
        self.moved = 0
        columns = (TextColumn("{task.description}"), BarColumn(), AmountColumn(unit))
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


async def stats_of(rados: Rados, pool: str) -> PoolStats | None:
    """How much there is, for a progress bar; None where none is shown, or nobody knows."""
    from ..rados import Error

    if not errors.is_terminal:
        return None
    try:
        return (await rados.pool_stats([pool]))[pool]
    except (Error, KeyError):
        return None


async def put(ioctx: IoCtx, oid: str, source: BinaryIO, meter: Meter, offset: int | None = None) -> int:
    """Make the object what the source holds, or its part from `offset` on; how many bytes that were.

    An error tells how far it came.
    """
    from ..rados import Error, WriteOp
    from ..rados.dump import in_thread, piece_size

    full = piece_size(ioctx, PIECE)
    piece = await in_thread(source.read, full)
    first = WriteOp().write_full(piece) if offset is None else WriteOp().write(piece, offset)
    await ioctx.operate(oid, first)  # alone: what is refused is refused before the rest is read
    meter.move(len(piece))
    begin = offset or 0
    offset = begin + len(piece)
    under_way: deque[tuple[AioCompletion, int]] = deque()
    try:
        while True:
            if len(piece) == full:
                piece = await in_thread(source.read, full)
                if piece:
                    under_way.append((ioctx.aio_operate(oid, WriteOp().write(piece, offset)), len(piece)))
                    offset += len(piece)
            else:
                piece = b""
            if len(under_way) == PIECES_MAX or not piece:
                if not under_way:
                    return offset - begin
                completion, length = under_way.popleft()
                await completion
                meter.move(length)
    except BaseException as problem:
        for completion, _ in under_way:
            completion.cancel()
        if isinstance(problem, Error):
            problem.add_note(f"the object is incomplete: the first {meter.moved} bytes of it were written")
        raise


async def append(ioctx: IoCtx, oid: str, source: BinaryIO, meter: Meter) -> int:
    """Add what the source holds at the object's end, piece by piece; how many bytes. An error tells how far it came."""
    from ..rados import Error
    from ..rados.dump import in_thread, piece_size

    full = piece_size(ioctx, PIECE)
    while True:
        piece = await in_thread(source.read, full)
        if not piece and meter.moved:
            return meter.moved
        try:
            await ioctx.append(oid, piece)
        except Error as problem:
            if meter.moved:
                problem.add_note(f"the first {meter.moved} bytes were appended")
            raise
        meter.move(len(piece))
        if len(piece) < full:
            return meter.moved


async def get(ioctx: IoCtx, oid: str, path: str, meter: Meter) -> int:
    """Write the object into a file, or to standard output; its size in bytes.

    The file is made (or emptied) only once the object has been found. One that is new is removed again if the rest of
    the object can't be had.
    """
    first = await ioctx.read(oid, PIECE)
    with writing(path):
        if path == STANDARD:
            await _copy(ioctx, oid, first, standard_output(), meter)
            return meter.moved
        target = Path(path)
        is_new = not target.exists()
        with target.open("wb", buffering=0) as file:
            try:
                await _copy(ioctx, oid, first, Unbuffered(file.fileno()), meter)
            except BaseException as problem:
                if is_new:
                    target.unlink()
                else:
                    problem.add_note(f"{path} holds only the first {meter.moved} bytes of the object")
                raise
    return meter.moved


async def _copy(ioctx: IoCtx, oid: str, first: bytes, target: BinaryIO | Unbuffered, meter: Meter) -> None:
    """Read ahead, and write in order, until a piece is short."""
    from ..rados import ReadOp
    from ..rados.dump import in_thread

    await in_thread(target.write, first)
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
            await in_thread(target.write, piece)
            meter.move(len(piece))
            if len(piece) < PIECE:
                return
    finally:
        for completion in under_way:
            completion.cancel()
