"""CorePlugin: the asynchronous face of all resources.

Each method is one transaction of the database. In it happens what is alike for every resource: who may see and change
the object (scope and policy), If-Match, quota; the rest is the `Resource`'s own function. What a write has to tell the
agents is in the outbox of the same transaction; when it has committed, the dispatcher is given the entries, even if
the caller has gone away meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from cove.db import Database, DatabaseBusy
from cove.network import errors, outbox, parents, queries, quotas
from cove.network.context import RequestContext
from cove.network.outbox import Dispatcher
from cove.network.queries import ListQuery
from cove.network.registry import RESOURCES
from cove.network.resource import Object, Resource
from cove.network.retry import write_retrying
from cove.network.rows import Row
from cove.network.transaction import OutboxEntry, PluginConfig, Reading, Transaction
from cove.timeline import Timeline

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewObject:
    """One object of a POST: its id, its checked attributes, and those of them that the client said itself."""

    id: str
    values: dict[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """An object after a write: `whole` for the notification bus, `shown` as the caller may see it."""

    whole: Object
    shown: Object


@dataclass(frozen=True, slots=True)
class Found:
    """Objects of a list as the caller may see them, and what the database found before policy looked at it."""

    items: list[Object]
    first: str | None = None
    last: str | None = None
    """Ids of the first and last object found, shown or not."""
    full: bool = False
    """Whether as many were found as the query asked for at most: there may be more."""


class CorePlugin:
    """Create, read, update and delete the resources. Raises the errors of `cove.network.errors`."""

    def __init__(self, db: Database, dispatcher: Dispatcher, timeline: Timeline, config: PluginConfig) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._timeline = timeline
        self.config = config

    # --- resources ---------------------------------------------------------------------------------------------------

    async def create(self, context: RequestContext, name: str, items: Sequence[NewObject]) -> list[Written]:
        """Create all or none; returns them in order."""
        resource = RESOURCES[name]
        make = resource.create
        assert make is not None

        def run(tx: Transaction) -> list[Written]:
            created = []
            if resource.counted:
                quotas.lock(tx, (item.values["project_id"] for item in items))
            for item in items:
                self._authorize_create(tx, resource, item)
                created.append(make(tx, item.id, dict(item.values)))
                if resource.counted:
                    tx.count(name, item.values["project_id"], 1)
            shown = self._shown(tx, resource, created, always=True)
            return [Written(*both) for both in zip(created, shown, strict=True)]

        def mark(_result: list[Written]) -> None:
            if name == "port":
                for item in items:
                    self._timeline.mark(item.id, "committed")

        return await self.write(context, run, mark)

    async def update(
        self,
        context: RequestContext,
        name: str,
        item_id: str,
        changes: Mapping[str, Any],
        *,
        if_revision: int | None = None,
    ) -> Written:
        """Change one object. Raises RevisionNumberConstraintFailed."""
        resource = RESOURCES[name]
        change = resource.update
        assert change is not None

        def run(tx: Transaction) -> Written:
            row = queries.row(tx, resource, item_id, lock=True)
            self._authorize_update(tx, resource, self._visible(tx, resource, row), changes)
            _check_revision(row, if_revision)
            whole = change(tx, row, dict(changes))
            return Written(whole, self._shown(tx, resource, [whole], always=True)[0])

        return await self.write(context, run)

    async def delete(
        self, context: RequestContext, name: str, item_id: str, *, if_revision: int | None = None
    ) -> Object:
        """Remove one object; returns what it was. Raises RevisionNumberConstraintFailed."""
        resource = RESOURCES[name]
        remove = resource.delete
        assert remove is not None

        def run(tx: Transaction) -> Object:
            row = queries.row(tx, resource, item_id, lock=True)
            target = self._visible(tx, resource, row)
            tx.config.policy.check_delete(context, name, target)
            _check_revision(row, if_revision)
            gone = remove(tx, row)
            if resource.counted:
                tx.count(name, row["project_id"], -1)
            return gone

        return await self.write(context, run)

    async def get(self, context: RequestContext, name: str, item_id: str, fields: Collection[str] = ()) -> Object:
        """One object, as the caller may see it."""
        resource = RESOURCES[name]

        def run(reading: Reading) -> Object:
            item = queries.get(reading, resource, item_id)
            shown = self._shown(reading, resource, [item], fields)
            if not shown:
                raise errors.not_found(name, item_id)
            return shown[0]

        return await self.read(context, run)

    async def find(self, context: RequestContext, name: str, query: ListQuery, fields: Collection[str] = ()) -> Found:
        """The objects that match, as the caller may see them. Another's that matches by what is hidden is left out."""
        resource = RESOURCES[name]
        prepare = resource.prepare
        if prepare is not None and await self.read(context, lambda reading: prepare.needed(reading, query.filters)):
            await self.write(context, lambda tx: prepare.make(tx, query.filters))

        def run(reading: Reading) -> Found:
            items = queries.find(reading, resource, query)
            if not items:
                return Found([])
            ends = (items[0]["id"], items[-1]["id"])
            shown = self._shown(reading, resource, items, fields, asked=query.filters)
            return Found(shown, *ends, full=len(items) == query.limit)

        return await self.read(context, run)

    # --- transactions ------------------------------------------------------------------------------------------------

    async def read(self, context: RequestContext, fn: Callable[[Reading], T]) -> T:
        """Run a query on a snapshot. Raises Busy."""
        try:
            return await self._db.read(lambda connection: fn(Reading(connection, context, self.config)))
        except DatabaseBusy as error:
            raise errors.Busy(str(error)) from error

    async def write(
        self, context: RequestContext, fn: Callable[[Transaction], T], mark: Callable[[T], None] | None = None
    ) -> T:
        """Run a write transaction; `mark` is called with its result after the commit. Raises Busy, OverQuota."""

        def run(connection: sa.Connection) -> tuple[T, list[OutboxEntry]]:
            tx = Transaction(connection, context, self.config)
            result = fn(tx)
            quotas.settle(tx)
            outbox.flush(tx)
            return result, tx.entries

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

    # --- policy ------------------------------------------------------------------------------------------------------

    def _authorize_create(self, tx: Transaction, resource: Resource, item: NewObject) -> None:
        # A parent that the caller cannot see is not there: that is the answer, whatever else is wrong.
        parents.require(tx, resource, item.values)
        facts = {} if tx.context.is_admin else parents.facts(tx, resource, [item.values])
        target = parents.target(resource, item.values, facts)
        self.config.policy.check_create(tx.context, resource.name, target, item.given)

    def _authorize_update(
        self, tx: Transaction, resource: Resource, target: Object, changes: Mapping[str, Any]
    ) -> None:
        policy, context, name = self.config.policy, tx.context, resource.name
        try:
            policy.check_update(context, name, target, changes)
        except errors.PolicyNotAuthorized:
            if not policy.may_get(context, name, {**target, **changes}):
                # As it is to become, the caller would not see it: then Neutron says that it is not there.
                raise errors.HTTPNotFound(f"{name} {target['id']} could not be found") from None
            raise

    def _visible(self, tx: Transaction, resource: Resource, row: Row) -> Object:
        """An object as policy looks at it. Raises the not-found error for who may not see it."""
        if tx.context.is_admin:
            return dict(row)
        item = queries.look_at(tx, resource, row)
        target = parents.target(resource, item, parents.facts(tx, resource, [item]))
        if not self.config.policy.may_get(tx.context, resource.name, target):
            raise errors.not_found(resource.name, row["id"])
        return target

    def _shown(
        self,
        reading: Reading,
        resource: Resource,
        items: Sequence[Object],
        fields: Collection[str] = (),
        *,
        asked: Collection[str] = (),
        always: bool = False,
    ) -> list[Object]:
        """Those of the objects that the caller may see (`always`: all, it wrote them), and of them what it may see.

        `asked`: attributes that it filtered by. Another project's object where it may not see them is none that it
        could have found; its own it finds (as in Neutron).
        """
        policy, context, name = self.config.policy, reading.context, resource.name
        facts = {} if context.is_admin else parents.facts(reading, resource, items)
        shown = []
        for item in items:
            target = item if context.is_admin else parents.target(resource, item, facts)
            if always or policy.may_get(context, name, target):
                hidden = policy.hidden(context, name, target)
                if not asked or hidden.isdisjoint(asked) or item.get("project_id") == context.project_id:
                    shown.append(resource.attributes.strip(item, hidden, fields))
        return shown


def _check_revision(row: Row, wanted: int | None) -> None:
    """What has no revisions meets every If-Match."""
    current = row.get("revision_number", wanted)
    if wanted is not None and current != wanted:
        raise errors.RevisionNumberConstraintFailed(current=current, wanted=wanted)
