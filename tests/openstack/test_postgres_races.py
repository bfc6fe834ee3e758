"""Two server processes that change the same thing at once, on PostgreSQL: what a constraint or a lock promises."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cove.config import Settings
from cove.db import Database
from cove.network import NetworkService, RequestContext, errors
from cove.network.models import quota_limits
from cove.timeline import Timeline
from tests.unit.network.fakes import Cloud, FakeBus

ROUNDS = 12


@pytest.fixture
async def pair(tmp_path: Path, postgres_url: str) -> AsyncIterator[tuple[Cloud, Cloud]]:
    """Two services on one database, as two processes have them."""
    made = []
    async with AsyncExitStack() as stack:
        for number in range(2):
            settings = Settings(
                state_dir=tmp_path / str(number),
                run_dir=tmp_path / str(number),
                host=f"node{number}",
                database_url=postgres_url,
                quotas={"network": -1, "subnet": -1, "port": -1},
            )
            db, bus, timeline = Database(postgres_url), FakeBus(), Timeline()
            await db.start()
            stack.push_async_callback(db.close)
            service = NetworkService(db, bus, timeline, settings)
            await service.start()
            stack.push_async_callback(service.stop)
            made.append(Cloud(service, bus, db, timeline, settings))
        await made[0].report()
        yield made[0], made[1]
        # However it ended: locks were waited for in an order that has no deadlocks, which cost a second each.
        assert [c.db.statistics["conflicts"] for c in made] == [0, 0]


async def both(*calls: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*calls, return_exceptions=True))


def kinds(results: list[Any]) -> list[str]:
    return sorted(type(result).__name__ if isinstance(result, BaseException) else "done" for result in results)


async def test_a_port_and_the_end_of_its_network(pair: tuple[Cloud, Cloud]) -> None:
    a, b = pair
    outcomes = set()
    for number in range(ROUNDS):
        network = await a.network()
        await a.subnet(network)
        calls = [a.port(network), b.delete("network", network["id"])]
        results = await both(*(calls if number % 2 else reversed(calls)))
        outcome = kinds(results)
        outcomes.add(tuple(outcome))
        assert outcome in (["NetworkInUse", "done"], ["NetworkNotFound", "done"]), results
        ports = await a.find("port", ("network_id", network["id"]))
        networks = await a.find("network", ("id", network["id"]))
        assert len(ports) == len(networks) == (outcome == ["NetworkInUse", "done"])


async def test_a_subnet_and_the_end_of_its_network(pair: tuple[Cloud, Cloud]) -> None:
    a, b = pair
    for number in range(ROUNDS):
        network = await a.network()
        calls = [a.subnet(network), b.delete("network", network["id"])]
        results = await both(*(calls if number % 2 else reversed(calls)))
        # A subnet does not keep its network: with the network, it goes too.
        assert kinds(results) in (["done", "done"], ["NetworkNotFound", "done"], ["NetworkInUse", "done"]), results
        left = await a.find("subnet", ("network_id", network["id"]))
        assert len(left) == len(await a.find("network", ("id", network["id"])))


async def test_a_port_and_the_end_of_its_subnet(pair: tuple[Cloud, Cloud]) -> None:
    a, b = pair
    network = await a.network()
    for number in range(ROUNDS):
        subnet = await a.subnet(network, f"10.0.{number}.0/24")
        calls = [a.port(network, fixed_ips=[{"subnet_id": subnet["id"]}]), b.delete("subnet", subnet["id"])]
        results = await both(*(calls if number % 2 else reversed(calls)))
        assert kinds(results) in (["SubnetInUse", "done"], ["InvalidInput", "done"], ["SubnetNotFound", "done"]), (
            results
        )
        assert await a.rows("SELECT count(*) FROM ip_allocations WHERE subnet_id NOT IN (SELECT id FROM subnets)") == [
            (0,)
        ]


async def test_one_address_and_one_mac_for_two(pair: tuple[Cloud, Cloud]) -> None:
    a, b = pair
    network = await a.network()
    await a.subnet(network)
    for number in range(ROUNDS):
        address = [{"ip_address": f"192.0.2.{100 + number}"}]
        results = await both(a.port(network, fixed_ips=address), b.port(network, fixed_ips=address))
        assert kinds(results) == ["IpAddressAlreadyAllocated", "done"], results
        mac = f"fa:16:3e:00:01:{number:02x}"
        results = await both(a.port(network, mac_address=mac), b.port(network, mac_address=mac))
        assert kinds(results) == ["MacAddressInUse", "done"], results


async def test_subnets_of_one_network_never_overlap(pair: tuple[Cloud, Cloud]) -> None:
    a, b = pair
    for _ in range(ROUNDS):
        network = await a.network()
        results = await both(a.subnet(network, "10.0.0.0/16"), b.subnet(network, "10.0.7.0/24"))
        assert kinds(results) == ["InvalidInput", "done"], results


async def test_one_segment_for_two_networks(pair: tuple[Cloud, Cloud]) -> None:
    a, b = pair
    for number in range(ROUNDS):
        wanted = {
            "provider:network_type": "vlan",
            "provider:physical_network": "physnet",
            "provider:segmentation_id": 100 + number,
        }
        results = await both(a.network(**wanted), b.network(**wanted))
        assert kinds(results) == ["VlanIdInUse", "done"], results


async def test_one_default_security_group_a_project(pair: tuple[Cloud, Cloud]) -> None:
    for number in range(ROUNDS):
        project = RequestContext(project_id=f"{number:032x}", is_admin=False, roles=frozenset({"member", "reader"}))
        calls = []
        for c in pair:
            c.context = project
            calls.append(c.network())
        networks = await both(*calls)
        assert kinds(networks) == ["done", "done"], networks
        results = await both(*(c.port(n) for c, n in itertools.product(pair, networks)))
        assert kinds(results) == ["done"] * 4, results
        groups = {tuple(port["security_groups"]) for port in results}
        assert len(groups) == 1
        found = await pair[0].rows("SELECT project_id FROM security_groups")
        assert found.count((project.project_id,)) == 1


async def test_the_last_of_a_quota(pair: tuple[Cloud, Cloud]) -> None:
    a, b = pair
    network = await a.network()
    await a.subnet(network)
    limit = {"project_id": a.context.project_id, "resource": "port", "limit": 30}
    await a.db.write(lambda c: c.execute(sa.insert(quota_limits), limit) and None)
    results = await both(*((a, b)[number % 2].port(network) for number in range(50)))
    assert kinds(results) == ["OverQuota"] * 20 + ["done"] * 30
    assert await a.rows("SELECT used FROM quota_usages WHERE resource = 'port'") == [(30,)]


async def test_a_change_and_another_of_one_port(pair: tuple[Cloud, Cloud]) -> None:
    a, b = pair
    network = await a.network()
    await a.subnet(network)
    port = await a.port(network)
    results = await both(*((a, b)[number % 2].update("port", port["id"], name=f"n{number}") for number in range(20)))
    assert kinds(results) == ["done"] * 20
    after = await a.get("port", port["id"])
    assert after["revision_number"] == port["revision_number"] + 20
    assert sorted(result["revision_number"] for result in results) == list(
        range(port["revision_number"] + 1, port["revision_number"] + 21)
    )


async def test_ports_come_and_go_on_several_networks(pair: tuple[Cloud, Cloud]) -> None:
    """Free ranges and allocations agree in the end, and nobody met a deadlock."""
    networks = []
    for number in range(4):
        network = await pair[number % 2].network()
        await pair[0].subnet(network, f"10.1.{number}.0/26", enable_dhcp=False)
        networks.append(network)

    async def churn(c: Cloud, number: int) -> None:
        for step in range(12):
            network = networks[(number + step) % 4]
            try:
                port = await c.port(network)
            except errors.IpAddressGenerationFailure:
                continue
            if (number + step) % 3:
                await c.delete("port", port["id"])

    await asyncio.gather(*(churn(c, number) for c in pair for number in range(8)))
    free = sum(last - first + 1 for first, last in await pair[0].free())
    taken = (await pair[0].rows("SELECT count(*) FROM ip_allocations"))[0][0]
    assert free + taken == 4 * 61  # 62 hosts but for the gateway
