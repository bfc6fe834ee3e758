"""Networks, subnets and ports as the agent gets them over the bus: typed, checked and immutable.

Source: Neutron's DHCP RPC API; fields that the agent does not read are dropped. Everything here may end up in a file
that dnsmasq reads or in its command line, so each text is checked against what its field may look like.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError, ip_address, ip_network
from typing import Any, NamedTuple, TypeVar
from uuid import NAMESPACE_DNS, UUID, uuid5

import msgspec

from cove.dhcp.errors import InvalidPayload

T = TypeVar("T")

DEVICE_OWNER_DHCP = "network:dhcp"
DEVICE_ID_RESERVED = "reserved_dhcp_port"

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_LABEL = r"[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_OPTION_NAME = re.compile(r"(tag:!?[A-Za-z0-9_-]+,)*[A-Za-z0-9-]+")
_OPTION_VALUE = re.compile(r"[\x20-\x7e]{0,255}")
_CLIENT_ID = re.compile(r"[A-Za-z0-9:._*-]{1,255}")

CLIENT_ID_OPTIONS = frozenset({"client-id", "61"})
"""Options of a port that say what its client is known by; they become part of its reservation."""

SLAAC, STATEFUL, STATELESS = "slaac", "dhcpv6-stateful", "dhcpv6-stateless"
IPV6_MODES = frozenset({SLAAC, STATEFUL, STATELESS, None})
"""How hosts of an IPv6 subnet come to their addresses; None: not by us."""
SLAAC_PREFIX_LENGTH = 64


class FixedIp(msgspec.Struct, frozen=True):
    """An address of a port."""

    subnet_id: str
    ip_address: str


class ExtraDhcpOpt(msgspec.Struct, frozen=True):
    """A DHCP option for one port only."""

    opt_name: str
    opt_value: str | None = None
    ip_version: int = 4


class DnsAssignment(msgspec.Struct, frozen=True):
    """The name that goes with an address."""

    ip_address: str
    hostname: str
    fqdn: str


class HostRoute(msgspec.Struct, frozen=True):
    """A route that a subnet's hosts are given."""

    destination: str
    nexthop: str


class Serving(NamedTuple):
    """What of a subnet ends up in the server's command line."""

    cidr: str
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None


class SubnetInfo(msgspec.Struct, frozen=True):
    """A subnet."""

    id: str
    network_id: str
    cidr: str
    ip_version: int = 4
    enable_dhcp: bool = True
    gateway_ip: str | None = None
    dns_nameservers: tuple[str, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None

    @property
    def serves_dhcp(self) -> bool:
        """Whether the agent has a port with an address in it, and answers there: of either IP version."""
        return self.enable_dhcp

    @property
    def serving(self) -> Serving:
        """All that decides how it is served, but for its options: another one takes a new server."""
        return Serving(self.cidr, self.ipv6_ra_mode, self.ipv6_address_mode)


class PortInfo(msgspec.Struct, frozen=True):
    """A port. `revision_number` is None where the server does not tell it."""

    id: str
    network_id: str
    mac_address: str
    admin_state_up: bool = True
    device_id: str | None = ""
    device_owner: str | None = ""
    fixed_ips: tuple[FixedIp, ...] = ()
    extra_dhcp_opts: tuple[ExtraDhcpOpt, ...] = ()
    dns_assignment: tuple[DnsAssignment, ...] = ()
    revision_number: int | None = None

    def addresses(self) -> frozenset[tuple[str, str]]:
        """Its (subnet id, address) pairs."""
        return frozenset((fixed.subnet_id, fixed.ip_address) for fixed in self.fixed_ips)


class NetworkInfo(msgspec.Struct, frozen=True):
    """A network with all its subnets and ports, as `get_network_info` gives it."""

    id: str
    project_id: str = ""
    admin_state_up: bool = True
    mtu: int = 1500
    subnets: tuple[SubnetInfo, ...] = ()
    ports: tuple[PortInfo, ...] = ()

    def dhcp_subnets(self) -> tuple[SubnetInfo, ...]:
        """The subnets to serve, in the order of their ids."""
        return tuple(sorted((subnet for subnet in self.subnets if subnet.serves_dhcp), key=_id_of))

    def servings(self) -> frozenset[Serving]:
        """How the subnets are to be served."""
        return frozenset(subnet.serving for subnet in self.subnets if subnet.serves_dhcp)


def _id_of(subnet: SubnetInfo) -> str:
    return subnet.id


def dhcp_device_id(host: str, network_id: str) -> str:
    """The device_id of the DHCP port that the agent of `host` has in a network (Neutron's own rule)."""
    return f"dhcp{uuid5(NAMESPACE_DNS, host.split('.')[0])}-{network_id}"


# -- from the bus -----------------------------------------------------------------------------------------------------


def decode_network(payload: Any) -> tuple[NetworkInfo, list[InvalidPayload]]:
    """A network info from its RPC form, and what is wrong with the ports that had to be left out.

    One bad port must not take the others' DHCP away. Raises InvalidPayload if network or a subnet is malformed.
    """
    if not isinstance(payload, dict):
        raise InvalidPayload(f"network: an object is expected, not {type(payload).__name__}")
    ports: list[PortInfo] = []
    problems: list[InvalidPayload] = []
    for item in payload.get("ports") or ():
        try:
            ports.append(decode_port(item))
        except InvalidPayload as error:
            problems.append(error)
    rest = {key: value for key, value in payload.items() if key not in {"ports", "subnets"} and value is not None}
    subnets = tuple(decode_subnet(item) for item in payload.get("subnets") or ())
    network = msgspec.structs.replace(_convert(rest, NetworkInfo, "network"), subnets=subnets, ports=tuple(ports))
    check_id("network id", network.id)
    if not 68 <= network.mtu <= 65535:
        raise InvalidPayload(f"network {network.id}: mtu {network.mtu} is not within 68 to 65535")
    return network, problems


def decode_subnet(payload: Any) -> SubnetInfo:
    """A subnet from its RPC form, its addresses in their usual form. Raises InvalidPayload."""
    if isinstance(payload, dict):
        payload = {key: value for key, value in payload.items() if value is not None}
    subnet = _convert(payload, SubnetInfo, "subnet")
    check_id("subnet id", subnet.id)
    check_id("subnet network_id", subnet.network_id)
    what = f"subnet {subnet.id}"
    cidr = _parsed(f"{what}: cidr", subnet.cidr, ip_network)
    if cidr.version != subnet.ip_version:
        raise InvalidPayload(f"{what}: cidr {subnet.cidr!r} is not of ip_version {subnet.ip_version}")
    for name, mode in (("ipv6_ra_mode", subnet.ipv6_ra_mode), ("ipv6_address_mode", subnet.ipv6_address_mode)):
        if mode not in IPV6_MODES:
            raise InvalidPayload(f"{what}: {name} {mode!r} is none of {SLAAC}, {STATEFUL}, {STATELESS}")
        if mode is not None and subnet.ip_version != 6:
            raise InvalidPayload(f"{what}: {name} {mode!r} is for IPv6 only, and this is IPv{subnet.ip_version}")
    gateway_ip = subnet.gateway_ip
    if gateway_ip is not None:
        gateway_ip = _address(f"{what}: gateway_ip", gateway_ip)
    servers = tuple(_address(f"{what}: dns_nameservers", server) for server in subnet.dns_nameservers)
    for route in subnet.host_routes:
        _parsed(f"{what}: host_routes destination", route.destination, ip_network)
        _parsed(f"{what}: host_routes nexthop", route.nexthop, ip_address)
    return msgspec.structs.replace(subnet, cidr=str(cidr), gateway_ip=gateway_ip, dns_nameservers=servers)


def decode_port(payload: Any) -> PortInfo:
    """A port from its RPC form, its MAC in lower case, its addresses in their usual form. Raises InvalidPayload."""
    if isinstance(payload, dict):
        payload = {key: value for key, value in payload.items() if value is not None}
    port = _convert(payload, PortInfo, "port")
    check_id("port id", port.id)
    check_id("port network_id", port.network_id)
    what = f"port {port.id}"
    mac_address = port.mac_address.lower()
    if not _MAC.fullmatch(mac_address):
        raise InvalidPayload(f"{what}: mac_address {port.mac_address!r} is not of the form fa:16:3e:00:00:01")
    fixed_ips = []
    for fixed in port.fixed_ips:
        check_id(f"{what}: fixed_ips subnet_id", fixed.subnet_id)
        fixed_ips.append(FixedIp(fixed.subnet_id, _address(f"{what}: fixed_ips ip_address", fixed.ip_address)))
    names = []
    for name in port.dns_assignment:
        address = _address(f"{what}: dns_assignment ip_address", name.ip_address)
        check_host_name(f"{what}: dns_assignment hostname", name.hostname)
        check_host_name(f"{what}: dns_assignment fqdn", name.fqdn)
        names.append(DnsAssignment(address, name.hostname, name.fqdn))
    for option in port.extra_dhcp_opts:
        if not _OPTION_NAME.fullmatch(option.opt_name):
            raise InvalidPayload(
                f"{what}: extra_dhcp_opts opt_name {option.opt_name!r}: use a name or number such as 'tftp-server'"
            )
        if option.opt_value is not None and not _OPTION_VALUE.fullmatch(option.opt_value):
            raise InvalidPayload(
                f"{what}: extra_dhcp_opts opt_value {option.opt_value!r}: use at most 255 printable ASCII characters"
            )
        if option.opt_name in CLIENT_ID_OPTIONS and not _CLIENT_ID.fullmatch(option.opt_value or ""):
            raise InvalidPayload(
                f"{what}: extra_dhcp_opts {option.opt_name} {option.opt_value!r}: use letters, digits and : . _ * -"
            )
    return msgspec.structs.replace(
        port, mac_address=mac_address, fixed_ips=tuple(fixed_ips), dns_assignment=tuple(names)
    )


def check_id(what: str, value: str) -> str:
    """The id if it is a UUID in its usual form (it names files, namespaces and devices). Raises InvalidPayload."""
    try:
        if str(UUID(value)) == value:
            return value
    except ValueError:
        pass
    raise InvalidPayload(f"{what} {value!r} is not a UUID")


def check_host_name(what: str, value: str) -> str:
    """The name if it is a DNS name of at most 253 characters. Raises InvalidPayload."""
    if len(value) <= 254 and _HOST_NAME.fullmatch(value):
        return value
    raise InvalidPayload(f"{what} {value!r} is not a DNS name")


def network_of(subnet: SubnetInfo) -> IPv4Network | IPv6Network:
    """The CIDR of a subnet, parsed. Raises InvalidPayload."""
    return _parsed(f"subnet {subnet.id}: cidr", subnet.cidr, ip_network)


def is_ipv4(address: str) -> bool:
    """Whether the (valid) address is IPv4."""
    return ":" not in address


def _address(what: str, value: str) -> str:
    """The address in its usual form, which is also the one that dnsmasq and the kernel write."""
    return str(_parsed(what, value, ip_address))


def _parsed(what: str, value: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(value)
    except (ValueError, AddressValueError, NetmaskValueError) as error:
        raise InvalidPayload(f"{what} {value!r}: {error}") from None


def _convert(payload: Any, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise InvalidPayload(f"{what}: {error}") from None
