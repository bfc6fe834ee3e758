"""Firewall: when connections are looked through, and what a bridge that cannot be had does to the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cove.compute import nft
from cove.compute.firewall import Firewall
from cove.compute.firewall_rules import EGRESS, INGRESS, FirewallError, Guest, Rule
from cove.compute.firewall_table import FirewallTable, Tracking
from cove.errors import CoveError
from cove.linux import conntrack, links
from tests.unit.compute.nft_model import Kernel

OUT, SSH, WEB = Rule(EGRESS, 4), Rule(INGRESS, 4, 6, 22, 22), Rule(INGRESS, 4, 6, 80, 80)
GUEST = Guest("tap1", "brq1", ("192.0.2.1",), ("g1",))


@dataclass
class World:
    """A kernel's nftables and connections, and bridges of which some cannot be had."""

    kernel: Kernel = field(default_factory=Kernel)
    connections: list[conntrack.Connection] = field(default_factory=list)
    looked: int = 0
    away: set[str] = field(default_factory=set)
    hang: bool = False

    async def apply(self, lines: Sequence[str], *, namespace: str | None = None) -> None:
        self.kernel.apply(lines)
        if self.hang:
            await asyncio.sleep(60)

    async def hand_over(self, bridge: str, *, namespace: str | None = None) -> None:
        if bridge in self.away:
            raise CoveError(f"no device {bridge}")

    def forget(self, doomed: Callable[[conntrack.Connection], bool], *, zones: set[int], namespace: str | None) -> int:
        self.looked += 1
        before = len(self.connections)
        self.connections = [c for c in self.connections if c.zone not in zones or not doomed(c)]
        return before - len(self.connections)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(nft, "apply", made.apply)
    monkeypatch.setattr(links, "hand_over_bridged", made.hand_over)
    monkeypatch.setattr(conntrack, "forget", made.forget)
    return made


@pytest.fixture
def firewall(tmp_path: Path) -> Firewall:
    return Firewall(tmp_path, tracking=Tracking.IP_HOOKS)


def tcp(zone: int, source: str, destination: str, port: int) -> conntrack.Connection:
    return conntrack.Connection(zone, 4, 6, source, destination, 40000, port, 0, 0, b"", b"")


async def put(firewall: Firewall, guest: Guest, *rules: Rule) -> None:
    def change(table: FirewallTable) -> list[str]:
        return table.put_guest(guest) + [line for group in guest.groups for line in table.put_rules(group, rules)]

    await firewall.change(change)


def zone_of(firewall: Firewall, bridge: str = "brq1") -> int:
    assert firewall.table is not None
    zone = firewall.table.zone(bridge)
    assert zone is not None
    return zone


async def test_who_comes_to_an_address_is_not_whom_its_connections_were_for(world: World, firewall: Firewall) -> None:
    """A guest goes, and its peers go on sending to its address, which the next guest gets."""
    await put(firewall, GUEST, OUT, SSH)
    zone = zone_of(firewall)
    world.connections = [tcp(zone, "192.0.2.9", "192.0.2.1", 22), tcp(zone, "192.0.2.9", "192.0.2.2", 22)]
    await firewall.change(lambda table: table.drop_guest("tap1"))
    assert len(world.connections) == 2
    await put(firewall, Guest("tap2", "brq1", ("192.0.2.1",), ("g2",)), OUT, WEB)
    assert [c.destination for c in world.connections] == ["192.0.2.2"]
    # The same for an address that a guest gets while it runs.
    world.connections = [tcp(zone, "192.0.2.9", "192.0.2.3", 22), tcp(zone, "192.0.2.3", "192.0.2.9", 443)]
    await put(firewall, Guest("tap2", "brq1", ("192.0.2.1", "192.0.2.3"), ("g2",)), OUT, WEB)
    assert [c.port for c in world.connections] == [443]


async def test_connections_are_looked_through_only_if_one_may_be_no_more(world: World, firewall: Firewall) -> None:
    members = [Rule(INGRESS, 4, remote_group="g2")]
    changes: list[tuple[Callable[[FirewallTable], Any], bool]] = [
        (lambda table: table.put_guest(GUEST), True),
        (lambda table: table.put_rules("g1", [SSH]), False),
        (lambda table: table.put_rules("g1", [SSH, WEB]), False),
        (lambda table: table.put_rules("g1", [WEB, *members]), True),
        (lambda table: table.change_members("g2", ["192.0.2.7", "192.0.2.8"]), False),
        (lambda table: table.change_members("g2", ["192.0.2.9"], ["192.0.2.7"]), True),
        (lambda table: table.change_members("g2", ["192.0.2.9"]), False),
        (lambda table: table.change_members("g2", [], ["192.0.2.9"]), False),  # another port has it still
        (lambda table: table.put_guest(Guest("tap1", "brq1", ("192.0.2.1",), ("g1", "g3"))), False),
        (lambda table: table.put_guest(GUEST), True),
        (lambda table: table.drop_guest("tap1"), False),
    ]
    for number, (change, wanted) in enumerate(changes):
        before = world.looked
        await firewall.change(change)
        assert (world.looked > before) is wanted, number


async def test_what_a_cancelled_change_took_away_is_taken_from_connections_at_the_next(
    world: World, firewall: Firewall
) -> None:
    await put(firewall, GUEST, OUT, SSH)
    world.connections = [tcp(zone_of(firewall), "192.0.2.9", "192.0.2.1", 22)]
    world.hang = True
    task = asyncio.create_task(put(firewall, GUEST, OUT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    world.hang = False
    assert world.connections
    await firewall.change(lambda table: [])
    assert world.connections == []


async def test_addresses_within_a_network_that_a_guest_may_use(world: World, firewall: Firewall) -> None:
    await put(firewall, Guest("tap1", "brq1", ("10.0.0.0/8", "192.0.2.1"), ("g1",)), OUT, SSH)
    zone = zone_of(firewall)
    world.connections = [tcp(zone, "192.0.2.9", "10.1.2.3", 22), tcp(zone, "192.0.2.9", "11.1.2.3", 22)]
    await put(firewall, Guest("tap1", "brq1", ("10.0.0.0/8", "192.0.2.1"), ("g1",)), OUT)
    assert [c.destination for c in world.connections] == ["11.1.2.3"]


async def test_a_bridge_that_cannot_be_had_is_no_others_problem(world: World, firewall: Firewall) -> None:
    await put(firewall, GUEST, OUT)
    world.away.add("brq2")
    other = Guest("tap2", "brq2", ("192.0.2.2",), ("g1",))
    with pytest.raises(FirewallError, match="brq2"):
        await put(firewall, other, OUT)
    await firewall.change(lambda table: table.drop_guest("tap2"))  # as the boot that failed does
    table = await firewall.new_table()
    for guest in (GUEST, other):
        table.put_guest(guest)
    await firewall.reset(table)
    fresh = Kernel()
    fresh.apply(table.whole())
    assert world.kernel == fresh


async def test_a_change_that_cannot_be_said_is_made_up_for(world: World, firewall: Firewall) -> None:
    await put(firewall, GUEST, OUT)

    def broken(table: FirewallTable) -> list[str]:
        table.put_rules("g1", [OUT, SSH])
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        await firewall.change(broken)
    await firewall.change(lambda table: [])
    fresh = Kernel()
    assert firewall.table is not None
    fresh.apply(firewall.table.whole())
    assert world.kernel == fresh
