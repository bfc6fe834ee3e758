"""The attribute tables of networks, subnets and ports: names, defaults and rules of Networking v2.0.

Extensions that have no behaviour here yet (security groups, subnet pools, segments, QoS) appear only where clients
expect the attribute, and take only the value that means "none".
"""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import REQUIRED, UNSET, Attribute, AttributeTable, Visible

NAME_LENGTH_MAX = 255
MTU_MIN, MTU_MAX = 68, 65535
VNIC_TYPES = ("normal", "direct", "macvtap", "baremetal", "direct-physical", "virtio-forwarder", "smart-nic")


def _head() -> tuple[Attribute, ...]:
    return (
        Attribute("id", v.uuid_text, filter=True, sort=True, primary_key=True),
        Attribute("name", v.text(NAME_LENGTH_MAX), default="", post=True, put=True, filter=True, sort=True),
    )


_PROJECT = (
    Attribute("project_id", v.text(255), post=True, filter=True, sort=True, required_by_policy=True),
    Attribute(
        "tenant_id",
        v.text(255),
        post=True,
        filter=True,
        sort=True,
        column="project_id",
        required_by_policy=True,
    ),
)

_TAIL = (
    Attribute("description", v.text(255, breaks=True), default="", post=True, put=True, filter=True, sort=True),
    Attribute("tags", v.empty_list("tags are not supported yet"), column="-"),
    Attribute("created_at", v.text(20), sort=True),
    Attribute("updated_at", v.text(20), sort=True),
    Attribute("revision_number", v.integer(0, 1 << 62), filter=True, strict_filter=True, sort=True),
)

NETWORK = AttributeTable(
    "network",
    "networks",
    (
        *_head(),
        Attribute("status", v.text(16), filter=True, sort=True),
        Attribute(
            "admin_state_up", v.boolean, default=True, post=True, put=True, filter=True, strict_filter=True, sort=True
        ),
        Attribute("subnets", v.items, column="-"),
        *_PROJECT,
        Attribute(
            "shared",
            v.boolean,
            default=False,
            post=True,
            put=True,
            filter=True,
            strict_filter=True,
            required_by_policy=True,
            admin_only=True,
        ),
        Attribute(
            "mtu",
            v.integer(MTU_MIN, MTU_MAX),
            default=UNSET,
            post=True,
            put=True,
            filter=True,
            strict_filter=True,
            sort=True,
        ),
        Attribute(
            "router:external",
            v.boolean,
            default=False,
            post=True,
            put=True,
            filter=True,
            strict_filter=True,
            column="router_external",
            required_by_policy=True,
            admin_only=True,
        ),
        Attribute("port_security_enabled", v.boolean, default=True, post=True, put=True),
        Attribute("dns_domain", v.dns_name, default="", post=True, put=True),
        Attribute("availability_zone_hints", v.empty_list("there is one zone"), default=[], post=True, column="-"),
        Attribute("availability_zones", v.items, column="-"),
        Attribute("ipv4_address_scope", v.only_null("address scopes are not supported"), column="-"),
        Attribute("ipv6_address_scope", v.only_null("address scopes are not supported"), column="-"),
        *_TAIL,
    ),
)

_IPV6_MODE = v.only_null("ipv6_ra_mode and ipv6_address_mode are for IPv6, which is not supported yet")

SUBNET = AttributeTable(
    "subnet",
    "subnets",
    (
        *_head(),
        Attribute(
            "network_id",
            v.uuid_text,
            default=REQUIRED,
            post=True,
            filter=True,
            sort=True,
            required_by_policy=True,
        ),
        Attribute(
            "ip_version", v.integer(4, 6), default=REQUIRED, post=True, filter=True, strict_filter=True, sort=True
        ),
        Attribute("cidr", v.ipv4_cidr, default=REQUIRED, post=True, filter=True, sort=True),
        Attribute(
            "gateway_ip",
            v.optional(v.ipv4_address),
            default=UNSET,
            post=True,
            put=True,
            filter=True,
            sort=True,
        ),
        Attribute("allocation_pools", v.ip_pools, default=UNSET, post=True, put=True),
        Attribute(
            "enable_dhcp", v.boolean, default=True, post=True, put=True, filter=True, strict_filter=True, sort=True
        ),
        Attribute("dns_nameservers", v.nameservers, default=[], post=True, put=True),
        Attribute("host_routes", v.host_routes, default=[], post=True, put=True),
        *_PROJECT,
        Attribute("ipv6_ra_mode", _IPV6_MODE, default=None, post=True, column="-"),
        Attribute("ipv6_address_mode", _IPV6_MODE, default=None, post=True, column="-"),
        Attribute(
            "subnetpool_id",
            v.only_null("subnet pools are not supported; give a cidr"),
            default=None,
            post=True,
            column="-",
        ),
        Attribute(
            "segment_id",
            v.only_null("segments are not supported"),
            default=None,
            post=True,
            put=True,
            column="-",
        ),
        Attribute(
            "service_types",
            v.empty_list("service types are not supported"),
            default=[],
            post=True,
            put=True,
            column="-",
        ),
        Attribute("dns_publish_fixed_ip", v.one_of((False,)), default=False, post=True, put=True, column="-"),
        *_TAIL,
    ),
)

PORT = AttributeTable(
    "port",
    "ports",
    (
        *_head(),
        Attribute(
            "network_id",
            v.uuid_text,
            default=REQUIRED,
            post=True,
            filter=True,
            sort=True,
            required_by_policy=True,
        ),
        *_PROJECT,
        Attribute("mac_address", v.mac_address, default=UNSET, post=True, put=True, filter=True, sort=True),
        Attribute(
            "admin_state_up", v.boolean, default=True, post=True, put=True, filter=True, strict_filter=True, sort=True
        ),
        Attribute("status", v.text(16), filter=True, sort=True),
        Attribute("device_id", v.text(255), default="", post=True, put=True, filter=True, sort=True),
        Attribute("device_owner", v.text(255), default="", post=True, put=True, filter=True, sort=True),
        Attribute("fixed_ips", v.fixed_ips, default=UNSET, post=True, put=True, filter=True, column="-"),
        Attribute("allowed_address_pairs", v.address_pairs, default=[], post=True, put=True),
        Attribute("extra_dhcp_opts", v.extra_dhcp_opts, default=[], post=True, put=True),
        Attribute(
            "security_groups",
            v.empty_list("security groups are not supported yet; leave it out or give []"),
            default=[],
            post=True,
            put=True,
            column="-",
        ),
        Attribute("port_security_enabled", v.boolean, default=UNSET, post=True, put=True),
        Attribute("dns_name", v.dns_name, default="", post=True, put=True),
        Attribute("dns_assignment", v.items, column="-"),
        Attribute(
            "binding:vnic_type",
            v.one_of(VNIC_TYPES),
            default="normal",
            post=True,
            put=True,
            column="binding_vnic_type",
        ),
        Attribute(
            "binding:host_id",
            v.text_or_null(255),
            default="",
            post=True,
            put=True,
            filter=True,
            column="binding_host_id",
            visible=Visible.ADMIN,
            admin_only=True,
        ),
        Attribute(
            "binding:profile",
            v.mapping_or_none,
            default={},
            post=True,
            put=True,
            column="binding_profile",
            visible=Visible.ADMIN,
            admin_only=True,
        ),
        Attribute("binding:vif_type", v.text(64), column="-", visible=Visible.ADMIN),
        Attribute("binding:vif_details", v.mapping_or_none, column="-", visible=Visible.ADMIN),
        Attribute("ip_allocation", v.text(16), filter=True),
        *_TAIL,
    ),
)

RESOURCES = {table.resource: table for table in (NETWORK, SUBNET, PORT)}
