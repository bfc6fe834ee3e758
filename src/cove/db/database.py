"""`Database`: where asyncio meets synchronous transactions.

A transaction is a plain function of a SQLAlchemy connection. `write` hands it to the one writer thread
(`cove.db.batching`), `read` to a small pool of reader threads; both run it whole. For SQLite: WAL,
synchronous=FULL (an acknowledged commit survives a power cut), foreign keys on.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import make_url

from cove.db import upgrade
from cove.db.batching import WriteJob, WriterThread
from cove.errors import CoveError

log = structlog.get_logger(__name__)
T = TypeVar("T")

READERS = 4
WRITES_WAITING_MAX = 1024
READS_WAITING_MAX = 1024
WAIT_FOR_ROOM_S = 30.0
CLOSE_TIMEOUT_S = 30.0
BUSY_TIMEOUT_MS = 5000


class DatabaseError(CoveError):
    """The control database cannot be opened or used."""


class UnsupportedDatabase(DatabaseError):
    """The URL names a database that this version does not have."""


class DatabaseBusy(DatabaseError):
    """Too many transactions wait already, and none finished in time."""


class Database:
    """The control database behind a URL: `sqlite:////var/lib/cove/cove.sqlite`.

    Raises UnsupportedDatabase for other URLs.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = _sqlite_path(url)
        self._writer: WriterThread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._engines: list[sa.Engine] = []
        self._write_room = asyncio.Semaphore(WRITES_WAITING_MAX)
        self._read_room = asyncio.Semaphore(READS_WAITING_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Open the file (0600, made if absent) and bring its schema to the newest revision. Raises DatabaseError."""
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(None, self._open)
        write_engine = _engine(self.path, begin="BEGIN IMMEDIATE", pool_size=1)
        self._read_engine = _engine(self.path, begin="BEGIN", pool_size=READERS, query_only=True)
        self._engines = [write_engine, self._read_engine]
        self._writer = WriterThread(write_engine, self._deliver)
        self._writer.start()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="cove-db-reader")

    async def close(self) -> None:
        """Finish the waiting transactions and close. May be called again."""
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        loop = asyncio.get_running_loop()
        if writer is not None and not await loop.run_in_executor(None, writer.stop, CLOSE_TIMEOUT_S):
            raise DatabaseError(f"a transaction on {self.path} did not end within {CLOSE_TIMEOUT_S:.0f} s")
        if readers is not None:
            await loop.run_in_executor(None, readers.shutdown)
        for engine in self._engines:
            engine.dispose()
        self._engines = []

    async def write(self, fn: Callable[[sa.Connection], T], *, after_commit: Callable[[T], None] | None = None) -> T:
        """Run `fn` in a write transaction and return its result once that is durable.

        Raises what `fn` raised (its changes are undone), DatabaseBusy, or the error of the commit. `after_commit` is
        called with the result on the event loop, in commit order, also where the caller was cancelled meanwhile: for
        what must follow every commit.
        """
        if self._writer is None or self._loop is None:
            raise DatabaseError("the database is not open")
        await _room(self._write_room, "write")
        if self._writer is None:  # closed meanwhile
            self._write_room.release()
            raise DatabaseError("the database is not open")
        future: asyncio.Future[T] = self._loop.create_future()
        job = WriteJob(fn)

        def finish() -> None:
            self._write_room.release()
            if job.error is not None:
                if not future.done():
                    future.set_exception(job.error)
                return
            if not future.done():
                future.set_result(job.result)
            if after_commit is not None:
                try:
                    after_commit(job.result)
                except Exception:
                    log.exception("after_commit failed", function=repr(after_commit))

        job.finish = finish
        self._writer.put(job)
        return await future

    async def read(self, fn: Callable[[sa.Connection], T]) -> T:
        """Run `fn` on a snapshot of the database, read-only, and return its result."""
        if self._readers is None or self._loop is None:
            raise DatabaseError("the database is not open")
        await _room(self._read_room, "read")
        try:
            return await self._loop.run_in_executor(self._readers, self._read, fn)
        finally:
            self._read_room.release()

    @property
    def statistics(self) -> dict[str, int]:
        """How many write functions ran so far, and in how many transactions (one fsync each)."""
        writer = self._writer
        return {"writes": writer.writes, "transactions": writer.batches} if writer else {}

    def _read(self, fn: Callable[[sa.Connection], T]) -> T:
        with self._read_engine.begin() as connection:
            return fn(connection)

    def _deliver(self, jobs: list[WriteJob]) -> None:
        assert self._loop is not None
        finishes = [job.finish for job in jobs]
        try:
            self._loop.call_soon_threadsafe(_finish_all, finishes)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, 0o600)  # one that was there before may be open to others
            finally:
                os.close(descriptor)
            upgrade.to_head(self.path)
        except (OSError, sqlite3.Error) as error:
            raise DatabaseError(f"cannot open the database {self.path}: {error}") from error


def _finish_all(finishes: list[Callable[[], None]]) -> None:
    for finish in finishes:
        finish()


async def _room(semaphore: asyncio.Semaphore, what: str) -> None:
    if not semaphore.locked():
        await semaphore.acquire()
        return
    try:
        await asyncio.wait_for(semaphore.acquire(), WAIT_FOR_ROOM_S)
    except TimeoutError:
        raise DatabaseBusy(f"the database is busy: no {what} finished in {WAIT_FOR_ROOM_S:.0f} s") from None


def _sqlite_path(url: str) -> Path:
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError:
        raise UnsupportedDatabase(f"database_url {url!r} is not a URL; use sqlite:////path/to/file") from None
    if parsed.get_backend_name() == "postgresql":
        raise UnsupportedDatabase("database_url: postgresql:// is not supported yet; use sqlite:////path/to/file")
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise UnsupportedDatabase(
            f"database_url {parsed.render_as_string()!r} is not supported; use sqlite:////path/to/file"
        )
    return Path(parsed.database).absolute()


def _engine(path: Path, *, begin: str, pool_size: int, query_only: bool = False) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=sa.pool.QueuePool,
        pool_size=pool_size,
        max_overflow=0,
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
