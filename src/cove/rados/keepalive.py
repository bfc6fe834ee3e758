"""KeepAlive: does the peer at the other end of a connection still answer?

A path that silently drops everything shows neither as a reset nor in a map; only a question that stays unanswered
tells. The MonClient asks its monitor so, and the Objecter the OSDs that owe it answers.

Source: Ceph's MonClient::tick, doc/dev/msgr2 (KEEPALIVE2).
"""

from __future__ import annotations

from ..messenger import Connection

UNANSWERED_MIN = 2
"""One is not enough: a process that slept for an hour has not heard anything in that time."""


class KeepAlive:
    """What was asked on one connection. `unanswered`: questions since the last answer."""

    __slots__ = ("_first_s", "unanswered")

    def __init__(self) -> None:
        self.unanswered = 0
        self._first_s = 0.0

    def is_lost(self, connection: Connection, now_s: float, timeout_s: float) -> bool:
        """Whether several questions have gone unanswered, the first for `timeout_s` or longer. To be asked before
        `ask`; times are the event loop's."""
        if self.unanswered and connection.last_keepalive_ack_s >= self._first_s:
            self.unanswered = 0
        return self.unanswered >= UNANSWERED_MIN and now_s - self._first_s >= timeout_s

    def ask(self, connection: Connection, now_s: float) -> None:
        """Ask (again)."""
        if not self.unanswered:
            self._first_s = now_s
        self.unanswered += 1
        connection.send_keepalive()
