"""PostgreSQL through psycopg 3, which is imported only where a URL asks for it.

Writes are READ COMMITTED with `synchronous_commit=on`, so an acknowledged commit is on the server's disk; reads are
REPEATABLE READ and READ ONLY: one snapshot each, as SQLite gives. Every wait ends: the server bounds statements, waits
for locks and idle transactions, TCP bounds a peer that is silent.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.db import upgrade
from cove.db.backend import Trouble, causes
from cove.db.errors import DatabaseError, DatabaseUnavailable, UnsupportedDatabase
from cove.db.listener import Listener

SERVER_VERSION_MIN = 130000
SESSION: Mapping[str, str] = {
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    # A server process that hangs in a transaction must not hold its locks for ever.
    "idle_in_transaction_session_timeout": "30s",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read\\ committed",
    "jit": "off",  # compiling costs more than any statement here
    "plan_cache_mode": "force_custom_plan",  # a plan made while tables were small reads all of them later
    "timezone": "UTC",
    "client_encoding": "UTF8",
}
"""Settings of each session. `options` of the URL come after them, and win."""

CONNECTION: Mapping[str, Any] = {
    "connect_timeout": 5,
    "application_name": "cove",
    # A peer that is silent for about 20 s is gone.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 4,
    "keepalives_count": 3,
    "tcp_user_timeout": 20000,
}
"""libpq's parameters. Those of the URL's query win."""

PREPARED_MAX = 400
"""Prepared statements of a session: more than the code has, so that none is prepared twice."""

SECRETS = ("password", "sslpassword")

_CONFLICTS = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available: lock_timeout
}
_TIMEOUTS = {"57014"}  # query_canceled: statement_timeout
_BROKEN = (
    "08",  # connection exceptions
    "57P",  # shutdown, crash, starting up
    "25P03",  # idle_in_transaction_session_timeout
    "53300",  # too_many_connections
)


class PostgresBackend:
    """A database of a server. Raises UnsupportedDatabase for a URL without one."""

    batch_max = 16
    """Measured with 64 clients on one network: from 8 on, a port costs the same. Larger ones only hold the locks of
    their networks for longer (and past 64 savepoints in a transaction, every session's snapshots pay)."""
    readers = 4
    shared = True
    next_savepoint: Sequence[str] = ("RELEASE cove; SAVEPOINT cove",)

    def __init__(self, url: sa.URL) -> None:
        if not url.database:
            raise UnsupportedDatabase("database_url: name the database: postgresql://user:password@host/database")
        self.url = url.set(drivername="postgresql+psycopg")
        shown = url.set(drivername="postgresql", query={k: v for k, v in url.query.items() if k not in SECRETS})
        self.label = shown.render_as_string(hide_password=True)

    def prepare(self) -> None:
        """See Backend. The database itself is made by its administrator."""
        with self._for_a_while() as engine:
            with engine.connect() as connection:
                self._check(connection)
            upgrade.engine_to_head(engine, self.label)

    def revision(self) -> str | None:
        """See Backend."""
        with self._for_a_while() as engine, engine.connect() as connection:
            return upgrade.engine_revision(connection)

    def move(self, target: str) -> list[str]:
        """See Backend."""
        with self._for_a_while() as engine:
            return upgrade.move_server(engine, self.label, target)

    def sessions(self) -> int:
        """See Backend."""
        with self._for_a_while() as engine, engine.connect() as connection:
            return int(connection.execute(_sessions, {"name": CONNECTION["application_name"]}).scalar_one())

    def write_engine(self) -> sa.Engine:
        """See Backend."""
        return self._engine(pool_size=1)

    def read_engine(self) -> sa.Engine:
        """See Backend."""
        engine = self._engine(pool_size=self.readers, isolation_level="REPEATABLE READ")

        @sa.event.listens_for(engine, "connect")
        def _connect(dbapi: Any, _record: Any) -> None:
            dbapi.read_only = True

        return engine

    def trouble(self, error: BaseException) -> Trouble:
        """See Backend."""
        for cause in causes(error):
            if isinstance(cause, sa.exc.DBAPIError) and cause.connection_invalidated:
                return Trouble.BROKEN
            found = _trouble_of_driver(cause)
            if found is not None:
                return found
        return Trouble.OWN

    def abort(self, connection: Any) -> None:
        """See Backend: whoever waits on the socket sees it closed."""
        with contextlib.suppress(OSError, AttributeError), socket.socket(fileno=os.dup(connection.fileno())) as peer:
            peer.shutdown(socket.SHUT_RDWR)

    def listen(self, channel: str, heard: Callable[[], None]) -> Callable[[], None] | None:
        """See Backend."""
        listener = Listener(self._connect_alone, self.abort, channel, heard)
        listener.start()
        return listener.stop

    @contextlib.contextmanager
    def _for_a_while(self) -> Iterator[sa.Engine]:
        engine = self._engine(pool_size=1)
        try:
            yield engine
        except sa.exc.DBAPIError as error:
            raise self._cannot_open(error) from error
        finally:
            engine.dispose()

    def _connect_alone(self) -> Any:
        """A connection of the driver's own, outside the pools, that commits each statement."""
        import psycopg

        arguments, parameters = self.url.get_dialect()().create_connect_args(self.url)
        return psycopg.connect(*arguments, **{**parameters, **self._parameters(), "autocommit": True})

    def _engine(self, *, pool_size: int, **options: Any) -> sa.Engine:
        engine = sa.create_engine(
            self.url,
            poolclass=sa.pool.QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            hide_parameters=True,  # errors are logged: what is stored is nobody's business there
            use_native_hstore=False,
            connect_args=self._parameters(),
            **options,
        )

        @sa.event.listens_for(engine, "connect")
        def _connect(dbapi: Any, _record: Any) -> None:
            dbapi.prepared_max = PREPARED_MAX

        return engine

    def _parameters(self) -> dict[str, Any]:
        own = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
        given = self.url.query.get("options", "")
        parameters = {name: value for name, value in CONNECTION.items() if name not in self.url.query}
        return parameters | {"options": f"{own} {given if isinstance(given, str) else ' '.join(given)}".strip()}

    def _check(self, connection: sa.Connection) -> None:
        version, encoding = connection.execute(
            sa.text("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
        ).one()
        if version < SERVER_VERSION_MIN:
            raise DatabaseError(f"{self.label}: PostgreSQL {version // 10000} is too old; 13 or newer is needed")
        if encoding != "UTF8":
            raise DatabaseError(
                f"{self.label}: its encoding is {encoding}; make it with CREATE DATABASE … TEMPLATE template0 "
                "ENCODING 'UTF8'"
            )

    def _cannot_open(self, error: sa.exc.DBAPIError) -> DatabaseError:
        reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        kind = DatabaseUnavailable if self.trouble(error) is Trouble.BROKEN else DatabaseError
        return kind(f"cannot open the database {self.label}: {reason}")


_sessions = sa.text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()"
)


def _trouble_of_driver(error: BaseException) -> Trouble | None:
    """What an error of psycopg means; None for errors of others."""
    if type(error).__module__.partition(".")[0] != "psycopg":
        return None
    state = getattr(error, "sqlstate", None)
    if state is None:
        # No word of the server's: it could not be reached, or went away without one.
        return Trouble.BROKEN if type(error).__name__ in _WITHOUT_WORDS else Trouble.OWN
    if state in _CONFLICTS:
        return Trouble.CONFLICT
    if state in _TIMEOUTS:
        return Trouble.TIMEOUT
    return Trouble.BROKEN if state.startswith(_BROKEN) else Trouble.OWN


_WITHOUT_WORDS = {"OperationalError", "ConnectionTimeout", "InterfaceError"}
