"""CorePlugin: the asynchronous face of networks, subnets, ports and the agents' bookkeeping.

Each method is one transaction of the database. What a write has to tell the agents is in the outbox of the same
transaction; when it has committed, the dispatcher is given the entries, even if the caller has gone away meanwhile.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from cove.db import Database, DatabaseBusy
from cove.network import errors, networks, ports, queries, scheduler, subnets
from cove.network.context import RequestContext
from cove.network.outbox import Dispatcher
from cove.network.queries import ListQuery
from cove.network.retry import write_retrying
from cove.network.transaction import OutboxEntry, PluginConfig, Transaction
from cove.timeline import Timeline

T = TypeVar("T")
Resource = dict[str, Any]

_CREATE = {"network": networks.create, "subnet": subnets.create, "port": ports.create}
_UPDATE = {"network": networks.update, "subnet": subnets.update, "port": ports.update}
_DELETE: Mapping[str, Callable[[Transaction, str], Resource]] = {
    "network": networks.delete,
    "subnet": subnets.delete,
    "port": ports.delete,
}


class CorePlugin:
    """Create, read, update and delete the resources. Raises the errors of `cove.network.errors`."""

    def __init__(self, db: Database, dispatcher: Dispatcher, timeline: Timeline, config: PluginConfig) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._timeline = timeline
        self.config = config

    # --- resources ---------------------------------------------------------------------------------------------------

    async def create(
        self, context: RequestContext, resource: str, items: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> list[Resource]:
        """Create all of (id, checked attributes) or none; returns them in order."""
        make = _CREATE[resource]

        def run(tx: Transaction) -> list[Resource]:
            return [make(tx, item_id, dict(attributes)) for item_id, attributes in items]

        def mark(_result: list[Resource]) -> None:
            if resource == "port":
                for item_id, _ in items:
                    self._timeline.mark(item_id, "committed")

        return await self._write(context, run, mark)

    async def update(
        self, context: RequestContext, resource: str, item_id: str, changes: Mapping[str, Any]
    ) -> Resource:
        """Change one object; returns it."""
        change = _UPDATE[resource]
        return await self._write(context, lambda tx: change(tx, item_id, dict(changes)))

    async def delete(self, context: RequestContext, resource: str, item_id: str) -> Resource:
        """Remove one object; returns what it was."""
        remove = _DELETE[resource]
        return await self._write(context, lambda tx: remove(tx, item_id))

    async def get(self, context: RequestContext, resource: str, item_id: str) -> Resource:
        """One object."""
        if resource == "port":
            return await self.read(lambda c: queries.get_port(c, context, item_id, self.config.dns_domain))
        get = queries.get_network if resource == "network" else queries.get_subnet
        return await self.read(lambda c: get(c, context, item_id))

    async def find(self, context: RequestContext, resource: str, query: ListQuery) -> list[Resource]:
        """The objects that match."""
        if resource == "port":
            return await self.read(lambda c: queries.list_ports(c, context, query, self.config.dns_domain))
        find = queries.list_networks if resource == "network" else queries.list_subnets
        return await self.read(lambda c: find(c, context, query))

    # --- agents ------------------------------------------------------------------------------------------------------

    async def dhcp_ready(self, context: RequestContext, port_ids: Sequence[str]) -> list[str]:
        """DHCP servers would answer for these ports: lift the block. Returns the ids that became ACTIVE by it."""

        def mark(active: list[str]) -> None:
            for port_id in active:
                self._timeline.mark(port_id, "ready")

        return await self._write(context, lambda tx: ports.dhcp_ready(tx, port_ids), mark)

    async def delete_ports_of_device(self, context: RequestContext, network_id: str, device_id: str) -> list[Resource]:
        """Remove the ports of a network that belong to a device."""

        def run(tx: Transaction) -> list[Resource]:
            return [ports.delete(tx, port_id, protect=False) for port_id in ports.by_device(tx, network_id, device_id)]

        return await self._write(context, run)

    async def create_device_port(
        self, context: RequestContext, port_id: str, attributes: Mapping[str, Any]
    ) -> tuple[Resource, bool]:
        """The port of (network, device): the one there is, or a new one with `port_id`; and whether it is new.

        An agent that asks twice, because it did not live to see the first answer, gets the same port.
        """

        def run(tx: Transaction) -> tuple[Resource, bool]:
            existing = ports.by_device(tx, attributes["network_id"], attributes["device_id"])
            if not existing:
                return ports.create(tx, port_id, dict(attributes)), True
            wanted = attributes.get("fixed_ips")
            changes = {"binding:host_id": attributes["binding:host_id"]}
            return ports.update(tx, existing[0], changes if wanted is None else {**changes, "fixed_ips": wanted}), False

        return await self._write(context, run)

    async def networks_to_serve(self, context: RequestContext, host: str) -> list[str]:
        """Ids of the networks that the agent on `host` is to serve; unserved ones are given to it first."""
        return await self._write(context, lambda tx: scheduler.auto_schedule(tx, host))

    async def report_state(self, report: Mapping[str, Any], now: float) -> str:
        """Take an agent's report; "new", "alive" or "revived"."""
        down_time_s = self.config.agent_down_time_s
        return await self._db.write(
            functools.partial(scheduler.report_state, report=report, now=now, agent_down_time_s=down_time_s)
        )

    async def list_agents(self) -> list[Resource]:
        """Every agent that has reported."""
        return await self.read(
            functools.partial(scheduler.list_agents, agent_down_time_s=self.config.agent_down_time_s)
        )

    async def read(self, fn: Callable[[sa.Connection], T]) -> T:
        """Run a query on a snapshot. Raises Busy."""
        try:
            return await self._db.read(fn)
        except DatabaseBusy as error:
            raise errors.Busy(str(error)) from error

    async def _write(
        self, context: RequestContext, fn: Callable[[Transaction], T], mark: Callable[[T], None] | None = None
    ) -> T:
        def run(connection: sa.Connection) -> tuple[T, list[OutboxEntry]]:
            tx = Transaction(connection, context, self.config)
            return fn(tx), tx.entries

        def after_commit(committed: tuple[T, list[OutboxEntry]]) -> None:
            result, entries = committed
            if entries:
                self._dispatcher.committed(entries)
            if mark is not None:
                mark(result)

        try:
            result, _ = await write_retrying(self._db, run, after_commit=after_commit)
        except DatabaseBusy as error:
            raise errors.Busy(str(error)) from error
        return result
