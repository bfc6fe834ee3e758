"""What dnsmasq's files say about ports: pure rendering, no file is touched here. (Subnets: cove.dhcp.drivers.options.)

Source: dnsmasq(8), `--dhcp-host` and `--dhcp-option`; names, tags and order as Neutron's DHCP agent writes them.
All values were checked when they came over the bus (cove.dhcp.models).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address

from cove.dhcp.drivers.ranges import reserves_ipv6
from cove.dhcp.models import CLIENT_ID_OPTIONS, DEVICE_OWNER_DHCP, STATELESS, PortInfo, SubnetInfo, is_ipv4

KEY_PREFIX_6 = "ipv6-"
"""Before the port's id, in the name of the file of its IPv6 reservation."""

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
    """One reservation: an IPv4 address, or all IPv6 addresses that a port gets by DHCPv6; in a file called `key`.

    `host_line` is what people read, `reservation` the `--dhcp-host` line that dnsmasq gets. That has the name only
    where dnsmasq would not find it by the address among the names: it looks up each reservation's name again at every
    change of a file, which makes a change cost in proportion to their number.
    """

    key: str
    mac_address: str
    ip_addresses: tuple[str, ...]
    host_line: str
    reservation: str

    @property
    def client(self) -> tuple[str, bool]:
        """Whose it is: of two with the same client, dnsmasq takes one. IPv6 reservations are told by a tag."""
        return self.mac_address, self.key.startswith(KEY_PREFIX_6)


@dataclass(frozen=True, slots=True)
class PortEntries:
    """What dnsmasq is to know of a port: its reservations, and the line of names for each of its addresses."""

    mac_address: str = ""
    hosts: tuple[HostEntry, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


NO_ENTRIES = PortEntries()


def default_host_name(ip_address: str) -> str:
    """The name of an address that has no better one: host-1-1-1-10."""
    return "host-" + ip_address.replace(".", "-").replace(":", "-")


def names_of(port: PortInfo, ip_address: str, domain: str) -> tuple[str, str]:
    """(fully qualified name without its last dot, short name) of one of the port's addresses."""
    for assigned in port.dns_assignment:
        if assigned.ip_address == ip_address and not _TAKEN_FOR_ANOTHER.fullmatch(assigned.fqdn.rstrip(".")):
            return assigned.fqdn.rstrip("."), assigned.hostname.split(".")[0]
    short = default_host_name(ip_address)
    return (f"{short}.{domain}" if domain else short), short


def port_entries(port: PortInfo, subnets: Mapping[str, SubnetInfo], domain: str) -> PortEntries:
    """What dnsmasq is to know of a port in the subnets served, by id; nothing of servers and routers.

    Names go with every address, however the guest comes to it.
    """
    if port.device_owner in NOT_SERVED_OWNERS:
        return NO_ENTRIES
    names = {fixed.ip_address: names_of(port, fixed.ip_address, domain) for fixed in port.fixed_ips}
    tag = f",set:{port_tag(port.id)}" if port_options(port) is not None else ""
    entries = []
    six: list[str] = []
    asks_for_options = False
    for fixed in port.fixed_ips:
        subnet = subnets.get(fixed.subnet_id)
        if subnet is None:
            continue
        if is_ipv4(fixed.ip_address):
            entries.append(_entry(port, fixed.ip_address, *names[fixed.ip_address], tag, domain))
        elif reserves_ipv6(subnet):
            six.append(fixed.ip_address)
        elif subnet.ipv6_address_mode == STATELESS:
            asks_for_options = True
    if six or (asks_for_options and tag):
        entries.append(_entry_6(port, six, names, tag, named=not entries, domain=domain))
    lines = {address: f"{address}\t{full} {short}" for address, (full, short) in names.items()}
    return PortEntries(port.mac_address, tuple(entries), lines)


def _client_id(port: PortInfo, ip_version: int) -> str:
    """The part of a reservation that says what the client calls itself; the first of several counts."""
    for option in port.extra_dhcp_opts:
        if option.opt_name in CLIENT_ID_OPTIONS and option.ip_version == ip_version:
            return f",id:{option.opt_value}"
    return ""


def _entry(port: PortInfo, ip_address: str, full: str, short: str, tag: str, domain: str) -> HostEntry:
    in_domain = full == (f"{short}.{domain}" if domain else short)
    identity = f"{port.mac_address}{_client_id(port, 4)}"
    return HostEntry(
        key=ip_address,
        mac_address=port.mac_address,
        ip_addresses=(ip_address,),
        host_line=f"{identity},{full},{ip_address}{tag}",
        reservation=f"{identity},{'' if in_domain else f'{full},'}{ip_address}{tag}",
    )


def _entry_6(
    port: PortInfo,
    addresses: Sequence[str],
    names: Mapping[str, tuple[str, str]],
    tag: str,
    *,
    named: bool,
    domain: str,
) -> HostEntry:
    """One line for all addresses: of several lines for a MAC dnsmasq would take one.

    A guest that gets no name by DHCPv4 gets one that was chosen for it by DHCPv6 (`named`). Where it has both, the same
    name may stand for its IPv4 address too, which dnsmasq would then take for a second reservation of that address. And
    whatever the name's domain, dnsmasq tells DHCPv6 clients its own: so only names in that.
    """
    identity = f"{port.mac_address},tag:dhcpv6{_client_id(port, 6)}"
    listed = "".join(f",[{address}]" for address in addresses)
    name = told = ""
    if addresses:
        full, short = names[addresses[0]]
        name = f",{full}"
        chosen = short != default_host_name(addresses[0])
        told = name if named and chosen and full == (f"{short}.{domain}" if domain else short) else ""
    return HostEntry(
        key=f"{KEY_PREFIX_6}{port.id}",
        mac_address=port.mac_address,
        ip_addresses=tuple(addresses),
        host_line=f"{identity}{name}{listed}{tag}",
        reservation=f"{identity}{told}{listed}{tag}",
    )


def port_tag(port_id: str) -> str:
    """The tag that ties a port's reservations to its options."""
    return f"port-{port_id}"


def port_options(port: PortInfo) -> str | None:
    """The options file of a port's extra_dhcp_opts, or None if it has none for a version of its addresses.

    A name may be a number ("150") and may carry tags before it ("tag:ipxe,67").
    """
    versions = {4 if is_ipv4(fixed.ip_address) else 6 for fixed in port.fixed_ips}
    lines = []
    for option in port.extra_dhcp_opts:
        if option.ip_version not in versions or option.opt_name in CLIENT_ID_OPTIONS:
            continue
        tags, _, name = option.opt_name.rpartition(",")
        parts = [f"tag:{port_tag(port.id)}"]
        if tags:
            parts.append(tags)
        if option.ip_version == 6:
            parts.append(f"option6:{name}")
        else:
            parts.append(name if name.isdigit() else f"option:{name}")
        if option.opt_value:
            parts.append(bracketed(option.opt_value) if option.ip_version == 6 else option.opt_value)
        lines.append(",".join(parts))
    return "".join(f"{line}\n" for line in lines) or None


def bracketed(value: str) -> str:
    """The value of an IPv6 option: a list of bare IPv6 addresses gets the brackets without which it would be text."""
    parts = value.split(",")
    try:
        return ",".join(f"[{IPv6Address(part.strip())}]" for part in parts)
    except AddressValueError:
        return value


def host_file(entries: Iterable[HostEntry]) -> str:
    """All reservations in one text, for people."""
    return "".join(f"{entry.host_line}\n" for entry in entries)


def addn_hosts_file(names: Mapping[str, str]) -> str:
    """All names in one text, for people."""
    return "".join(f"{line}\n" for line in names.values())


def opts_file(subnet_text: str, port_texts: Mapping[str, str]) -> str:
    """All options in one text, for people."""
    return subnet_text + "".join(port_texts[key] for key in sorted(port_texts))
