"""Taking networks from DHCP agents that are silent (Neutron: allow_automatic_dhcp_failover).

Every server looks from time to time; each network is moved in a transaction of its own, one after another. The first
to remove the binding is who moves it: a server that comes second finds it gone and leaves the network alone. The port
of the DHCP server is kept for the next agent, with its address (`scheduler.unbind`).

The silent agent is told nothing: it may be unreachable for good, and one that comes back asks what to serve by itself.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from cove import tasks
from cove.errors import CoveError
from cove.network import notifier, scheduler
from cove.network.context import service_context
from cove.network.models import agents, networks
from cove.network.models import network_dhcp_agent_bindings as bindings
from cove.network.plugin import CorePlugin
from cove.network.scheduler import DHCP_AGENT_TYPE, AgentRef
from cove.network.transaction import Reading, Transaction

log = structlog.get_logger(__name__)

MOVES_MAX = 500
"""Networks that are moved before the next look at who lives."""
START_S_PER_NETWORK = 2.0
"""An agent that has just started reports when it serves all its networks: it has this long for each."""

_p = sa.bindparam
_load = sa.select(sa.func.count()).where(bindings.c.agent_id == agents.c.id).correlate(agents).scalar_subquery()
_silent = sa.select(agents.c.id, agents.c.host, agents.c.started_at, agents.c.heartbeat_at, _load).where(
    agents.c.agent_type == DHCP_AGENT_TYPE, agents.c.heartbeat_at < _p("alive_since")
)
_bound = (
    sa.select(bindings.c.network_id, networks.c.availability_zone_hints)
    .join(networks, networks.c.id == bindings.c.network_id)
    .where(bindings.c.agent_id == _p("agent_id"))
    .order_by(bindings.c.network_id)
)
_heard_of = sa.select(agents.c.heartbeat_at).where(agents.c.id == _p("agent_id"))


@dataclass(frozen=True, slots=True)
class Move:
    """A network that is to leave a silent agent."""

    network_id: str
    agent_id: str
    host: str


def is_silent(started_at: float | None, heartbeat_at: float, networks: int, *, now: float, down_time_s: float) -> bool:
    """Whether an agent has been silent for too long, and is not just busy starting. Times are seconds."""
    started = heartbeat_at if started_at is None else started_at
    starting = started >= heartbeat_at and started + down_time_s + START_S_PER_NETWORK * networks > now
    return now - heartbeat_at > down_time_s and not starting


def moves(reading: Reading, *, now: float) -> tuple[list[Move], set[str]]:
    """What is to be moved and can be, MOVES_MAX at most; and the silent hosts that keep networks nobody else can take.

    A network can be taken by a living agent that is in one of its zones.
    """
    connection, down_time_s = reading.connection, reading.config.agent_down_time_s
    silent = [
        (agent_id, host)
        for agent_id, host, started_at, heartbeat_at, load in connection.execute(
            _silent, {"alive_since": now - down_time_s}
        )
        if load and is_silent(started_at, heartbeat_at, load, now=now, down_time_s=down_time_s)
    ]
    found: list[Move] = []
    stuck: set[str] = set()
    living = scheduler.living_agents(reading, now) if silent else []
    for agent_id, host in silent:
        for network_id, hints in connection.execute(_bound, {"agent_id": agent_id}):
            if len(found) >= MOVES_MAX:
                return found, stuck
            if _fits(living, hints):
                found.append(Move(network_id, agent_id, host))
            else:
                stuck.add(host)
    return found, stuck


def _fits(living: Sequence[AgentRef], hints: Sequence[str]) -> bool:
    return any(not hints or agent.availability_zone in hints for agent in living)


def carry_out(tx: Transaction, move: Move) -> list[str]:
    """Take the network from its silent agent and schedule it anew; returns the hosts that serve it from now on."""
    heard_of = tx.connection.execute(_heard_of, {"agent_id": move.agent_id}).scalar()
    if heard_of is None or tx.now - heard_of <= tx.config.agent_down_time_s:
        return []  # it came back, or is gone with all that it served
    if not scheduler.unbind(tx, move.network_id, move.agent_id, move.host):
        return []  # another server was faster
    _, new = scheduler.schedule_network(tx, move.network_id)
    for agent in new:
        notifier.network_added(tx, move.network_id, agent.host)
    return [agent.host for agent in new]


class DhcpFailover:
    """The task that does it. `start` and `stop` as the service does."""

    def __init__(self, plugin: CorePlugin, *, interval_s: float | None = None) -> None:
        self._plugin = plugin
        self._down_time_s = plugin.config.agent_down_time_s
        self._interval_s = max(self._down_time_s / 2, 1.0) if interval_s is None else interval_s
        self._task: asyncio.Task[None] | None = None
        self._looked_at: float | None = None
        self._stuck: set[str] = set()

    async def start(self) -> None:
        """Look for the first time when living agents have had the time to report."""
        self._task = asyncio.create_task(self._run(), name="dhcp-failover")

    async def stop(self) -> None:
        """End. A move that has begun is carried through by the database, or not at all."""
        task, self._task = self._task, None
        await tasks.end([task])

    async def _run(self) -> None:
        # At random, so that several servers that were started together look at different times.
        await asyncio.sleep(self._interval_s * (1 + random.random()))  # noqa: S311 (no secret)
        while True:
            try:
                await self.look()
            except (CoveError, SQLAlchemyError, OSError) as error:
                log.warning("silent DHCP agents not looked for; trying again", error=str(error))
            await asyncio.sleep(self._interval_s)

    async def look(self, now: float | None = None) -> int:
        """Move what is to be moved; returns how many networks were given to another agent."""
        now = time.time() if now is None else now
        before, self._looked_at = self._looked_at, now
        if before is not None and now - before > self._interval_s + self._down_time_s:
            # The clock was set, or this process did not run: the agents could not be heard meanwhile.
            log.info("silent DHCP agents are looked for a little later", since_last_s=round(now - before, 1))
            return 0
        context, moved = service_context(), 0
        found, stuck = await self._plugin.read(context, lambda reading: moves(reading, now=now))
        if stuck - self._stuck:
            log.warning("DHCP agents are silent, and no other can take their networks", hosts=sorted(stuck))
        self._stuck = stuck
        for item in found:
            try:
                hosts = await self._plugin.write(context, functools.partial(carry_out, move=item))
            except CoveError as error:
                log.warning("network not moved", network_id=item.network_id, host=item.host, error=str(error))
                continue
            if hosts:
                moved += 1
                log.info("network moved from a silent agent", network_id=item.network_id, host=item.host, to=hosts)
        return moved
