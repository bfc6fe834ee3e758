"""What dnsmasq's files say about ports and subnets: pure rendering, no file is touched here.

Source: dnsmasq(8), `--dhcp-host` and `--dhcp-option`; names, tags and order as Neutron's DHCP agent writes them.
All values were checked when they came over the bus (cove.dhcp.models).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from cove.dhcp.models import CLIENT_ID_OPTIONS, DEVICE_OWNER_DHCP, PortInfo, SubnetInfo, is_ipv4

NOT_SERVED_OWNERS = frozenset(
    {
        DEVICE_OWNER_DHCP,
        "network:router_interface",
        "network:router_interface_distributed",
        "network:router_centralized_snat",
        "network:router_gateway",
        "network:ha_router_replicated_interface",
        "network:floatingip",
    }
)
"""Ports that never ask for an address."""

_TAKEN_FOR_ANOTHER = re.compile(r"\d+(\.\d+){3}|\d+[smhdw]?|infinite|ignore", re.IGNORECASE)
"""What dnsmasq takes for an address, a lease time or a keyword where a reservation's name is to stand."""


@dataclass(frozen=True, slots=True)
class HostEntry:
    """The reservation of one address: the `--dhcp-host` line, the line of its names, and what people read.

    `reservation` has the name only where dnsmasq would not find it by the address in `names_line`: it looks up each
    reservation's name again at every change of a file, which makes a change cost in proportion to their number.
    """

    ip_address: str
    mac_address: str
    host_line: str
    names_line: str
    reservation: str


def default_host_name(ip_address: str) -> str:
    """The name of an address that has no better one: host-1-1-1-10."""
    return "host-" + ip_address.replace(".", "-").replace(":", "-")


def names_of(port: PortInfo, ip_address: str, domain: str) -> tuple[str, str]:
    """(fully qualified name without its last dot, short name) of one of the port's addresses."""
    for assigned in port.dns_assignment:
        if assigned.ip_address == ip_address and not _TAKEN_FOR_ANOTHER.fullmatch(assigned.fqdn.rstrip(".")):
            return assigned.fqdn.rstrip("."), assigned.hostname.rstrip(".")
    short = default_host_name(ip_address)
    return (f"{short}.{domain}" if domain else short), short


def host_entries(port: PortInfo, subnet_ids: frozenset[str] | set[str], domain: str) -> list[HostEntry]:
    """The reservations of a port in the subnets served: one for each IPv4 address, none for servers and routers."""
    if port.device_owner in NOT_SERVED_OWNERS:
        return []
    client_id = next((opt.opt_value for opt in port.extra_dhcp_opts if opt.opt_name in CLIENT_ID_OPTIONS), None)
    tag = f",set:{port_tag(port.id)}" if port_options(port) is not None else ""
    entries = []
    for fixed in port.fixed_ips:
        if fixed.subnet_id not in subnet_ids or not is_ipv4(fixed.ip_address):
            continue
        full, short = names_of(port, fixed.ip_address, domain)
        in_domain = full == (f"{short}.{domain}" if domain else short)
        identity = f"{port.mac_address},id:{client_id}" if client_id else port.mac_address
        entries.append(
            HostEntry(
                ip_address=fixed.ip_address,
                mac_address=port.mac_address,
                host_line=f"{identity},{full},{fixed.ip_address}{tag}",
                names_line=f"{fixed.ip_address}\t{full} {short}",
                reservation=f"{identity},{'' if in_domain else f'{full},'}{fixed.ip_address}{tag}",
            )
        )
    return entries


def port_tag(port_id: str) -> str:
    """The tag that ties a port's reservations to its options."""
    return f"port-{port_id}"


def port_options(port: PortInfo) -> str | None:
    """The options file of a port's extra_dhcp_opts, or None if it has none for IPv4.

    A name may be a number ("150") and may carry tags before it ("tag:ipxe,67").
    """
    lines = []
    for option in port.extra_dhcp_opts:
        if option.ip_version != 4 or option.opt_name in CLIENT_ID_OPTIONS:
            continue
        tags, _, name = option.opt_name.rpartition(",")
        parts = [f"tag:{port_tag(port.id)}"]
        if tags:
            parts.append(tags)
        parts.append(name if name.isdigit() else f"option:{name}")
        if option.opt_value:
            parts.append(option.opt_value)
        lines.append(",".join(parts))
    return "".join(f"{line}\n" for line in lines) or None


def subnet_options(subnets: Sequence[SubnetInfo]) -> str:
    """The options of the subnets served: name servers, routes, router.

    Where hosts get routes at all, the default route is among them, since RFC 3442 has clients ignore `router` then;
    the other subnets on the same link are reached directly. 249 is the same option under Microsoft's number.
    """
    lines: list[str] = []
    for subnet in sorted(subnets, key=lambda subnet: subnet.id):
        tag = f"tag:subnet-{subnet.id}"
        servers = [server for server in subnet.dns_nameservers if is_ipv4(server)]
        if servers == ["0.0.0.0"]:  # noqa: S104 - Neutron: "tell the hosts of no name server"
            lines.append(f"{tag},option:dns-server")
        elif servers:
            lines.append(f"{tag},option:dns-server,{','.join(servers)}")
        routes = [
            f"{route.destination},{route.nexthop}"
            for route in subnet.host_routes
            if ip_network(route.destination).version == 4
        ]
        routes += [f"{other.cidr},0.0.0.0" for other in subnets if other.id != subnet.id]
        if routes:
            if subnet.gateway_ip is not None and not any(route.startswith("0.0.0.0/0,") for route in routes):
                routes.append(f"0.0.0.0/0,{subnet.gateway_ip}")
            lines.append(f"{tag},option:classless-static-route,{','.join(routes)}")
            lines.append(f"{tag},249,{','.join(routes)}")
        lines.append(f"{tag},option:router" + (f",{subnet.gateway_ip}" if subnet.gateway_ip is not None else ""))
    return "".join(f"{line}\n" for line in lines)


def host_file(entries: Iterable[HostEntry]) -> str:
    """All reservations in one text, for people."""
    return "".join(f"{entry.host_line}\n" for entry in entries)


def addn_hosts_file(entries: Iterable[HostEntry]) -> str:
    """All names in one text, for people."""
    return "".join(f"{entry.names_line}\n" for entry in entries)


def opts_file(subnets: Sequence[SubnetInfo], port_texts: Mapping[str, str]) -> str:
    """All options in one text, for people."""
    return subnet_options(subnets) + "".join(port_texts[key] for key in sorted(port_texts))
