"""The boot flow and the service over fakes: each failure at each step, restarts, and what people ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import msgspec
import pytest

from cove.compute import models, qemu, steps
from cove.compute.disks import DiskExists
from cove.compute.models import NameInUse, Server, ServerNotFound, Status, TaskState, TooManyServers
from cove.compute.network_api import NetworkNotFound, PortInUse, PortNotFound
from cove.compute.servers import BootRequest, ConflictingState, InvalidRequest
from tests.unit.compute.conftest import Bench, until
from tests.unit.compute.fakes import NETWORK

REQUEST = BootRequest(name="vm1", project_id="demo", network="lan", disk_bytes=64 << 20)
# Each change that a boot makes, in order, and the undo that follows from having begun it.
WAY = [
    ("prepare", "remove_files"),
    ("create_port", "delete_port"),
    ("create_disk", "remove_disk"),
    ("export", "unexport"),
    ("plug", "unplug"),
    ("guard", "unguard"),
    ("launch", "stop_qemu"),
]


async def booted(bench: Bench, request: BootRequest = REQUEST) -> Server:
    server = await bench.service.wait((await bench.service.boot(request)).id, 10)
    assert server.status is Status.ACTIVE, server.runtime.fault
    return server


def undone(calls: list[str]) -> list[str]:
    """The undoing among the calls, without the clearing of the run directory, which comes with each."""
    return [call for call in calls if call in {undo for _, undo in WAY}]


async def test_a_boot(bench: Bench) -> None:
    server = await booted(bench)
    port = bench.fakes.network.ports[server.port_id or ""]
    assert server.runtime.mac_address == port.mac_address
    assert server.runtime.tap == f"tap{port.id[:11]}"
    assert server.runtime.bridge == f"brq{NETWORK.id[:11]}"
    assert server.runtime.fixed_ips == port.fixed_ips
    assert bench.fakes.disks.sizes == {("rbd", "vm1-disk"): 64 << 20}
    [spec] = bench.fakes.hypervisor.specs
    assert spec.mtu == 1450
    assert (spec.disk_socket, server.runtime.uid) == bench.fakes.disks.exports["rbd", "vm1-disk"]
    assert bench.fakes.wiring.rules[server.runtime.tap].ip_addresses == ("1.1.1.10",)
    assert [call for call in bench.world.calls if call in {do for do, _ in WAY}] == [
        "prepare", "create_port", "create_disk", "prepare", "export", "plug", "guard", "launch",
    ]  # fmt: skip
    marks = {step.name: step.detail for step in bench.timeline.steps(server.id)}
    assert list(marks) == [
        "requested", "port_created", "image_created", "port_active", "tap", "guarded", "started", "lease",
        "addresses", "disk_verified", "active",
    ]  # fmt: skip
    assert marks["image_created"]["commits"] == 9
    assert marks["disk_verified"] == {"disk": "vda", "size_bytes": 64 << 20, "state": "written"}


@pytest.mark.parametrize("after", [False, True], ids=["before it happened", "after it happened"])
@pytest.mark.parametrize("step", range(len(WAY)), ids=[do for do, _ in WAY])
async def test_whatever_fails_undoes_everything_in_reverse(bench: Bench, step: int, after: bool) -> None:
    (bench.world.fail_after if after else bench.world.fail).add(WAY[step][0])
    server = await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)
    assert server.status is Status.ERROR
    assert server.runtime.fault is not None
    assert server.runtime.fault.message == WAY[step][0]
    assert bench.world.things == set()
    wanted = [undo for _, undo in reversed(WAY[: step + 1])]
    if WAY[step][0] == "create_port" and not after:
        wanted.remove("delete_port")  # there is none
    assert undone(bench.world.calls) == wanted
    # The name is free again, as a server in ERROR holds nothing.
    bench.world.fail.clear()
    bench.world.fail_after.clear()
    again = await booted(bench)
    assert [found.id for found in await bench.service.list()] == [again.id]


@pytest.mark.parametrize(
    ("report", "why"),
    [
        ({"mac": "fa:16:3e:ff:ff:ff"}, "no device with MAC address"),
        ({"ip": "1.1.1.99"}, "has address 1.1.1.99, not 1.1.1.10"),
        ({"bytes": "512"}, "has 512 bytes"),
        ({"verified": "no", "state": "failed"}, "read it back"),
    ],
)
async def test_what_the_guest_finds_must_be_what_it_was_given(bench: Bench, report: dict[str, str], why: str) -> None:
    bench.fakes.hypervisor.report = report
    server = await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)
    assert server.status is Status.ERROR
    assert why in str(server.runtime.fault)
    assert bench.world.things == set()


@pytest.mark.parametrize(
    ("silent", "dies", "status", "why"),
    [
        (True, False, "ACTIVE", "no DHCP lease"),
        (False, True, "ACTIVE", "ended while it was starting"),
        (False, False, "DOWN", "does a DHCP agent serve"),
    ],
)
async def test_waits_end(bench: Bench, silent: bool, dies: bool, status: str, why: str) -> None:
    bench.fakes.hypervisor.silent, bench.fakes.hypervisor.dies = silent, dies
    bench.fakes.network.status = status
    server = await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)
    assert why in str(server.runtime.fault)
    assert bench.world.things == set()


async def test_the_lease_that_the_agent_saw_counts_but_not_an_older_one(bench: Bench) -> None:
    bench.fakes.hypervisor.silent = True
    server = await bench.service.boot(REQUEST)
    await until(lambda: bench.fakes.hypervisor.specs)
    port_id = next(iter(bench.fakes.network.ports))
    bench.timeline.mark(port_id, "DHCPACK", ip_address="1.1.1.10", lease_s=86400)
    bench.fakes.hypervisor.say(bench.fakes.hypervisor.specs[0])
    assert (await bench.service.wait(server.id, 10)).status is Status.ACTIVE
    lease = next(step for step in bench.timeline.steps(server.id) if step.name == "lease")
    assert lease.detail == {"ip_address": "1.1.1.10", "lease_s": 86400}
    # Started again, it has to ask again.
    await bench.service.stop_server(server.id)
    await bench.service.wait(server.id, 10)
    await bench.service.start_server(server.id)
    again = await bench.service.wait(server.id, 10)
    assert again.status is Status.SHUTOFF
    assert "no DHCP lease" in str(again.runtime.fault)


async def test_a_disk_of_somebody_else_is_left_alone(bench: Bench) -> None:
    bench.fakes.disks.sizes["rbd", "vm1-disk"] = 5 << 20
    server = await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)
    assert "exists" in str(server.runtime.fault)
    await bench.service.delete(server.id)
    assert bench.fakes.disks.sizes == {("rbd", "vm1-disk"): 5 << 20}


async def test_a_disk_that_somebody_else_makes_at_the_same_time_is_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks = bench.fakes.disks

    async def create(pool: str, name: str, size_bytes: int, *, source_image: str | None) -> None:
        disks.sizes[pool, name] = 5 << 20  # between the look and the creation
        raise DiskExists(f"{pool}/{name} exists")

    monkeypatch.setattr(disks, "create", create)
    server = await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)
    assert server.status is Status.ERROR
    await bench.service.delete(server.id)
    assert disks.sizes == {("rbd", "vm1-disk"): 5 << 20}


async def test_there_is_a_limit_to_servers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "SERVERS_MAX", 1)
    await bench.service.boot(REQUEST)
    with pytest.raises(TooManyServers, match="1 servers"):
        await bench.service.boot(msgspec.structs.replace(REQUEST, name="vm2"))
    assert [server.name for server in await bench.service.list()] == ["vm1"]


async def test_an_undo_that_fails_does_not_keep_the_others_from_happening(bench: Bench) -> None:
    bench.world.fail |= {"launch", "unplug", "remove_disk"}
    server = await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)
    assert "left behind: tap: unplug" in str(server.runtime.fault)
    assert "left behind: disk: remove_disk" in str(server.runtime.fault)
    assert {thing.split()[0] for thing in bench.world.things} == {"tap", "disk"}
    # Deleting tries again, and says so if that fails too.
    with pytest.raises(steps.UndoError, match="remove_disk"):
        await bench.service.delete(server.id)
    bench.world.fail.clear()
    await bench.service.delete(server.id)
    assert bench.world.things == set()


async def test_delete(bench: Bench) -> None:
    server = await booted(bench)
    await bench.service.delete(server.id)
    assert bench.world.things == set()
    assert undone(bench.world.calls) == [undo for _, undo in reversed(WAY)]
    for action in (bench.service.show, bench.service.delete, bench.service.start_server, bench.service.console_output):
        with pytest.raises(ServerNotFound):
            await action(server.id)


@pytest.mark.parametrize("step", [do for do, _ in WAY])
async def test_delete_while_it_is_being_built(bench: Bench, step: str) -> None:
    bench.world.hang.add(step)
    server = await bench.service.boot(REQUEST)
    await until(lambda: step in bench.world.calls)
    bench.world.hang.clear()
    await bench.service.delete(server.id)
    assert bench.world.things == set()
    assert await bench.service.list() == []


async def test_a_given_port_is_bound_and_given_back(bench: Bench) -> None:
    port = bench.fakes.network.add()
    request = BootRequest(name="vm1", project_id="demo", port_id=port.id, disk_bytes=64 << 20)
    server = await booted(bench, request)
    assert bench.fakes.network.ports[port.id].device_id == server.id
    with pytest.raises(PortInUse):
        await bench.service.boot(BootRequest(name="vm2", project_id="demo", port_id=port.id))
    await bench.service.delete(server.id)
    assert bench.fakes.network.ports[port.id].device_id == ""
    assert bench.world.things == set()


async def test_an_image_boots_from_its_disk(bench: Bench) -> None:
    bench.fakes.disks.sizes["images", "debian"] = 2 << 30
    request = BootRequest(name="vm1", project_id="demo", network="lan", image="debian")
    server = await booted(bench, request)
    assert server.disk_bytes == 2 << 30
    assert bench.fakes.hypervisor.specs[0].boot == qemu.DiskBoot()
    # It need not ask for an address, but it is told if it does.
    bench.timeline.mark(server.port_id or "", "DHCPACK", ip_address="1.1.1.10")
    await until(lambda: any(step.name == "lease" for step in bench.timeline.steps(server.id)))


async def test_an_image_that_asks_for_no_address_runs_all_the_same(bench: Bench) -> None:
    bench.fakes.disks.sizes["images", "debian"] = 2 << 30
    server = await booted(bench, BootRequest(name="vm1", project_id="demo", network="lan", image="debian"))
    await until(lambda: any(step.name == "no_lease" for step in bench.timeline.steps(server.id)))
    assert (await bench.service.show(server.id)).status is Status.ACTIVE


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (BootRequest(name="vm 1", project_id="d", network="lan"), InvalidRequest),
        (BootRequest(name="../vm", project_id="d", network="lan"), InvalidRequest),
        (BootRequest(name="vm1", project_id="d"), InvalidRequest),
        (BootRequest(name="vm1", project_id="d", network="lan", port_id="p"), InvalidRequest),
        (BootRequest(name="vm1", project_id="d", network="nowhere"), NetworkNotFound),
        (BootRequest(name="vm1", project_id="d", port_id="00"), PortNotFound),
        (BootRequest(name="vm1", project_id="d", network="lan", memory_mb=32), InvalidRequest),
        (BootRequest(name="vm1", project_id="d", network="lan", memory_mb=0), InvalidRequest),
        (BootRequest(name="vm1", project_id="d", network="lan", disk_bytes=0), InvalidRequest),
        (BootRequest(name="vm1", project_id="d", network="lan", disk_bytes=1000), InvalidRequest),
        (BootRequest(name="vm1", project_id="d", network="lan", disk_bytes=(4 << 20) + 1), InvalidRequest),
        (BootRequest(name="vm1", project_id="d", network="lan", image="none"), InvalidRequest),
    ],
)
async def test_requests_that_cannot_be(bench: Bench, request_: BootRequest, error: type[Exception]) -> None:
    with pytest.raises(error):
        await bench.service.boot(request_)
    assert await bench.service.list() == []
    assert bench.world.things == set()


async def test_a_name_is_taken_once_in_a_project(bench: Bench) -> None:
    await booted(bench)
    with pytest.raises(NameInUse, match="vm1"):
        await bench.service.boot(REQUEST)


async def test_stop_and_start(bench: Bench) -> None:
    server = await booted(bench)
    with pytest.raises(ConflictingState):
        await bench.service.start_server(server.id)
    await bench.service.stop_server(server.id)
    with pytest.raises(ConflictingState):
        await bench.service.stop_server(server.id)
    assert (await bench.service.wait(server.id, 10)).status is Status.SHUTOFF
    assert bench.fakes.hypervisor.grace_s[-1] == 3
    assert {thing.split()[0] for thing in bench.world.things} == {"port", "disk", "files"}
    await bench.service.start_server(server.id)
    assert (await bench.service.wait(server.id, 10)).status is Status.ACTIVE
    first, second = (spec.boot for spec in bench.fakes.hypervisor.specs)
    assert isinstance(first, qemu.KernelBoot)
    assert isinstance(second, qemu.KernelBoot)
    assert "cove.disktest=write" in first.arguments
    assert "cove.disktest=read" in second.arguments


async def test_a_start_that_fails_leaves_the_server_as_it_was(bench: Bench) -> None:
    server = await booted(bench)
    await bench.service.stop_server(server.id)
    await bench.service.wait(server.id, 10)
    before = set(bench.world.things)
    bench.world.fail.add("launch")
    await bench.service.start_server(server.id)
    again = await bench.service.wait(server.id, 10)
    assert again.status is Status.SHUTOFF
    assert "launch" in str(again.runtime.fault)
    assert bench.world.things == before


async def test_a_guest_that_ends_is_noticed(bench: Bench) -> None:
    server = await booted(bench)
    bench.fakes.hypervisor.crash(server.id)
    await until(lambda: any(step.name == "ended" for step in bench.timeline.steps(server.id)))
    assert (await bench.service.show(server.id)).status is Status.SHUTOFF
    assert {thing.split()[0] for thing in bench.world.things} == {"port", "disk", "files"}


async def test_a_restart_adopts_running_guests_disks_first(bench: Bench) -> None:
    server = await booted(bench)
    await bench.service.stop()
    bench.fakes.disks.exports.clear()
    bench.world.calls.clear()
    await bench.restart()
    assert bench.world.calls == ["export", "reset_guards"]
    assert bench.fakes.disks.exports["rbd", "vm1-disk"][1] == server.runtime.uid
    await until(lambda: bench.fakes.hypervisor.resumed == [server.id])
    assert list(bench.fakes.wiring.rules) == [server.runtime.tap]
    assert (await bench.service.show(server.id)).status is Status.ACTIVE
    # It is watched, and its user id is not given to another.
    other = await booted(bench, BootRequest(name="vm2", project_id="demo", network="lan", disk_bytes=64 << 20))
    assert other.runtime.uid != server.runtime.uid
    bench.fakes.hypervisor.crash(server.id)
    await until(lambda: any(step.name == "ended" for step in bench.timeline.steps(server.id)))


async def test_a_restart_after_the_guest_is_gone(bench: Bench) -> None:
    server = await booted(bench)
    await bench.service.stop()
    bench.fakes.hypervisor.crash(server.id)
    await bench.restart()
    assert (await bench.service.show(server.id)).status is Status.SHUTOFF
    assert {thing.split()[0] for thing in bench.world.things} == {"port", "disk", "files"}
    await bench.service.start_server(server.id)
    assert (await bench.service.wait(server.id, 10)).status is Status.ACTIVE


@pytest.mark.parametrize("step", [do for do, _ in WAY])
async def test_a_restart_undoes_what_a_crash_left_half_made(bench: Bench, step: str) -> None:
    """The crash: the work vanishes with its memory, the world and the database stay."""
    bench.world.hang.add(step)
    server = await bench.service.boot(REQUEST)
    await until(lambda: step in bench.world.calls)
    bench.world.fail |= {undo for _, undo in WAY}  # what a killed process does not do
    work: Awaitable[object] = asyncio.gather(*bench.service._work.values(), return_exceptions=True)
    for task in bench.service._work.values():
        task.cancel()
    await work
    record = await bench.service.show(server.id)
    record.status = Status.BUILD
    record.runtime.fault = None
    await bench.service._records.save(record)
    bench.world.fail.clear()
    bench.world.hang.clear()

    await bench.restart()
    assert bench.world.things == set()
    found = await bench.service.show(server.id)
    assert found.status is Status.ERROR
    assert "being built" in str(found.runtime.fault)


async def test_a_restart_finishes_a_delete(bench: Bench) -> None:
    server = await booted(bench)
    record = await bench.service.show(server.id)
    record.runtime.deleting = True
    await bench.service._records.save(record)
    await bench.restart()
    assert await bench.service.list() == []
    assert bench.world.things == set()


async def test_guests_that_no_record_knows_end(bench: Bench) -> None:
    bench.fakes.hypervisor.present = ["99999999-0000-0000-0000-000000000000"]
    bench.world.calls.clear()
    await bench.restart()
    assert bench.world.calls == ["remove_guards", "stop_qemu", "clear"]


async def test_stop_leaves_guests_running(bench: Bench) -> None:
    await booted(bench)
    before = set(bench.world.things)
    await bench.service.stop()
    assert bench.world.things == before
    with pytest.raises(ConflictingState, match="stopping"):
        await bench.service.boot(BootRequest(name="vm2", project_id="demo", network="lan"))


async def test_stop_undoes_work_under_way(bench: Bench) -> None:
    bench.world.hang.add("launch")
    await bench.service.boot(REQUEST)
    await until(lambda: "launch" in bench.world.calls)
    await bench.service.stop()
    assert bench.world.things == set()


async def undo_that_is_interrupted(bench: Bench) -> Server:
    """A boot whose undoing is under way, and stays so until it is interrupted."""
    bench.world.fail.add("launch")
    bench.world.hang.add("unplug")
    server = await bench.service.boot(REQUEST)
    await until(lambda: "unplug" in bench.world.calls)
    bench.world.hang.clear()
    bench.world.fail.clear()
    return server


async def test_shutdown_ends_what_stop_interrupted(bench: Bench) -> None:
    server = await undo_that_is_interrupted(bench)
    await bench.service.shutdown()
    assert bench.world.things == set()
    assert (await bench.service.show(server.id)).status is Status.ERROR


async def test_a_restart_ends_what_stop_interrupted(bench: Bench) -> None:
    server = await undo_that_is_interrupted(bench)
    await bench.restart()
    assert bench.world.things == set()
    assert (await bench.service.show(server.id)).status is Status.ERROR


async def test_one_servers_trouble_keeps_nothing_from_starting(bench: Bench) -> None:
    first = await booted(bench)
    second = await booted(bench, BootRequest(name="vm2", project_id="demo", network="lan", disk_bytes=64 << 20))
    record = await bench.service.show(first.id)
    record.runtime.deleting = True
    await bench.service._records.save(record)
    bench.world.fail.add("delete_port")
    await bench.restart()  # the delete can't be finished yet
    assert (await bench.service.show(first.id)).runtime.deleting
    assert (await bench.service.show(second.id)).status is Status.ACTIVE
    bench.world.fail.clear()
    await bench.restart()
    assert [server.id for server in await bench.service.list()] == [second.id]


async def test_two_at_once_that_want_the_name_of_a_failed_server(bench: Bench) -> None:
    bench.world.fail.add("launch")
    failed = await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)
    assert failed.status is Status.ERROR
    bench.world.fail.clear()
    outcomes = await asyncio.gather(*(bench.service.boot(REQUEST) for _ in range(2)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Server, NameInUse}
    [server] = await bench.service.list()
    assert (await bench.service.wait(server.id, 10)).status is Status.ACTIVE


async def test_what_is_being_done_is_told(bench: Bench) -> None:
    bench.world.hang.add("launch")
    server = await bench.service.boot(REQUEST)
    assert bench.service.task_state(server) is TaskState.SPAWNING
    await bench.service.delete(server.id)
    bench.world.hang.clear()
    server = await booted(bench)
    assert bench.service.task_state(server) is None
    await bench.service.stop_server(server.id)
    assert bench.service.task_state(server) is TaskState.POWERING_OFF
    with pytest.raises(ConflictingState, match=r"server vm1 is ACTIVE \(powering-off\)"):
        await bench.service.start_server(server.id)
    await bench.service.wait(server.id, 10)
    await bench.service.start_server(server.id)
    assert bench.service.task_state(server) is TaskState.POWERING_ON


async def test_whose_disk_it_is(bench: Bench) -> None:
    server = await booted(bench)
    owner = await bench.service.owner_of_disk("rbd", "vm1-disk")
    assert owner is not None
    assert owner.id == server.id
    assert await bench.service.owner_of_disk("images", "vm1-disk") is None


async def test_shutdown_ends_guests_and_keeps_their_state(bench: Bench) -> None:
    server = await booted(bench)
    await bench.service.shutdown()
    assert {thing.split()[0] for thing in bench.world.things} == {"port", "disk", "files"}
    assert bench.fakes.wiring.rules == {}
    await bench.restart()
    assert (await bench.service.show(server.id)).status is Status.SHUTOFF


async def test_console_output(bench: Bench, tmp_path: Path) -> None:
    server = await booted(bench)
    whole = await bench.service.console_output(server.id)
    assert whole.splitlines()[1] == "hostname=vm1"
    assert await bench.service.console_output(server.id, lines=1) == whole.splitlines(keepends=True)[-1]
    assert await bench.service.console_output(server.id, lines=0) == ""


async def test_servers_boot_side_by_side(bench: Bench) -> None:
    requests = [BootRequest(name=f"vm{n}", project_id="demo", network="lan", disk_bytes=64 << 20) for n in range(12)]
    servers = await asyncio.gather(*map(bench.service.boot, requests))
    done = await asyncio.gather(*(bench.service.wait(server.id, 10) for server in servers))
    assert {server.status for server in done} == {Status.ACTIVE}
    assert len({server.runtime.uid for server in done}) == len(done)
    await asyncio.gather(*(bench.service.delete(server.id) for server in servers))
    assert bench.world.things == set()
