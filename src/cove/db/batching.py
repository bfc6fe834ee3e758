"""The writer thread: takes waiting write functions from a queue and runs several of them in one transaction.

A commit costs an fsync. While one is under way others queue up; the next transaction takes all of them (up to the
backend's `batch_max`), each behind a SAVEPOINT, so that a function that fails takes only its own changes with it.
Nobody is answered before the commit. Part of `cove.db.database`.

What other processes on the same database do to a transaction is met here (see `Trouble`):

| what happened | what is done |
| --- | --- |
| a deadlock, a serialisation failure, a wait for a lock that took too long | all is rolled back; each function is run again, alone, after a random delay, up to `ATTEMPTS_MAX` times and for `CONFLICT_S_MAX` |
| a lock that a function wants is another's (`LockBusy`) | the function's changes are undone; it begins the next transaction |
| the connection broke before the commit was asked for | nothing is in force: the functions are run again on a new one |
| the connection broke during the commit | OutcomeUnknown: the functions may be in force, and are not run again |
| the server is away | waited for up to `PATIENCE_S`, then DatabaseUnavailable for all that wait |
"""  # noqa: E501 (a table)

from __future__ import annotations

import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog

from cove.db import locks
from cove.db.backend import Backend, Trouble, causes
from cove.db.errors import DatabaseBusy, DatabaseContention, OutcomeUnknown
from cove.db.locks import LockBusy, TransactionLocks
from cove.db.outage import Outage

log = structlog.get_logger(__name__)

ATTEMPTS_MAX = 10
CONFLICT_S_MAX = 20.0
"""A function that lost against others for so long is not run again."""
BREAKS_MAX = 3
"""How often a function's connection may break before it is given up."""
DELAY_MIN_S, DELAY_MAX_S = 0.005, 0.5


@dataclass(slots=True, eq=False)
class WriteJob:
    """One write function and, once it is done, its result or error. The writer thread calls `finish` then."""

    fn: Callable[[sa.Connection], Any]
    finish: Callable[[], None] = field(default=lambda: None)
    result: Any = None
    error: BaseException | None = None
    ticket: list[None] = field(default_factory=lambda: [None])
    """Whoever takes it out decides: the writer thread begins the job, or the one who asked for it gives it up."""
    attempts: int = 0
    conflict_since: float = 0.0
    breaks: int = 0
    deferred: bool = False
    alone: bool = False
    not_before: float = 0.0
    """Monotonic seconds."""
    wants: set[int] = field(default_factory=set)
    """Locks that it is known to need."""

    def take(self) -> bool:
        """Decide on the job, from any thread; True for one caller only."""
        try:
            self.ticket.pop()
        except IndexError:
            return False
        return True


class CommitFailed(Exception):
    """The commit itself failed; the cause says how."""


class WriterThread:
    """Owns the one connection that writes.

    `deliver` is called on the writer thread with the finished jobs of a batch, in commit order, after their commit.
    """

    def __init__(self, engine: sa.Engine, backend: Backend, deliver: Callable[[list[WriteJob]], None]) -> None:
        self._engine = engine
        self._backend = backend
        self._deliver = deliver
        # Bounded by the Database's semaphore, so that the event loop never blocks in put().
        self._jobs: queue.SimpleQueue[WriteJob | None] = queue.SimpleQueue()
        self._again: deque[WriteJob] = deque()
        self._stopping = False
        self._connection: sa.Connection | None = None
        self._outage = Outage(backend)
        self._thread = threading.Thread(target=self._run, name="cove-db-writer", daemon=True)
        self.busy_since: float | None = None
        """Monotonic seconds since which the present transaction runs."""
        self.batches = 0
        self.writes = 0
        self.conflicts = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, job: WriteJob) -> None:
        """Queue a job; any thread may call this."""
        self._jobs.put(job)

    def stop(self, timeout_s: float) -> bool:
        """Let the queued jobs finish and end the thread; False if it did not end in time."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abort(self) -> None:
        """Break the connection under a transaction that takes too long. Any thread may call this."""
        connection = self._connection
        if connection is not None:
            cut(connection, self._backend)

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                break
            if batch:
                self.busy_since = time.monotonic()
                finished = self._execute(batch)
                self.busy_since = None
                self.writes += len(finished)
                if finished:
                    self._deliver(finished)
        self._disconnect()

    # --- what to run next --------------------------------------------------------------------------------------------

    def _next_batch(self) -> list[WriteJob] | None:
        """The jobs of the next transaction, those that are run again first; None at the end."""
        now = time.monotonic()
        batch: list[WriteJob] = []
        for _ in range(len(self._again)):
            job = self._again.popleft()
            if job.not_before > now or len(batch) >= self._backend.batch_max or (job.alone and batch):
                self._again.append(job)
                continue
            batch.append(job)
            if job.alone:
                return batch
        wait = not batch
        while len(batch) < self._backend.batch_max and not self._stopping:
            try:
                found = self._jobs.get(timeout=self._wait_s(now)) if wait else self._jobs.get_nowait()
            except queue.Empty:
                return batch
            wait = False
            if found is None:
                self._stopping = True
            elif found.take():
                batch.append(found)
            else:
                found.error = DatabaseBusy("given up by whoever asked for it")
                self._deliver([found])
        if not batch and self._stopping:
            if not self._again:
                return None
            time.sleep(max(0.0, self._wait_s(now) or 0.0))
        return batch

    def _wait_s(self, now: float) -> float | None:
        return max(0.0, min(job.not_before for job in self._again) - now) if self._again else None

    # --- running it --------------------------------------------------------------------------------------------------

    def _execute(self, batch: list[WriteJob]) -> list[WriteJob]:
        """Run a batch; returns the jobs that are finished, others are to be run again."""
        for job in batch:
            job.result, job.error, job.deferred = None, None, False
        try:
            connection = self._connect()
        except Exception as error:
            return self._fail_all(batch, error)
        self.batches += 1
        try:
            run_batch(connection, batch, self._backend)
        except BaseException as error:
            return self._failed(batch, error)
        deferred = [job for job in batch if job.deferred]
        self._again.extendleft(reversed(deferred))
        return [job for job in batch if not job.deferred] if deferred else batch

    def _connect(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._outage.connect(self._engine, give_up=lambda: self._stopping)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _failed(self, batch: list[WriteJob], error: BaseException) -> list[WriteJob]:
        """The transaction as a whole failed: nobody's change is in force, or nobody knows."""
        committing = isinstance(error, CommitFailed)
        cause = error.__cause__ if committing and error.__cause__ is not None else error
        trouble = self._backend.trouble(cause)
        if trouble is Trouble.CONFLICT:
            return self._run_again_alone(batch, cause)
        if trouble is Trouble.BROKEN:
            self._disconnect()
            if not committing:
                return self._run_again(batch, cause)
            log.error("connection lost during a commit", functions=len(batch), error=str(cause))
            cause = OutcomeUnknown(
                f"the connection to the database {self._backend.label} broke during a commit: the change may have been "
                "made, or not; look before it is repeated"
            )
        else:
            log.exception("write transaction failed", functions=len(batch), exc_info=cause)
            self._disconnect()
        for job in batch:
            job.error = job.error or cause
        return batch

    def _run_again_alone(self, batch: list[WriteJob], cause: BaseException) -> list[WriteJob]:
        self.conflicts += 1
        log.info("transaction lost against another", functions=len(batch), error=str(getattr(cause, "orig", cause)))
        now = time.monotonic()
        finished: list[WriteJob] = []
        for job in batch:
            job.attempts += 1
            job.conflict_since = job.conflict_since or now
            if job.attempts >= ATTEMPTS_MAX or now - job.conflict_since > CONFLICT_S_MAX:
                job.error = DatabaseContention(
                    f"the transaction lost against others {job.attempts} times; try again later", job.attempts
                )
                job.error.__cause__ = cause
                finished.append(job)
                continue
            job.alone = True
            job.not_before = now + random.uniform(0, min(DELAY_MAX_S, DELAY_MIN_S * 2**job.attempts))  # noqa: S311
            self._again.append(job)
        return finished

    def _run_again(self, batch: list[WriteJob], cause: BaseException) -> list[WriteJob]:
        """The connection broke before the commit was asked for."""
        finished: list[WriteJob] = []
        for job in reversed(batch):
            job.breaks += 1
            if job.breaks >= BREAKS_MAX:
                job.error = self._outage.error(cause)
                finished.insert(0, job)
            else:
                self._again.appendleft(job)
        return finished

    def _fail_all(self, batch: list[WriteJob], error: BaseException) -> list[WriteJob]:
        """The database cannot be reached: whoever waits is told now, or a queue would be worked off one by one."""
        jobs = [*batch, *self._again]
        self._again.clear()
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._stopping = True
            else:
                jobs.append(job)
        for job in jobs:
            job.error = error
        return jobs


def cut(connection: sa.Connection, backend: Backend) -> None:
    """Break a connection that another thread waits on. One that is just given back or replaced is left alone."""
    try:
        driver = None if connection.closed or connection.invalidated else connection.connection.driver_connection
    except sa.exc.SQLAlchemyError:
        return
    if driver is not None:
        backend.abort(driver)


def run_batch(connection: sa.Connection, batch: list[WriteJob], backend: Backend) -> None:
    """Run the jobs in one transaction and commit it. Sets result, error or `deferred` of each job.

    Raises what broke the transaction as a whole; then no job of the batch has taken effect. CommitFailed: the commit
    was asked for, and its cause says what came of it.
    """
    held = locks.track(connection)
    held.begin()
    transaction = connection.begin()
    try:
        locks.take_first(connection, held, batch[0].wants)
        if len(batch) == 1:
            # No neighbour to protect: without a savepoint, an error undoes the transaction itself.
            if not _run(connection, batch[0], backend, held):
                transaction.rollback()
                return
        else:
            _run_nested(connection, batch, backend, held)
    except BaseException:
        _roll_back(transaction)
        raise
    try:
        transaction.commit()
    except BaseException as error:
        _roll_back(transaction)
        raise CommitFailed from error


def _run(connection: sa.Connection, job: WriteJob, backend: Backend, held: TransactionLocks) -> bool:
    """Run one function; False if its changes are to be undone. Raises what concerns the whole transaction."""
    held.asked.clear()
    try:
        job.result = job.fn(connection)
        return True
    except BaseException as error:
        if any(isinstance(cause, LockBusy) for cause in causes(error)):
            job.deferred = True
            job.wants |= held.asked
            return False
        trouble = backend.trouble(error)
        if trouble is Trouble.TIMEOUT:
            job.error = DatabaseBusy(f"a statement took too long: {getattr(error, 'orig', error)}")
            return False
        if trouble is not Trouble.OWN:
            raise
        job.error = error
        return False


def _run_nested(connection: sa.Connection, batch: list[WriteJob], backend: Backend, held: TransactionLocks) -> None:
    # Savepoints are said to the driver: SQLAlchemy's own cost more than a statement does.
    cursor = connection.connection.cursor()
    before: frozenset[int] = frozenset(held.held)
    cursor.execute("SAVEPOINT cove")
    fresh, waits = True, held.may_wait
    for job in batch:
        if not fresh:
            for statement in backend.next_savepoint:
                cursor.execute(statement)
            before = frozenset(held.held)
        fresh = not _run(connection, job, backend, held)
        if fresh:
            cursor.execute("ROLLBACK TO cove")
            held.undo_to(before)
            held.may_wait = waits
        else:
            held.may_wait = waits = False
    cursor.close()


def _roll_back(transaction: sa.RootTransaction) -> None:
    try:
        transaction.rollback()
    except Exception as error:  # a connection that is gone
        log.info("rollback failed", error=str(error))
