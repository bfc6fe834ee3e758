"""What dnsmasq's log says, as typed events: pure. The log is dnsmasq's only acknowledgement of a file.

Lines look like `Nov 22 00:11:28 dnsmasq-dhcp[8091]: DHCPACK(ns-...) 1.1.1.11 fa:16:3e:00:00:01 host`. Clients choose
some of the text behind, so every pattern is anchored at the front. A file of a watched directory gives
`inotify: <file> new or modified` (dnsmasq 2.87 and later; `inotify, new or changed file <file>` before), then
`read <file>`, then what it finds wrong in it: `<reason> at line <n> of <file>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cove.dhcp.drivers.base import Exchange

LINE_LENGTH_MAX = 4096


@dataclass(frozen=True, slots=True)
class FileNoticed:
    """dnsmasq turns to a file because it was changed; every file before it has been dealt with."""

    path: str


@dataclass(frozen=True, slots=True)
class FileRead:
    """dnsmasq begins to read a file."""

    path: str


@dataclass(frozen=True, slots=True)
class FileRejected:
    """dnsmasq did not take a line of a file."""

    path: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reloading:
    """dnsmasq has forgotten what it had read and begins again (after a start or a SIGHUP)."""


LogEvent = FileNoticed | FileRead | FileRejected | Reloading | Exchange

_PREFIX = re.compile(r"\w{3} [ \d]\d \d\d:\d\d:\d\d (?:dnsmasq|dnsmasq-dhcp)\[\d+\]: ")
_NOTICED = re.compile(r"inotify: (/.+) new or modified$|inotify, new or changed file (/.+)$")
_REJECTED = re.compile(r"(.{1,200}) at line (\d+) of (/.+)$")
_NAMES = re.compile(r" - \d+ (?:names|addresses)$")
_EXCHANGE = re.compile(
    r"(DHCP[A-Z]+)\([\w.-]{1,15}\) "
    r"(?:(\d{1,3}(?:\.\d{1,3}){3}) )?((?:[0-9a-f]{2}:){5}[0-9a-f]{2})(?: (.*))?$"
)


def parse_line(line: str) -> LogEvent | None:
    """The event of one line (without its newline), or None if the line is of no interest. Never raises."""
    prefix = _PREFIX.match(line)
    if prefix is None:
        return None
    text = line[prefix.end() :]
    if text.startswith("read /"):
        return FileRead(_NAMES.sub("", text[5:]))
    if text.startswith("DHCP"):
        found = _EXCHANGE.match(text)
        return None if found is None else Exchange(found[1], found[3], found[2], (found[4] or "").strip())
    if text.startswith("inotify"):
        noticed = _NOTICED.match(text)
        return None if noticed is None else FileNoticed(noticed[1] or noticed[2])
    if text == "cleared cache":
        return Reloading()
    rejected = _REJECTED.match(text)
    return None if rejected is None else FileRejected(rejected[3], int(rejected[2]), rejected[1])


class LogParser:
    """Bytes in, events out; a line may come in any number of pieces. Memory is bounded by LINE_LENGTH_MAX."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[LogEvent]:
        """The events of the lines that the data completes."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= LINE_LENGTH_MAX else b""
        for line in lines:
            if len(line) <= LINE_LENGTH_MAX:
                event = parse_line(line.decode("ascii", "replace"))
                if event is not None:
                    yield event
