"""A server on the local bus that knows networks, and DHCP clients in namespaces of their own."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from cove.bus import LocalBus, Target
from cove.compute.guest import packages
from cove.config import Settings
from cove.dhcp import DhcpAgent, devices
from cove.linux import links, namespaces
from cove.timeline import Timeline

from .clients6 import Clients6

HOST = "testhost"

if os.geteuid() != 0:
    collect_ignore_glob = ["test_*.py"]


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 10.0) -> Any:
    """Wait for a condition; fails with `what` after the time-out."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.005)
    return value


class FakeServer:
    """The server's side of the DHCP RPC API over a dict of networks."""

    def __init__(self, bus: LocalBus) -> None:
        self.bus = bus
        self.networks: dict[str, dict[str, Any]] = {}
        self.ready: set[str] = set()
        self.ready_batches: list[list[str]] = []
        self.calls: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.released: list[str] = []
        self.answer = "alive"
        self.fail: dict[str, Exception] = {}
        self._macs = itertools.count(1)
        self._revisions = itertools.count(1)

    async def start(self) -> None:
        methods = (
            "get_active_networks_info get_network_info create_dhcp_port update_dhcp_port release_dhcp_port"
            " dhcp_ready_on_ports"
        )
        endpoint = {name: self._counted(name) for name in methods.split()}
        await self.bus.serve("q-plugin", HOST, endpoint)
        await self.bus.serve("q-reports-plugin", HOST, {"report_state": self._counted("report_state")})

    def _counted(self, name: str):
        async def method(**args: Any) -> Any:
            self.calls.append(name)
            if name in self.fail:
                raise self.fail[name]
            return await getattr(self, f"_{name}")(**args)

        return method

    # -- RPC

    async def _get_active_networks_info(self, host: str, enable_dhcp_filter: bool) -> Any:
        return [self.info(key) for key in self.networks]

    async def _get_network_info(self, network_id: str, host: str) -> Any:
        return self.info(network_id) if network_id in self.networks else None

    async def _create_dhcp_port(self, port: dict[str, Any], host: str) -> Any:
        body = port["port"]
        network = self.networks.get(body["network_id"])
        if network is None:
            return None
        made = self.make_port(body["network_id"], body["device_id"], "network:dhcp")
        for wanted in body["fixed_ips"]:
            made["fixed_ips"].append({**wanted, "ip_address": self._server_ip(network, wanted["subnet_id"])})
        return made

    async def _update_dhcp_port(self, port_id: str, port: dict[str, Any], host: str) -> Any:
        body = port["port"]
        network = self.networks[body["network_id"]]
        found = network["ports"][port_id]
        found["device_id"] = body.get("device_id", found["device_id"])
        found["fixed_ips"] = [
            {"ip_address": self._server_ip(network, item["subnet_id"]), **item} for item in body["fixed_ips"]
        ]
        found["revision_number"] = next(self._revisions)
        return found

    async def _release_dhcp_port(self, network_id: str, device_id: str, host: str) -> None:
        self.released.append(network_id)
        if network_id in self.networks:
            ports = self.networks[network_id]["ports"]
            for key in [key for key, port in ports.items() if port["device_id"] == device_id]:
                del ports[key]

    async def _dhcp_ready_on_ports(self, port_ids: list[str]) -> None:
        self.ready_batches.append(port_ids)
        self.ready.update(port_ids)

    async def _report_state(self, agent_state: dict[str, Any], time: str) -> str:
        self.reports.append(agent_state["agent_state"])
        return self.answer

    # -- state

    def info(self, network_id: str) -> dict[str, Any]:
        network = self.networks[network_id]
        return {
            **network,
            "subnets": sorted(network["subnets"].values(), key=lambda subnet: subnet["id"]),
            "ports": list(network["ports"].values()),
            "non_local_subnets": [],
        }

    def make_network(self, *cidrs: str, mtu: int = 1500) -> str:
        network_id = str(uuid.uuid4())
        self.networks[network_id] = {
            "id": network_id,
            "project_id": "p",
            "admin_state_up": True,
            "mtu": mtu,
            "subnets": {},
            "ports": {},
        }
        for cidr in cidrs:
            self.make_subnet(network_id, cidr)
        return network_id

    def make_subnet(self, network_id: str, cidr: str, **values: Any) -> dict[str, Any]:
        gateway = str(ip_network(cidr)[1])
        subnet = {
            "id": str(uuid.uuid4()),
            "network_id": network_id,
            "cidr": cidr,
            "ip_version": ip_network(cidr).version,
            "enable_dhcp": True,
            "gateway_ip": gateway,
            "dns_nameservers": [],
            "host_routes": [],
            "ipv6_ra_mode": None,
            "ipv6_address_mode": None,
            "subnetpool_id": None,
            **values,
        }
        self.networks[network_id]["subnets"][subnet["id"]] = subnet
        return subnet

    def make_port(self, network_id: str, device_id: str, owner: str, mac: str | None = None) -> dict[str, Any]:
        n = next(self._macs)
        port = {
            "id": str(uuid.uuid4()),
            "network_id": network_id,
            "mac_address": mac or f"fa:16:3e:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
            "device_id": device_id,
            "device_owner": owner,
            "admin_state_up": True,
            "fixed_ips": [],
            "extra_dhcp_opts": [],
            "revision_number": next(self._revisions),
        }
        self.networks[network_id]["ports"][port["id"]] = port
        return port

    def add_port(
        self, network_id: str, ips: str | tuple[str, ...], mac: str | None = None, **values: Any
    ) -> dict[str, Any]:
        """A port in the database, without telling anybody."""
        subnets = self.networks[network_id]["subnets"]
        port = self.make_port(network_id, "vm", "compute:nova", mac)
        for ip in (ips,) if isinstance(ips, str) else ips:
            subnet_id = next(key for key, subnet in subnets.items() if ip_address(ip) in ip_network(subnet["cidr"]))
            port["fixed_ips"].append({"subnet_id": subnet_id, "ip_address": ip})
        port.update(values)
        return port

    def _server_ip(self, network: dict[str, Any], subnet_id: str) -> str:
        return str(ip_network(network["subnets"][subnet_id]["cidr"])[2])

    # -- casts

    async def cast(self, method: str, **payload: Any) -> None:
        await self.bus.cast(Target("dhcp_agent", HOST), method, {"payload": {"priority": 1, **payload}})

    async def create_network(self, *cidrs: str, **values: Any) -> str:
        network_id = self.make_network(*cidrs, **values)
        await self.cast("network_create_end", network={"id": network_id})
        return network_id

    async def create_port(
        self, network_id: str, ips: str | tuple[str, ...], mac: str | None = None, **values: Any
    ) -> dict[str, Any]:
        port = self.add_port(network_id, ips, mac, **values)
        await self.cast("port_create_end", port=port)
        return port

    async def update_port(self, port: dict[str, Any], **values: Any) -> None:
        port.update(values, revision_number=next(self._revisions))
        await self.cast("port_update_end", port=port)

    async def delete_port(self, port: dict[str, Any]) -> None:
        del self.networks[port["network_id"]]["ports"][port["id"]]
        await self.cast(
            "port_delete_end", port_id=port["id"], network_id=port["network_id"], fixed_ips=port["fixed_ips"]
        )

    async def delete_network(self, network_id: str) -> None:
        del self.networks[network_id]
        await self.bus.fanout("dhcp_agent", "network_delete_end", {"payload": {"network_id": network_id}})

    async def until_ready(self, *ports: dict[str, Any], timeout_s: float = 10.0) -> None:
        ids = {port["id"] for port in ports}
        await until(lambda: ids <= self.ready, "ports ready", timeout_s)


class Clients:
    """udhcpc in a namespace of its own, plugged into a network's bridge, with a MAC of choice."""

    def __init__(self, directory: Path) -> None:
        self._script = directory / "udhcpc.script"
        self._script.write_text(
            '#!/bin/sh\n[ "$1" = bound ] && echo "ip=$ip mask=$mask router=$router dns=$dns lease=$lease'
            ' mtu=$mtu serverid=$serverid tftp=$tftp hostname=$hostname routes=$staticroutes"\nexit 0\n'
        )
        self._script.chmod(0o755)
        self._count = itertools.count(1)
        self._made: list[tuple[str, str]] = []

    async def plug(self, network_id: str, mac: str) -> str:
        n = next(self._count)
        namespace, tap = f"covecli-{os.getpid()}-{n}", f"cvc{os.getpid() % 100000}-{n}"
        self._made.append((namespace, tap))
        namespaces.create(namespace)
        await links.ensure_veth(
            tap,
            "eth0",
            peer_namespace=namespace,
            bridge=devices.bridge_name(network_id),
            peer_mac_address=mac,
        )
        await links.disable_tx_checksum_offload("eth0", namespace=namespace)
        return namespace

    async def ask(self, namespace: str, *, tries: int = 5, options: tuple[str, ...] = ()) -> dict[str, str] | None:
        """One DHCP conversation; what was bound, or None."""
        process = await asyncio.create_subprocess_exec(
            "nsenter",
            f"--net={namespaces.path_of(namespace)}",
            "busybox",
            "udhcpc",
            *["-n", "-q", "-f", "-T", "1", "-i", "eth0", "-O", "mtu", "-O", "tftp", "-O", "staticroutes"],
            "-t",
            str(tries),
            "-s",
            str(self._script),
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        for line in out.decode().splitlines():
            if line.startswith("ip="):
                return dict(item.split("=", 1) for item in line.split(" ") if "=" in item)
        return None

    async def lease(self, network_id: str, mac: str, **options: Any) -> dict[str, str] | None:
        return await self.ask(await self.plug(network_id, mac), **options)

    async def close(self) -> None:
        for namespace, tap in self._made:
            await links.delete(tap)
            namespaces.remove(namespace)


@pytest.fixture(scope="session")
def dhcpcd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DHCPv6 client that the guest has, too."""
    where = tmp_path_factory.mktemp("dhcpcd")

    async def fetch() -> Path:
        package = await packages.show("dhcpcd-base")
        await packages.run("dpkg", "-x", str(await packages.download(package, where)), str(where))
        return where / "usr" / "sbin" / "dhcpcd"

    return asyncio.run(fetch())


@pytest.fixture
async def clients6(state_dir, dhcpcd) -> AsyncIterator[Clients6]:
    clients = Clients6(state_dir, dhcpcd)
    yield clients
    await clients.close()


@pytest.fixture
def state_dir():
    path = Path(tempfile.mkdtemp(prefix="covedhcp-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def settings(state_dir):
    return Settings(state_dir=state_dir, run_dir=state_dir / "run", host=HOST, agent_report_interval_s=0.2)


@pytest.fixture
async def bus():
    bus = LocalBus()
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
async def server(bus):
    server = FakeServer(bus)
    await server.start()
    return server


@pytest.fixture
def timeline():
    return Timeline()


@pytest.fixture
async def clients(state_dir) -> AsyncIterator[Clients]:
    clients = Clients(state_dir)
    yield clients
    await clients.close()


@pytest.fixture
async def make_agent(bus, settings, timeline, server):
    """Agents one after the other on the same state; everything is removed at the end."""
    made: list[DhcpAgent] = []

    async def make() -> DhcpAgent:
        agent = DhcpAgent(bus, settings, timeline)
        made.append(agent)
        await agent.start()
        return agent

    yield make
    for agent in made:
        await agent.stop()
    await DhcpAgent(bus, settings, None).shutdown()


@pytest.fixture
async def agent(make_agent):
    return await make_agent()
