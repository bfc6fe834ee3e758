"""The attributes of an RBAC policy, and what it may say of which kind of object."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from cove.network import validators as v
from cove.network.attributes import REQUIRED, Attribute, AttributeTable
from cove.network.tables.common import ID, PROJECT

SHARED = "access_as_shared"
EXTERNAL = "access_as_external"
EVERYONE = "*"

ACTIONS: Mapping[str, tuple[str, ...]] = {
    "network": (SHARED, EXTERNAL),
    "subnetpool": (SHARED,),
    "address_scope": (SHARED,),
    "security_group": (SHARED,),
}
"""Kind of object → what may be said of it (Neutron: `get_valid_actions` of its RBAC models)."""


@v.validator({"enum": list(ACTIONS)})
def object_type(value: Any) -> str:
    """A kind of object that can be shared, in any case of letters."""
    kind = value.strip().lower() if isinstance(value, str) else ""
    if kind not in ACTIONS:
        raise v.NotConvertible(f"{value!r} is not one of {', '.join(ACTIONS)}")
    return kind


@v.validator({"anyOf": [{"const": EVERYONE}, {"type": "string", "pattern": "^[0-9a-fA-F-]{32,36}$"}]})
def target_project(value: Any) -> str:
    """A project's id, as the identity service writes it, or `*` for all projects."""
    if value == EVERYONE:
        return EVERYONE
    if isinstance(value, str) and len(value) in (32, 36):
        try:
            uuid.UUID(value)
        except ValueError:
            pass
        else:
            return value
    raise v.NotConvertible(f"{value!r} is neither the id of a project nor '*'")


RBAC_POLICY = AttributeTable(
    "rbac_policy",
    "rbac_policies",
    (
        ID,
        *PROJECT,
        Attribute("object_type", object_type, default=REQUIRED, post=True, filter=True, strict_filter=True),
        Attribute("object_id", v.uuid_text, default=REQUIRED, post=True, filter=True),
        Attribute("action", v.text(255), default=REQUIRED, post=True, filter=True),
        Attribute(
            "target_tenant",
            target_project,
            default=REQUIRED,
            post=True,
            put=True,
            filter=True,
            column="target_project",
        ),
    ),
    extension="rbac-policies",
)
