"""What `Database` needs to know of an engine: `cove.db.sqlite` and `cove.db.postgresql` have it.

Everything above works with `sqlalchemy` connections and never asks which engine it is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from cove.db.errors import UnsupportedDatabase

CAUSES_MAX = 5


class Trouble(enum.Enum):
    """Why a transaction failed, and so what may be done about it."""

    OWN = enum.auto()
    """Its own doing: whoever asked for it is told."""
    CONFLICT = enum.auto()
    """Another transaction was in its way: it may be run again."""
    TIMEOUT = enum.auto()
    """A statement took longer than it may: nothing was done."""
    BROKEN = enum.auto()
    """The connection is gone: it may be run again on another, unless its commit was under way."""


class Backend(Protocol):
    """One engine behind one URL."""

    label: str
    """The URL as it may be shown: without its password."""
    batch_max: int
    """Write functions in one transaction."""
    readers: int
    """Reads at once."""
    shared: bool
    """Whether processes on several hosts can use the database at once."""
    next_savepoint: Sequence[str]
    """Statements between two functions of a batch: keep what the first did, and be able to undo the second."""

    def prepare(self) -> None:
        """Make sure that the database is there, and bring its schema to the newest revision. Raises DatabaseError."""

    def revision(self) -> str | None:
        """The schema revision of the database; None for an empty one, or none at all. Raises DatabaseError."""

    def move(self, target: str) -> list[str]:
        """Bring its schema to a revision, up or down; what was done. Raises CoveError."""

    def sessions(self) -> int:
        """How many connections of Cove's it has at present, as far as it knows."""

    def write_engine(self) -> sa.Engine:
        """An engine with one connection, whose transactions write."""

    def read_engine(self) -> sa.Engine:
        """An engine with `readers` connections, whose transactions see one snapshot and cannot write."""

    def trouble(self, error: BaseException) -> Trouble:
        """What kind of failure an error of a transaction is."""

    def abort(self, connection: Any) -> None:
        """End a driver's connection that another thread has waited on for too long."""

    def listen(self, channel: str, heard: Callable[[], None]) -> Callable[[], None] | None:
        """Call `heard`, on a thread, whenever another process says that `channel` has news; returns what ends it.

        None where processes cannot speak to each other through the database.
        """


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from: what a function raised may wrap the database's own error."""
    found: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if found is None:
            return
        yield found
        found = getattr(found, "orig", None) or found.__cause__ or found.__context__


def backend_of(url: str) -> Backend:
    """The engine that a URL names. Raises UnsupportedDatabase."""
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError:
        raise UnsupportedDatabase(
            f"database_url {_without_secrets(url)!r} is not a URL; use sqlite:////path/to/file or "
            "postgresql://user:password@host/database"
        ) from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        from cove.db.sqlite import SqliteBackend

        return SqliteBackend(parsed)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        from cove.db.postgresql import PostgresBackend

        return PostgresBackend(parsed)
    raise UnsupportedDatabase(
        f"database_url: {parsed.drivername}:// is not supported; use sqlite:////path/to/file or "
        "postgresql://user:password@host/database"
    )


def _without_secrets(text: str) -> str:
    """What is no URL may still hold a password: before an @."""
    return f"…@{text.rpartition('@')[2]}" if "@" in text else text
