"""The peer of rados_client.py: the same load through python3-rados. Run by the system's Python, which has that module.

Arguments: the path of a ceph.conf, and a pool. A request is a line of JSON on standard input: `{"what": "write" or
"read", "depth": N, "api": "aio" or "sync", "seconds": S, "objects": N, "block": BYTES}`; the answer is a line, too.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def run_sync(call: Callable[[int], object], seconds: float) -> list[float]:
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


class Aio:
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
            raise SystemExit("librados does not answer")
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


def serve(ioctx: Any, request: dict[str, Any]) -> dict[str, Any]:
    """One measurement. Latencies, seconds it took, and seconds of CPU."""
    objects, block = request["objects"], request["block"]
    data = bytes(block)
    names = [f"bench.{number}" for number in range(objects)]

    def call(number: int) -> object:
        if request["what"] == "write":
            return ioctx.write_full(names[number % objects], data)
        return ioctx.read(names[number % objects], block)

    def submit_write(number: int, complete: Callable[..., None]) -> object:
        return ioctx.aio_write_full(names[number % objects], data, complete)

    def submit_read(number: int, complete: Callable[..., None]) -> object:
        return ioctx.aio_read(names[number % objects], block, 0, complete)

    submit = submit_write if request["what"] == "write" else submit_read

    def load(seconds: float) -> list[float]:
        if request["api"] == "sync":
            return run_sync(call, seconds)
        aio = Aio(submit, request["depth"], seconds)
        found = aio.run()
        if aio.failed:
            raise SystemExit(f"{aio.failed} operations failed")
        return found

    load(0.3)  # warm up
    began, cpu = time.perf_counter(), time.process_time()
    latencies = load(request["seconds"])
    return {"latencies": latencies, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def main() -> None:
    """Answer requests until standard input ends."""
    rados = importlib.import_module("rados")
    cluster = rados.Rados(conffile=sys.argv[1])
    cluster.connect(timeout=30)
    ioctx = cluster.open_ioctx(sys.argv[2])
    for line in sys.stdin:
        print(json.dumps(serve(ioctx, json.loads(line))), flush=True)


main()
