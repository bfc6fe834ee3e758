"""Validators of what ends in the files of a DHCP and DNS server: options and names."""

from __future__ import annotations

import re
from typing import Any

from cove.network.validators_base import (
    LIST_MAX,
    NotConvertible,
    Validator,
    fields_of,
    listed,
    nullable,
    number_of,
    object_schema,
    refuse_repeated,
    text,
    validator,
)

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_OPT_NAME = re.compile(r"(?:tag:!?[A-Za-z0-9_-]+,)*([A-Za-z0-9-]+)\Z")
_OPT_VALUE = re.compile(r"[\x20-\x7e]*\Z")
_CLIENT_ID = re.compile(r"[A-Za-z0-9:._*-]+\Z")

DNS_NAME_LENGTH_MAX = 255
OPT_NAME_LENGTH_MAX = 64
OPT_NUMBER_MAX = {4: 254, 6: 65535}
"""Option codes have one octet in DHCPv4, two in DHCPv6; 255 ends DHCPv4's list."""
CLIENT_ID_OPTIONS = frozenset({"client-id", "61"})
"""Not sent to the client, but what the server is to know it by."""

BLANK_DHCP_OPTIONS = frozenset({"router", "classless-static-route"})
"""Options that may be given without a value: "do not send it" (Neutron: extra_dhcp_opt)."""

_ip_version = number_of((4, 6))
_opt_value_text = text(255)
_name_text = text(DNS_NAME_LENGTH_MAX)


@validator(
    nullable(
        {
            "type": "array",
            "maxItems": LIST_MAX,
            "items": object_schema(
                {
                    "opt_name": {"type": "string", "minLength": 1, "maxLength": OPT_NAME_LENGTH_MAX},
                    "opt_value": {"type": ["string", "null"], "maxLength": 255},
                },
                {"ip_version": {"enum": [4, 6]}},
            ),
        }
    )
)
def extra_dhcp_opts(value: Any) -> list[dict[str, Any]]:
    """DHCP options of a port: [{"opt_name", "opt_value", "ip_version"?}]; a null value removes one on update."""
    try:
        return _extra_dhcp_opts(value)
    except ValueError as error:
        raise NotConvertible(str(error)) from None


def _extra_dhcp_opts(value: Any) -> list[dict[str, Any]]:
    options = []
    for item in [] if value is None else listed(value):
        entry = fields_of(item, ("opt_name", "opt_value"), ("ip_version",))
        version = _ip_version(entry.get("ip_version", 4))
        name, option_value = entry["opt_name"], entry["opt_value"]
        matched = _OPT_NAME.match(name) if isinstance(name, str) and len(name) <= OPT_NAME_LENGTH_MAX else None
        if matched is None:
            raise ValueError(f"opt_name {name!r} is not a DHCP option's name or number")
        if matched[1].isdigit() and not 1 <= int(matched[1]) <= OPT_NUMBER_MAX[version]:
            raise ValueError(
                f"opt_name {name!r}: DHCPv{version} options have numbers from 1 to {OPT_NUMBER_MAX[version]}"
            )
        if option_value is not None:
            option_value = _dhcp_option_value(name, option_value)
        options.append({"opt_name": name, "opt_value": option_value, "ip_version": version})
    refuse_repeated((option["opt_name"], option["ip_version"]) for option in options)
    return options


def _dhcp_option_value(name: str, value: Any) -> str:
    """What may stand behind an option in a DHCP server's file."""
    checked: str = _opt_value_text(value)
    if not checked.strip() and name not in BLANK_DHCP_OPTIONS:
        raise ValueError(f"opt_value of {name!r} is empty")
    if not _OPT_VALUE.match(checked):
        raise ValueError(f"opt_value {checked!r} of {name!r} has characters other than printable ASCII")
    if name in CLIENT_ID_OPTIONS and not _CLIENT_ID.match(checked):
        raise ValueError(f"opt_value {checked!r} of {name!r}: use letters, digits and any of : . _ * -")
    return checked


def _labels(value: Any) -> tuple[str, list[str]]:
    """A name in lower case, and what stands between its dots."""
    if not isinstance(value, str):
        raise NotConvertible(f"{value!r} is not text")
    name: str = _name_text(value).lower()
    return name, name.removesuffix(".").split(".")


@validator({"type": "string", "maxLength": DNS_NAME_LENGTH_MAX})
def dns_name(value: Any) -> str:
    """A host name or a fully qualified name, in lower case (RFC 1123), or empty."""
    name, labels = _labels(value)
    if not name:
        return name
    if not all(_DNS_LABEL.match(label) for label in labels):
        raise ValueError(f"{value!r} is not a DNS name: letters, digits and hyphens, labels of at most 63")
    if len(labels) > 1 and labels[-1].isdigit():
        raise ValueError(f"{value!r} is not a DNS name: its last label must not be a number")
    if name.endswith(".") and len(labels) == 1:
        raise ValueError(f"{value!r} is not a host's full name: leave out the last dot, or give the domain")
    return name


@validator({"type": "string", "maxLength": DNS_NAME_LENGTH_MAX - 2})
def dns_domain(value: Any) -> str:
    """A domain's full name with its last dot, in lower case, or empty (Neutron: dns_domain)."""
    name, labels = _labels(value)
    if not name:
        return name
    if not name.endswith(".") or len(name) > DNS_NAME_LENGTH_MAX - 2:
        raise ValueError(f"{value!r} is not a domain's full name: it ends with a dot and leaves room for a host's name")
    if not all(_DNS_LABEL.match(label) for label in labels) or (len(labels) > 1 and labels[-1].isdigit()):
        raise ValueError(f"{value!r} is not a domain's full name such as example.org.")
    return name


__all__ = ["Validator", "dns_domain", "dns_name", "extra_dhcp_opts"]
