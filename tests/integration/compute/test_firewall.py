"""Security groups on a real bridge: what the rules say is what gets through, both ways, by whatever protocol."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cove.compute.firewall import Firewall, find_tracking
from cove.compute.firewall_rules import EGRESS, INGRESS, Guest, Packet, Rule, permits
from cove.compute.firewall_table import FirewallTable, Tracking
from tests.integration.compute.firewall_world import Host, World, icmp6_frame, udp_frame, world

ANY_OUT = (Rule(EGRESS, 4), Rule(EGRESS, 6))
TCP, UDP = 6, 17
HANDS_OVER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@dataclass
class Lan:
    """Hosts 0 and 1 behind the firewall, host 2 not; all on one bridge."""

    world: World
    firewall: Firewall
    rules: dict[str, tuple[Rule, ...]]
    members: dict[str, list[str]]
    guests: dict[str, Guest]

    async def put(self, host: int, *groups: str, stateful: bool = True) -> None:
        """Put a host into groups."""
        where = self.world.hosts[host]
        guest = Guest(where.tap, "br0", (where.ipv4, where.ipv6), groups, stateful)
        self.guests[where.tap] = guest

        def change(table: FirewallTable) -> list[str]:
            lines = table.put_guest(guest)
            for group in groups:
                lines += table.put_rules(group, self.rules.get(group, ()))
            for group in sorted(table.remotes):
                lines += table.set_members(group, self.members.get(group, ()))
            return lines

        await self.firewall.change(change)

    async def set(self, group: str, *rules: Rule) -> None:
        """The rules of a group."""
        self.rules[group] = rules

        def change(table: FirewallTable) -> list[str]:
            lines = table.put_rules(group, rules)
            for remote in sorted(table.remotes):
                lines += table.set_members(remote, self.members.get(remote, ()))
            return lines

        await self.firewall.change(change)

    async def fill(self, group: str, *addresses: str) -> None:
        """The members of a group."""
        self.members[group] = list(addresses)
        await self.firewall.change(lambda table: table.set_members(group, addresses))

    def expected(self, source: Host, target: Host, packet: Packet) -> bool:
        """What the model says of a new connection."""
        for host, direction in ((source, EGRESS), (target, INGRESS)):
            guest = self.guests.get(host.tap)
            if guest is not None:
                rules = [rule for group in guest.groups for rule in self.rules.get(group, ())]
                if not permits(rules, direction, packet, self.members):
                    return False
        return True


@pytest.fixture(params=Tracking, ids=lambda tracking: tracking.name.lower())
async def lan(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lan]:
    with world(3) as made:
        if request.param is Tracking.BRIDGE and await find_tracking(namespace=made.namespace) is not Tracking.BRIDGE:
            pytest.skip("this kernel does not track connections in its bridges (nf_conntrack_bridge, nft_meta_bridge)")
        if request.param is Tracking.IP_HOOKS and not HANDS_OVER.exists():
            pytest.skip("this kernel does not hand bridged frames to its IP hooks (br_netfilter)")
        firewall = Firewall(tmp_path, namespace=made.namespace, tracking=request.param)
        yield Lan(made, firewall, {}, {}, {})


async def test_the_kernel_can_track_connections_somehow() -> None:
    assert await find_tracking() in Tracking


def probes(made: World, pairs: Sequence[tuple[int, int]]) -> list[tuple[str, Packet, bool]]:
    """Everything that is tried: (what, as the model sees it, whether it got through)."""
    results = []
    for one, other in pairs:
        source, target = made.hosts[one], made.hosts[other]
        for version in (4, 6):
            ends = (source.address(version), target.address(version))
            for port in (7, 8):
                packet = Packet(version, UDP, *ends, port=port)
                results.append((f"udp {port}: {one} to {other}", packet, made.udp(source, target, version, port)))
                packet = Packet(version, TCP, *ends, port=port)
                results.append((f"tcp {port}: {one} to {other}", packet, made.tcp(source, target, version, port)))
            packet = Packet(version, 1 if version == 4 else 58, *ends, icmp_type=8 if version == 4 else 128)
            results.append((f"ping: {one} to {other}", packet, made.ping(source, target, version)))
    return results


def random_rule(choose: random.Random) -> Rule:
    version = choose.choice((4, 6))
    protocol = choose.choice((None, TCP, UDP, 1 if version == 4 else 58))
    low = high = None
    if protocol in (TCP, UDP) and choose.random() < 0.6:
        low, high = choose.choice(((7, 7), (8, 8), (7, 8), (9, 100)))
    elif protocol in (1, 58) and choose.random() < 0.5:
        low, high = choose.choice(((8 if version == 4 else 128, 0), (8 if version == 4 else 128, None), (3, None)))
    host = choose.randint(1, 3)
    prefixes = (
        (f"10.9.0.{host}/32", "10.9.0.0/24", "10.9.0.2/31") if version == 4 else (f"fd09::{host}/128", "fd09::/64")
    )
    remote = choose.choice(("none", "prefix", "group"))
    return Rule(
        choose.choice((INGRESS, EGRESS)),
        version,
        protocol,
        low,
        high,
        choose.choice(prefixes) if remote == "prefix" else None,
        choose.choice(("one", "two")) if remote == "group" else None,
    )


@pytest.mark.parametrize("seed", range(6))
async def test_random_rules_do_what_the_model_says(lan: Lan, seed: int) -> None:
    choose = random.Random(seed)
    hosts = lan.world.hosts
    everywhere = [host.address(version) for host in hosts for version in (4, 6)]
    for group in ("one", "two"):
        lan.members[group] = choose.sample([*everywhere, "10.9.0.2/31", "fd09::2/127"], 3)
    await lan.put(0, "one", "two")
    await lan.put(1, *choose.sample(("one", "two"), choose.randint(0, 2)))
    for group in ("one", "two"):
        await lan.set(group, *{random_rule(choose) for _ in range(choose.randint(2, 7))})
    pairs = ((0, 1), (1, 0), (2, 0), (0, 2))
    for what, packet, got in probes(lan.world, pairs):
        source = next(host for host in hosts if packet.source in (host.ipv4, host.ipv6))
        target = next(host for host in hosts if packet.destination in (host.ipv4, host.ipv6))
        assert got is lan.expected(source, target, packet), f"{what}: {packet} with {lan.rules} and {lan.members}"


async def test_a_default_group_lets_out_and_answers_in_and_members_to_each_other(lan: Lan) -> None:
    one, two, outside = lan.world.hosts
    lan.rules["default"] = (
        *ANY_OUT,
        Rule(INGRESS, 4, remote_group="default"),
        Rule(INGRESS, 6, remote_group="default"),
    )
    lan.members["default"] = [host.address(version) for host in (one, two) for version in (4, 6)]
    for host in (0, 1):
        await lan.put(host, "default")
    for version in (4, 6):
        assert lan.world.talk(one, outside, version, 7) == (True, True)
        assert lan.world.tcp(one, outside, version, 8)
        assert lan.world.ping(one, outside, version)
        assert lan.world.tcp(two, one, version, 8)
        assert not lan.world.ping(outside, one, version)
        assert not lan.world.udp(outside, one, version, 7)
        assert not lan.world.tcp(outside, one, version, 8)
    # One of them leaves the group: it has the rules still, but it is no member.
    await lan.fill("default", one.ipv4, one.ipv6)
    assert not lan.world.tcp(two, one, 4, 8)


async def test_what_a_guest_needs_to_live_gets_through_without_any_group(lan: Lan) -> None:
    guest, _, outside = lan.world.hosts
    await lan.put(0)
    into = {
        "DHCP answer": udp_frame(outside, guest, 4, 67, 68),
        "DHCPv6 answer": udp_frame(outside, guest, 6, 547, 546),
        "router advertisement": icmp6_frame(outside, guest, 134),
        "neighbour solicitation": icmp6_frame(outside, guest, 135),
        "neighbour advertisement": icmp6_frame(outside, guest, 136),
        "listener query": icmp6_frame(outside, guest, 130),
    }
    out = {
        "DHCP request": udp_frame(guest, outside, 4, 68, 67),
        "DHCPv6 request": udp_frame(guest, outside, 6, 546, 547),
        "router solicitation": icmp6_frame(guest, outside, 133),
        "neighbour solicitation": icmp6_frame(guest, outside, 135),
        "neighbour advertisement": icmp6_frame(guest, outside, 136),
        "listener report": icmp6_frame(guest, outside, 143),
    }
    for what, frame in into.items():
        assert lan.world.frame(outside, guest, frame), what
    for what, frame in out.items():
        assert lan.world.frame(guest, outside, frame), what
    for what, frame in {
        "datagram": udp_frame(outside, guest, 4, 1000, 2000),
        "echo request": icmp6_frame(outside, guest, 128),
        "DHCP request of another": udp_frame(outside, guest, 4, 68, 67),
    }.items():
        assert not lan.world.frame(outside, guest, frame), what
    for what, frame in {
        "datagram": udp_frame(guest, outside, 4, 1000, 2000),
        "echo request": icmp6_frame(guest, outside, 128),
        "DHCP answer": udp_frame(guest, outside, 4, 67, 68),
        "router advertisement": icmp6_frame(guest, outside, 134),
    }.items():
        assert not lan.world.frame(guest, outside, frame), what


async def test_with_its_rule_goes_the_connection_and_others_stay(lan: Lan) -> None:
    guest, _, outside = lan.world.hosts
    ssh, web = Rule(INGRESS, 4, TCP, 22, 22), Rule(INGRESS, 4, TCP, 80, 80)
    await lan.set("servers", *ANY_OUT, ssh, web)
    await lan.put(0, "servers")
    await lan.set("servers", *ANY_OUT, ssh, web)
    connections = [lan.world.connect(outside, guest, 4, port) for port in (22, 80)]
    assert None not in connections
    (ssh_there, ssh_here), (web_there, web_here) = [c for c in connections if c is not None]
    try:
        for sender, receiver in ((ssh_there, ssh_here), (web_there, web_here), (ssh_here, ssh_there)):
            sender.send(b"hello")
            assert receiver.recv(5) == b"hello"
        await lan.set("servers", *ANY_OUT, web)
        web_there.send(b"still")
        assert web_here.recv(5) == b"still"
        ssh_there.send(b"gone?")
        ssh_here.settimeout(0.5)
        with pytest.raises(TimeoutError):
            ssh_here.recv(5)
    finally:
        for end in (ssh_there, ssh_here, web_there, web_here):
            end.close()


async def test_who_gets_an_address_does_not_get_its_former_owners_connections(lan: Lan) -> None:
    guest, _, outside = lan.world.hosts
    lan.rules["open"], lan.rules["closed"] = (*ANY_OUT, Rule(INGRESS, 4)), ANY_OUT
    await lan.put(0, "open")
    connection = lan.world.connect(outside, guest, 4, 22)
    assert connection is not None
    with connection[0] as there, connection[1] as here:
        here.send(b"hello")
        assert there.recv(5) == b"hello"
        await lan.firewall.change(lambda table: table.drop_guest(guest.tap))
        await lan.put(0, "closed")  # somebody else, with the address that has become free
        there.send(b"hello")
        here.settimeout(0.5)
        with pytest.raises(TimeoutError):
            here.recv(5)


async def test_stateless_groups_let_answers_in_by_their_rules_only(lan: Lan) -> None:
    guest, _, outside = lan.world.hosts
    lan.rules["bare"] = ANY_OUT
    await lan.put(0, "bare", stateful=False)
    assert lan.world.talk(guest, outside, 4, 7) == (True, False)
    assert not lan.world.ping(guest, outside, 4)
    await lan.set("bare", *ANY_OUT, Rule(INGRESS, 4, UDP), Rule(INGRESS, 4, 1, 0))
    assert lan.world.talk(guest, outside, 4, 7) == (True, True)
    assert lan.world.ping(guest, outside, 4)
    assert not lan.world.ping(outside, guest, 4)


async def test_large_packets_are_not_lost_in_pieces(lan: Lan) -> None:
    guest, _, outside = lan.world.hosts
    lan.rules["g"] = (*ANY_OUT, Rule(INGRESS, 4, UDP, 7, 7), Rule(INGRESS, 6, UDP, 7, 7))
    await lan.put(0, "g")
    for version in (4, 6):
        with guest.socket(version, socket.SOCK_DGRAM) as there, outside.socket(version, socket.SOCK_DGRAM) as here:
            there.bind((guest.address(version), 7))
            here.sendto(b"x" * 5000, (guest.address(version), 7))
            assert len(there.recv(9000)) == 5000


async def test_rules_come_back_after_somebody_flushed_them(lan: Lan) -> None:
    guest, _, outside = lan.world.hosts
    lan.rules["g"] = ANY_OUT
    await lan.put(0, "g")
    flush = ["ip", "netns", "exec", lan.world.namespace, "nft", "flush", "ruleset"]
    assert await lan.firewall.check()
    subprocess.run(flush, check=True)
    assert lan.world.udp(outside, guest, 4, 7)
    assert not await lan.firewall.check()
    assert not lan.world.udp(outside, guest, 4, 7)
    subprocess.run(flush, check=True)
    await lan.set("g", *ANY_OUT, Rule(INGRESS, 4, UDP, 8, 8))
    assert not lan.world.udp(outside, guest, 4, 7)
    assert lan.world.udp(outside, guest, 4, 8)


async def test_a_guest_comes_and_goes_and_in_the_end_nothing_is_left(lan: Lan) -> None:
    guest, _, outside = lan.world.hosts
    lan.rules["g"] = (*ANY_OUT, Rule(INGRESS, 4, remote_group="g"))
    await lan.put(0, "g")
    assert not lan.world.udp(outside, guest, 4, 7)
    await lan.firewall.change(lambda table: table.drop_guest(guest.tap))
    assert lan.world.udp(outside, guest, 4, 7)
    await lan.firewall.destroy()
    shown = ["ip", "netns", "exec", lan.world.namespace, "nft", "list", "ruleset"]
    assert subprocess.run(shown, check=True, capture_output=True).stdout == b""


async def test_many_members_and_networks_that_overlap(lan: Lan) -> None:
    guest, _, outside = lan.world.hosts
    lan.rules["g"] = (Rule(INGRESS, 4, remote_group="many"), Rule(INGRESS, 6, remote_group="many"))
    many = [f"10.{n >> 8}.{n & 255}.1" for n in range(5000)]
    lan.members["many"] = [*many, "10.9.0.0/30", "10.9.0.0/24", "fd00::/8", "fd09::/64"]
    await lan.put(0, "g")
    assert lan.world.udp(outside, guest, 4, 7)
    assert lan.world.udp(outside, guest, 6, 7)
    await lan.fill("many", *many, "10.9.0.0/31", "0.0.0.0/0", "::/0")
    assert lan.world.udp(outside, guest, 4, 7)
    await lan.fill("many", *many, "10.9.0.0/31")
    assert not lan.world.udp(outside, guest, 4, 7)


async def test_the_same_addresses_on_another_network_are_another_connection(tmp_path: Path) -> None:
    with world(2, 2) as made:
        guest, outside, other_guest, other_outside = made.hosts
        firewall = Firewall(tmp_path, namespace=made.namespace)

        def protect(table: FirewallTable) -> list[str]:
            lines = []
            for host, bridge in ((guest, "br0"), (other_guest, "br1")):
                lines += table.put_guest(Guest(host.tap, bridge, (host.ipv4,), ("g",)))
            return lines + table.put_rules("g", ANY_OUT)

        await firewall.change(protect)
        assert (guest.ipv4, outside.ipv4) == (other_guest.ipv4, other_outside.ipv4)
        # The guest asks; on its network the answer comes in, on the other one nobody has asked.
        assert made.udp(guest, outside, 4, 7, source_port=1007)
        assert made.udp(outside, guest, 4, 1007, source_port=7)
        assert not made.udp(other_outside, other_guest, 4, 1007, source_port=7)
