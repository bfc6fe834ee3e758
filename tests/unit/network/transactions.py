"""Write transactions on a fresh database, without a service around them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from cove.db.schema import metadata
from cove.network import models, quotas
from cove.network.context import RequestContext
from cove.network.policy import Policy
from cove.network.transaction import PluginConfig, Reading, Transaction

T = TypeVar("T")
POLICY = Policy.load()
TABLES = [
    table
    for table in metadata.sorted_tables
    if table.name in {t.name for t in vars(models).values() if isinstance(t, sa.Table)}
]


class Store:
    """A database; each `write` is a transaction, settled and committed, or rolled back."""

    def __init__(self, engine: sa.Engine, **config: Any) -> None:
        self.engine = engine
        self.config = PluginConfig(policy=POLICY, **config)
        self.statements: list[str] = []
        metadata.create_all(engine, tables=TABLES)
        sa.event.listen(engine, "before_cursor_execute", self._seen)

    def _seen(self, _connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        self.statements.append(statement)

    def write(self, fn: Callable[[Transaction], T], context: RequestContext | None = None) -> T:
        with self.engine.begin() as connection:
            tx = Transaction(connection, context or RequestContext(), self.config)
            result = fn(tx)
            quotas.settle(tx)
            return result

    def read(self, fn: Callable[[Reading], T], context: RequestContext | None = None) -> T:
        with self.engine.begin() as connection:
            return fn(Reading(connection, context or RequestContext(), self.config))

    def insert(self, table: sa.Table, **values: Any) -> None:
        """A row with something plain in every column that is not said."""
        row = {column.name: _plain(column) for column in table.c} | values
        with self.engine.begin() as connection:
            connection.execute(sa.insert(table), row)

    def rows(self, statement: Any) -> list[Any]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(statement)]


def _plain(column: sa.Column[Any]) -> Any:
    if column.nullable:
        return None
    if isinstance(column.type, sa.Boolean):
        return False
    if isinstance(column.type, (sa.Integer, sa.Float)):
        return 0
    return "" if isinstance(column.type, (sa.String, sa.Text)) else []


DATABASE_URL = "COVE_TEST_DATABASE_URL"
"""Environment variable that names a database to use instead of a SQLite file."""


@contextmanager
def store(directory: Path, **config: Any) -> Iterator[Store]:
    shared = os.environ.get(DATABASE_URL)
    engine = sa.create_engine(shared or f"sqlite:///{directory}/test.sqlite")
    try:
        yield Store(engine, **config)
    finally:
        if shared:
            metadata.drop_all(engine, tables=TABLES)
        engine.dispose()
