"""How each subnet is served, as dnsmasq's `--dhcp-range`: the table of IPv6 modes. Pure.

`ipv6_ra_mode` says what is advertised to hosts and `ipv6_address_mode` what they get; Neutron takes the two only
alike or one alone. Where ra_mode is set, nobody but the DHCP server is there to advertise (there are no routers);
where it is not, advertisements come from outside. Sources: Neutron's IPv6 documentation, dnsmasq(8), RFC 4861 (M, O).

| ra_mode | address_mode | advertised | by DHCPv6 |
| --- | --- | --- | --- |
| – | – | – | addresses |
| – | slaac | – | – |
| – | dhcpv6-stateless | – | options |
| – | dhcpv6-stateful | – | addresses |
| slaac | slaac or – | prefix to make addresses in | – |
| dhcpv6-stateless | dhcpv6-stateless or – | that prefix, O | options |
| dhcpv6-stateful | dhcpv6-stateful | prefix, M, O | addresses |
| dhcpv6-stateful | – | prefix, M, O | somebody else's addresses |
"""

from __future__ import annotations

from collections.abc import Sequence

from cove.dhcp.models import SLAAC, SLAAC_PREFIX_LENGTH, STATEFUL, STATELESS, SubnetInfo, network_of

STATIC = "static"
"""For reservations only."""
RA_ONLY = "ra-only"
"""Advertised, and no DHCP."""

# (ra_mode, address_mode) → dnsmasq's mode of the range; None: no range.
RANGE_MODES: dict[tuple[str | None, str | None], str | None] = {
    (None, None): STATIC,
    (None, SLAAC): None,
    (None, STATELESS): STATIC,
    (None, STATEFUL): STATIC,
    (SLAAC, SLAAC): RA_ONLY,
    (SLAAC, None): RA_ONLY,
    (STATELESS, STATELESS): "ra-stateless",
    (STATELESS, None): "ra-stateless",
    (STATEFUL, STATEFUL): STATIC,
    (STATEFUL, None): STATIC,
}
# Modes whose lines in the lease file are for addresses of ours.
RESERVING = frozenset({(None, None), (None, STATEFUL), (STATEFUL, STATEFUL)})

NOBODYS_RANGE = "set:nobody,100::,static,64"
"""A range in which nobody is (RFC 6666): without one for DHCP, dnsmasq reads neither reservations nor options."""


def modes(subnet: SubnetInfo) -> tuple[str | None, str | None]:
    """The subnet's modes as a key of RANGE_MODES: where they contradict each other, what is advertised counts."""
    found = (subnet.ipv6_ra_mode, subnet.ipv6_address_mode)
    return found if found in RANGE_MODES else (subnet.ipv6_ra_mode, subnet.ipv6_ra_mode)


def range_mode(subnet: SubnetInfo) -> str | None:
    """dnsmasq's mode for the subnet's range; None if it has none. What dnsmasq cannot serve has none either."""
    if subnet.ip_version == 4:
        return STATIC
    mode = RANGE_MODES[modes(subnet)]
    length = network_of(subnet).prefixlen
    fits = length >= SLAAC_PREFIX_LENGTH if mode == STATIC else length == SLAAC_PREFIX_LENGTH
    return mode if fits else None


def is_advertised(subnet: SubnetInfo) -> bool:
    """Whether we send router advertisements for the subnet."""
    return subnet.ip_version == 6 and subnet.ipv6_ra_mode is not None and range_mode(subnet) is not None


def reserves_ipv6(subnet: SubnetInfo) -> bool:
    """Whether hosts of the IPv6 subnet get their addresses from us by DHCPv6."""
    return subnet.ip_version == 6 and modes(subnet) in RESERVING and range_mode(subnet) is not None


def answers_dhcpv6(subnet: SubnetInfo) -> bool:
    """Whether DHCPv6 is answered in the subnet at all, be it for options only."""
    return subnet.ip_version == 6 and range_mode(subnet) not in {None, RA_ONLY}


def dhcp_ranges(subnets: Sequence[SubnetInfo], lease_duration_s: int) -> list[str]:
    """The `--dhcp-range`s of the subnets, by id."""
    force = forces_advertisement(subnets)
    ranges = []
    for subnet in sorted(subnets, key=lambda subnet: subnet.id):
        mode, network = range_mode(subnet), network_of(subnet)
        if mode is None:
            continue
        if network.version == 4:
            size = str(network.netmask)
        else:
            size = str(network.prefixlen)
            if force and not is_advertised(subnet):
                mode += ",off-link"  # it is told of all the same, but in a form that says nothing
        ranges.append(f"set:subnet-{subnet.id},{network.network_address},{mode},{size},{lease_duration_s}s")
    if all(range_mode(subnet) in {None, RA_ONLY} for subnet in subnets):
        ranges.append(NOBODYS_RANGE)
    return ranges


def forces_advertisement(subnets: Sequence[SubnetInfo]) -> bool:
    """Whether a range is to be advertised that dnsmasq does not advertise by its mode (`--enable-ra`)."""
    return any(is_advertised(subnet) and range_mode(subnet) == STATIC for subnet in subnets)
