"""The client beside librados, on one real cluster, in one run: small and large reads and writes, compound operations.

    .venv/bin/python -m bench.rados_client [--store memstore|bluestore] [--conf CEPH.CONF --pool POOL] [--seconds S]
                                           [--rounds N] [--compiled DIRECTORY] [--sync] [--only TEXT]

Starts a cluster of its own (scripts/packages-interop) unless it is given one. Each client is a process of its own
(`cove_load.py`, `librados_load.py`); they take turns, row by row, in the opposite order every second time:

    cove        cove.rados on uvloop, as plain Python
    compiled    the same from a directory with the compiled build (`./run-tests compiled` leaves build/compiled/lib)
    sync        cove.rados.sync, which has the interface of python3-rados
    librados    python3-rados, the C++ librados: what the others are compared with

"one by one" waits for each operation (`await`, or a blocking call), "callbacks" keeps `depth` of them in flight. CPU is
that of the client's process with all its threads, for 1,000 operations. Prints a table, what is asked for and reached,
and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.ceph_cluster import CephCluster
from tests.interop.peer import DEBIAN_PYTHON

from .figures import percentile

SMALL, LARGE = 4 << 10, 4 << 20
HERE = Path(__file__).parent
OURS, COMPILED, SYNC, THEIRS = "cove", "compiled", "sync", "librados"
LATENCY_RATIO_MAX = 1.25


class Case(NamedTuple):
    """One row: a load, and the share of librados' rate that is asked for, as plain Python and compiled."""

    what: str
    api: str
    depth: int
    block: int
    rate: float | None = None
    rate_compiled: float | None = None

    @property
    def name(self) -> str:
        """For people."""
        size = "" if self.what == "compound" else f"{self.block >> 20} MiB " if self.block >= LARGE else "4 KiB "
        return f"{size}{self.what}, {self.api}"


CASES = (
    Case("write", "one by one", 1, SMALL, None, 0.95),
    Case("write", "callbacks", 1, SMALL, None, 0.95),
    Case("write", "callbacks", 16, SMALL, 0.9, 0.95),
    Case("write", "callbacks", 64, SMALL, 0.7, 0.95),
    Case("read", "one by one", 1, SMALL, None, 0.8),
    Case("read", "callbacks", 1, SMALL, None, 0.8),
    Case("read", "callbacks", 16, SMALL, 0.5, 0.8),
    Case("read", "callbacks", 64, SMALL, 0.5, 0.8),
    Case("compound", "callbacks", 1, 0),
    Case("compound", "callbacks", 16, 0, 0.9, 0.9),
    Case("compound", "callbacks", 64, 0, 0.9, 0.9),
    Case("write", "callbacks", 1, LARGE, 0.8, 0.8),
    Case("write", "callbacks", 16, LARGE, 0.8, 0.8),
    Case("read", "callbacks", 1, LARGE, 0.8, 0.8),
    Case("read", "callbacks", 16, LARGE, 0.8, 0.8),
)
"""Reads come after the writes that make their objects. At depth 1 latency is asked for as well: LATENCY_RATIO_MAX."""
OBJECTS = {0: 512, SMALL: 512, LARGE: 24}


@dataclass
class Figures:
    """What was measured of one client in one case, over all rounds."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, answer: dict[str, Any]) -> None:
        """One round more."""
        self.latencies += answer["latencies"]
        self.seconds += answer["seconds"]
        self.cpu += answer["cpu"]


@dataclass
class Row:
    """One measurement of one client."""

    what: str
    client: str
    api: str
    depth: int
    block: int
    operations: int
    per_s: float
    p50_us: float
    p99_us: float
    cpu_ms_per_1000: float

    @classmethod
    def of(cls, case: Case, client: str, found: Figures) -> Row:
        """From what was measured (seconds)."""
        count = len(found.latencies)
        return cls(
            what=case.what,
            client=client,
            api=case.api,
            depth=case.depth,
            block=case.block,
            operations=count,
            per_s=round(count / found.seconds, 1),
            p50_us=round(percentile(found.latencies, 50) * 1e6, 1),
            p99_us=round(percentile(found.latencies, 99) * 1e6, 1),
            cpu_ms_per_1000=round(found.cpu / count * 1e6, 1),
        )

    def ratios(self, theirs: Row) -> dict[str, float]:
        """To librados: of the rate more is better, of the others less."""
        return {
            "per_s": round(self.per_s / theirs.per_s, 2),
            "p50": round(self.p50_us / theirs.p50_us, 2),
            "p99": round(self.p99_us / theirs.p99_us, 2),
            "cpu": round(self.cpu_ms_per_1000 / theirs.cpu_ms_per_1000, 2),
        }


class Client:
    """A process that answers requests for load."""

    def __init__(self, name: str, command: Sequence[str], path: Path | None) -> None:
        self.name = name
        environment = dict(os.environ)
        if path is not None:
            environment["PYTHONPATH"] = str(path)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, case: Case, seconds: float) -> dict[str, Any]:
        """One measurement. Raises SystemExit when the process has ended."""
        request = {
            "what": case.what,
            "api": case.api,
            "depth": case.depth,
            "block": case.block,
            "objects": OBJECTS[case.block],
            "seconds": seconds,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} has ended")
        return dict(json.loads(line))

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def clients(conf: str, pool: str, compiled: Path | None, sync: bool) -> Iterator[list[Client]]:
    """All that are asked for, connected when they first answer; librados is the last."""
    source = HERE.parent / "src"
    ours = [sys.executable, str(HERE / "cove_load.py"), conf, pool]
    theirs = [str(HERE / "librados_load.py")]
    with ExitStack() as stack:
        found: list[Client] = []

        def start(name: str, command: Sequence[str], path: Path | None) -> None:
            client = Client(name, command, path)
            stack.callback(client.close)
            found.append(client)

        start(OURS, ours, source)
        if compiled is not None:
            if not list(compiled.glob("cove/wire/frames.*.so")):
                raise SystemExit(f"{compiled} holds no compiled build; ./run-tests compiled makes build/compiled/lib")
            start(COMPILED, ours, compiled.resolve())
        if sync:
            start(SYNC, [sys.executable, *theirs, "cove.rados.sync", conf, pool], source)
        start(THEIRS, [DEBIAN_PYTHON, *theirs, "rados", conf, pool], None)
        yield found


def measure(all_clients: Sequence[Client], cases: Sequence[Case], seconds: float, rounds: int) -> list[Row]:
    """All rows: case by case, and in each of them client by client."""
    # every object is there before the first measurement, whoever begins
    for block in {case.block for case in cases if case.what == "read"}:
        fill = Case("write", "callbacks", 16, block)
        while len(all_clients[0].run(fill, 0.5)["latencies"]) < OBJECTS[block]:
            pass
    rows = []
    for number, case in enumerate(cases):
        figures = {client.name: Figures() for client in all_clients}
        for turn in range(rounds):
            order = all_clients if (number + turn) % 2 == 0 else all_clients[::-1]
            for client in order:
                figures[client.name].add(client.run(case, seconds))
        rows += [Row.of(case, name, found) for name, found in figures.items()]
    return rows


def verdicts(case: Case, client: str, ratios: dict[str, float]) -> list[tuple[str, bool]]:
    """What is asked for, and whether it is reached."""
    found = []
    rate = case.rate_compiled if client == COMPILED else case.rate
    if client in (OURS, COMPILED):
        if case.depth == 1 and case.block != LARGE:
            found.append((f"p50 ≤ {LATENCY_RATIO_MAX}", ratios["p50"] <= LATENCY_RATIO_MAX))
        if rate is not None:
            found.append((f"rate ≥ {rate}", ratios["per_s"] >= rate))
    return found


def compare(rows: Sequence[Row], cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Each row of ours beside that of librados in the same case."""
    found = []
    count = len(rows) // len(cases)
    for index, case in enumerate(cases):
        *ours, theirs = rows[index * count : (index + 1) * count]
        for row in ours:
            ratios = row.ratios(theirs)
            asked = verdicts(case, row.client, ratios)
            found.append(
                {"case": case.name, "depth": case.depth, "client": row.client}
                | ratios
                | {"asked": [text for text, _ in asked], "reached": all(reached for _, reached in asked)}
            )
    return found


def show(rows: Sequence[Row], cases: Sequence[Case], found: Sequence[dict[str, Any]]) -> None:
    """The table for people."""
    print(
        f"{'':28}{'depth':>6}  {'client':10}{'ops/s':>9}{'p50 µs':>10}{'p99 µs':>10}{'CPU ms/1000':>13}"
        "   beside librados: rate, p50, p99, CPU"
    )
    ratios = iter(found)
    count = len(rows) // len(cases)
    for index, row in enumerate(rows):
        case = cases[index // count]
        line = (
            f"{case.name:28}{row.depth:>6}  {row.client:10}{row.per_s:>9,.0f}{row.p50_us:>10,.0f}{row.p99_us:>10,.0f}"
            f"{row.cpu_ms_per_1000:>13,.1f}"
        )
        if row.client != THEIRS:
            ratio = next(ratios)
            line += f"   {ratio['per_s']:.2f}  {ratio['p50']:.2f}  {ratio['p99']:.2f}  {ratio['cpu']:.2f}"
            if ratio["asked"]:
                line += f"   {', '.join(ratio['asked'])}: {'reached' if ratio['reached'] else 'NOT REACHED'}"
        print(line)


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("memstore", "bluestore"), default="memstore")
    parser.add_argument("--osds", type=int, default=1)
    parser.add_argument("--conf", help="a ceph.conf, to measure on a cluster that runs already")
    parser.add_argument("--pool", default="rbd", help="its objects bench.* are written")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each client and case, in each round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--compiled", type=Path, help="a directory with the compiled build, to measure as well")
    parser.add_argument("--sync", action="store_true", help="measure cove.rados.sync as well")
    parser.add_argument("--only", default="", help="only cases whose name contains this, e.g. '4 KiB read'")
    parser.add_argument("--json", action="store_true", help="only the line of JSON")
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.only in case.name]
    if not cases:
        parser.error(f"no case has {arguments.only!r} in its name: {', '.join(case.name for case in CASES)}")
    with ExitStack() as stack:
        conf = arguments.conf
        if conf is None:
            cluster = CephCluster(osds=arguments.osds, store=arguments.store, pools=(arguments.pool,), pg_num=32)
            conf = str(stack.enter_context(cluster).conf_path)
        running = stack.enter_context(clients(conf, arguments.pool, arguments.compiled, arguments.sync))
        rows = measure(running, cases, arguments.seconds, arguments.rounds)
    found = compare(rows, cases)
    if not arguments.json:
        show(rows, cases, found)
    where = "given" if arguments.conf else arguments.store
    facts = {"benchmark": "rados_client", "store": where, "osds": arguments.osds, "cpus": os.cpu_count()}
    print(json.dumps(facts | {"rows": [asdict(row) for row in rows], "ratios": found}))


if __name__ == "__main__":
    main()
