"""The writer thread: takes waiting write functions from a queue and runs several of them in one transaction.

A commit costs an fsync. While one is under way others queue up; the next transaction takes all of them (up to
`BATCH_MAX`), each in a SAVEPOINT of its own, so that a function that fails takes only its own changes with it.
Nobody is answered before the commit. Part of `cove.db.database`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog

log = structlog.get_logger(__name__)

BATCH_MAX = 64
"""Write functions in one transaction: bounds how long the first of them waits for the last."""


@dataclass(slots=True, eq=False)
class WriteJob:
    """One write function and, once it is done, its result or error. `done` is set by the writer thread."""

    fn: Callable[[sa.Connection], Any]
    result: Any = None
    error: BaseException | None = None
    finish: Callable[[], None] = field(default=lambda: None)


class WriterThread:
    """Owns the one connection that writes.

    `deliver` is called on the writer thread with the jobs of a batch, in commit order, after their commit.
    """

    def __init__(self, engine: sa.Engine, deliver: Callable[[list[WriteJob]], None]) -> None:
        self._engine = engine
        self._deliver = deliver
        # Bounded by the Database's semaphore, so that the event loop never blocks in put().
        self._jobs: queue.SimpleQueue[WriteJob | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="cove-db-writer", daemon=True)
        self.batches = 0
        self.writes = 0

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

    def _run(self) -> None:
        connection: sa.Connection | None = None
        stopping = False
        while not stopping:
            batch: list[WriteJob] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) >= BATCH_MAX:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            stopping = job is None
            if not batch:
                continue
            try:
                if connection is None:
                    connection = self._engine.connect()
                run_batch(connection, batch)
            except BaseException as error:
                # The transaction as a whole failed (disk full, I/O error): nobody's change is in force.
                log.exception("write transaction failed", functions=len(batch))
                for failed in batch:
                    failed.error = failed.error or error
                if connection is not None:
                    connection.invalidate()
                    connection.close()
                    connection = None
            self.batches += 1
            self.writes += len(batch)
            self._deliver(batch)
            batch.clear()
        if connection is not None:
            connection.close()


def run_batch(connection: sa.Connection, batch: list[WriteJob]) -> None:
    """Run the jobs in one transaction and commit it. Sets result or error of each job.

    Raises what broke the transaction as a whole; then no job of the batch has taken effect.
    """
    transaction = connection.begin()
    try:
        if len(batch) == 1:
            # No neighbour to protect: without a savepoint, an error undoes the transaction itself.
            job = batch[0]
            try:
                job.result = job.fn(connection)
            except BaseException as error:
                job.error = error
                transaction.rollback()
                return
        else:
            for job in batch:
                _run_nested(connection, job)
        transaction.commit()
    except BaseException:
        if transaction.is_active:
            transaction.rollback()
        raise


def _run_nested(connection: sa.Connection, job: WriteJob) -> None:
    savepoint = connection.begin_nested()
    try:
        job.result = job.fn(connection)
    except BaseException as error:
        job.error = error
        savepoint.rollback()
    else:
        savepoint.commit()
