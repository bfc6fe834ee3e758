"""Bringing a database to a schema revision, in this process, before anything else uses it.

The revision that a database has is read with plain SQL first: one that is up to date (every start but the first after
an upgrade) never imports Alembic, which would cost 0.1 s and 12 MB. All steps are one transaction, on PostgreSQL too:
a step that fails leaves the schema as it was. Of several processes that start at once, one does it and the others wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog

from cove.db.locks import lock_number
from cove.db.migrations import HEAD_REVISION
from cove.errors import CoveError

if TYPE_CHECKING:
    from alembic.script import Script, ScriptDirectory

log = structlog.get_logger(__name__)

OLDEST_REVISION = "0001"
WAIT_FOR_OTHERS_S = 300
"""How long a process waits for another one that changes the schema."""


def current_revision(path: Path) -> str | None:
    """The schema revision of an SQLite file, None for an empty one. Raises sqlite3.Error."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # WAL is a property of the file: setting it once, before the pools open it, is enough.
        connection.execute("PRAGMA journal_mode=WAL")
        exists = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type='table' AND name='alembic_version'"
        ).fetchone()
        if exists is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])


def engine_revision(connection: sa.Connection) -> str | None:
    """The schema revision of the database that a connection is to, None for an empty one."""
    if connection.dialect.name == "postgresql":
        exists = connection.execute(sa.text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar_one()
    else:
        exists = sa.inspect(connection).has_table("alembic_version")
    if not exists:
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def to_head(path: Path) -> None:
    """Run the revisions that an SQLite file lacks. Raises CoveError if it was written by a newer Cove."""
    if current_revision(path) != HEAD_REVISION:
        move_file(path, HEAD_REVISION)


def engine_to_head(engine: sa.Engine, label: str) -> None:
    """Run the revisions that a PostgreSQL database lacks. Raises CoveError if it was written by a newer Cove."""
    with engine.connect() as connection:
        found = engine_revision(connection)
    if found != HEAD_REVISION:
        move_server(engine, label, HEAD_REVISION)


def move_file(path: Path, target: str) -> list[str]:
    """Bring an SQLite file to a revision, up or down; the steps taken. Raises CoveError."""
    current_revision(path)
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=sa.pool.NullPool,
        hide_parameters=True,
        connect_args={"timeout": WAIT_FOR_OTHERS_S},
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None
        dbapi.execute("PRAGMA foreign_keys=OFF")  # tables that others refer to are made anew, and looked at below

    def check(connection: sa.Connection) -> None:
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise CoveError(f"the database {path} has rows that refer to nothing: {broken[:3]}; it was not changed")

    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return _move(connection, str(path), target, check)
    finally:
        engine.dispose()


def move_server(engine: sa.Engine, label: str, target: str) -> list[str]:
    """Bring a PostgreSQL database to a revision, up or down; the steps taken. Raises CoveError."""
    with engine.connect() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{WAIT_FOR_OTHERS_S}s'"))
        number = lock_number("schema", "revision")
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
        return _move(connection, label, target, lambda _connection: None)


def _move(connection: sa.Connection, label: str, target: str, check: Callable[[sa.Connection], None]) -> list[str]:
    """Take the steps from what is found to `target` in the transaction that has begun, and commit it."""
    found = engine_revision(connection)  # again: another process may have been here meanwhile
    if found == target:
        connection.commit()
        return []

    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    down, revisions = _way(scripts, label, found, target)
    # "fn" and transactional_ddl: the steps are run here, in the transaction that is there
    context = MigrationContext.configure(connection, opts={"transactional_ddl": False, "fn": None})
    context._ensure_version_table()
    with Operations.context(context):
        for revision in revisions:
            log.info("database schema", database=label, revision=revision.revision, what=revision.doc, down=down)
            (revision.module.downgrade if down else revision.module.upgrade)()
    check(connection)
    connection.execute(sa.text("DELETE FROM alembic_version"))
    connection.execute(sa.text("INSERT INTO alembic_version (version_num) VALUES (:target)"), {"target": target})
    connection.commit()
    return [f"{'-' if down else '+'}{revision.revision} {revision.doc}" for revision in revisions]


def _way(scripts: ScriptDirectory, label: str, found: str | None, target: str) -> tuple[bool, list[Script]]:
    """Whether it goes down, and the revisions in the order of their steps."""
    known = [script.revision for script in scripts.walk_revisions()][::-1]
    if target not in known:
        raise CoveError(f"there is no schema revision {target!r}; this version of Cove has {', '.join(known)}")
    if found is not None and found not in known:
        raise CoveError(
            f"the database {label} has schema revision {found!r}, which this version of Cove (newest revision "
            f"{HEAD_REVISION!r}) does not know; start it with the Cove that wrote it, or a newer one"
        )
    start, end = (-1 if found is None else known.index(found)), known.index(target)
    if start <= end:
        return False, [scripts.get_revision(revision) for revision in known[start + 1 : end + 1]]
    return True, [scripts.get_revision(revision) for revision in known[end + 1 : start + 1][::-1]]
