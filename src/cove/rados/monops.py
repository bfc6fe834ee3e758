"""Requests of the Objecter to the monitor: pool operations and statistics, each with a tid and a time-out.

A request that a lost monitor session left unanswered is sent again, with the same tid, once there is a new one.

Source: Ceph's Objecter::pool_op_submit, Objecter::fs_stats_submit.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator

from ..wire.messages import Message
from .errors import Cancelled, Overloaded, TimedOut, outcome_unknown
from .monclient import MonClient

REQUESTS_MAX = 1024


class MonRequest:
    """One open request: how to make its message, and who waits for the answer."""

    __slots__ = ("answer", "make", "sent")

    def __init__(self, make: Callable[[int], Message], answer: asyncio.Future[Message]) -> None:
        self.make = make
        self.answer = answer
        self.sent = False


class MonRequests:
    """The open requests, by tid."""

    def __init__(self, monclient: MonClient, tids: Iterator[int]) -> None:
        self._monclient = monclient
        self._tids = tids
        self._open: dict[int, MonRequest] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def ask(
        self, what: str, make: Callable[[int], Message], timeout_s: float, *, changes: bool = False
    ) -> Message:
        """Send `make(tid)` and wait for the answer to that tid.

        Raises Overloaded, Cancelled, TimedOut; OutcomeUnknown for a request that `changes` something and was sent.
        """
        if len(self._open) >= REQUESTS_MAX:
            raise Overloaded(f"{what}: {REQUESTS_MAX} requests to the monitor are open already")
        tid = next(self._tids)
        request = MonRequest(make, asyncio.get_running_loop().create_future())
        self._open[tid] = request
        try:
            request.sent = self._monclient.send_mon_message(make(tid))
            async with asyncio.timeout(timeout_s):
                return await request.answer
        except TimeoutError:
            if changes and request.sent:
                raise outcome_unknown(-errno.ETIMEDOUT, operation=what) from None
            raise TimedOut(f"{what}: the monitor did not answer within {timeout_s} s; {TimedOut.remedy}") from None
        finally:
            del self._open[tid]

    def handle_reply(self, message: Message) -> bool:
        """Give an answer to whom it belongs. False if nobody waits for it."""
        request = self._open.get(message.tid)
        if request is None or request.answer.done():
            return False
        request.answer.set_result(message)
        return True

    def resend_all(self) -> None:
        """Send all open requests again, after a new session with a monitor."""
        for tid in sorted(self._open):
            request = self._open[tid]
            request.sent |= self._monclient.send_mon_message(request.make(tid))

    def cancel_all(self) -> None:
        """Fail all open requests."""
        for request in self._open.values():
            if not request.answer.done():
                request.answer.set_exception(Cancelled("the client was shut down"))
