"""A small world for a guest: a network with a real dnsmasq, disks that are files behind qemu-nbd, a pretended API."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cove.compute.network_api import (
    Credentials,
    FixedIp,
    Network,
    Port,
    PortNotFound,
    PortRequest,
    SecurityGroup,
    Subnet,
)
from cove.compute.wiring import bridge_name
from cove.errors import CoveError
from cove.linux import links, namespaces

WAIT_S = 90.0


async def until(what: str, condition: Callable[[], object | Awaitable[object]], timeout_s: float = WAIT_S) -> object:
    """Poll until the condition gives something true."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(0.05)


@dataclass
class Info:
    size_bytes: int
    id: str = "test"
    object_names: tuple[str, ...] = ()
    operations: int = 0
    commits: int = 0


class FileDisks:
    """A DiskService of raw files, each exported by a qemu-nbd of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers: dict[tuple[str, str], tuple[subprocess.Popen[bytes], Path]] = {}

    def path(self, pool: str, name: str) -> Path:
        return self.directory / f"{pool}-{name}.raw"

    async def create(self, pool: str, name: str, size_bytes: int, *, source_image: str | None) -> None:
        with open(self.path(pool, name), "xb") as disk:
            if source_image is not None:
                disk.write(self.path("images", source_image).read_bytes())
            disk.truncate(size_bytes)

    async def remove(self, pool: str, name: str) -> None:
        self.path(pool, name).unlink(missing_ok=True)

    async def export(self, pool: str, name: str, socket_path: Path, *, uid: int, gid: int) -> None:
        socket_path.unlink(missing_ok=True)
        command = ["qemu-nbd", "-f", "raw", "-k", str(socket_path), "-x", name, "-t", str(self.path(pool, name))]
        self.servers[pool, name] = subprocess.Popen(command), socket_path
        await until("the disk is served", socket_path.exists, 20)
        os.chown(socket_path, uid, gid)

    async def unexport(self, pool: str, name: str) -> None:
        if (found := self.servers.pop((pool, name), None)) is not None:
            found[0].kill()
            found[0].wait()
            found[1].unlink(missing_ok=True)

    async def info(self, pool: str, name: str) -> Info:
        if not self.path(pool, name).exists():
            raise CoveError(f"no disk {pool}/{name}")
        return Info(self.path(pool, name).stat().st_size)

    async def close(self) -> None:
        for key in list(self.servers):
            await self.unexport(*key)


@dataclass
class Lan:
    """A network with a bridge, and in a namespace a dnsmasq that knows one host."""

    directory: Path
    network: Network = field(default_factory=lambda: Network(id=str(uuid.uuid4()), name="lan", mtu=1450))
    mac_address: str = "fa:16:3e:3c:a3:3e"
    ip_address: str = "1.1.1.10"
    dnsmasq: subprocess.Popen[bytes] | None = None

    @property
    def bridge(self) -> str:
        return bridge_name(self.network.id)

    @property
    def namespace(self) -> str:
        return f"cvt-{self.network.id[:8]}"

    @property
    def leases(self) -> Path:
        return self.directory / "leases"

    async def up(self) -> None:
        namespaces.create(self.namespace)
        here, there = f"cvt{self.network.id[:8]}", f"ns{self.network.id[:8]}"
        await links.ensure_veth(here, there, peer_namespace=self.namespace, bridge=self.bridge)
        await links.ensure_addresses(there, ["1.1.1.2/24"], namespace=self.namespace)
        await links.disable_tx_checksum_offload(there, namespace=self.namespace)
        command = ["ip", "netns", "exec", self.namespace, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"]
        command += ["--log-facility=-", "--no-hosts", "--no-resolv", "--port=0", f"--interface={there}"]
        command += ["--bind-dynamic", "--dhcp-authoritative", f"--dhcp-leasefile={self.leases}", "--pid-file="]
        command += ["--dhcp-range=1.1.1.0,static,255.255.255.0,86400s", "--dhcp-option=3"]
        command += [f"--dhcp-host={self.mac_address},vm1,{self.ip_address}", "--dhcp-option-force=option:mtu,1450"]
        with open(self.directory / "dnsmasq.log", "wb") as output:
            self.dnsmasq = subprocess.Popen(command, stdout=output, stderr=output)

    async def down(self) -> None:
        if self.dnsmasq is not None:
            self.dnsmasq.terminate()
            self.dnsmasq.wait()
        namespaces.remove(self.namespace)
        await links.delete(f"cvt{self.network.id[:8]}")
        await links.delete(self.bridge)


class PretendedNetworkApi:
    """One network whose ports all get the address that dnsmasq knows."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self.ports: dict[str, Port] = {}

    async def find_network(self, name_or_id: str, *, credentials: Credentials | None = None) -> Network:
        return self.lan.network

    async def list_subnets(self, network_id: str) -> list[Subnet]:
        return [Subnet("s", "1.1.1.0/24")]

    async def find_security_groups(
        self, names_or_ids: Sequence[str], *, project_id: str, credentials: Credentials | None = None
    ) -> list[SecurityGroup]:
        return []

    async def list_changed_ports(self, since: str | None) -> list[Port]:
        return list(self.ports.values())

    async def create_port(self, request: PortRequest) -> Port:
        port = Port(
            id=str(uuid.uuid4()),
            network_id=request.network_id,
            mac_address=self.lan.mac_address,
            status="ACTIVE",
            fixed_ips=[FixedIp(self.lan.ip_address, "s")],
            device_id=request.device_id,
        )
        self.ports[port.id] = port
        return port

    async def show_port(self, port_id: str, *, credentials: Credentials | None = None) -> Port:
        if port_id not in self.ports:
            raise PortNotFound(port_id)
        return self.ports[port_id]

    async def list_ports(self, device_id: str) -> list[Port]:
        return [port for port in self.ports.values() if port.device_id == device_id]

    async def bind_port(self, port_id: str, *, device_id: str, host: str) -> Port:
        raise NotImplementedError

    async def unbind_port(self, port_id: str) -> None:
        raise NotImplementedError

    async def delete_port(self, port_id: str) -> None:
        self.ports.pop(port_id, None)


def remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


__all__ = ["WAIT_S", "FileDisks", "Info", "Lan", "PretendedNetworkApi", "remove_tree", "until"]
