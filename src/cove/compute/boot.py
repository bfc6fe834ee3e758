"""The way of an instance, as a table of steps: each does one thing, and knows how to undo it.

    PROVISION  files → port → disk                                                    once in an instance's life
    RUN        place → export → port ACTIVE → tap → guard → firewall → QEMU           each time it is started
    PROVE      lease → facts                                                          and for the micro guest

`advance` runs steps in order; whatever fails, those begun are undone in reverse. Stopping an instance undoes RUN,
deleting it undoes both. An undo never minds what is not there, so it also clears up after a crash.
"""

from __future__ import annotations

import asyncio
import time

from cove.compute import qemu
from cove.compute.addresses import expected_addresses
from cove.compute.disks import DiskExists
from cove.compute.firewall_sync import GuestPort
from cove.compute.guest import GuestFiles, load_guest
from cove.compute.models import Server, now
from cove.compute.network_api import FixedIp, Port, PortNotFound, PortRequest
from cove.compute.prove import PROVE
from cove.compute.spoofguard import GuestRules
from cove.compute.steps import BootError, Job, Step, Toolbox
from cove.compute.wiring import bridge_name, tap_name
from cove.errors import CoveError

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
                security_groups=tuple(runtime.security_groups),
            )
        )
    learn_port(server, port)
    await job.tools.records.save(server)
    addresses = [fixed.ip_address for fixed in port.fixed_ips]
    job.mark("port_created", port_id=port.id, mac_address=port.mac_address, ip_addresses=addresses)


def learn_port(server: Server, port: Port) -> None:
    """Take into the record what the server's port is now."""
    server.port_id = port.id
    server.runtime.mac_address = port.mac_address.lower()
    server.runtime.fixed_ips = [FixedIp(fixed.ip_address, fixed.subnet_id) for fixed in port.fixed_ips]
    server.runtime.address_pairs = list(port.allowed_address_pairs)
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
    try:
        async with asyncio.timeout(job.tools.patience.disk_s):
            await disks.create(runtime.disk_pool, runtime.disk_name, server.disk_bytes, source_image=server.image)
    except DiskExists:
        runtime.disk_made = False  # somebody else was faster: it is not the server's to remove
        raise
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
    learn_port(job.server, port)
    runtime = job.server.runtime
    network = await job.tools.network.find_network(port.network_id)
    subnets = await job.tools.network.list_subnets(port.network_id)
    runtime.mtu = network.mtu
    runtime.expected = expected_addresses(runtime.fixed_ips, subnets, runtime.mac_address)
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
    return GuestRules(
        runtime.tap,
        runtime.mac_address,
        tuple(fixed.ip_address for fixed in runtime.fixed_ips),
        tuple((pair.mac_address.lower(), pair.ip_address) for pair in runtime.address_pairs),
    )


async def _guard(job: Job) -> None:
    rules = guest_rules(job.server)
    if rules is not None:
        await job.tools.wiring.guard(rules)
        job.mark("guarded")


async def _unguard(job: Job) -> None:
    if job.server.runtime.tap:
        await job.tools.wiring.unguard(job.server.runtime.tap)


def guest_port(server: Server) -> GuestPort:
    """Where the server's port is on this host, for its security groups."""
    assert server.port_id is not None
    return GuestPort(server.port_id, server.runtime.tap, server.runtime.bridge)


async def _protect(job: Job) -> None:
    if job.tools.firewall is not None:
        await job.tools.firewall.protect(guest_port(job.server))
        job.mark("protected")


async def _unprotect(job: Job) -> None:
    if job.tools.firewall is not None and job.server.runtime.tap:
        await job.tools.firewall.unprotect(job.server.runtime.tap)


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
    Step("firewall", _protect, _unprotect),
    Step("qemu", _launch, _stop_qemu),
)


def steps_to_start(server: Server) -> tuple[Step, ...]:
    """The steps that take a provisioned server to ACTIVE."""
    return RUN + PROVE if server.image is None else RUN
