"""The way of an instance, as a table of steps: each does one thing, and knows how to undo it.

    PROVISION  files → port → disk                                                    once in an instance's life
    RUN        place → export → port ACTIVE → tap → guard → QEMU → lease → facts      each time it is started

`advance` runs steps in order; whatever fails, those begun are undone in reverse. Stopping an instance undoes RUN,
deleting it undoes both. An undo never minds what is not there, so it also clears up after a crash.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from cove.compute import qemu
from cove.compute.disks import DiskExists, DiskService
from cove.compute.guest import GuestFacts, GuestFiles, load_guest, parse_facts
from cove.compute.hypervisor import Hypervisor, read_from, tail
from cove.compute.models import Server, ServerRecords, now
from cove.compute.network_api import FixedIp, NetworkApi, Port, PortNotFound, PortRequest
from cove.compute.spoofguard import GuestRules
from cove.compute.uids import UidPool
from cove.compute.wiring import Wiring, bridge_name, tap_name
from cove.errors import CoveError
from cove.linux.processes import Process
from cove.timeline import Step as TimelineStep
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

UNDO_TIMEOUT_S = 60.0
POLL_S = 0.05


class BootError(CoveError):
    """An instance could not be started: says at which step, and why."""


class UndoError(CoveError):
    """Something that was made for an instance could not be removed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each wait may take, in seconds. An emulated guest on a busy host is slow."""

    disk_s: float = 1800.0  # a large image is copied
    port_active_s: float = 30.0
    lease_s: float = 120.0
    facts_s: float = 120.0
    image_lease_s: float = 600.0
    power_off_s: float = 10.0
    # Requests to a disk whose server is away; after that the guest is paused until Cove lets it go on.
    disk_away_s: int = 30


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Everything that the steps work with."""

    network: NetworkApi
    disks: DiskService
    hypervisor: Hypervisor
    wiring: Wiring
    timeline: Timeline
    records: ServerRecords
    uids: UidPool
    guest_dir: Path
    host: str
    patience: Patience = field(default_factory=Patience)


@dataclass(slots=True)
class Job:
    """One piece of work on a server: its record, and what the steps hand to each other."""

    tools: Toolbox
    server: Server
    grace_s: float = 0.0
    launched_at_s: float = 0.0
    console_offset: int = 0
    process: Process | None = None
    facts: GuestFacts | None = None

    def mark(self, step: str, **detail: object) -> None:
        """Tell the timeline."""
        self.tools.timeline.mark(self.server.id, step, **detail)

    @property
    def is_micro_guest(self) -> bool:
        """Whether the server runs the guest that reports on its console."""
        return self.server.image is None


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `undo` is None where nothing is made."""

    name: str
    do: Callable[[Job], Awaitable[None]]
    undo: Callable[[Job], Awaitable[None]] | None = None


async def advance(job: Job, steps: Sequence[Step]) -> None:
    """Run the steps in order. If one fails, or the task is cancelled, undo those begun, in reverse, and raise.

    A step that failed may have half happened, so it is undone too.
    """
    begun: list[Step] = []
    try:
        for step in steps:
            begun.append(step)
            await step.do(job)
    except BaseException as error:
        log.info("boot.failed", server=job.server.id, step=begun[-1].name, error=str(error))
        job.mark("failed", at=begun[-1].name, error=str(error))
        job.grace_s = 0.0
        left = await undo(job, begun)
        job.mark("undone", steps=[step.name for step in reversed(begun) if step.undo])
        for message in left:
            error.add_note(f"left behind: {message}")
        raise


async def undo(job: Job, steps: Sequence[Step]) -> list[str]:
    """Undo the steps in reverse, all of them whatever happens; what could not be undone is logged and returned."""
    failures: list[str] = []
    for step in reversed(steps):
        if step.undo is None:
            continue
        try:
            await asyncio.wait_for(step.undo(job), UNDO_TIMEOUT_S)
        except Exception as error:
            unexpected = not isinstance(error, CoveError)
            log.error("boot.undo_failed", server=job.server.id, step=step.name, error=str(error), exc_info=unexpected)
            failures.append(f"{step.name}: {error or type(error).__name__}")
    return failures


# -- PROVISION ------------------------------------------------------------------------------------------------------


async def _make_files(job: Job) -> None:
    await job.tools.hypervisor.prepare(job.server.id)


async def _remove_files(job: Job) -> None:
    await job.tools.hypervisor.remove(job.server.id)


async def _take_port(job: Job) -> None:
    """Make a port on the network, or bind the one that was asked for."""
    server, runtime, network = job.server, job.server.runtime, job.tools.network
    if runtime.port_given:
        assert server.port_id is not None
        port = await network.bind_port(server.port_id, device_id=server.id, host=job.tools.host)
    else:
        port = await network.create_port(
            PortRequest(
                network_id=server.network_id,
                device_id=server.id,
                host=job.tools.host,
                project_id=server.project_id,
                fixed_ip=runtime.fixed_ip_wanted,
            )
        )
    _learn(server, port)
    await job.tools.records.save(server)
    addresses = [fixed.ip_address for fixed in port.fixed_ips]
    job.mark("port_created", port_id=port.id, mac_address=port.mac_address, ip_addresses=addresses)


def _learn(server: Server, port: Port) -> None:
    server.port_id = port.id
    server.runtime.mac_address = port.mac_address.lower()
    server.runtime.fixed_ips = [FixedIp(fixed.ip_address, fixed.subnet_id) for fixed in port.fixed_ips]
    server.runtime.port_security = port.port_security_enabled
    server.runtime.tap = tap_name(port.id)
    server.runtime.bridge = bridge_name(port.network_id)


async def _give_port_back(job: Job) -> None:
    """Delete the server's ports by owner, not by what the record says: a crash may lie between the two."""
    network = job.tools.network
    if job.server.runtime.port_given:
        assert job.server.port_id is not None
        try:
            port = await network.show_port(job.server.port_id)
        except PortNotFound:
            return
        if port.device_id == job.server.id:
            await network.unbind_port(port.id)
        return
    for port in await network.list_ports(job.server.id):
        await network.delete_port(port.id)
    job.server.port_id = None


async def _make_disk(job: Job) -> None:
    server, runtime, disks = job.server, job.server.runtime, job.tools.disks
    try:
        await disks.info(runtime.disk_pool, runtime.disk_name)
    except CoveError:
        pass
    else:
        raise DiskExists(
            f"disk {runtime.disk_pool}/{runtime.disk_name} exists, and does not belong to a server: remove it"
            " (`cove rbd rm`) or take another name for the server"
        )
    runtime.disk_made = True  # recorded before it is true: what is not there is not minded when it is undone
    await job.tools.records.save(server)
    await asyncio.wait_for(
        disks.create(runtime.disk_pool, runtime.disk_name, server.disk_bytes, source_image=server.image),
        job.tools.patience.disk_s,
    )
    info = await disks.info(runtime.disk_pool, runtime.disk_name)
    job.mark(
        "image_created",
        pool=runtime.disk_pool, name=runtime.disk_name, size_bytes=info.size_bytes, id=info.id,
        object_names=list(info.object_names), operations=info.operations, commits=info.commits,
    )  # fmt: skip


async def _remove_disk(job: Job) -> None:
    runtime = job.server.runtime
    if runtime.disk_made:
        await job.tools.disks.remove(runtime.disk_pool, runtime.disk_name)
        runtime.disk_made = False


# -- RUN ------------------------------------------------------------------------------------------------------------


async def _make_place(job: Job) -> None:
    await job.tools.hypervisor.prepare(job.server.id)
    job.server.runtime.uid = job.tools.uids.reserve(job.server.id)


async def _clear_place(job: Job) -> None:
    await job.tools.hypervisor.clear(job.server.id)
    job.tools.uids.release(job.server.id)
    job.server.runtime.uid = None


async def export_disk(job: Job) -> None:
    """Serve the server's disk to its QEMU; also after a restart, when the QEMU is waiting for it."""
    runtime = job.server.runtime
    assert runtime.uid is not None
    socket_path = job.tools.hypervisor.paths(job.server.id).disk_socket
    await job.tools.disks.export(runtime.disk_pool, runtime.disk_name, socket_path, uid=runtime.uid, gid=runtime.uid)


async def _unexport_disk(job: Job) -> None:
    runtime = job.server.runtime
    if runtime.disk_name:
        await job.tools.disks.unexport(runtime.disk_pool, runtime.disk_name)


async def _wait_port_active(job: Job) -> None:
    """A port is ACTIVE once the DHCP server would answer for its MAC; before that a guest would ask in vain."""
    assert job.server.port_id is not None
    limit_s = job.tools.patience.port_active_s
    deadline = time.monotonic() + limit_s
    pause_s = 0.01
    while True:
        port = await job.tools.network.show_port(job.server.port_id)
        if port.status == "ACTIVE":
            break
        if time.monotonic() >= deadline:
            raise BootError(
                f"port {port.id} is still {port.status} after {limit_s:.0f} s: does a DHCP agent serve its network?"
            )
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.5)
    _learn(job.server, port)
    network = await job.tools.network.find_network(port.network_id)
    job.server.runtime.mtu = network.mtu
    job.mark("port_active")


async def _plug(job: Job) -> None:
    runtime = job.server.runtime
    await job.tools.wiring.plug(runtime.tap, runtime.bridge, runtime.mtu)
    job.mark("tap", tap=runtime.tap, bridge=runtime.bridge)


async def _unplug(job: Job) -> None:
    runtime = job.server.runtime
    if runtime.tap:
        await job.tools.wiring.unplug(runtime.tap, runtime.bridge)


def guest_rules(server: Server) -> GuestRules | None:
    """What the server may send; None where its port has no port security."""
    runtime = server.runtime
    if not runtime.port_security or not runtime.tap:
        return None
    return GuestRules(runtime.tap, runtime.mac_address, tuple(fixed.ip_address for fixed in runtime.fixed_ips))


async def _guard(job: Job) -> None:
    rules = guest_rules(job.server)
    if rules is not None:
        await job.tools.wiring.guard(rules)
        job.mark("guarded")


async def _unguard(job: Job) -> None:
    if job.server.runtime.tap:
        await job.tools.wiring.unguard(job.server.runtime.tap)


async def micro_guest(tools: Toolbox) -> GuestFiles:
    """The files of the micro guest. Raises GuestBuildError if it is not built."""
    return await asyncio.to_thread(load_guest, tools.guest_dir)


async def _launch(job: Job) -> None:
    server, runtime, hypervisor = job.server, job.server.runtime, job.tools.hypervisor
    assert runtime.uid is not None
    paths = hypervisor.paths(server.id)
    guest: GuestFiles | None = None
    boot: qemu.KernelBoot | qemu.DiskBoot = qemu.DiskBoot()
    if job.is_micro_guest:
        guest = await micro_guest(job.tools)
        disk_test = "read" if runtime.booted_before else "write"
        boot = qemu.KernelBoot(qemu.kernel_arguments(server.name, server.id, disk_test=disk_test))
    spec = qemu.InstanceSpec(
        id=server.id, name=server.name, memory_mb=server.memory_mb, accelerator=hypervisor.accelerator(),
        mac_address=runtime.mac_address, mtu=runtime.mtu, disk_socket=paths.disk_socket,
        disk_export=runtime.disk_name, disk_serial=server.id, boot=boot,
        reconnect_delay_s=job.tools.patience.disk_away_s,
    )  # fmt: skip
    job.console_offset = paths.console_log.stat().st_size if paths.console_log.exists() else 0
    job.launched_at_s = time.time()
    job.process = await hypervisor.launch(spec, uid=runtime.uid, tap=runtime.tap, guest=guest)
    runtime.launched_at = now()
    # Durable before the guest can have done anything: from here on a start of Cove may meet the process.
    await job.tools.records.save(server)
    job.mark("started", pid=job.process.pid, accelerator=str(spec.accelerator))


async def _stop_qemu(job: Job) -> None:
    await job.tools.hypervisor.stop(job.server.id, grace_s=job.grace_s)
    if job.process is not None:
        job.process.close()
        job.process = None


async def _wait_lease(job: Job) -> None:
    """The lease, as the DHCP agent's timeline tells it or, where that is out of sight, as the guest does."""
    patience = job.tools.patience
    limit_s = patience.lease_s if job.is_micro_guest else patience.image_lease_s
    deadline = time.monotonic() + limit_s
    while True:
        acknowledged = _newest(job, "DHCPACK")
        if acknowledged is not None:
            job.mark("lease", **acknowledged.detail)
            return
        if job.is_micro_guest and await _read_facts(job):
            assert job.facts is not None
            given = [nic.ip_address for nic in job.facts.nics if nic.ip_address]
            if given:
                job.mark("lease", ip_address=given[0], mac_address=job.server.runtime.mac_address)
                return
        await _check_alive(job)
        if time.monotonic() >= deadline:
            raise BootError(f"no DHCP lease after {limit_s:.0f} s; the console's last words: {await _last_words(job)}")
        await asyncio.sleep(POLL_S)


def _newest(job: Job, name: str) -> TimelineStep | None:
    """The newest step of that name of the server's port since its QEMU was started."""
    steps = job.tools.timeline.steps(job.server.port_id or "")
    return next((step for step in reversed(steps) if step.name == name and step.at >= job.launched_at_s), None)


async def _wait_facts(job: Job) -> None:
    """What the guest found must be what it was given: address and disk."""
    limit_s = job.tools.patience.facts_s
    deadline = time.monotonic() + limit_s
    while not await _read_facts(job):
        await _check_alive(job)
        if time.monotonic() >= deadline:
            raise BootError(f"no report from the guest after {limit_s:.0f} s; its last words: {await _last_words(job)}")
        await asyncio.sleep(POLL_S)
    assert job.facts is not None
    check_facts(job.server, job.facts)
    disk = job.facts.disks[0]
    runtime = job.server.runtime
    if disk.verified:
        job.mark("disk_verified", disk=disk.name, size_bytes=disk.size_bytes, state=disk.state)
    runtime.booted_before = True


def check_facts(server: Server, facts: GuestFacts) -> None:
    """Raises BootError unless the guest has the port's MAC and address and the disk it was given, in working order."""
    runtime = server.runtime
    wanted = {fixed.ip_address for fixed in runtime.fixed_ips if "." in fixed.ip_address}
    nic = next((nic for nic in facts.nics if nic.mac_address == runtime.mac_address), None)
    if nic is None:
        raise BootError(f"the guest has no device with MAC address {runtime.mac_address}: {facts.nics}")
    if wanted and nic.ip_address not in wanted:
        raise BootError(f"the guest has address {nic.ip_address or 'none'}, not {' or '.join(sorted(wanted))}")
    disk = next((disk for disk in facts.disks if disk.name == "vda"), None)
    if disk is None or disk.size_bytes != server.disk_bytes:
        size = disk.size_bytes if disk else 0
        raise BootError(f"the guest's /dev/vda has {size} bytes, not {server.disk_bytes}")
    # Later, the disk is its owner's: whatever is on it is fine.
    if not runtime.booted_before and not disk.verified:
        raise BootError(f"the guest could not write to /dev/vda and read it back ({disk.state})")


async def _read_facts(job: Job) -> bool:
    log_file = job.tools.hypervisor.paths(job.server.id).console_log
    job.facts = parse_facts(await asyncio.to_thread(read_from, log_file, job.console_offset))
    return job.facts is not None


async def _check_alive(job: Job) -> None:
    if job.process is not None and not job.process.is_alive():
        raise BootError(f"the guest ended while it was starting; its last words: {await _last_words(job)}")


async def _last_words(job: Job) -> str:
    paths = job.tools.hypervisor.paths(job.server.id)
    words = [await asyncio.to_thread(tail, path, 300) for path in (paths.console_log, paths.qemu_log)]
    return " / ".join(" ".join(text.split()) for text in words if text.strip()) or "none"


PROVISION: tuple[Step, ...] = (
    Step("files", _make_files, _remove_files),
    Step("port", _take_port, _give_port_back),
    Step("disk", _make_disk, _remove_disk),
)

RUN: tuple[Step, ...] = (
    Step("place", _make_place, _clear_place),
    Step("export", export_disk, _unexport_disk),
    Step("port_active", _wait_port_active),
    Step("tap", _plug, _unplug),
    Step("guard", _guard, _unguard),
    Step("qemu", _launch, _stop_qemu),
)

# What a new guest must show before it counts as started. A user's own image may have no use for DHCP: nothing.
PROVE: tuple[Step, ...] = (
    Step("lease", _wait_lease),
    Step("facts", _wait_facts),
)

watch_lease = _wait_lease


def steps_to_start(server: Server) -> tuple[Step, ...]:
    """The steps that take a provisioned server to ACTIVE."""
    return RUN + PROVE if server.image is None else RUN
