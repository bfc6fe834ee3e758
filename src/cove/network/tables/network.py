"""The attributes of a network."""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import UNSET, Attribute, AttributeTable
from cove.network.tables.common import ID, NAME, PROJECT, SHARED, STANDARD, boolean

NUMBER_MAX = (1 << 31) - 1
"""Of numbers in general; which ones a network can have depends on its type (`cove.network.segments`)."""
NETWORK_TYPE_LENGTH_MAX = 32
PHYSICAL_NETWORK_LENGTH_MAX = 64
VLAN_ID_MIN, VLAN_ID_MAX = 1, 4094
VXLAN_ID_MIN, VXLAN_ID_MAX = 1, (1 << 24) - 1
ZONE_HINTS_MAX = 16


def _provider(column: str, convert: v.Validator, *, strict_filter: bool = False) -> Attribute:
    return Attribute(
        f"provider:{column}",
        convert,
        default=UNSET,
        post=True,
        put=True,
        filter=True,
        strict_filter=strict_filter,
        column=column,
        extension="provider",
    )


NETWORK = AttributeTable(
    "network",
    "networks",
    (
        ID,
        NAME,
        Attribute("status", v.text(16), filter=True, sort=True),
        boolean("admin_state_up", default=True, sort=True),
        Attribute("subnets", v.items, column="-"),
        *PROJECT,
        SHARED,
        Attribute(
            "mtu",
            v.integer(0, NUMBER_MAX),
            default=0,
            post=True,
            put=True,
            filter=True,
            strict_filter=True,
            sort=True,
            extension="net-mtu",
        ),
        boolean(
            "router:external",
            default=False,
            column="router_external",
            extension="external-net",
        ),
        boolean("is_default", default=False),
        boolean("port_security_enabled", default=True, extension="port-security"),
        Attribute(
            "dns_domain", v.dns_domain, default="", post=True, put=True, filter=True, extension="dns-integration"
        ),
        _provider("network_type", v.text(NETWORK_TYPE_LENGTH_MAX)),
        _provider("physical_network", v.text(PHYSICAL_NETWORK_LENGTH_MAX)),
        _provider("segmentation_id", v.integer(-NUMBER_MAX, NUMBER_MAX), strict_filter=True),
        Attribute(
            "availability_zone_hints",
            v.list_of(v.text(255), ZONE_HINTS_MAX),
            default=[],
            post=True,
            sort=True,
            extension="network_availability_zone",
        ),
        Attribute("availability_zones", v.items, column="-", extension="network_availability_zone"),
        Attribute("ipv4_address_scope", v.uuid_or_null, column="-", extension="address-scope"),
        Attribute("ipv6_address_scope", v.uuid_or_null, column="-", extension="address-scope"),
        *STANDARD,
    ),
)
