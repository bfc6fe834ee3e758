"""Between rows and objects: what is alike for all resources. Pure functions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import RowMapping

if TYPE_CHECKING:
    from cove.network.attributes import AttributeTable

Row = Mapping[str, Any] | RowMapping
"""A row of a table by column name, as read or as about to be written."""

ACTIVE = "ACTIVE"
DOWN = "DOWN"


def now_text(now: float | None = None) -> str:
    """A time as the API writes it: 2026-11-21T21:44:09Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def new_row(
    attributes: AttributeTable, table: sa.Table, item_id: str, values: Mapping[str, Any], now: str
) -> dict[str, Any]:
    """The row of a new object: its id, each attribute that has a column of its own, revision 1 and the times.

    Columns that follow from more than one attribute are the caller's to add.
    """
    row = {column: values[name] for name, column in attributes.columns if name in values}
    row["id"] = item_id
    if "revision_number" in table.c:
        row |= {"revision_number": 1, "created_at": now, "updated_at": now}
    return row


def standard(row: Row, tags: list[str]) -> dict[str, Any]:
    """Neutron's standard attributes, which stand last in an object."""
    return {
        "description": row["description"],
        "tags": tags,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "revision_number": row["revision_number"],
    }
