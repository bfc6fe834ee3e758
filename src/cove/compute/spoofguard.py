"""Anti-spoofing: what a guest may send is bound to its port's MAC and IP addresses, in nftables' bridge family.

One table per Cove. Its base chain looks a frame's input device up in a map, so a frame costs one look-up however many
guests there are; each guest has a chain of its own, which accepts what is right and drops the rest. It runs before the
bridge learns the sender's MAC. A guest's chain comes and goes in one nft transaction; frames never meet half of one.

    base chain ── iifname vmap @guests ──▶ chain of the guest's tap ──▶ accept | drop
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import NamedTuple

import structlog

from cove.compute import nft
from cove.compute.nft import NftError
from cove.errors import CoveError

log = structlog.get_logger(__name__)

_UNSPECIFIED_4, _UNSPECIFIED_6 = IPv4Address(0), "::"
_TAP = re.compile(r"^[A-Za-z0-9_.-]{1,15}$")
_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
_ARP = "arp htype 1 arp ptype ip arp hlen 6 arp plen 4"
# What a host says of itself before it has an address: looking for a router, and for whom it is to be sent.
_FROM_NOWHERE = "nd-router-solicit, mld-listener-report, mld-listener-done, mld2-listener-report"


class SpoofGuardError(CoveError):
    """The rules could not be put in force."""


@dataclass(frozen=True, slots=True)
class GuestRules:
    """What a guest behind this tap may call itself: its port's MAC with its addresses and, besides, `pairs` of a MAC
    (empty: the port's) and an address or CIDR.
    """

    tap: str
    mac_address: str
    ip_addresses: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not _TAP.fullmatch(self.tap):
            raise SpoofGuardError(f"tap {self.tap!r}: no name of a device")
        for mac in (self.mac_address, *(mac for mac, _ in self.pairs if mac)):
            if not _MAC.fullmatch(mac):
                raise SpoofGuardError(f"mac_address {mac!r}: six lower-case bytes as aa:bb:… wanted")
        for address in self.ip_addresses:
            try:
                ip_address(address)
            except ValueError:
                raise SpoofGuardError(f"ip_address {address!r}: no IP address") from None
        for _, address in self.pairs:
            try:
                ip_network(address, strict=False)
            except ValueError:
                raise SpoofGuardError(f"address pair {address!r}: no IP address, nor a CIDR") from None

    def claims(self) -> dict[str, Claims]:
        """What each MAC may claim, the port's own first. A link-local address follows from each."""
        networks: dict[str, list[IPv4Network | IPv6Network]] = {self.mac_address: []}
        for mac, address in (*((self.mac_address, address) for address in self.ip_addresses), *self.pairs):
            networks.setdefault(mac or self.mac_address, []).append(ip_network(address, strict=False))
        found = {}
        for mac, claimed in networks.items():
            four = collapse_addresses(network for network in claimed if isinstance(network, IPv4Network))
            own = IPv6Network(link_local(mac))
            six = collapse_addresses([own, *(network for network in claimed if isinstance(network, IPv6Network))])
            found[mac] = Claims(tuple(four), tuple(six))
        return found


class Claims(NamedTuple):
    """The networks that a MAC may say it has, none in another."""

    ipv4: tuple[IPv4Network, ...]
    ipv6: tuple[IPv6Network, ...]


def link_local(mac_address: str) -> str:
    """The IPv6 link-local address made from a MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac_address.replace(":", ""))
    interface = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(IPv6Address(bytes.fromhex("fe80000000000000") + interface))


def chain_rules(rules: GuestRules) -> list[str]:
    """The rules of a guest's chain, in nft's language. Every frame ends in accept or drop."""
    claims = rules.claims()
    lines = [
        f"ether saddr != {_choice(list(claims))} drop",
        # A tag hides nothing from the rules below, but gets a frame into a network that is not the port's.
        "ether type { vlan, 8021ad } drop",
        f"ip saddr {_UNSPECIFIED_4} udp sport 68 udp dport 67 accept",
        # Nothing that a DHCP server says, by either end of it; no router advertisements, no redirects.
        "udp sport { 67, 547 } drop",
        "udp dport { 68, 546 } drop",
        "icmpv6 type { nd-router-advert, nd-redirect } drop",
        f"ip6 saddr {_UNSPECIFIED_6} icmpv6 type {{ {_FROM_NOWHERE} }} accept",
    ]
    for mac, claimed in claims.items():
        lines += _claim_rules(f"ether saddr {mac} " if len(claims) > 1 else "", mac, claimed)
    lines.append("drop")
    return lines


def _claim_rules(only: str, mac: str, claimed: Claims) -> Iterable[str]:
    # An ARP sender of 0.0.0.0 is a probe (RFC 5227): it claims nothing.
    senders = collapse_addresses([IPv4Network(_UNSPECIFIED_4), *claimed.ipv4])
    yield f"{only}{_ARP} arp saddr ether {mac}{_among(' arp saddr ip', senders)} accept"
    if claimed.ipv4:
        yield f"{only}{_among('ip saddr', claimed.ipv4, everything='ether type ip')} accept"
    # Two ways to claim an IPv6 address: to say that one has it, and to ask, from nowhere, whether anybody else does.
    targets = _targets(claimed.ipv6)
    if targets:
        yield f"{only}icmpv6 type nd-neighbor-advert @th,64,128 != {targets} drop"
    asked = f" @th,64,128 {targets}" if targets else ""
    yield f"{only}ip6 saddr {_UNSPECIFIED_6} icmpv6 type nd-neighbor-solicit{asked} accept"
    yield f"{only}ip6 saddr {_UNSPECIFIED_6} drop"
    yield f"{only}{_among('ip6 saddr', claimed.ipv6, everything='ether type ip6')} accept"


def _choice(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"


def _among(field: str, networks: Iterable[IPv4Network | IPv6Network], *, everything: str = "") -> str:
    """A match of the field with the networks. nft has no set of all addresses: nothing is asked of the field then."""
    found = list(networks)
    if any(network.prefixlen == 0 for network in found):
        return everything
    texts = (str(network.network_address) if network.num_addresses == 1 else str(network) for network in found)
    return f"{field} {{ {', '.join(texts)} }}"


def _targets(networks: Iterable[IPv6Network]) -> str:
    """The networks as a set of the numbers that a neighbour message has behind its header; empty: all there are."""
    texts = []
    for network in networks:
        if network.prefixlen == 0:
            return ""
        first, last = (f"{int(address):#034x}" for address in (network[0], network[-1]))
        texts.append(first if first == last else f"{first}-{last}")
    return f"{{ {', '.join(texts)} }}"


class SpoofGuard:
    """The table of one Cove. Names differ between Coves on the same host."""

    def __init__(self, state_dir: Path, *, namespace: str | None = None) -> None:
        mark = hashlib.sha256(str(state_dir.absolute()).encode()).hexdigest()[:8]
        self.table = f"cove_guard_{mark}"
        self._namespace = namespace
        self._kept = nft.Kept(namespace)
        self._guests: dict[str, GuestRules] = {}
        self._there = False
        self._lock = asyncio.Lock()

    async def reset(self, guests: Iterable[GuestRules]) -> None:
        """Make the table hold exactly these guests, in one transaction. Raises SpoofGuardError."""
        async with self._holding():
            self._guests = {rules.tap: rules for rules in guests}
            self._there = True
            await self._kept.put(self._whole_table())

    async def add(self, rules: GuestRules) -> None:
        """Bind a guest to its addresses (again, if it is bound already). Raises SpoofGuardError."""
        async with self._holding():
            self._guests[rules.tap] = rules
            self._there = True
            await self._kept.change(self._guest(rules), self._whole_table)

    async def remove(self, tap: str) -> None:
        """Forget a guest; one that is not known is no error. Raises SpoofGuardError."""
        async with self._holding():
            if self._guests.pop(tap, None) is None:
                return
            chain = _chain(tap)
            # Adding first makes the removal succeed whatever is there.
            lines = [f"add chain bridge {self.table} {chain}"]
            lines += [f"{verb} element bridge {self.table} guests {{ {_element(tap)} }}" for verb in ("add", "delete")]
            lines += [f"{verb} chain bridge {self.table} {chain}" for verb in ("flush", "delete")]
            await self._kept.change(lines, self._whole_table)

    async def check(self) -> bool:
        """Whether what is in force still is; if not (somebody flushed it), it is made anew. Raises SpoofGuardError."""
        async with self._holding():
            if not self._there:
                return True
            fine = await self._kept.check({f"map bridge {self.table} guests": self._guests}, self._whole_table)
            if not fine:
                log.warning(
                    "spoofguard.check", table=self.table, what="the rules were not as they were made: made anew"
                )
            return fine

    async def destroy(self) -> None:
        """Remove the table."""
        async with self._holding():
            self._guests.clear()
            self._there = False
            self._kept.doubt()
            await nft.apply(self._no_table(), namespace=self._namespace)

    @contextlib.asynccontextmanager
    async def _holding(self) -> AsyncIterator[None]:
        """One change at a time, with errors of our own."""
        async with self._lock:
            try:
                yield
            except NftError as error:
                raise SpoofGuardError(f"table {self.table}: {error}") from error

    def _no_table(self) -> list[str]:
        return [f"add table bridge {self.table}", f"delete table bridge {self.table}"]

    def _whole_table(self) -> list[str]:
        lines = [*self._no_table(), f"add table bridge {self.table}"]
        lines += [f"add map bridge {self.table} guests {{ type ifname : verdict; }}"]
        hook = "{ type filter hook prerouting priority -300; policy accept; }"
        lines += [f"add chain bridge {self.table} base {hook}"]
        lines += [f"add rule bridge {self.table} base iifname vmap @guests"]
        for rules in self._guests.values():
            lines += self._guest(rules)
        return lines

    def _guest(self, rules: GuestRules) -> list[str]:
        chain = _chain(rules.tap)
        lines = [f"{verb} chain bridge {self.table} {chain}" for verb in ("add", "flush")]
        lines += [f"add rule bridge {self.table} {chain} {rule}" for rule in chain_rules(rules)]
        lines += [f"add element bridge {self.table} guests {{ {_element(rules.tap)} }}"]
        return lines


def _chain(tap: str) -> str:
    return "guest_" + re.sub(r"[^A-Za-z0-9_]", "_", tap)


def _element(tap: str) -> str:
    return f'"{tap}" : jump {_chain(tap)}'
