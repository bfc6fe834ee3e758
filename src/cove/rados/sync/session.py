"""Session: a connected handle's client on the event loop, its callback thread, and what it has in flight.

It also knows what to do about a fork: the child gets none of the parent's connections. Its handles connect anew, as
other clients, when they are used; what the parent had in flight fails in the child with ESHUTDOWN.

Source: Ceph's librados (RadosClient; objecter_inflight_ops and objecter_inflight_op_bytes hold submitters up).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import threading
import weakref
from _thread import LockType, allocate_lock, get_ident
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from ..client import Rados as Client
from ..ioctx import IoCtx
from ..operations import OpVector
from . import runtime
from .completion import Completion
from .errors import RadosStateError
from .finisher import Finisher

if TYPE_CHECKING:
    from .client import Rados

T = TypeVar("T")

log = structlog.get_logger(__name__)

_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """One connection to a cluster, of one handle. Made by `Rados.connect`, and again after a fork."""

    def __init__(self, owner: Rados, client: Client) -> None:
        self.owner = weakref.ref(owner)
        self.client = client
        self.thread = runtime.acquire()
        self.finisher = Finisher("cove-rados-callbacks")
        self.opening = threading.RLock()
        """Held while an io context gets its counterpart on the loop."""
        self.pending: set[Completion] = set()
        """Asynchronous operations without an answer."""
        self.is_closing = False
        """From the beginning of its end: what is cancelled now has not been cancelled by anybody."""
        self._bytes = 0
        self._budget_lock = allocate_lock()
        self._held_up: list[LockType] = []
        self.is_open = True
        """Until it is shut down, or belongs to the parent process."""
        _sessions.add(self)

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop and wait for its result. Raises what it raises."""
        return runtime.run(self.thread, make)

    # asynchronous operations

    def submit(self, completion: Completion, io: IoCtx, oid: str, op: OpVector) -> None:
        """Hand an operation to the loop. Waits while there is more in flight than the configuration lets through.

        Raises RadosStateError once it is shut down.
        """
        runtime.refuse_at_exit()
        completion._size = size = op.budget_bytes
        completion._session, completion._finisher = self, self.finisher
        conf = self.client.conf
        while True:
            with self._budget_lock:
                self._refuse_when_closing()
                if not self.pending or (
                    len(self.pending) < conf.inflight_ops_max and self._bytes + size <= conf.inflight_bytes_max
                ):
                    self.pending.add(completion)
                    self._bytes += size
                    break
                runtime.refuse_on_loop(self.thread)
                turn = allocate_lock()
                turn.acquire()
                self._held_up.append(turn)
            turn.acquire()
        self.thread.post(completion._submit, io, oid, op)

    def start(self, completion: Completion, coroutine: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have a coroutine finish a completion that is not a single operation."""
        runtime.refuse_at_exit()
        completion._session, completion._finisher = self, self.finisher
        with self._budget_lock:
            self._refuse_when_closing()
            self.pending.add(completion)
        self.thread.post(start_soon, coroutine)

    def _refuse_when_closing(self) -> None:
        """Nobody would answer."""
        if self.is_closing:
            raise RadosStateError("the client has been shut down")

    def in_flight(self) -> list[Completion]:
        """Asynchronous operations without an answer."""
        with self._budget_lock:
            return list(self.pending)

    def complete(self, completion: Completion, size: int) -> None:
        """It has its answer: others may go on."""
        with self._budget_lock:
            self.pending.discard(completion)
            self._bytes -= size
            turns, self._held_up = self._held_up, []
        for turn in turns:
            turn.release()

    # the end

    def connect(self, timeout_s: float | None) -> None:
        """Connect within that time (None: what the configuration says). Raises the client's errors."""
        try:
            self.run(lambda: self.client.connect(timeout_s))
        except BaseException:
            self._end(wait=False)
            raise

    def shutdown(self) -> None:
        """Fail what is in flight, close the connections, let the callbacks finish."""
        if not self.is_open:
            return
        if get_ident() == self.thread.ident:
            self.abandon()
            return
        try:
            self.run(self._shutdown)
        except BaseException:
            self.abandon()
            raise
        self._end(wait=True)

    def abandon(self) -> None:
        """The same without waiting: nobody has a handle any more (this may run on any thread, in the middle of
        anything)."""
        if self.is_open and not runtime.state.exiting:
            self.is_open = False
            _sessions.discard(self)
            self.thread.post(start_soon, self._abandon)

    async def _abandon(self) -> None:
        try:
            await self._shutdown()
        finally:
            self.finisher.stop(wait=False)
            runtime.release(self.thread)

    async def _shutdown(self) -> None:
        """On the loop, as all that finishes completions."""
        with self._budget_lock:
            self.is_closing = True
        try:
            await self.client.shutdown()
        finally:
            self._fail_pending()

    def _fail_pending(self) -> None:
        """What was not even submitted yet."""
        with self._budget_lock:
            left, self.pending = self.pending, set()
            turns, self._held_up = self._held_up, []
        for completion in left:
            completion._finish(-errno.ESHUTDOWN)
        for turn in turns:
            turn.release()

    def _end(self, *, wait: bool) -> None:
        if self.is_open:
            self.is_open = False
            _sessions.discard(self)
            self.finisher.stop(wait=wait)
            runtime.release(self.thread)

    # fork

    def forget_after_fork(self) -> None:
        """In the child: let go of all that is the parent's, without touching it."""
        self.is_open = False
        owner = self.owner()
        if owner is not None:
            owner.forget_session()
        for completion in list(self.pending):
            completion._abandon(-errno.ESHUTDOWN)
        _close_sockets(self.client)
        keep_for_ever(self)


def start_soon(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On the loop: run a coroutine that nobody waits for."""
    task = asyncio.get_running_loop().create_task(make())
    _tasks.add(task)
    task.add_done_callback(_ended)


_tasks: set[Any] = set()


def _ended(task: Any) -> None:
    _tasks.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.error("background_call_failed", problem=repr(task.exception()))


def keep_for_ever(thing: object) -> None:
    """No destructor of it, or of what it refers to, will run in this process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _close_sockets(client: Client) -> None:
    """Give up the child's copies of the sockets: with them open, the servers would not see the parent's closing.

    In their place stands /dev/null, so that the numbers are not given to other files while objects know them. They
    are not taken out of the loop's epoll set, as it is the parent's as well.
    """
    nowhere = -1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fileno in client.filenos():
            os.dup2(nowhere, fileno, inheritable=False)
    except OSError as problem:
        log.warning("inherited_sockets_stay_open", problem=str(problem))
    finally:
        if nowhere >= 0:
            os.close(nowhere)


def _before_fork() -> None:
    runtime.state.lock.acquire()


def _after_fork_in_parent() -> None:
    runtime.state.lock.release()


def _after_fork_in_child() -> None:
    state = runtime.state
    state.lock = allocate_lock()
    if state.thread is not None:
        keep_for_ever(state.thread)
        state.thread = None
    state.users = 0
    for task in list(_tasks):
        keep_for_ever(task)
    _tasks.clear()
    for session in list(_sessions):
        session.forget_after_fork()
    _sessions.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
