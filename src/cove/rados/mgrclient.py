"""MgrClient: commands to the active manager, wherever it is.

Nothing in the way of an operation needs a manager. So its map (24 KB in a real cluster) is subscribed to, and a
connection opened, only when the first command wants one; librados does both for every client.

Source: Ceph's mgr/MgrClient, mon/MgrMap.h.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import cast
from uuid import UUID

import structlog

from ..messenger import Connection, Dispatcher, Messenger
from ..wire.messages import Message, MMgrCommand, MMgrCommandReply, MMgrMap
from ..wire.mgrmap import MgrMap, decode_mgrmap
from ..wire.types import EntityType
from .commands import Command, CommandResult, encode_command
from .errors import TimedOut
from .monclient import MonClient
from .requests import Requests

log = structlog.get_logger(__name__)

RECONNECT_S_MIN = 0.05
RECONNECT_S_MAX = 5.0


class MgrClient(Dispatcher):
    """The connection to the active manager, once somebody wants it."""

    def __init__(self, messenger: Messenger, monclient: MonClient) -> None:
        self.messenger = messenger
        self.monclient = monclient
        self.mgrmap: MgrMap | None = None
        self.connection: Connection | None = None
        self.requests = Requests("the manager", self._send, itertools.count(1))
        self._is_open = False
        self._failures = 0
        self._problem: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def command(self, fsid: UUID, command: Command, inbuf: bytes, timeout_s: float) -> CommandResult:
        """Have a command carried out; after a fail-over it is sent again to the new manager.

        Raises InvalidArgument, Overloaded, Cancelled, TimedOut (no manager), OutcomeUnknown (sent, and not answered).
        """
        text, name = encode_command(command, inbuf)
        if self.mgrmap is None and self.monclient.sub_want("mgrmap", 0):
            self.monclient.renew_subs()

        def make(tid: int) -> Message:
            return MMgrCommand(tid=tid, fsid=fsid, cmd=[text], indata=inbuf)

        try:
            answer = await self.requests.ask(name, make, timeout_s, changes=True)
        except TimedOut:
            raise TimedOut(f"{name}: {self._why()} within {timeout_s:g} s", operation=name) from None
        reply = cast("MMgrCommandReply", answer)
        return CommandResult(reply.result, reply.status, bytes(reply.outdata), name)

    def shutdown(self) -> None:
        """Close the connection and fail what is open."""
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
        if address and len(self.requests):
            self.connection = self.messenger.connect_to(address, EntityType.MGR)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection, self.connection, self._is_open = self.connection, None, False
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
        if isinstance(message, MMgrCommandReply):
            if connection is self.connection:
                self._failures = 0
                self.requests.handle_reply(message)
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
        if self._address != before:
            log.info("manager", name=mgrmap.active_name, address=self._address, epoch=mgrmap.epoch)
            self._close()
            self._failures = 0
            self._open()

    def ms_handle_connect(self, connection: Connection) -> None:
        """The manager is there: send what waits for it."""
        if connection is self.connection:
            self._is_open = True
            self.requests.resend_all()

    def ms_handle_reset(self, connection: Connection) -> None:
        """Connect again, or to the manager of the next map."""
        self._lost(connection)

    def ms_handle_refused(self, connection: Connection) -> None:
        """Connect again, or to the manager of the next map."""
        self._lost(connection)
