"""What a new guest must show before it counts as started: that it has its addresses, and its disk.

The DHCP agent's timeline tells of leases; the micro guest reports what it has on its console, and again whenever that
has changed.
"""

from __future__ import annotations

import asyncio
import time

from cove.compute.addresses import DHCP, SLAAC, Expected, missing, strangers
from cove.compute.guest import GuestFacts, parse_facts
from cove.compute.hypervisor import read_from, tail
from cove.compute.models import Server
from cove.compute.steps import BootError, Job, Step
from cove.timeline import Step as TimelineStep

POLL_S = 0.05
LEASE_STEPS = ("DHCPACK", "DHCPREPLY")
"""How the DHCP agent's timeline says that a guest has a lease, of IPv4 and of IPv6."""


async def _wait_lease(job: Job) -> None:
    """The first address, as the DHCP agent's timeline tells it or, where that is out of sight, as the guest does.

    A guest that makes its addresses of what is advertised has no lease: the agent sees it look for a router, and a
    micro guest says what it has. Where nobody gives the guest an address there is nothing to wait for.
    """
    runtime, patience = job.server.runtime, job.tools.patience
    if not runtime.expected:
        return
    limit_s = patience.lease_s if job.is_micro_guest else patience.image_lease_s
    deadline = time.monotonic() + limit_s
    leased = any(group.by != SLAAC for group in runtime.expected)
    while True:
        for name in LEASE_STEPS if leased else ("RTR-SOLICIT",):
            step = _newest(job, name)
            if step is not None and (leased or not job.is_micro_guest):
                job.mark("lease" if leased else "solicited", **step.detail)
                return
        if job.is_micro_guest and await _read_facts(job):
            assert job.facts is not None
            check_facts(job.server, job.facts)
            given = present_addresses(job)
            if given and leased:
                job.mark("lease", ip_address=given[0], mac_address=runtime.mac_address)
            if given:
                return
        await _check_alive(job)
        if time.monotonic() >= deadline:
            what = "DHCP lease" if leased else "address of what is advertised"
            raise BootError(f"no {what} after {limit_s:.0f} s; the console's last words: {await _last_words(job)}")
        await asyncio.sleep(POLL_S)


def present_addresses(job: Job) -> tuple[str, ...]:
    """The addresses that the guest has on its port's device, of both versions, as far as its last report tells."""
    nics = job.facts.nics if job.facts is not None else ()
    mine = job.server.runtime.mac_address
    return next((nic.ip_addresses for nic in nics if nic.mac_address == mine), ())


def _newest(job: Job, name: str) -> TimelineStep | None:
    """The newest step of that name of the server's port since its QEMU was started."""
    steps = job.tools.timeline.steps(job.server.port_id or "")
    return next((step for step in reversed(steps) if step.name == name and step.at >= job.launched_at_s), None)


async def _wait_facts(job: Job) -> None:
    """What the guest found must be what it was given: all of its addresses that it comes to by itself, and its disk.

    It reports again whenever it has learnt more, so what is missing may be still to come.
    """
    limit_s = job.tools.patience.facts_s
    runtime = job.server.runtime
    deadline = time.monotonic() + limit_s
    while True:
        reported = await _read_facts(job)
        if reported:
            assert job.facts is not None
            check_facts(job.server, job.facts)
            lacking = missing(runtime.expected, present_addresses(job))
            if not lacking:
                break
        await _check_alive(job)
        if time.monotonic() >= deadline:
            if not reported:
                words = await _last_words(job)
                raise BootError(f"no report from the guest after {limit_s:.0f} s; its last words: {words}")
            has = ", ".join(present_addresses(job)) or "no address"
            lacks = ", ".join(map(str, lacking))
            raise BootError(f"after {limit_s:.0f} s the guest has {has}, but not {lacks}")
        await asyncio.sleep(POLL_S)
    job.mark("addresses", ip_addresses=list(present_addresses(job)), expected=[*map(_told, runtime.expected)])
    disk = job.facts.disks[0]
    if disk.verified:
        job.mark("disk_verified", disk=disk.name, size_bytes=disk.size_bytes, state=disk.state)
    runtime.booted_before = True


def _told(group: Expected) -> dict[str, object]:
    return {"by": group.by, "ip_addresses": list(group.addresses)}


def check_facts(server: Server, facts: GuestFacts) -> None:
    """Raises BootError unless the guest has the port's MAC and the disk it was given, in working order, and no IPv4
    address that is not its own.
    """
    runtime = server.runtime
    nic = next((nic for nic in facts.nics if nic.mac_address == runtime.mac_address), None)
    if nic is None:
        raise BootError(f"the guest has no device with MAC address {runtime.mac_address}: {facts.nics}")
    if wrong := strangers(runtime.expected, nic.ip_addresses):
        four = next(group for group in runtime.expected if group.by == DHCP)
        raise BootError(f"the guest has address {wrong[0]}, not {' or '.join(four.addresses)}")
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


# A user's own image may have no use for DHCP: it need show nothing.
PROVE: tuple[Step, ...] = (
    Step("lease", _wait_lease),
    Step("facts", _wait_facts),
)

watch_lease = _wait_lease
