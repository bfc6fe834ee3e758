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
from ipaddress import AddressValueError, IPv6Address

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
# DHCPv6: `DHCPREPLY(ns-...) fd77:1::11 00:03:00:01:fa:16:3e:00:00:01 host`; some kinds have the same names as above.
_EXCHANGE_6 = re.compile(
    r"(DHCP[A-Z]+(?:-REQUEST)?)\([\w.-]{1,15}\) "
    r"(?:([0-9a-f:.]{2,45}) )?((?:[0-9a-f]{2}:){2,99}[0-9a-f]{2})(?: (.*))?$"
)
KINDS_6 = frozenset(
    ["DHCPSOLICIT", "DHCPADVERTISE", "DHCPREPLY", "DHCPRENEW", "DHCPREBIND", "DHCPCONFIRM", "DHCPINFORMATION-REQUEST"]
)
_SHARED_KINDS = frozenset({"DHCPREQUEST", "DHCPRELEASE", "DHCPDECLINE"})
_SOLICIT = re.compile(r"RTR-SOLICIT\([\w.-]{1,15}\) ((?:[0-9a-f]{2}:){5}[0-9a-f]{2})$")
# A DUID that is made from a MAC: type 1 (with a time) or 3, hardware type 1.
_DUID_MAC = re.compile(r"00:(?:01:00:01:(?:[0-9a-f]{2}:){4}|03:00:01:)((?:[0-9a-f]{2}:){5}[0-9a-f]{2})")


def mac_of_duid(duid: str) -> str:
    """The Ethernet address that the DUID was made from; empty if it was made otherwise (RFC 8415, section 11)."""
    found = _DUID_MAC.fullmatch(duid)
    return found[1] if found is not None else ""


def parse_line(line: str) -> LogEvent | None:
    """The event of one line (without its newline), or None if the line is of no interest. Never raises."""
    prefix = _PREFIX.match(line)
    if prefix is None:
        return None
    text = line[prefix.end() :]
    if text.startswith("read /"):
        return FileRead(_NAMES.sub("", text[5:]))
    if text.startswith("DHCP"):
        return _exchange(text)
    if text.startswith("RTR-SOLICIT"):
        solicit = _SOLICIT.match(text)
        return None if solicit is None else Exchange("RTR-SOLICIT", solicit[1], None, "")
    if text.startswith("inotify"):
        noticed = _NOTICED.match(text)
        return None if noticed is None else FileNoticed(noticed[1] or noticed[2])
    if text == "cleared cache":
        return Reloading()
    rejected = _REJECTED.match(text)
    return None if rejected is None else FileRejected(rejected[3], int(rejected[2]), rejected[1])


def _exchange(text: str) -> Exchange | None:
    found = _EXCHANGE.match(text)
    # A client chooses its DUID, and may choose one that looks like a MAC; IPv4 has an address in the shared kinds.
    if found is not None and found[1] not in KINDS_6 and (found[2] is not None or found[1] not in _SHARED_KINDS):
        return Exchange(found[1], found[3], found[2], (found[4] or "").strip())
    found = _EXCHANGE_6.match(text)
    if found is None:
        return None
    try:
        address = None if found[2] is None else str(IPv6Address(found[2]))
    except AddressValueError:
        return None
    return Exchange(found[1], mac_of_duid(found[3]), address, (found[4] or "").strip(), duid=found[3])


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
