"""What the values of a subnet must keep, alone and together: the rules of Networking v2.0, without a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cove.network import errors, ipam
from cove.network.addresses import AUTOMATIC_MODES, is_automatic
from cove.network.ipam import IPNetwork, network_of
from cove.network.rows import Row

DNS_NAMESERVERS_MAX = 5
HOST_ROUTES_MAX = 20
DHCP_PREFIX_LENGTH_MAX = {4: 30, 6: 126}
MTU_MIN = {4: 68, 6: 1280}
"""Smallest MTU that an IP version works with, in bytes (RFC 791; RFC 8200, section 5)."""


def check_network(network: IPNetwork, ip_version: int) -> None:
    """Refuse a CIDR of the other IP version, and the one that is no prefix at all. Raises InvalidInput."""
    if network.version != ip_version:
        raise errors.InvalidInput(reason=f"cidr {network} does not match ip_version {ip_version}")
    if network.version == 6 and int(network.network_address) == 0:
        raise errors.InvalidInput(reason=f"cidr {network}: the prefix :: is not supported")


def check_dhcp(network: IPNetwork, enable_dhcp: bool) -> None:
    """Refuse networks in which no DHCP server can work. Raises InvalidInput."""
    if not enable_dhcp:
        return
    length_max = DHCP_PREFIX_LENGTH_MAX[network.version]
    reasons = (
        (network.prefixlen > length_max, f"its prefix is longer than /{length_max}"),
        (network.is_multicast, "it is a multicast network"),
        (network.is_loopback, "it is a loopback network"),
        (network.version == 4 and int(network.network_address) == 0, "its first address is 0.0.0.0"),
    )
    for applies, reason in reasons:
        if applies:
            raise errors.InvalidInput(reason=f"subnet {network} cannot have enable_dhcp: {reason}")


def check_ipv6_modes(ip_version: int, ra_mode: str | None, address_mode: str | None, enable_dhcp: bool) -> None:
    """Refuse modes of a subnet with IPv4 or without DHCP, and two that differ. Raises InvalidInput."""
    if ra_mode is None and address_mode is None:
        return
    if ip_version == 4:
        raise errors.InvalidInput(reason="ipv6_ra_mode and ipv6_address_mode are for ip_version 6")
    if not enable_dhcp:
        raise errors.InvalidInput(reason="ipv6_ra_mode and ipv6_address_mode need enable_dhcp to be true")
    if ra_mode is not None and address_mode is not None and ra_mode != address_mode:
        raise errors.InvalidInput(
            reason=f"ipv6_ra_mode {ra_mode} and ipv6_address_mode {address_mode} differ: "
            "give the same mode for both, or one of them only"
        )


def check_automatic(network: IPNetwork, row: Row) -> None:
    """Hosts make addresses in a /64 only (RFC 4862, section 5.5.3). Raises InvalidInput."""
    if is_automatic(row) and network.prefixlen != ipam.EUI64_PREFIX_LENGTH:
        raise errors.InvalidInput(
            reason=f"cidr {network}: with {' or '.join(sorted(AUTOMATIC_MODES))} "
            f"its prefix length must be {ipam.EUI64_PREFIX_LENGTH}"
        )


def check_lists(subnet_id: str, ip_version: int, values: Mapping[str, Any]) -> None:
    """Refuse too many name servers or routes, and those of the other IP version.

    Raises DNSNameServersExhausted, HostRoutesExhausted, InvalidInput.
    """
    servers, routes = values.get("dns_nameservers") or (), values.get("host_routes") or ()
    if len(servers) > DNS_NAMESERVERS_MAX:
        raise errors.DNSNameServersExhausted(subnet_id=subnet_id, quota=DNS_NAMESERVERS_MAX)
    if len(routes) > HOST_ROUTES_MAX:
        raise errors.HostRoutesExhausted(subnet_id=subnet_id, quota=HOST_ROUTES_MAX)
    for what, address in (
        *(("dns_nameservers", server) for server in servers),
        *(("host_routes", route[part]) for route in routes for part in ("nexthop", "destination")),
    ):
        if (":" in address) != (ip_version == 6):
            raise errors.InvalidInput(reason=f"{what}: {address} does not match ip_version {ip_version}")


def check_overlap(network: IPNetwork, network_id: str, others: Iterable[Row]) -> None:
    """Refuse a CIDR that overlaps another subnet of the same network. Raises InvalidInput."""
    for other in others:
        # Which one is not said: it may be another project's. (Test suites look for these very words.)
        if other["ip_version"] == network.version and network.overlaps(network_of(other["cidr"])):
            raise errors.InvalidInput(reason=f"cidr {network} overlaps with another subnet of network {network_id}")


def check_mtu(network_id: str, mtu: int, ip_version: int) -> None:
    """Refuse an MTU in bytes that is too small for the IP version. Raises NetworkMTUSubnetConflict."""
    if mtu < MTU_MIN[ip_version]:
        raise errors.NetworkMTUSubnetConflict(network_id=network_id, mtu=MTU_MIN[ip_version])


def check_affinity(pool: Row | None, ip_version: int, others: Sequence[Row], scope_of_network: str | None) -> None:
    """A network's subnets of one IP version come from one pool, or from pools of one address scope, or from none.

    Raises NetworkAddressScopeAffinityError, NetworkSubnetPoolAffinityError.
    """
    if scope_of_network is not None and pool is not None:
        if pool["address_scope_id"] != scope_of_network:
            raise errors.NetworkAddressScopeAffinityError(
                ip_version=ip_version, reason=f"the network is in address scope {scope_of_network}"
            )
        return
    for other in others:
        if other["ip_version"] != ip_version:
            continue
        if pool is None and other["subnetpool_id"]:
            raise errors.NetworkSubnetPoolAffinityError(
                ip_version=ip_version, reason="there are subnets from a subnet pool on it"
            )
        if pool is not None and other["subnetpool_id"] != pool["id"]:
            raise errors.NetworkSubnetPoolAffinityError(
                ip_version=ip_version, reason=f"there are subnets on it that do not come from {pool['id']}"
            )


def pools_of(network: IPNetwork, given: Sequence[Mapping[str, str]] | None, gateway_ip: str | None) -> ipam.Pools:
    """The allocation pools of a subnet, in order: those given, checked, or its default ones.

    Raises the errors of `ipam`.
    """
    if not given:
        ipam.check_gateway(network, gateway_ip, ())
        return ipam.default_pools(network, gateway_ip)
    ipam.check_pools(network, given)
    ipam.check_gateway(network, gateway_ip, given)
    return ipam.in_order(network, given)
