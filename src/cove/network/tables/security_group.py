"""The attributes of a security group."""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import Attribute, AttributeTable
from cove.network.tables.common import ID, NAME_LENGTH_MAX, PROJECT, STANDARD, boolean

SECURITY_GROUP = AttributeTable(
    "security_group",
    "security_groups",
    (
        ID,
        # White space around it is fine: Neutron takes it here, and only here.
        Attribute("name", v.text(NAME_LENGTH_MAX), default="", post=True, put=True, filter=True, sort=True),
        boolean("stateful", default=True, extension="stateful-security-group"),
        *PROJECT,
        boolean(
            "shared",
            post=False,
            put=False,
            column="-",
            extension="security-groups-shared-filtering",
        ),
        Attribute("security_group_rules", v.items, column="-"),
        *STANDARD,
    ),
    extension="security-group",
)
