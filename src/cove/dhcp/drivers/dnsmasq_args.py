"""dnsmasq's command line for a network: pure. Another command line is the only reason to restart a running dnsmasq.

Source: dnsmasq(8); ranges, tags and limits as Neutron's DHCP agent gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cove.dhcp.drivers import ranges
from cove.dhcp.drivers.base import ServedNetwork
from cove.dhcp.models import SubnetInfo, network_of

LEASES_MAX = 1 << 24
HOSTS_6_EXPECTED = 1024
"""An IPv6 subnet has room for all the world: how many names of it the cache is made for."""
CACHE_SIZE_MIN, CACHE_SIZE_MAX = 150, 10_000


def arguments(
    program: str,
    directory: Path,
    network: ServedNetwork,
    *,
    lease_duration_s: int,
    domain: str,
    user: str,
    group: str,
) -> list[str]:
    """The whole argv. Nothing in it is secret; the same network always gives the same."""
    argv = [
        program,
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-hosts",
        "--no-resolv",
        f"--user={user}",
        f"--group={group}",
        "--bind-dynamic",
        f"--interface={network.interface}",
        "--except-interface=lo",
        f"--pid-file={directory / 'pid'}",
        f"--dhcp-leasefile={directory / 'leases'}",
        f"--log-facility={directory / 'log'}",
        f"--dhcp-hostsdir={directory / 'hosts.d'}",
        f"--dhcp-optsdir={directory / 'opts.d'}",
        f"--hostsdir={directory / 'names.d'}",
        "--dhcp-ignore-names",  # what a client calls itself is not to become a name that others resolve
        "--dhcp-match=set:ipxe,175",
        "--dhcp-userclass=set:ipxe6,iPXE",
    ]
    argv += [f"--dhcp-range={text}" for text in ranges.dhcp_ranges(network.subnets, lease_duration_s)]
    argv += _advertisement(network)
    argv.append(f"--dhcp-option-force=option:mtu,{network.mtu}")
    argv.append(f"--dhcp-lease-max={lease_max(network.subnets)}")
    argv.append(f"--cache-size={cache_size(network.subnets)}")
    if domain:
        argv.append(f"--domain={domain}")
    return argv


def lease_max(subnets: Sequence[SubnetInfo]) -> int:
    """How many leases there can be: no more than addresses."""
    return min(sum(network_of(subnet).num_addresses for subnet in subnets), LEASES_MAX)


def cache_size(subnets: Sequence[SubnetInfo]) -> int:
    """Entries of the DNS cache: the hash table of all names has a tenth as many buckets, and never grows by itself."""
    hosts = sum(HOSTS_6_EXPECTED if subnet.ip_version == 6 else network_of(subnet).num_addresses for subnet in subnets)
    return max(CACHE_SIZE_MIN, min(2 * hosts, CACHE_SIZE_MAX))


def _advertisement(network: ServedNetwork) -> list[str]:
    """What router advertisements say of the link: its MTU, and that nobody is a router (lifetime 0).

    They come from the DHCP server, which forwards nothing: a host that took it for a router would send into the void.
    """
    if not any(ranges.is_advertised(subnet) for subnet in network.subnets):
        return []
    force = ["--enable-ra"] if ranges.forces_advertisement(network.subnets) else []
    return [*force, f"--ra-param={network.interface},mtu:{network.mtu},0,0"]
