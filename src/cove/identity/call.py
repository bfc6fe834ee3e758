"""`Call`: one request of the Identity API inside its transaction, and what all handlers do with one.

A handler is a plain function of a Call that returns the answer's body; it runs whole on a database thread
(`cove.db`). Reading and writing handlers differ only in the transaction they get.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from cove.identity import models
from cove.identity.errors import ValidationError, no_such
from cove.identity.policy import Caller, Target, require

LIMIT_MAX = 1000
_BUMP = models.revision.update().values(counter=models.revision.c.counter + 1)

Row = Mapping[str, Any]
Query = Sequence[tuple[str, str]]


@dataclass(slots=True)
class Call:
    """One request. `base` is the address of the API as the client wrote it, without a path; `v3` with "/v3"."""

    connection: sa.Connection
    caller: Caller
    params: Mapping[str, str]
    query: Query
    body: Any = field(repr=False)
    base: str
    v3: str
    now: float
    prepared: Any = field(default=None, repr=False)
    """What was made before the transaction: a password's hash."""
    bumped: bool = field(default=False)

    def bump(self) -> None:
        """Count the revision up, once: what was validated before may be worth less now."""
        if not self.bumped:
            self.connection.execute(_BUMP)
            self.bumped = True

    def require(self, action: str, **target: str) -> None:
        """Raise ActionForbidden unless the caller may do this to what `target` describes (fields of Target)."""
        require(action, self.caller, Target(**target))

    def row(self, table: sa.Table, row_id: str | None) -> Row | None:
        """The row with this id, or None."""
        if row_id is None or "\0" in row_id:
            return None
        found = self.connection.execute(sa.select(table).where(table.c.id == row_id)).one_or_none()
        return None if found is None else dict(found._mapping)

    def must(self, table: sa.Table, kind: str, row_id: str) -> Row:
        """The row with this id. Raises NotFound."""
        row = self.row(table, row_id)
        if row is None:
            raise no_such(kind, row_id)
        return row

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        """All rows."""
        return [dict(row._mapping) for row in self.connection.execute(statement)]

    def argument(self, name: str) -> str | None:
        """The last value of a query argument, None if it is not there."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    def is_set(self, name: str) -> bool:
        """Whether a flag of the query is there, and not "0" or "false"."""
        value = self.argument(name)
        return value is not None and value.lower() not in ("0", "false", "no", "off")


def new_id() -> str:
    """32 random hexadecimal digits."""
    return uuid.uuid4().hex


_COMPARATORS: dict[str, Callable[[sa.Column[Any], str], sa.ColumnElement[bool]]] = {
    "": lambda column, value: column == value,
    "contains": lambda column, value: column.contains(value, autoescape=True),
    "startswith": lambda column, value: column.startswith(value, autoescape=True),
    "endswith": lambda column, value: column.endswith(value, autoescape=True),
    "icontains": lambda column, value: column.icontains(value, autoescape=True),
    "istartswith": lambda column, value: column.istartswith(value, autoescape=True),
    "iendswith": lambda column, value: column.iendswith(value, autoescape=True),
}


def filtered(call: Call, statement: sa.Select[Any], table: sa.Table, names: Iterable[str]) -> sa.Select[Any]:
    """The statement with the query's filters on these columns: `name=`, `name__contains=`. Others are passed over."""
    known = set(names)
    for key, value in call.query:
        base, _, comparator = key.partition("__")
        if base not in known or comparator not in _COMPARATORS:
            continue
        column = table.c[base]
        if isinstance(column.type, sa.Boolean):
            statement = statement.where(column == (value.lower() not in ("0", "false", "no", "off")))
        elif "\0" in value:
            statement = statement.where(sa.false())
        else:
            statement = statement.where(_COMPARATORS[comparator](column, value))
    return statement


def page(
    call: Call, statement: sa.Select[Any], table: sa.Table, kind: str, path: str, view: Callable[[Row], Any]
) -> dict[str, Any]:
    """The answer of a list, in pages of `limit` objects after `marker` where the query asks for that."""
    statement = statement.order_by(table.c.id)
    marker, limit = call.argument("marker"), call.argument("limit")
    count: int | None = None
    if marker is not None and "\0" not in marker:
        statement = statement.where(table.c.id > marker)
    if limit is not None:
        if not limit.isascii() or not limit.isdigit() or len(limit) > 9:
            raise ValidationError(f"Invalid input for field/attribute limit. Value: {limit}. Expected a whole number")
        count = min(int(limit), LIMIT_MAX) or LIMIT_MAX
        statement = statement.limit(count + 1)
    rows = call.rows(statement)
    following = None
    if count is not None and len(rows) > count:
        rows = rows[:count]
        kept = [(key, value) for key, value in call.query if key not in ("marker", "limit")]
        following = f"{call.v3}{path}?{urlencode([*kept, ('limit', str(count)), ('marker', rows[-1]['id'])])}"
    return {kind: [view(row) for row in rows], "links": links(call, path, following)}


def links(call: Call, path: str, following: str | None = None) -> dict[str, Any]:
    """The links of a list's answer."""
    query = f"?{urlencode(call.query)}" if call.query else ""
    return {"self": f"{call.v3}{path}{query}", "previous": None, "next": following}
