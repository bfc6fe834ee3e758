"""A notify under way: asked for at the object's OSD, told to all watches there, over when all have answered.

    notify operation → its answer is the notify's number → the watches answer → MWatchNotify: all answers, or time is up

If the connection or the OSD is lost in between, the whole notify is asked for again, so watches may be told twice.

Source: Ceph's Objecter::linger_notify, handle_watch_notify; librados' rados_notify2.
"""

from __future__ import annotations

import asyncio
import errno
import math
from dataclasses import dataclass, field

from ..wire.encoding import Buffer
from ..wire.errors import PeerError
from ..wire.messages import MWatchNotify, NotifyCode
from ..wire.osd_ops import Notify, OpCode, OSDOp
from ..wire.types import ObjectLocator
from ..wire.watches import NotifyReplies, NotifyRequest, WatcherId
from .errors import Error, TimedOut, make_error
from .linger import REQUEST_TIMEOUT_S, Linger, LingerOp
from .objecter import Objecter
from .operations import OpVector
from .target import ObjectKey

NOTIFY_ID_BYTES = 8
TIMEOUT_S_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class NotifyResult:
    """Who answered, and what; and the watches that did not answer in time."""

    answers: dict[WatcherId, bytes] = field(default_factory=dict)
    missed: list[WatcherId] = field(default_factory=list)


class NotifyTimedOut(TimedOut):
    """Not all watches have answered in time. `notify_result`: who did, and who did not (empty if the OSD said
    nothing)."""

    remedy = "see `notify_result.missed` for the watches that did not answer"

    def __init__(self, message: str, notify_result: NotifyResult, oid: str) -> None:
        super().__init__(message, errno=errno.ETIMEDOUT, operation="notify", oid=oid)
        self.notify_result = notify_result


class NotifyStep(OpVector):
    """The notify operation."""

    __slots__ = ()

    def __init__(self, cookie: int, data: bytes, timeout_s: int) -> None:
        super().__init__()
        request = NotifyRequest(timeout_s, data).to_bytes()
        self._add(OSDOp(OpCode.NOTIFY, Notify(cookie), request), len(request))


class NotifyLinger(Linger):
    """One notify, from its request until the OSD says that it is over."""

    __slots__ = ("data", "has_budget", "notify_id", "outcome", "timeout_s")

    def __init__(
        self, objecter: Objecter, key: ObjectKey, locator: ObjectLocator, snapid: int, data: bytes, timeout_s: int
    ) -> None:
        super().__init__(objecter, key, locator, snapid=snapid)
        self.data = data
        self.has_budget = True
        """It counts in the throttle until its request is answered; waiting for watches must not keep back the
        answers that our own give."""
        self.timeout_s = timeout_s
        self.notify_id: int | None = None
        """As the OSD has numbered it; None until it has."""
        self.outcome: asyncio.Future[MWatchNotify] = asyncio.get_running_loop().create_future()

    def next_vector(self) -> OpVector:
        """The whole request."""
        self.notify_id = None
        return NotifyStep(self.cookie, self.data, self.timeout_s)

    def answered(self, op: LingerOp, result: int) -> None:
        """The OSD has begun to tell the watches, or has refused to."""
        if result < 0:
            self._fail(op.completion.error() or make_error(result, operation="notify", oid=self.oid))
            return
        self.give_back()
        outputs = op.completion.outputs()
        raw = outputs.data(0) if len(outputs) else b""
        if len(raw) >= NOTIFY_ID_BYTES:
            self.notify_id = int.from_bytes(raw[:NOTIFY_ID_BYTES], "little")

    def failed(self, result: int, detail: str = "") -> None:
        """It is over without an answer."""
        self._fail(make_error(result, operation="notify", oid=self.oid, detail=detail))

    def handle(self, message: MWatchNotify) -> None:
        """All have answered, or time is up; this may come before the answer to the request."""
        if message.opcode != NotifyCode.COMPLETE or self.notify_id not in (None, message.notify_id):
            return
        self.objecter.lingers.remove(self)
        if not self.outcome.done():
            self.outcome.set_result(message)

    def give_back(self) -> None:
        """Leave the throttle. Twice is no error."""
        if self.has_budget:
            self.has_budget = False
            self.objecter.throttle.put(len(self.data))

    def _fail(self, error: Error) -> None:
        self.objecter.lingers.remove(self)
        if not self.outcome.done():
            self.outcome.set_exception(error)


async def notify(
    objecter: Objecter, key: ObjectKey, locator: ObjectLocator, snapid: int, data: Buffer, timeout_s: float
) -> NotifyResult:
    """Notify all watches of an object; what `IoCtx.notify` does."""
    linger = NotifyLinger(objecter, key, locator, snapid, bytes(data), max(math.ceil(timeout_s), 1))
    oid, lingers = key[1], objecter.lingers
    op_timeout_s = objecter.conf.osd_op_timeout_s or REQUEST_TIMEOUT_S
    # the OSD's own time begins when the request has reached it; it may have to be asked again
    bound_s = op_timeout_s + linger.timeout_s
    await objecter.throttle.take(len(linger.data), op_timeout_s)
    try:
        lingers.add(linger)
        async with asyncio.timeout(bound_s):
            message = await linger.outcome
    except TimeoutError:
        lingers.remove(linger)
        if not linger.sent:
            raise TimedOut(
                f"notify on object {oid!r}: not sent within {bound_s:g} s; {TimedOut.remedy}",
                errno=errno.ETIMEDOUT,
                operation="notify",
                oid=oid,
            ) from None
        raise NotifyTimedOut(
            f"notify on object {oid!r}: its OSD did not say within {bound_s:g} s who has answered", NotifyResult(), oid
        ) from None
    finally:
        lingers.remove(linger)
        linger.give_back()
    return _result_of(message, oid)


def _result_of(message: MWatchNotify, oid: str) -> NotifyResult:
    """Who answered. Raises NotifyTimedOut, or the error that the OSD reports."""
    try:
        replies = NotifyReplies.from_bytes(message.data)
    except PeerError as problem:
        raise make_error(-errno.EIO, operation="notify", oid=oid, detail=str(problem)) from problem
    result = NotifyResult(replies.answers, replies.missed)
    if message.return_code == -errno.ETIMEDOUT:
        text = f"notify on object {oid!r}: {len(result.missed)} of {len(result.missed) + len(result.answers)} watches"
        raise NotifyTimedOut(f"{text} did not answer in time; {NotifyTimedOut.remedy}", result, oid)
    if message.return_code < 0:
        raise make_error(message.return_code, operation="notify", oid=oid)
    return result
