"""The firewall follows the Networking API: by notifications, and by comparison where these get lost; nft is a model."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cove.bus.local import LocalBus
from cove.compute import firewall_sync, nft
from cove.compute.firewall import Firewall
from cove.compute.firewall_api import Shown
from cove.compute.firewall_rules import EGRESS, INGRESS, FirewallError
from cove.compute.firewall_sync import FirewallSync, GuestPort
from cove.compute.firewall_table import FirewallTable, Tracking
from cove.compute.network_api import NetworkApiError
from cove.linux import conntrack, links
from tests.unit.compute.nft_model import Kernel

GUEST = GuestPort("p1", "tap1", "brq1")


@dataclass
class Api:
    """Ports and groups, and who is to be told what changes."""

    tell: Callable[[str, dict[str, Any]], None]
    all_ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    all_groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: bool = False
    requests: list[str] = field(default_factory=list)
    _number: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # what the firewall asks

    async def groups(self, ids: Collection[str]) -> dict[str, Shown]:
        return self._answer("groups", {i: self.all_groups[i] for i in ids if i in self.all_groups})

    async def ports(self, ids: Collection[str]) -> dict[str, Shown]:
        return self._answer("ports", {i: self.all_ports[i] for i in ids if i in self.all_ports})

    async def members(self, group_id: str) -> list[Shown]:
        members = {i: port for i, port in self.all_ports.items() if group_id in port["security_groups"]}
        return list(self._answer("members", members).values())

    async def on_network(self, network_id: str) -> list[Shown]:
        on_it = {i: port for i, port in self.all_ports.items() if port["network_id"] == network_id}
        return list(self._answer(f"network {network_id}", on_it).values())

    def _answer(self, what: str, found: dict[str, Any]) -> dict[str, Shown]:
        self.requests.append(what)
        if self.broken:
            raise NetworkApiError("the service is away")
        copied: dict[str, Shown] = json.loads(json.dumps(found))
        return copied

    # what users do

    def group(self, group_id: str, *rules: dict[str, Any], stateful: bool = True) -> None:
        self.all_groups[group_id] = {"id": group_id, "stateful": stateful, "security_group_rules": []}
        for rule in rules:
            self.rule(group_id, **rule)

    def rule(self, group_id: str, **given: Any) -> dict[str, Any]:
        rule = {
            "id": f"r{next(self._number)}", "security_group_id": group_id, "direction": INGRESS, "ethertype": "IPv4",
            "protocol": None, "port_range_min": None, "port_range_max": None, "remote_ip_prefix": None,
            "remote_group_id": None, **given,
        }  # fmt: skip
        self.all_groups[group_id]["security_group_rules"].append(rule)
        self.tell("security_group_rule.create.end", {"security_group_rule": rule})
        return rule

    def unrule(self, group_id: str, index: int = 0) -> None:
        rule = self.all_groups[group_id]["security_group_rules"].pop(index)
        self.tell("security_group_rule.delete.end", {"security_group_rule_id": rule["id"], "security_group_rule": rule})

    def ungroup(self, group_id: str) -> None:
        gone = self.all_groups.pop(group_id)
        for group in self.all_groups.values():
            rules = group["security_group_rules"]
            group["security_group_rules"] = [rule for rule in rules if rule["remote_group_id"] != group_id]
        self.tell("security_group.delete.end", {"security_group_id": group_id, "security_group": gone})

    def port(self, port_id: str, address: str, *groups: str, secure: bool = True) -> None:
        port = {
            "id": port_id, "network_id": "n1", "revision_number": 1,
            "fixed_ips": [{"ip_address": address}], "allowed_address_pairs": [],
            "security_groups": list(groups), "port_security_enabled": secure,
        }  # fmt: skip
        self.all_ports[port_id] = port
        self.tell("port.create.end", {"ports": [port]})

    def change(self, port_id: str, **changes: Any) -> None:
        port = self.all_ports[port_id] | changes
        port["revision_number"] += 1
        self.all_ports[port_id] = port
        self.tell("port.update.end", {"port": port})

    def subnet(self, prefix: str, mode: str | None = "slaac", network_id: str = "n1") -> None:
        """All ports on its network get an address in it, of which there is no other notification."""
        for port in self.all_ports.values():
            if port["network_id"] == network_id and mode is not None:
                address = f"{prefix}{port['fixed_ips'][0]['ip_address'].rpartition('.')[2]}"
                port["fixed_ips"] = [*port["fixed_ips"], {"ip_address": address}]
                port["revision_number"] += 1
        self._tell_subnet("create", network_id, mode)

    def unsubnet(self, prefix: str, network_id: str = "n1") -> None:
        for port in self.all_ports.values():
            kept = [fixed for fixed in port["fixed_ips"] if not fixed["ip_address"].startswith(prefix)]
            port["revision_number"] += kept != port["fixed_ips"]
            port["fixed_ips"] = kept
        self._tell_subnet("delete", network_id, "slaac")

    def _tell_subnet(self, what: str, network_id: str, mode: str | None) -> None:
        subnet = {"id": "s", "network_id": network_id, "ipv6_address_mode": mode, "ipv6_ra_mode": None}
        self.tell(f"subnet.{what}.end", {"subnet_id": "s", "subnet": subnet})

    def unport(self, port_id: str) -> None:
        gone = self.all_ports.pop(port_id)
        self.tell("port.delete.end", {"port_id": port_id, "port": gone})


@dataclass
class World:
    sync: FirewallSync
    api: Api
    kernel: Kernel
    firewall: Firewall
    transactions: list[list[str]]
    lost: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    losing: bool = False

    def tell(self, event_type: str, payload: dict[str, Any]) -> None:
        if self.losing:
            self.lost.append((event_type, payload))
        else:
            self.sync.notice(event_type, payload)

    @property
    def table(self) -> FirewallTable:
        assert self.firewall.table is not None
        return self.firewall.table

    def elements(self, name: str) -> set[str]:
        """The elements of a set or map; nothing if it is not there."""
        return next((t.sets.get(name, set()) for k, t in self.kernel.tables.items() if k[0] == "bridge"), set())

    def rules(self, chain: str) -> list[str]:
        return next((t.chains.get(chain, []) for k, t in self.kernel.tables.items() if k[0] == "bridge"), [])

    def as_if_new(self) -> None:
        """What is in force is what a start of Cove would put in force."""
        fresh = Kernel()
        if self.firewall.table is not None:
            fresh.apply(self.firewall.table.whole())
        assert self.kernel == fresh


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[World]:
    kernel, transactions = Kernel(), []

    async def apply(lines: Sequence[str], *, namespace: str | None = None) -> None:
        transactions.append(list(lines))
        kernel.apply(lines)

    async def show(arguments: Sequence[str], *, namespace: str | None = None) -> bytes:
        _, kind, family, table, name = arguments
        found = kernel.tables.get((family, table))
        if found is None:
            raise nft.NftError("no such table")
        keys = [element.split('"')[1] for element in found.sets[name]]
        return json.dumps(
            {"nftables": [{kind: {"elem": [[key, {}] for key in keys] if kind == "map" else keys}}]}
        ).encode()

    async def nothing(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(nft, "apply", apply)
    monkeypatch.setattr(nft, "show", show)
    monkeypatch.setattr(links, "hand_over_bridged", nothing)
    monkeypatch.setattr(conntrack, "forget", lambda *_, **__: 0)
    monkeypatch.setattr(firewall_sync, "RETRY_S", 0.01)
    firewall = Firewall(tmp_path, tracking=Tracking.IP_HOOKS)
    api = Api(lambda *event: made.tell(*event))
    made = World(FirewallSync(firewall, api), api, kernel, firewall, transactions)
    api.group("g1", {"direction": EGRESS})
    api.group("g2")
    api.port("p1", "192.0.2.1", "g1")
    await made.sync.start([])
    yield made
    await made.sync.close()


async def test_a_guest_is_protected_from_what_the_api_says(world: World) -> None:
    world.api.rule("g1", remote_group_id="g1")
    await world.sync.protect(GUEST)
    assert world.rules("group_egress_g1") == ["meta protocol ip accept"]
    assert world.elements("ip4_g1") == {"192.0.2.1"}
    assert world.rules("guest_ingress_tap1")[-2:] == ["jump group_ingress_g1", "drop"]
    assert len(world.elements("from_guests")) == len(world.elements("to_guests")) == 1
    world.as_if_new()
    await world.sync.unprotect("tap1")
    assert not world.table.guests
    assert not world.elements("from_guests")
    await world.sync.unprotect("tap1")


async def test_rules_come_and_go_in_a_running_guest(world: World) -> None:
    await world.sync.protect(GUEST)
    world.api.rule("g1", protocol="tcp", port_range_min=22, port_range_max=22)
    await world.sync.settled()
    assert world.rules("group_ingress_g1") == ["meta protocol ip meta l4proto 6 th dport 22 accept"]
    before = len(world.transactions)
    world.api.rule("g2", protocol="udp")
    await world.sync.settled()
    assert len(world.transactions) == before  # nobody here is in that group
    world.api.unrule("g1", 1)
    await world.sync.settled()
    assert world.rules("group_ingress_g1") == []
    world.as_if_new()


async def test_members_come_and_go_one_by_one(world: World) -> None:
    world.api.rule("g1", remote_group_id="g2")
    for number in range(2, 52):
        world.api.port(f"q{number}", f"192.0.2.{number}", "g2")
    await world.sync.protect(GUEST)
    assert len(world.elements("ip4_g2")) == 50
    world.api.requests.clear()
    world.transactions.clear()
    world.api.port("q99", "192.0.2.99", "g2", "g3")
    await world.sync.settled()
    assert [len(lines) for lines in world.transactions] == [1]
    assert world.api.requests == []  # the notification said it all
    assert "192.0.2.99" in world.elements("ip4_g2")
    world.api.change("q99", fixed_ips=[{"ip_address": "192.0.2.98"}, {"ip_address": "2001:db8::98"}])
    await world.sync.settled()
    assert "192.0.2.99" not in world.elements("ip4_g2")
    assert world.elements("ip6_g2") == {"2001:db8::98"}
    world.api.change("q99", allowed_address_pairs=[{"ip_address": "198.51.100.0/24"}])
    await world.sync.settled()
    assert world.elements("net4_g2") == {"198.51.100.0/24"}
    world.api.change("q99", security_groups=["g3"])
    await world.sync.settled()
    assert len(world.elements("ip4_g2")) == 50
    world.api.unport("q2")
    await world.sync.settled()
    assert len(world.elements("ip4_g2")) == 49
    world.as_if_new()


async def test_a_guests_own_port_changes(world: World) -> None:
    await world.sync.protect(GUEST)
    world.api.change("p1", security_groups=["g2"], fixed_ips=[{"ip_address": "192.0.2.7"}])
    await world.sync.settled()
    assert list(world.table.guests["tap1"].groups) == ["g2"]
    assert world.table.guests["tap1"].addresses == ("192.0.2.7",)
    assert world.rules("group_egress_g1") == []
    world.api.change("p1", security_groups=[], port_security_enabled=False)
    await world.sync.settled()
    assert not world.elements("from_guests")
    world.api.change("p1", security_groups=["g1"], port_security_enabled=True)
    await world.sync.settled()
    assert world.elements("from_guests")
    # Without a port a guest that still runs may say and hear nothing, rather than everything.
    world.api.unport("p1")
    await world.sync.settled()
    assert world.rules("guest_ingress_tap1")[-1] == "drop"
    assert not world.table.guests["tap1"].groups
    world.as_if_new()


async def test_stateless_groups(world: World) -> None:
    world.api.group("bare", {"direction": EGRESS}, stateful=False)
    world.api.port("p2", "192.0.2.2", "bare")
    await world.sync.protect(GuestPort("p2", "tap2", "brq1"))
    assert world.rules("guest_egress_tap2") == ["jump always_egress", "jump group_egress_bare", "drop"]
    world.api.change("p2", fixed_ips=[{"ip_address": "192.0.2.3"}])  # the group is not asked for again
    await world.sync.settled()
    assert world.rules("guest_egress_tap2") == ["jump always_egress", "jump group_egress_bare", "drop"]
    world.as_if_new()


async def test_a_group_that_rules_name_goes(world: World) -> None:
    world.api.rule("g1", remote_group_id="g2")
    await world.sync.protect(GUEST)
    assert world.table.remotes == {"g2"}
    world.api.ungroup("g2")
    await world.sync.settled()
    assert world.table.remotes == set()
    assert world.rules("group_ingress_g1") == []
    world.as_if_new()


async def test_old_and_doubled_notifications_change_nothing(world: World) -> None:
    world.api.rule("g1", remote_group_id="g2")
    world.api.port("q", "192.0.2.9", "g2")
    await world.sync.protect(GUEST)
    old = dict(world.api.all_ports["q"])
    world.api.change("q", fixed_ips=[{"ip_address": "192.0.2.10"}])
    world.tell("port.update.end", {"port": old})
    world.tell("port.update.end", {"port": world.api.all_ports["q"]})
    await world.sync.settled()
    assert world.elements("ip4_g2") == {"192.0.2.10"}
    last = world.api.all_ports["q"]
    world.api.unport("q")
    world.tell("port.update.end", {"port": {**last, "revision_number": 9}})  # it overtook the deletion
    await world.sync.settled()
    assert world.elements("ip4_g2") == set()


async def test_what_notifications_do_not_say_the_comparison_finds(world: World) -> None:
    await world.sync.protect(GUEST)
    assert await world.sync.compare()
    world.losing = True
    world.api.rule("g1", protocol="tcp")
    world.api.change("p1", security_groups=["g1", "g2"])
    assert not await world.sync.compare()
    assert world.table.guests["tap1"].groups == ("g1", "g2")
    assert world.rules("group_ingress_g1") == ["meta protocol ip meta l4proto 6 accept"]
    assert await world.sync.compare()
    world.as_if_new()
    world.kernel.tables.clear()  # somebody flushed everything
    assert not await world.sync.compare()
    world.as_if_new()


async def test_a_subnet_gives_addresses_to_ports_that_are_there_already(world: World) -> None:
    world.api.rule("g1", remote_group_id="g2")
    world.api.port("q", "192.0.2.9", "g2")
    world.api.port("elsewhere", "192.0.2.10", "g2")
    world.api.all_ports["elsewhere"]["network_id"] = "n2"
    await world.sync.protect(GUEST)
    world.api.requests.clear()
    world.api.subnet("192.0.3.", mode=None)  # addresses of which there are notifications
    await world.sync.settled()
    assert world.api.requests == []
    world.api.subnet("2001:db8::")
    await world.sync.settled()
    assert world.elements("ip6_g2") == {"2001:db8::9"}
    assert list(world.table.guests["tap1"].addresses) == ["192.0.2.1", "2001:db8::1"]
    assert world.api.requests.count("network n1") == 1
    assert "members" not in world.api.requests
    world.api.unsubnet("2001:db8::")
    await world.sync.settled()
    assert world.elements("ip6_g2") == set()
    assert list(world.table.guests["tap1"].addresses) == ["192.0.2.1"]
    world.as_if_new()
    assert await world.sync.compare()


async def test_a_rule_that_makes_no_sense_is_no_ones_problem_but_its_own(world: World) -> None:
    world.api.rule("g1", protocol="quic")
    world.api.rule("g1", protocol="tcp", port_range_min="22; drop", port_range_max=22)
    world.api.rule("g1", ethertype="IPv6", remote_ip_prefix="10.0.0.0/8")
    world.api.rule("g1", protocol="udp")
    await world.sync.protect(GUEST)
    assert world.rules("group_ingress_g1") == ["meta protocol ip meta l4proto 17 accept"]


async def test_an_answer_that_makes_no_sense_keeps_nobody_from_starting(world: World) -> None:
    again = FirewallSync(world.firewall, world.api)
    whole = world.api.all_ports["p1"]
    world.api.all_ports["p1"] = {"id": "p1"}
    try:
        with pytest.raises(FirewallError, match="port_security_enabled"):
            await again.start([GUEST])
        world.api.all_ports["p1"] = whole
        await again.settled()
    finally:
        await again.close()
    assert world.elements("from_guests")
    world.as_if_new()


async def test_a_guest_that_cannot_be_protected_again_is_still_looked_after(world: World) -> None:
    await world.sync.protect(GUEST)
    world.api.broken = True
    with pytest.raises(FirewallError):
        await world.sync.protect(GUEST)
    world.api.broken = False
    world.api.rule("g1", protocol="udp")
    await world.sync.settled()
    assert world.rules("group_ingress_g1") == ["meta protocol ip meta l4proto 17 accept"]


async def test_too_many_notifications_become_a_comparison(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.api.rule("g1", remote_group_id="g2")
    await world.sync.protect(GUEST)
    monkeypatch.setattr(firewall_sync, "EVENTS_MAX", 5)
    for number in range(2, 40):
        world.api.port(f"q{number}", f"192.0.2.{number}", "g2")
    await world.sync.settled()
    assert len(world.elements("ip4_g2")) == 38
    world.as_if_new()


async def test_it_tries_again_while_the_api_is_away(world: World) -> None:
    await world.sync.protect(GUEST)
    world.api.broken = True
    with pytest.raises(FirewallError, match="the service is away"):
        await world.sync.protect(GuestPort("p2", "tap2", "brq1"))
    world.api.rule("g1", protocol="udp")
    requests = len(world.api.requests)
    async with asyncio.timeout(10):
        while len(world.api.requests) < requests + 3:
            await asyncio.sleep(0.01)
    assert world.rules("group_ingress_g1") == []
    world.api.broken = False
    await world.sync.settled()
    assert world.rules("group_ingress_g1") == ["meta protocol ip meta l4proto 17 accept"]
    assert set(world.table.guests) == {"tap1"}
    world.as_if_new()


async def test_what_nft_refuses_once_is_in_force_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.sync.protect(GUEST)
    real, refusals = nft.apply, [2]

    async def apply(lines: Sequence[str], *, namespace: str | None = None) -> None:
        if refusals[0]:
            refusals[0] -= 1
            raise nft.NftError("nft refused: try again")
        await real(lines, namespace=namespace)

    monkeypatch.setattr(nft, "apply", apply)
    world.api.rule("g1", protocol="udp")
    await world.sync.settled()
    assert world.rules("group_ingress_g1") == ["meta protocol ip meta l4proto 17 accept"]
    world.as_if_new()


async def test_guests_that_run_already_are_protected_at_once(world: World) -> None:
    await world.sync.protect(GUEST)
    again = FirewallSync(world.firewall, world.api)
    world.transactions.clear()
    try:
        await again.start([GUEST])
    finally:
        await again.close()
    assert world.table.guests.keys() == {"tap1"}
    assert len(world.transactions) <= 1
    await again.destroy()
    assert not world.kernel.tables


async def test_notifications_come_over_the_bus(world: World) -> None:
    bus = LocalBus()
    await bus.start()
    sync = FirewallSync(world.firewall, world.api, bus)
    try:
        await sync.start([GUEST])
        world.losing = True
        rule = world.api.rule("g1", protocol="udp")
        await bus.notify("security_group_rule.create.end", {"security_group_rules": [rule]})
        async with asyncio.timeout(10):
            while not world.rules("group_ingress_g1"):
                await asyncio.sleep(0.01)
    finally:
        await sync.close()
        await bus.close()


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_it_is_as_if_new(world: World, seed: int) -> None:
    """Many changes, told late, in bursts and partly not at all: in the end the kernel has what the API says."""
    choose = random.Random(seed)
    api, sync = world.api, world.sync
    for group_id in ("g1", "g2", "g3"):
        api.group(group_id)
    for number in range(1, 7):
        api.port(f"p{number}", f"192.0.2.{number}", *choose.sample(("g1", "g2", "g3"), choose.randint(0, 3)))
    running: set[str] = set()

    async def step() -> None:
        port_id = f"p{choose.randint(1, 6)}"
        group_id = choose.choice(("g1", "g2", "g3"))
        action = choose.randrange(8)
        if action == 0:
            await sync.protect(GuestPort(port_id, f"tap{port_id}", choose.choice(("brq1", "brq2"))))
            running.add(port_id)
        elif action == 1:
            await sync.unprotect(f"tap{port_id}")
            running.discard(port_id)
        elif action in (2, 3):
            api.rule(group_id, direction=choose.choice((INGRESS, EGRESS)), remote_group_id=choose.choice(
                (None, "g1", "g2", "g3")), protocol=choose.choice((None, "tcp", "udp")))  # fmt: skip
        elif action == 4 and api.all_groups[group_id]["security_group_rules"]:
            api.unrule(group_id)
        elif action == 5 and port_id in api.all_ports:
            api.change(port_id, security_groups=choose.sample(("g1", "g2", "g3"), choose.randint(0, 3)))
        elif action == 6 and port_id in api.all_ports:
            addresses = [{"ip_address": f"192.0.2.{choose.randint(1, 9)}"}, {"ip_address": "198.51.100.0/24"}]
            api.change(port_id, fixed_ips=addresses[:1], allowed_address_pairs=choose.choice((addresses[1:], [])))
        elif action == 7 and port_id in api.all_ports and port_id not in running:
            api.unport(port_id)
            if choose.random() < 0.5:
                api.port(f"n{choose.random()}", "192.0.2.77", group_id)

    for _ in range(60):
        world.losing = seed % 3 == 0 and choose.random() < 0.2
        await step()
        if choose.random() < 0.3:
            await sync.settled()
            world.as_if_new()
    world.losing = False
    await sync.settled()
    world.as_if_new()
    in_step = await sync.compare()
    assert in_step or world.lost
    world.as_if_new()
