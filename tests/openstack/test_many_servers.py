"""Several `cove server` processes on one PostgreSQL database: no address twice, nothing acknowledged lost, no port that
waits for an agent which another process has."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.postgres_server import PostgresServer

from .api_processes import ApiProcess
from .cloud import Cloud

PROCESSES = 8
POOL_SIZE = 253
"""Of a /24: all but the network's, the gateway's and the broadcast address."""
TASKS, EACH = 4, 9
"""Clients of each process, and the ports that each of them asks for: more than there are."""


@pytest.fixture
def cloud(tmp_path: Path, postgres_url: str) -> Iterator[Cloud]:
    """The process with a DHCP agent."""
    with Cloud(tmp_path / "up", postgres_url, quotas='{"port": -1, "network": -1, "subnet": -1}') as made:
        yield made


@contextlib.contextmanager
def servers(directory: Path, url: str, count: int) -> Iterator[list[ApiProcess]]:
    """Processes that were started at once."""
    processes = [
        ApiProcess(directory, url, f"server-{number}", quotas='{"port": -1, "network": -1, "subnet": -1}')
        for number in range(count)
    ]
    with ExitStack() as stack:
        for process in processes:
            process.begin()
            stack.callback(process.stop)
        for process in processes:
            process.wait_until_ready()
        yield processes


@asynccontextmanager
async def clients(token: str, urls: list[str]) -> AsyncIterator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, headers={"X-Auth-Token": token}, trust_env=False, timeout=60)
            )
            for url in urls
        ]


async def ask(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    response = await http.request(method, f"/v2.0/{path}", json=body)
    assert response.is_success, response.text
    return response.json() if response.content else None


async def network_of(http: httpx.AsyncClient, **subnet: Any) -> str:
    network = (await ask(http, "POST", "networks", {"network": {"name": "n"}}))["network"]["id"]
    values = {"network_id": network, "ip_version": 4, "cidr": "192.0.2.0/24", **subnet}
    await ask(http, "POST", "subnets", {"subnet": values})
    return str(network)


async def test_eight_processes_fill_one_network(tmp_path: Path, cloud: Cloud, postgres_url: str) -> None:
    with servers(tmp_path, postgres_url, PROCESSES) as processes:
        async with clients(cloud.token("alice"), [process.url for process in processes]) as https:
            network = await network_of(https[0], enable_dhcp=False)
            results: list[httpx.Response] = []

            async def create(http: httpx.AsyncClient) -> None:
                for _ in range(EACH):
                    results.append(await http.post("/v2.0/ports", json={"port": {"network_id": network}}))

            async with asyncio.TaskGroup() as group:
                for http in https:
                    for _ in range(TASKS):
                        group.create_task(create(http))
            made = [response.json()["port"] for response in results if response.status_code == 201]
            refused = [response for response in results if response.status_code != 201]
            assert len(results) == PROCESSES * TASKS * EACH
            assert len(made) == POOL_SIZE
            kinds = collections.Counter(
                (response.status_code, response.json()["NeutronError"]["type"]) for response in refused
            )
            assert kinds == {(409, "IpAddressGenerationFailure"): len(results) - POOL_SIZE}
            addresses = [port["fixed_ips"][0]["ip_address"] for port in made]
            assert sorted(addresses, key=_number) == [f"192.0.2.{n}" for n in range(2, 255)]
            assert len({port["mac_address"] for port in made}) == POOL_SIZE
            # All processes tell the same, and it is what was answered.
            for http in https:
                listed = (await ask(http, "GET", f"ports?network_id={network}"))["ports"]
                assert {port["id"]: port["fixed_ips"] for port in listed} == {
                    port["id"]: port["fixed_ips"] for port in made
                }
            # What is given back is given out again, by whichever process.
            await ask(https[1], "DELETE", f"ports/{made[7]['id']}")
            again = (await ask(https[2], "POST", "ports", {"port": {"network_id": network}}))["port"]
            assert again["fixed_ips"] == made[7]["fixed_ips"]
        assert [problem for process in processes for problem in process.problems()] == []
        # Locks were waited for in an order that ends in no deadlock.
        assert not any("transaction lost against another" in process.log.read_text() for process in processes)


def _number(address: str) -> int:
    return int(address.rpartition(".")[2])


async def test_ports_become_active_through_the_agent_of_another_process(
    tmp_path: Path, cloud: Cloud, postgres_url: str
) -> None:
    with servers(tmp_path, postgres_url, 2) as processes:
        async with clients(cloud.token("alice"), [process.url for process in processes]) as (one, two):
            network = await network_of(one)
            waits = []
            for number in range(10):
                http, other = (one, two) if number % 2 else (two, one)
                port = (await ask(http, "POST", "ports", {"port": {"network_id": network}}))["port"]
                assert port["status"] == "DOWN"
                began = time.monotonic()
                async with asyncio.timeout(20):
                    while (await ask(other, "GET", f"ports/{port['id']}"))["port"]["status"] != "ACTIVE":
                        await asyncio.sleep(0.01)
                waits.append(time.monotonic() - began)
            # A process that was not told would find it by itself only after a second.
            assert sorted(waits)[len(waits) // 2] < 0.5, waits


async def test_the_outbox_is_empty_in_the_end(
    tmp_path: Path, cloud: Cloud, postgres_url: str, postgres_server: PostgresServer
) -> None:
    database = postgres_url.rpartition("/")[2]
    with servers(tmp_path, postgres_url, 2) as processes:
        async with clients(cloud.token("alice"), [cloud.url, *(process.url for process in processes)]) as https:
            network = await network_of(https[1])
            body = {"port": {"network_id": network}}
            ports = await asyncio.gather(*(ask(http, "POST", "ports", body) for http in https for _ in range(20)))
            for number, port in enumerate(ports):
                await ask(https[number % 3], "DELETE", f"ports/{port['port']['id']}")
            async with asyncio.timeout(20):
                while postgres_server.sql("SELECT * FROM outbox", database):
                    await asyncio.sleep(0.05)


@pytest.mark.parametrize("which", ["the one that serves", "postgresql"])
async def test_a_kill_in_the_middle_of_load_loses_nothing_acknowledged(
    tmp_path: Path, cloud: Cloud, postgres_url: str, which: str, postgres_server: PostgresServer
) -> None:
    if which == "postgresql":
        # Its sessions end as if it had crashed; the server itself is that of other tests, too.
        def kill() -> None:
            postgres_server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cove'"
            )
    else:

        def kill() -> None:
            processes[0].stop(signal.SIGKILL)

    with servers(tmp_path, postgres_url, 2) as processes:
        async with clients(cloud.token("alice"), [process.url for process in processes]) as https:
            network = await network_of(https[1], cidr="10.0.0.0/16")
            acknowledged: dict[str, Any] = {}
            sent: set[str] = set()
            killed = asyncio.Event()

            async def create(http: httpx.AsyncClient) -> None:
                while not killed.is_set() or len(sent) < 50:
                    name = str(uuid.uuid4())
                    sent.add(name)
                    with contextlib.suppress(httpx.TransportError):
                        response = await http.post("/v2.0/ports", json={"port": {"network_id": network, "name": name}})
                        if response.status_code == 201:
                            acknowledged[name] = response.json()["port"]
                        else:
                            assert response.status_code in (503, 504), response.text

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(create(http)) for http in https for _ in range(4)]
                async with asyncio.timeout(60):
                    while len(acknowledged) < 40:
                        await asyncio.sleep(0.005)
                await asyncio.to_thread(kill)
                enough = len(acknowledged) + 10
                async with asyncio.timeout(60):
                    while len(acknowledged) < enough:  # those that are left go on
                        await asyncio.sleep(0.005)
                killed.set()
            assert all(task.done() for task in tasks)
            stored = {
                port["name"]: port for port in (await ask(https[1], "GET", f"ports?network_id={network}"))["ports"]
            }
            stored.pop("", None)
            assert set(acknowledged) <= set(stored) <= sent
            for name, port in acknowledged.items():
                assert stored[name]["fixed_ips"] == port["fixed_ips"]
                assert stored[name]["mac_address"] == port["mac_address"]
            addresses = [port["fixed_ips"][0]["ip_address"] for port in stored.values()]
            assert len(set(addresses)) == len(addresses)
            # What the dead process had not told the agent is told by another one.
            async with asyncio.timeout(30):
                while True:
                    down = (await ask(https[1], "GET", f"ports?network_id={network}&status=DOWN"))["ports"]
                    if not down:
                        break
                    await asyncio.sleep(0.1)


def test_a_start_without_postgresql_says_what_to_do(tmp_path: Path) -> None:
    process = ApiProcess(tmp_path, f"sqlite:///{tmp_path}/x.sqlite", "alone")
    with pytest.raises(RuntimeError, match=r"set database_url \(COVE_DATABASE_URL\) to postgresql://"):
        process.__enter__()
    assert process.process.returncode == 1


def test_sigterm_ends_it_and_it_leaves_nothing(tmp_path: Path, postgres_url: str) -> None:
    with ApiProcess(tmp_path, postgres_url, "one") as process:
        assert httpx.get(f"{process.url}/healthz", trust_env=False).status_code == 200
        assert process.stop() == 0
    assert "s3cret" not in process.log.read_text()
    run = tmp_path / "one" / "run"
    assert not run.exists() or list(run.iterdir()) == []
