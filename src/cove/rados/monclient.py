"""MonClient: the session with one monitor at a time: who we are, subscriptions, versions, commands.

    start → hunt (monhunt.py) → a connection is up, i.e. has logged in (monauth.py) → _session_opened:
        subscriptions (monsub.py), open questions and commands (requests.py) are sent (again)
    lost, silent, or no longer in the monitor map → hunt again

The rest of the client never sees which monitor it is; what the others send is dropped.

Source: Ceph's mon/MonClient.h, doc/rados/configuration/mon-config-ref; times are the options mon_client_*.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any, Self, cast
from uuid import UUID

import structlog

from ..messenger import Connection, Dispatcher, Messenger
from ..wire.auth import AuthError
from ..wire.errors import UsageError
from ..wire.messages import (
    MAuthReply,
    MConfig,
    Message,
    MMonCommand,
    MMonCommandAck,
    MMonGetVersion,
    MMonGetVersionReply,
    MMonMap,
    MMonSubscribe,
    SubscribeFlag,
)
from ..wire.monmap import MonMap, decode_monmap
from ..wire.types import EntityName, EntityType
from .commands import Command, CommandResult, encode_command
from .conf import number_option
from .errors import Cancelled, Error, NotConnected, PermissionDenied, TimedOut
from .keepalive import KeepAlive
from .monauth import ClusterAuth
from .monhunt import HuntConf, MonHunt, Monitor
from .monsub import CONTINUOUS, Subscriptions
from .requests import Requests

__all__ = ["CONTINUOUS", "MonClient", "MonClientConf", "Monitor", "Version"]

log = structlog.get_logger(__name__)

PENDING_VERSIONS_MAX = 1024
TICK_S_MIN = 1.0
DENIALS_MAX = 8
"""Rounds of refusals, after a session was lost, until we give our identity up: some ten seconds."""
NO_FSID = UUID(int=0)

OPTIONS = {"mon_client_ping_interval": "ping_interval_s", "mon_client_ping_timeout": "ping_timeout_s"}
HUNT_OPTIONS = {
    "mon_client_hunt_interval": "interval_s",
    "mon_client_hunt_interval_backoff": "backoff",
    "mon_client_hunt_interval_max_multiple": "multiple_max",
    "mon_client_hunt_parallel": "parallel",
}

Version = tuple[int, int]
"""Newest and oldest epoch of a map."""


@dataclass(frozen=True, slots=True)
class MonClientConf:
    """Times in seconds: a keep-alive is sent each `ping_interval_s`, and one must be answered in `ping_timeout_s`."""

    ping_interval_s: float = 10.0
    ping_timeout_s: float = 30.0
    hunt: HuntConf = field(default_factory=HuntConf)

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """The defaults, changed by what a ceph.conf sets. Raises InvalidArgument."""
        times = {name: number_option(options, option) for option, name in OPTIONS.items() if option in options}
        hunt = {name: number_option(options, option) for option, name in HUNT_OPTIONS.items() if option in options}
        if "parallel" in hunt:
            hunt["parallel"] = int(hunt["parallel"])
        return cls(**times, hunt=HuntConf(**hunt))  # type: ignore[arg-type]


class MonClient(Dispatcher):
    """Finds a monitor and keeps a session with it."""

    def __init__(
        self,
        messenger: Messenger,
        monitors: Sequence[Monitor],
        auth: ClusterAuth | None = None,
        conf: MonClientConf | None = None,
        dice: Random | None = None,
    ) -> None:
        """`auth` None: the transport knows who we are. Raises NotConnected without a monitor."""
        if not monitors:
            raise NotConnected("no monitor address is given; set at least one")
        self.messenger = messenger
        self.auth = auth
        self.conf = conf or MonClientConf()
        self.connection: Connection | None = None
        self.is_open = False
        self.monmap: MonMap | None = None
        self.config: dict[str, str] = {}
        """What the cluster's configuration database has for us."""
        self.on_config: list[Callable[[], None]] = []
        """Called when that has come, or has changed."""
        self.subscriptions = Subscriptions()
        self.commands = Requests("the monitor", self.send_mon_message, itertools.count(1))
        self.hunt = MonHunt(monitors, self._connect, self._denied, self.conf.hunt, dice or SystemRandom())
        self._monitor: Monitor | None = None
        self.on_new_identity: list[Callable[[], None]] = []
        """Called when we give our identity up, and when we get another one: the cluster will not recognize repeated
        requests of the old one."""
        self._error: Error | None = None
        self._ever_open = False
        self._stopped = False
        self._opened = asyncio.Event()
        self._tick_timer: asyncio.TimerHandle | None = None
        self._denials = 0
        self._keepalive = KeepAlive()
        self._handles = itertools.count(1)
        self._versions: dict[int, tuple[str, asyncio.Future[Version]]] = {}
        self._loop = asyncio.get_running_loop()
        self._handlers: dict[type[Message], Callable[[Any], object]] = {
            MMonGetVersionReply: self._handle_version,
            MMonMap: self._handle_monmap,
            MConfig: self._handle_config,
            MMonCommandAck: self.commands.handle_reply,
            MAuthReply: self._handle_auth_reply,
        }

    # session

    def start(self) -> None:
        """Begin to look for a monitor."""
        self.subscriptions.want("config", 0)
        self.subscriptions.want("monmap", 0)
        self.hunt.start()

    async def authenticate(self, timeout_s: float) -> None:
        """Wait until there is a session.

        Raises TimedOut, which tells how it went with each monitor; PermissionDenied as soon as they refuse who we are.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._opened.wait()
        except TimeoutError:
            raise TimedOut(f"no monitor let us in: {self.hunt.report()}") from None
        if self._error is not None:
            raise self._error

    def shutdown(self) -> None:
        """Close the session and fail what is open."""
        self._stopped = True
        self.hunt.stop()
        self._close_session()
        self._error = Cancelled("the client was shut down")
        self._opened.set()  # whoever waits for a session need not wait any longer
        self.commands.cancel_all()
        for _, future in self._versions.values():
            if not future.done():
                future.set_exception(Cancelled("the client was shut down"))
                future.exception()  # nobody may be left to look at it
        self._versions.clear()

    @property
    def fsid(self) -> UUID:
        """The cluster's id, as its monitors say; zeros before that is known."""
        return NO_FSID if self.monmap is None else self.monmap.fsid

    def _connect(self, address: str) -> Connection:
        return self.messenger.connect_to(address, EntityType.MON)

    def _session_opened(self, connection: Connection, monitor: Monitor) -> None:
        self.connection, self._monitor, self.is_open = connection, monitor, True
        if self.auth is not None:
            try:
                self.auth.adopt(connection)
            except UsageError as problem:
                self.reopen_session(str(problem))
                return
            name = EntityName(EntityType.CLIENT, self.auth.global_id)
            if self._ever_open and name != self.messenger.name:
                self._identity_changes()
            self.messenger.name = name
        self._ever_open = True
        log.info("monitor_session", monitor=str(monitor), client=str(self.messenger.name))
        self._error = None
        self._opened.set()
        self._keepalive = KeepAlive()
        self._denials = 0
        self._schedule_tick()
        self.subscriptions.forget_sent()
        self.renew_subs()
        for handle, (what, _) in list(self._versions.items()):
            self.send_mon_message(MMonGetVersion(tid=handle, handle=handle, what=what))
        self.commands.resend_all()

    def _close_session(self) -> None:
        connection, self.connection, self.is_open = self.connection, None, False
        self._opened.clear()
        if self._tick_timer is not None:
            self._tick_timer.cancel()
            self._tick_timer = None
        if connection is not None:
            connection.mark_down()

    def reopen_session(self, why: str) -> None:
        """Give the session up and look for another one."""
        if self._stopped or self._monitor is None:
            return
        monitor, self._monitor = self._monitor, None
        self._close_session()
        self.hunt.session_lost(monitor, why)

    def _denied(self) -> None:
        """Every monitor that could be reached refuses who we are, and a further try will not change that."""
        auth, reasons = self.auth, self.hunt.denials()
        name = "the client" if auth is None else auth.name
        if -errno.EACCES in reasons or -errno.EPERM in reasons:
            why, remedy = (
                "wrong key or unknown user (monitors do not tell which), or a user without capabilities for monitors",
                "check the name, and the key or keyring",
            )
        else:
            why = "no method of authentication, or mode of connections, in common"
            remedy = "check auth_client_required and ms_mon_client_mode, and that a keyring was found"
        message = f"{name} was refused by the monitors: {why}: {self.hunt.report()}; {remedy}"
        if not self._ever_open:
            self._error = PermissionDenied(message, errno=errno.EACCES)
            self._opened.set()
            return
        log.warning("login_refused", why=message)
        self._denials += 1
        if auth is not None and self._denials == DENIALS_MAX:
            # they may have lost the secrets of our tickets, and will never take them again
            auth.forget_identity()
            self._identity_changes()

    def _identity_changes(self) -> None:
        for tell in self.on_new_identity:
            tell()

    def send_mon_message(self, message: Message) -> bool:
        """Send to the monitor. False, and nothing sent, while there is no session: the owner sends again when
        `ms_handle_connect` tells of a new one."""
        if not self.is_open or self.connection is None:
            return False
        self.connection.send_message(message)
        return True

    # subscriptions

    def sub_want(self, what: str, start: int, flags: SubscribeFlag = CONTINUOUS) -> bool:
        """Want a map from epoch `start` on (0: the newest). False if just that is subscribed already."""
        return self.subscriptions.want(what, start, flags)

    def renew_subs(self) -> None:
        """Tell the monitor of the subscriptions that it does not know yet."""
        if self.is_open:
            unsent = self.subscriptions.take_unsent()
            if unsent:
                self.send_mon_message(MMonSubscribe(what=unsent))

    def sub_got(self, what: str, epoch: int) -> None:
        """A map has come: one-time subscriptions are fulfilled, the others go on after it."""
        self.subscriptions.got(what, epoch)

    def sub_unwant(self, what: str) -> None:
        """No longer want a map. What the monitor sends of it until the next session is for nobody."""
        self.subscriptions.unwant(what)

    # versions and commands

    def get_version(self, what: str) -> asyncio.Future[Version]:
        """Ask which epochs of a map exist. The future survives a change of monitor; its owner bounds the wait."""
        if self._stopped:
            raise NotConnected("the client is shut down")
        if len(self._versions) >= PENDING_VERSIONS_MAX:
            raise NotConnected(f"{PENDING_VERSIONS_MAX} questions to the monitor are open already")
        handle = next(self._handles)
        future: asyncio.Future[Version] = self._loop.create_future()
        self._versions[handle] = (what, future)
        future.add_done_callback(lambda _: self._versions.pop(handle, None))
        self.send_mon_message(MMonGetVersion(tid=handle, handle=handle, what=what))
        return future

    async def mon_command(self, fsid: UUID, command: Command, inbuf: bytes, timeout_s: float) -> CommandResult:
        """Have a command carried out; after a lost session it is sent again, so it may be carried out twice.

        Raises InvalidArgument, Overloaded, Cancelled, TimedOut (not sent), OutcomeUnknown (sent, and not answered).
        """
        text, name = encode_command(command, inbuf)

        def make(tid: int) -> Message:
            return MMonCommand(tid=tid, fsid=fsid, cmd=[text], indata=inbuf)

        ack = cast("MMonCommandAck", await self.commands.ask(name, make, timeout_s, changes=True))
        return CommandResult(ack.result, ack.status, bytes(ack.outdata), name)

    # keep-alive and tickets

    def _schedule_tick(self) -> None:
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        delay_s = self.conf.ping_interval_s
        if self.auth is not None:
            delay_s = max(min(delay_s, self.auth.renewal_due_in_s()), TICK_S_MIN)
        self._tick_timer = self._loop.call_later(delay_s, self.tick)

    def tick(self) -> None:
        """Look after the session: is the monitor alive, are our tickets fresh?"""
        connection, now_s = self.connection, self._loop.time()
        if connection is None:
            return
        keepalive = self._keepalive
        asked = keepalive.unanswered
        if keepalive.is_lost(connection, now_s, self.conf.ping_timeout_s):
            self.reopen_session(f"no sign of life for {self.conf.ping_timeout_s:.3g} s")
            return
        if asked and not keepalive.unanswered:
            self.hunt.healthy()
        keepalive.ask(connection, now_s)
        self._renew_tickets()
        self._schedule_tick()

    @property
    def _monmap_epoch(self) -> int:
        return 0 if self.monmap is None else self.monmap.epoch

    def _renew_tickets(self) -> None:
        """Ask for new tickets if it is time."""
        if self.auth is not None and self.is_open and self.auth.renewal_due_in_s() <= 0:
            request = self.auth.renewal_request(self._monmap_epoch)
            if request is not None:
                self.send_mon_message(request)

    def _handle_auth_reply(self, message: MAuthReply) -> None:
        if self.auth is None:
            return
        try:
            request = self.auth.handle_reply(message, self._monmap_epoch)
        except AuthError as problem:
            # a full login needs no ticket: that is what a new session begins with
            self.reopen_session(f"tickets were not renewed: {problem}")
            return
        if request is not None:
            self.send_mon_message(request)
        elif self.is_open:
            self._schedule_tick()

    # dispatch

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Consume what is for us, and whatever comes from another monitor than the session's; the rest passes."""
        if connection.peer_type != EntityType.MON:
            return False
        if connection is not self.connection:
            return True
        handler = self._handlers.get(type(message))
        if handler is None:
            return False
        handler(message)
        return True

    def _handle_version(self, message: MMonGetVersionReply) -> None:
        entry = self._versions.get(message.handle)
        if entry is not None and not entry[1].done():
            entry[1].set_result((message.version, message.oldest_version))

    def _handle_config(self, message: MConfig) -> None:
        self.config = dict(message.config)
        for tell in self.on_config:
            tell()

    def _handle_monmap(self, message: MMonMap) -> None:
        monmap = decode_monmap(message.monmap)
        known = self.monmap
        if known is not None and known.fsid != monmap.fsid:
            log.warning("monmap_of_another_cluster", fsid=str(monmap.fsid))
            return
        self.subscriptions.got("monmap", monmap.epoch)
        if known is not None and monmap.epoch <= known.epoch:
            return
        self.monmap = monmap
        if self.auth is not None and monmap.ciphers is not None:
            self.auth.handle_auth_epoch(monmap.ciphers.auth_epoch)
            self._renew_tickets()
        monitors = _monitors_of(monmap)
        if not monitors:
            log.warning("monmap_without_msgr2", epoch=monmap.epoch)
            return
        self.hunt.monitors = monitors
        ours = self._monitor
        place = None if ours is None else _place(ours.address)
        found = next((monitor for monitor in monitors if _place(monitor.address) == place), None)
        if found is None:
            self.reopen_session("the monitor map no longer has it")
        else:
            self._monitor = found

    def ms_handle_connect(self, connection: Connection) -> None:
        """A monitor has let us in: if it is the first, tell it what we want."""
        monitor = self.hunt.won(connection)
        if monitor is not None and not self._stopped:
            self._session_opened(connection, monitor)

    def ms_handle_reset(self, connection: Connection) -> None:
        """Look for another monitor."""
        self._connection_lost(connection)

    def ms_handle_refused(self, connection: Connection) -> None:
        """Look for another monitor; or for another ticket, when it is an OSD or a manager that refused ours."""
        self._connection_lost(connection)
        if self.auth is not None and isinstance(connection.refused_because, AuthError):
            self.auth.ticket_refused(connection.peer_type)
            self._renew_tickets()

    def _connection_lost(self, connection: Connection) -> None:
        if connection is self.connection:
            self.reopen_session("the connection broke")
        elif self.hunt.lost(connection) and self.auth is not None:
            self.auth.forget(connection)


def _monitors_of(monmap: MonMap) -> tuple[Monitor, ...]:
    """Where to look for monitors, by the map: those that speak msgr2."""
    found = []
    for name, _, address in monmap.addresses():
        info = monmap.mon_info[name]
        found.append(Monitor(str(address), name, info.priority, info.weight))
    return tuple(found)


def _place(address: str) -> str:
    """Host and port: protocol and nonce do not matter for whether it is the same monitor."""
    return address.removeprefix("v2:").partition("/")[0]
