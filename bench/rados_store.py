"""How fast the embedded store is through `cove.rados`: durable 4 KiB writes, 4 KiB reads, 4 MiB streams.

    python bench/rados_store.py [--directory DIR] [--seconds S] [--operations N] [--json]

Prints a table and one line of JSON. Client and store share one process, as in `cove up`: the CPU column is that of
the whole process, except in the last rows, where an OSD that stores nothing answers at once, so that what is left
is the client (and the loopback). Each row is bounded in time and in operations.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from cove.messenger import Connection, Dispatcher, LoopbackMessenger, LoopbackNetwork
from cove.rados import AioCompletion, IoCtx, LoopbackTransport, Rados, RadosConf, ReadOp, WriteOp
from cove.rados.operations import OpVector
from cove.store import Store
from cove.store.monitor import OSD_ADDRESS
from cove.wire.messages import Message, MOSDOp, MOSDOpReply
from cove.wire.types import EntityName, EntityType

KIB = 1024
MIB = 1024 * KIB
BLOCK = 4 * KIB
OBJECT = 4 * MIB
DEPTHS = (1, 16, 64)
BLOCKS_PER_OBJECT = OBJECT // BLOCK
SMALL_OBJECTS = 4


@dataclass
class Row:
    """One measurement."""

    what: str
    depth: int
    operations: int
    seconds: float
    per_s: float
    mb_per_s: float
    p50_us: float
    p99_us: float
    cpu_us_per_op: float
    commits: int = 0


class Load:
    """Keeps `depth` operations in flight until time or count is used up; no task an operation."""

    def __init__(self, ioctx: IoCtx, make: Callable[[int], tuple[str, OpVector]], depth: int) -> None:
        self.ioctx = ioctx
        self.make = make
        self.depth = depth
        self.latencies: list[float] = []
        self.errors = 0
        self.first_error: str | None = None
        self._number = 0
        self._in_flight = 0
        self._left = 0
        self._deadline = 0.0
        self._done: asyncio.Event = asyncio.Event()

    async def run(self, operations: int, seconds: float) -> float:
        """Seconds that it took."""
        start = time.perf_counter()
        self._left, self._deadline = operations, start + seconds
        for _ in range(min(self.depth, operations)):
            self._submit()
        await asyncio.wait_for(self._done.wait(), seconds + 60)
        if self.errors:
            raise SystemExit(f"{self.errors} operations failed, the first with: {self.first_error}")
        return time.perf_counter() - start

    def _submit(self) -> None:
        oid, op = self.make(self._number)
        self._number += 1
        self._left -= 1
        self._in_flight += 1
        start = time.perf_counter()

        def complete(completion: AioCompletion) -> None:
            now = time.perf_counter()
            self.latencies.append(now - start)
            self._in_flight -= 1
            if completion.get_return_value() < 0:
                self.errors += 1
                self.first_error = self.first_error or str(completion.error())
            if self._left > 0 and now < self._deadline and not self.errors:
                self._submit()
            elif not self._in_flight:
                self._done.set()

        self.ioctx.aio_operate(oid, op, complete)


async def measure(
    what: str,
    ioctx: IoCtx,
    make: Callable[[int], tuple[str, OpVector]],
    depth: int,
    block: int,
    limits: tuple[int, float],
    commits: Callable[[], int] = lambda: 0,
) -> Row:
    """One row of the table."""
    await Load(ioctx, make, depth).run(min(depth * 4, limits[0]), limits[1])  # warm up
    load = Load(ioctx, make, depth)
    commits_before, cpu = commits(), time.process_time()
    seconds = await load.run(*limits)
    cpu = time.process_time() - cpu
    count, ordered = len(load.latencies), sorted(load.latencies)
    return Row(
        what=what,
        depth=depth,
        operations=count,
        seconds=round(seconds, 3),
        per_s=round(count / seconds, 1),
        mb_per_s=round(count * block / seconds / 1e6, 1),
        p50_us=round(ordered[count // 2] * 1e6, 1),
        p99_us=round(ordered[min(count - 1, count * 99 // 100)] * 1e6, 1),
        cpu_us_per_op=round(cpu / count * 1e6, 1),
        commits=commits() - commits_before,
    )


def small(number: int) -> tuple[str, int]:
    """Object and offset of a 4 KiB block: scattered over a few 4 MiB objects, as a disk's blocks are."""
    block = number * 7919 % (SMALL_OBJECTS * BLOCKS_PER_OBJECT)
    return f"rbd_data.bench.{block // BLOCKS_PER_OBJECT:016x}", block % BLOCKS_PER_OBJECT * BLOCK


async def run_store(directory: Path, operations: int, seconds: float) -> list[Row]:
    """All rows against the store."""
    rows: list[Row] = []
    network = LoopbackNetwork()
    store = Store(directory / "store")
    await store.start(network)
    try:
        async with Rados(LoopbackTransport(network)) as cluster, cluster.open_ioctx("rbd") as ioctx:
            block, large = os.urandom(BLOCK), os.urandom(OBJECT)

            def commits() -> int:
                return store.stats.commits

            def write_small(number: int) -> tuple[str, OpVector]:
                oid, offset = small(number)
                return oid, WriteOp().write(block, offset)

            def read_small(number: int) -> tuple[str, OpVector]:
                oid, offset = small(number)
                return oid, ReadOp().read(BLOCK, offset)

            limits = (operations, seconds)
            for number in range(SMALL_OBJECTS):
                await ioctx.write_full(f"rbd_data.bench.{number:016x}", large)
            for depth in DEPTHS:
                rows.append(await measure("4 KiB write", ioctx, write_small, depth, BLOCK, limits, commits))
            for depth in DEPTHS:
                rows.append(await measure("4 KiB read", ioctx, read_small, depth, BLOCK, limits, commits))

            def write_large(number: int) -> tuple[str, OpVector]:
                return f"large.{number % 16}", WriteOp().write_full(large)

            def read_large(number: int) -> tuple[str, OpVector]:
                return f"large.{number % 16}", ReadOp().read(OBJECT)

            for number in range(16):
                await ioctx.write_full(f"large.{number}", large)
            limits = (max(operations // 100, 16), seconds)
            for depth in (1, 16):
                rows.append(await measure("4 MiB write", ioctx, write_large, depth, OBJECT, limits, commits))
            for depth in (1, 16):
                rows.append(await measure("4 MiB read", ioctx, read_large, depth, OBJECT, limits, commits))
    finally:
        await store.stop()
    return rows


class NullOsd(Dispatcher):
    """Answers every request at once with success, and keeps nothing."""

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Answer a request."""
        if not isinstance(message, MOSDOp):
            return False
        connection.send_message(
            MOSDOpReply(
                tid=message.tid,
                oid=message.oid,
                pg=message.pg,
                flags=message.flags,
                result=0,
                epoch=message.epoch,
                ops=message.ops,
                retry_attempt=message.retry_attempt,
            )
        )
        return True


async def run_client_alone(directory: Path, operations: int, seconds: float) -> list[Row]:
    """The client's own cost: a real monitor, and an OSD that does nothing."""
    network = LoopbackNetwork()
    store = Store(directory / "null")
    await store.start(network)
    try:
        null = LoopbackMessenger(network, EntityName(EntityType.OSD, 0))
        null.add_dispatcher_tail(NullOsd())
        network.listeners[OSD_ADDRESS] = null
        async with Rados(LoopbackTransport(network), conf=RadosConf()) as cluster, cluster.open_ioctx("rbd") as ioctx:
            block = bytes(BLOCK)

            def write_small(number: int) -> tuple[str, OpVector]:
                oid, offset = small(number)
                return oid, WriteOp().write(block, offset)

            limits = (operations * 5, seconds)
            rows = [await measure("client alone", ioctx, write_small, depth, BLOCK, limits) for depth in DEPTHS]
        await null.shutdown()
        return rows
    finally:
        await store.stop()


def show(rows: list[Row]) -> None:
    """The table for people."""
    print(f"{'':14}{'depth':>6}{'ops/s':>11}{'MB/s':>9}{'p50 µs':>11}{'p99 µs':>11}{'CPU µs/op':>11}{'commits':>9}")
    for row in rows:
        print(
            f"{row.what:14}{row.depth:>6}{row.per_s:>11,.0f}{row.mb_per_s:>9,.0f}{row.p50_us:>11,.0f}"
            f"{row.p99_us:>11,.0f}{row.cpu_us_per_op:>11,.1f}{row.commits:>9,}"
        )


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to measure")
    parser.add_argument("--operations", type=int, default=20000, help="most operations a row")
    parser.add_argument("--seconds", type=float, default=3.0, help="most seconds a row")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--json", action="store_true", help="only the line of JSON")
    arguments = parser.parse_args()

    async def run() -> list[Row]:
        with tempfile.TemporaryDirectory(prefix="cove-bench-", dir=arguments.directory) as directory:
            rows = await run_store(Path(directory), arguments.operations, arguments.seconds)
            return rows + await run_client_alone(Path(directory), arguments.operations, arguments.seconds)

    if arguments.loop == "uvloop":
        import uvloop

        rows = uvloop.run(run())
    else:
        rows = asyncio.run(run())
    if not arguments.json:
        show(rows)
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps(
            {
                "bench": "rados_store",
                "loop": arguments.loop,
                "cpus": os.cpu_count(),
                "rss_max_mib": rss_mib,
                "rows": [asdict(row) for row in rows],
            }
        )
    )


if __name__ == "__main__":
    main()
