"""Guests that run follow their ports: what they may say they are is what the API says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from cove.bus import LocalBus
from cove.compute import port_watch
from cove.compute import running as running_guests
from cove.compute.models import Server, Status
from cove.compute.network_api import AddressPair, FixedIp
from cove.compute.servers import BootRequest
from cove.compute.spoofguard import GuestRules, SpoofGuardError
from tests.unit.compute.conftest import Bench, until

REQUEST = BootRequest(name="vm1", project_id="demo", network="lan", disk_bytes=64 << 20)


@pytest.fixture
async def bus() -> AsyncIterator[LocalBus]:
    bus = LocalBus()
    await bus.start()
    yield bus
    await bus.close()


async def running(bench: Bench, bus: LocalBus | None) -> Server:
    await bench.service.stop()
    bench.service = bench.make(bus=bus)
    await bench.service.start()
    server = await bench.service.wait((await bench.service.boot(REQUEST)).id, 10)
    assert server.status is Status.ACTIVE, server.runtime.fault
    return server


async def test_a_changed_port_changes_what_its_guest_may_say(bench: Bench, bus: LocalBus) -> None:
    server = await running(bench, bus)
    port_id, tap, rules = server.port_id or "", server.runtime.tap, bench.fakes.wiring.rules
    pairs = [AddressPair("2.2.2.0/24"), AddressPair("3.3.3.3", "FA:16:3E:00:00:99")]
    fixed = [FixedIp("1.1.1.20", "s"), FixedIp("fd77::1", "s6")]
    await bench.fakes.network.update(port_id, fixed_ips=fixed, allowed_address_pairs=pairs)
    await bus.notify("port.update.end", {"port": {"id": port_id}})
    await until(lambda: rules[tap].ip_addresses == ("1.1.1.20", "fd77::1"))
    assert rules[tap].pairs == (("", "2.2.2.0/24"), ("fa:16:3e:00:00:99", "3.3.3.3"))
    await bench.timeline.wait(server.id, "port_changed", 5)
    again = await bench.service.show(server.id)
    assert again.runtime.fixed_ips == fixed

    await bench.fakes.network.update(port_id, port_security_enabled=False)
    await bus.notify("port.update.end", {"port": {"id": port_id}})
    await until(lambda: tap not in rules)
    await bench.fakes.network.update(port_id, port_security_enabled=True)
    await bus.notify("port.update.end", {"port": {"id": port_id}})
    await until(lambda: tap in rules)


async def test_what_changes_nothing_does_nothing(bench: Bench, bus: LocalBus) -> None:
    server = await running(bench, bus)
    before = len(bench.world.calls)
    shown: list[str] = []
    show_port = bench.fakes.network.show_port

    async def show(port_id: str, **arguments: object) -> object:
        shown.append(port_id)
        return await show_port(port_id)

    bench.fakes.network.show_port = show  # type: ignore[method-assign, assignment]
    for event, port_id in (
        ("port.update.end", "another's"),
        ("port.delete.end", server.port_id),
        ("port.update.end", server.port_id),
    ):
        await bus.notify(event, {"port": {"id": port_id}})
    await until(lambda: shown)
    assert shown == [server.port_id]
    assert len(bench.world.calls) == before


async def test_without_notifications_changes_are_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_watch, "CHECK_INTERVAL_S", 0.02)
    server = await running(bench, None)
    await bench.fakes.network.update(server.port_id or "", fixed_ips=[FixedIp("1.1.1.20", "s")])
    await until(lambda: bench.fakes.wiring.rules[server.runtime.tap].ip_addresses == ("1.1.1.20",))
    await until(lambda: bench.fakes.network.changed[-1] is not None)
    assert bench.fakes.network.changed[0] is None  # all of them, once
    await bench.service.stop_server(server.id)
    await bench.service.wait(server.id, 10)
    asked = len(bench.fakes.network.changed)
    await until(lambda: len(bench.fakes.network.changed) <= asked + 1)


async def test_a_new_subnet_may_give_addresses_to_ports(bench: Bench, bus: LocalBus) -> None:
    server = await running(bench, bus)
    asked = len(bench.fakes.network.changed)
    fixed = [FixedIp("1.1.1.10", "s"), FixedIp("fd77::f816:3eff:fe00:1", "s6")]
    await bench.fakes.network.update(server.port_id or "", fixed_ips=fixed)
    await bus.notify("subnet.create.end", {"subnet": {"id": "s6"}})
    await until(lambda: len(bench.fakes.wiring.rules[server.runtime.tap].ip_addresses) == 2)
    assert len(bench.fakes.network.changed) == asked + 1


async def test_a_port_that_changes_while_its_guest_is_being_started(bench: Bench, bus: LocalBus) -> None:
    """Between being looked up and being watched nobody listens, however long a guest takes."""
    launch = bench.fakes.hypervisor.launch

    async def change_and_launch(*arguments: Any, **named: Any) -> Any:
        [port] = bench.fakes.network.ports.values()
        await bench.fakes.network.update(port.id, allowed_address_pairs=[AddressPair("2.2.2.2")])
        await bus.notify("port.update.end", {"port": {"id": port.id}})
        return await launch(*arguments, **named)

    bench.fakes.hypervisor.launch = change_and_launch  # type: ignore[method-assign]
    server = await running(bench, bus)
    await until(lambda: bench.fakes.wiring.rules[server.runtime.tap].pairs == (("", "2.2.2.2"),))


async def test_a_port_that_cannot_be_followed_keeps_no_other_from_it(
    bench: Bench, bus: LocalBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_watch, "CHECK_INTERVAL_S", 0.02)
    first = await running(bench, bus)
    second = await bench.service.wait((await bench.service.boot(msgspec.structs.replace(REQUEST, name="vm2"))).id, 10)
    guard = bench.fakes.wiring.guard
    refusals: list[GuestRules] = []

    async def refuse_first(rules: GuestRules) -> None:
        if rules.tap == first.runtime.tap and len(refusals) < 3:
            refusals.append(rules)
            raise SpoofGuardError("nft is busy")
        await guard(rules)

    monkeypatch.setattr(bench.fakes.wiring, "guard", refuse_first)
    for server in (first, second):
        await bench.fakes.network.update(server.port_id or "", allowed_address_pairs=[AddressPair("2.2.2.2")])
    rules = bench.fakes.wiring.rules
    await until(lambda: rules[second.runtime.tap].pairs)
    await until(lambda: rules[first.runtime.tap].pairs)
    assert len(refusals) == 3


async def test_guards_that_somebody_took_away_come_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_guests, "HOUSEKEEPING_INTERVAL_S", 0.01)
    bench.world.fail.add("check_guards")
    await running(bench, None)
    await until(lambda: bench.world.calls.count("check_guards") > 2)


async def test_what_changed_while_nobody_watched_is_found(bench: Bench, bus: LocalBus) -> None:
    server = await running(bench, bus)
    await bench.service.stop()
    await bench.fakes.network.update(server.port_id or "", fixed_ips=[FixedIp("1.1.1.20", "s")])
    bench.service = bench.make(bus=bus)
    await bench.service.start()
    await until(lambda: bench.fakes.wiring.rules[server.runtime.tap].ip_addresses == ("1.1.1.20",))
