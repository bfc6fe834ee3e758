"""Watch: being told of notifies on an object; and notifying.

The client's watch runs on the event loop, the user's callbacks on the client's callback thread: for each notify the
loop waits for what the callback returns, and acknowledges with it.

Source: Ceph's pybind/rados (`Watch`, `Ioctx.notify`, `Ioctx.aio_notify`), librados.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog

from ..errors import Error as ClientError
from ..errors import ObjectNotFound
from ..ioctx import IoCtx
from ..notify import NotifyResult, NotifyTimedOut
from ..watch import Notification
from ..watch import Watch as ClientWatch
from . import runtime
from .checks import check_str, integer, unsigned
from .completion import Completion
from .errors import IoctxStateError, NotConnected
from .finisher import Finisher
from .ioctx_base import IoctxBase, failed
from .session import start_soon

log = structlog.get_logger(__name__)

Callback = Callable[[int, int, int, bytes], Any]
ErrorCallback = Callable[[int, int], Any]


class _Callbacks:
    """What the client's watch calls on the loop. It does not know the Watch, which ends with its last reference."""

    def __init__(self, finisher: Finisher, callback: Callback | None, error_callback: ErrorCallback | None) -> None:
        self._finisher = finisher
        self._callback = callback
        self._error_callback = error_callback
        self._answer: asyncio.Future[bytes | None] | None = None
        self.cookie = 0

    async def told(self, notification: Notification) -> bytes | None:
        """Have the user's callback answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes | None] = loop.create_future()
        self._answer = answer
        self._finisher.put(lambda: self._tell(notification, loop, answer))
        return await answer

    def give_up(self) -> None:
        """On the loop: the watch is being closed by the callback thread, so no callback can be waited for."""
        self._callback = self._error_callback = None
        if self._answer is not None:
            _answer(self._answer, None)

    def _tell(
        self, notification: Notification, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[bytes | None]
    ) -> None:
        """On the callback thread."""
        callback, said = self._callback, None
        try:
            if callback is not None:
                said = callback(
                    notification.notify_id, notification.notifier, notification.cookie, bytes(notification.data)
                )
                if isinstance(said, str):
                    said = said.encode()
                elif not isinstance(said, (bytes, type(None))):
                    raise TypeError("reply must be a string")
        except BaseException:
            log.exception("watch_callback_failed", cookie=notification.cookie)
            said = None
        finally:
            try:
                loop.call_soon_threadsafe(_answer, answer, said)
            except RuntimeError:
                pass  # the loop has ended meanwhile

    def failed(self, problem: ClientError) -> None:
        """On the loop: the watch is over."""
        callback, cookie, code = self._error_callback, self.cookie, -problem.errno
        if callback is not None:
            self._finisher.put(lambda: _nothing(callback(cookie, code)))


def _nothing(_: object) -> None:
    """What a callback returns does not matter."""


def _answer(answer: asyncio.Future[bytes | None], said: bytes | None) -> None:
    if not answer.done():
        answer.set_result(said)


class Watch:
    """A watch on an object, until `close`, the end of `with`, or its last reference. `get_id` names it."""

    def __init__(
        self,
        ioctx: IoctxBase,
        oid: str,
        callback: Callback | None,
        error_callback: ErrorCallback | None,
        timeout: int | None,
    ) -> None:
        self._id = 0
        self._watch: ClientWatch | None = None
        check_str(oid=oid)
        io, session = ioctx._context()
        self._session = session
        timeout_s = 0 if timeout is None else unsigned(timeout)
        callbacks = self._callbacks = _Callbacks(session.finisher, callback, error_callback)
        self._state = "open"

        async def begin() -> ClientWatch:
            found = await io.watch(oid, callbacks.told, on_error=callbacks.failed, timeout_s=timeout_s)
            callbacks.cookie = found.cookie
            return found

        try:
            self._watch = session.run(begin)
        except ClientError as problem:
            raise failed(problem.errno, "watch error", problem) from problem
        self._id = self._watch.cookie
        self._ioctx = ioctx

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, type_: object, value: object, traceback: object) -> None:
        self.close()

    def __del__(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None and not runtime.state.exiting and self._session.is_open:
            self._session.thread.post(_unwatch_later, watch)

    def get_id(self) -> int:
        """The watch's number (cookie); 0 once it is closed."""
        return self._id

    def check(self) -> timedelta:
        """How long ago it was last certain that no notify was missed.

        Raises NotConnected, TimedOut, … once it is over, and IoctxStateError after `close`.
        """
        watch = self._watch
        if watch is None:
            raise IoctxStateError(f"The pool is {self._state}")
        if not self._session.is_open:
            raise NotConnected("check error", errno.ENOTCONN)
        try:
            since_s = self._session.run(lambda: _check(watch))
        except ClientError as problem:
            raise failed(problem.errno, "check error", problem) from problem
        # whole milliseconds, as librados counts, and never none of them
        return timedelta(milliseconds=1 + int(since_s * 1000))

    def close(self) -> None:
        """End the watch; its callback, if it runs, is waited for (unless this is called by a callback of the client).
        Twice is no error."""
        watch, self._watch = self._watch, None
        self._id = 0
        self._state = "closed"
        if watch is None or not self._session.is_open:
            return
        if self._session.finisher.is_current():
            self._session.thread.post(self._callbacks.give_up)
        try:
            self._session.run(watch.unwatch)
        except ObjectNotFound:
            pass
        except ClientError as problem:
            if watch.error is None:
                raise failed(problem.errno, "unwatch error", problem) from problem
        self._session.finisher.flush()


async def _check(watch: ClientWatch) -> float:
    return watch.check()


def _unwatch_later(watch: ClientWatch) -> None:
    async def end() -> None:
        try:
            await watch.unwatch()
        except ClientError as problem:
            log.debug("unwatch_failed", problem=str(problem))

    start_soon(end)


class WatchMethods(IoctxBase):
    """Watch and notify."""

    def watch(
        self,
        obj: str,
        callback: Callback,
        error_callback: ErrorCallback | None = None,
        timeout: int | None = None,
    ) -> Watch:
        """Have `callback(notify_id, notifier_id, watch_id, data)` called for each notify on the object.

        What it returns (bytes, str or None) is the answer to the notifier. `error_callback(watch_id, error)` is told
        the negative error number that ends the watch. `timeout` (s): for how long the OSD keeps the watch of a client
        that does not answer; None: 30. Raises ObjectNotFound.
        """
        self.require_ioctx_open()
        return Watch(self, obj, callback, error_callback, timeout)

    def notify(self, obj: str, msg: str = "", timeout_ms: int = 5000) -> bool:
        """Tell all who watch the object, and wait for their answers. Returns True.

        Raises ObjectNotFound, TimedOut if not all have answered within `timeout_ms` (counted in whole seconds).
        """
        io, session = self._context()
        check_str(obj=obj, msg=msg)
        timeout_s = max(unsigned(timeout_ms) / 1000, 1e-3)
        try:
            session.run(lambda: io.notify(obj, msg.encode(), timeout_s=timeout_s))
        except ClientError as problem:
            raise failed(problem.errno, f"Failed to notify {obj!r}", problem) from problem
        return True

    def aio_notify(
        self,
        obj: str,
        oncomplete: Callable[[Completion, int, list[Any] | None, list[Any] | None], None],
        msg: str = "",
        timeout_ms: int = 5000,
    ) -> Completion:
        """The same without waiting: `oncomplete(completion, result, answers, missed)`.

        `answers` are (client, watch, bytes), `missed` (client, watch) of those who did not answer in time.
        """
        io, session = self._context()
        check_str(obj=obj, msg=msg)
        timeout_s = max(integer(timeout_ms) / 1000, 1e-3)
        completion = Completion(self, oncomplete)
        session.start(completion, lambda: _notify(io, completion, obj, msg.encode(), timeout_s))
        return completion


async def _notify(io: IoCtx, completion: Completion, obj: str, data: bytes, timeout_s: float) -> None:
    code, found = 0, NotifyResult()
    try:
        found = await io.notify(obj, data, timeout_s=timeout_s)
    except NotifyTimedOut as problem:
        code, found = -problem.errno, problem.notify_result
    except ClientError as problem:
        code = -problem.errno
    except asyncio.CancelledError:
        code = -errno.ECANCELED
    answers = [(who.client, who.cookie, bytes(said)) for who, said in found.answers.items()]
    missed = [(who.client, who.cookie) for who in found.missed]
    completion._payload = (code, answers, missed)
    completion._finish(code)
