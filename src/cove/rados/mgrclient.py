"""MgrClient: commands to the active manager, wherever it is, and the reports of a service daemon.

Nothing in the way of an operation needs a manager. So its map (24 KB in a real cluster) is subscribed to, and a
connection opened, only when the first command or a service daemon wants one; librados does both for every client.

Source: Ceph's mgr/MgrClient, mon/MgrMap.h.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from typing import cast
from uuid import UUID

import structlog

from ..messenger import Connection, Dispatcher, Messenger
from ..wire.messages import (
    MCommand,
    MCommandReply,
    Message,
    MMgrClose,
    MMgrCommand,
    MMgrCommandReply,
    MMgrConfigure,
    MMgrMap,
)
from ..wire.mgrmap import MgrMap, decode_mgrmap
from ..wire.types import EntityType
from .commands import Command, CommandResult, encode_command
from .errors import Cancelled, TimedOut
from .monclient import MonClient
from .requests import Requests
from .service_daemon import ServiceDaemonReports

log = structlog.get_logger(__name__)

RECONNECT_S_MIN = 0.05
RECONNECT_S_MAX = 5.0


class MgrClient(Dispatcher):
    """The connection to the active manager, once somebody wants it."""

    def __init__(
        self, messenger: Messenger, monclient: MonClient, service_daemon: ServiceDaemonReports | None = None
    ) -> None:
        self.messenger = messenger
        self.monclient = monclient
        self.mgrmap: MgrMap | None = None
        self.connection: Connection | None = None
        self.service_daemon = service_daemon or ServiceDaemonReports()
        self.requests = Requests("the manager", self._send, itertools.count(1))
        self._told: dict[int, str] = {}
        """Commands to a manager in person, by tid: to whom."""
        self._map_waiters: list[asyncio.Future[None]] = []
        self._is_open = False
        self._failures = 0
        self._problem: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Connect right away, if this client is a service daemon."""
        if self.service_daemon.is_registered:
            self._want_manager()

    def _want_manager(self) -> None:
        """From now on the manager's map is looked at, and a connection held."""
        if self.mgrmap is None:
            if self.monclient.sub_want("mgrmap", 0):
                self.monclient.renew_subs()
        elif self.connection is None and self._timer is None:
            self._open()

    async def command(
        self, fsid: UUID, command: Command, inbuf: bytes, timeout_s: float, target: str | None = None
    ) -> CommandResult:
        """Have a command carried out; after a fail-over it is sent again to the new manager.

        With a `target`, the name of the active manager, it is told to the daemon in person (`ceph tell mgr.x`); any
        other name gives the result -ENOENT, and one that is no longer active before it has answered -ENXIO.

        Raises InvalidArgument, Overloaded, Cancelled, TimedOut (no manager), OutcomeUnknown (sent, and not answered).
        """
        text, name = encode_command(command, inbuf)
        self._want_manager()
        told: list[int] = []
        who = "" if target is None else target.removeprefix("mgr.")

        def make(tid: int) -> Message:
            if target is not None:
                told.append(tid)
                self._told[tid] = who
                return MCommand(tid=tid, fsid=fsid, cmd=[text], indata=inbuf)
            return MMgrCommand(tid=tid, fsid=fsid, cmd=[text], indata=inbuf)

        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            if target is not None:
                await self._wait_for_manager(timeout_s)
                active = "" if self.mgrmap is None else self.mgrmap.active_name
                if who != active:
                    return CommandResult(
                        -errno.ENOENT, f"{target!r} is not the active manager, mgr.{active} is", b"", name
                    )
            left_s = max(deadline - asyncio.get_running_loop().time(), 0.0)
            answer = await self.requests.ask(name, make, left_s, changes=True)
        except TimedOut:
            raise TimedOut(f"{name}: {self._why()} within {timeout_s:g} s", operation=name) from None
        finally:
            for tid in told:
                self._told.pop(tid, None)
        reply = cast("MCommandReply", answer)
        return CommandResult(reply.result, reply.status, bytes(reply.outdata), name)

    async def _wait_for_manager(self, timeout_s: float) -> None:
        """Wait until there is an active manager. Raises TimedOut."""
        if self.mgrmap is not None and self.mgrmap.available:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._map_waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            raise TimedOut(self._why()) from None
        finally:
            self._map_waiters.remove(waiter)

    def shutdown(self) -> None:
        """Close the connection and fail what is open."""
        for waiter in self._map_waiters:
            if not waiter.done():
                waiter.set_exception(Cancelled("the client was shut down"))
        self._close()
        self.requests.cancel_all()

    def _why(self) -> str:
        """Why a command could not even be sent."""
        if self.mgrmap is None:
            return "the monitors sent no manager map"
        if not self.mgrmap.available:
            return "no manager was active (is a ceph-mgr running?)"
        why = "no answer" if self._problem is None else str(self._problem)
        return f"manager {self.mgrmap.active_name} could not be reached ({why})"

    # connection

    def _send(self, message: Message) -> bool:
        if self.connection is None and self._timer is None:
            self._open()
        if not self._is_open or self.connection is None:
            return False
        self.connection.send_message(message)
        return True

    @property
    def _address(self) -> str:
        """Where the active manager is; empty if there is none."""
        address = None if self.mgrmap is None else self.mgrmap.address
        return "" if address is None else str(address)

    def _open(self) -> None:
        self._timer = None
        address = self._address
        if address and (len(self.requests) or self.service_daemon.is_registered):
            self.connection = self.messenger.connect_to(address, EntityType.MGR)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection, self.connection, self._is_open = self.connection, None, False
        self.service_daemon.session_down()
        if connection is not None:
            connection.mark_down()

    def _lost(self, connection: Connection) -> None:
        if connection is not self.connection:
            return
        self._problem = connection.refused_because
        self._close()
        delay_s = min(RECONNECT_S_MIN * 2.0 ** min(self._failures, 16), RECONNECT_S_MAX)
        self._failures += 1
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._open)

    # dispatch

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Consume answers of the manager, and the map of managers."""
        if isinstance(message, (MMgrCommandReply, MCommandReply)):
            if connection is self.connection:
                self._failures = 0
                self.requests.handle_reply(message)
            return True
        if isinstance(message, (MMgrConfigure, MMgrClose)):
            if connection is not self.connection:
                return True
            if isinstance(message, MMgrConfigure):
                self.service_daemon.configure(message)
            else:
                self.service_daemon.handle_close()
            return True
        if isinstance(message, MMgrMap) and connection is self.monclient.connection:
            self._handle_mgrmap(decode_mgrmap(message.mgrmap))
            return True
        return False

    def _handle_mgrmap(self, mgrmap: MgrMap) -> None:
        self.monclient.sub_got("mgrmap", mgrmap.epoch)
        if self.mgrmap is not None and mgrmap.epoch <= self.mgrmap.epoch:
            return
        before = self._address
        self.mgrmap = mgrmap
        for waiter in self._map_waiters:
            if mgrmap.available and not waiter.done():
                waiter.set_result(None)
        for tid, who in self._told.items():
            if mgrmap.available and who != mgrmap.active_name:
                status = f"mgr.{who} is no longer the active manager, mgr.{mgrmap.active_name} is"
                self.requests.handle_reply(MCommandReply(tid=tid, result=-errno.ENXIO, status=status))
        if self._address != before:
            log.info("manager", name=mgrmap.active_name, address=self._address, epoch=mgrmap.epoch)
            self._close()
            self._failures = 0
            self._open()

    def ms_handle_connect(self, connection: Connection) -> None:
        """The manager is there: send what waits for it."""
        if connection is self.connection:
            self._is_open = True
            self.service_daemon.session_up(connection)
            self.requests.resend_all()

    def ms_handle_reset(self, connection: Connection) -> None:
        """Connect again, or to the manager of the next map."""
        self._lost(connection)

    def ms_handle_refused(self, connection: Connection) -> None:
        """Connect again, or to the manager of the next map."""
        self._lost(connection)
