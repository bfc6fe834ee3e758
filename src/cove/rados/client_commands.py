"""CommandCalls: commands to monitors, managers and OSDs, as the `ceph` tool sends them.

Source: Ceph's librados (`rados_mon_command`, `_mon_command_target`, `_mgr_command`, `_osd_command`, `_pg_command`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..messenger import Messenger
from ..wire.messages import Message
from . import montell
from .client_base import ClientBase
from .commands import Command, CommandResult
from .errors import NotConnected, TimedOut
from .monhunt import Monitor
from .osd_commands import parse_pgid


class CommandCalls(ClientBase):
    """The part of a client that sends commands."""

    async def _ask_monitor(self, what: str, make: Callable[[int], Message], *, changes: bool = False) -> Message:
        return await self.objecter.mon_requests.ask(what, make, self.conf.mon_op_timeout_s, changes=changes)

    async def mon_command(
        self, command: Command, inbuf: bytes = b"", *, timeout_s: float | None = None, target: str | int | None = None
    ) -> CommandResult:
        """A command for the monitors, e.g. `{"prefix": "status", "format": "json"}`; `inbuf` is its input file.

        The result may be an error of the command: `check()` raises it. After a lost session the command is sent again.
        With a `target`, a monitor's name or rank, it is told to that monitor in person (`ceph tell mon.a`).
        Raises InvalidArgument, ObjectNotFound (no such monitor), TimedOut (not sent), OutcomeUnknown (sent, and not
        answered).
        """
        timeout_s = self.conf.mon_op_timeout_s if timeout_s is None else timeout_s
        if target is None:
            return await self.monclient.mon_command(self.fsid, command, inbuf, timeout_s)
        monitor = montell.find_monitor(self.monclient.hunt.monitors, target)
        return await montell.tell(self._errand_messenger, monitor, self.fsid, command, inbuf, timeout_s, self._errands)

    async def mgr_command(
        self, command: Command, inbuf: bytes = b"", *, timeout_s: float | None = None, target: str | None = None
    ) -> CommandResult:
        """A command for the active manager, e.g. `{"prefix": "pg stat"}`; the same as `mon_command` otherwise.

        With a `target`, the active manager's name, it is told to the daemon in person (`ceph tell mgr.x`).
        """
        if self._mgrclient is None:
            raise NotConnected(f"{self.name} is not connected; call connect() first")
        timeout_s = self.conf.mon_op_timeout_s if timeout_s is None else timeout_s
        return await self._mgrclient.command(self.fsid, command, inbuf, timeout_s, target)

    async def osd_command(
        self, osd: int, command: Command, inbuf: bytes = b"", *, timeout_s: float | None = None
    ) -> CommandResult:
        """A command for one OSD (`ceph tell osd.0`); the same as `mon_command` otherwise.

        The result is -ENOENT for an OSD that does not exist, -ENXIO for one that is down.
        """
        timeout_s = self.conf.mon_op_timeout_s if timeout_s is None else timeout_s
        return await self.objecter.commands.ask(osd, command, inbuf, timeout_s)

    async def pg_command(
        self, pgid: str, command: Command, inbuf: bytes = b"", *, timeout_s: float | None = None
    ) -> CommandResult:
        """A command for the primary OSD of a placement group such as `1.2f`; the same as `osd_command` otherwise.

        The result is -ENOENT for a pool that does not exist. Raises InvalidArgument for a pgid that is none.
        """
        timeout_s = self.conf.mon_op_timeout_s if timeout_s is None else timeout_s
        return await self.objecter.commands.ask(parse_pgid(pgid), command, inbuf, timeout_s)

    async def ping_monitor(self, name: str, *, timeout_s: float | None = None) -> str:
        """What the monitor of that name says of itself, as JSON text with `health` and `mon_status`.

        It also works before `connect`, and for a monitor without a quorum. Raises ObjectNotFound (there is none of
        that name), NotConnected, PermissionDenied, TimedOut.
        """
        timeout_s = self.conf.mon_op_timeout_s if timeout_s is None else timeout_s
        deadline = asyncio.get_running_loop().time() + timeout_s
        monitors: Sequence[Monitor]
        if self._monclient is not None:
            monitors = self._monclient.hunt.monitors
        else:
            self._refresh_transport()
            try:
                async with asyncio.timeout_at(deadline):
                    monitors = await self.transport.find_monitors()
            except TimeoutError:
                raise TimedOut("the addresses of the monitors were not known by then; check DNS") from None
        monitor = montell.find_monitor(monitors, name)
        left_s = max(deadline - asyncio.get_running_loop().time(), 0.0)
        return await montell.ping(self._errand_messenger(), monitor, left_s, self._errands)

    def _errand_messenger(self) -> Messenger:
        """A messenger with a login of its own."""
        return self.transport.create_messenger(self.transport.create_auth())
