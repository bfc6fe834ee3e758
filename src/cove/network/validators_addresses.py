"""Validators of addresses, networks and lists of them; both IP versions, kept in their canonical form.

Refused by name: zone ids (`fe80::1%eth0` means nothing on another machine) and IPv4 addresses in IPv6's clothes
(`::ffff:192.0.2.1`), which would make two texts of one address.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from cove.network import errors
from cove.network.validators_base import (
    LIST_MAX,
    NotConvertible,
    Schema,
    Validator,
    fields_of,
    list_of,
    listed,
    nullable,
    object_schema,
    optional,
    refuse_repeated,
    text,
    uuid_text,
    validator,
)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

PREFIX_DELEGATION = "prefix_delegation"
SERVICE_TYPE_PREFIXES = ("network:", "neutron:", *"compute:")
"""How a service type begins. Each letter of "compute:" will do, because it does in Neutron: clients rely on "test:"."""
ADDRESS_PAIRS_MAX = 10
"""Pairs of one port (Neutron: max_allowed_address_pair)."""

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_MAC_COMPACT = re.compile(r"[0-9a-f]{12}\Z")
_MAC_DOTTED = re.compile(r"[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}\Z")

IP_SCHEMA: Schema = {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}
CIDR_SCHEMA: Schema = {"type": "string", "pattern": r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$", "maxLength": 49}
MAC_SCHEMA: Schema = {"type": "string", "pattern": "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"}


def parse_address(value: Any) -> IPAddress:
    """An address of either version. Raises ValueError with the reason."""
    if isinstance(value, str):
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            pass
        else:
            if address.version == 6:
                _refuse_zone(value, address.scope_id)
                _refuse_mapped(value, address.ipv4_mapped)
            return address
    raise ValueError(f"{value!r} is not an IP address")


def parse_network(value: Any) -> IPNetwork:
    """A network of either version in CIDR form; host bits are dropped. Raises ValueError with the reason."""
    if isinstance(value, str) and "/" in value:
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError:
            pass
        else:
            if network.version == 6:
                _refuse_zone(value, network.network_address.scope_id)
                _refuse_mapped(value, network.network_address.ipv4_mapped)
            return network
    raise ValueError(f"{value!r} is not a network in CIDR form such as 192.0.2.0/24 or 2001:db8::/64")


def _refuse_zone(value: str, zone: str | None) -> None:
    if zone is not None:
        raise ValueError(f"{value!r} has a zone id: leave out what begins with %")


def _refuse_mapped(value: str, mapped: ipaddress.IPv4Address | None) -> None:
    if mapped is not None:
        raise ValueError(f"{value!r} is an IPv4 address in the form of IPv6: give {mapped}")


@validator(IP_SCHEMA)
def ip_address(value: Any) -> str:
    """An IPv4 or IPv6 address."""
    return str(parse_address(value))


ip_or_null = optional(ip_address)


@validator(CIDR_SCHEMA)
def cidr(value: Any) -> str:
    """A network in CIDR form; host bits are dropped, as Networking v2.0 does. A prefix length of 0 is refused."""
    try:
        network = parse_network(value)
    except ValueError as error:
        raise NotConvertible(str(error)) from None
    if network.prefixlen == 0:
        raise NotConvertible(f"{value!r}: a prefix length of 0 is not allowed")
    return str(network)


@validator(CIDR_SCHEMA)
def prefix(value: Any) -> str:
    """A network in CIDR form for a rule, where /0 stands for every address; host bits are dropped."""
    return str(parse_network(value))


cidr_or_null = optional(cidr)
prefix_or_null = optional(prefix)
cidr_list = list_of(cidr)


@validator({"anyOf": [*IP_SCHEMA["anyOf"], CIDR_SCHEMA]})
def ip_or_cidr(value: Any) -> str:
    """An address, or a network in CIDR form; /0 stands for every address."""
    network = isinstance(value, str) and "/" in value
    return str(prefix(value) if network else ip_address(value))


@validator(MAC_SCHEMA)
def mac_address(value: Any) -> str:
    """The MAC address of one interface; any of the usual spellings, kept as aa:bb:cc:dd:ee:ff.

    Neutron takes group addresses too, which no interface can have as its own.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a MAC address")
    mac = value.strip().lower().replace("-", ":")
    if _MAC_DOTTED.match(mac):
        mac = mac.replace(".", "")
    if _MAC_COMPACT.match(mac):
        mac = ":".join(mac[i : i + 2] for i in range(0, 12, 2))
    if not _MAC.match(mac):
        raise ValueError(f"{value!r} is not a MAC address; use the form fa:16:3e:00:00:01")
    if mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1:
        raise ValueError(f"{value!r} is not the address of one interface (it is zero, multicast or broadcast)")
    return mac


mac_address_or_null = optional(mac_address)

# --- lists -----------------------------------------------------------------------------------------------------------

_POOL: Schema = object_schema({"start": IP_SCHEMA, "end": IP_SCHEMA})


@validator({"type": ["array", "null"], "items": _POOL, "maxItems": LIST_MAX})
def ip_pools(value: Any) -> list[dict[str, str]]:
    """Allocation pools: [{"start", "end"}], both of one IP version; null is none at all."""
    if value is None:
        return []
    pools = []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise NotConvertible(f"{value!r} is not a list of objects with start and end")
    for item in listed(value):
        entry = fields_of(item, ("start", "end"))
        start, end = parse_address(entry["start"]), parse_address(entry["end"])
        if start.version != end.version:
            raise ValueError(f"{item!r} mixes IPv4 and IPv6")
        pools.append({"start": str(start), "end": str(end)})
    return pools


nameservers = Validator(list_of(ip_address, null=True), nullable({"type": "array", "items": IP_SCHEMA}), "nameservers")
"""Addresses of DNS servers, each once."""


@validator(nullable({"type": "array", "items": object_schema({"destination": CIDR_SCHEMA, "nexthop": IP_SCHEMA})}))
def host_routes(value: Any) -> list[dict[str, str]]:
    """Static routes: [{"destination", "nexthop"}], each once. The default route is a route too.

    That both are of the subnet's IP version is for the subnet to check.
    """
    routes = []
    for item in [] if value is None else listed(value):
        route = fields_of(item, ("destination", "nexthop"))
        network, nexthop = parse_network(route["destination"]), parse_address(route["nexthop"])
        if str(network.network_address) != str(parse_address(route["destination"].partition("/")[0])):
            raise ValueError(f"destination {route['destination']!r} has host bits set; did you mean {network}?")
        if network.is_loopback:
            raise ValueError(f"destination {network} is not routable")
        routes.append({"destination": str(network), "nexthop": str(nexthop)})
    refuse_repeated(routes)
    return routes


_FIXED_IP: Schema = {
    "type": "object",
    "properties": {"subnet_id": nullable({"type": "string", "format": "uuid"}), "ip_address": nullable(IP_SCHEMA)},
}


@validator({"type": "array", "items": _FIXED_IP, "maxItems": LIST_MAX})
def fixed_ips(value: Any) -> list[dict[str, str]]:
    """Requested addresses: [{"subnet_id"?, "ip_address"?}], no address twice. An empty list means none.

    Other keys are ignored, as Neutron does: clients write back what they have read somewhere else.
    """
    if value is None:
        raise ValueError("null is not a list; leave it out for the default, or give [] for none")
    wanted = []
    for item in listed(value):
        if not isinstance(item, dict):
            raise ValueError(f"{item!r} is not an object")
        entry: dict[str, Any] = item
        checked = {}
        # A null address is how some clients say "any".
        if entry.get("subnet_id") is not None:
            checked["subnet_id"] = uuid_text(entry["subnet_id"])
        if entry.get("ip_address") is not None:
            checked["ip_address"] = ip_address(entry["ip_address"])
        wanted.append(checked)
    refuse_repeated(entry["ip_address"] for entry in wanted if "ip_address" in entry)
    return wanted


_PAIR: Schema = object_schema(
    {"ip_address": {"anyOf": [*IP_SCHEMA["anyOf"], CIDR_SCHEMA]}}, {"mac_address": nullable(MAC_SCHEMA)}
)


@validator(nullable({"type": "array", "items": _PAIR, "maxItems": ADDRESS_PAIRS_MAX}))
def address_pairs(value: Any) -> list[dict[str, str]]:
    """Further addresses that a port may send from: [{"ip_address", "mac_address"?}], address or network.

    Raises ValueError, AllowedAddressPairExhausted, AllowedAddressPairsMissingIP, DuplicateAddressPairInRequest.
    """
    items = [] if value is None else listed(value)
    if len(items) > ADDRESS_PAIRS_MAX:
        raise errors.AllowedAddressPairExhausted(quota=ADDRESS_PAIRS_MAX)
    pairs: list[dict[str, str]] = []
    for item in items:
        if isinstance(item, dict) and "ip_address" not in item:
            raise errors.AllowedAddressPairsMissingIP()
        entry = fields_of(item, ("ip_address",), ("mac_address",))
        pair = {"ip_address": ip_or_cidr(entry["ip_address"])}
        if ipaddress.ip_network(pair["ip_address"]).is_multicast:
            raise ValueError(f"ip_address {pair['ip_address']} is multicast: nothing is sent from there")
        if entry.get("mac_address") is not None:
            pair["mac_address"] = mac_address(entry["mac_address"])
        if pair in pairs:
            raise errors.DuplicateAddressPairInRequest(
                ip_address=pair["ip_address"], mac_address=pair.get("mac_address", "the port's own")
            )
        pairs.append(pair)
    return pairs


@validator({"anyOf": [{"type": "string", "format": "uuid"}, {"const": PREFIX_DELEGATION}, {"type": "null"}]})
def subnetpool_id(value: Any) -> str | None:
    """The id of a subnet pool, the word for "ask the upstream router", or null."""
    return value if value is None or value == PREFIX_DELEGATION else str(uuid_text(value))


def service_types(length_max: int, max_items: int) -> Validator:
    """Owners of ports that a subnet is for, each once; null is none.

    Raises ValueError, InvalidInputSubnetServiceType, InvalidSubnetServiceType.
    """
    one = text(length_max, length_min=1)

    def convert(value: Any) -> list[str]:
        types: list[str] = []
        for item in [] if value is None else listed(value, max_items):
            if not isinstance(item, str):
                raise errors.InvalidInputSubnetServiceType(service_type=item)
            if not item.startswith(SERVICE_TYPE_PREFIXES):
                raise errors.InvalidSubnetServiceType(service_type=item, prefixes="network:, neutron:, compute:")
            if one(item) not in types:
                types.append(item)
        return types

    return Validator(convert, nullable({"type": "array", "items": one.schema, "maxItems": max_items}), "service_types")
