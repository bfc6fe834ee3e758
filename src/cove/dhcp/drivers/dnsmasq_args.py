"""dnsmasq's command line for a network: pure. Another command line is the only reason to restart a running dnsmasq.

Source: dnsmasq(8); ranges, tags and limits as Neutron's DHCP agent gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cove.dhcp.drivers.base import ServedNetwork
from cove.dhcp.models import SubnetInfo, network_of

LEASES_MAX = 1 << 24
CACHE_SIZE_MIN, CACHE_SIZE_MAX = 150, 10_000


def dhcp_range(subnet: SubnetInfo, lease_duration_s: int) -> str:
    """The `--dhcp-range` of a subnet: static, that is for reservations only."""
    network = network_of(subnet)
    return f"set:subnet-{subnet.id},{network.network_address},static,{network.netmask},{lease_duration_s}s"


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
    argv += [f"--dhcp-range={dhcp_range(subnet, lease_duration_s)}" for subnet in _by_id(network.subnets)]
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
    return max(CACHE_SIZE_MIN, min(2 * lease_max(subnets), CACHE_SIZE_MAX))


def _by_id(subnets: Sequence[SubnetInfo]) -> list[SubnetInfo]:
    return sorted(subnets, key=lambda subnet: subnet.id)
