"""The client beside librados: 4 KiB write_full and read at depth 1, 16 and 64, on one real cluster, in one run.

    .venv/bin/python -m bench.rados_client [--store memstore|bluestore] [--conf CEPH.CONF --pool POOL] [--seconds S]

Starts a cluster of its own (scripts/packages-interop) unless it is given one. Ours is cove.rados on uvloop, the peer is
python3-rados in a process of its own (`librados_load.py`); both write the same objects, in turns, row by row. CPU is
that of the client's process with all its threads, for 1,000 operations. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from tests.interop.ceph_cluster import CephCluster
from tests.interop.peer import DEBIAN_PYTHON

from cove.rados import IoCtx, Rados, ReadOp, WriteOp
from cove.rados.operations import OpVector

from .figures import percentile
from .rados_store import Load

BLOCK = 4096
OBJECTS = 512
DEPTHS = (1, 16, 64)
OPERATIONS_MAX = 10_000_000
PEER = Path(__file__).with_name("librados_load.py")


@dataclass
class Row:
    """One measurement of one client."""

    what: str
    client: str
    depth: int
    operations: int
    per_s: float
    p50_us: float
    p99_us: float
    cpu_ms_per_1000: float

    @classmethod
    def of(cls, what: str, client: str, depth: int, latencies: list[float], seconds: float, cpu: float) -> Row:
        """From what was measured (seconds)."""
        count = len(latencies)
        return cls(
            what=what,
            client=client,
            depth=depth,
            operations=count,
            per_s=round(count / seconds),
            p50_us=round(percentile(latencies, 50) * 1e6, 1),
            p99_us=round(percentile(latencies, 99) * 1e6, 1),
            cpu_ms_per_1000=round(cpu / count * 1e6, 1),
        )


class Ours:
    """cove.rados."""

    def __init__(self, ioctx: IoCtx) -> None:
        self.ioctx = ioctx
        self.names = [f"bench.{number}" for number in range(OBJECTS)]
        self.data = bytes(BLOCK)

    def write(self, number: int) -> tuple[str, OpVector]:
        """The operation with that number."""
        return self.names[number % OBJECTS], WriteOp().write_full(self.data)

    def read(self, number: int) -> tuple[str, OpVector]:
        """The operation with that number."""
        return self.names[number % OBJECTS], ReadOp().read(BLOCK)

    async def aio(self, what: str, depth: int, seconds: float) -> Row:
        """Completions with callbacks."""
        make = self.write if what == "write" else self.read
        await Load(self.ioctx, make, depth).run(OPERATIONS_MAX, 0.3)
        load = Load(self.ioctx, make, depth)
        cpu = time.process_time()
        elapsed = await load.run(OPERATIONS_MAX, seconds)
        return Row.of(what, "cove aio", depth, load.latencies, elapsed, time.process_time() - cpu)

    async def awaited(self, what: str, seconds: float) -> Row:
        """`await ioctx.write_full(…)`, one after the other."""
        latencies, number = [], 0
        cpu, began = time.process_time(), time.perf_counter()
        while (start := time.perf_counter()) - began < seconds:
            name = self.names[number % OBJECTS]
            if what == "write":
                await self.ioctx.write_full(name, self.data)
            else:
                await self.ioctx.read(name, BLOCK)
            latencies.append(time.perf_counter() - start)
            number += 1
        elapsed = time.perf_counter() - began
        return Row.of(what, "cove await", 1, latencies, elapsed, time.process_time() - cpu)


class Theirs:
    """python3-rados."""

    def __init__(self, conf: str, pool: str) -> None:
        command = [DEBIAN_PYTHON, str(PEER), conf, pool]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def run(self, what: str, depth: int, seconds: float, api: str) -> Row:
        """One measurement; meanwhile our event loop lives, so that its connections stay."""
        request = {"what": what, "depth": depth, "api": api, "seconds": seconds, "objects": OBJECTS, "block": BLOCK}

        def ask() -> dict[str, Any]:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("the librados side has ended")
            return dict(json.loads(line))

        answer = await asyncio.wait_for(asyncio.to_thread(ask), seconds + 120)
        return Row.of(what, f"librados {api}", depth, answer["latencies"], answer["seconds"], answer["cpu"])

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


async def measure(conf: str, pool: str, seconds: float) -> list[Row]:
    """All rows."""
    rows = []
    theirs = Theirs(conf, pool)
    try:
        async with Rados(conf) as cluster, cluster.open_ioctx(pool) as ioctx:
            ours = Ours(ioctx)
            for number in range(OBJECTS):
                ioctx.aio_operate(*ours.write(number))
            await ioctx.aio_flush(60)
            for what in ("write", "read"):
                rows.append(await ours.awaited(what, seconds))
                rows.append(await theirs.run(what, 1, seconds, "sync"))
                for depth in DEPTHS:
                    rows.append(await ours.aio(what, depth, seconds))
                    rows.append(await theirs.run(what, depth, seconds, "aio"))
    finally:
        theirs.close()
    return rows


def ratios(rows: list[Row]) -> list[dict[str, Any]]:
    """Ours to theirs, for each pair of rows: rate (more is better), the other figures (less is better)."""
    found = []
    for ours, theirs in zip(rows[::2], rows[1::2], strict=True):
        found.append(
            {
                "what": ours.what,
                "depth": ours.depth,
                "ours": ours.client,
                "theirs": theirs.client,
                "per_s": round(ours.per_s / theirs.per_s, 2),
                "p50": round(ours.p50_us / theirs.p50_us, 2),
                "p99": round(ours.p99_us / theirs.p99_us, 2),
                "cpu": round(ours.cpu_ms_per_1000 / theirs.cpu_ms_per_1000, 2),
            }
        )
    return found


def show(rows: list[Row], found: list[dict[str, Any]]) -> None:
    """The table for people: pairs of rows, and their ratio."""
    print(f"{'4 KiB':8}{'depth':>6}  {'client':16}{'ops/s':>9}{'p50 µs':>10}{'p99 µs':>10}{'CPU ms/1000':>13}")
    for number, row in enumerate(rows):
        print(
            f"{row.what:8}{row.depth:>6}  {row.client:16}{row.per_s:>9,.0f}{row.p50_us:>10,.0f}{row.p99_us:>10,.0f}"
            f"{row.cpu_ms_per_1000:>13,.1f}"
        )
        if number % 2:
            ratio = found[number // 2]
            figures = f"{ratio['per_s']:>9}{ratio['p50']:>10}{ratio['p99']:>10}{ratio['cpu']:>13}"
            print(f"{'':8}{'':6}  {'  ours : theirs':16}{figures}")


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("memstore", "bluestore"), default="memstore")
    parser.add_argument("--osds", type=int, default=1)
    parser.add_argument("--conf", help="a ceph.conf, to measure on a cluster that runs already")
    parser.add_argument("--pool", default="rbd", help="its objects bench.0 to bench.511 are written")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each row")
    parser.add_argument("--json", action="store_true", help="only the line of JSON")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        conf = arguments.conf
        if conf is None:
            cluster = CephCluster(osds=arguments.osds, store=arguments.store, pools=(arguments.pool,), pg_num=32)
            conf = str(stack.enter_context(cluster).conf_path)
        rows = uvloop.run(measure(conf, arguments.pool, arguments.seconds))
    found = ratios(rows)
    if not arguments.json:
        show(rows, found)
    where = "given" if arguments.conf else arguments.store
    facts = {"benchmark": "rados_client", "store": where, "osds": arguments.osds, "cpus": os.cpu_count()}
    print(json.dumps(facts | {"rows": [asdict(row) for row in rows], "ratios": found}))


if __name__ == "__main__":
    main()
