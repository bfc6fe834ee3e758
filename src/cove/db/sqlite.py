"""SQLite: WAL, synchronous=FULL (an acknowledged commit survives a power cut), foreign keys on.

Write transactions begin with BEGIN IMMEDIATE: there is one writer at a time, in whichever process, and nobody's
transaction fails half way because of another's.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cove.db import upgrade
from cove.db.backend import Trouble, causes
from cove.db.errors import DatabaseError, UnsupportedDatabase

BUSY_TIMEOUT_MS = 5000
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class SqliteBackend:
    """A file. Raises UnsupportedDatabase for a database in memory."""

    batch_max = 64
    """Bounds how long the first function of a batch waits for the last."""
    readers = 4
    shared = False
    next_savepoint: Sequence[str] = ("RELEASE cove", "SAVEPOINT cove")

    def __init__(self, url: sa.URL) -> None:
        if not url.database or url.database == ":memory:":
            raise UnsupportedDatabase(
                f"database_url {url.render_as_string()!r} is not supported; use sqlite:////path/to/file"
            )
        self.path = Path(url.database).absolute()
        self.label = str(self.path)

    def prepare(self) -> None:
        """Make the file (0600) if it is absent; see Backend."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, 0o600)  # one that was there before may be open to others
            finally:
                os.close(descriptor)
            upgrade.to_head(self.path)
        except (OSError, sqlite3.Error, sa.exc.DBAPIError) as error:
            raise DatabaseError(f"cannot open the database {self.path}: {error}") from error

    def revision(self) -> str | None:
        """See Backend."""
        try:
            return upgrade.current_revision(self.path) if self.path.exists() else None
        except sqlite3.Error as error:
            raise DatabaseError(f"cannot open the database {self.path}: {error}") from error

    def move(self, target: str) -> list[str]:
        """See Backend."""
        if not self.path.exists():
            raise DatabaseError(f"there is no database {self.path} yet: `cove up` makes it")
        try:
            return upgrade.move_file(self.path, target)
        except (sqlite3.Error, sa.exc.DBAPIError) as error:
            raise DatabaseError(f"cannot change the database {self.path}: {error}") from error

    def sessions(self) -> int:
        """See Backend. A file does not know who has it open."""
        return 0

    def write_engine(self) -> sa.Engine:
        """See Backend."""
        return _engine(self.path, begin="BEGIN IMMEDIATE", pool_size=1)

    def read_engine(self) -> sa.Engine:
        """See Backend."""
        return _engine(self.path, begin="BEGIN", pool_size=self.readers, query_only=True)

    def trouble(self, error: BaseException) -> Trouble:
        """See Backend. Another process may hold the lock for longer than the busy time-out."""
        for cause in causes(error):
            code = getattr(cause, "sqlite_errorcode", None)
            if code is not None:
                return Trouble.CONFLICT if code & 0xFF in _BUSY else Trouble.OWN
        return Trouble.OWN

    def abort(self, connection: Any) -> None:
        """See Backend. Nobody waits on a file."""

    def listen(self, channel: str, heard: Callable[[], None]) -> Callable[[], None] | None:
        """See Backend."""
        return None


def _engine(path: Path, *, begin: str, pool_size: int, query_only: bool = False) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=sa.pool.QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # errors are logged: what is stored is nobody's business there
        connect_args={"check_same_thread": False, "cached_statements": 256},
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        # sqlite3's own idea of transactions is switched off; BEGIN is said below (SQLAlchemy: pysqlite dialect).
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        if query_only:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
