"""Tags: short texts that a project hangs on its objects, and finds them by (extension standard-attr-tag).

They are in one table for all resources. What shows objects asks `of` for the tags of all of them at once; lists filter
by them with `filters`; the paths `/v2.0/<collection>/<id>/tags` (cove.api.tag_routes) call the functions further down,
which count up the object's revision as any other change does. A tag is up to 255 characters, an object has at most 50.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import errors
from cove.network.models import tags
from cove.network.resource import Filter, Resource
from cove.network.rows import now_text
from cove.network.transaction import Reading, Transaction

TAG_LENGTH_MAX = 255
TAGS_MAX = 50

_p = sa.bindparam
_of_one = sa.select(tags.c.tag).where(tags.c.resource_id == _p("id")).order_by(tags.c.tag)
_of_many = sa.select(tags.c.resource_id, tags.c.tag).where(in_ids(tags.c.resource_id, "ids")).order_by(tags.c.tag)
_insert = sa.insert(tags)
_delete_all = sa.delete(tags).where(in_ids(tags.c.resource_id, "ids"))
_delete = sa.delete(tags).where(tags.c.resource_id == _p("id"), tags.c.tag.in_(_p("gone", expanding=True)))


# --- for what shows, makes and removes objects -----------------------------------------------------------------------


def of(reading: Reading, resource: str, ids: Sequence[str]) -> dict[str, list[str]]:
    """The tags of objects, sorted: id → tags, for those that have any. One statement, however many ids."""
    if not ids:
        return {}
    if len(ids) == 1:
        found = list(reading.connection.execute(_of_one, {"id": ids[0]}).scalars())
        return {ids[0]: found} if found else {}
    result: dict[str, list[str]] = {}
    for item_id, tag in reading.connection.execute(_of_many, {"ids": ids_parameter(ids)}):
        result.setdefault(item_id, []).append(tag)
    return result


def add(tx: Transaction, resource: str, item_id: str, new: Iterable[str]) -> list[str]:
    """Tags of an object that is being made; returns them sorted. Raises BadRequest for too many."""
    wanted = sorted(set(new))
    if wanted:
        _refuse_too_many(resource, wanted)
        tx.connection.execute(_insert, [{"resource_id": item_id, "tag": tag, "resource": resource} for tag in wanted])
    return wanted


def remove(tx: Transaction, ids: Sequence[str]) -> None:
    """The objects go: their tags too."""
    if ids:
        tx.connection.execute(_delete_all, {"ids": ids_parameter(ids)})


# --- filters ---------------------------------------------------------------------------------------------------------

FILTERS = ("tags", "tags-any", "not-tags", "not-tags-any")
"""Filters of every resource that has tags: all of them, any of them, not all of them, none of them."""


def filters(table: sa.Table) -> dict[str, Filter]:
    """The filters by tags, and by time of change, of the rows of `table`. A value may hold several tags, by comma."""

    def tagged(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return sa.exists().where(tags.c.resource_id == table.c.id, condition)

    def with_all(_reading: Reading, values: Sequence[Any]) -> sa.ColumnElement[bool]:
        wanted = _split(values)
        if len(wanted) > TAGS_MAX or not all(map(_possible, wanted)):
            return sa.false()
        return sa.and_(*(tagged(tags.c.tag == tag) for tag in wanted))

    def with_any(_reading: Reading, values: Sequence[Any]) -> sa.ColumnElement[bool]:
        wanted = [tag for tag in _split(values) if _possible(tag)]
        return tagged(tags.c.tag.in_(wanted)) if wanted else sa.false()

    def negated(of_: Filter) -> Filter:
        return lambda reading, values: sa.not_(of_(reading, values))

    return {
        "tags": with_all,
        "tags-any": with_any,
        "not-tags": negated(with_all),
        "not-tags-any": negated(with_any),
        "changed_since": changed_since(table),
    }


def changed_since(table: sa.Table) -> Filter:
    """The filter `changed_since` (extension standard-attr-timestamp): changed at that time or later."""

    def since(_reading: Reading, values: Sequence[Any]) -> sa.ColumnElement[bool]:
        return table.c.updated_at >= _time_text(str(values[0]))

    return since


def _split(values: Sequence[Any]) -> list[str]:
    return sorted({tag for value in values for tag in str(value).split(",")})


def _possible(tag: str) -> bool:
    """Whether anything can have that tag; a database may refuse to look for what it could not hold."""
    return len(tag) <= TAG_LENGTH_MAX and "\x00" not in tag


def _time_text(value: str) -> str:
    """A time of any ISO 8601 form as the tables hold it, UTC. Raises InvalidInput."""
    try:
        # "+" is a space in a query string that was not quoted.
        moment = datetime.fromisoformat(value.replace(" ", "+") if value.count(" ") == 1 and "T" in value else value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return now_text(moment.timestamp())
    except (ValueError, OverflowError):
        raise errors.InvalidInput(
            reason=f"changed_since {value!r} is not a time; write it as YYYY-MM-DDTHH:MM:SSZ"
        ) from None


# --- the tags of one object ------------------------------------------------------------------------------------------


def check(tag: Any, *, length_min: int = 0) -> str:
    """A tag that a client gave; the empty one is a tag too, but none that a path can name. Raises InvalidInput."""
    if not isinstance(tag, str) or "\x00" in tag:
        raise errors.InvalidInput(reason=f"tag {tag!r} is not a text, or has a NUL in it")
    if not length_min <= len(tag) <= TAG_LENGTH_MAX:
        raise errors.InvalidInput(
            reason=f"a tag has {len(tag)} characters; {length_min} to {TAG_LENGTH_MAX} are allowed here"
        )
    return tag


def check_body(body: Any) -> list[str]:
    """The tags of a body {"tags": [...]}, without changing their order. Raises InvalidInput."""
    if not isinstance(body, Mapping) or not isinstance(body.get("tags"), list):
        raise errors.InvalidInput(reason='the body must be an object with a list: {"tags": [...]}')
    given = [check(tag) for tag in body["tags"]]
    if len(set(given)) != len(given):
        twice = next(tag for tag in given if given.count(tag) > 1)
        raise errors.InvalidInput(reason=f"tag {twice!r} is given twice")
    return given


def show(reading: Reading, resource: Resource, item_id: str, tag: str) -> None:
    """Whether an object has a tag. Raises TagNotFound."""
    if tag not in of(reading, resource.name, [item_id]).get(item_id, ()):
        raise errors.TagNotFound(tag=tag)


def replace(tx: Transaction, resource: Resource, item_id: str, wanted: Sequence[str]) -> None:
    """These tags and no others. Raises BadRequest for too many."""
    _change(tx, resource, item_id, lambda _current: set(wanted))


def extend(tx: Transaction, resource: Resource, item_id: str, more: Sequence[str]) -> None:
    """These tags beside those that are there. Raises BadRequest if it gets too many."""
    _change(tx, resource, item_id, lambda current: current | set(more))


def take(tx: Transaction, resource: Resource, item_id: str, tag: str) -> None:
    """One tag less. Raises TagNotFound."""
    show(tx, resource, item_id, tag)
    _change(tx, resource, item_id, lambda current: current - {tag})


def _change(tx: Transaction, resource: Resource, item_id: str, wanted_of: Callable[[set[str]], set[str]]) -> None:
    current = set(of(tx, resource.name, [item_id]).get(item_id, ()))
    wanted = wanted_of(current)
    _refuse_too_many(resource.name, wanted)
    if wanted == current:
        return
    if current - wanted:
        tx.connection.execute(_delete, {"id": item_id, "gone": sorted(current - wanted)})
    add(tx, resource.name, item_id, wanted - current)
    table = resource.table
    tx.connection.execute(
        sa.update(table)
        .where(table.c.id == item_id)
        .values(revision_number=table.c.revision_number + 1, updated_at=tx.now_text)
    )
    tx.forget(item_id)


def _refuse_too_many(resource: str, wanted: Iterable[str]) -> None:
    count = len(set(wanted))
    if count > TAGS_MAX:
        raise errors.BadRequest(f"a {resource} cannot have {count} tags; at most {TAGS_MAX} are allowed")
