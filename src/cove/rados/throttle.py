"""The Objecter's throttle: how many operations and bytes may be in flight; and the wheel that times them out.

Both are built so that an operation costs no task, future or timer of its own: a waiting operation is an entry in a
queue, and one timer of the event loop serves all time-outs.

Source: Ceph's objecter_inflight_ops and objecter_inflight_op_bytes; hashed timing wheels: Varghese and Lauck, 1987.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
from collections import deque
from collections.abc import Callable
from typing import Protocol

from .errors import InvalidArgument, Overloaded, TimedOut


class ThrottleWaiter:
    """A place in the throttle's queue."""

    __slots__ = ("cancelled", "granted", "nbytes")

    def __init__(self, nbytes: int, granted: Callable[[], None]) -> None:
        self.nbytes = nbytes
        self.granted = granted
        self.cancelled = False


class Throttle:
    """A budget of operations and bytes, given out first come, first served.

    One operation that is larger than the whole byte budget is let in when nothing else is.
    """

    def __init__(self, ops_max: int, bytes_max: int, waiters_max: int = 65536) -> None:
        for field, value in (("ops_max", ops_max), ("bytes_max", bytes_max), ("waiters_max", waiters_max)):
            if value < 1:
                raise InvalidArgument(f"{field}={value}: must be at least 1", errno=errno.EINVAL)
        self.ops_max = ops_max
        self.bytes_max = bytes_max
        self.waiters_max = waiters_max
        self.ops = 0
        self.bytes = 0
        self._waiters: deque[ThrottleWaiter] = deque()
        self._cancelled = 0
        self._granting = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters) - self._cancelled

    def _fits(self, nbytes: int) -> bool:
        return self.ops < self.ops_max and (self.bytes + nbytes <= self.bytes_max or not self.ops)

    def try_take(self, nbytes: int) -> bool:
        """Take the budget of one operation of `nbytes` now, unless it is used up or others wait for it."""
        # written out, not _fits(): this is on the way of every operation
        if self._waiters or self.ops >= self.ops_max or (self.bytes + nbytes > self.bytes_max and self.ops):
            return False
        self.ops += 1
        self.bytes += nbytes
        return True

    def wait(self, nbytes: int, granted: Callable[[], None]) -> ThrottleWaiter:
        """Queue for the budget after `try_take` refused; `granted()` is called once it has been taken.

        Raises Overloaded if too many wait.
        """
        if self.waiting >= self.waiters_max:
            raise Overloaded(f"{self.waiters_max} operations wait for the throttle; {Overloaded.remedy}")
        waiter = ThrottleWaiter(nbytes, granted)
        self._waiters.append(waiter)
        return waiter

    def cancel(self, waiter: ThrottleWaiter) -> None:
        """Leave the queue. Only for a waiter that has not been granted yet."""
        assert not waiter.cancelled
        waiter.cancelled = True
        self._cancelled += 1
        self._grant()

    def put(self, nbytes: int) -> None:
        """Give the budget of one operation back."""
        self.ops -= 1
        self.bytes -= nbytes
        assert self.ops >= 0
        assert self.bytes >= 0
        if self._waiters:
            self._grant()

    def set_limits(self, ops_max: int, bytes_max: int) -> None:
        """Other limits; who waits is let in as far as they allow."""
        self.ops_max, self.bytes_max = ops_max, bytes_max
        self._grant()

    async def take(self, nbytes: int, timeout_s: float) -> None:
        """Take the budget, waiting for it. Raises TimedOut; cancelling leaks nothing."""
        if self.try_take(nbytes):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        taken = False

        def granted() -> None:
            nonlocal taken
            taken = True
            if not future.done():
                future.set_result(None)

        waiter = self.wait(nbytes, granted)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except BaseException as problem:
            if taken:
                self.put(nbytes)
            else:
                self.cancel(waiter)
            if isinstance(problem, TimeoutError):
                raise TimedOut(f"no budget within {timeout_s} s: {self.ops} operations are in flight") from None
            raise

    def _grant(self) -> None:
        # `granted` may finish an operation at once and give its budget back: loop instead of recursing
        if self._granting:
            return
        self._granting = True
        waiters = self._waiters
        try:
            while waiters:
                waiter = waiters[0]
                if waiter.cancelled:
                    waiters.popleft()
                    self._cancelled -= 1
                    continue
                if not self._fits(waiter.nbytes):
                    return
                waiters.popleft()
                self.ops += 1
                self.bytes += waiter.nbytes
                waiter.granted()
        finally:
            self._granting = False


class Expiring(Protocol):
    """Something that can time out. `wheel_slot` belongs to the wheel; -1: not on it."""

    wheel_slot: int

    def expire(self) -> None:
        """The time is over."""


class TimerWheel:
    """Time-outs in slots of `tick_s`: cheap to set and to clear, never early, at most one tick late.

    It owns one timer, which exists only while something is on the wheel.
    """

    def __init__(self, tick_s: float = 0.02) -> None:
        self.tick_s = tick_s
        self._slots: dict[int, set[Expiring]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_slot = 0
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots.values())

    def add(self, item: Expiring, timeout_s: float) -> None:
        """Call `item.expire()` after `timeout_s`."""
        slot = int((self._loop.time() + timeout_s) / self.tick_s) + 1
        item.wheel_slot = slot
        items = self._slots.get(slot)
        if items is not None:
            items.add(item)
            return
        self._slots[slot] = {item}
        heapq.heappush(self._order, slot)
        if self._timer is None or slot < self._timer_slot:
            self._arm()

    def discard(self, item: Expiring) -> None:
        """Take an item off; nothing if it is not on the wheel."""
        slot = item.wheel_slot
        if slot >= 0:
            item.wheel_slot = -1
            items = self._slots.get(slot)
            if items is not None:
                items.discard(item)

    def close(self) -> None:
        """Forget everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for items in self._slots.values():
            for item in items:
                item.wheel_slot = -1
        self._slots.clear()
        self._order.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        order, slots = self._order, self._slots
        while order and not slots[order[0]]:
            del slots[heapq.heappop(order)]
        if order:
            self._timer_slot = order[0]
            self._timer = self._loop.call_at(order[0] * self.tick_s, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now, order = self._loop.time(), self._order
        while order and order[0] * self.tick_s <= now:
            items = self._slots.pop(heapq.heappop(order))
            while items:
                item = items.pop()
                item.wheel_slot = -1
                item.expire()
        self._arm()
