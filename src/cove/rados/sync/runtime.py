"""The event loop behind the facade: one for the process, on a daemon thread, there while a client is connected.

    caller's thread            loop's thread
    post(function, *args) ───► _drain: function(*args)          many posts, one wake-up
    lock.acquire() ◄────────── lock.release()                   one wake-up back

One loop serves all clients of the process: Python runs one thread at a time anyway, so more of them would only cost
more switches; a handle that does not answer can't hold the others up, as nothing here blocks (callbacks of users run
on the client's own finisher thread).

A fork leaves the child without the thread: `at_fork` says what happens then. At the interpreter's exit the loop is
stopped without waking those who wait: they are daemon threads, which the interpreter ends silently.

Source: asyncio (call_soon_threadsafe), uvloop; Ceph's librados (its messenger threads and finisher).
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from _thread import allocate_lock, get_ident
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from .errors import LogicError, RadosStateError

T = TypeVar("T")

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 5.0
CALLS_PER_TURN = 256


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class LoopThread:
    """An event loop on a thread of its own, and the queue of what other threads want it to do."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self._queue: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="cove-rados", daemon=True)
        self.ident: int | None = None
        self._thread.start()

    def _run(self) -> None:
        self.ident = get_ident()
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            if not state.exiting:
                self._end_tasks()
        finally:
            asyncio.set_event_loop(None)
            if not state.exiting:
                self.loop.close()
                self._ended = True
                self._refuse_rest()

    def _refuse_rest(self) -> None:
        """What is posted after the end runs right there: it finds that there is no loop, and says so to its caller."""
        while self._queue:
            try:
                function, args = self._queue.popleft()
            except IndexError:
                return
            try:
                function(*args)
            except Exception as problem:
                log.debug("posted_after_the_end", problem=repr(problem))

    def _end_tasks(self) -> None:
        """What is still running has been given up: let it clean up."""
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=STOP_TIMEOUT_S))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have the loop call `function(*args)`, in the order of the posts. Returns at once."""
        self._queue.append((function, args))
        if self._ended:
            self._refuse_rest()
        elif not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # closed this moment: its thread does the rest
                pass

    def _drain(self) -> None:
        self._woken = False
        queue = self._queue
        for _ in range(min(len(queue), CALLS_PER_TURN)):  # not more: sockets want their turn, too
            function, args = queue.popleft()
            try:
                function(*args)
            except Exception:
                log.exception("posted_call_failed", function=repr(function))
            function, args = _nothing, ()  # nothing is to be kept alive by these
        if queue and not self._woken:
            self._woken = True
            self.loop.call_soon(self._drain)

    def stop(self) -> None:
        """End the loop and its thread; what was posted before is done."""
        try:
            self.loop.call_soon_threadsafe(self._stop_after_drain)
        except RuntimeError:
            return
        if get_ident() != self.ident:
            self._thread.join(STOP_TIMEOUT_S)

    def _stop_after_drain(self) -> None:
        if self._queue:
            self._drain()
            self.loop.call_soon(self._stop_after_drain)
        else:
            self.loop.stop()


def _nothing() -> None:
    """What stands where there is nothing to call."""


class _State:
    """The process's loop, and who uses it."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.thread: LoopThread | None = None
        self.users = 0
        self.exiting = False
        self.exit_hook = False
        self.inherited: list[object] = []
        """Of a parent process: kept for ever, so that no destructor touches what the parent uses as well."""


state = _State()


def acquire() -> LoopThread:
    """The process's loop, started if need be. Each call has to be followed by one of `release`."""
    refuse_at_exit()
    with state.lock:
        if not state.exit_hook:
            state.exit_hook = True
            atexit.register(_at_exit)
        if state.thread is None:
            state.thread = LoopThread()
        state.users += 1
        return state.thread


def release(thread: LoopThread) -> None:
    """One user less; the last one's loop ends. From any thread."""
    with state.lock:
        if state.thread is not thread:
            return  # of before a fork
        state.users -= 1
        if state.users:
            return
        state.thread = None
    thread.stop()


def refuse_at_exit() -> None:
    """While the interpreter ends: other threads are held here until they are gone, the main one gets an error."""
    if state.exiting:
        if threading.current_thread() is not threading.main_thread() and threading.current_thread().daemon:
            lock = allocate_lock()
            lock.acquire()
            lock.acquire()
        raise RadosStateError("the interpreter is about to exit")


def _at_exit() -> None:
    with state.lock:
        state.exiting = True
        thread, state.thread = state.thread, None
    if thread is not None:
        thread.stop()
        state.inherited.append(thread)


class _Call:
    """A coroutine that another thread waits for."""

    __slots__ = ("lock", "make", "problem", "result", "task")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.make: Callable[[], Coroutine[Any, Any, Any]] | None = make
        self.lock = allocate_lock()
        self.lock.acquire()
        self.task: asyncio.Task[Any] | None = None
        self.result: Any = None
        self.problem: BaseException | None = None

    def start(self) -> None:
        make, self.make = self.make, None
        if make is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.problem = RadosStateError("the client has been shut down")
            self.lock.release()
            return
        try:
            self.task = loop.create_task(make())
        except BaseException as problem:
            self.problem = problem
            self.lock.release()
            return
        self.task.add_done_callback(self.done)

    def done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.problem = RadosStateError("the call was cancelled")
        else:
            self.problem = task.exception()
            if self.problem is None:
                self.result = task.result()
        self.task = None
        if not state.exiting:
            self.lock.release()

    def cancel(self) -> None:
        self.make = None
        if self.task is not None:
            self.task.cancel()


def refuse_on_loop(thread: LoopThread) -> None:
    """A call that waits for the loop must not be made on it: raises LogicError."""
    if get_ident() == thread.ident:
        raise LogicError("a blocking call on the client's own event loop would wait for ever")


def run(thread: LoopThread, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine that `make` makes on the loop, and wait for its result.

    An interrupt of the wait (KeyboardInterrupt, a signal handler's exception) cancels it.
    """
    refuse_on_loop(thread)
    refuse_at_exit()
    call = _Call(make)
    thread.post(call.start)
    try:
        call.lock.acquire()
    except BaseException:
        thread.post(call.cancel)
        raise
    if call.problem is not None:
        try:
            raise call.problem
        finally:
            call.problem = None
    result: T = call.result
    return result
