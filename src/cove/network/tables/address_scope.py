"""The attributes of an address scope."""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import REQUIRED, Attribute, AttributeTable
from cove.network.tables.common import ID, NAME, PROJECT, SHARED

ADDRESS_SCOPE = AttributeTable(
    "address_scope",
    "address_scopes",
    (
        ID,
        NAME,
        *PROJECT,
        SHARED,
        Attribute(
            "ip_version", v.number_of((4, 6)), default=REQUIRED, post=True, filter=True, strict_filter=True, sort=True
        ),
    ),
    extension="address-scope",
)
