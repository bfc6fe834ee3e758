"""A service daemon: a gateway, a mirror or the like that shows itself in `ceph status` and `ceph service dump`.

    register → (the manager's connection is up) MMgrOpen → MMgrConfigure says how often → MMgrReport, with the status
    if it has changed → MMgrClose at the end

The MgrClient calls `session_up`, `session_down` and `configure`, and passes MMgrClose on.

Source: Ceph's librados (`rados_service_register`, `rados_service_update_status`), MgrClient::_send_open, _send_report.
"""

from __future__ import annotations

import asyncio
import errno
import platform
import socket
from collections.abc import Mapping
from pathlib import Path

from ..messenger import Connection
from ..wire.encoding import encode_text
from ..wire.errors import UsageError
from ..wire.messages import MMgrClose, MMgrConfigure, MMgrOpen, MMgrReport, ServiceDaemon
from .errors import InvalidArgument, NotConnected, ObjectExists

CLOSE_TIMEOUT_S = 1.0
"""How long the good-bye waits for the manager's."""
PERIOD_S_MIN = 1.0
ENTRIES_MAX = 1024
TEXT_BYTES_MAX = 65536
RESERVED = frozenset(("osd", "mds", "client", "mon", "mgr"))
"""Kinds of Ceph's own daemons: no names for services."""


def _is_text(value: object) -> bool:
    """Whether it can be told to a manager."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        encode_text(value)
    except UsageError:
        return False
    return True


def _checked(what: str, entries: Mapping[str, str]) -> dict[str, str]:
    if len(entries) > ENTRIES_MAX:
        raise InvalidArgument(f"{what} has {len(entries)} entries; at most {ENTRIES_MAX} are taken")
    for key, value in entries.items():
        if not (_is_text(key) and _is_text(value)):
            raise InvalidArgument(
                f"{what}: keys and values are texts without zero bytes; {key!r:.60} is none, or has none"
            )
        if len(key) + len(value) > TEXT_BYTES_MAX:
            raise InvalidArgument(f"{what}: {key[:40]!r} has more than {TEXT_BYTES_MAX} characters")
    return dict(entries)


class ServiceDaemonReports:
    """What one client tells the manager of itself, if it is a service daemon."""

    def __init__(self) -> None:
        self.service = ""
        self.daemon = ""
        self.metadata: dict[str, str] = {}
        self.status: dict[str, str] = {}
        self._dirty = False
        self._connection: Connection | None = None
        self._period_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    @property
    def is_registered(self) -> bool:
        """Whether a manager is wanted because of this."""
        return bool(self.service)

    def register(self, service: str, daemon: str, metadata: Mapping[str, str]) -> None:
        """Become a service daemon; facts about this host are added to `metadata`. Only once for a client.

        Raises InvalidArgument (a name that is empty or one of Ceph's own), ObjectExists.
        """
        what = f"register service daemon {service!r}.{daemon!r}"
        if self.is_registered:
            raise ObjectExists(
                f"{what}: this client is {self.service}.{self.daemon} already [EEXIST]; open another client for it",
                errno=errno.EEXIST,
                operation=what,
            )
        if service in RESERVED:
            raise InvalidArgument(f"{what}: {service!r} is one of Ceph's own kinds of daemons; choose another name")
        for name in (service, daemon):
            if not name or len(name) > 250 or not name.isprintable():
                raise InvalidArgument(f"{what}: names have 1 to 250 printable characters")
        self.metadata = host_facts() | _checked("metadata", metadata)
        self.service, self.daemon = service, daemon
        self._dirty = True
        if self._connection is not None:
            self._send_open(self._connection)

    def update(self, status: Mapping[str, str]) -> None:
        """Replace the status; it goes out with the next report. Raises NotConnected if not registered."""
        if not self.is_registered:
            raise NotConnected("this client is no service daemon; call service_daemon_register() first")
        self.status = _checked("status", status)
        self._dirty = True

    # called by the MgrClient

    def session_up(self, connection: Connection) -> None:
        """A manager's connection is up: introduce ourselves. Reports begin when it says how often."""
        self.session_down()
        self._connection = connection
        if self.is_registered:
            self._send_open(connection)

    def session_down(self) -> None:
        """The manager is gone, and what we told it."""
        self._connection = None
        self._stop()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def configure(self, message: MMgrConfigure) -> None:
        """How often to report, from now on."""
        if self._closed is not None:
            return  # we are leaving
        starts = not self._period_s and bool(message.period)
        self._period_s = max(float(message.period), PERIOD_S_MIN) if message.period else 0.0
        if starts and self.is_registered:
            self._report()

    def handle_close(self) -> None:
        """The manager's answer to our good-bye."""
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    async def unregister(self) -> None:
        """Say good-bye, if a manager knows us; waits for its answer, but not for long."""
        connection = self._connection
        if connection is None or not self.is_registered:
            return
        self._stop()
        self._closed = asyncio.get_running_loop().create_future()
        connection.send_message(MMgrClose(daemon_name=self.daemon, service_name=self.service))
        try:
            await asyncio.wait([self._closed], timeout=CLOSE_TIMEOUT_S)
        finally:
            self._closed = None

    # inside

    def _send_open(self, connection: Connection) -> None:
        self._dirty = True
        description = ServiceDaemon(self.metadata, self.status)
        connection.send_message(MMgrOpen(daemon_name=self.daemon, service_name=self.service, service=description))

    def _report(self) -> None:
        timer, self._timer = self._timer, None
        connection = self._connection
        if connection is None or not self._period_s:
            return
        if timer is not None:
            timer.cancel()  # of an earlier period
        status, self._dirty = self.status if self._dirty else None, False
        connection.send_message(MMgrReport(daemon_name=self.daemon, service_name=self.service, daemon_status=status))
        self._timer = asyncio.get_running_loop().call_later(self._period_s, self._report)

    def _stop(self) -> None:
        self._period_s = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def host_facts() -> dict[str, str]:
    """What every daemon tells of its host, under Ceph's names; what can't be found out is left out."""
    system = platform.uname()
    facts = {
        "arch": system.machine,
        "hostname": socket.gethostname(),
        "kernel_description": system.version,
        "kernel_version": system.release,
        "os": system.system,
    }
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    for key, field in (("distro", "ID"), ("distro_description", "PRETTY_NAME"), ("distro_version", "VERSION_ID")):
        facts[key] = release.get(field, "")
    for file, names in (
        ("/proc/cpuinfo", {"model name": "cpu"}),
        ("/proc/meminfo", {"MemTotal": "mem_total_kb", "SwapTotal": "mem_swap_kb"}),
    ):
        facts |= _proc_facts(Path(file), names)
    return {key: value for key, value in facts.items() if value}


def _proc_facts(path: Path, names: Mapping[str, str]) -> dict[str, str]:
    """The first line of each name in a file of `name : value` lines."""
    found: dict[str, str] = {}
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        name, _, value = line.partition(":")
        key = names.get(name.strip())
        if key is not None and key not in found:
            found[key] = value.removesuffix("kB").strip()
    return found
