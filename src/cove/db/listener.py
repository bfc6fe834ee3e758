"""Hearing of other processes' news through PostgreSQL: LISTEN on a connection and a thread of its own.

A notification says only "look": what there is to see is in tables. So it does not matter that those which came while
the connection was away are lost: `heard` is called after each (re)connection, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger(__name__)

WAIT_S = 30.0
STOP_TIMEOUT_S = 10.0
RETRY_DELAY_MIN_S, RETRY_DELAY_MAX_S = 0.1, 5.0


class Listener:
    """Calls `heard` on its thread. `connect` gives a psycopg connection in autocommit mode, `abort` wakes its waits."""

    def __init__(
        self, connect: Callable[[], Any], abort: Callable[[Any], None], channel: str, heard: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._abort = abort
        self._connection: Any = None
        self._channel = channel
        self._heard = heard
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"cove-db-listen-{channel}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._connection is not None:
            self._abort(self._connection)
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        delay_s = RETRY_DELAY_MIN_S
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    self._connection = connection
                    connection.execute(f'LISTEN "{self._channel}"')
                    self._heard()
                    delay_s = RETRY_DELAY_MIN_S
                    self._listen(connection)
            except Exception as error:  # whatever it is, listening goes on
                if self._stopping.is_set():
                    return
                log.warning("not listening; trying again", channel=self._channel, error=str(error), after_s=delay_s)
                self._stopping.wait(delay_s)
                delay_s = min(2 * delay_s, RETRY_DELAY_MAX_S)

    def _listen(self, connection: Any) -> None:
        while not self._stopping.is_set():
            if any(True for _ in connection.notifies(timeout=WAIT_S, stop_after=1)):
                self._heard()
