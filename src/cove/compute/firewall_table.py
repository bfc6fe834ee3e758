"""The firewall's nftables tables as a value: each change of it returns the commands that bring the kernel along. Pure.

    frame from a tap ── iifname vmap @from_guests ──▶ guest_egress_<tap> ──▶ group_egress_<group> … ──▶ drop
    frame to a tap   ── oifname vmap @to_guests ────▶ guest_ingress_<tap> ─▶ group_ingress_<group> … ─▶ drop

A frame costs one look-up however many guests there are. The rules of a group are written once, whoever is in it; the
addresses of a remote group are sets, to which an address is added by itself: each change costs what changes. What a
guest needs to live (ARP, DHCP, neighbour discovery, router advertisements) passes before any rule; the anti-spoofing
rules, which come first of all, see to it that no guest can be the source of another's DHCP answers or advertisements.

Connections are tracked by the kernel. Where its bridges do so themselves (nf_conntrack_bridge), rules ask `ct state`.
Where they don't, but hand frames to the IP hooks (br_netfilter), chains there track the connection and note its state
in two bits of the packet's mark, which the rules ask for. Each bridge is a conntrack zone of its own: the same
addresses on two networks are not the same connection.
"""

from __future__ import annotations

import enum
import ipaddress
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cove.compute.firewall_rules import (
    EGRESS,
    INGRESS,
    Guest,
    Rule,
    expressions,
    group_chain,
    guest_chain,
    set_name,
)

ELEMENTS_A_LINE = 500
ZONE_MAX = 65535

KNOWN_BIT, INVALID_BIT = 0x00400000, 0x00800000
STATE_BITS = KNOWN_BIT | INVALID_BIT
"""Bits of the packet's mark: part of a known connection (or related to one); not part of any, and not a new one."""

# The order on a bridge: anti-spoofing at -300, connection tracking at -200, hand-over to the IP hooks at -1 and 0.
ZONE_PRIORITY = -250
CLEAN_PRIORITY = -260
# Ours come after that: br_netfilter of some kernels (6.1) lets what is at its own priority, 0, go by unasked.
FROM_PRIORITY = 100
TO_PRIORITY = 100
IP_ZONE_PRIORITY = -300
IP_STATE_PRIORITY = -150

ALWAYS: Mapping[str, Sequence[str]] = {
    EGRESS: (
        "ether type arp accept",
        "meta protocol ip udp sport 68 udp dport 67 accept",
        "meta protocol ip6 udp sport 546 udp dport 547 accept",
        # Listener reports and done, router solicitation, neighbour solicitation and advertisement.
        "meta protocol ip6 icmpv6 type { 131, 132, 133, 135, 136, 143 } accept",
    ),
    INGRESS: (
        "ether type arp accept",
        "meta protocol ip udp sport 67 udp dport 68 accept",
        "meta protocol ip6 udp sport 547 udp dport 546 accept",
        # Listener query, router advertisement, neighbour solicitation and advertisement.
        "meta protocol ip6 icmpv6 type { 130, 134, 135, 136 } accept",
    ),
}
"""What passes for every guest, whatever its groups."""


class Tracking(enum.Enum):
    """Who tracks connections."""

    BRIDGE = "bridge"
    IP_HOOKS = "ip hooks"


@dataclass(slots=True)
class _Group:
    """Of a group that guests are in: its rules and, by tap, who they are."""

    rules: tuple[Rule, ...] = ()
    guests: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Remote:
    """Of a group that rules name: how many ports have each address or network, and the groups whose rules they are."""

    count: Counter[str] = field(default_factory=Counter)
    users: set[str] = field(default_factory=set)

    @property
    def networks(self) -> dict[int, list[str]]:
        """The networks by IP version, without those within others: nft's intervals must not overlap."""
        found: dict[int, list[str]] = {4: [], 6: []}
        ipv4 = [ipaddress.IPv4Network(text) for text in self.count if "/" in text and ":" not in text]
        ipv6 = [ipaddress.IPv6Network(text) for text in self.count if "/" in text and ":" in text]
        found[4] = [str(network) for network in ipaddress.collapse_addresses(ipv4)]
        found[6] = [str(network) for network in ipaddress.collapse_addresses(ipv6)]
        return found

    def change(self, more: Mapping[str, int]) -> tuple[list[str], list[str]]:
        """So many more ports, or fewer, have each of these; returns which have come, and which have gone."""
        come: list[str] = []
        gone: list[str] = []
        for address, number in more.items():
            before = self.count[address]
            after = max(0, before + number)
            if after:
                self.count[address] = after
            else:
                del self.count[address]
            if bool(before) != bool(after):
                (come if after else gone).append(address)
        return come, gone


class FirewallTable:
    """What is, or is to be, in force. Rules and members of groups are given before the guests that are in them."""

    def __init__(self, name: str, tracking: Tracking) -> None:
        self.name = name
        self.tracking = tracking
        self.guests: dict[str, Guest] = {}
        self._groups: dict[str, _Group] = {}
        self._remotes: dict[str, _Remote] = {}
        self._zones: dict[str, int] = {}
        self.losses = 0
        """Counts changes by which connections may have become such as could not begin now."""

    # --- what is in it -----------------------------------------------------------------------------------------------

    @property
    def groups(self) -> set[str]:
        """The groups that guests are in: their rules are to be told."""
        return set(self._groups)

    @property
    def remotes(self) -> set[str]:
        """The groups that rules name: their members are to be told."""
        return set(self._remotes)

    def rules(self, group_id: str) -> tuple[Rule, ...]:
        """The rules of a group as they are in force."""
        group = self._groups.get(group_id)
        return () if group is None else group.rules

    def rules_of(self, guest: Guest) -> list[Rule]:
        """All rules for a guest."""
        return [rule for group_id in guest.groups for rule in self.rules(group_id)]

    def members(self, group_id: str) -> set[str]:
        """The addresses and networks of a remote group as they are in force."""
        remote = self._remotes.get(group_id)
        return set() if remote is None else set(remote.count)

    def zone(self, bridge: str) -> int | None:
        """The conntrack zone of a bridge with guests."""
        return self._zones.get(bridge)

    @property
    def bridges(self) -> set[str]:
        """The bridges with guests."""
        return set(self._zones)

    def zones(self) -> set[int]:
        """The conntrack zones of all bridges with guests."""
        return set(self._zones.values())

    def elements(self) -> dict[str, set[str]]:
        """The keys of the maps and sets by which frames find their rules, by nft's name of each."""
        found = {f"map bridge {self.name} {verdicts}": set(self.guests) for verdicts in _VERDICTS}
        if self.tracking is Tracking.IP_HOOKS:
            found[f"set inet {self.name} bridges"] = self.bridges
        return found

    def same_as(self, other: FirewallTable) -> bool:
        """Whether both say the same about every packet."""
        return (
            self.guests == other.guests
            and {group_id: group.rules for group_id, group in self._groups.items()}
            == {group_id: group.rules for group_id, group in other._groups.items()}
            and {group_id: remote.count for group_id, remote in self._remotes.items()}
            == {group_id: remote.count for group_id, remote in other._remotes.items()}
        )

    # --- changes -----------------------------------------------------------------------------------------------------

    def put_guest(self, guest: Guest) -> list[str]:
        """Guard a guest, or change how. Its groups exist from now on, without rules until these are told."""
        old = self.guests.get(guest.tap)
        if old == guest:
            return []
        self.guests[guest.tap] = guest
        # Who comes to an address is not whom the connections were for that its former owner had.
        come = set(guest.addresses) - set(() if old is None else old.addresses)
        self.losses += bool(come or (old is not None and set(old.groups) - set(guest.groups)))
        lines: list[str] = []
        for group_id in guest.groups:
            if group_id not in self._groups:
                self._groups[group_id] = _Group()
                lines += self._group_lines(group_id)
            self._groups[group_id].guests.add(guest.tap)
        if guest.bridge not in self._zones:
            self._zones[guest.bridge] = self._free_zone(guest.bridge)
            lines += self._zone_lines("add", guest.bridge, self._zones[guest.bridge])
        lines += self._guest_lines(guest)
        if old is not None:
            lines += self._leave(old, set(old.groups) - set(guest.groups))
        return lines

    def drop_guest(self, tap: str) -> list[str]:
        """A guest is gone; one that is not known is no error."""
        guest = self.guests.pop(tap, None)
        if guest is None:
            return []
        lines = [
            f"delete element bridge {self.name} {verdicts} {{ {_jump(tap, direction)} }}"
            for verdicts, direction in (("from_guests", EGRESS), ("to_guests", INGRESS))
        ]
        lines += [self._chain(verb, guest_chain(tap, d)) for d in (EGRESS, INGRESS) for verb in ("flush", "delete")]
        return lines + self._leave(guest, guest.groups)

    def put_rules(self, group_id: str, rules: Iterable[Rule]) -> list[str]:
        """The rules of a group that guests are in; for another one, nothing. New remote groups exist from now on."""
        group = self._groups.get(group_id)
        new = tuple(rules)
        if group is None or group.rules == new:
            return []
        named = {rule.remote_group for rule in new if rule.remote_group is not None}
        before = {rule.remote_group for rule in group.rules if rule.remote_group is not None}
        self.losses += not set(group.rules) <= set(new)
        group.rules = new
        lines: list[str] = []
        for remote_id in sorted(named):
            if remote_id not in self._remotes:
                self._remotes[remote_id] = _Remote()
                lines += self._set_lines("add", remote_id)
            self._remotes[remote_id].users.add(group_id)
        lines += self._group_lines(group_id)
        for remote_id in sorted(before - named):
            lines += self._forget_remote(remote_id, group_id)
        return lines

    def change_members(self, group_id: str, plus: Iterable[str], minus: Iterable[str] = ()) -> list[str]:
        """Ports came into a remote group, or left it, with these addresses and networks; for another one, nothing."""
        remote = self._remotes.get(group_id)
        if remote is None:
            return []
        change = Counter(plus)
        change.subtract(minus)
        # Networks are few; only of them the whole must be looked at, as one may hide in another.
        networks = any("/" in address for address in change)
        networks_before = remote.networks if networks else {}
        come, gone = remote.change(change)
        self.losses += bool(gone)
        networks_after = remote.networks if networks else {}
        lines: list[str] = []
        for version in (4, 6):
            name = set_name(group_id, version, networks=False)
            for verb, addresses in (("delete", gone), ("add", come)):
                lines += self._element_lines(
                    verb, name, (a for a in addresses if _version(a) == version and "/" not in a)
                )
            name = set_name(group_id, version, networks=True)
            old, new = set(networks_before.get(version, ())), set(networks_after.get(version, ()))
            lines += self._element_lines("delete", name, old - new) + self._element_lines("add", name, new - old)
        return lines

    def set_members(self, group_id: str, addresses: Iterable[str]) -> list[str]:
        """The addresses and networks of all ports of a remote group: each as often as there are ports that have it."""
        remote = self._remotes.get(group_id)
        if remote is None:
            return []
        wanted = Counter(addresses)
        return self.change_members(group_id, (wanted - remote.count).elements(), (remote.count - wanted).elements())

    # --- everything --------------------------------------------------------------------------------------------------

    def whole(self) -> list[str]:
        """Commands that make the kernel's tables exactly this, whatever was there."""
        lines = [*self.nothing(), *self._base_lines()]
        for remote_id, remote in self._remotes.items():
            lines += self._set_lines("add", remote_id)
            for version in (4, 6):
                addresses = [a for a in remote.count if "/" not in a and _version(a) == version]
                lines += self._element_lines("add", set_name(remote_id, version, networks=False), addresses)
                networks = remote.networks[version]
                lines += self._element_lines("add", set_name(remote_id, version, networks=True), networks)
        for group_id in self._groups:
            lines += self._group_lines(group_id)
        for bridge, zone in self._zones.items():
            lines += self._zone_lines("add", bridge, zone)
        for guest in self.guests.values():
            lines += self._guest_lines(guest)
        return lines

    def nothing(self) -> list[str]:
        """Commands that remove the tables, whatever is there."""
        return [f"{verb} table {family} {self.name}" for family in ("bridge", "inet") for verb in ("add", "delete")]

    def _base_lines(self) -> list[str]:
        name = self.name
        lines = [f"add table bridge {name}"]
        lines += [f"add map bridge {name} {verdicts} {{ type ifname : verdict; }}" for verdicts in _VERDICTS]
        for direction, rules in ALWAYS.items():
            lines.append(self._chain("add", f"always_{direction}"))
            lines += [f"add rule bridge {name} always_{direction} {rule}" for rule in rules]
        for chain, hook, priority, rule in _HOOKS:
            lines.append(_base_chain("bridge", name, chain, hook, priority))
            lines.append(f"add rule bridge {name} {chain} {rule}")
        if self.tracking is Tracking.BRIDGE:
            lines.append(f"add map bridge {name} zones {{ typeof meta ibrname : ct zone; }}")
            lines.append(_base_chain("bridge", name, "zone", "prerouting", ZONE_PRIORITY))
            lines.append(f"add rule bridge {name} zone ct zone set meta ibrname map @zones")
            return lines
        # Nothing but the chains below may say what the state of a packet is.
        forget = f"meta mark set meta mark & {0xFFFFFFFF ^ STATE_BITS:#010x}"
        lines.append(_base_chain("bridge", name, "clean", "prerouting", CLEAN_PRIORITY))
        lines.append(f"add rule bridge {name} clean {forget}")
        lines.append(f"add table inet {name}")
        lines.append(f"add map inet {name} zones {{ typeof iifname : ct zone; }}")
        lines.append(f"add set inet {name} bridges {{ type ifname; }}")
        # A bridge's frames have the bridge as their device here, as the host's own have, that go over it.
        for way, device, hook in (("in", "iifname", "prerouting"), ("out", "oifname", "output")):
            lines.append(_base_chain("inet", name, f"zone_{way}", hook, IP_ZONE_PRIORITY))
            lines.append(f"add rule inet {name} zone_{way} ct zone set {device} map @zones")
            lines.append(_base_chain("inet", name, f"state_{way}", hook, IP_STATE_PRIORITY))
            lines += [
                f"add rule inet {name} state_{way} {rule}"
                for rule in (
                    f"{device} != @bridges return",
                    forget,
                    f"ct state established,related meta mark set meta mark | {KNOWN_BIT:#010x}",
                    f"ct state invalid meta mark set meta mark | {INVALID_BIT:#010x}",
                )
            ]
        return lines

    # --- parts -------------------------------------------------------------------------------------------------------

    def _guest_lines(self, guest: Guest) -> list[str]:
        lines: list[str] = []
        for verdicts, direction in (("from_guests", EGRESS), ("to_guests", INGRESS)):
            chain = guest_chain(guest.tap, direction)
            rules = [f"jump always_{direction}"]
            if guest.stateful:
                rules = [f"{self._state(KNOWN_BIT)} accept", *rules, f"{self._state(INVALID_BIT)} drop"]
            rules += [f"jump {group_chain(group_id, direction)}" for group_id in guest.groups]
            lines += [self._chain("add", chain), self._chain("flush", chain)]
            lines += [f"add rule bridge {self.name} {chain} {rule}" for rule in (*rules, "drop")]
            lines.append(f"add element bridge {self.name} {verdicts} {{ {_jump(guest.tap, direction)} }}")
        return lines

    def _state(self, bit: int) -> str:
        if self.tracking is Tracking.BRIDGE:
            return "ct state established,related" if bit == KNOWN_BIT else "ct state invalid"
        return f"meta mark & {STATE_BITS:#010x} == {bit:#010x}"

    def _group_lines(self, group_id: str) -> list[str]:
        lines: list[str] = []
        for direction in (EGRESS, INGRESS):
            chain = group_chain(group_id, direction)
            lines += [self._chain("add", chain), self._chain("flush", chain)]
            for rule in self._groups[group_id].rules:
                if rule.direction == direction:
                    lines += [f"add rule bridge {self.name} {chain} {words} accept" for words in expressions(rule)]
        return lines

    def _leave(self, guest: Guest, group_ids: Iterable[str]) -> list[str]:
        """A guest is in these groups no more, or is gone: what nobody uses any longer goes too."""
        lines: list[str] = []
        for group_id in sorted(group_ids):
            group = self._groups[group_id]
            group.guests.discard(guest.tap)
            if group.guests:
                continue
            del self._groups[group_id]
            chains = [group_chain(group_id, direction) for direction in (EGRESS, INGRESS)]
            lines += [self._chain(verb, chain) for chain in chains for verb in ("flush", "delete")]
            for remote_id in sorted({rule.remote_group for rule in group.rules if rule.remote_group is not None}):
                lines += self._forget_remote(remote_id, group_id)
        if all(other.bridge != guest.bridge for other in self.guests.values()):
            zone = self._zones.pop(guest.bridge, None)
            lines += self._zone_lines("delete", guest.bridge, zone) if zone is not None else []
        return lines

    def _forget_remote(self, remote_id: str, user: str) -> list[str]:
        remote = self._remotes[remote_id]
        remote.users.discard(user)
        if remote.users:
            return []
        del self._remotes[remote_id]
        return self._set_lines("delete", remote_id)

    def _set_lines(self, verb: str, group_id: str) -> list[str]:
        lines: list[str] = []
        for version in (4, 6):
            kind = f"type ipv{version}_addr;"
            for networks, flags in ((False, ""), (True, " flags interval;")):
                what = f"{verb} set bridge {self.name} {set_name(group_id, version, networks=networks)}"
                lines.append(f"{what} {{ {kind}{flags} }}" if verb == "add" else what)
        return lines

    def _zone_lines(self, verb: str, bridge: str, zone: int) -> list[str]:
        if self.tracking is Tracking.BRIDGE:
            return [f'{verb} element bridge {self.name} zones {{ "{bridge}" : {zone} }}']
        return [
            f'{verb} element inet {self.name} zones {{ "{bridge}" : {zone} }}',
            f'{verb} element inet {self.name} bridges {{ "{bridge}" }}',
        ]

    def _free_zone(self, bridge: str) -> int:
        """The same for a bridge at each start of Cove, so that its connections go on; unless two want the same."""
        zone = zlib.crc32(bridge.encode()) % ZONE_MAX
        taken = set(self._zones.values())
        while zone + 1 in taken:
            zone = (zone + 1) % ZONE_MAX
        return zone + 1

    def _element_lines(self, verb: str, name: str, elements: Iterable[str]) -> list[str]:
        wanted = sorted(elements)
        return [
            f"{verb} element bridge {self.name} {name} {{ {', '.join(wanted[i : i + ELEMENTS_A_LINE])} }}"
            for i in range(0, len(wanted), ELEMENTS_A_LINE)
        ]

    def _chain(self, verb: str, chain: str) -> str:
        return f"{verb} chain bridge {self.name} {chain}"


_VERDICTS = ("from_guests", "to_guests")
_HOOKS = (
    ("from", "prerouting", FROM_PRIORITY, "iifname vmap @from_guests"),
    ("to", "forward", TO_PRIORITY, "oifname vmap @to_guests"),
    ("to_from_host", "output", TO_PRIORITY, "oifname vmap @to_guests"),
)


def _base_chain(family: str, table: str, chain: str, hook: str, priority: int) -> str:
    return f"add chain {family} {table} {chain} {{ type filter hook {hook} priority {priority}; policy accept; }}"


def _jump(tap: str, direction: str) -> str:
    return f'"{tap}" : jump {guest_chain(tap, direction)}'


def _version(address: str) -> int:
    return 6 if ":" in address else 4
