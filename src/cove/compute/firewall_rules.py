"""What security groups say about packets: rules, the guests they are for, and whether a packet may pass. Pure.

`rule_of` and `addresses_of` read what the Networking API shows; `expressions` writes a rule in nft's language;
`permits` answers the same question without nft, for connections that are known already and for tests.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cove.errors import CoveError

INGRESS, EGRESS = "ingress", "egress"

PROTOCOLS: Mapping[str, int] = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "icmpv6": 58, "igmp": 2, "ip": 0,
    "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136,
    "vrrp": 112,
}  # fmt: skip
"""The names that the Networking API has for protocols."""

ICMP, ICMPV6 = 1, 58
WITH_PORTS = frozenset({6, 17, 33, 132, 136})

_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,15}")

Members = Mapping[str, Collection[str]]
"""Group → the addresses, and networks in CIDR form, of the ports in it."""


class FirewallError(CoveError):
    """The rules could not be put in force."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Packets that may pass. `low` and `high` are ports, or an ICMP type and code; None is any, as everywhere."""

    direction: str
    version: int
    protocol: int | None = None
    low: int | None = None
    high: int | None = None
    prefix: str | None = None
    remote_group: str | None = None


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest behind a tap: the bridge that the tap is in, the guest's addresses, and the groups of its port."""

    tap: str
    bridge: str
    addresses: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    stateful: bool = True

    def __post_init__(self) -> None:
        for what, name in (("tap", self.tap), ("bridge", self.bridge)):
            if not _DEVICE.fullmatch(name):
                raise FirewallError(f"{what} {name!r}: no name of a device")


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection. `port` is where it goes to; for ICMP type and code count instead."""

    version: int
    protocol: int
    source: str
    destination: str
    port: int = 0
    icmp_type: int = 0
    icmp_code: int = 0


def rule_of(shown: Mapping[str, Any]) -> Rule | None:
    """A security group rule of the API; None for one that no packet can match here. Raises KeyError, ValueError."""
    name = shown["protocol"]
    # The number 0 is what Neutron's names for "any IP" have.
    protocol = None if name is None else PROTOCOLS[name] if name in PROTOCOLS else int(name)
    direction, ethertype = shown["direction"], shown["ethertype"]
    prefix = shown["remote_ip_prefix"]
    if prefix is not None:
        network = ipaddress.ip_network(prefix, strict=False)
        if ethertype != f"IPv{network.version}":
            return None
        prefix = str(network) if network.prefixlen else None
    if direction not in (INGRESS, EGRESS) or ethertype not in ("IPv4", "IPv6"):
        return None
    if shown.get("remote_address_group_id") is not None:
        return None
    for name in ("port_range_min", "port_range_max"):
        if not isinstance(shown[name], int | None):
            raise ValueError(f"{name} {shown[name]!r}: no number")
    return Rule(
        direction,
        4 if ethertype == "IPv4" else 6,
        protocol or None,
        shown["port_range_min"],
        shown["port_range_max"],
        prefix,
        shown["remote_group_id"],
    )


def addresses_of(port: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses of a port as the API shows it, those of its address pairs among them; each once, sorted."""
    given = [fixed["ip_address"] for fixed in port.get("fixed_ips") or ()]
    given += [pair["ip_address"] for pair in port.get("allowed_address_pairs") or ()]
    return tuple(sorted({_canonical(address) for address in given}))


def _canonical(address: str) -> str:
    network = ipaddress.ip_network(address, strict=False)
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


# --- in nft's language -----------------------------------------------------------------------------------------------


def expressions(rule: Rule) -> list[str]:
    """What the rule's packets match: one expression, or two for a remote group (its addresses, its networks)."""
    protocol = "ip" if rule.version == 4 else "ip6"
    parts = [f"meta protocol {protocol}"]
    if rule.protocol is not None:
        parts.append(f"meta l4proto {rule.protocol}")
        if rule.protocol in WITH_PORTS and rule.low is not None:
            parts.append(
                f"th dport {rule.low}" if rule.high in (None, rule.low) else f"th dport {rule.low}-{rule.high}"
            )
        if rule.protocol in (ICMP, ICMPV6) and rule.low is not None:
            icmp = "icmp" if rule.protocol == ICMP else "icmpv6"
            parts.append(f"{icmp} type {rule.low}")
            if rule.high is not None:
                parts.append(f"{icmp} code {rule.high}")
    there = f"{protocol} {'saddr' if rule.direction == INGRESS else 'daddr'}"
    if rule.remote_group is not None:
        sets = (set_name(rule.remote_group, rule.version, networks=networks) for networks in (False, True))
        return [" ".join([*parts, f"{there} @{name}"]) for name in sets]
    if rule.prefix is not None:
        parts.append(f"{there} {rule.prefix}")
    return [" ".join(parts)]


def set_name(group_id: str, version: int, *, networks: bool) -> str:
    """The set of a group's addresses, or networks, of one IP version."""
    return f"{'net' if networks else 'ip'}{version}_{_word(group_id)}"


def group_chain(group_id: str, direction: str) -> str:
    """The chain of a group's rules."""
    return f"group_{direction}_{_word(group_id)}"


def guest_chain(tap: str, direction: str) -> str:
    """The chain that decides over a guest's packets."""
    return f"guest_{direction}_{_word(tap)}"


def _word(text: str) -> str:
    """Text as a part of a name of nft's. Ids and taps stay different from each other."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text)


# --- without nft -----------------------------------------------------------------------------------------------------


def permits(rules: Iterable[Rule], direction: str, packet: Packet, members: Members) -> bool:
    """Whether one of the rules lets a new connection's packet pass."""
    return any(_matches(rule, direction, packet, members) for rule in rules)


def _matches(rule: Rule, direction: str, packet: Packet, members: Members) -> bool:
    if rule.direction != direction or rule.version != packet.version:
        return False
    if rule.protocol is not None and rule.protocol != packet.protocol:
        return False
    if rule.protocol in WITH_PORTS and rule.low is not None:
        high = rule.low if rule.high is None else rule.high
        if not rule.low <= packet.port <= high:
            return False
    if rule.protocol in (ICMP, ICMPV6) and rule.low not in (None, packet.icmp_type):
        return False
    if rule.protocol in (ICMP, ICMPV6) and rule.high not in (None, packet.icmp_code):
        return False
    there = packet.source if direction == INGRESS else packet.destination
    if rule.remote_group is not None:
        group = members.get(rule.remote_group, ())
        return there in group or any("/" in member and _in(there, member) for member in group)
    return rule.prefix is None or _in(there, rule.prefix)


def _in(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)  # False for another IP version
