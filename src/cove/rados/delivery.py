"""Delivery: what the Objecter does at both ends of an operation, wherever it went in between.

At the start: its place in the throttle, its time-out, and its place in the chain of operations on its object. At the
end: budget given back, and the completion told when it is its turn: operations on one object complete in the order
in which they were submitted, even if their answers come in another. A time-out or a cancellation does not wait for
that turn; and nobody waits for an operation that is held back here (paused, homeless), which may be for ever.

Source: Ceph's Objecter::_op_submit_with_budget, _finish_op, op_cancel.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence

import structlog

from ..messenger import Dispatcher
from ..wire.osd_ops import OSDOp
from .conf import RadosConf
from .session import Op, Outcome
from .target import ObjectKey
from .throttle import Throttle, TimerWheel

log = structlog.get_logger(__name__)


class ObjecterStats:
    """Counters since the start."""

    __slots__ = ("completed", "maps", "resent", "sent", "stray", "submitted", "throttled")

    def __init__(self) -> None:
        self.submitted = self.sent = self.resent = self.completed = self.stray = self.throttled = self.maps = 0


class Delivery(Dispatcher):
    """The operations of one client, from their admission until they have been told."""

    def __init__(self, conf: RadosConf) -> None:
        self.conf = conf
        self.stats = ObjecterStats()
        self.throttle = Throttle(conf.inflight_ops_max, conf.inflight_bytes_max, conf.waiting_ops_max)
        self.wheel = TimerWheel()
        self._tails: dict[ObjectKey, Op] = {}
        self._loop = asyncio.get_running_loop()

    def live_ops(self) -> list[Op]:
        """Everything submitted and not yet told to its user, oldest first for each object."""
        found: list[Op] = []
        for tail in self._tails.values():
            chain: list[Op] = []
            op: Op | None = tail
            while op is not None:
                chain.append(op)
                op = op.before
            found.extend(reversed(chain))
        return found

    def _admit(self, op: Op, timeout_s: float) -> bool:
        """Take or queue for the budget, join the object's chain, arm the time-out. True: it may go now.

        Raises Overloaded, and leaves nothing.
        """
        if self.throttle.try_take(op.budget_bytes):
            op.has_budget = True
        else:
            op.waiter = self.throttle.wait(op.budget_bytes, op.granted)
            self.stats.throttled += 1
        tails, key = self._tails, op.key
        before = tails.get(key)
        if before is not None:
            op.before = before
            before.after = op
        tails[key] = op
        op.chain = key
        op.completion.bind(op)
        if timeout_s:
            self.wheel.add(op, timeout_s)
        return op.has_budget

    def op_cancel(self, op: Op, result: int) -> None:
        """End an operation now, with `result` (or with its answer, if that only waits for its turn).

        It does not wait for earlier operations on its object. A later answer is ignored.
        """
        if op.completion.is_complete():
            return
        if op.outcome is None:
            unknown = op.is_write and op.may_have_happened
            self._retire(op)
            op.outcome = Outcome(result, 0, (), unknown)
        if op.before is None:
            self._deliver_from(op)
        elif self._only_held_before(op):
            self._deliver_past_held(op)
        else:
            self._unlink(op)
            self._deliver(op)

    def op_cancel_tid(self, tid: int, result: int = -errno.ECANCELED) -> bool:
        """End the operation with that tid. False if there is none: it has ended, or waits for the throttle."""
        op = next((op for op in self.live_ops() if op.tid == tid and op.outcome is None), None) if tid else None
        if op is not None:
            self.op_cancel(op, result)
        return op is not None

    def op_cancel_writes(self, result: int, pool: int | None = None) -> int:
        """End all writes (to a pool), e.g. with -ENOSPC as it is full; returns how many there were."""
        writes = [op for op in self.live_ops() if op.is_write and op.outcome is None]
        wanted = [op for op in writes if pool is None or op.key[0] == pool]
        for op in wanted:
            self.op_cancel(op, result)
        return len(wanted)

    def _finish_op(
        self, op: Op, result: int, version: int = 0, ops: Sequence[OSDOp] = (), unknown: bool = False
    ) -> None:
        """An operation has its outcome: tell it, once those before it on the same object have been told."""
        op.outcome = Outcome(result, version, ops, unknown)
        self._retire(op)
        if op.before is None:
            self._deliver_from(op)
        elif self._only_held_before(op):
            self._deliver_past_held(op)

    def _held_back(self, op: Op) -> None:
        """An operation is held back from now on: nobody waits for it any more. (In a turn of the event loop of its
        own, as callbacks must not find a session half changed.)"""
        after = op.after
        if after is not None and op.is_held and self._only_held_before(after):
            self._deliver_past_held(after)

    def _fail_soon(self, op: Op, result: int, detail: str = "") -> None:
        """End an operation that goes no further, in the next turn of the event loop.

        Its end gives budget to others, and its callbacks may submit more: they must not overtake operations on their
        object that are about to be sent again now, and must not find a session half changed.
        """
        session = op.session
        if session is not None:
            session.ops.pop(op.tid, None)
            op.session = None
        self._loop.call_soon(self._fail, op, result, detail)

    def _fail(self, op: Op, result: int, detail: str) -> None:
        if op.outcome is None:
            op.completion.explain(detail)
            # ENOENT is about its pool: that took the object along, whatever the write did
            unknown = result != -errno.ENOENT and op.is_write and op.may_have_happened
            self._finish_op(op, result, unknown=unknown)

    def _retire(self, op: Op) -> None:
        """Drop the tid and give the budget back."""
        session = op.session
        if session is not None:
            session.ops.pop(op.tid, None)
            op.session = None
        if op.has_budget:
            op.has_budget = False
            self.throttle.put(op.budget_bytes)
        elif op.waiter is not None:
            waiter, op.waiter = op.waiter, None
            self.throttle.cancel(waiter)
        if op.retry_timer is not None:
            op.retry_timer.cancel()
            op.retry_timer = None

    def _unlink(self, op: Op) -> None:
        """Take an operation out of its object's chain."""
        before, after = op.before, op.after
        if before is not None:
            before.after = after
        if after is not None:
            after.before = before
        elif op.chain is not None:
            if before is None:
                del self._tails[op.chain]
            else:
                self._tails[op.chain] = before
        op.before = op.after = op.chain = None

    def _deliver_from(self, op: Op) -> None:
        """Tell the first operation of an object's chain, and all after it that only waited for that."""
        while True:
            self._deliver(op)
            after = op.after
            if after is None:
                if op.chain is not None:
                    del self._tails[op.chain]
                return
            op.after = None
            after.before = None
            if after.outcome is None:
                if after.is_held:
                    self._deliver_past_held(after)
                return
            op = after

    def _only_held_before(self, op: Op) -> bool:
        """Whether all operations on its object that were submitted before it are held back."""
        before = op.before
        while before is not None and before.outcome is None and before.is_held:
            before = before.before
        return before is None

    def _deliver_past_held(self, first: Op) -> None:
        """Tell what has its outcome, from `first` to before the next operation that an OSD has in hand."""
        ready: list[Op] = []
        op: Op | None = first
        while op is not None:
            after = op.after
            if op.outcome is not None:
                self._unlink(op)
                ready.append(op)
            elif not op.is_held:
                break
            op = after
        for op in ready:
            if not op.completion.is_complete():  # else the callback of one before it has cancelled it
                self._deliver(op)

    def _deliver(self, op: Op) -> None:
        outcome = op.outcome
        assert outcome is not None
        if op.wheel_slot >= 0:
            self.wheel.discard(op)
        self.stats.completed += 1
        if op.trace is not None:
            op.trace.delivered(op)
        if op.vector.handlers is not None:
            for index, handler in op.vector.handlers.items():
                if index < len(outcome.ops):
                    try:
                        handler(outcome.ops[index].rval, outcome.ops[index].outdata)
                    except Exception:
                        log.exception("output_handler_failed", operation=op.vector.name, oid=op.key[1])
        op.completion.complete(outcome.result, outcome.version, outcome.ops, outcome.unknown)
