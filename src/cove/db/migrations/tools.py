"""What revisions share: changes of a table that come out alike on both engines.

PostgreSQL changes a table in place. SQLite cannot add a column that must have a value without giving it a default for
ever: there the table is made anew and its rows are copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic import op


@dataclass(frozen=True)
class Added:
    """A new column: behind which one it stands (on SQLite), and the SQL literal that existing rows get."""

    column: sa.Column[Any]
    after: str
    fill: str | None = None


def on_sqlite() -> bool:
    """Whether this run is on SQLite."""
    return op.get_bind().dialect.name == "sqlite"


def change_columns(table: str, add: Sequence[Added] = (), drop: Sequence[str] = (), **table_options: Any) -> None:
    """Add columns and drop others. `table_options` are those of the table that SQLite does not tell of."""
    if on_sqlite():
        _make_anew(table, add, drop, table_options)
        return
    for added in add:
        if added.fill is not None:
            added.column.server_default = sa.DefaultClause(sa.text(added.fill))
        op.add_column(table, added.column)
        if added.fill is not None:
            op.alter_column(table, added.column.name, server_default=None)
    for name in drop:
        op.drop_column(table, name)


def _make_anew(table: str, add: Sequence[Added], drop: Sequence[str], options: dict[str, Any]) -> None:
    looked = sa.inspect(op.get_bind())
    columns = {
        found["name"]: sa.Column(found["name"], found["type"], nullable=found["nullable"])
        for found in looked.get_columns(table)
        if found["name"] not in drop
    }
    sources = {name: f'"{name}"' for name in columns}
    for added in add:
        sources[added.column.name] = added.fill or "NULL"
        items = list(columns.items())
        place = list(columns).index(added.after) + 1
        columns = dict([*items[:place], (added.column.name, added.column), *items[place:]])
    key = looked.get_pk_constraint(table)
    constraints = [
        sa.PrimaryKeyConstraint(*key["constrained_columns"], name=key["name"]),
        *(
            sa.ForeignKeyConstraint(
                found["constrained_columns"],
                [f"{found['referred_table']}.{column}" for column in found["referred_columns"]],
                name=found["name"],
                **found["options"],
            )
            for found in looked.get_foreign_keys(table)
        ),
        *(
            sa.UniqueConstraint(*found["column_names"], name=found["name"])
            for found in looked.get_unique_constraints(table)
        ),
    ]
    indexes = looked.get_indexes(table)
    op.create_table(f"new_{table}", *columns.values(), *constraints, **options)
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(sources[name] for name in columns)
    op.execute(f"INSERT INTO new_{table} ({names}) SELECT {values} FROM {table}")  # noqa: S608 (no stranger's text)
    op.drop_table(table)
    op.rename_table(f"new_{table}", table)
    for index in indexes:
        of = [str(name) for name in index["column_names"]]
        op.create_index(index["name"], table, of, unique=bool(index["unique"]))
