"""From rows to the objects of the API and of the agents' RPC: pure functions, one per resource.

What is returned is complete (everything any role may see); `AttributeTable.strip` takes away at the edge.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import RowMapping

Row = Mapping[str, Any] | RowMapping
"""A row of a table by column name, as read or as about to be written."""

ACTIVE = "ACTIVE"
DOWN = "DOWN"

VIF_UNBOUND = "unbound"
VIF_BRIDGE = "bridge"


def now_text(now: float | None = None) -> str:
    """A time as the API writes it: 2026-11-21T21:44:09Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def network_dict(row: Row, subnet_ids: Iterable[str], *, hosted: bool = False) -> dict[str, Any]:
    """A network as the API shows it. `hosted`: whether a DHCP agent (all are in zone nova) serves it."""
    return {
        "id": row["id"],
        "name": row["name"],
        "status": row["status"],
        "admin_state_up": row["admin_state_up"],
        "subnets": list(subnet_ids),
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "shared": row["shared"],
        "mtu": row["mtu"],
        "router:external": row["router_external"],
        "port_security_enabled": row["port_security_enabled"],
        "dns_domain": row["dns_domain"],
        "availability_zone_hints": [],
        "availability_zones": ["nova"] if hosted else [],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "description": row["description"],
        "tags": [],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "revision_number": row["revision_number"],
    }


def subnet_dict(row: Row) -> dict[str, Any]:
    """A subnet as the API and the agents see it."""
    return {
        "id": row["id"],
        "name": row["name"],
        "network_id": row["network_id"],
        "ip_version": row["ip_version"],
        "cidr": row["cidr"],
        "gateway_ip": row["gateway_ip"],
        "allocation_pools": row["allocation_pools"],
        "enable_dhcp": row["enable_dhcp"],
        "dns_nameservers": row["dns_nameservers"],
        "host_routes": row["host_routes"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "ipv6_ra_mode": None,
        "ipv6_address_mode": None,
        "subnetpool_id": None,
        "segment_id": None,
        "service_types": [],
        "dns_publish_fixed_ip": False,
        "description": row["description"],
        "tags": [],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "revision_number": row["revision_number"],
    }


def port_dict(row: Row, fixed_ips: list[dict[str, str]], dns_domain: str) -> dict[str, Any]:
    """A port as the API and the agents see it. `dns_domain`: the domain of the names handed out."""
    host = row["binding_host_id"]
    return {
        "id": row["id"],
        "name": row["name"],
        "network_id": row["network_id"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "mac_address": row["mac_address"],
        "admin_state_up": row["admin_state_up"],
        "status": row["status"],
        "device_id": row["device_id"],
        "device_owner": row["device_owner"],
        "fixed_ips": fixed_ips,
        "allowed_address_pairs": row["allowed_address_pairs"],
        "extra_dhcp_opts": row["extra_dhcp_opts"],
        "security_groups": [],
        "port_security_enabled": row["port_security_enabled"],
        "dns_name": row["dns_name"],
        "dns_assignment": dns_assignment(row["dns_name"], fixed_ips, dns_domain),
        "binding:vnic_type": row["binding_vnic_type"],
        "binding:host_id": host,
        "binding:profile": row["binding_profile"],
        "binding:vif_type": VIF_BRIDGE if host else VIF_UNBOUND,
        "binding:vif_details": {"bridge_name": f"brq{row['network_id'][:11]}"} if host else {},
        "ip_allocation": row["ip_allocation"],
        "description": row["description"],
        "tags": [],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "revision_number": row["revision_number"],
    }


def dns_assignment(dns_name: str, fixed_ips: Iterable[Mapping[str, str]], dns_domain: str) -> list[dict[str, str]]:
    """The names of a port's addresses (Neutron: dns-integration); host-192-0-2-10 where the port has no name."""
    assignment = []
    for fixed_ip in fixed_ips:
        address = fixed_ip["ip_address"]
        name = dns_name or f"host-{address.replace('.', '-').replace(':', '-')}"
        fqdn = full_name(name, dns_domain)
        assignment.append({"ip_address": address, "hostname": name.split(".")[0], "fqdn": fqdn})
    return assignment


def full_name(name: str, dns_domain: str) -> str:
    """The fully qualified name, with its last dot: in the domain, unless the name says another itself."""
    domain = dns_domain.rstrip(".")
    if name.endswith("."):
        return name
    return f"{name}.{domain}." if domain and not name.endswith(f".{domain}") else f"{name}."
