"""The attributes of a subnet pool."""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import REQUIRED, UNSET, Attribute, AttributeTable
from cove.network.tables.common import ID, NAME_LENGTH_MAX, PROJECT, STANDARD, boolean

QUOTA_MAX = (1 << 63) - 1
PREFIX_LENGTH_MAX = 1000
"""Beyond what is one: the IP version, which says how long a prefix can be, follows from the pool's prefixes."""


def _prefix_length(name: str) -> Attribute:
    """Checked against the others and the IP version by the subnet pool's own rules."""
    return Attribute(
        name,
        v.integer(0, PREFIX_LENGTH_MAX),
        default=UNSET,
        post=True,
        put=True,
        filter=True,
        strict_filter=True,
        sort=True,
    )


SUBNETPOOL = AttributeTable(
    "subnetpool",
    "subnetpools",
    (
        ID,
        Attribute(
            "name",
            v.name(NAME_LENGTH_MAX, required=True),
            default=REQUIRED,
            post=True,
            put=True,
            filter=True,
            sort=True,
        ),
        *PROJECT,
        Attribute("prefixes", v.list_of(v.prefix), default=REQUIRED, post=True, put=True),
        Attribute(
            "default_quota",
            v.integer_or_null(0, QUOTA_MAX),
            default=None,
            post=True,
            put=True,
            filter=True,
            strict_filter=True,
            sort=True,
        ),
        Attribute("ip_version", v.number_of((4, 6)), filter=True, sort=True),
        _prefix_length("default_prefixlen"),
        _prefix_length("min_prefixlen"),
        _prefix_length("max_prefixlen"),
        boolean("is_default", default=False, sort=True),
        boolean("shared", default=False, put=False, column="-"),
        Attribute(
            "address_scope_id",
            v.uuid_or_null,
            default=None,
            post=True,
            put=True,
            filter=True,
            sort=True,
            extension="address-scope",
        ),
        *STANDARD,
    ),
)
