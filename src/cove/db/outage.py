"""A database server that is away for a while: who waits for it, and for how long.

A restart takes a second or two; those who are under way wait for its end. Once it has lasted for `PATIENCE_S`
nobody waits any more, and new work is refused at once but for one probe each `PROBE_INTERVAL_S`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
import structlog

from cove.db.backend import Backend, Trouble
from cove.db.errors import DatabaseUnavailable

log = structlog.get_logger(__name__)

PATIENCE_S = 5.0
ATTEMPT_INTERVAL_S = 0.1
PROBE_INTERVAL_S = 0.5


class Outage:
    """The state of one way to the server; any thread may use it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._since: float | None = None
        self._probed_at = 0.0
        self._last_error: BaseException | None = None

    def connect(self, engine: sa.Engine, *, give_up: Callable[[], bool] = lambda: False) -> sa.Connection:
        """A connection of the engine, waiting for the server if it is away. Raises DatabaseUnavailable."""
        while True:
            if self._refuse():
                raise self.error(self._last_error)
            try:
                connection = engine.connect()
            except sa.exc.DBAPIError as error:
                if self._backend.trouble(error) is not Trouble.BROKEN:
                    raise
                if not self._wait_on(error) or give_up():
                    raise self.error(error) from error
                time.sleep(ATTEMPT_INTERVAL_S)
            else:
                self._over()
                return connection

    def error(self, cause: BaseException | None) -> DatabaseUnavailable:
        """What to tell those who asked for something."""
        reason = str(getattr(cause, "orig", cause)).strip().splitlines() or ["the connection broke"]
        return DatabaseUnavailable(f"the database {self._backend.label} cannot be reached: {reason[0]}")

    def _refuse(self) -> bool:
        """Whether to give up without a try: somebody else has just failed."""
        now = time.monotonic()
        with self._lock:
            if self._since is None or now - self._since < PATIENCE_S:
                return False
            if now - self._probed_at < PROBE_INTERVAL_S:
                return True
            self._probed_at = now
            return False

    def _wait_on(self, error: BaseException) -> bool:
        """A try failed: whether to try again."""
        now = time.monotonic()
        with self._lock:
            self._last_error = error
            if self._since is None:
                self._since = now
                log.warning("database out of reach", database=self._backend.label, error=str(error))
            return now - self._since < PATIENCE_S

    def _over(self) -> None:
        with self._lock:
            if self._since is not None:
                log.info("database back", database=self._backend.label, away_s=time.monotonic() - self._since)
            self._since = None
