"""A real guest: lease, disk, console, restarts of the service, power-off and start, sudden end, and nothing left."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cove.compute.console import attach
from cove.compute.guest import DISK_PATTERN_OFFSET, GuestFiles, disk_pattern
from cove.compute.models import Server, Status
from cove.compute.qmp import monitor
from cove.compute.servers import BootRequest, ComputeService
from cove.compute.steps import Patience
from cove.config import Settings
from cove.db import Database
from cove.linux import links
from cove.linux.processes import uid_of
from cove.timeline import Timeline
from tests.integration.compute.support import WAIT_S, FileDisks, Lan, PretendedNetworkApi, until

pytestmark = pytest.mark.timeout(300)


class World:
    """Everything a service is made of, so that it can be made again."""

    def __init__(self, place: Path, guest: GuestFiles, disks: FileDisks, api: PretendedNetworkApi) -> None:
        self.settings = Settings(state_dir=place / "state", run_dir=place / "run", host="host1")
        (place / "state").mkdir(mode=0o700)
        shutil.copytree(guest.vmlinuz.parent, place / "state" / "guest")
        self.disks, self.api = disks, api
        self.disk_away_s = 30
        self.db = Database(self.settings.database_url)
        self.timeline = Timeline()
        self.service = self.make()

    def make(self) -> ComputeService:
        patience = Patience(lease_s=WAIT_S, facts_s=WAIT_S, disk_away_s=self.disk_away_s)
        return ComputeService(self.db, self.api, self.disks, self.timeline, self.settings, patience=patience)

    async def status_becomes(self, server_id: str, status: Status) -> None:
        async def reached() -> bool:
            return (await self.service.show(server_id)).status is status

        await until(f"server is {status}", reached)

    def pid(self, server_id: str) -> int:
        steps = [step for step in self.timeline.steps(server_id) if step.name == "started"]
        return int(steps[-1].detail["pid"])


@pytest.fixture
async def world(
    place: Path, guest: GuestFiles, disks: FileDisks, network_api: PretendedNetworkApi
) -> AsyncIterator[World]:
    world = World(place, guest, disks, network_api)
    await world.db.start()
    try:
        await world.service.start()
        yield world
    finally:
        await world.service.shutdown()
        await world.db.close()


async def boot(world: World, lan: Lan) -> Server:
    request = BootRequest(name="vm1", project_id="demo", network=lan.network.id, disk_bytes=64 << 20)
    server = await world.service.wait((await world.service.boot(request)).id, 2 * WAIT_S)
    assert server.runtime.fault is None
    assert server.status is Status.ACTIVE
    return server


@asynccontextmanager
async def terminal(world: World, server: Server, end: str = "escape") -> AsyncIterator[int]:
    """A person at the console: yields the terminal's other side. `end` is how the person expects it to end."""
    ours, theirs = pty.openpty()
    task = asyncio.create_task(attach(world.service.paths(server.id).serial_socket, theirs, theirs))
    try:
        await until("the terminal is raw", lambda: not termios.tcgetattr(theirs)[3] & termios.ECHO, 10)
        yield ours
        if end == "escape":
            os.write(ours, b"\x1d")
        assert await asyncio.wait_for(task, 10) == end
        assert termios.tcgetattr(theirs)[3] & termios.ECHO
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        os.close(theirs)
        os.close(ours)


async def run(ours: int, command: str, answer: str) -> str:
    """Type a command until its answer has been seen."""
    os.set_blocking(ours, False)
    seen = bytearray()

    def read() -> bool:
        try:
            seen.extend(os.read(ours, 65536))
        except BlockingIOError:
            pass
        return answer.encode() in seen

    os.write(ours, command.encode() + b"\n")
    await until(f"{answer!r} on the console", read)
    return seen.decode(errors="replace")


async def test_a_guest_gets_its_address_and_its_disk_and_survives_restarts(world: World, lan: Lan) -> None:
    server = await boot(world, lan)
    runtime = server.runtime
    pid = world.pid(server.id)

    # The address is the port's, and dnsmasq's.
    assert [fixed.ip_address for fixed in runtime.fixed_ips] == [lan.ip_address]
    assert f"{lan.mac_address} {lan.ip_address}" in lan.leases.read_text()
    # The bytes that the guest wrote are in the disk.
    image = world.disks.path("rbd", "vm1-disk")
    pattern = disk_pattern(server.id)
    assert image.read_bytes()[DISK_PATTERN_OFFSET : DISK_PATTERN_OFFSET + len(pattern)] == pattern
    # It runs as nobody in particular, and its devices are where they belong.
    assert uid_of(pid) == runtime.uid is not None
    assert await links.bridge_members(lan.bridge) == [f"cvt{lan.network.id[:8]}", runtime.tap]
    steps = [step.name for step in world.timeline.steps(server.id)]
    wanted = ["requested", "port_created", "image_created", "port_active", "tap", "guarded", "started"]
    assert steps == [*wanted, "lease", "addresses", "disk_verified", "active"]

    async with terminal(world, server) as ours:
        said = await run(ours, "hostname; cat /sys/class/net/eth0/mtu; echo do''ne", "done\r\n")
        assert "vm1" in said
        assert "1450" in said
        # While Cove and the disk's server are away, a write waits; afterwards it goes through.
        await world.service.stop()
        await world.disks.close()
        os.write(ours, b"echo hello | dd of=/dev/vda seek=9000 conv=notrunc,fsync 2>/dev/null && echo writ''ten\n")
        world.service = world.make()
        await world.service.start()
        await run(ours, "", "written\r\n")
    assert b"hello" in image.read_bytes()[9000 * 512 : 9001 * 512]
    assert (await world.service.show(server.id)).status is Status.ACTIVE
    assert world.pid(server.id) == pid

    # A guest that powers itself off is noticed, and can be started again: the disk keeps what it has.
    async with terminal(world, server, end="guest") as ours:
        os.write(ours, b"poweroff -f\n")
        await world.status_becomes(server.id, Status.SHUTOFF)
        assert not await links.exists(runtime.tap)
    await world.service.start_server(server.id)
    again = await world.service.wait(server.id, 2 * WAIT_S)
    assert again.runtime.fault is None
    assert again.status is Status.ACTIVE
    verified = [step for step in world.timeline.steps(server.id) if step.name == "disk_verified"]
    assert [step.detail["state"] for step in verified] == ["written", "kept"]

    # The power button.
    await world.service.stop_server(server.id)
    await world.service.wait(server.id, 30)
    assert "power button pressed" in await world.service.console_output(server.id)

    await world.service.delete(server.id)
    assert await world.service.list() == []
    assert world.api.ports == {}
    assert not image.exists()
    assert not world.service.paths(server.id).run.exists()
    assert not world.service.paths(server.id).state.exists()


async def test_a_guest_killed_while_the_service_is_away_is_shut_off_afterwards(world: World, lan: Lan) -> None:
    server = await boot(world, lan)
    await world.service.stop()
    os.kill(world.pid(server.id), signal.SIGKILL)
    await until("QEMU is gone", lambda: uid_of(world.pid(server.id)) != server.runtime.uid or reap())
    world.service = world.make()
    await world.service.start()
    assert (await world.service.show(server.id)).status is Status.SHUTOFF
    assert not await links.exists(server.runtime.tap)
    assert not world.service.paths(server.id).run.exists()


def reap() -> bool:
    return os.waitpid(-1, os.WNOHANG)[0] != 0


async def test_a_boot_that_fails_leaves_nothing(world: World, lan: Lan) -> None:
    request = BootRequest(name="vm1", project_id="demo", network=lan.network.id, disk_bytes=64 << 20)
    accepted = await world.service.boot(request)
    kernel = world.settings.state_dir / "guest" / "vmlinuz"
    kernel.write_bytes(b"no kernel")  # after the request was looked at, before the first step of the boot
    server = await world.service.wait(accepted.id, WAIT_S)
    assert server.status is Status.ERROR
    assert server.runtime.fault is not None
    assert "cove guest build" in server.runtime.fault.message
    assert world.api.ports == {}
    assert not world.disks.path("rbd", "vm1-disk").exists()
    assert await links.bridge_members(lan.bridge) == [f"cvt{lan.network.id[:8]}"]
    assert not world.service.paths(server.id).run.exists()
    await world.service.delete(server.id)


# A boot sector: prints its text on the serial line, then reads the disk for ever, R for each read that went well.
BOOT_SECTOR = (
    bytes.fromhex("31c0 8ed8 8ec0 fc be2f7c ac 84c0 7406 baf803 ee ebf5")
    + bytes.fromhex("b80102 b90100 ba8000 bb007e cd13 b052 7302 b045 baf803 ee ebe6")
    + b"hello from the disk\r\n\0"
)


async def test_a_users_image_boots_and_waits_for_a_disk_that_is_away_long(world: World, lan: Lan) -> None:
    world.disks.path("images", "tiny").write_bytes(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes(7 << 20))
    world.disk_away_s = 1
    world.service = world.make()
    await world.service.start()
    request = BootRequest(name="vm1", project_id="demo", network=lan.network.id, image="tiny", disk_bytes=8 << 20)
    server = await world.service.wait((await world.service.boot(request)).id, WAIT_S)
    assert server.runtime.fault is None
    assert server.status is Status.ACTIVE
    paths = world.service.paths(server.id)

    def reads() -> int:
        return paths.console_log.read_bytes().partition(b"hello from the disk\r\n")[2].count(b"R")

    await until("the image reads its disk", lambda: reads() > 3)
    await world.service.stop()
    await world.disks.close()

    async def paused() -> bool:
        async with monitor(paths.qmp_socket) as qmp:
            return await qmp.status() == "io-error"

    await until("the guest is paused", paused)
    before = reads()
    world.service = world.make()
    await world.service.start()
    await until("the image reads its disk again", lambda: reads() > before + 3)
    assert b"E" not in paths.console_log.read_bytes().partition(b"hello from the disk\r\n")[2]
    await world.service.delete(server.id)
