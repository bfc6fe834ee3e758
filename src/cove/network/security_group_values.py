"""What the values of a security group rule mean: protocols, ports, prefixes; and whether they fit together. Pure.

The names and numbers are Neutron's (and IANA's). A rule keeps the protocol as its owner wrote it, in lower case, with
one exception: for IPv6 every name of ICMP becomes `ipv6-icmp`, and number 1 becomes 58.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from cove.network import errors
from cove.network import validators as v
from cove.network.rows import Row

INGRESS, EGRESS = "ingress", "egress"
DIRECTIONS = (INGRESS, EGRESS)
IPV4, IPV6 = "IPv4", "IPv6"
ETHERTYPES = (IPV4, IPV6)

PROTOCOLS: Mapping[str, int] = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "hopopt": 0,
    "icmp": 1,
    "icmpv6": 58,
    "igmp": 2,
    "ip": 0,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}
"""Name → number. Two names have the number 58, and two have 0."""

ANY_PROTOCOL = "any"
_NAMES = {number: name for name, number in PROTOCOLS.items() if name != "icmpv6"}
ICMP, ICMPV6 = PROTOCOLS["icmp"], PROTOCOLS["ipv6-icmp"]
WITH_PORTS = ("dccp", "sctp", "tcp", "udp", "udplite")
_WITH_PORTS = frozenset(PROTOCOLS[name] for name in WITH_PORTS)
_IPV6_ONLY = frozenset(PROTOCOLS[name] for name in PROTOCOLS if name.startswith("ipv6-"))
_ICMP_NAMES = ("icmp", "icmpv6")
PORT_MIN, PORT_MAX = 1, 65535
_EVERYWHERE = ("0.0.0.0/0", "::/0")

_KEY = (
    "direction",
    "ethertype",
    "port_range_min",
    "port_range_max",
    "remote_group_id",
    "remote_address_group_id",
)


# --- validators of single attributes ---------------------------------------------------------------------------------


def _protocol(value: Any) -> str | None:
    if value is None or value == ANY_PROTOCOL:
        return None
    if isinstance(value, str):
        name = value.lower()
        if name in PROTOCOLS:
            return name
    number = _number(value)
    if number is not None and 0 <= number <= 255:
        return str(number)
    raise errors.SecurityGroupRuleInvalidProtocol(protocol=value, known=", ".join((ANY_PROTOCOL, *sorted(PROTOCOLS))))


def _port(value: Any) -> int | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 <= number <= PORT_MAX:
        raise errors.SecurityGroupInvalidPortValue(port=value)
    return number


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # Longer than any number that is meant; int() would take quadratic time.
    if isinstance(value, str) and len(value) <= 20 and value.strip().lstrip("+-").isascii():
        try:
            return int(value)
        except ValueError:
            pass
    return None


def _ethertype(value: Any) -> str:
    for known in ETHERTYPES:
        if isinstance(value, str) and value.lower() == known.lower():
            return known
    raise errors.SecurityGroupRuleInvalidEtherType(ethertype=value, known=", ".join(ETHERTYPES))


def _prefix(value: Any) -> str | None:
    """A network, or an address in one, in CIDR form; the host bits stay. An address alone is a network of one."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and "%" not in value and len(value) <= 64:
        try:
            return ipaddress.ip_interface(value.strip()).with_prefixlen
        except ValueError:
            pass
    raise errors.InvalidCIDR(input=value)


protocol = v.Validator(
    _protocol,
    {"anyOf": [{"enum": [ANY_PROTOCOL, *PROTOCOLS]}, {"type": ["integer", "null"], "minimum": 0, "maximum": 255}]},
    "protocol",
)
port = v.Validator(_port, {"type": ["integer", "null"], "minimum": 0, "maximum": PORT_MAX}, "port")
ethertype = v.Validator(_ethertype, {"enum": list(ETHERTYPES)}, "ethertype")
ip_prefix = v.Validator(_prefix, {"type": ["string", "null"]}, "ip_prefix")


# --- a rule as a whole -----------------------------------------------------------------------------------------------


def protocol_number(name_or_number: str) -> int:
    """The number of a protocol as a rule has it."""
    number = PROTOCOLS.get(name_or_number)
    return int(name_or_number) if number is None else number


def check(rule: dict[str, Any]) -> None:
    """Put a rule into its canonical form, or raise an error of `errors.InvalidInput` if its values don't fit together.

    All ports of a protocol are the protocol without ports; the names of ICMP become those of the rule's IP version.
    """
    if rule["ethertype"] == IPV6 and rule["protocol"] is not None:
        if rule["protocol"] in _ICMP_NAMES:
            rule["protocol"] = "ipv6-icmp"
        elif rule["protocol"] == str(ICMP):
            rule["protocol"] = str(ICMPV6)
    if (rule["port_range_min"], rule["port_range_max"]) == (PORT_MIN, PORT_MAX):
        rule["port_range_min"] = rule["port_range_max"] = None
    _check_ports(rule["protocol"], rule["port_range_min"], rule["port_range_max"])
    prefix = rule["remote_ip_prefix"]
    if prefix is not None and (":" in prefix) != (rule["ethertype"] == IPV6):
        raise errors.SecurityGroupRuleParameterConflict(ethertype=rule["ethertype"], cidr=prefix)
    protocol_ = rule["protocol"]
    if rule["ethertype"] == IPV4 and protocol_ is not None and protocol_number(protocol_) in _IPV6_ONLY:
        raise errors.SecurityGroupEthertypeConflictWithProtocol(ethertype=IPV4, protocol=protocol_)
    remotes = (prefix, rule.get("remote_group_id"), rule.get("remote_address_group_id"))
    if sum(remote is not None for remote in remotes) > 1:
        raise errors.SecurityGroupMultipleRemoteEntites()


def _check_ports(protocol_: str | None, low: int | None, high: int | None) -> None:
    if low is None and high is None:
        return
    if protocol_ is None:
        raise errors.SecurityGroupProtocolRequiredWithPorts()
    number = protocol_number(protocol_)
    if number in _WITH_PORTS:
        if low == 0 or high == 0:
            raise errors.SecurityGroupInvalidPortValue(port=0)
        if low is None or high is None or low > high:
            raise errors.SecurityGroupInvalidPortRange(low=low, high=high, protocol=protocol_)
    elif number in (ICMP, ICMPV6):
        for what, attribute, value in (("type", "port_range_min", low), ("code", "port_range_max", high)):
            if value is not None and value > 255:
                raise errors.SecurityGroupInvalidIcmpValue(what=what, attribute=attribute, value=value)
        if low is None:
            raise errors.SecurityGroupMissingIcmpType(value=high)
    else:
        raise errors.SecurityGroupInvalidProtocolForPort(
            protocol=protocol_, with_ports=", ".join(name.upper() for name in WITH_PORTS)
        )


def refuse_address_group(rule: Mapping[str, Any]) -> None:
    """There are no address groups, so whichever a rule names is not there. Raises AddressGroupNotFound."""
    if rule.get("remote_address_group_id") is not None:
        raise errors.AddressGroupNotFound(address_group_id=rule["remote_address_group_id"])


def normalized_cidr(prefix: str | None) -> str | None:
    """The network of a prefix: without its host bits."""
    return None if prefix is None else str(ipaddress.ip_network(prefix, strict=False))


def key(rule: Row) -> tuple[Any, ...]:
    """What two rules of a group have in common if they say the same, in the eyes of Neutron."""
    prefix, protocol_ = rule["remote_ip_prefix"], rule["protocol"]
    if protocol_ is not None and protocol_.isdigit():
        protocol_ = _NAMES.get(int(protocol_), protocol_)
    return (
        *(rule.get(name) for name in _KEY),
        protocol_,
        None if prefix in _EVERYWHERE else prefix,
    )
