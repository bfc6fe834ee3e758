"""Which addresses of its port a guest comes to by itself, and how: pure.

DHCP gives a guest one IPv4 address of its port and, in one message, an IPv6 address of each subnet; in others the guest
makes its addresses of an advertised prefix and its MAC. What is left is for its owner to set up inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, IPv6Network

import msgspec

from cove.compute.network_api import FixedIp, Subnet

DHCP, DHCPV6, SLAAC = "DHCP", "DHCPv6", "SLAAC"
_MADE_BY_HOSTS = frozenset({"slaac", "dhcpv6-stateless"})
_STATEFUL = "dhcpv6-stateful"


class Expected(msgspec.Struct, frozen=True):
    """Addresses of which a guest gets one, and how."""

    by: str
    addresses: tuple[str, ...]

    def __str__(self) -> str:
        """For people."""
        return f"{' or '.join(self.addresses)} ({self.by})"


def expected_addresses(fixed_ips: Iterable[FixedIp], subnets: Sequence[Subnet], mac_address: str) -> list[Expected]:
    """What a guest with this MAC gets, where the subnets' DHCP server and advertisements are all that there is."""
    by_id = {subnet.id: subnet for subnet in subnets}
    four: list[str] = []
    six: dict[str, list[str]] = {}
    made: list[Expected] = []
    for fixed in fixed_ips:
        subnet = by_id.get(fixed.subnet_id)
        if subnet is None or not subnet.enable_dhcp:
            continue
        if subnet.ip_version == 4:
            four.append(fixed.ip_address)
        elif subnet.ipv6_ra_mode in _MADE_BY_HOSTS:
            if IPv6Address(fixed.ip_address) == eui64_address(subnet.cidr, mac_address):
                made.append(Expected(SLAAC, (fixed.ip_address,)))
        elif subnet.ipv6_ra_mode == subnet.ipv6_address_mode == _STATEFUL:
            six.setdefault(subnet.id, []).append(fixed.ip_address)
    found = [Expected(DHCP, tuple(four))] if four else []
    return [*found, *(Expected(DHCPV6, tuple(addresses)) for addresses in six.values()), *made]


def eui64_address(cidr: str, mac_address: str) -> IPv6Address | None:
    """The address that a host with the MAC makes in a /64 (RFC 4291, appendix A); None in another prefix."""
    network = IPv6Network(cidr)
    if network.prefixlen != 64:
        return None
    octets = bytes.fromhex(mac_address.replace(":", ""))
    interface = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return network.network_address + int.from_bytes(interface)


def missing(expected: Iterable[Expected], present: Iterable[str]) -> list[Expected]:
    """What of it a guest with these addresses does not have (yet)."""
    there = set(present)
    return [group for group in expected if there.isdisjoint(group.addresses)]


def strangers(expected: Sequence[Expected], present: Iterable[str]) -> list[str]:
    """IPv4 addresses that nobody but our DHCP server can have given, and that it should not have."""
    mine = {address for group in expected if group.by == DHCP for address in group.addresses}
    return [address for address in present if mine and ":" not in address and address not in mine]
