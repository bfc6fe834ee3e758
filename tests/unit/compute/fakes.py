"""A host, a network and disks in memory, that note what is done to them and fail where they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cove.compute.guest import GuestFiles, facts
from cove.compute.hypervisor import InstancePaths
from cove.compute.network_api import (
    Credentials,
    FixedIp,
    Network,
    NetworkNotFound,
    Port,
    PortNotFound,
    PortRequest,
    SecurityGroup,
    SecurityGroupNotFound,
    Subnet,
    check_binding,
)
from cove.compute.qemu import Accelerator, InstanceSpec
from cove.compute.spoofguard import GuestRules
from cove.errors import CoveError

NETWORK = Network(id="aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", name="lan", mtu=1450)


class Injected(CoveError):
    """The failure that a test asked for."""


@dataclass
class World:
    """What exists. `calls` are the changes in order; `fail` names those that fail, before or after they happen."""

    directory: Path
    things: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    fail: set[str] = field(default_factory=set)
    fail_after: set[str] = field(default_factory=set)
    hang: set[str] = field(default_factory=set)

    async def change(self, call: str, *, make: str = "", remove: str = "") -> None:
        self.calls.append(call)
        if call in self.hang:
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        if call in self.fail:
            raise Injected(call)
        if make:
            self.things.add(make)
        if remove:
            self.things.discard(remove)
        if call in self.fail_after:
            raise Injected(call)


class FakeNetworkApi:
    def __init__(self, world: World) -> None:
        self.world = world
        self.ports: dict[str, Port] = {}
        self.status = "ACTIVE"
        self.number = 0
        self.subnets = [Subnet("s", "1.1.1.0/24")]
        self.groups = [SecurityGroup("11111111-0000-0000-0000-000000000001", "web")]
        self.requests: list[PortRequest] = []
        self.asked: list[Credentials | None] = []
        self.changed: list[str | None] = []

    async def find_network(self, name_or_id: str, *, credentials: Credentials | None = None) -> Network:
        self.asked.append(credentials)
        if name_or_id not in (NETWORK.id, NETWORK.name):
            raise NetworkNotFound(f"no network {name_or_id!r}")
        return NETWORK

    def add(self, device_id: str = "") -> Port:
        self.number += 1
        port = Port(
            id=f"{self.number:08d}-1111-2222-3333-444444444444",
            network_id=NETWORK.id,
            mac_address=f"fa:16:3e:00:00:{self.number:02x}",
            status=self.status,
            fixed_ips=[FixedIp(f"1.1.1.{9 + self.number}", "s")],
            device_id=device_id,
        )
        self.ports[port.id] = port
        return port

    async def list_subnets(self, network_id: str) -> list[Subnet]:
        return self.subnets

    async def find_security_groups(
        self, names_or_ids: Sequence[str], *, project_id: str, credentials: Credentials | None = None
    ) -> list[SecurityGroup]:
        found = [group for group in self.groups if {group.id, group.name} & set(names_or_ids)]
        if len(found) < len(names_or_ids):
            raise SecurityGroupNotFound(f"no security group {names_or_ids}")
        return found

    async def list_changed_ports(self, since: str | None) -> list[Port]:
        self.changed.append(since)
        return list(self.ports.values())

    async def create_port(self, request: PortRequest) -> Port:
        self.requests.append(request)
        port = None
        if "create_port" not in self.world.fail:
            port = self.add(request.device_id)
            self.world.things.add(f"port {port.id}")
        await self.world.change("create_port")
        assert port is not None
        return port

    async def show_port(self, port_id: str, *, credentials: Credentials | None = None) -> Port:
        if port_id not in self.ports:
            raise PortNotFound(f"no port {port_id}")
        if "show_port" in self.world.fail:
            raise Injected("show_port")
        return self.ports[port_id]

    async def list_ports(self, device_id: str) -> list[Port]:
        return [port for port in self.ports.values() if port.device_id == device_id]

    async def update(self, port_id: str, **changes: Any) -> Port:
        port = await self.show_port(port_id)
        values = {name: getattr(port, name) for name in port.__struct_fields__}
        self.ports[port_id] = Port(**{**values, **changes})
        return self.ports[port_id]

    async def bind_port(self, port_id: str, *, device_id: str, host: str) -> Port:
        check_binding(await self.show_port(port_id), device_id)
        await self.world.change("bind_port", make=f"binding {port_id}")
        return await self.update(port_id, device_id=device_id)

    async def unbind_port(self, port_id: str) -> None:
        await self.world.change("unbind_port", remove=f"binding {port_id}")
        await self.update(port_id, device_id="")

    async def delete_port(self, port_id: str) -> None:
        await self.world.change("delete_port", remove=f"port {port_id}")
        self.ports.pop(port_id, None)


@dataclass(frozen=True)
class Info:
    size_bytes: int
    id: str = "10f2"
    object_names: Sequence[str] = ("rbd_id.x", "rbd_header.10f2")
    operations: int = 9
    commits: int = 9


class FakeDisks:
    def __init__(self, world: World) -> None:
        self.world = world
        self.sizes: dict[tuple[str, str], int] = {}
        self.exports: dict[tuple[str, str], tuple[Path, int]] = {}

    async def create(self, pool: str, name: str, size_bytes: int, *, source_image: str | None) -> None:
        await self.world.change("create_disk", make=f"disk {pool}/{name}")
        self.sizes[pool, name] = size_bytes

    async def remove(self, pool: str, name: str) -> None:
        await self.world.change("remove_disk", remove=f"disk {pool}/{name}")
        self.sizes.pop((pool, name), None)

    async def export(self, pool: str, name: str, socket_path: Path, *, uid: int, gid: int) -> None:
        await self.world.change("export", make=f"export {pool}/{name}")
        self.exports[pool, name] = (socket_path, uid)

    async def unexport(self, pool: str, name: str) -> None:
        await self.world.change("unexport", remove=f"export {pool}/{name}")
        self.exports.pop((pool, name), None)

    async def info(self, pool: str, name: str) -> Info:
        if (pool, name) not in self.sizes:
            raise CoveError(f"no disk {pool}/{name}")
        return Info(self.sizes[pool, name])


class FakeWiring:
    def __init__(self, world: World) -> None:
        self.world = world
        self.rules: dict[str, GuestRules] = {}

    async def plug(self, tap: str, bridge: str, mtu: int) -> None:
        await self.world.change("plug", make=f"tap {tap}")

    async def unplug(self, tap: str, bridge: str) -> None:
        await self.world.change("unplug", remove=f"tap {tap}")

    async def guard(self, rules: GuestRules) -> None:
        await self.world.change("guard", make=f"guard {rules.tap}")
        self.rules[rules.tap] = rules

    async def unguard(self, tap: str) -> None:
        await self.world.change("unguard", remove=f"guard {tap}")
        self.rules.pop(tap, None)

    async def reset_guards(self, rules: Sequence[GuestRules]) -> None:
        await self.world.change("reset_guards")
        self.rules = {guest.tap: guest for guest in rules}

    async def check_guards(self) -> None:
        await self.world.change("check_guards")

    async def remove_guards(self) -> None:
        await self.world.change("remove_guards")
        self.rules.clear()


class FakeProcess:
    """Stands for cove.linux.processes.Process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = asyncio.Event()

    def is_alive(self) -> bool:
        return not self.ended.is_set()

    async def wait(self) -> None:
        await self.ended.wait()

    def close(self) -> None:
        pass


class FakeHypervisor:
    """Guests that say at once on their console what a micro guest says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.processes: dict[str, FakeProcess] = {}
        self.specs: list[InstanceSpec] = []
        self.report: dict[str, str] = {}
        self.silent = False
        self.dies = False
        self.resumed: list[str] = []
        self.grace_s: list[float] = []
        self.present: list[str] = []
        self.addresses: Any = lambda mac: []

    def paths(self, instance_id: str) -> InstancePaths:
        return InstancePaths(self.world.directory / "run" / instance_id, self.world.directory / "state" / instance_id)

    def accelerator(self) -> Accelerator:
        return Accelerator.TCG

    async def prepare(self, instance_id: str) -> None:
        await self.world.change("prepare", make=f"files {instance_id}")
        self.paths(instance_id).state.mkdir(parents=True, exist_ok=True)

    async def launch(self, spec: InstanceSpec, *, uid: int, tap: str, guest: GuestFiles | None) -> Any:
        await self.world.change("launch", make=f"qemu {spec.id}")
        self.specs.append(spec)
        process = self.processes[spec.id] = FakeProcess(1000 + len(self.specs))
        if self.dies:
            process.ended.set()
            self.world.things.discard(f"qemu {spec.id}")
        elif not self.silent:
            self.say(spec)
        return process

    def say(self, spec: InstanceSpec) -> None:
        values = {"mac": spec.mac_address, "bytes": str(64 << 20), "verified": "yes", "state": "written"} | self.report
        addresses = values.get("ip", "").split() or self.addresses(spec.mac_address)
        lines = "".join(f"address={address}/{128 if ':' in address else 24} dev=eth0\n" for address in addresses)
        with open(self.paths(spec.id).console_log, "a") as console:
            console.write(
                f"{facts.BEGIN}\nhostname={spec.name}\nnic=eth0 mac={values['mac']} mtu=1450\n{lines}"
                f"disk=vda bytes={values['bytes']} verified={values['verified']} state={values['state']}\n{facts.END}\n"
            )

    async def find(self, instance_id: str) -> Any:
        process = self.processes.get(instance_id)
        return process if process is not None and process.is_alive() else None

    async def resume(self, instance_id: str) -> str:
        self.resumed.append(instance_id)
        return "running"

    async def stop(self, instance_id: str, *, grace_s: float) -> None:
        self.grace_s.append(grace_s)
        await self.world.change("stop_qemu", remove=f"qemu {instance_id}")
        process = self.processes.pop(instance_id, None)
        if process is not None:
            process.ended.set()

    async def clear(self, instance_id: str) -> None:
        await self.world.change("clear")

    async def remove(self, instance_id: str) -> None:
        await self.world.change("remove_files", remove=f"files {instance_id}")

    async def list_present(self) -> list[str]:
        return self.present

    async def trim_console_log(self, instance_id: str) -> bool:
        return False

    def crash(self, instance_id: str) -> None:
        self.processes[instance_id].ended.set()
        self.world.things.discard(f"qemu {instance_id}")


@dataclass
class Fakes:
    """All of them, on one world."""

    world: World
    network: FakeNetworkApi = field(init=False)
    disks: FakeDisks = field(init=False)
    wiring: FakeWiring = field(init=False)
    hypervisor: FakeHypervisor = field(init=False)

    def __post_init__(self) -> None:
        self.network = FakeNetworkApi(self.world)
        self.disks = FakeDisks(self.world)
        self.wiring = FakeWiring(self.world)
        self.hypervisor = FakeHypervisor(self.world)
        self.hypervisor.addresses = self._addresses_of

    def _addresses_of(self, mac_address: str) -> list[str]:
        port = next(port for port in self.network.ports.values() if port.mac_address == mac_address)
        return [fixed.ip_address for fixed in port.fixed_ips]


__all__ = ["NETWORK", "Fakes", "Injected", "World"]
