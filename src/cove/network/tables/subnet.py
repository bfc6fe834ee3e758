"""The attributes of a subnet."""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import REQUIRED, UNSET, Attribute, AttributeTable
from cove.network.tables.common import ID, NAME, PROJECT, STANDARD, boolean

IPV6_MODES = ("slaac", "dhcpv6-stateful", "dhcpv6-stateless")
SERVICE_TYPE_LENGTH_MAX = 255
SERVICE_TYPES_MAX = 64

_ipv6_mode = v.one_of((*IPV6_MODES, None))

SUBNET = AttributeTable(
    "subnet",
    "subnets",
    (
        ID,
        NAME,
        Attribute("network_id", v.uuid_text, default=REQUIRED, post=True, filter=True, sort=True),
        Attribute(
            "ip_version", v.number_of((4, 6)), default=REQUIRED, post=True, filter=True, strict_filter=True, sort=True
        ),
        Attribute("cidr", v.cidr, default=UNSET, post=True, filter=True, strict_filter=True, sort=True),
        # How long the prefix is to be that is cut out of a subnet pool; the answer has it in `cidr`.
        Attribute("prefixlen", v.integer(0, 128), default=UNSET, post=True, column="-", extension="subnet_allocation"),
        Attribute(
            "subnetpool_id",
            v.subnetpool_id,
            default=None,
            post=True,
            filter=True,
            sort=True,
            extension="subnet_allocation",
        ),
        Attribute(
            "use_default_subnetpool",
            v.boolean,
            default=False,
            post=True,
            column="-",
            extension="default-subnetpools",
        ),
        Attribute("gateway_ip", v.ip_or_null, default=UNSET, post=True, put=True, filter=True, sort=True),
        Attribute("allocation_pools", v.ip_pools, default=UNSET, post=True, put=True),
        boolean("enable_dhcp", default=True, sort=True),
        Attribute("dns_nameservers", v.nameservers, default=[], post=True, put=True),
        Attribute("host_routes", v.host_routes, default=[], post=True, put=True),
        *PROJECT,
        Attribute("ipv6_ra_mode", _ipv6_mode, default=None, post=True, filter=True, sort=True),
        Attribute("ipv6_address_mode", _ipv6_mode, default=None, post=True, filter=True, sort=True),
        Attribute(
            "service_types",
            v.service_types(SERVICE_TYPE_LENGTH_MAX, SERVICE_TYPES_MAX),
            default=[],
            post=True,
            put=True,
            extension="subnet-service-types",
        ),
        Attribute(
            "dns_publish_fixed_ip",
            v.boolean,
            default=False,
            post=True,
            put=True,
            extension="subnet-dns-publish-fixed-ip",
        ),
        # Both follow from the network. Whether it is shared only serves as a filter: no answer shows it.
        Attribute("shared", v.boolean, filter=True, strict_filter=True, column="-"),
        Attribute(
            "router:external",
            v.boolean,
            filter=True,
            strict_filter=True,
            column="-",
            extension="subnet-external-network",
        ),
        *STANDARD,
    ),
)
