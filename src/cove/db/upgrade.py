"""Bringing a database file to the newest schema revision, in this process, before anything else opens it.

The revision in the file is read with plain SQL first: a file that is up to date (every start but the first after an
upgrade) never imports Alembic, which would cost 0.1 s and 12 MB.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import structlog

from cove.db.migrations import HEAD_REVISION

log = structlog.get_logger(__name__)


def current_revision(path: Path) -> str | None:
    """The schema revision of a file, None for an empty one. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # WAL is a property of the file: setting it once, before the pools open it, is enough.
        connection.execute("PRAGMA journal_mode=WAL")
        exists = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type='table' AND name='alembic_version'"
        ).fetchone()
        if exists is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
    finally:
        connection.close()


def to_head(path: Path) -> None:
    """Run the revisions that the file lacks. Raises CoveError if it was written by a newer Cove."""
    found = current_revision(path)
    if found == HEAD_REVISION:
        return
    _run_alembic(path, found)


def _run_alembic(path: Path, found: str | None) -> None:
    import sqlalchemy as sa
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory
    from alembic.script.revision import RevisionError
    from alembic.util.exc import CommandError

    from cove.errors import CoveError

    scripts = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    try:
        revisions = list(reversed(list(scripts.iterate_revisions(HEAD_REVISION, found))))
    except (CommandError, RevisionError) as error:
        raise CoveError(
            f"the database {path} has schema revision {found!r}, which this version of Cove (newest revision "
            f"{HEAD_REVISION!r}) does not know; start it with the Cove that wrote it, or a newer one"
        ) from error
    engine = sa.create_engine(sa.URL.create("sqlite+pysqlite", database=str(path)), poolclass=sa.pool.NullPool)
    try:
        with engine.connect() as connection:
            dbapi = connection.connection.dbapi_connection
            assert dbapi is not None
            dbapi.isolation_level = None
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # all revisions or none
            context = MigrationContext.configure(connection, opts={"transactional_ddl": False, "fn": None})
            context._ensure_version_table()
            with Operations.context(context):
                for revision in revisions:
                    log.info("database schema", path=str(path), revision=revision.revision, what=revision.doc)
                    revision.module.upgrade()
            connection.exec_driver_sql("DELETE FROM alembic_version")
            connection.exec_driver_sql("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD_REVISION,))
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()
