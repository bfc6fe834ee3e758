"""`cove rados bench`: how fast this cluster takes and gives objects, from here, with so many operations in flight.

It writes objects of its own, and removes them at the end, also when it is interrupted.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from .output import Format, FormatOption, errors, human_bytes, parse_size, print_json, print_list
from .rados_options import Cluster, run, with_cluster
from .timelines import duration

if TYPE_CHECKING:
    from ..rados import AioCompletion, Error, IoCtx, ReadOp, WriteOp

SIZE_MAX = 64 << 20
DEPTH_MAX = 1024
CLEAN_UP_TIMEOUT_S = 60.0
SHOWN_EVERY_S = 0.2
COLUMNS = ("what", "size", "depth", "ops", "per_s", "rate", "p50", "p99", "longest", "cpu")


class Mode(StrEnum):
    """What is measured."""

    WRITE = "write"
    READ = "read"
    BOTH = "both"


class Load:
    """Keeps `depth` operations in flight for a time. `latencies` (seconds) are of those that came back."""

    def __init__(self, ioctx: IoCtx, make: Callable[[], WriteOp | ReadOp], names: list[str], depth: int) -> None:
        self.latencies: list[float] = []
        self._ioctx = ioctx
        self._make = make
        self._names = names
        self._depth = depth
        self._number = 0
        self._in_flight = 0
        self._deadline = 0.0
        self._error: Error | None = None
        self._done = asyncio.Event()

    async def run(self, seconds: float, count: int | None = None) -> float:
        """Until the time is over, or once through the first `count` names; the seconds it took. Raises rados errors."""
        began = time.perf_counter()
        self._deadline = began + seconds
        self._left = count
        for _ in range(self._depth if count is None else min(self._depth, count)):
            self._submit()
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return time.perf_counter() - began

    def stop(self) -> None:
        """Submit no more."""
        self._deadline = 0.0
        self._left = 0

    def _submit(self) -> None:
        if self._left is not None:
            self._left -= 1
        oid = self._names[self._number % len(self._names)]
        self._number += 1
        self._in_flight += 1
        start = time.perf_counter()

        def complete(completion: AioCompletion) -> None:
            now = time.perf_counter()
            self.latencies.append(now - start)
            self._in_flight -= 1
            self._error = self._error or completion.error()
            more = now < self._deadline if self._left is None else self._left > 0
            if more and self._error is None:
                self._submit()
            elif not self._in_flight:
                self._done.set()

        self._ioctx.aio_operate(oid, self._make(), complete)


class Bench:
    """One run: its objects, and the measurements on them."""

    def __init__(self, ioctx: IoCtx, size: int, depth: int, seconds: float, objects: int) -> None:
        prefix = f"benchmark_cove_{socket.gethostname()}_{os.getpid()}"
        self.ioctx = ioctx
        self.size = size
        self.depth = depth
        self.seconds = seconds
        self.names = [f"{prefix}_object{number}" for number in range(objects)]
        self._data = os.urandom(size)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"))
        self._progress = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)

    async def measure(self, mode: Mode) -> list[dict[str, Any]]:
        """The rows."""
        rows = []
        with self._progress:
            if mode is not Mode.READ:
                rows.append(await self._row("write", self._write))
            if mode is not Mode.WRITE:
                await self._load("filling", self._write, len(self.names))
                rows.append(await self._row("read", self._read))
        return rows

    def _write(self) -> WriteOp:
        from ..rados import WriteOp

        return WriteOp().write_full(self._data)

    def _read(self) -> ReadOp:
        from ..rados import ReadOp

        return ReadOp().read(self.size)

    async def _load(
        self, what: str, make: Callable[[], WriteOp | ReadOp], count: int | None = None
    ) -> tuple[Load, float]:
        load = Load(self.ioctx, make, self.names, self.depth)
        total = self.seconds if count is None else count
        task = self._progress.add_task(what, total=total, rate="")
        showing = asyncio.get_running_loop().create_task(self._show(task, load, count))
        try:
            seconds = await load.run(self.seconds, count)
        finally:
            load.stop()
            showing.cancel()
            self._progress.remove_task(task)
        return load, seconds

    async def _show(self, task: TaskID, load: Load, count: int | None) -> None:
        began = last = time.perf_counter()
        before = 0
        while True:
            await asyncio.sleep(SHOWN_EVERY_S)
            now, done = time.perf_counter(), len(load.latencies)
            rate = (done - before) / (now - last)
            last, before = now, done
            text = f"{rate:,.0f} ops/s  {human_bytes(int(rate * self.size))}/s"
            self._progress.update(task, completed=now - began if count is None else done, rate=text)

    async def _row(self, what: str, make: Callable[[], WriteOp | ReadOp]) -> dict[str, Any]:
        cpu = time.process_time()
        load, seconds = await self._load(what, make)
        cpu = time.process_time() - cpu
        ordered = sorted(load.latencies)
        count = len(ordered)
        return {
            "what": what,
            "size_bytes": self.size,
            "depth": self.depth,
            "operations": count,
            "seconds": round(seconds, 3),
            "ops_per_s": round(count / seconds, 1),
            "bytes_per_s": round(count * self.size / seconds),
            "p50_ms": round(ordered[count // 2] * 1e3, 3),
            "p99_ms": round(ordered[min(count - 1, count * 99 // 100)] * 1e3, 3),
            "longest_ms": round(ordered[-1] * 1e3, 3),
            "cpu_us_per_op": round(cpu / count * 1e6, 1),
        }

    async def clean_up(self) -> None:
        """Remove what was written, whatever becomes of it."""
        from ..rados import WriteOp

        window: list[AioCompletion] = []
        async with asyncio.timeout(CLEAN_UP_TIMEOUT_S):
            for name in self.names:
                window.append(self.ioctx.aio_operate(name, WriteOp().remove()))
                if len(window) == self.depth:
                    await window.pop(0).wait_for_complete()
            for completion in window:
                await completion.wait_for_complete()


def for_people(row: dict[str, Any]) -> dict[str, Any]:
    """A row with units."""
    return {
        "what": row["what"],
        "size": human_bytes(row["size_bytes"]),
        "depth": row["depth"],
        "ops": row["operations"],
        "per_s": f"{row['ops_per_s']:,.0f}",
        "rate": f"{human_bytes(row['bytes_per_s'])}/s",
        "p50": duration(row["p50_ms"] / 1e3),
        "p99": duration(row["p99_ms"] / 1e3),
        "longest": duration(row["longest_ms"] / 1e3),
        "cpu": f"{row['cpu_us_per_op']:.0f} µs",
    }


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    @with_cluster
    def bench(
        cluster: Cluster,
        mode: Annotated[Mode, typer.Argument(metavar="write|read|both")] = Mode.BOTH,
        seconds: Annotated[
            float, typer.Option("--seconds", metavar="S", min=0.1, max=86400, help="How long each.")
        ] = 5,
        depth: Annotated[
            int, typer.Option("--depth", "-t", metavar="N", min=1, max=DEPTH_MAX, help="Operations in flight.")
        ] = 16,
        size: Annotated[
            str, typer.Option("--size", "-b", metavar="SIZE", help="Of an object and an operation.")
        ] = "4M",
        objects: Annotated[int, typer.Option("--objects", metavar="N", min=1, help="How many are written.")] = 64,
        keep: Annotated[bool, typer.Option("--keep", help="Leave the objects there.")] = False,
        format: FormatOption = Format.TABLE,
    ) -> None:
        """Measure writing and reading whole objects, which are removed afterwards."""
        size_bytes = parse_size(size)
        if size_bytes > SIZE_MAX:
            raise typer.BadParameter(f"--size {size}: at most {human_bytes(SIZE_MAX)}")

        async def work() -> list[dict[str, Any]]:
            async with cluster.open() as ioctx:
                run = Bench(ioctx, size_bytes, depth, seconds, objects)
                try:
                    return await run.measure(mode)
                finally:
                    if not keep:
                        await run.clean_up()

        rows = run(work())
        if format is Format.JSON:
            print_json(rows)
        else:
            print_list([for_people(row) for row in rows], COLUMNS, format, empty="nothing was measured")
