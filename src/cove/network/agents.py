"""Agents as a resource of the API, for admins: who there is, who lives, and which networks a DHCP agent serves.

Agents make themselves known by their reports (cove.network.scheduler). An admin may switch one off and on, describe
it, forget it, and give it networks or take them from it (Neutron: extensions agent, dhcp_agent_scheduler).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cove.network import errors, networks, notifier, queries, scheduler
from cove.network.context import RequestContext
from cove.network.models import agents
from cove.network.models import network_dhcp_agent_bindings as bindings
from cove.network.queries import ListQuery
from cove.network.resource import Object, Resource
from cove.network.rows import Row
from cove.network.scheduler import DHCP_AGENT_TYPE
from cove.network.tables.agent import AGENT
from cove.network.transaction import Reading, Transaction

_p = sa.bindparam
_networks_of = sa.select(bindings.c.network_id).where(bindings.c.agent_id == _p("agent_id"))
_agents_of = (
    sa.select(agents)
    .join(bindings, bindings.c.agent_id == agents.c.id)
    .where(bindings.c.network_id == _p("network_id"))
    .order_by(agents.c.id)
)
_binding = sa.select(bindings.c.agent_id).where(
    bindings.c.network_id == _p("network_id"), bindings.c.agent_id == _p("agent_id")
)


# --- showing ---------------------------------------------------------------------------------------------------------


def view(reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Agents as the API shows them."""
    alive_since = time.time() - reading.config.agent_down_time_s
    return [
        {
            "id": row["id"],
            "agent_type": row["agent_type"],
            "binary": row["binary"],
            "host": row["host"],
            "topic": row["topic"],
            "availability_zone": row["availability_zone"],
            "admin_state_up": row["admin_state_up"],
            "alive": row["heartbeat_at"] >= alive_since,
            "configurations": row["configurations"],
            "description": row["description"] or None,
            "created_at": row["created_at"].replace("T", " ").removesuffix("Z"),
            "started_at": None if row["started_at"] is None else _time_text(row["started_at"]),
            "heartbeat_timestamp": _time_text(row["heartbeat_at"]),
            "resources_synced": None,
        }
        for row in rows
    ]


def scope(_context: RequestContext) -> sa.ColumnElement[bool]:
    """Agents belong to nobody's project."""
    return sa.false()


def _time_text(seconds: float) -> str:
    """A time as it is written of agents, UTC: 2026-11-21 21:44:09."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _alive(reading: Reading, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    since = time.time() - reading.config.agent_down_time_s
    conditions = {True: agents.c.heartbeat_at >= since, False: agents.c.heartbeat_at < since}
    wanted = [condition for value, condition in conditions.items() if value in [_boolean(given) for given in values]]
    return sa.or_(sa.false(), *wanted)


def _boolean(value: Any) -> bool | None:
    try:
        return bool(AGENT.by_name["alive"].convert(value))
    except ValueError:
        return None


# --- transactions ----------------------------------------------------------------------------------------------------


def update(tx: Transaction, row: Row, changes: dict[str, Any]) -> Object:
    """Change an agent; one that is switched off or on is told."""
    changes = {name: value for name, value in changes.items() if row[name] != value}
    if changes:
        tx.connection.execute(sa.update(agents).where(agents.c.id == row["id"]).values(**changes))
    if "admin_state_up" in changes and row["agent_type"] == DHCP_AGENT_TYPE:
        notifier.agent_updated(tx, row["host"], admin_state_up=changes["admin_state_up"])
    return queries.view_one(tx, RESOURCE, {**row, **changes})


def delete(tx: Transaction, row: Row) -> Object:
    """Forget an agent and what it serves. One that lives makes itself known again with its next report."""
    tx.connection.execute(sa.delete(bindings).where(bindings.c.agent_id == row["id"]))
    tx.connection.execute(sa.delete(agents).where(agents.c.id == row["id"]))
    return queries.view_one(tx, RESOURCE, row)


# --- the networks of a DHCP agent ------------------------------------------------------------------------------------


def networks_of(reading: Reading, agent_id: str) -> list[Object]:
    """The networks that an agent serves. Raises AgentNotFound."""
    _agent(reading, agent_id)
    ids = list(reading.connection.execute(_networks_of, {"agent_id": agent_id}).scalars())
    return queries.find(reading, networks.RESOURCE, ListQuery(filters={"id": ids})) if ids else []


def agents_of(reading: Reading, network_id: str) -> list[Object]:
    """The agents that serve a network; none for one that is not there."""
    return view(reading, reading.connection.execute(_agents_of, {"network_id": network_id}).mappings().all())


def add_network(tx: Transaction, agent_id: str, network_id: str) -> None:
    """Give a network to an agent, and tell it.

    Raises NetworkNotFound, AgentNotFound, InvalidDHCPAgent, NetworkHostedByDHCPAgent.
    """
    queries.row(tx, networks.RESOURCE, network_id)
    agent = _agent(tx, agent_id)
    if agent["agent_type"] != DHCP_AGENT_TYPE or not agent["admin_state_up"]:
        raise errors.InvalidDHCPAgent(id=agent_id)
    if tx.connection.execute(_binding, {"network_id": network_id, "agent_id": agent_id}).first() is not None:
        raise errors.NetworkHostedByDHCPAgent(network_id=network_id, agent_id=agent_id)
    scheduler.bind(tx, network_id, agent_id)
    notifier.network_added(tx, network_id, agent["host"])


def remove_network(tx: Transaction, agent_id: str, network_id: str) -> None:
    """Take a network from an agent, and tell it. Raises AgentNotFound, NetworkNotHostedByDhcpAgent."""
    agent = _agent(tx, agent_id)
    if not scheduler.unbind(tx, network_id, agent_id, agent["host"]):
        raise errors.NetworkNotHostedByDhcpAgent(network_id=network_id, agent_id=agent_id)
    notifier.network_removed(tx, network_id, agent["host"])


def _agent(reading: Reading, agent_id: str) -> Row:
    return queries.row(reading, RESOURCE, agent_id)


def _of_type(_reading: Reading, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Agents of a type, in whatever case it is written: clients rely on it (MySQL compares texts so)."""
    return sa.func.lower(agents.c.agent_type).in_([str(value).lower() for value in values])


RESOURCE = Resource(
    attributes=AGENT,
    table=agents,
    view=view,
    scope=scope,
    update=update,
    delete=delete,
    filters={"alive": _alive, "agent_type": _of_type},
    counted=False,
)
