"""Anti-spoofing: what a guest may send is bound to its port's MAC and IP addresses, in nftables' bridge family.

One table per Cove. Its base chain looks a frame's input device up in a map, so a frame costs one look-up however many
guests there are; each guest has a chain of its own, which accepts what is right and drops the rest. It runs before the
bridge learns the sender's MAC. A guest's chain comes and goes in one nft transaction; frames never meet half of one.

    base chain ── iifname vmap @guests ──▶ chain of the guest's tap ──▶ accept | drop
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from cove.errors import CoveError

log = structlog.get_logger(__name__)

NFT = "nft"
NFT_TIMEOUT_S = 20.0
_UNSPECIFIED = str(ipaddress.IPv4Address(0))
_TAP = re.compile(r"^[A-Za-z0-9_.-]{1,15}$")
_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")


class SpoofGuardError(CoveError):
    """The rules could not be put in force."""


@dataclass(frozen=True, slots=True)
class GuestRules:
    """What a guest behind this tap may call itself."""

    tap: str
    mac_address: str
    ip_addresses: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _TAP.fullmatch(self.tap):
            raise SpoofGuardError(f"tap {self.tap!r}: no name of a device")
        if not _MAC.fullmatch(self.mac_address):
            raise SpoofGuardError(f"mac_address {self.mac_address!r}: six lower-case bytes as aa:bb:… wanted")
        for address in self.ip_addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise SpoofGuardError(f"ip_address {address!r}: no IP address") from None

    @property
    def ipv4(self) -> list[str]:
        """The IPv4 addresses."""
        return [address for address in self.ip_addresses if "." in address]

    @property
    def ipv6(self) -> list[str]:
        """The IPv6 addresses, the link-local one that follows from the MAC among them."""
        fixed = [str(ipaddress.IPv6Address(address)) for address in self.ip_addresses if ":" in address]
        return [link_local(self.mac_address), *fixed]


def link_local(mac_address: str) -> str:
    """The IPv6 link-local address made from a MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac_address.replace(":", ""))
    interface = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(bytes.fromhex("fe80000000000000") + interface))


def chain_rules(rules: GuestRules) -> list[str]:
    """The rules of a guest's chain, in nft's language. Every frame ends in accept or drop."""
    mac = rules.mac_address
    ipv4 = ", ".join(rules.ipv4)
    arp_senders = ", ".join([_UNSPECIFIED, *rules.ipv4])
    ipv6 = ", ".join(rules.ipv6)
    targets = ", ".join(f"{int(ipaddress.IPv6Address(address)):#034x}" for address in rules.ipv6)
    ethernet_arp = "arp htype 1 arp ptype ip arp hlen 6 arp plen 4"
    lines = [
        f"ether saddr != {mac} drop",
        # A tag hides nothing from the rules below, but gets a frame into a network that is not the port's.
        "ether type { vlan, 8021ad } drop",
        # An ARP sender of 0.0.0.0 is a probe (RFC 5227): it claims nothing.
        f"{ethernet_arp} arp saddr ether {mac} arp saddr ip {{ {arp_senders} }} accept",
        f"ip saddr {_UNSPECIFIED} udp sport 68 udp dport 67 accept",
        # No DHCP answers, no router advertisements, no redirects, no claims to others' IPv6 addresses.
        "udp sport { 67, 547 } drop",
        "icmpv6 type { nd-router-advert, nd-redirect } drop",
        f"icmpv6 type nd-neighbor-advert @th,64,128 != {{ {targets} }} drop",
    ]
    if ipv4:
        lines.append(f"ip saddr {{ {ipv4} }} accept")
    lines.append(f"ip6 saddr {{ ::, {ipv6} }} accept")
    lines.append("drop")
    return lines


class SpoofGuard:
    """The table of one Cove. Names differ between Coves on the same host."""

    def __init__(self, state_dir: Path, *, namespace: str | None = None) -> None:
        mark = hashlib.sha256(str(state_dir.absolute()).encode()).hexdigest()[:8]
        self.table = f"cove_guard_{mark}"
        self._namespace = namespace
        self._guests: dict[str, GuestRules] = {}
        self._lock = asyncio.Lock()

    async def reset(self, guests: Iterable[GuestRules]) -> None:
        """Make the table hold exactly these guests, in one transaction. Raises SpoofGuardError."""
        async with self._lock:
            self._guests = {rules.tap: rules for rules in guests}
            await self._apply(self._whole_table())

    async def add(self, rules: GuestRules) -> None:
        """Bind a guest to its addresses (again, if it is bound already). Raises SpoofGuardError."""
        async with self._lock:
            self._guests[rules.tap] = rules
            try:
                await self._apply(self._guest(rules))
            except SpoofGuardError:
                # Somebody has flushed the rules: the whole table is made anew, or the error is real.
                await self._apply(self._whole_table())

    async def remove(self, tap: str) -> None:
        """Forget a guest; one that is not known is no error. Raises SpoofGuardError."""
        async with self._lock:
            if self._guests.pop(tap, None) is None:
                return
            chain = _chain(tap)
            # Adding first makes the removal succeed whatever is there.
            lines = [f"add chain bridge {self.table} {chain}"]
            lines += [f"{verb} element bridge {self.table} guests {{ {_element(tap)} }}" for verb in ("add", "delete")]
            lines += [f"{verb} chain bridge {self.table} {chain}" for verb in ("flush", "delete")]
            try:
                await self._apply(lines)
            except SpoofGuardError as error:
                log.info("spoofguard.remove", tap=tap, error=str(error))
                await self._apply(self._whole_table())

    async def destroy(self) -> None:
        """Remove the table."""
        async with self._lock:
            self._guests.clear()
            await self._apply([f"add table bridge {self.table}", f"delete table bridge {self.table}"])

    def _whole_table(self) -> list[str]:
        lines = [f"add table bridge {self.table}", f"delete table bridge {self.table}"]
        lines += [f"add table bridge {self.table}"]
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

    async def _apply(self, lines: list[str]) -> None:
        argv = [NFT, "-f", "-"]
        if self._namespace is not None:
            argv = ["ip", "netns", "exec", self._namespace, *argv]
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
        except FileNotFoundError:
            raise SpoofGuardError(f"{argv[0]} is not installed: apt-get install nftables") from None
        script = "".join(f"{line}\n" for line in lines).encode()
        try:
            _, err = await asyncio.wait_for(process.communicate(script), NFT_TIMEOUT_S)
        except TimeoutError:
            raise SpoofGuardError(f"nft: no end after {NFT_TIMEOUT_S:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            words = " ".join(err.decode(errors="replace").split())[:300]
            raise SpoofGuardError(f"nft refused the rules of table {self.table}: {words}")


def _chain(tap: str) -> str:
    return "guest_" + re.sub(r"[^A-Za-z0-9_]", "_", tap)


def _element(tap: str) -> str:
    return f'"{tap}" : jump {_chain(tap)}'
