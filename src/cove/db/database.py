"""`Database`: where asyncio meets synchronous transactions.

A transaction is a plain function of a SQLAlchemy connection. `write` hands it to the one writer thread
(`cove.db.batching`), `read` to a small pool of reader threads; both run it whole. Which engine is behind the URL is
known to `cove.db.sqlite` and `cove.db.postgresql` only.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
import structlog

from cove import tasks
from cove.db.backend import Trouble, backend_of
from cove.db.batching import WriteJob, WriterThread, cut
from cove.db.errors import DatabaseBusy, DatabaseError, OutcomeUnknown
from cove.db.outage import Outage

log = structlog.get_logger(__name__)
T = TypeVar("T")

WRITES_WAITING_MAX = 1024
READS_WAITING_MAX = 1024
WAIT_FOR_ROOM_S = 30.0
CLOSE_TIMEOUT_S = 30.0
TRANSACTION_S_MAX = 60.0
"""A transaction that takes longer has its connection broken: the server or the way to it is stuck."""
WRITE_S_MAX = 90.0
"""How long a write is waited for, from queue to commit."""
WATCH_INTERVAL_S = 1.0
READ_TRIES = 2


class Database:
    """The control database behind a URL.

    `sqlite:////var/lib/cove/cove.sqlite`, `postgresql://user:password@host:port/database`, or over a socket
    `postgresql:///database?host=/run/postgresql`. Raises UnsupportedDatabase for other URLs.
    """

    def __init__(self, url: str) -> None:
        self._backend = backend_of(url)
        self._writer: WriterThread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._engines: list[sa.Engine] = []
        self._write_room = asyncio.Semaphore(WRITES_WAITING_MAX)
        self._read_room = asyncio.Semaphore(READS_WAITING_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outage = Outage(self._backend)
        self._reading: dict[int, tuple[float, sa.Connection]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._unlisten: list[Callable[[], None]] = []

    @property
    def label(self) -> str:
        """The database's path or URL, as it may be shown: without its password."""
        return self._backend.label

    @property
    def shared(self) -> bool:
        """Whether several server processes are meant to use it at once."""
        return self._backend.shared

    @property
    def path(self) -> Path:
        """The file of an SQLite database. Raises AttributeError for others."""
        path: Path = self._backend.path  # type: ignore[attr-defined]
        return path

    async def start(self) -> None:
        """Open the database and bring its schema to the newest revision. Raises DatabaseError."""
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(None, self._backend.prepare)
        write_engine = self._backend.write_engine()
        self._read_engine = self._backend.read_engine()
        self._engines = [write_engine, self._read_engine]
        self._writer = WriterThread(write_engine, self._backend, self._deliver)
        self._writer.start()
        self._readers = ThreadPoolExecutor(self._backend.readers, thread_name_prefix="cove-db-reader")
        if self.shared:
            self._watch = asyncio.create_task(self._watch_forever(), name="db-watch")

    async def close(self) -> None:
        """Finish the waiting transactions and close. May be called again."""
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        loop = asyncio.get_running_loop()
        for unlisten in self._unlisten:
            await loop.run_in_executor(None, unlisten)
        self._unlisten = []
        try:
            if writer is not None and not await loop.run_in_executor(None, writer.stop, CLOSE_TIMEOUT_S):
                raise DatabaseError(f"a transaction on {self.label} did not end within {CLOSE_TIMEOUT_S:.0f} s")
            if readers is not None:
                await loop.run_in_executor(None, readers.shutdown)
        finally:
            watch, self._watch = self._watch, None
            await tasks.end([watch])
        for engine in self._engines:
            engine.dispose()
        self._engines = []

    async def write(self, fn: Callable[[sa.Connection], T], *, after_commit: Callable[[T], None] | None = None) -> T:
        """Run `fn` in a write transaction and return its result once that is durable.

        Where another process's transaction was in the way, `fn` is run again: it changes nothing but rows. Raises what
        `fn` raised (its changes are undone), DatabaseBusy (nothing was done), OutcomeUnknown, or the error of the
        commit. `after_commit` is called with the result on the event loop, in commit order, also where the caller was
        cancelled meanwhile: for what must follow every commit.
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
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                return await future
        except TimeoutError:
            if not future.cancelled():
                raise  # it is the function's own
        if job.take():
            raise DatabaseBusy(f"the database is busy: a write did not begin within {WRITE_S_MAX:.0f} s")
        raise OutcomeUnknown(f"a write did not end within {WRITE_S_MAX:.0f} s; it may have been made, or may yet be")

    async def read(self, fn: Callable[[sa.Connection], T]) -> T:
        """Run `fn` on a snapshot of the database, read-only, and return its result. Raises DatabaseBusy."""
        if self._readers is None or self._loop is None:
            raise DatabaseError("the database is not open")
        await _room(self._read_room, "read")
        try:
            return await self._loop.run_in_executor(self._readers, self._read, fn)
        finally:
            self._read_room.release()

    def listen(self, channel: str, heard: Callable[[], None]) -> None:
        """Have `heard` called on the event loop when a process (this one, too) has said `notify(channel)`.

        Also after each interruption, when something may have been missed. Does nothing on SQLite.
        """
        loop = self._loop
        if loop is None:
            raise DatabaseError("the database is not open")

        def heard_on_thread() -> None:
            try:
                loop.call_soon_threadsafe(heard)
            except RuntimeError:  # the loop is closed
                pass

        unlisten = self._backend.listen(channel, heard_on_thread)
        if unlisten is not None:
            self._unlisten.append(unlisten)

    async def notify(self, channel: str) -> None:
        """Wake those who listen to `channel`. Does nothing on SQLite. Raises DatabaseBusy."""
        if self.shared:
            await self.read(lambda connection: connection.execute(_notify, {"channel": channel}) and None)

    @property
    def statistics(self) -> dict[str, int]:
        """How many write functions ran so far, in how many transactions, and how many of those others were in."""
        writer = self._writer
        if writer is None:
            return {}
        return {"writes": writer.writes, "transactions": writer.batches, "conflicts": writer.conflicts}

    def _read(self, fn: Callable[[sa.Connection], T]) -> T:
        for last in range(READ_TRIES - 1, -1, -1):
            with self._outage.connect(self._read_engine) as connection:
                thread = threading.get_ident()
                self._reading[thread] = (time.monotonic(), connection)
                try:
                    with connection.begin():
                        return fn(connection)
                except Exception as error:
                    trouble = self._backend.trouble(error)
                    if trouble is Trouble.OWN:
                        raise
                    if trouble is not Trouble.BROKEN:
                        raise DatabaseBusy(f"a read took too long: {getattr(error, 'orig', error)}") from error
                    if not last:
                        raise self._outage.error(error) from error
                finally:
                    del self._reading[thread]
        raise AssertionError("unreachable")

    def _deliver(self, jobs: list[WriteJob]) -> None:
        assert self._loop is not None
        finishes = [job.finish for job in jobs]
        try:
            self._loop.call_soon_threadsafe(_finish_all, finishes)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    async def _watch_forever(self) -> None:
        """Break what has waited for too long: a server that neither works nor goes away."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            before = time.monotonic() - TRANSACTION_S_MAX
            writer = self._writer
            if writer is not None and writer.busy_since is not None and writer.busy_since < before:
                log.error("a write transaction hangs: its connection is cut", database=self.label)
                writer.abort()
            for since, connection in list(self._reading.values()):
                if since < before:
                    log.error("a read hangs: its connection is cut", database=self.label)
                    cut(connection, self._backend)


_notify = sa.text("SELECT pg_notify(:channel, '')")


def _finish_all(finishes: list[Callable[[], None]]) -> None:
    for finish in finishes:
        finish()


async def _room(semaphore: asyncio.Semaphore, what: str) -> None:
    if not semaphore.locked():
        await semaphore.acquire()
        return
    try:
        async with asyncio.timeout(WAIT_FOR_ROOM_S):
            await semaphore.acquire()
    except TimeoutError:
        raise DatabaseBusy(f"the database is busy: no {what} finished in {WAIT_FOR_ROOM_S:.0f} s") from None
