"""Errands to one monitor by name: `ceph ping mon.a` and `ceph tell mon.a`.

An errand has a messenger, a login and a connection of its own, so it reaches that very monitor, also one without a
quorum, and does not disturb the client's session. It lasts for one question.

Source: Ceph's MonClient::ping_monitor, MonClientPinger; MonClient::_send_command (`tell`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Sequence
from uuid import UUID

from ..messenger import Connection, Dispatcher, Messenger
from ..wire.auth import AuthError
from ..wire.features import SERVER_OCTOPUS, has
from ..wire.messages import MCommand, MCommandReply, Message, MMonCommand, MMonCommandAck, MPing
from ..wire.types import EntityType
from .commands import Command, CommandResult, encode_command
from .errors import Cancelled, NotConnected, ObjectNotFound, OutcomeUnknown, PermissionDenied, TimedOut
from .monhunt import Monitor, describe_refusal

TELL_ATTEMPTS = 2
"""Connections, until a monitor counts as not reachable (`mon_client_directed_command_retry`)."""
NONAME = "noname-"
"""Before: the names that monitors of mon_host have until the monitor map is known: noname-a, noname-b, …"""


def find_monitor(monitors: Sequence[Monitor], target: str | int) -> Monitor:
    """A monitor by name or rank. Without names (only mon_host is known) they are called a, b, c, … in their order.

    Raises ObjectNotFound.
    """
    if isinstance(target, int):
        if 0 <= target < len(monitors):
            return monitors[target]
    else:
        name = target.removeprefix("mon.")
        for at, monitor in enumerate(monitors):
            unnamed = chr(ord("a") + at) if at < 26 else ""
            if name and name in ((monitor.name,) if monitor.name else (unnamed, NONAME + unnamed)):
                return monitor
    known = ", ".join(monitor.name or monitor.address for monitor in monitors) or "none"
    raise ObjectNotFound(
        f"monitor {target!r}: there is none of that name or rank [ENOENT]; the monitors are: {known}",
        errno=errno.ENOENT,
        operation=f"reach monitor {target!r}",
    )


class Errand(Dispatcher):
    """One question to one monitor. `make(connection)` makes it once the connection is up.

    While it is under way it is in `errands`, those of one client.
    """

    def __init__(
        self,
        make: Callable[[Connection], Message],
        answers: tuple[type[Message], ...],
        matches: Callable[[Message], bool],
        errands: set[Errand],
    ) -> None:
        self._make = make
        self._answers = answers
        self._matches = matches
        self._errands = errands
        self._answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.connection: Connection | None = None
        self.sent = False

    async def run(self, messenger: Messenger, address: str) -> Message:
        """Connect, ask, wait for the answer. Raises NotConnected, PermissionDenied, Cancelled; the caller bounds
        the time."""
        self._errands.add(self)
        messenger.add_dispatcher_tail(self)
        try:
            self.connection = messenger.connect_to(address, EntityType.MON)
            return await self._answer
        finally:
            self._errands.discard(self)
            await messenger.shutdown()

    def cancel(self) -> None:
        """The client is shut down."""
        if not self._answer.done():
            self._answer.set_exception(Cancelled("the client was shut down"))

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Take the answer; maps and configuration, which monitors send to everybody, are not for us."""
        if isinstance(message, self._answers) and self._matches(message) and not self._answer.done():
            self._answer.set_result(message)
        return True

    def ms_handle_connect(self, connection: Connection) -> None:
        """It let us in: ask."""
        if connection is self.connection and not self._answer.done():
            connection.send_message(self._make(connection))
            self.sent = True

    def ms_handle_reset(self, connection: Connection) -> None:
        """It hung up."""
        self._failed(connection)

    def ms_handle_refused(self, connection: Connection) -> None:
        """It is not there, or did not let us in."""
        self._failed(connection)

    def _failed(self, connection: Connection) -> None:
        if self._answer.done():
            return
        why = connection.refused_because
        text = "the connection broke" if self.sent else describe_refusal(why)
        denied = isinstance(why, AuthError) and why.result in (-errno.EACCES, -errno.EPERM)
        self._answer.set_exception(
            PermissionDenied(text, errno=errno.EACCES) if denied else NotConnected(text, errno=errno.ENOTCONN)
        )


async def ping(messenger: Messenger, monitor: Monitor, timeout_s: float, errands: set[Errand]) -> str:
    """What the monitor says of itself, as JSON text. Raises TimedOut, NotConnected, PermissionDenied, Cancelled."""
    errand = Errand(lambda _: MPing(), (MPing,), lambda _: True, errands)
    try:
        async with asyncio.timeout(timeout_s):
            answer = await errand.run(messenger, monitor.address)
    except TimeoutError:
        raise TimedOut(
            f"ping {monitor}: no answer within {timeout_s:.3g} s", errno=errno.ETIMEDOUT, operation="ping"
        ) from None
    except (NotConnected, PermissionDenied) as problem:
        raise type(problem)(f"ping {monitor}: {problem}", errno=problem.errno, operation="ping") from None
    assert isinstance(answer, MPing)
    return answer.text


async def tell(
    make_messenger: Callable[[], Messenger],
    monitor: Monitor,
    fsid: UUID,
    command: Command,
    inbuf: bytes,
    timeout_s: float,
    errands: set[Errand],
) -> CommandResult:
    """Have that monitor itself carry a command out.

    The result is -ENXIO if it can't be reached. Raises InvalidArgument, PermissionDenied, Cancelled, TimedOut (not
    sent), OutcomeUnknown (sent, and not answered).
    """
    text, name = encode_command(command, inbuf)

    def make(connection: Connection) -> Message:
        if has(connection.features, SERVER_OCTOPUS):
            return MCommand(tid=1, fsid=fsid, cmd=[text], indata=inbuf)
        return MMonCommand(tid=1, fsid=fsid, cmd=[text], indata=inbuf)

    what = f"{name} to {monitor}"
    sent, why = False, ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            for _ in range(TELL_ATTEMPTS):
                errand = Errand(make, (MCommandReply, MMonCommandAck), lambda answer: answer.tid == 1, errands)
                try:
                    answer = await errand.run(make_messenger(), monitor.address)
                except NotConnected as problem:
                    why = str(problem)
                    continue
                finally:
                    sent |= errand.sent
                assert isinstance(answer, (MCommandReply, MMonCommandAck))
                return CommandResult(answer.result, answer.status, bytes(answer.outdata), what)
    if sent:
        raise OutcomeUnknown(
            f"{what}: sent, and not answered ({why or f'{timeout_s:g} s have passed'}); it may have been done",
            errno=errno.ETIMEDOUT,
            operation=what,
        )
    if why:
        return CommandResult(-errno.ENXIO, f"{monitor} can't be reached: {why}", b"", what)
    raise TimedOut(f"{what}: not sent within {timeout_s:g} s", errno=errno.ETIMEDOUT, operation=what)
