"""The thread on which a client's callbacks run, one after the other, in the order of the completions.

It is not the event loop's: a callback may make blocking calls of the facade. What a callback raises is logged.

Source: Ceph's common/Finisher and what librados does with it.
"""

from __future__ import annotations

import threading
from _thread import LockType, get_ident
from collections.abc import Callable
from queue import SimpleQueue

import structlog

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 10.0

Work = Callable[[], list[LockType] | None]
"""Something to do; those who wait until it is done and forgotten wait for these locks."""


class Finisher:
    """A queue and its thread, which starts with the first work."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def put(self, work: Work) -> None:
        """Do it after all that was put before."""
        self._queue.put(work)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None and not self._stopped:
                thread = threading.Thread(target=_work, args=(self._queue,), name=self._name, daemon=True)
                self._thread = thread  # before it runs: callbacks ask whether it is theirs
                try:
                    thread.start()
                except BaseException:
                    self._thread = None
                    raise

    def is_current(self) -> bool:
        """Whether this is called by a callback."""
        thread = self._thread
        return thread is not None and get_ident() == thread.ident

    def flush(self) -> None:
        """Wait until all that was put before is done; at once on the thread itself, bounded otherwise."""
        thread = self._thread
        if thread is None or self.is_current():
            return
        done = threading.Event()
        self._queue.put(lambda: done.set())
        if not done.wait(STOP_TIMEOUT_S):
            log.warning("callbacks_take_long", thread=self._name, waited_s=STOP_TIMEOUT_S)

    def stop(self, *, wait: bool = True) -> None:
        """End the thread once all is done; `wait` for that, but not for ever."""
        with self._start_lock:
            self._stopped = True
            thread = self._thread
        if thread is None:
            return
        self._queue.put(None)
        if wait and get_ident() != thread.ident:
            thread.join(STOP_TIMEOUT_S)
            if thread.is_alive():
                log.warning("callbacks_take_long", thread=self._name, waited_s=STOP_TIMEOUT_S)


def _work(queue: SimpleQueue[Work | None]) -> None:
    """It knows nothing but the queue, so that it keeps no client alive."""
    while True:
        work = queue.get()
        if work is None:
            return
        try:
            waiting = work()
        except BaseException:
            log.exception("callback_failed")
            waiting = None
        del work  # who waits may count references
        for lock in waiting or ():
            lock.release()
