"""The attributes of an agent."""

from __future__ import annotations

from cove.network import validators as v
from cove.network.attributes import Attribute, AttributeTable
from cove.network.tables.common import DESCRIPTION_LENGTH_MAX, ID, boolean

SYNCED = v.optional(v.boolean)

AGENT = AttributeTable(
    "agent",
    "agents",
    (
        ID,
        Attribute("agent_type", v.text(64), filter=True, sort=True),
        Attribute("binary", v.text(255), filter=True, sort=True),
        Attribute("host", v.text(255), filter=True, sort=True),
        Attribute("topic", v.text(255), filter=True, sort=True),
        Attribute("availability_zone", v.text(255), filter=True, sort=True, extension="availability_zone"),
        boolean("admin_state_up", post=False, sort=True),
        # Whether it was heard of lately enough; who was heard of last comes last.
        boolean("alive", post=False, put=False, sort=True, column="heartbeat_at"),
        Attribute("configurations", v.mapping_or_none),
        Attribute(
            "description",
            v.text_or_null(DESCRIPTION_LENGTH_MAX),
            put=True,
            filter=True,
            sort=True,
        ),
        Attribute("created_at", v.text(20), sort=True),
        Attribute("started_at", v.text(20), sort=True),
        Attribute("heartbeat_timestamp", v.text(20), sort=True, column="heartbeat_at"),
        Attribute("resources_synced", SYNCED, column="-", extension="agent-resources-synced"),
    ),
    extension="agent",
)
