"""From a request to the Networking API to packets on a bridge: what users change reaches guests that run already."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cove.api.app import create_app
from cove.bus import connect
from cove.compute.addresses import eui64_address
from cove.compute.firewall import Firewall
from cove.compute.firewall_api import HttpFirewallApi
from cove.compute.firewall_sync import FirewallSync, GuestPort
from cove.config import Settings
from cove.db import Database
from cove.network import NetworkService
from cove.timeline import Timeline
from tests.integration.compute.firewall_world import World, world

IN_FORCE_WITHIN_S = 2.0


@dataclass
class Site:
    """A Cove without machines, hosts on a bridge in their place, and a client of its API."""

    world: World
    client: httpx.AsyncClient
    sync: FirewallSync
    firewall: Firewall
    network_id: str = ""

    async def make(self, noun: str, **given: Any) -> dict[str, Any]:
        answer = await self.client.post(f"/v2.0/{noun.replace('_', '-')}s", json={noun: given})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()[noun]
        return made

    async def change(self, noun: str, item_id: str, **changes: Any) -> None:
        answer = await self.client.put(f"/v2.0/{noun.replace('_', '-')}s/{item_id}", json={noun: changes})
        assert answer.status_code == 200, answer.text

    async def remove(self, noun: str, item_id: str) -> None:
        answer = await self.client.delete(f"/v2.0/{noun.replace('_', '-')}s/{item_id}")
        assert answer.status_code == 204, answer.text

    async def port(self, host: int, **given: Any) -> dict[str, Any]:
        """The port of a host."""
        address = self.world.hosts[host].ipv4
        return await self.make("port", network_id=self.network_id, fixed_ips=[{"ip_address": address}], **given)

    async def protect(self, host: int, port: dict[str, Any]) -> None:
        await self.sync.protect(GuestPort(port["id"], self.world.hosts[host].tap, "br0"))

    async def soon(self, probe: Callable[[], bool], wanted: bool = True) -> None:
        """A change is in force within the time that is promised; nothing but the change itself is waited for."""
        deadline = time.monotonic() + IN_FORCE_WITHIN_S
        while await asyncio.to_thread(probe) is not wanted:
            assert time.monotonic() < deadline, f"not {wanted} within {IN_FORCE_WITHIN_S} s"
            await asyncio.sleep(0.02)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    settings = Settings(state_dir=tmp_path, run_dir=tmp_path)
    async with AsyncExitStack() as stack:
        db = Database(settings.database_url)
        await db.start()
        stack.push_async_callback(db.close)
        bus = connect("local://")
        await bus.start()
        stack.push_async_callback(bus.close)
        network = NetworkService(db, bus, Timeline(), settings)
        await network.start()
        stack.push_async_callback(network.stop)
        transport = httpx.ASGITransport(create_app(settings, network, [], "token"))
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://cove", headers={"X-Auth-Token": "token"})
        )
        made = stack.enter_context(world(3))
        firewall = Firewall(tmp_path, namespace=made.namespace)
        sync = FirewallSync(firewall, HttpFirewallApi(client), bus)
        await sync.start([])
        stack.push_async_callback(sync.close)
        site = Site(made, client, sync, firewall)
        site.network_id = (await site.make("network", name="lan"))["id"]
        await site.make("subnet", network_id=site.network_id, ip_version=4, cidr="10.9.0.0/24", enable_dhcp=False)
        yield site


async def test_a_guest_with_the_default_group(site: Site) -> None:
    one, two, outside = site.world.hosts
    lan = site.world
    first, second = await site.port(0), await site.port(1)
    assert first["security_groups"] == second["security_groups"] != []
    await site.protect(0, first)
    await site.protect(1, second)
    assert lan.ping(one, outside, 4)
    assert lan.talk(one, outside, 4, 7) == (True, True)
    assert not lan.ping(outside, one, 4)
    assert lan.ping(two, one, 4)

    rule = await site.make(
        "security_group_rule",
        security_group_id=first["security_groups"][0],
        direction="ingress",
        protocol="icmp",
        remote_ip_prefix="0.0.0.0/0",
    )
    await site.soon(lambda: lan.ping(outside, one, 4))
    assert not lan.tcp(outside, one, 4, 22)
    await site.remove("security_group_rule", rule["id"])
    await site.soon(lambda: lan.ping(outside, one, 4), False)


async def test_members_of_a_remote_group_come_and_go(site: Site) -> None:
    one, _, outside = site.world.hosts
    lan = site.world
    web, clients = await site.make("security_group", name="web"), await site.make("security_group", name="clients")
    await site.make(
        "security_group_rule", security_group_id=web["id"], direction="ingress", protocol="tcp", port_range_min=80,
        port_range_max=80, remote_group_id=clients["id"],
    )  # fmt: skip
    port = await site.port(0, security_groups=[web["id"]])
    await site.protect(0, port)
    assert not lan.tcp(outside, one, 4, 80)
    client = await site.port(2, security_groups=[clients["id"]])
    await site.soon(lambda: lan.tcp(outside, one, 4, 80))
    assert not lan.tcp(outside, one, 4, 81)
    await site.change("port", client["id"], security_groups=[])
    await site.soon(lambda: lan.tcp(outside, one, 4, 80), False)
    await site.change("port", client["id"], security_groups=[clients["id"]])
    await site.soon(lambda: lan.tcp(outside, one, 4, 80))
    await site.remove("port", client["id"])
    await site.soon(lambda: lan.tcp(outside, one, 4, 80), False)
    assert await site.sync.compare()


async def test_a_subnet_gives_addresses_to_members_that_are_there_already(site: Site) -> None:
    one, _, outside = site.world.hosts
    lan = site.world
    web, clients = await site.make("security_group", name="web"), await site.make("security_group", name="clients")
    for ethertype in ("IPv4", "IPv6"):
        await site.make(
            "security_group_rule", security_group_id=web["id"], direction="ingress", ethertype=ethertype,
            remote_group_id=clients["id"],
        )  # fmt: skip
    await site.protect(0, await site.port(0, security_groups=[web["id"]]))
    await site.port(2, security_groups=[clients["id"]], mac_address=outside.mac)
    await site.soon(lambda: lan.udp(outside, one, 4, 7))
    assert not lan.udp(outside, one, 6, 7)
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    subnet = await site.make("subnet", network_id=site.network_id, ip_version=6, cidr="fd09::/64", **modes)
    made_by_itself = str(eui64_address("fd09::/64", outside.mac))
    subprocess.run(
        ["ip", "-n", outside.namespace, "addr", "add", f"{made_by_itself}/64", "dev", "eth0", "nodad"], check=True
    )
    outside.ipv6 = made_by_itself
    await site.soon(lambda: lan.udp(outside, one, 6, 7))
    await site.remove("subnet", subnet["id"])
    await site.soon(lambda: lan.udp(outside, one, 6, 7), False)
    assert await site.sync.compare()


async def test_a_ports_groups_and_port_security_change(site: Site) -> None:
    one, _, outside = site.world.hosts
    lan = site.world
    port = await site.port(0)
    await site.protect(0, port)
    open_ = await site.make("security_group", name="open")
    await site.make("security_group_rule", security_group_id=open_["id"], direction="ingress")
    assert not lan.udp(outside, one, 4, 7)
    await site.change("port", port["id"], security_groups=[open_["id"]])
    await site.soon(lambda: lan.udp(outside, one, 4, 7))
    await site.change("port", port["id"], security_groups=[])
    await site.soon(lambda: lan.udp(outside, one, 4, 7), False)
    assert not lan.udp(one, outside, 4, 7)
    await site.change("port", port["id"], port_security_enabled=False)
    await site.soon(lambda: lan.udp(one, outside, 4, 7))


async def test_a_start_of_cove_finds_running_guests(site: Site) -> None:
    one, _, outside = site.world.hosts
    port = await site.port(0)
    await site.protect(0, port)
    await site.sync.close()
    # While Cove is away the rules stay in force, and what is changed meanwhile is there after its start.
    assert not site.world.ping(outside, one, 4)
    await site.make(
        "security_group_rule", security_group_id=port["security_groups"][0], direction="ingress", protocol="icmp"
    )
    again = FirewallSync(site.firewall, HttpFirewallApi(site.client))
    try:
        await again.start([GuestPort(port["id"], one.tap, "br0")])
        assert site.world.ping(outside, one, 4)
        assert not site.world.udp(outside, one, 4, 7)
    finally:
        await again.destroy()
    assert site.world.udp(outside, one, 4, 7)
