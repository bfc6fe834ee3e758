"""The attributes of a security group rule, and of the rules that new groups get."""

from __future__ import annotations

from cove.network import security_group_values as values
from cove.network import validators as v
from cove.network.attributes import REQUIRED, Attribute, AttributeTable
from cove.network.tables.common import DESCRIPTION_LENGTH_MAX, ID, PROJECT, STANDARD, boolean

_GROUP_ID_LENGTH_MAX = 255

# What one rule says about packets.
_MATCH = (
    Attribute("ethertype", values.ethertype, default=values.IPV4, post=True, filter=True, sort=True),
    Attribute("direction", v.one_of(values.DIRECTIONS), default=REQUIRED, post=True, filter=True, sort=True),
    Attribute("protocol", values.protocol, default=None, post=True, filter=True, sort=True),
    Attribute("port_range_min", values.port, default=None, post=True, filter=True, sort=True),
    Attribute("port_range_max", values.port, default=None, post=True, filter=True, sort=True),
    Attribute("remote_ip_prefix", values.ip_prefix, default=None, post=True, filter=True, sort=True),
    Attribute(
        "remote_address_group_id",
        v.optional(v.text(_GROUP_ID_LENGTH_MAX)),
        default=None,
        post=True,
        filter=True,
        column="-",
        extension="security-groups-remote-address-group",
    ),
)

_REMOTE_GROUP = Attribute(
    "remote_group_id",
    # Any text: what is no id of a group that the caller sees is "not found".
    v.optional(v.text(_GROUP_ID_LENGTH_MAX)),
    default=None,
    post=True,
    filter=True,
    sort=True,
)

_DESCRIPTION = Attribute(
    "description",
    v.text(DESCRIPTION_LENGTH_MAX, breaks=True),
    default="",
    post=True,
    filter=True,
    sort=True,
    extension="standard-attr-description",
)
"""A rule never changes, so this does not either."""

_HISTORY = tuple(a for a in STANDARD if a.name in ("created_at", "updated_at", "revision_number"))

SECURITY_GROUP_RULE = AttributeTable(
    "security_group_rule",
    "security_group_rules",
    (
        ID,
        *PROJECT,
        Attribute(
            "security_group_id",
            v.text(_GROUP_ID_LENGTH_MAX),
            default=REQUIRED,
            post=True,
            filter=True,
            sort=True,
        ),
        *_MATCH,
        Attribute(
            "normalized_cidr", values.ip_prefix, filter=True, sort=True, extension="security-groups-normalized-cidr"
        ),
        _REMOTE_GROUP,
        boolean(
            "belongs_to_default_sg",
            post=False,
            put=False,
            column="-",
            extension="security-groups-rules-belongs-to-default-sg",
        ),
        _DESCRIPTION,
        *_HISTORY,
    ),
    extension="security-group",
)

DEFAULT_SECURITY_GROUP_RULE = AttributeTable(
    "default_security_group_rule",
    "default_security_group_rules",
    (
        ID,
        *_MATCH,
        _REMOTE_GROUP,
        boolean("used_in_default_sg", put=False, default=REQUIRED),
        boolean("used_in_non_default_sg", put=False, default=REQUIRED),
        _DESCRIPTION,
    ),
    extension="security-groups-default-rules",
)
