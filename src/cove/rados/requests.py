"""Requests that are answered by tid: sent, awaited with a time-out, and sent again when the session is a new one.

The Objecter asks the monitor so (pool operations, statistics), and so do commands to monitors and managers. A request
that a lost session left unanswered goes out again with the same tid once there is a new one.

Source: Ceph's Objecter::pool_op_submit, Objecter::fs_stats_submit; MonClient::_send_command.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator

from ..wire.messages import Message
from .errors import Cancelled, OutcomeUnknown, Overloaded, TimedOut

REQUESTS_MAX = 1024


class Request:
    """One open request: how to make its message, and who waits for the answer."""

    __slots__ = ("answer", "make", "sent")

    def __init__(self, make: Callable[[int], Message], answer: asyncio.Future[Message]) -> None:
        self.make = make
        self.answer = answer
        self.sent = False


class Requests:
    """The open requests to one peer, by tid."""

    def __init__(self, peer: str, send: Callable[[Message], bool], tids: Iterator[int]) -> None:
        """`peer` is how errors call it; `send` answers False while there is no session."""
        self._peer = peer
        self._send = send
        self._tids = tids
        self._open: dict[int, Request] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def ask(
        self, what: str, make: Callable[[int], Message], timeout_s: float, *, changes: bool = False
    ) -> Message:
        """Send `make(tid)` and wait for the answer to that tid.

        Raises Overloaded, Cancelled, TimedOut; OutcomeUnknown for a request that may change something and was sent.
        """
        if len(self._open) >= REQUESTS_MAX:
            raise Overloaded(f"{what}: {REQUESTS_MAX} requests to {self._peer} are open already")
        tid = next(self._tids)
        request = Request(make, asyncio.get_running_loop().create_future())
        self._open[tid] = request
        try:
            request.sent = self._send(make(tid))
            async with asyncio.timeout(timeout_s):
                return await request.answer
        except TimeoutError:
            if not request.sent:
                raise TimedOut(
                    f"{what}: no session with {self._peer} within {timeout_s:g} s; {TimedOut.remedy}", operation=what
                ) from None
            if not changes:
                raise TimedOut(
                    f"{what}: {self._peer} did not answer within {timeout_s:g} s; {TimedOut.remedy}", operation=what
                ) from None
            raise OutcomeUnknown(
                f"{what}: {self._peer} did not answer within {timeout_s:g} s; it may have been done, or may still be: "
                "look at the cluster before repeating it",
                errno=errno.ETIMEDOUT,
                operation=what,
            ) from None
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
        """Send all open requests again, in the order in which they were made."""
        for tid in sorted(self._open):
            request = self._open[tid]
            if not request.answer.done():
                request.sent |= self._send(request.make(tid))

    def cancel_all(self) -> None:
        """Fail all open requests."""
        for request in self._open.values():
            if not request.answer.done():
                request.answer.set_exception(Cancelled("the client was shut down"))
