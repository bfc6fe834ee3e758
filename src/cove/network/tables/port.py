"""The attributes of a port."""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import REQUIRED, UNSET, Attribute, AttributeTable
from cove.network.tables.common import ID, NAME, PROJECT, STANDARD_TAGGED_AT_CREATION, boolean

VNIC_TYPES = (
    "normal",
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "vdpa",
    "accelerator-direct",
    "accelerator-direct-physical",
    "remote-managed",
)

PORT = AttributeTable(
    "port",
    "ports",
    (
        ID,
        NAME,
        Attribute("network_id", v.uuid_text, default=REQUIRED, post=True, filter=True, sort=True),
        *PROJECT,
        Attribute("mac_address", v.mac_address_or_null, default=UNSET, post=True, put=True, filter=True, sort=True),
        boolean("admin_state_up", default=True, sort=True),
        Attribute("status", v.text(16), filter=True, sort=True),
        Attribute("device_id", v.text(255), default="", post=True, put=True, filter=True, sort=True),
        Attribute("device_owner", v.text(255), default="", post=True, put=True, filter=True, sort=True),
        Attribute("fixed_ips", v.fixed_ips, default=UNSET, post=True, put=True, filter=True, column="-"),
        Attribute(
            "allowed_address_pairs",
            v.address_pairs,
            default=UNSET,
            post=True,
            put=True,
            extension="allowed-address-pairs",
        ),
        Attribute("extra_dhcp_opts", v.extra_dhcp_opts, default=[], post=True, put=True, extension="extra_dhcp_opt"),
        Attribute(
            "security_groups",
            v.list_of(v.uuid_text, null=True),
            default=UNSET,
            post=True,
            put=True,
            filter=True,
            column="-",
            extension="security-group",
        ),
        boolean("port_security_enabled", default=UNSET, extension="port-security"),
        Attribute("dns_name", v.dns_name, default="", post=True, put=True, filter=True, extension="dns-integration"),
        Attribute("dns_assignment", v.items, column="-", extension="dns-integration"),
        Attribute("dns_domain", v.dns_domain, default="", post=True, put=True, extension="dns-domain-ports"),
        Attribute(
            "binding:vnic_type",
            v.one_of(VNIC_TYPES),
            default="normal",
            post=True,
            put=True,
            filter=True,
            column="binding_vnic_type",
            extension="binding",
        ),
        Attribute(
            "binding:host_id",
            v.text_or_null(255),
            default=UNSET,
            post=True,
            put=True,
            filter=True,
            column="binding_host_id",
            extension="binding",
        ),
        Attribute(
            "binding:profile",
            v.mapping_or_none,
            default=UNSET,
            post=True,
            put=True,
            column="binding_profile",
            extension="binding",
        ),
        Attribute("binding:vif_type", v.text(64), column="-", extension="binding"),
        Attribute("binding:vif_details", v.mapping_or_none, column="-", extension="binding"),
        boolean("propagate_uplink_status", default=True, filter=False, extension="uplink-status-propagation"),
        Attribute("ip_allocation", v.text(16), filter=True, sort=True, extension="ip_allocation"),
        *STANDARD_TAGGED_AT_CREATION,
    ),
)
