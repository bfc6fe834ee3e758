"""Converters and validators of attribute values: each takes the client's value and returns the one to keep.

Each raises ValueError with a reason that reads after "Invalid input for <attribute>: ". Nothing that passes here can
carry a line break or another control character into a file that a DHCP server reads.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

Convert = Callable[[Any], Any]

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_CONTROL_BUT_BREAKS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_OPT_NAME = re.compile(r"(?:tag:!?[A-Za-z0-9_-]+,)*([A-Za-z0-9-]+)\Z")
_OPT_VALUE = re.compile(r"[\x20-\x7e]*\Z")
_CLIENT_ID = re.compile(r"[A-Za-z0-9:._*-]+\Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})

LIST_MAX = 256
"""Items in any list of a request, other than the resources of a bulk request."""

OPT_NAME_LENGTH_MAX = 64
OPT_NUMBER_MAX = 254
CLIENT_ID_OPTIONS = frozenset({"client-id", "61"})
"""Not sent to the client, but what the server is to know it by."""

MAPPING_BYTES_MAX = 4095
"""Size of a mapping of the client's own, as JSON (Neutron: binding:profile)."""

BLANK_DHCP_OPTIONS = frozenset({"router", "classless-static-route"})
"""Options that may be given without a value: "do not send it" (Neutron: extra_dhcp_opt)."""


def boolean(value: Any) -> bool:
    """True or false, also in the spellings that OpenStack's clients use."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{value!r} is not a boolean; use true or false")


def integer(low: int, high: int) -> Convert:
    """A whole number, also as text."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(f"{value!r} is not an integer")
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"{value!r} is not an integer") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is not between {low} and {high}")
        return number

    return convert


def text(length_max: int, *, breaks: bool = False) -> Convert:
    """Text of bounded length without control characters; `breaks` allows tabs and line breaks."""
    forbidden = _CONTROL_BUT_BREAKS if breaks else _CONTROL

    def convert(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text")
        if len(value) > length_max:
            raise ValueError(f"it has {len(value)} characters; at most {length_max} are allowed")
        if forbidden.search(value):
            raise ValueError(f"{value!r} contains a control character or line break")
        return value

    return convert


def optional(convert: Convert) -> Convert:
    """The same, or null."""
    return lambda value: None if value is None else convert(value)


def one_of(values: Iterable[Any]) -> Convert:
    """One of the listed values."""
    allowed = tuple(values)

    def convert(value: Any) -> Any:
        # `is` the same type: 4 == 4.0 and True == 1 would pass otherwise
        if any(value == item and type(value) is type(item) for item in allowed):
            return value
        raise ValueError(f"{value!r} is not one of {', '.join(map(str, allowed))}")

    return convert


def only_null(remedy: str) -> Convert:
    """Null: the attribute is part of the API, other values of it are not supported here."""

    def convert(value: Any) -> None:
        if value is not None:
            raise ValueError(f"{value!r} is not supported: {remedy}")

    return convert


def uuid_text(value: Any) -> str:
    """A UUID in its usual form."""
    if isinstance(value, str):
        if _UUID.match(value):
            return value
        try:
            if len(value) in (32, 36):
                return str(uuid.UUID(value))
        except ValueError:
            pass
    raise ValueError(f"{value!r} is not a UUID")


def mac_address(value: Any) -> str:
    """A unicast MAC address; any of the usual spellings, kept as aa:bb:cc:dd:ee:ff."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a MAC address")
    compact = value.strip().lower().replace("-", ":")
    if re.fullmatch(r"[0-9a-f]{12}", compact):
        compact = ":".join(compact[i : i + 2] for i in range(0, 12, 2))
    if not _MAC.match(compact):
        raise ValueError(f"{value!r} is not a MAC address; use the form fa:16:3e:00:00:01")
    if compact == "00:00:00:00:00:00" or int(compact[:2], 16) & 1:
        raise ValueError(f"{value!r} is not the address of one interface (it is zero, multicast or broadcast)")
    return compact


def ipv4_address(value: Any) -> str:
    """An IPv4 address. IPv6 is refused by name, as it is not supported yet."""
    if isinstance(value, str):
        try:
            return str(ipaddress.IPv4Address(value))
        except ValueError:
            if ":" in value:
                raise ValueError(f"{value!r}: IPv6 is not supported yet; give an IPv4 address") from None
    raise ValueError(f"{value!r} is not an IPv4 address")


def ipv4_cidr(value: Any) -> str:
    """An IPv4 network in CIDR form; host bits are dropped, as Networking v2.0 does."""
    if isinstance(value, str):
        if ":" in value:
            raise ValueError(f"{value!r}: IPv6 is not supported yet; give an IPv4 network")
        if "/" in value:
            try:
                network = ipaddress.IPv4Network(value, strict=False)
            except ValueError:
                pass
            else:
                if network.prefixlen == 0:
                    raise ValueError(f"{value!r}: a prefix length of 0 is not allowed")
                return str(network)
    raise ValueError(f"{value!r} is not a network in CIDR form such as 192.0.2.0/24")


def dns_name(value: Any) -> str:
    """A host name or a fully qualified name, in lower case (RFC 1123), or empty."""
    name = str(text(255)(value)).lower()
    if not name:
        return name
    labels = name.removesuffix(".").split(".")
    if not all(_DNS_LABEL.match(label) for label in labels):
        raise ValueError(f"{value!r} is not a DNS name: letters, digits and hyphens, labels of at most 63")
    if len(labels) > 1 and labels[-1].isdigit():
        raise ValueError(f"{value!r} is not a DNS name: its last label must not be a number")
    if name.endswith(".") and len(labels) == 1:
        raise ValueError(f"{value!r} is not a host's full name: leave out the last dot, or give the domain")
    return name


def items(value: Any) -> list[Any]:
    """A list of bounded length; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    if len(value) > LIST_MAX:
        raise ValueError(f"it has {len(value)} items; at most {LIST_MAX} are allowed")
    return value


def fields_of(value: Any, required: Iterable[str], allowed: Iterable[str] = ()) -> dict[str, Any]:
    """An object with the required keys and no others than these and the allowed ones."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object")
    required = tuple(required)
    known = (*required, *allowed)
    for key in required:
        if key not in value:
            raise ValueError(f"{value!r} lacks {key!r}")
    for key in value:
        if key not in known:
            raise ValueError(f"{key!r} in {value!r} is not known; known are {', '.join(known)}")
    return value


def not_null(value: Any) -> Any:
    """The value, unless it is null: where an empty list means something, null is more likely a mistake."""
    if value is None:
        raise ValueError("null is not a list; leave it out for the default, or give [] for none")
    return value


def ip_pools(value: Any) -> list[dict[str, str]]:
    """Allocation pools: [{"start", "end"}]."""
    return [
        {"start": ipv4_address(pool["start"]), "end": ipv4_address(pool["end"])}
        for pool in (fields_of(item, ("start", "end")) for item in items(not_null(value)))
    ]


def nameservers(value: Any) -> list[str]:
    """Addresses of DNS servers, each once."""
    servers = [ipv4_address(item) for item in items(value)]
    if len(set(servers)) != len(servers):
        raise ValueError(f"{value!r} names a server twice")
    return servers


def host_routes(value: Any) -> list[dict[str, str]]:
    """Static routes: [{"destination", "nexthop"}], each once."""
    routes = []
    for item in items(value):
        route = fields_of(item, ("destination", "nexthop"))
        destination = route["destination"]
        # The default route is a route too.
        network = "0.0.0.0/0" if destination == "0.0.0.0/0" else ipv4_cidr(destination)
        routes.append({"destination": network, "nexthop": ipv4_address(route["nexthop"])})
    if len({tuple(route.items()) for route in routes}) != len(routes):
        raise ValueError(f"{value!r} has a route twice")
    return routes


def fixed_ips(value: Any) -> list[dict[str, str]]:
    """Requested addresses: [{"subnet_id"?, "ip_address"?}], no address twice."""
    wanted = []
    for item in items(not_null(value)):
        entry = fields_of(item, (), ("subnet_id", "ip_address"))
        checked = {}
        # A null address is how some clients say "any".
        if entry.get("subnet_id") is not None:
            checked["subnet_id"] = uuid_text(entry["subnet_id"])
        if entry.get("ip_address") is not None:
            checked["ip_address"] = ipv4_address(entry["ip_address"])
        wanted.append(checked)
    addresses = [entry["ip_address"] for entry in wanted if "ip_address" in entry]
    if len(set(addresses)) != len(addresses):
        raise ValueError(f"{value!r} has an address twice")
    return wanted


def extra_dhcp_opts(value: Any) -> list[dict[str, Any]]:
    """DHCP options of a port: [{"opt_name", "opt_value", "ip_version"?}]; a null value removes one on update."""
    options = []
    for item in items(value):
        entry = fields_of(item, ("opt_name", "opt_value"), ("ip_version",))
        name, option_value = entry["opt_name"], entry["opt_value"]
        matched = _OPT_NAME.match(name) if isinstance(name, str) and len(name) <= OPT_NAME_LENGTH_MAX else None
        if matched is None:
            raise ValueError(f"opt_name {name!r} is not a DHCP option's name or number")
        if matched[1].isdigit() and not 1 <= int(matched[1]) <= OPT_NUMBER_MAX:
            raise ValueError(f"opt_name {name!r}: DHCP options have numbers from 1 to {OPT_NUMBER_MAX}")
        if option_value is not None:
            option_value = _dhcp_option_value(name, option_value)
        version = integer(4, 6)(entry.get("ip_version", 4))
        if version == 5:
            raise ValueError("ip_version 5 is not 4 or 6")
        options.append({"opt_name": name, "opt_value": option_value, "ip_version": version})
    keys = [(option["opt_name"], option["ip_version"]) for option in options]
    if len(set(keys)) != len(keys):
        raise ValueError("an option is given twice")
    return options


def _dhcp_option_value(name: str, value: Any) -> str:
    """What may stand behind an option in a DHCP server's file."""
    checked = str(text(255)(value))
    if not checked.strip() and name not in BLANK_DHCP_OPTIONS:
        raise ValueError(f"opt_value of {name!r} is empty")
    if not _OPT_VALUE.match(checked):
        raise ValueError(f"opt_value {checked!r} of {name!r} has characters other than printable ASCII")
    if name in CLIENT_ID_OPTIONS and not _CLIENT_ID.match(checked):
        raise ValueError(f"opt_value {checked!r} of {name!r}: use letters, digits and any of : . _ * -")
    return checked


def address_pairs(value: Any) -> list[dict[str, str]]:
    """Further addresses that a port may send from: [{"ip_address", "mac_address"?}], address or network."""
    pairs = []
    for item in items(value):
        entry = fields_of(item, ("ip_address",), ("mac_address",))
        address = entry["ip_address"]
        is_network = isinstance(address, str) and "/" in address
        pair = {"ip_address": ipv4_cidr(address) if is_network else ipv4_address(address)}
        if entry.get("mac_address") is not None:
            pair["mac_address"] = mac_address(entry["mac_address"])
        pairs.append(pair)
    if len({tuple(sorted(pair.items())) for pair in pairs}) != len(pairs):
        raise ValueError(f"{value!r} has a pair twice")
    return pairs


def empty_list(remedy: str) -> Convert:
    """An empty list: the attribute is part of the API, values of it are not supported here."""

    def convert(value: Any) -> list[Any]:
        if items(value):
            raise ValueError(f"{value!r} is not supported: {remedy}")
        return []

    return convert


def mapping_or_none(value: Any) -> dict[str, Any]:
    """An object of the client's own of bounded size; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object")
    size = len(msgspec.json.encode(value))
    if size > MAPPING_BYTES_MAX:
        raise ValueError(f"it has {size} bytes as JSON; at most {MAPPING_BYTES_MAX} are allowed")
    return value


def text_or_null(length_max: int) -> Convert:
    """Text of bounded length; null is how some clients say that there is none."""
    convert = text(length_max)
    return lambda value: "" if value is None else convert(value)
