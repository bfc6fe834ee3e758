"""Commands to a single OSD, or to the primary of a placement group: what `ceph tell osd.3` and `ceph pg 1.0` send.

They use the Objecter's sessions, and are sent again when one comes back; a command for a placement group follows its
primary. The Objecter calls `session_up`, `map_changed` and `handle_reply`; whoever asks waits in `ask`.

Source: Ceph's Objecter::submit_command, _calc_command_target, handle_command_reply.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from ..wire.messages import MCommand, MCommandReply
from ..wire.types import ObjectLocator, PgId
from .commands import Command, CommandResult, encode_command
from .errors import (
    Cancelled,
    Error,
    InvalidArgument,
    NotConnected,
    OutcomeUnknown,
    Overloaded,
    PermissionDenied,
    TimedOut,
)

if TYPE_CHECKING:
    from .objecter import Objecter
    from .session import OSDSession

COMMANDS_MAX = 1024
AGAIN_S_MIN, AGAIN_S_MAX = 0.05, 2.0
"""How long an OSD that said EAGAIN is left alone, unless a new map comes before."""
_NUMBER_MAX = 2**31 - 1

Target = int | PgId


def parse_pgid(text: str) -> PgId:
    """`1.2f`: pool in decimal, seed in hexadecimal digits. Raises InvalidArgument."""
    pool, dot, seed = text.partition(".")
    digits = "0123456789abcdef"
    if not (
        dot
        and pool.isascii()
        and pool.isdecimal()
        and 0 < len(pool) < 19
        and 0 < len(seed) <= 8
        and all(character in digits for character in seed.lower())
    ):
        raise InvalidArgument(f"{text!r} is no placement group; write POOL.SEED, the seed in hexadecimal, e.g. 1.2f")
    return PgId(int(pool), int(seed, 16))


class _Open:
    """One open command. `answer` is set to None when its target must be looked up anew."""

    __slots__ = ("answer", "cmd", "inbuf", "osd", "sent", "session", "target", "tid")

    def __init__(self, tid: int, target: Target, cmd: str, inbuf: bytes) -> None:
        self.tid = tid
        self.target = target
        self.cmd = cmd
        self.inbuf = inbuf
        self.session: OSDSession | None = None
        self.osd = -1
        self.sent = False
        self.answer: asyncio.Future[MCommandReply | None] = asyncio.get_running_loop().create_future()

    def settle(self, reply: MCommandReply | None) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)

    def fail(self, problem: Error) -> None:
        if not self.answer.done():
            self.answer.set_exception(problem)
            self.answer.exception()  # whoever waits may be waiting for a map


class OsdCommands:
    """The open commands of one client, by tid."""

    def __init__(self, objecter: Objecter) -> None:
        self._objecter = objecter
        self._open: dict[int, _Open] = {}
        self._stopped = False

    def __len__(self) -> int:
        return len(self._open)

    async def ask(self, target: Target, command: Command, inbuf: bytes, timeout_s: float) -> CommandResult:
        """Have a command carried out by an OSD (a number), or by the primary of a placement group.

        The result is -ENOENT for an OSD or pool that the newest map does not have, -ENXIO for an OSD that is down. A
        lost session has it sent again, so it may be carried out twice. Raises InvalidArgument, Overloaded, Cancelled,
        PermissionDenied, TimedOut (not sent), OutcomeUnknown (sent, and not answered).
        """
        text, name = encode_command(command, inbuf)
        what = f"{name} to {target if isinstance(target, PgId) else f'osd.{target}'}"
        if isinstance(target, int) and not 0 <= target <= _NUMBER_MAX:
            raise InvalidArgument(f"{what}: {target} is no number of an OSD", operation=what)
        objecter = self._objecter
        if self._stopped or objecter.stopped:
            raise NotConnected("the client is shut down; open a new one")
        if len(self._open) >= COMMANDS_MAX:
            raise Overloaded(f"{what}: {COMMANDS_MAX} commands are open already")
        tid = objecter.next_tid()
        entry = self._open[tid] = _Open(tid, target, text, inbuf)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._carried_out(entry, what, timeout_s)
        except (TimeoutError, TimedOut):
            if entry.sent:
                raise OutcomeUnknown(
                    f"{what}: osd.{entry.osd} did not answer within {timeout_s:g} s; it may have been done, or may "
                    "still be: look at it before repeating the command",
                    errno=errno.ETIMEDOUT,
                    operation=what,
                ) from None
            raise TimedOut(
                f"{what}: not sent within {timeout_s:g} s; {TimedOut.remedy}", errno=errno.ETIMEDOUT, operation=what
            ) from None
        finally:
            del self._open[tid]

    async def _carried_out(self, entry: _Open, what: str, timeout_s: float) -> CommandResult:
        objecter, again_s = self._objecter, AGAIN_S_MIN
        while True:
            problem = self._place(entry)
            if problem is not None:
                await objecter.wait_for_latest_map(timeout_s)
                problem = self._place(entry)
                if problem is not None:
                    return CommandResult(problem[0], problem[1], b"", what)
            reply = await entry.answer
            entry.answer = asyncio.get_running_loop().create_future()
            if reply is None:
                continue
            if reply.result != -errno.EAGAIN:
                return CommandResult(reply.result, reply.status, bytes(reply.outdata), what)
            entry.session = None  # to be sent again, here or by a new map
            try:
                await objecter.wait_for_map(objecter.epoch + 1, again_s)
            except TimedOut:
                again_s = min(again_s * 2, AGAIN_S_MAX)

    def _osd_of(self, target: Target) -> int | tuple[int, str]:
        """The OSD that serves a target now, -1 for none; or why there is none: error number and text."""
        osdmap = self._objecter.osdmap
        if osdmap is None:
            return -1
        if isinstance(target, PgId):
            targets = self._objecter.targets
            assert targets is not None
            found = targets.locate((target.pool, "", "", ""), ObjectLocator(target.pool, hash=target.seed))
            return (-errno.ENOENT, f"pool {target.pool} does not exist") if found is None else found.osd
        if not osdmap.exists(target):
            return -errno.ENOENT, f"osd.{target} does not exist"
        if not osdmap.is_up(target) or not osdmap.is_reachable(target):
            return -errno.ENXIO, f"osd.{target} is down"
        return target

    def _place(self, entry: _Open) -> tuple[int, str] | None:
        """Give a command to the session of its OSD, unless it is there already; or say why it has none."""
        osd = self._osd_of(entry.target)
        if isinstance(osd, tuple):
            entry.session = None
            return osd
        if osd < 0:
            entry.session = None
            self._objecter.request_map()
            return None
        session = self._objecter.session_of(osd)
        if session is not entry.session:
            entry.session, entry.osd = session, osd
            if session.up is not None:
                self._send(entry, session)
        return None

    def _send(self, entry: _Open, session: OSDSession) -> None:
        connection, osdmap = session.up, self._objecter.osdmap
        if connection is not None and osdmap is not None:
            connection.send_message(MCommand(tid=entry.tid, fsid=osdmap.fsid, cmd=[entry.cmd], indata=entry.inbuf))
            entry.sent = True

    # called by the Objecter

    def wants(self, osd: int) -> bool:
        """Whether a command waits for that OSD."""
        return any(entry.session is not None and entry.osd == osd for entry in self._open.values())

    def session_up(self, session: OSDSession) -> None:
        """A session is up (again): send what is for it, in the order in which it was asked."""
        for tid in sorted(self._open):
            entry = self._open[tid]
            if entry.session is session and not entry.answer.done():
                self._send(entry, session)

    def map_changed(self) -> None:
        """Look all targets up in the new map."""
        for tid in sorted(self._open):
            entry = self._open.get(tid)
            if entry is not None and not entry.answer.done() and self._place(entry) is not None:
                entry.settle(None)

    def handle_reply(self, session: OSDSession | None, message: MCommandReply) -> None:
        """An OSD's answer; one that nobody waits for is dropped."""
        entry = self._open.get(message.tid)
        if entry is not None and session is not None and entry.session is session:
            entry.settle(message)

    def refused(self, session: OSDSession, problem: Exception) -> None:
        """That OSD does not accept us, not with new tickets either."""
        for entry in self._open.values():
            if entry.session is session:
                entry.fail(PermissionDenied(f"osd.{session.osd} refuses the connection: {problem}", errno=errno.EACCES))

    def cancel_all(self) -> None:
        """Fail all open commands."""
        self._stopped = True
        for entry in self._open.values():
            entry.fail(Cancelled("the client was shut down"))
