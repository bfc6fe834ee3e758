"""Short ways to networks, subnets and ports."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from cove.dhcp.models import FixedIp, NetworkInfo, PortInfo, SubnetInfo


def uid(n: int) -> str:
    return str(UUID(int=n))


NETWORK, SUBNET, SUBNET_2 = uid(1), uid(0x10), uid(0x11)


def subnet(n: str = SUBNET, cidr: str = "1.1.1.0/24", **values: Any) -> SubnetInfo:
    return SubnetInfo(id=n, network_id=NETWORK, cidr=cidr, **values)


def port(n: int, *ips: str, **values: Any) -> PortInfo:
    fixed = tuple(FixedIp(SUBNET, ip) for ip in ips)
    mac = f"fa:16:3e:00:{n >> 8:02x}:{n & 255:02x}"
    return PortInfo(**{"id": uid(0x1000 + n), "network_id": NETWORK, "mac_address": mac, "fixed_ips": fixed, **values})


def network(*ports: PortInfo, **values: Any) -> NetworkInfo:
    return NetworkInfo(**{"id": NETWORK, "project_id": "p", "subnets": (subnet(),), "ports": ports, **values})
