"""Short ways to networks, subnets and ports."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from cove.dhcp.drivers.base import ServedNetwork
from cove.dhcp.models import FixedIp, NetworkInfo, PortInfo, SubnetInfo


def uid(n: int) -> str:
    return str(UUID(int=n))


NETWORK, SUBNET, SUBNET_2, SUBNET_6, SUBNET_6B = uid(1), uid(0x10), uid(0x11), uid(0x60), uid(0x61)


def subnet(n: str = SUBNET, cidr: str = "1.1.1.0/24", **values: Any) -> SubnetInfo:
    return SubnetInfo(id=n, network_id=NETWORK, cidr=cidr, **values)


def subnet_6(
    ra_mode: str | None, address_mode: str | None = None, n: str = SUBNET_6, cidr: str = "fd77:1::/64", **values: Any
) -> SubnetInfo:
    return subnet(n, cidr, ip_version=6, ipv6_ra_mode=ra_mode, ipv6_address_mode=address_mode, **values)


def served(*subnets: SubnetInfo, addresses: tuple[str, ...] = ("1.1.1.2/24",)) -> ServedNetwork:
    return ServedNetwork(NETWORK, 1450, subnets, {}, "qdhcp-x", "ns-0123456789a", addresses)


def port(n: int, *ips: str, **values: Any) -> PortInfo:
    fixed = tuple(FixedIp(SUBNET, ip) for ip in ips)
    mac = f"fa:16:3e:00:{n >> 8:02x}:{n & 255:02x}"
    return PortInfo(**{"id": uid(0x1000 + n), "network_id": NETWORK, "mac_address": mac, "fixed_ips": fixed, **values})


def network(*ports: PortInfo, **values: Any) -> NetworkInfo:
    return NetworkInfo(**{"id": NETWORK, "project_id": "p", "subnets": (subnet(),), "ports": ports, **values})
