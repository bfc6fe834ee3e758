"""Reading resources: single objects, and lists with filters, sorting and paging.

Functions of a `Reading`; used on reader threads for GET requests and inside write transactions. They know nothing of
single resources: what is special is in each one's `Resource`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa

from cove.db import locks
from cove.network import errors
from cove.network.context import RequestContext
from cove.network.resource import Object, Resource, Scope
from cove.network.rows import Row
from cove.network.transaction import Reading, Transaction


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list request asks for. `sorts`: (attribute, ascending); `marker`: id of the last object seen."""

    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    sorts: Sequence[tuple[str, bool]] = ()
    limit: int | None = None
    marker: str | None = None
    page_reverse: bool = False


_CALLER = "caller_project"
_ANYBODY = RequestContext(project_id=cast(str, sa.bindparam(_CALLER, type_=sa.String)), is_admin=False)
"""Stands for any caller: a scope made with it is a statement's for all of them, and need not be built for each."""
_LOOKED_AT = "queries.looked_at"


@functools.cache
def _scope(scope: Scope) -> sa.ColumnElement[bool]:
    return scope(_ANYBODY)


@functools.cache
def _by_id(table: sa.Table, scope: Scope | None, *, lock: bool) -> sa.Select[Any]:
    statement = sa.select(table).where(table.c.id == sa.bindparam("id"))
    if scope is not None:
        statement = statement.where(_scope(scope))
    # Not for its key: what refers to the object may be made meanwhile (PostgreSQL: FOR NO KEY UPDATE).
    return statement.with_for_update(key_share=True) if lock else statement


def row(reading: Reading, resource: Resource, item_id: str, *, lock: bool = False) -> dict[str, Any]:
    """The row of an object that the caller may see; `lock` keeps others from changing it in this transaction.

    Raises the resource's not-found error.
    """
    if "\0" in item_id:  # which PostgreSQL refuses to look for
        raise errors.not_found(resource.name, item_id)
    values = {"id": item_id}
    scope = None if reading.config.policy.sees_all(reading.context) else resource.scope
    if scope is not None:
        values[_CALLER] = reading.context.project_id
    statement = _by_id(resource.table, scope, lock=lock)
    found: Any = reading.connection.execute(statement, values).mappings().first()
    if found is None:
        raise errors.not_found(resource.name, item_id)
    if lock:
        locks.holds_rows(reading.connection)
    return dict(found)


def view_one(reading: Reading, resource: Resource, found: Row) -> Object:
    """The object of one row; that of `look_at` where it was looked at just now."""
    if isinstance(reading, Transaction):
        looked_at: tuple[Row, Object] | None = reading.memory.pop(_LOOKED_AT, None)
        if looked_at is not None and looked_at[0] is found:
            return looked_at[1]
    return resource.view(reading, (found,))[0]


def look_at(tx: Transaction, resource: Resource, found: Row) -> Object:
    """The object of one row, which the next `view_one` of the same row will not read again: nothing is changed yet."""
    item = resource.view(tx, (found,))[0]
    tx.memory[_LOOKED_AT] = (found, item)
    return item


def get(reading: Reading, resource: Resource, item_id: str) -> Object:
    """An object that the caller may see. Raises the resource's not-found error."""
    return view_one(reading, resource, row(reading, resource, item_id))


def find(reading: Reading, resource: Resource, query: ListQuery) -> list[Object]:
    """The objects that match and that the caller may see. Raises the resource's not-found error for the marker.

    A page that is asked for in reverse (it has a limit) comes in the order of the others; without a limit all that
    there is comes in reverse (Neutron).
    """
    values = {_CALLER: reading.context.project_id}
    rows = reading.connection.execute(_select(reading, resource, query), values).mappings().all()
    if query.page_reverse and query.limit is not None:
        rows = rows[::-1]
    return resource.view(reading, rows) if rows else []


def _select(reading: Reading, resource: Resource, query: ListQuery) -> sa.Select[Any]:
    table, attributes = resource.table, resource.attributes
    statement = sa.select(table)
    scope = None if reading.config.policy.sees_all(reading.context) else _scope(resource.scope)
    conditions: list[sa.ColumnElement[bool]] = []
    for name, values in query.filters.items():
        special = resource.filters.get(name)
        if special is not None:
            conditions.append(special(reading, values))
            continue
        column = table.c.get(attributes.by_name[name].column_name)
        # An attribute without a column is always "none": nothing but null could match, and a filter is never null.
        conditions.append(sa.false() if column is None else _matches(column, values))
    keys = [(table.c[attributes.by_name[name].column_name], ascending) for name, ascending in query.sorts]
    if not any(column.name == "id" for column, _ in keys):
        keys.append((table.c.id, True))
    if query.page_reverse:
        keys = [(column, not ascending) for column, ascending in keys]
    if query.marker is not None:
        if "\0" in query.marker:
            raise errors.not_found(resource.name, query.marker)
        marked = sa.select(*(column for column, _ in keys)).where(table.c.id == query.marker)
        if scope is not None:
            marked = marked.where(scope)
        values_there = reading.connection.execute(marked, {_CALLER: reading.context.project_id}).first()
        if values_there is None:
            raise errors.not_found(resource.name, query.marker)
        conditions.append(_after([(c, up, v) for (c, up), v in zip(keys, values_there, strict=True)]))
    order = [_ordered(column, ascending) for column, ascending in keys]
    if query.limit is None:
        return statement.where(*conditions if scope is None else (scope, *conditions)).order_by(*order)
    if scope is not None and resource.scope_parts and not query.sorts:
        pages = (
            sa.select(table.c.id).where(_scope(part), *conditions).order_by(*order).limit(query.limit).subquery()
            for part in resource.scope_parts
        )
        statement = statement.where(table.c.id.in_(sa.union_all(*(sa.select(page.c.id) for page in pages))))
    else:
        statement = statement.where(*conditions if scope is None else (scope, *conditions))
    return statement.order_by(*order).limit(query.limit)


def _matches(column: sa.Column[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Whether a column has one of the values. One that its type could not hold matches nothing."""
    numeric = isinstance(column.type, sa.Integer)
    if isinstance(column.type, (sa.Boolean, sa.Integer)):
        values = [value for value in values if isinstance(value, int) and abs(value) < (1 << 63 if numeric else 2)]
    elif isinstance(column.type, (sa.String, sa.Text)):
        values = [value for value in values if isinstance(value, str) and "\x00" not in value]
    return column.in_(list(values)) if values else sa.false()


def one_of(condition: sa.ColumnElement[bool], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Rows for which a condition is as one of the values says. One that is neither true nor false matches nothing."""
    wanted = (condition if value else ~condition for value in values if isinstance(value, bool))
    return sa.or_(sa.false(), *wanted)


def _ordered(column: sa.Column[Any], ascending: bool) -> sa.ColumnElement[Any]:
    """Nulls count as smallest, on every engine; so `_after` can say what follows them."""
    direction = column.asc() if ascending else column.desc()
    if not column.nullable:
        return direction
    return direction.nulls_first() if ascending else direction.nulls_last()


def _after(keys: Sequence[tuple[sa.Column[Any], bool, Any]]) -> sa.ColumnElement[bool]:
    """Rows after the marker in the order of the keys: (a > x) or (a = x and b > y) or ..."""
    alternatives = []
    for index, (column, ascending, value) in enumerate(keys):
        equal = [c.is_not_distinct_from(v) for c, _, v in keys[:index]]
        alternatives.append(sa.and_(*equal, _beyond(column, ascending, value)))
    return sa.or_(*alternatives)


def _beyond(column: sa.Column[Any], ascending: bool, value: Any) -> sa.ColumnElement[bool]:
    if value is None:
        return column.is_not(None) if ascending else sa.false()
    beyond: sa.ColumnElement[bool] = column > value if ascending else column < value
    return sa.or_(beyond, column.is_(None)) if column.nullable and not ascending else beyond
