"""Which DHCP agent serves which network (Neutron: DHCP agent scheduler).

Agents are known from their reports (`report_state`). A network is bound to an agent when its first subnet or port is
created, or when an agent that asks what to serve finds it unserved.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cove.network.models import agents, networks, subnets
from cove.network.models import network_dhcp_agent_bindings as bindings
from cove.network.rows import now_text
from cove.network.transaction import Transaction

DHCP_AGENT_TYPE = "DHCP agent"
DHCP_AGENT_TOPIC = "dhcp_agent"

_p = sa.bindparam
_hosting = (
    sa.select(agents.c.id, agents.c.host, agents.c.topic, agents.c.admin_state_up)
    .join(bindings, bindings.c.agent_id == agents.c.id)
    .where(bindings.c.network_id == _p("network_id"))
    .order_by(agents.c.host)
)
_candidates = (
    sa.select(agents.c.id, agents.c.host, agents.c.topic, agents.c.admin_state_up)
    .outerjoin(bindings, bindings.c.agent_id == agents.c.id)
    .where(
        agents.c.agent_type == DHCP_AGENT_TYPE,
        agents.c.admin_state_up == sa.true(),
        agents.c.heartbeat_at >= _p("alive_since"),
    )
    .group_by(agents.c.id)
    .order_by(sa.func.count(bindings.c.network_id), agents.c.host)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class AgentRef:
    """An agent as a destination of notifications."""

    id: str
    host: str
    topic: str
    admin_state_up: bool


def agents_hosting(connection: sa.Connection, network_id: str) -> list[AgentRef]:
    """The agents that serve a network, dead or alive."""
    return [AgentRef(*row) for row in connection.execute(_hosting, {"network_id": network_id})]


def schedule_network(tx: Transaction, network_id: str, hosting: Sequence[AgentRef]) -> list[AgentRef]:
    """Bind an unserved network to the living agent with the fewest networks; returns the newly bound agents."""
    if hosting:
        return []
    row = tx.connection.execute(_candidates, {"alive_since": tx.now - tx.config.agent_down_time_s}).first()
    if row is None:
        return []
    agent = AgentRef(*row)
    tx.connection.execute(sa.insert(bindings), {"network_id": network_id, "agent_id": agent.id})
    return [agent]


def auto_schedule(tx: Transaction, host: str) -> list[str]:
    """Bind every unserved network that has a DHCP subnet to the agent on `host`; returns all it serves, oldest first.

    An agent that asks lives: one that has not reported yet is made known, so that it misses no notification between its
    question and its first report. An agent that is administratively down serves nothing.
    """
    connection = tx.connection
    agent = (
        connection.execute(sa.select(agents).where(agents.c.agent_type == DHCP_AGENT_TYPE, agents.c.host == host))
        .mappings()
        .first()
    )
    if agent is None:
        agent_id = str(uuid.uuid4())
        connection.execute(sa.insert(agents), _agent_row(agent_id, {"host": host}, tx.now))
    elif not agent["admin_state_up"]:
        return []
    else:
        agent_id = agent["id"]
        connection.execute(sa.update(agents).where(agents.c.id == agent_id).values(heartbeat_at=tx.now))
    unserved = sa.select(networks.c.id).where(
        networks.c.admin_state_up == sa.true(),
        sa.exists().where(subnets.c.network_id == networks.c.id, subnets.c.enable_dhcp == sa.true()),
        ~sa.exists().where(bindings.c.network_id == networks.c.id),
    )
    new = [{"network_id": network_id, "agent_id": agent_id} for network_id in connection.execute(unserved).scalars()]
    if new:
        connection.execute(sa.insert(bindings), new)
    served = (
        sa.select(networks.c.id)
        .join(bindings, bindings.c.network_id == networks.c.id)
        .where(bindings.c.agent_id == agent_id, networks.c.admin_state_up == sa.true())
        .order_by(networks.c.created_at, networks.c.id)
    )
    return list(connection.execute(served).scalars())


def report_state(connection: sa.Connection, report: Mapping[str, Any], *, now: float, agent_down_time_s: float) -> str:
    """Take an agent's report; "new", "alive", or "revived" where it had been silent for too long.

    A host known only from its question what to serve is "new" at its first report.
    """
    agent_type, host = str(report["agent_type"]), str(report["host"])
    known = (
        connection.execute(sa.select(agents).where(agents.c.agent_type == agent_type, agents.c.host == host))
        .mappings()
        .first()
    )
    row = _agent_row(str(uuid.uuid4()), report, now)
    row["started_at"] = now
    if known is None:
        connection.execute(sa.insert(agents), row)
        return "new"
    changes = {key: row[key] for key in ("binary", "topic", "availability_zone", "configurations", "heartbeat_at")}
    if known["started_at"] is None or report.get("start_flag"):
        changes["started_at"] = now
    connection.execute(sa.update(agents).where(agents.c.id == known["id"]).values(**changes))
    if known["started_at"] is None:
        return "new"
    return "revived" if now - known["heartbeat_at"] > agent_down_time_s else "alive"


def list_agents(connection: sa.Connection, agent_down_time_s: float) -> list[dict[str, Any]]:
    """Every agent, as `GET /v2.0/agents` shows it."""
    now = time.time()
    return [
        {
            "id": row["id"],
            "agent_type": row["agent_type"],
            "binary": row["binary"],
            "host": row["host"],
            "topic": row["topic"],
            "availability_zone": row["availability_zone"],
            "admin_state_up": row["admin_state_up"],
            "alive": now - row["heartbeat_at"] <= agent_down_time_s,
            "configurations": row["configurations"],
            "description": row["description"],
            "created_at": row["created_at"],
            "started_at": row["started_at"] and now_text(row["started_at"]),
            "heartbeat_timestamp": now_text(row["heartbeat_at"]),
        }
        for row in connection.execute(sa.select(agents).order_by(agents.c.host)).mappings()
    ]


def _agent_row(agent_id: str, report: Mapping[str, Any], now: float) -> dict[str, Any]:
    return {
        "id": agent_id,
        "agent_type": str(report.get("agent_type") or DHCP_AGENT_TYPE),
        "binary": str(report.get("binary") or ""),
        "host": str(report["host"]),
        "topic": str(report.get("topic") or DHCP_AGENT_TOPIC),
        "availability_zone": str(report.get("availability_zone") or "nova"),
        "admin_state_up": True,
        "configurations": dict(report.get("configurations") or {}),
        "description": "",
        "created_at": now_text(now),
        "started_at": None,
        "heartbeat_at": now,
    }
