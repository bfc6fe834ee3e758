"""The cluster's log, as monitors pass it on: what `ceph -w` shows.

    monitor_log("info", callback) → subscription log-info → MLog → callback(LogLine), one call a line

Source: Ceph's librados (`rados_monitor_log2`), RadosClient::monitor_log, handle_log; mon/LogMonitor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum
from typing import NamedTuple

import structlog

from ..messenger import Connection, Dispatcher
from ..wire.address import plain_text
from ..wire.encoding import NS_PER_S
from ..wire.messages import LogEntry, Message, MLog
from ..wire.types import EntityType
from .errors import InvalidArgument
from .monclient import MonClient

log = structlog.get_logger(__name__)


class LogLevel(IntEnum):
    """How important a line is."""

    DEBUG = 0
    INFO = 1
    SECURITY = 2
    WARNING = 3
    ERROR = 4


_LEVELS = {
    "debug": "log-debug",
    "info": "log-info",
    "sec": "log-sec",
    "warn": "log-warn",
    "warning": "log-warn",
    "err": "log-error",
    "error": "log-error",
}
"""What is subscribed to, by the level asked for."""
_PRINTED = {0: "[DBG]", 1: "[INF]", 2: "[SEC]", 3: "[WRN]", 4: "[ERR]"}


class LogLine(NamedTuple):
    """One line of the log. `who` is the daemon with its addresses, `level` as Ceph prints it: `[INF]`."""

    channel: str
    name: str
    """Who wrote it, as it is configured: `mon.a`."""
    who: str
    stamp_ns: int
    seq: int
    level: str
    text: str

    @property
    def line(self) -> str:
        """As librados writes it: time, name, level, text."""
        seconds, nanoseconds = divmod(self.stamp_ns, NS_PER_S)
        when = datetime.fromtimestamp(seconds, UTC).astimezone()
        stamp = f"{when:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1000:06d}{when:%z}"
        return f"{stamp} {self.name} {self.level} {self.text}"


LogCallback = Callable[[LogLine], None]


def _kind(number: int) -> str:
    """A kind of peer as Ceph prints it."""
    try:
        return EntityType(number).name.lower()
    except ValueError:
        return "unknown"


def line_of(entry: LogEntry) -> LogLine:
    """An entry of a message in the form in which librados passes it on."""
    rank = entry.rank
    number = "?" if rank.number < 0 else str(rank.number)
    return LogLine(
        entry.channel,
        f"{_kind(entry.source.type)}.{entry.source.id}",
        f"{_kind(rank.type)}.{number} {plain_text(entry.addrs)}",
        entry.stamp_ns,
        entry.seq,
        _PRINTED.get(entry.priority, "[???]"),
        entry.text,
    )


class MonitorLog(Dispatcher):
    """The subscription of one client, and who is told."""

    def __init__(self) -> None:
        self._monclient: MonClient | None = None
        self._callback: LogCallback | None = None
        self._what = ""
        self._version = 0

    def attach(self, monclient: MonClient) -> None:
        """The client connects, now with this MonClient."""
        self._monclient = monclient
        if self._what:
            monclient.sub_want(self._what, 0)

    def watch(self, level: str, callback: LogCallback | None) -> None:
        """Have lines of a level (debug, info, sec, warn, error) or above passed on; None ends it.

        The callback is called on the event loop and must not block. Raises InvalidArgument.
        """
        if callback is None:
            self._want("")
            self._callback = None
            return
        what = _LEVELS.get(level)
        if what is None:
            raise InvalidArgument(f"log level {level!r}: known are {', '.join(_LEVELS)}")
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise InvalidArgument("the callback of monitor_log is a plain function of one LogLine")
        self._callback = callback
        self._want(what)

    def _want(self, what: str) -> None:
        monclient, before = self._monclient, self._what
        self._what = what
        if monclient is None or before == what:
            return
        if before:
            monclient.sub_unwant(before)
        self._version = 0
        if what and monclient.sub_want(what, 0):
            monclient.renew_subs()

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Pass lines on; those that came before are not told again."""
        if not isinstance(message, MLog):
            return False
        monclient, callback = self._monclient, self._callback
        if monclient is None or connection is not monclient.connection:
            return True
        if self._what:
            monclient.sub_got(self._what, message.version)
        if callback is None or message.version <= self._version:
            return True
        self._version = message.version
        for entry in message.entries:
            if self._callback is not callback:
                break  # it has ended it
            try:
                callback(line_of(entry))
            except Exception:
                log.exception("monitor_log_callback_failed")
        return True
