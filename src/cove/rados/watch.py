"""A watch: who watches an object is told of every notify on it, and of the watch's end.

    MWatchNotify → WatchLinger.handle → the watch's queue → callback, one after the other → its answer goes to the OSD

The callback runs in a task of the watch's own, which exists while there is something to tell: it may take its time and
use the client. What it returns is the answer that who notified gets; if it raises, there is no answer, and the watch is
among those that missed the notify. The queue is bounded: a watch that falls too far behind ends with ETIMEDOUT, as one
that may have missed something must know.

Source: Ceph's librados (rados_watch3, rados_watch_check, rados_unwatch2), Objecter::_linger_reconnect, _linger_ping.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import NamedTuple, Self

import structlog

from ..wire.encoding import Buffer
from ..wire.messages import MWatchNotify, NotifyCode
from ..wire.osd_ops import Notify, OpCode, OSDOp, RequestFlag
from ..wire.osd_ops import Watch as WatchParams
from ..wire.types import ObjectLocator, SnapContext
from ..wire.watches import NotifyAck, WatchSubOp
from .errors import Error, ObjectNotFound, TimedOut, make_error
from .linger import REQUEST_TIMEOUT_S, Linger, LingerOp
from .objecter import Objecter
from .operations import OpVector, as_buffer
from .target import ObjectKey

log = structlog.get_logger(__name__)

NOTIFICATIONS_MAX = 1024
"""How many may wait for one watch's callback."""
NOTIFICATION_BYTES_MAX = 64 << 20
ANSWER_BYTES_MAX = 65536
"""After a larger answer, the callback is not called again before the OSD has got it."""

_NAMES = {
    WatchSubOp.WATCH: "watch",
    WatchSubOp.RECONNECT: "watch again",
    WatchSubOp.PING: "ping a watch",
    WatchSubOp.UNWATCH: "unwatch",
}


class Notification(NamedTuple):
    """Somebody notifies: the notify's number, who (global id of its client), the watch's cookie, and what was said."""

    notify_id: int
    notifier: int
    cookie: int
    data: bytes


Callback = Callable[[Notification], Buffer | Awaitable[Buffer | None] | None]
"""Told of each notification; what it returns, or its coroutine does, is the answer (None: an empty one)."""


class WatchStep(OpVector):
    """One watch operation."""

    __slots__ = ("sub_op",)

    is_write = True

    def __init__(self, cookie: int, sub_op: WatchSubOp, gen: int = 0, timeout_s: int = 0) -> None:
        super().__init__()
        self.sub_op = sub_op
        self._add(OSDOp(OpCode.WATCH, WatchParams(cookie, sub_op, gen, timeout_s)))
        if sub_op is not WatchSubOp.WATCH:
            self.flags = int(RequestFlag.FULL_TRY)  # nothing grows by it
        if sub_op is WatchSubOp.PING:
            self.mtime_ns = 0

    @property
    def name(self) -> str:
        """For people."""
        return _NAMES[self.sub_op]


class AckStep(OpVector):
    """The answer to a notification."""

    __slots__ = ()

    def __init__(self, notify_id: int, cookie: int, answer: bytes) -> None:
        super().__init__()
        self._add(OSDOp(OpCode.NOTIFY_ACK, Notify(cookie), NotifyAck(notify_id, cookie, answer).to_bytes()))


class WatchLinger(Linger):
    """The watch as the Objecter sees it: registered, registered again under the next generation, pinged."""

    __slots__ = ("ever_registered", "extra_flags", "first", "gen", "timeout_s", "valid_since_s", "watch")

    def __init__(
        self,
        objecter: Objecter,
        key: ObjectKey,
        locator: ObjectLocator,
        snapc: SnapContext,
        timeout_s: int,
        extra_flags: int = 0,
    ) -> None:
        """`extra_flags` are the io context's, for its writes."""
        super().__init__(objecter, key, locator, snapc=snapc)
        self.timeout_s = timeout_s
        self.extra_flags = extra_flags
        self.gen = 0
        self.ever_registered = False
        self.valid_since_s = 0.0
        """When the newest request was made whose answer says that the watch was in order then."""
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watch: Watch | None = None

    def next_vector(self) -> OpVector:
        """The first registration (again, while it is not answered), or the next generation's."""
        if not self.ever_registered:
            step = WatchStep(self.cookie, WatchSubOp.WATCH, 0, self.timeout_s)
            step.flags |= self.extra_flags
            return step
        self.gen += 1
        return WatchStep(self.cookie, WatchSubOp.RECONNECT, self.gen, self.timeout_s)

    def ping_vector(self) -> OpVector:
        """What asks whether it is still registered, and keeps it so."""
        return WatchStep(self.cookie, WatchSubOp.PING, self.gen, self.timeout_s)

    def answered(self, op: LingerOp, result: int) -> None:
        """The OSD has registered it, or not."""
        if result < 0:
            self.failed(result, "", op.completion.error())
        elif not self.ever_registered:
            self.ever_registered = True
            self.valid_since_s = op.since_s
            self.objecter.lingers.keep_alive(self, self.ping_vector, self.timeout_s)
            if not self.first.done():
                self.first.set_result(None)

    def pinged(self, op: LingerOp, result: int) -> None:
        """The OSD says that it is registered, or that it is not."""
        if result < 0:
            self.failed(result, "", op.completion.error())
        else:
            self.valid_since_s = max(self.valid_since_s, op.since_s)

    def failed(self, result: int, detail: str = "", error: Error | None = None) -> None:
        """It is over: tell who waits for the registration, or has it."""
        self.objecter.lingers.remove(self)
        if not self.ever_registered:
            if not self.first.done():
                self.first.set_exception(error or make_error(result, operation="watch", oid=self.oid, detail=detail))
        elif self.watch is not None:
            if result == -errno.ENOENT:  # however the object's end is noticed, it looks the same
                result, detail = -errno.ENOTCONN, detail or "the object is gone"
            self.watch.end_with(make_error(result, operation="watch", oid=self.oid, detail=detail))

    def handle(self, message: MWatchNotify) -> None:
        """A notification, or the watch's end."""
        if message.opcode == NotifyCode.NOTIFY and self.watch is not None:
            self.watch.take(message)
        elif message.opcode == NotifyCode.DISCONNECT:
            self.failed(-errno.ENOTCONN, "its OSD has ended it: the object was removed, or it was not renewed in time")


class Watch:
    """A watch on an object, as `IoCtx.watch` returns it. `async with` it, or `unwatch` it.

    It survives lost connections, restarts of OSDs and moves to others. `error` is set once it is over for any other
    reason; it does not come back then: unwatch it, and watch again.
    """

    def __init__(self, linger: WatchLinger, callback: Callback, on_error: Callable[[Error], None] | None) -> None:
        self.oid = linger.oid
        self.error: Error | None = None
        self._linger = linger
        self._lingers = linger.objecter.lingers
        self._conf = linger.objecter.conf
        self._callback = callback
        self._on_error = on_error
        self._queue: deque[tuple[float, Notification]] = deque()
        """What is not told yet, and the one that is being told, with when it came."""
        self._queued_bytes = 0
        self._taken = 0
        self._told = 0
        self._progress: asyncio.Future[None] | None = None
        """Done when the next one is told; there while somebody waits for it."""
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        linger.watch = self

    @property
    def cookie(self) -> int:
        """The watch's number, unique in this client."""
        return self._linger.cookie

    def check(self) -> float:
        """Seconds since it was certain that the callback has been told of every notify.

        As long as that is less than the watch's time-out (30 s, if it has none of its own) none was missed. Raises
        the watch's error (NotConnected, TimedOut, …).
        """
        if self.error is not None:
            raise self.error
        since_s = self._linger.valid_since_s
        if self._queue:
            since_s = min(since_s, self._queue[0][0])
        return max(self._loop.time() - since_s, 0.0)

    async def flush(self) -> None:
        """Wait until the callback is done with all that has come so far, or the watch has ended.

        However long the callback takes. From within the callback it returns at once.
        """
        last = self._taken
        while self._told < last and self._task not in (None, asyncio.current_task()):
            if self._progress is None:
                self._progress = self._loop.create_future()
            await asyncio.wait((self._progress,))

    async def unwatch(self) -> None:
        """End it: no callback runs after that. Twice is no error.

        Waits for a callback that is running (unless this is called by it), and cancels it when it takes longer than
        an operation may, or when this is cancelled. Raises ObjectNotFound if the object is gone, TimedOut,
        OutcomeUnknown (the OSD did not answer; it forgets the watch after its time-out), NotConnected.
        """
        try:
            if not self._closed:
                self._close()
                completion = self._lingers.request(WatchStep(self.cookie, WatchSubOp.UNWATCH), self._linger)
                # cancelled, it goes on nevertheless: an OSD keeps a watch for a while that nobody ends
                await completion.wait_for_complete()
                completion.result()
        except asyncio.CancelledError:
            self._cancel_task()
            raise
        except Error:
            await self._end_task()
            raise
        await self._end_task()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.unwatch()
        except ObjectNotFound:
            pass
        except Error as error:
            if self.error is None and problem is None:
                raise
            log.debug("unwatch_failed", oid=self.oid, problem=str(error))

    def abandon(self) -> None:
        """The registration was given up: leave nothing behind, here or at an OSD that may have got it."""
        self._close()
        if self._linger.sent:
            try:
                self._lingers.request(WatchStep(self.cookie, WatchSubOp.UNWATCH), self._linger)
            except Error as problem:
                log.debug("unwatch_failed", oid=self.oid, problem=str(problem))

    # what comes from the Objecter; it must not be kept waiting

    def take(self, message: MWatchNotify) -> None:
        """Queue a notification for the callback."""
        size = len(message.payload)
        too_large = self._queue and self._queued_bytes + size > NOTIFICATION_BYTES_MAX
        if too_large or len(self._queue) >= NOTIFICATIONS_MAX:
            self._lost(f"{len(self._queue)} notifications wait for its callback, and one more was lost")
            return
        notification = Notification(message.notify_id, message.notifier, message.cookie, bytes(message.payload))
        self._queue.append((self._loop.time(), notification))
        self._queued_bytes += size
        self._taken += 1
        if self._task is None:
            self._task = self._lingers.run(self._tell_all(), f"watch {self.cookie} on {self.oid!r}")

    def end_with(self, error: Error) -> None:
        """It is over; the first reason counts. What has come before is told nevertheless."""
        if self._closed or self.error is not None:
            return
        self.error = error
        if self._on_error is not None:
            self._loop.call_soon(self._tell_error, self._on_error, error)

    # inside

    def _lost(self, detail: str) -> None:
        self._lingers.remove(self._linger)
        self.end_with(make_error(-errno.ETIMEDOUT, operation="watch", oid=self.oid, detail=detail))

    def _close(self) -> None:
        self._closed = True
        self._lingers.remove(self._linger)
        while len(self._queue) > (self._task is not None):
            self._queue.pop()

    def _tell_error(self, on_error: Callable[[Error], None], error: Error) -> None:
        if self._closed:
            return
        try:
            on_error(error)
        except Exception:
            log.exception("watch_error_callback_failed", oid=self.oid, cookie=self.cookie)

    async def _tell_all(self) -> None:
        try:
            while self._queue and not self._closed:
                notification = self._queue[0][1]
                await self._tell(notification)
                self._queue.popleft()
                self._queued_bytes -= len(notification.data)
                self._told += 1
                self._progressed()
                await asyncio.sleep(0)  # callbacks that never wait must not keep everybody else waiting
        finally:
            if self._queue and not self._closed:
                self._lost("its callback was cancelled, and what it had not been told is lost")
            self._task = None
            self._queue.clear()
            self._queued_bytes = 0
            self._progressed()

    def _progressed(self) -> None:
        if self._progress is not None:
            self._progress.set_result(None)
            self._progress = None

    async def _tell(self, notification: Notification) -> None:
        try:
            answer = self._callback(notification)
            if inspect.isawaitable(answer):
                answer = await answer
            payload = b"" if answer is None else bytes(as_buffer(answer, "answer"))
        except (Exception, asyncio.CancelledError) as problem:
            task = asyncio.current_task()
            if isinstance(problem, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            log.exception("watch_callback_failed", oid=self.oid, cookie=self.cookie, notify_id=notification.notify_id)
            return
        if self._closed:
            return
        try:
            completion = self._lingers.request(AckStep(notification.notify_id, self.cookie, payload), self._linger)
            if len(payload) > ANSWER_BYTES_MAX:
                await completion.wait_for_complete()
        except Error as problem:
            log.warning("notify_not_answered", oid=self.oid, cookie=self.cookie, problem=str(problem))

    async def _end_task(self) -> None:
        task = self._task
        if task is None or task is asyncio.current_task():
            return
        try:
            await asyncio.wait((task,), timeout=self._conf.osd_op_timeout_s or REQUEST_TIMEOUT_S)
        finally:
            task.cancel()
        await asyncio.wait((task,), timeout=REQUEST_TIMEOUT_S)

    def _cancel_task(self) -> None:
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "in order" if self.error is None else str(self.error)
        return f"<Watch {self.cookie} on {self.oid!r}: {state}>"


async def watch(linger: WatchLinger, callback: Callback, on_error: Callable[[Error], None] | None) -> Watch:
    """Register a watch; what `IoCtx.watch` does."""
    found = Watch(linger, callback, on_error)
    objecter, oid = linger.objecter, linger.oid
    bound_s = objecter.conf.osd_op_timeout_s
    try:
        objecter.lingers.add(linger)
        async with asyncio.timeout(bound_s or None):
            await linger.first
    except TimeoutError:
        found.abandon()
        raise TimedOut(
            f"watch on object {oid!r}: not registered within {bound_s:g} s; {TimedOut.remedy}",
            errno=errno.ETIMEDOUT,
            operation="watch",
            oid=oid,
        ) from None
    except BaseException:
        found.abandon()
        raise
    return found
