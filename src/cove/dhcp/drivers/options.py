"""The options of a network's subnets, as a file that dnsmasq reads: pure.

DHCPv4 options go by the subnet of the address. DHCPv6 options do where the client gets an address; one that asks for
options only is told of no subnet where there are several, and gets those of the link (the untagged lines, which
dnsmasq takes where no tag fits). Router advertisements, which are for the whole link, get what is tagged `!dhcpv6`:
dnsmasq sets that tag for DHCPv6 clients and nobody else. Of several lines for the same option the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Interface, ip_network

from cove.dhcp.drivers.base import ServedNetwork
from cove.dhcp.drivers.ranges import answers_dhcpv6, is_advertised
from cove.dhcp.models import SubnetInfo, is_ipv4

NO_SERVER_4, NO_SERVER_6 = "0.0.0.0", "::"  # noqa: S104 - Neutron: as the only one, "tell of no name server"


def subnet_options(network: ServedNetwork, domain: str) -> str:
    """The options of the subnets served: name servers, routes, router, domain to search in."""
    four = sorted((subnet for subnet in network.subnets if subnet.ip_version == 4), key=lambda subnet: subnet.id)
    lines = [line for subnet in four for line in _ipv4(subnet, four)]
    return "".join(f"{line}\n" for line in [*lines, *_ipv6(network, domain)])


def _ipv4(subnet: SubnetInfo, all_4: Sequence[SubnetInfo]) -> Iterable[str]:
    """Where hosts get routes at all, the default route is among them, since RFC 3442 has clients ignore `router` then;
    the other subnets on the same link are reached directly. 249 is the same option under Microsoft's number.
    """
    tag = f"tag:subnet-{subnet.id}"
    servers = [server for server in subnet.dns_nameservers if is_ipv4(server)]
    if servers == [NO_SERVER_4]:
        yield f"{tag},option:dns-server"
    elif servers:
        yield f"{tag},option:dns-server,{','.join(servers)}"
    routes = [
        f"{route.destination},{route.nexthop}"
        for route in subnet.host_routes
        if ip_network(route.destination).version == 4
    ]
    routes += [f"{other.cidr},0.0.0.0" for other in all_4 if other.id != subnet.id]
    if routes:
        if subnet.gateway_ip is not None and not any(route.startswith("0.0.0.0/0,") for route in routes):
            routes.append(f"0.0.0.0/0,{subnet.gateway_ip}")
        yield f"{tag},option:classless-static-route,{','.join(routes)}"
        yield f"{tag},249,{','.join(routes)}"
    yield f"{tag},option:router" + (f",{subnet.gateway_ip}" if subnet.gateway_ip is not None else "")


def _ipv6(network: ServedNetwork, domain: str) -> Iterable[str]:
    servers = {subnet.id: _servers_6(subnet, network) for subnet in network.subnets if subnet.ip_version == 6}
    answered = sorted(subnet.id for subnet in network.subnets if answers_dhcpv6(subnet))
    advertised = sorted(subnet.id for subnet in network.subnets if is_advertised(subnet))
    if len(answered) > 1:
        yield from _resolving("", _united(servers[key] for key in answered), domain)
    for key in answered:
        yield from _resolving(f"tag:subnet-{key},", servers[key], domain)
    if advertised:
        yield from _resolving("tag:!dhcpv6,", _united(servers[key] for key in advertised), domain)


def _resolving(tags: str, servers: Sequence[str], domain: str) -> Iterable[str]:
    yield f"{tags}option6:dns-server" + "".join(f",[{server}]" for server in servers)
    if domain:
        yield f"{tags}option6:domain-search,{domain}"


def _servers_6(subnet: SubnetInfo, network: ServedNetwork) -> list[str]:
    """The name servers of an IPv6 subnet; where it has none, the DHCP server is one."""
    servers = [server for server in subnet.dns_nameservers if not is_ipv4(server)]
    if servers:
        return [] if servers == [NO_SERVER_6] else servers
    cidr = ip_network(subnet.cidr)
    interfaces = (IPv6Interface(address) for address in network.server_addresses if not is_ipv4(address))
    return [str(interface.ip) for interface in interfaces if interface.ip in cidr]


def _united(lists: Iterable[Sequence[str]]) -> list[str]:
    """All of them, each once, in their order."""
    return list(dict.fromkeys(server for servers in lists for server in servers))
