"""The peer of rados_client.py: the same load through python3-rados, or through our module with its interface.

Arguments: a module (`rados`, for which it takes the system's Python, or `cove.rados.sync`), the path of a ceph.conf,
and a pool. A request is a line of JSON on standard input: `{"what": "write", "read" or "compound", "depth": N, "api":
"one by one" or "callbacks", "seconds": S, "objects": N, "block": BYTES}`; the answer is a line, too.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def one_by_one(call: Callable[[int], object], seconds: float) -> list[float]:
    """One after the other, as most programs do; latencies in seconds."""
    latencies: list[float] = []
    number, deadline = 0, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        if start > deadline:
            return latencies
        call(number)
        latencies.append(time.perf_counter() - start)
        number += 1


class Callbacks:
    """`depth` operations in flight; the next one is submitted from the completion of one before."""

    def __init__(self, submit: Callable[[int, Callable[..., None]], object], depth: int, seconds: float) -> None:
        self.submit = submit
        self.depth = depth
        self.seconds = seconds
        self.latencies: list[float] = []
        self.failed = 0
        self._number = 0
        self._in_flight = depth
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._deadline = 0.0

    def run(self) -> list[float]:
        """Latencies in seconds."""
        self._deadline = time.perf_counter() + self.seconds
        for _ in range(self.depth):
            self._next()
        if not self._done.wait(self.seconds + 60):
            raise SystemExit("no answer")
        if self.failed:
            raise SystemExit(f"{self.failed} operations failed")
        return self.latencies

    def _next(self) -> None:
        with self._lock:
            number = self._number
            self._number += 1
        start = time.perf_counter()

        def complete(completion: Any, *_data: object) -> None:
            now = time.perf_counter()
            self.latencies.append(now - start)
            if completion.get_return_value() < 0:
                self.failed += 1
            if now < self._deadline and not self.failed:
                self._next()
                return
            with self._lock:
                self._in_flight -= 1
                last = not self._in_flight
            if last:
                self._done.set()

        self.submit(number, complete)


class Operations:
    """The operations of one request by their number, in both forms."""

    def __init__(self, rados: Any, ioctx: Any, request: dict[str, Any]) -> None:
        self.rados = rados
        self.ioctx = ioctx
        self.block = request["block"]
        self.data = bytes(self.block)
        kind = "compound" if request["what"] == "compound" else f"data.{self.block}"
        self.names = [f"bench.{kind}.{number}" for number in range(request["objects"])]

    def name(self, number: int) -> str:
        """The object that an operation is for."""
        return self.names[number % len(self.names)]

    def write(self, number: int) -> None:
        """Write an object, and wait."""
        self.ioctx.write_full(self.name(number), self.data)

    def read(self, number: int) -> None:
        """Read an object, and wait."""
        self.ioctx.read(self.name(number), self.block)

    def submit_write(self, number: int, complete: Callable[..., None]) -> None:
        """Write an object."""
        self.ioctx.aio_write_full(self.name(number), self.data, complete)

    def submit_read(self, number: int, complete: Callable[..., None]) -> None:
        """Read an object."""
        self.ioctx.aio_read(self.name(number), self.block, 0, complete)

    def submit_compound(self, number: int, complete: Callable[..., None]) -> None:
        """Create, an attribute, two keys: one atomic operation."""
        with self.rados.WriteOpCtx() as op:
            op.new(0)  # not exclusive
            op.set_xattr("attribute", b"value")
            self.ioctx.set_omap(op, ("first", "second"), (b"value 1", b"value 2"))
            self.ioctx.operate_aio_write_op(op, self.name(number), complete)


def serve(rados: Any, ioctx: Any, request: dict[str, Any]) -> dict[str, Any]:
    """One measurement. Latencies, seconds it took, and seconds of CPU."""
    operations = Operations(rados, ioctx, request)

    def load(seconds: float) -> list[float]:
        if request["api"] == "one by one":
            return one_by_one(getattr(operations, request["what"]), seconds)
        return Callbacks(getattr(operations, "submit_" + request["what"]), request["depth"], seconds).run()

    load(min(0.3, request["seconds"]))  # warm up
    began, cpu = time.perf_counter(), time.process_time()
    latencies = load(request["seconds"])
    return {"latencies": latencies, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def main() -> None:
    """Answer requests until standard input ends."""
    module, conf, pool = sys.argv[1:]
    rados = importlib.import_module(module)
    cluster = rados.Rados(conffile=conf)
    cluster.connect(timeout=30)
    ioctx = cluster.open_ioctx(pool)
    for line in sys.stdin:
        print(json.dumps(serve(rados, ioctx, json.loads(line))), flush=True)


main()
