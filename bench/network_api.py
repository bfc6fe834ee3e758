"""The Networking API: what its requests take, on SQLite and on PostgreSQL, with one server process.

`.venv/bin/python -m bench.network_api [--engine sqlite|postgresql] [--quick]`. Needs no root: starts the API process of
the tests (tests/openstack/api_server.py: all but dnsmasq; that its agent says of every port that it is ready is in the
figures), and a PostgreSQL of its own that keeps everything safe (fsync on).
`--neutron URL --pid PID` measures a Neutron the same way that takes identities from headers, such as
tests/openstack/conformance/neutron_server.py; the rows that need very many ports are left out there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.openstack.cloud import Cloud
from tests.postgres_server import PostgresServer

from .figures import memory_mib, percentile, report
from .http import Http

QUOTAS = '{"network": -1, "subnet": -1, "port": -1, "security_group": -1}'
BULK = 100
"""Ports of one request where there are many to make, which is not measured."""
NETWORK_PORTS_MAX = 20_000
"""Of each network where the number of ports counts, not their network."""
PAGE = 1000
SERVED_S_MAX = 120.0
TICKS = os.sysconf("SC_CLK_TCK")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """How many of each."""

    clients: tuple[int, ...] = (1, 8)
    creates: int = 400
    repeats: int = 60
    bulks: int = 10
    listed: int = 1000
    paged: int = 100_000
    taken: int = 60_000


FULL = Scale()
QUICK = Scale(creates=80, repeats=20, bulks=3, paged=5_000, taken=3_000)
SLOW = Scale(clients=(1,), creates=24, repeats=8, bulks=2, paged=0, taken=0)
"""For a Neutron: it is slow, and on SQLite it takes one client at a time."""


@dataclass(slots=True)
class Server:
    """Where it is, who asks, and whose CPU counts."""

    url: str
    headers: Mapping[str, str]
    pid: int
    postgres: PostgresServer | None = None
    addresses: Iterator[int] = field(default_factory=lambda: iter(range(1, 250)))

    def http(self) -> Http:
        """A connection."""
        return Http.to(self.url, self.headers)

    def cpu(self) -> Row:
        """Seconds of CPU so far: of the server, of PostgreSQL."""
        used = {"cpu": cpu_seconds(self.pid)}
        if self.postgres is not None:
            used["postgres_cpu"] = self.postgres_cpu()
        return used

    def postgres_cpu(self) -> float:
        """Of the postmaster's children: the session with all of its past, too."""
        assert self.postgres is not None
        assert self.postgres._process is not None
        parent = self.postgres._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return sum(cpu_seconds(int(pid)) for pid in [str(parent), *children])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children that it has waited for."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def times(seconds: list[float]) -> Row:
    """p50 and p95 in milliseconds."""
    return {"p50_ms": round(percentile(seconds, 50) * 1e3, 2), "p95_ms": round(percentile(seconds, 95) * 1e3, 2)}


async def timed(work: Awaitable[Any]) -> tuple[float, Any]:
    """Seconds, and what it gave."""
    began = time.perf_counter()
    result = await work
    return time.perf_counter() - began, result


async def network(http: Http, server: Server) -> str:
    """A network with a subnet that no other has; the network's id."""
    made = (await http.request("POST", "/v2.0/networks", {"network": {"name": "bench"}}))["network"]["id"]
    subnet = {"network_id": made, "ip_version": 4, "cidr": f"10.{next(server.addresses)}.0.0/16"}
    await http.request("POST", "/v2.0/subnets", {"subnet": subnet})
    return str(made)


async def port(http: Http, on: str) -> str:
    """A port; its id."""
    return str((await http.request("POST", "/v2.0/ports", {"port": {"network_id": on}}))["port"]["id"])


async def fill(http: Http, on: str, count: int) -> None:
    """So many ports, all of them served by DHCP: nothing is left to do when it returns."""
    for first in range(0, count, BULK):
        ports = [{"network_id": on}] * min(BULK, count - first)
        await http.request("POST", "/v2.0/ports", {"ports": ports})
    down = f"/v2.0/ports?network_id={on}&status=DOWN&limit=1&fields=id"
    async with asyncio.timeout(SERVED_S_MAX):
        while (await http.request("GET", down))["ports"]:
            await asyncio.sleep(0.05)


def spent(server: Server, before: Row, count: int) -> Row:
    """Milliseconds of CPU for each of `count`."""
    return {f"{name}_ms": round((now - before[name]) * 1e3 / count, 2) for name, now in server.cpu().items()}


# --- the rows ------------------------------------------------------------------------------------------------------


async def creates(server: Server, scale: Scale) -> list[Row]:
    """Port creation: one client; eight clients on one network; bulk."""
    rows: list[Row] = []
    for clients in scale.clients:
        async with server.http() as http:
            on = await network(http, server)
            await port(http, on)
        seconds: list[float] = []

        async def work(count: int, on: str = on, seconds: list[float] = seconds) -> None:
            async with server.http() as http:
                for _ in range(count):
                    seconds.append((await timed(port(http, on)))[0])

        before, began = server.cpu(), time.perf_counter()
        await asyncio.gather(*(work(scale.creates // clients) for _ in range(clients)))
        rate = len(seconds) / (time.perf_counter() - began)
        what = f"port create, {clients} client{'s on one network' if clients > 1 else ''}"
        rows.append({"what": what} | times(seconds) | {"per_s": round(rate, 1)} | spent(server, before, len(seconds)))
    async with server.http() as http:
        on = await network(http, server)
        seconds, before = [], server.cpu()
        for _ in range(scale.bulks):
            body = {"ports": [{"network_id": on}] * 100}
            seconds.append((await timed(http.request("POST", "/v2.0/ports", body)))[0])
        rows.append({"what": "bulk POST of 100 ports"} | times(seconds) | spent(server, before, scale.bulks * 100))
    return rows


async def single_requests(server: Server, scale: Scale) -> list[Row]:
    """The other requests about one object."""
    rows: list[Row] = []
    async with server.http() as http:
        on = await network(http, server)
        networks = [await http.request("POST", "/v2.0/networks", {"network": {}}) for _ in range(scale.repeats)]
        ids = iter([made["network"]["id"] for made in networks])
        ports = [await port(http, on) for _ in range(scale.repeats)]

        def subnet(_number: int) -> Awaitable[Any]:
            values = {"network_id": next(ids), "ip_version": 4, "cidr": "10.250.0.0/24"}
            return http.request("POST", "/v2.0/subnets", {"subnet": values})

        requests: dict[str, Callable[[int], Awaitable[Any]]] = {
            "network create": lambda _: http.request("POST", "/v2.0/networks", {"network": {"name": "bench"}}),
            "subnet create": subnet,
            "port get": lambda number: http.request("GET", f"/v2.0/ports/{ports[number]}"),
            "port rename": lambda number: http.request(
                "PUT", f"/v2.0/ports/{ports[number]}", {"port": {"name": f"renamed-{number}"}}
            ),
            "port delete": lambda number: http.request("DELETE", f"/v2.0/ports/{ports[number]}"),
        }
        for what, request in requests.items():
            before = server.cpu()
            seconds = [(await timed(request(number)))[0] for number in range(scale.repeats)]
            rows.append({"what": what} | times(seconds) | spent(server, before, scale.repeats))
    return rows


async def lists(server: Server, scale: Scale) -> list[Row]:
    """One list of 1,000; very many, by pages."""
    rows: list[Row] = []
    async with server.http() as http:
        on = await network(http, server)
        await fill(http, on, scale.listed)
        before, seconds = server.cpu(), []
        for _ in range(scale.repeats // 4):
            took, answer = await timed(http.request("GET", f"/v2.0/ports?network_id={on}"))
            assert len(answer["ports"]) == scale.listed
            seconds.append(took)
        rows.append({"what": f"list {scale.listed} ports"} | times(seconds) | spent(server, before, len(seconds)))
        if not scale.paged:
            return rows
        here = len((await http.request("GET", "/v2.0/ports?fields=id"))["ports"])
        for first in range(0, scale.paged - here, NETWORK_PORTS_MAX):
            on = await network(http, server)
            await fill(http, on, min(NETWORK_PORTS_MAX, scale.paged - here - first))
        await pages(http, scale.paged)  # the first time, a page comes from the disk
        resident, seconds = memory_mib(server.pid), await pages(http, scale.paged)
        tenth = max(len(seconds) // 10, 1)
        rows.append(
            {"what": f"{scale.paged} ports, pages of {PAGE}"}
            | times(seconds)
            | {
                "first_pages_ms": round(percentile(seconds[:tenth], 50) * 1e3, 2),
                "last_pages_ms": round(percentile(seconds[-tenth:], 50) * 1e3, 2),
                "rss_before_mib": resident["rss_mib"],
                "rss_after_mib": memory_mib(server.pid)["rss_mib"],
            }
        )
    return rows


async def pages(http: Http, count: int) -> list[float]:
    """Seconds of each page of all the ports, of which there are so many."""
    seconds: list[float] = []
    seen, marker = 0, ""
    while True:
        took, answer = await timed(http.request("GET", f"/v2.0/ports?limit={PAGE}{marker}"))
        if not answer["ports"]:
            assert seen == count, f"{seen} ports in pages, not {count}"
            return seconds
        seconds.append(took)
        seen += len(answer["ports"])
        marker = f"&marker={answer['ports'][-1]['id']}"


async def next_free(server: Server, scale: Scale) -> list[Row]:
    """The next free address of a /16 that is empty, and of one with very many ports."""
    if not scale.taken:
        return []
    rows = []
    async with server.http() as http:
        on = await network(http, server)
        for taken in (0, scale.taken):
            await fill(http, on, taken)
            seconds = [(await timed(port(http, on)))[0] for _ in range(scale.repeats)]
            rows.append({"what": f"port create in a /16 with {taken} ports"} | times(seconds))
    return rows


async def measure(server: Server, scale: Scale, label: str) -> list[Row]:
    """All rows."""
    rows: list[Row] = [{"what": "server at the start"} | memory_mib(server.pid)]
    for part in (creates, single_requests, lists, next_free):
        rows += await part(server, scale)
    rows.append({"what": "server at the end"} | memory_mib(server.pid))
    return [{"on": label} | row for row in rows]


@contextlib.contextmanager
def cove(engine: str, directory: Path) -> Iterator[Server]:
    """A Cove on this engine."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(settings={})) if engine == "postgresql" else None
        url = postgres.create_database("bench") if postgres is not None else ""
        cloud = stack.enter_context(Cloud(directory, url, quotas=QUOTAS))
        yield Server(cloud.url, {"X-Auth-Token": cloud.token("alice")}, cloud.process.pid, postgres)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.network_api", description="Times of the Networking API.")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), action="append", help="default: both")
    parser.add_argument("--quick", action="store_true", help="fewer of everything: to see that it works")
    parser.add_argument("--neutron", metavar="URL", help="measure this instead")
    parser.add_argument("--pid", type=int, help="the process of that Neutron")
    options = parser.parse_args()
    if options.neutron:
        headers = {"X-User-Id": "bench", "X-Project-Id": "bench", "X-Roles": "admin,member,reader"}
        server = Server(options.neutron, headers, options.pid)

        async def neutron() -> list[Row]:
            async with server.http() as http:
                await http.request("PUT", "/v2.0/quotas/bench", {"quota": json.loads(QUOTAS)})
            return await measure(server, SLOW, "neutron")

        report("network_api", asyncio.run(neutron()))
        return
    rows: list[Row] = []
    for engine in options.engine or ("sqlite", "postgresql"):
        with (
            tempfile.TemporaryDirectory(prefix="cove-bench-", dir="/var/tmp") as directory,
            cove(engine, Path(directory)) as server,
        ):
            rows += asyncio.run(measure(server, QUICK if options.quick else FULL, engine))
    report("network_api", rows)


if __name__ == "__main__":
    main()
