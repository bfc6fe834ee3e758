"""What a guest must show: all its addresses, however many reports that takes; and what is said when it does not."""

from __future__ import annotations

import pytest

from cove.compute.models import Server, Status
from cove.compute.network_api import FixedIp, Port, Subnet
from cove.compute.qemu import InstanceSpec
from cove.compute.servers import BootRequest
from tests.unit.compute.conftest import Bench, until

MAC = "fa:16:3e:00:00:01"
MADE = "fd77:2::f816:3eff:fe00:1"
STATEFUL = Subnet("a", "fd77:1::/64", 6, ipv6_ra_mode="dhcpv6-stateful", ipv6_address_mode="dhcpv6-stateful")
SLAAC = Subnet("b", "fd77:2::/64", 6, ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
REQUEST = BootRequest(name="vm1", project_id="demo", network="lan", disk_bytes=64 << 20)


def give(bench: Bench, *addresses: tuple[str, str], subnets: tuple[Subnet, ...] = (STATEFUL, SLAAC)) -> None:
    """Ports get these (address, subnet)."""
    network = bench.fakes.network
    network.subnets += subnets
    add = network.add

    def add_with_addresses(device_id: str = "") -> Port:
        port = add(device_id)
        values = {name: getattr(port, name) for name in port.__struct_fields__}
        fixed = [FixedIp(address, subnet) for address, subnet in addresses]
        network.ports[port.id] = Port(**{**values, "fixed_ips": fixed})
        return network.ports[port.id]

    network.add = add_with_addresses  # type: ignore[method-assign]


async def boot(bench: Bench) -> Server:
    return await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)


def step(bench: Bench, server: Server, name: str) -> dict[str, object]:
    return next(step.detail for step in bench.timeline.steps(server.id) if step.name == name)


async def test_all_addresses_are_waited_for(bench: Bench) -> None:
    give(bench, ("1.1.1.10", "s"), ("fd77:1::10", "a"), (MADE, "b"))
    hypervisor = bench.fakes.hypervisor
    said: list[InstanceSpec] = []
    first = hypervisor.say

    def say(spec: InstanceSpec) -> None:
        said.append(spec)
        first(spec)

    hypervisor.say = say  # type: ignore[method-assign]
    hypervisor.report = {"ip": "1.1.1.10"}
    accepted = await bench.service.boot(REQUEST)
    await until(lambda: said)
    assert (await bench.service.show(accepted.id)).status is Status.BUILD
    hypervisor.report = {"ip": f"1.1.1.10 fd77:1::10 {MADE} fd99::7"}
    hypervisor.say(said[0])
    server = await bench.service.wait(accepted.id, 10)
    assert server.status is Status.ACTIVE, server.runtime.fault
    assert step(bench, server, "addresses") == {
        "ip_addresses": ["1.1.1.10", "fd77:1::10", MADE, "fd99::7"],
        "expected": [
            {"by": "DHCP", "ip_addresses": ["1.1.1.10"]},
            {"by": "DHCPv6", "ip_addresses": ["fd77:1::10"]},
            {"by": "SLAAC", "ip_addresses": [MADE]},
        ],
    }


@pytest.mark.parametrize(
    ("has", "why"),
    [
        ("1.1.1.10", f"the guest has 1.1.1.10, but not fd77:1::10 (DHCPv6), {MADE} (SLAAC)"),
        (f"1.1.1.10 {MADE}", f"the guest has 1.1.1.10, {MADE}, but not fd77:1::10 (DHCPv6)"),
        (f"1.1.1.11 {MADE} fd77:1::10", "the guest has address 1.1.1.11, not 1.1.1.10"),
    ],
)
async def test_what_is_missing_is_said(bench: Bench, has: str, why: str) -> None:
    give(bench, ("1.1.1.10", "s"), ("fd77:1::10", "a"), (MADE, "b"))
    bench.fakes.hypervisor.report = {"ip": has}
    server = await boot(bench)
    assert server.status is Status.ERROR
    assert server.runtime.fault is not None
    assert why in server.runtime.fault.message


async def test_a_guest_that_has_no_lease_to_get(bench: Bench) -> None:
    give(bench, (MADE, "b"))
    server = await boot(bench)
    assert server.status is Status.ACTIVE, server.runtime.fault
    names = [found.name for found in bench.timeline.steps(server.id)]
    assert "lease" not in names
    assert names[-3:] == ["addresses", "disk_verified", "active"]


async def test_a_guest_to_whom_nobody_gives_an_address(bench: Bench) -> None:
    bench.fakes.network.subnets = [Subnet("s", "1.1.1.0/24", enable_dhcp=False)]
    bench.fakes.hypervisor.addresses = lambda mac: []
    server = await boot(bench)
    assert server.status is Status.ACTIVE, server.runtime.fault
    assert step(bench, server, "addresses") == {"ip_addresses": [], "expected": []}


async def test_no_answer_to_a_search_for_routers(bench: Bench) -> None:
    give(bench, (MADE, "b"))
    bench.fakes.hypervisor.addresses = lambda mac: []
    server = await boot(bench)
    assert server.runtime.fault is not None
    assert "no address of what is advertised after 0 s" in server.runtime.fault.message


@pytest.mark.parametrize(
    ("addresses", "told", "mark"),
    [
        ([("fd77:1::10", "a")], ("DHCPREPLY", {"ip_address": "fd77:1::10"}), "lease"),
        ([(MADE, "b")], ("RTR-SOLICIT", {"ip_address": None}), "solicited"),
    ],
)
async def test_an_image_of_ones_own(
    bench: Bench, addresses: list[tuple[str, str]], told: tuple[str, dict[str, object]], mark: str
) -> None:
    """It is up as soon as it runs; that it has asked for its address is told when it does."""
    give(bench, *addresses)
    bench.fakes.disks.sizes["images", "debian"] = 64 << 20
    request = BootRequest(name="vm1", project_id="demo", network="lan", image="debian")
    server = await bench.service.wait((await bench.service.boot(request)).id, 10)
    assert server.status is Status.ACTIVE, server.runtime.fault
    name, detail = told
    bench.timeline.mark(server.port_id or "", name, **detail)
    await bench.timeline.wait(server.id, mark, 5)
