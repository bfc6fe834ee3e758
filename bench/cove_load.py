"""Our side of rados_client.py: the load through the asyncio interface of `cove.rados`, on uvloop.

Arguments: the path of a ceph.conf, and a pool. Requests and answers are those of `librados_load.py`. It runs in a
process of its own, so that the plain and the compiled build can be measured in one run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from cove.rados import AioCompletion, IoCtx, Rados, ReadOp, WriteOp
from cove.rados.operations import OpVector


class Operations:
    """The operations of one request, by their number."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.what = request["what"]
        self.block = request["block"]
        self.data = bytes(self.block)
        kind = "compound" if self.what == "compound" else f"data.{self.block}"
        self.names = [f"bench.{kind}.{number}" for number in range(request["objects"])]

    def make(self, number: int) -> tuple[str, OpVector]:
        """The object, and the vector."""
        name = self.names[number % len(self.names)]
        if self.what == "write":
            return name, WriteOp().write_full(self.data)
        if self.what == "read":
            return name, ReadOp().read(self.block)
        op = WriteOp().create().setxattr("attribute", b"value")
        return name, op.omap_set({"first": b"value 1", "second": b"value 2"})

    async def one_by_one(self, ioctx: IoCtx, seconds: float) -> list[float]:
        """`await`, one after the other."""
        latencies: list[float] = []
        number, deadline = 0, time.perf_counter() + seconds
        while (start := time.perf_counter()) < deadline:
            name = self.names[number % len(self.names)]
            if self.what == "write":
                await ioctx.write_full(name, self.data)
            else:
                await ioctx.read(name, self.block)
            latencies.append(time.perf_counter() - start)
            number += 1
        return latencies


class Callbacks:
    """`depth` operations in flight; the next one is submitted from the completion of one before."""

    def __init__(self, ioctx: IoCtx, operations: Operations, depth: int) -> None:
        self.ioctx = ioctx
        self.operations = operations
        self.depth = depth
        self.latencies: list[float] = []
        self._number = 0
        self._in_flight = 0
        self._deadline = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, seconds: float) -> list[float]:
        """Latencies in seconds."""
        self._deadline = time.perf_counter() + seconds
        for _ in range(self.depth):
            self._next()
        await asyncio.wait_for(self._done, seconds + 60)
        return self.latencies

    def _next(self) -> None:
        oid, op = self.operations.make(self._number)
        self._number += 1
        self._in_flight += 1
        start = time.perf_counter()

        def complete(completion: AioCompletion) -> None:
            now = time.perf_counter()
            self.latencies.append(now - start)
            self._in_flight -= 1
            problem = completion.error()
            if problem is not None:
                if not self._done.done():
                    self._done.set_exception(problem)
            elif now < self._deadline:
                completion.result().data(0)
                self._next()
            elif not self._in_flight and not self._done.done():
                self._done.set_result(None)

        self.ioctx.aio_operate(oid, op, complete)


async def serve(ioctx: IoCtx, request: dict[str, Any]) -> dict[str, Any]:
    """One measurement. Latencies, seconds it took, and seconds of CPU."""
    operations = Operations(request)

    async def load(seconds: float) -> list[float]:
        if request["api"] == "one by one":
            return await operations.one_by_one(ioctx, seconds)
        return await Callbacks(ioctx, operations, request["depth"]).run(seconds)

    await load(min(0.3, request["seconds"]))  # warm up
    began, cpu = time.perf_counter(), time.process_time()
    latencies = await load(request["seconds"])
    return {"latencies": latencies, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


async def main() -> None:
    """Answer requests until standard input ends."""
    conf, pool = sys.argv[1:]
    async with Rados(conf) as cluster, cluster.open_ioctx(pool) as ioctx:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await serve(ioctx, json.loads(line))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
