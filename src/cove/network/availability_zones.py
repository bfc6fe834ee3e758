"""Availability zones: where agents say they are, hence where networks can be and are served.

A zone exists because an agent is in it. Networks may be created with hints; the scheduler gives them only to agents in
those zones. The resource `availability_zones` is read only, and has no table of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import errors
from cove.network.models import agents
from cove.network.models import network_dhcp_agent_bindings as bindings
from cove.network.transaction import Reading

RESOURCE_OF_AGENT_TYPE = {"DHCP agent": "network"}
"""What is served by agents of a type."""

AVAILABLE, UNAVAILABLE = "available", "unavailable"

_zones_of_networks = (
    sa.select(bindings.c.network_id, agents.c.availability_zone)
    .join(agents, agents.c.id == bindings.c.agent_id)
    .where(in_ids(bindings.c.network_id, "ids"))
    .distinct()
    .order_by(agents.c.availability_zone)
)
_zones = (
    sa.select(
        agents.c.availability_zone, agents.c.agent_type, sa.func.max(sa.cast(agents.c.admin_state_up, sa.Integer))
    )
    .where(agents.c.agent_type.in_(list(RESOURCE_OF_AGENT_TYPE)))
    .group_by(agents.c.availability_zone, agents.c.agent_type)
    .order_by(agents.c.availability_zone, agents.c.agent_type)
)
_network_zones = (
    sa.select(agents.c.availability_zone)
    .where(agents.c.agent_type == "DHCP agent", in_ids(agents.c.availability_zone, "names"))
    .distinct()
)


def zones_of_networks(reading: Reading, ids: Sequence[str]) -> dict[str, list[str]]:
    """The zones of the agents that serve networks, sorted: id → zones, for those that are served."""
    result: dict[str, list[str]] = {}
    for network_id, zone in reading.connection.execute(_zones_of_networks, {"ids": ids_parameter(ids)}):
        result.setdefault(network_id, []).append(zone)
    return result


def check_zones(reading: Reading, hints: Iterable[str]) -> None:
    """Refuse hints that name a zone without a DHCP agent. Raises AvailabilityZoneNotFound."""
    names = list(hints)
    if not names:
        return
    known = set(reading.connection.execute(_network_zones, {"names": ids_parameter(names)}).scalars())
    for name in names:
        if name not in known:
            raise errors.AvailabilityZoneNotFound(availability_zone=name)


def find(reading: Reading, filters: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Every zone with what it is for, and whether any of its agents is administratively up.

    `filters`: name, resource and state → accepted values.
    """
    zones = [
        {
            "name": zone,
            "resource": RESOURCE_OF_AGENT_TYPE[agent_type],
            "state": AVAILABLE if up else UNAVAILABLE,
        }
        for zone, agent_type, up in reading.connection.execute(_zones)
    ]
    return [zone for zone in zones if all(zone[name] in values for name, values in filters.items())]
