"""Completion: an asynchronous operation of the facade, from its submission until its callbacks have run.

    caller: Ioctx.aio_… ──post──► loop: submit … complete ──► waiters woken; callbacks ──► finisher's thread

Source: Ceph's pybind/rados (`Completion`), librados' AioCompletionImpl.
"""

from __future__ import annotations

import errno
from _thread import LockType, allocate_lock
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from ..completion import AioCompletion
from ..errors import Error as ClientError
from ..ioctx import IoCtx
from ..operations import OpVector

if TYPE_CHECKING:
    from .finisher import Finisher
    from .ioctx_base import IoctxBase
    from .session import Session

log = structlog.get_logger(__name__)

SHUT_DOWN = (-errno.ECANCELED, -errno.ENOTCONN)
"""What an operation hears whose client is being shut down: it was under way, or came too late."""

Decode = Callable[[int, AioCompletion], tuple[int, tuple[Any, ...]]]
"""Result and answer → what get_return_value gives, and what callbacks get besides the completion."""


class Completion:
    """What `aio_…` returns. `oncomplete` and `onsafe` are called on the client's callback thread."""

    __slots__ = (
        "__weakref__",
        "_aio",
        "_callbacks_done",
        "_callbacks_waiters",
        "_decode",
        "_finisher",
        "_payload",
        "_result",
        "_session",
        "_size",
        "_version",
        "_waiters",
        "ioctx",
        "oncomplete",
        "onsafe",
    )

    def __init__(
        self,
        ioctx: IoctxBase,
        oncomplete: Callable[..., Any] | None = None,
        onsafe: Callable[..., Any] | None = None,
    ) -> None:
        self.ioctx = ioctx
        self.oncomplete = oncomplete
        self.onsafe = onsafe
        self._session: Session | None = None
        self._finisher: Finisher | None = None
        self._decode: Decode | None = None
        self._payload: tuple[Any, ...] = ()
        self._result: int | None = None
        self._version = 0
        self._size = 0
        self._aio: AioCompletion | None = None
        self._waiters: list[LockType] = []
        self._callbacks_waiters: list[LockType] = []
        self._callbacks_done = False

    # what users ask

    def is_complete(self) -> bool:
        """Whether the answer is there; callbacks may still be running."""
        return self._result is not None

    def is_safe(self) -> bool:
        """The same: what is complete is durable."""
        return self._result is not None

    def wait_for_complete(self) -> None:
        """Wait for the answer; callbacks may still be running then."""
        if self._result is None:
            lock = allocate_lock()
            lock.acquire()
            self._waiters.append(lock)
            if self._result is None:
                lock.acquire()

    def wait_for_safe(self) -> None:
        """The same as wait_for_complete."""
        self.wait_for_complete()

    def wait_for_complete_and_cb(self) -> int:
        """Wait until the callbacks have returned, too; within a callback of the client only for the answer, as
        callbacks run one after the other. Returns 0."""
        if self._finisher is not None and self._finisher.is_current():
            self.wait_for_complete()
        elif not self._callbacks_done:
            lock = allocate_lock()
            lock.acquire()
            self._callbacks_waiters.append(lock)
            if not self._callbacks_done:
                lock.acquire()
        return 0

    def wait_for_safe_and_cb(self) -> int:
        """The same as wait_for_complete_and_cb."""
        return self.wait_for_complete_and_cb()

    def get_return_value(self) -> int:
        """The operation's result: 0 or more (a number of bytes, for reads), or a negative error number.

        0 while there is none yet, as with librados: wait first.
        """
        return self._result or 0

    # what the io context and the loop do

    def _submit(self, io: IoCtx, oid: str, op: OpVector) -> None:
        """On the loop."""
        if self._result is not None:
            return
        try:
            self._aio = io.aio_operate(oid, op, self._answered)
        except ClientError as problem:
            self._finish(-problem.errno)
        except Exception:
            log.exception("operation_not_submitted", oid=oid)
            self._finish(-errno.EIO)

    def _answered(self, aio: AioCompletion) -> None:
        """On the loop: the Objecter has the answer."""
        result = aio.get_return_value()
        self._aio = None
        self._version = aio.get_version()
        decode = self._decode
        if decode is None:
            self._finish(min(result, 0))
        else:
            try:
                result, self._payload = decode(result, aio)
            except ClientError as problem:
                result = -problem.errno
            self._finish(result)

    def _finish(self, result: int) -> None:
        """Set the result, wake those who wait, have the callbacks run."""
        if self._result is not None:
            return  # the client was shut down meanwhile
        session = self._session
        if result in SHUT_DOWN and session is not None and session.is_closing:
            result = -errno.ESHUTDOWN
        self._result = result
        waiters, self._waiters = self._waiters, []
        if session is not None:
            self._session = None
            session.complete(self, self._size)
            if self.oncomplete is not None or self.onsafe is not None:
                session.finisher.put(self._complete)
            else:
                self._cleanup()
        for lock in waiters:
            lock.release()

    def _complete(self) -> list[LockType]:
        """On the callback thread. Returns who waits for it."""
        payload, self._payload = self._payload, ()
        for callback in (self.oncomplete, self.onsafe):
            if callback is not None:
                try:
                    callback(self, *payload)
                except BaseException:
                    log.exception("completion_callback_failed")
        self._callbacks_done = True
        waiters, self._callbacks_waiters = self._callbacks_waiters, []
        return waiters

    def _cleanup(self) -> None:
        """There are no callbacks (any more): wake those who wait for them."""
        self._callbacks_done = True
        waiters, self._callbacks_waiters = self._callbacks_waiters, []
        for lock in waiters:
            lock.release()

    def _abandon(self, result: int) -> None:
        """In the child of a fork: this will never be answered here; callbacks are the parent's."""
        self._session = None
        self._aio = None
        self._result = result
        self._waiters = []
        self._callbacks_waiters = []
        self._callbacks_done = True
