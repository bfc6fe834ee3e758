"""AioCompletion: what stands for an operation from its submission until its answer.

It costs one small object: no task, and a future only once somebody awaits it. The Objecter completes it; callbacks
run right there, on the event loop, in submission order for operations on one object; only what is held back here
(paused, pool full, no OSD to go to) does not hold up others.

- `await completion` gives the `OpResult` or raises the error. **Cancelling that await cancels the operation**: its
  budget is given back and its answer, should one come, is ignored (a write may happen nevertheless).
- `wait_for_complete` only waits: cancelling it, or its time-out, leaves the operation alone.

Source: Ceph's librados AioCompletion (names and meaning; "safe" equals "complete" since Luminous).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from ..wire.osd_ops import OSDOp
from .errors import Error, InvalidArgument, TimedOut, make_error, outcome_unknown
from .results import OpResult

if TYPE_CHECKING:
    from .operations import OpVector

log = structlog.get_logger(__name__)

Callback = Callable[["AioCompletion"], None]


class Cancellable(Protocol):
    """What a completion needs of the operation in flight."""

    def cancel(self) -> None:
        """Give the operation up with ECANCELED."""


class WriteQueue(Protocol):
    """What a completion needs of the io context whose write it is."""

    def complete_aio_write(self, seq: int) -> None:
        """Write number `seq` is done."""


class AioCompletion:
    """One operation's future outcome. Made by `IoCtx.aio_operate`; belongs to one event loop."""

    __slots__ = (
        "_callbacks",
        "_detail",
        "_future",
        "_oid",
        "_op",
        "_ops",
        "_queue",
        "_result",
        "_safe_callbacks",
        "_unknown",
        "_vector",
        "_version",
        "_write_seq",
    )

    def __init__(
        self,
        vector: OpVector | None = None,
        oid: str = "",
        on_complete: Callback | None = None,
        on_safe: Callback | None = None,
    ) -> None:
        self._callbacks: list[Callback] | None = None if on_complete is None else [on_complete]
        self._safe_callbacks: list[Callback] | None = None if on_safe is None else [on_safe]
        self._future: asyncio.Future[None] | None = None
        self._result: int | None = None
        self._version = 0
        self._ops: Sequence[OSDOp] = ()
        self._unknown = False
        self._detail = ""
        self._vector = vector
        self._oid = oid
        self._op: Cancellable | None = None
        self._queue: WriteQueue | None = None
        self._write_seq = 0

    # what the user asks

    def is_complete(self) -> bool:
        """Whether the answer is there."""
        return self._result is not None

    def is_safe(self) -> bool:
        """Whether the write is durable: the same moment as complete."""
        return self._result is not None

    def get_return_value(self) -> int:
        """The result: 0 or more, or a negative error number. Raises InvalidArgument while it is pending."""
        if self._result is None:
            raise InvalidArgument("the operation is still in flight; await its completion first")
        return self._result

    def get_version(self) -> int:
        """The object's user version after the operation; 0 if it is pending or was refused early."""
        return self._version

    def error(self) -> Error | None:
        """The error, None while pending or after success. A lost answer of a write is an `OutcomeUnknown`.

        Its `outputs` and `op_index` tell what the single operations answered, and which of them failed.
        """
        result = self._result
        if result is None or result >= 0:
            return None
        name = self._vector.name if self._vector is not None else None
        if self._unknown:
            return outcome_unknown(result, operation=name, oid=self._oid, detail=self._detail)
        outputs = OpResult(result, self._version, self._ops)
        index, detail = outputs.failed_index, self._detail
        if index is not None and len(outputs) > 1 and not detail:
            detail = f"number {index + 1} of {len(outputs)} operations failed, {outputs.name(index)}"
        problem = make_error(result, operation=name, oid=self._oid, detail=detail)
        if self._ops:
            problem.outputs, problem.op_index = outputs, index
        return problem

    def result(self) -> OpResult:
        """The answer. Raises the operation's error; InvalidArgument while it is pending."""
        code = self.get_return_value()
        if code < 0:
            problem = self.error()
            assert problem is not None
            raise problem
        return OpResult(code, self._version, self._ops)

    def outputs(self) -> OpResult:
        """Return values and outputs of the single operations, also of a vector that failed."""
        return OpResult(self.get_return_value(), self._version, self._ops)

    def on_complete(self, callback: Callback) -> None:
        """Have `callback(completion)` run when the answer is there; at once if it is there already."""
        if self._result is not None:
            _run([callback], self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def on_safe(self, callback: Callback) -> None:
        """Have `callback(completion)` run when the write is durable: right after the complete callbacks."""
        if self._result is not None:
            _run([callback], self)
        elif self._safe_callbacks is None:
            self._safe_callbacks = [callback]
        else:
            self._safe_callbacks.append(callback)

    async def wait_for_complete(self, timeout_s: float | None = None) -> None:
        """Wait for the answer, whatever it is. Raises TimedOut after `timeout_s`; the operation then goes on."""
        if not self.is_complete():
            await asyncio.wait((self._get_future(),), timeout=timeout_s)
            if not self.is_complete():
                raise TimedOut(f"no answer within {timeout_s} s; the operation goes on", errno=errno.ETIMEDOUT)

    async def wait_for_complete_and_cb(self, timeout_s: float | None = None) -> None:
        """As wait_for_complete; the callbacks have run, too (they do before any waiter is woken)."""
        await self.wait_for_complete(timeout_s)

    def cancel(self) -> bool:
        """Give the operation up: it completes with ECANCELED, an answer will be ignored. False if it is done.

        A write that was sent may happen nevertheless (`error()` is an OutcomeUnknown then).
        """
        if self._result is not None or self._op is None:
            return False
        self._op.cancel()
        return True

    def release(self) -> None:
        """Drop what is kept of the answer. Callbacks that are still to come will run."""
        self._ops = ()
        if self._result is not None:
            self._vector = None

    def __await__(self) -> Generator[Any, None, OpResult]:
        if self._result is None:
            future = self._get_future()
            try:
                yield from future
            except asyncio.CancelledError:
                self.cancel()
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # another task awaited the same completion and was cancelled: for this one the operation failed
        return self.result()

    def _get_future(self) -> asyncio.Future[None]:
        future = self._future
        if future is None or future.cancelled():
            future = self._future = asyncio.get_running_loop().create_future()
        return future

    # what the Objecter and the io context do

    def bind(self, op: Cancellable) -> None:
        """Tie to the operation in flight, for `cancel`."""
        self._op = op

    def join_queue(self, queue: WriteQueue, seq: int) -> None:
        """Tell `queue` when this write is done."""
        self._queue = queue
        self._write_seq = seq

    def explain(self, detail: str) -> None:
        """What the error is to say besides its number; before `complete`."""
        self._detail = detail

    def complete(self, result: int, version: int = 0, ops: Sequence[OSDOp] = (), unknown: bool = False) -> None:
        """Set the outcome, wake waiters, run callbacks. Must happen once."""
        assert self._result is None, "an operation completed twice"
        self._result = result
        self._version = version
        self._ops = ops
        self._unknown = unknown
        self._op = None
        if result >= 0:
            self._vector = None
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)
        if self._callbacks is not None:
            _run(self._callbacks, self)
            self._callbacks = None
        if self._safe_callbacks is not None:
            _run(self._safe_callbacks, self)
            self._safe_callbacks = None
        queue = self._queue
        if queue is not None:
            self._queue = None
            queue.complete_aio_write(self._write_seq)

    def __repr__(self) -> str:
        state = "in flight" if self._result is None else f"result {self._result}"
        return f"<AioCompletion {self._oid!r} {state}>"


def _run(callbacks: Sequence[Callback], completion: AioCompletion) -> None:
    for callback in callbacks:
        try:
            callback(completion)
        except (Exception, asyncio.CancelledError):
            # a user's callback must not stop the answers to other operations
            log.exception("completion_callback_failed", completion=repr(completion))
