"""A list of ids as one parameter of a statement, whatever its length: `in_ids(column, "ids")`, on both engines.

An expanding IN makes a new parameter of each id: at 1,000 ids that costs more than the query, and databases have a
most. Here the ids travel as one JSON text, and the statement is always the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_encode = msgspec.json.Encoder().encode


class _IdsOf(FunctionElement[Any]):
    """The texts in a JSON array, as a sub-select."""

    name = "ids_of"
    inherit_cache = True


@compiles(_IdsOf, "sqlite")
def _sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **kw)}))"  # noqa: S608 (no value)


@compiles(_IdsOf, "postgresql")
def _postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return f"(SELECT jsonb_array_elements_text(CAST({compiler.process(element.clauses, **kw)} AS jsonb)))"


def in_ids(column: sa.ColumnElement[Any], parameter: str) -> sa.ColumnElement[bool]:
    """Whether a text column is among the ids that the bind parameter carries; see `ids_parameter`."""
    return column.op("IN", is_comparison=True, return_type=sa.Boolean())(_IdsOf(sa.bindparam(parameter, type_=sa.Text)))


def ids_parameter(ids: Iterable[str]) -> str:
    """The value of such a parameter."""
    return _encode(list(ids)).decode()
