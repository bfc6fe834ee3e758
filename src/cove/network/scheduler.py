"""Which DHCP agent serves which network (Neutron: DHCP agent scheduler).

A network is bound to as many agents as `dhcp_agents_per_network` says when its first subnet or port is created, when an
agent that asks what to serve finds it unserved, by an admin (cove.network.agents), or because the agent that served it
is silent (cove.network.failover). Agents are chosen so that zones are used evenly, and in a zone the one with the
fewest networks; a network with availability_zone_hints is given only to agents in these zones.

When a network is taken from an agent, the port of its DHCP server is kept for the next one, with its address.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cove.db import locks
from cove.db.idlist import ids_parameter, in_ids
from cove.network.models import agents, networks, ports, subnets
from cove.network.models import network_dhcp_agent_bindings as bindings
from cove.network.rows import Row, now_text
from cove.network.transaction import Reading, Transaction

DHCP_AGENT_TYPE = "DHCP agent"
DHCP_AGENT_TOPIC = "dhcp_agent"
DEFAULT_ZONE = "nova"

RESERVED_DHCP_PORT = "reserved_dhcp_port"
"""device_id of a DHCP port that no agent holds at present; it is kept for the next one."""

_p = sa.bindparam
_ref_columns = (agents.c.id, agents.c.host, agents.c.topic, agents.c.admin_state_up, agents.c.availability_zone)
_hosting = (
    sa.select(*_ref_columns)
    .join(bindings, bindings.c.agent_id == agents.c.id)
    .where(bindings.c.network_id == _p("network_id"))
    .order_by(agents.c.host)
)
_living = (
    sa.select(*_ref_columns)
    .where(
        agents.c.agent_type == DHCP_AGENT_TYPE,
        agents.c.admin_state_up == sa.true(),
        agents.c.heartbeat_at >= _p("alive_since"),
    )
    .order_by(agents.c.host)
)
_loads = (
    sa.select(bindings.c.agent_id, sa.func.count())
    .where(in_ids(bindings.c.agent_id, "ids"))
    .group_by(bindings.c.agent_id)
)
# Two servers that look at the same unserved network take turns: the second sees what the first has decided. Not a full
# lock, as inserting a port holds a share of the row already.
_lock_network = sa.select(networks.c.availability_zone_hints).where(networks.c.id == _p("network_id"))
_lock_network = _lock_network.with_for_update(key_share=True)
_bind = sa.insert(bindings)
_unbind = sa.delete(bindings).where(bindings.c.network_id == _p("network_id"), bindings.c.agent_id == _p("agent_id"))
_reserve = (
    sa.update(ports)
    .where(ports.c.device_id == _p("holder"), ports.c.network_id == _p("on_network"))
    .values(device_id=RESERVED_DHCP_PORT, revision_number=ports.c.revision_number + 1, updated_at=_p("at"))
)
_agent_on = sa.select(agents).where(agents.c.agent_type == _p("agent_type"), agents.c.host == _p("host"))
_to_serve = (
    sa.select(networks.c.id)
    .join(bindings, bindings.c.network_id == networks.c.id)
    .where(bindings.c.agent_id == _p("agent_id"), networks.c.admin_state_up == sa.true())
    .order_by(networks.c.created_at, networks.c.id)
)
_agents_of = (
    sa.select(bindings.c.network_id, bindings.c.agent_id)
    .where(in_ids(bindings.c.network_id, "ids"))
    .order_by(bindings.c.network_id)
)
_wanting = (
    sa.select(networks.c.id, networks.c.availability_zone_hints)
    .where(
        networks.c.admin_state_up == sa.true(),
        sa.exists().where(subnets.c.network_id == networks.c.id, subnets.c.enable_dhcp == sa.true()),
        ~sa.exists().where(bindings.c.network_id == networks.c.id, bindings.c.agent_id == _p("agent_id")),
        sa.select(sa.func.count()).where(bindings.c.network_id == networks.c.id).correlate(networks).scalar_subquery()
        < _p("per_network"),
    )
    .order_by(networks.c.id)
    .with_for_update(key_share=True)
)


@dataclass(frozen=True, slots=True)
class AgentRef:
    """An agent as a destination of notifications and a place for networks."""

    id: str
    host: str
    topic: str
    admin_state_up: bool
    availability_zone: str = DEFAULT_ZONE


def choose(
    candidates: Sequence[AgentRef], loads: Mapping[str, int], hosting: Iterable[AgentRef], count: int
) -> list[AgentRef]:
    """Up to `count` of the candidates for a network that `hosting` serve already. `loads`: agent → its networks.

    Each is from the zone that has the fewest agents of this network, and the one there with the fewest networks; among
    equal zones that with the least loaded agent comes first, among equal agents the first by host.
    """
    left = sorted(candidates, key=lambda agent: (loads.get(agent.id, 0), agent.host))
    in_zone: dict[str, int] = {}
    for agent in hosting:
        in_zone[agent.availability_zone] = in_zone.get(agent.availability_zone, 0) + 1
    chosen: list[AgentRef] = []
    while left and len(chosen) < count:
        agent = min(left, key=lambda agent: in_zone.get(agent.availability_zone, 0))  # the first of equals
        left.remove(agent)
        chosen.append(agent)
        in_zone[agent.availability_zone] = in_zone.get(agent.availability_zone, 0) + 1
    return chosen


def agents_hosting(connection: sa.Connection, network_id: str) -> list[AgentRef]:
    """The agents that serve a network, dead or alive."""
    return [AgentRef(*row) for row in connection.execute(_hosting, {"network_id": network_id})]


def living_agents(reading: Reading, now: float) -> list[AgentRef]:
    """The DHCP agents that networks can be given to: administratively up, and heard of lately."""
    rows = reading.connection.execute(_living, {"alive_since": now - reading.config.agent_down_time_s})
    return [AgentRef(*row) for row in rows]


def schedule_network(tx: Transaction, network_id: str) -> tuple[list[AgentRef], list[AgentRef]]:
    """Bind a network to as many living agents as it should have; returns (all that serve it, the new ones of them)."""
    connection, wanted = tx.connection, tx.config.dhcp_agents_per_network
    hosting = agents_hosting(connection, network_id)
    if len(hosting) >= wanted:
        return hosting, []
    candidates = _others(living_agents(tx, tx.now), hosting)
    if not candidates:
        return hosting, []
    hints = connection.execute(_lock_network, {"network_id": network_id}).scalar()
    locks.holds_rows(connection)
    hosting = agents_hosting(connection, network_id)
    candidates = [agent for agent in _others(candidates, hosting) if not hints or agent.availability_zone in hints]
    loads: Mapping[str, int] = {}
    if len(candidates) > 1:
        ids = ids_parameter(agent.id for agent in candidates)
        loads = {agent_id: count for agent_id, count in connection.execute(_loads, {"ids": ids})}  # noqa: C416
    new = choose(candidates, loads, hosting, wanted - len(hosting))
    if new:
        connection.execute(_bind, [{"network_id": network_id, "agent_id": agent.id} for agent in new])
    return hosting + new, new


def _others(candidates: Iterable[AgentRef], hosting: Collection[AgentRef]) -> list[AgentRef]:
    taken = {agent.id for agent in hosting}
    return [agent for agent in candidates if agent.id not in taken]


def auto_schedule(tx: Transaction, host: str) -> list[str]:
    """Bind networks that have a DHCP subnet and too few agents to that on `host`; returns all it serves, oldest first.

    An agent that asks lives: one that has not reported yet is made known, so that it misses no notification between its
    question and its first report. An agent that is administratively down serves nothing.
    """
    connection = tx.connection
    agent: Row | None = connection.execute(_agent_on, {"agent_type": DHCP_AGENT_TYPE, "host": host}).mappings().first()
    if agent is None:
        agent = agent_row(str(uuid.uuid4()), {"host": host}, tx.now)
        connection.execute(sa.insert(agents), agent)
    elif not agent["admin_state_up"]:
        return []
    else:
        connection.execute(sa.update(agents).where(agents.c.id == agent["id"]).values(heartbeat_at=tx.now))
    agent_id, per_network = agent["id"], tx.config.dhcp_agents_per_network
    wanting = connection.execute(_wanting, {"agent_id": agent_id, "per_network": per_network}).all()
    locks.holds_rows(connection)
    fitting = [network_id for network_id, hints in wanting if not hints or agent["availability_zone"] in hints]
    if fitting:
        # Now that they are locked: another server may have given some to agents meanwhile.
        hosted: dict[str, set[str]] = {}
        for network_id, other in connection.execute(_agents_of, {"ids": ids_parameter(fitting)}):
            hosted.setdefault(network_id, set()).add(other)
        new = [
            {"network_id": network_id, "agent_id": agent_id}
            for network_id in fitting
            if len(hosted.get(network_id, ())) < per_network and agent_id not in hosted.get(network_id, ())
        ]
        if new:
            connection.execute(_bind, new)
    return list(connection.execute(_to_serve, {"agent_id": agent_id}).scalars())


def bind(tx: Transaction, network_id: str, agent_id: str) -> None:
    """Give a network to an agent that does not serve it yet."""
    tx.connection.execute(_bind, {"network_id": network_id, "agent_id": agent_id})


def unbind(tx: Transaction, network_id: str, agent_id: str, host: str) -> bool:
    """Take a network from an agent, and keep the port of its DHCP server for the next one; whether it served it."""
    if not tx.connection.execute(_unbind, {"network_id": network_id, "agent_id": agent_id}).rowcount:
        return False
    holder = dhcp_device_id(network_id, host)
    tx.connection.execute(_reserve, {"holder": holder, "on_network": network_id, "at": tx.now_text})
    return True


def dhcp_device_id(network_id: str, host: str) -> str:
    """The device_id of the DHCP port of `host` on a network (Neutron: get_dhcp_agent_device_id)."""
    return f"dhcp{uuid.uuid5(uuid.NAMESPACE_DNS, host.split('.')[0])}-{network_id}"


def report_state(connection: sa.Connection, report: Mapping[str, Any], *, now: float, agent_down_time_s: float) -> str:
    """Take an agent's report; "new", "alive", or "revived" where it had been silent for too long.

    A host known only from its question what to serve is "new" at its first report.
    """
    row = agent_row(str(uuid.uuid4()), report, now)
    row["started_at"] = now
    key = {"agent_type": row["agent_type"], "host": row["host"]}
    known = connection.execute(_agent_on, key).mappings().first()
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


def agent_row(agent_id: str, report: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The row of an agent that is heard of for the first time."""
    return {
        "id": agent_id,
        "agent_type": str(report.get("agent_type") or DHCP_AGENT_TYPE),
        "binary": str(report.get("binary") or ""),
        "host": str(report["host"]),
        "topic": str(report.get("topic") or DHCP_AGENT_TOPIC),
        "availability_zone": str(report.get("availability_zone") or DEFAULT_ZONE),
        "admin_state_up": True,
        "configurations": dict(report.get("configurations") or {}),
        "description": "",
        "created_at": now_text(now),
        "started_at": None,
        "heartbeat_at": now,
    }
