"""The hunt for a monitor: some at once, in rounds; the first that lets us in wins, the others are let go.

    start → a batch of connections → won: a session
                                   → all failed, or the round's time is over → the next batch
                                   → every monitor was tried: a pause, then all of them again

A monitor of lower priority value is tried earlier; among equals a weighted shuffle decides, so that clients spread.
What happened with each is remembered: it is what the user reads when there is no session in time.

Source: Ceph's MonClient::_add_conns, _reopen_session, tick; the options mon_client_hunt_*. Unlike there, rounds get
longer before the first success, too, when monitors are slow to answer; and nobody waits for the end of a round when
everybody has failed before.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import structlog

from ..messenger import Connection
from ..messenger.tcp_stream import TcpFault
from ..wire.auth import AuthError
from ..wire.errors import PeerError

log = structlog.get_logger(__name__)

SHORT_SESSION_S = 1.0
UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})


class Monitor(NamedTuple):
    """A place to look for a monitor. `name` is empty while only its address is known."""

    address: str
    name: str = ""
    priority: int = 0
    weight: int = 0

    def __str__(self) -> str:
        return f"mon.{self.name} at {self.address}" if self.name else self.address


@dataclass(frozen=True, slots=True)
class HuntConf:
    """How to hunt. A round lasts `interval_s` x a multiple between 1 and `multiple_max`."""

    interval_s: float = 3.0
    backoff: float = 1.5
    multiple_max: float = 10.0
    parallel: int = 3
    pause_s_min: float = 0.05
    pause_s_max: float = 2.0


class Trial(NamedTuple):
    """How it went with one monitor."""

    monitor: Monitor
    outcome: str
    reached: bool = False
    """Something listens there."""
    denial: int = 0
    """Why it does not accept who we are, as a negative error number; 0: it has not said so."""


def describe_refusal(problem: BaseException | None) -> str:
    """What a user is told about a connection that never came up."""
    if isinstance(problem, AuthError):
        return f"login refused: {problem}"
    if isinstance(problem, TcpFault):
        return f"no session: {problem} (a monitor that has no quorum closes connections)"
    if isinstance(problem, PeerError):
        return f"no monitor that we can talk to answers there: {problem}"
    if isinstance(problem, TimeoutError):
        return "no answer"
    if isinstance(problem, ConnectionRefusedError) or problem is None:
        return "connection refused, nobody listens there"
    if isinstance(problem, OSError) and problem.errno in UNREACHABLE:
        return f"no route to it ({problem.strerror})"
    return f"connection lost ({problem})"


def shuffled(monitors: Sequence[Monitor], dice: Random) -> list[Monitor]:
    """All monitors in the order in which to try them: by priority, then at random in proportion to the weights."""

    def position(monitor: Monitor) -> tuple[int, bool, float]:
        # the smallest of exponentially distributed numbers belongs to each with a chance in proportion to its weight
        weight = monitor.weight
        return (monitor.priority, weight <= 0, dice.expovariate(weight) if weight > 0 else dice.random())

    return sorted(monitors, key=position)


class MonHunt:
    """One client's search. It owns the connections that have neither won nor failed."""

    def __init__(
        self,
        monitors: Sequence[Monitor],
        connect: Callable[[str], Connection],
        denied: Callable[[], None],
        conf: HuntConf,
        dice: Random,
    ) -> None:
        """`connect` opens a connection to an address; `denied()` is called when every monitor that could be reached
        refused the login."""
        self.monitors = tuple(monitors)
        self.pending: dict[Connection, Monitor] = {}
        self.multiple = 1.0
        self.trials: dict[str, Trial] = {}
        self._connect = connect
        self._denied = denied
        self._conf = conf
        self._dice = dice
        self._untried: list[Monitor] = []
        self._failed_cycles = 0
        self._short_sessions = 0
        self._won_s = 0.0
        self._slow = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def round_s(self) -> float:
        """How long a round lasts now."""
        return self._conf.interval_s * self.multiple

    def start(self, *, again: bool = False) -> None:
        """Begin; `again`, after a session was lost: in a moment, and with more patience."""
        self.stop()
        self._untried = []
        if again:
            self.multiple = min(self.multiple * self._conf.backoff, self._conf.multiple_max)
            self._pause()
        else:
            self._next_batch()

    def stop(self) -> None:
        """Let go of everything that is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self.pending = self.pending, {}
        for connection in pending:
            connection.mark_down()

    def won(self, connection: Connection) -> Monitor | None:
        """A connection is up: if it is one of ours the hunt is over, and it is no longer ours."""
        monitor = self.pending.pop(connection, None)
        if monitor is not None:
            self.trials[monitor.address] = Trial(monitor, "connected", True)
            self._failed_cycles = 0
            self._won_s = asyncio.get_running_loop().time()
            self.stop()
        return monitor

    def lost(self, connection: Connection) -> bool:
        """A connection failed. False if it is none of ours."""
        monitor = self.pending.pop(connection, None)
        if monitor is None:
            return False
        problem = connection.refused_because
        # peers name themselves in what they say
        outcome = describe_refusal(problem).replace(f"{monitor.address} ", "").replace(": refuses us with", ":")
        denial = problem.result if isinstance(problem, AuthError) else 0
        trial = Trial(monitor, outcome, isinstance(problem, PeerError), denial)
        self.trials[monitor.address] = trial
        log.debug("monitor_not_available", monitor=str(monitor), outcome=trial.outcome)
        if not self.pending:
            self._batch_over()
        return True

    def session_lost(self, monitor: Monitor, why: str) -> None:
        """What we had won is gone: look again, in a moment."""
        self.trials[monitor.address] = Trial(monitor, f"session lost ({why})", True)
        log.info("monitor_session_lost", monitor=str(monitor), why=why)
        # fail over at once, unless monitors let us in and throw us out again and again
        is_short = asyncio.get_running_loop().time() - self._won_s < SHORT_SESSION_S
        self._short_sessions = self._short_sessions + 1 if is_short else 0
        self.start(again=True)

    def healthy(self) -> None:
        """A session is in good health: the next hunt may be impatient again."""
        self.multiple = max(self.multiple / self._conf.backoff, 1.0)

    def denials(self) -> set[int]:
        """Why every monitor that could be reached refuses who we are; empty if one does not, or none was reached."""
        trials = [self.trials[monitor.address] for monitor in self.monitors if monitor.address in self.trials]
        reasons = {trial.denial for trial in trials if trial.reached}
        return set() if 0 in reasons else reasons

    def report(self) -> str:
        """What happened with each monitor, for the user."""
        waiting = {monitor.address for monitor in self.pending.values()}
        trials = [
            # one that is tried once more is best described by how it went before
            self.trials.get(m.address, Trial(m, "no answer" if m.address in waiting else "not tried yet"))
            for m in self.monitors
        ]
        # monitors of the configuration that the monitor map does not have: how it went is worth reading, too
        trials += [trial for address, trial in self.trials.items() if all(m.address != address for m in self.monitors)]
        return "; ".join(f"{trial.monitor}: {trial.outcome}" for trial in trials)

    # rounds

    def _next_batch(self) -> None:
        self._timer = None
        if not self._untried:
            self._untried = shuffled(self.monitors, self._dice)
            self._slow = False
        batch, self._untried = self._untried[: self._conf.parallel], self._untried[self._conf.parallel :]
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.round_s, self._round_over)
        for monitor in batch:
            self.pending[self._connect(monitor.address)] = monitor

    def _round_over(self) -> None:
        """Who has not let us in by now is given up for this cycle."""
        self._slow = True
        for monitor in self.pending.values():
            self.trials[monitor.address] = Trial(monitor, f"no answer within {self.round_s:.3g} s")
            log.debug("monitor_not_available", monitor=str(monitor), outcome="no answer", waited_s=self.round_s)
        self.stop()
        self._batch_over()

    def _batch_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._untried:
            self._next_batch()
            return
        if self._slow:
            self.multiple = min(self.multiple * self._conf.backoff, self._conf.multiple_max)
        self._pause()
        if self.denials():
            self._denied()

    def _pause(self) -> None:
        conf = self._conf
        delay_s = min(conf.pause_s_min * 2.0 ** min(self._failed_cycles + self._short_sessions, 16), conf.pause_s_max)
        self._failed_cycles += 1
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._next_batch)
