"""MonClient: the session with a monitor: subscriptions to maps, and questions for their versions.

A thin slice: it tries the monitors in turn, and sends again what was open after a reconnect. Authentication,
parallel hunting and commands come later, behind the same methods.

Source: Ceph's mon/MonClient.h, mon/MonSub.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import structlog

from ..messenger import Connection, Dispatcher, Messenger
from ..wire.messages import Message, MMonGetVersion, MMonGetVersionReply, MMonSubscribe, SubscribeFlag, Subscription
from ..wire.types import EntityType
from .errors import Cancelled, NotConnected, TimedOut

log = structlog.get_logger(__name__)

RECONNECT_S_MIN = 0.05
RECONNECT_S_MAX = 5.0
PENDING_VERSIONS_MAX = 1024
CONTINUOUS = SubscribeFlag(0)
"""Every epoch from the start on, without asking again."""

Version = tuple[int, int]
"""Newest and oldest epoch of a map."""


class MonClient(Dispatcher):
    """Finds a monitor and keeps a session with it."""

    def __init__(self, messenger: Messenger, mon_addresses: Sequence[str]) -> None:
        if not mon_addresses:
            raise NotConnected("no monitor address is given; set at least one")
        self.messenger = messenger
        self.mon_addresses = tuple(mon_addresses)
        self.connection: Connection | None = None
        self.is_open = False
        self._next = 0
        self._failures = 0
        self._reopen_timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._opened = asyncio.Event()
        self._subs: dict[str, Subscription] = {}
        self._unsent_subs: set[str] = set()
        self._handles = itertools.count(1)
        self._versions: dict[int, tuple[str, asyncio.Future[Version]]] = {}

    # session

    def start(self) -> None:
        """Begin to look for a monitor."""
        self._reopen_session()

    async def authenticate(self, timeout_s: float) -> None:
        """Wait until there is a session. Raises TimedOut, naming the monitors tried."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._opened.wait()
        except TimeoutError:
            tried = ", ".join(self.mon_addresses)
            raise TimedOut(f"no monitor answered within {timeout_s} s (tried {tried}); is the cluster up?") from None

    def shutdown(self) -> None:
        """Close the session and fail what is open."""
        self._stopped = True
        if self._reopen_timer is not None:
            self._reopen_timer.cancel()
            self._reopen_timer = None
        connection, self.connection, self.is_open = self.connection, None, False
        if connection is not None:
            connection.mark_down()
        for _, future in self._versions.values():
            if not future.done():
                future.set_exception(Cancelled("the client was shut down"))
                future.exception()  # nobody may be left to look at it
        self._versions.clear()

    def _reopen_session(self) -> None:
        self._reopen_timer = None
        if self._stopped:
            return
        address = self.mon_addresses[self._next % len(self.mon_addresses)]
        self._next += 1
        self.is_open = False
        self.connection = self.messenger.connect_to(address, EntityType.MON)

    def _session_lost(self, connection: Connection) -> None:
        if connection is not self.connection or self._stopped:
            return
        self.connection, self.is_open = None, False
        self._opened.clear()
        rounds = self._failures // len(self.mon_addresses)
        self._failures += 1
        delay_s = min(RECONNECT_S_MIN * 2.0 ** min(rounds, 16), RECONNECT_S_MAX)
        log.info("monitor_session_lost", address=connection.peer_address, retry_in_s=delay_s)
        self._reopen_timer = asyncio.get_running_loop().call_later(delay_s, self._reopen_session)

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
        wanted = Subscription(start, flags)
        if self._subs.get(what) == wanted:
            return False
        self._subs[what] = wanted
        self._unsent_subs.add(what)
        return True

    def renew_subs(self) -> None:
        """Tell the monitor of the subscriptions that it does not know yet."""
        if self._unsent_subs and self.is_open:
            what = {name: self._subs[name] for name in sorted(self._unsent_subs)}
            self._unsent_subs.clear()
            self.send_mon_message(MMonSubscribe(what=what))

    def sub_got(self, what: str, epoch: int) -> None:
        """A map has come: one-time subscriptions are fulfilled, the others go on after it."""
        sub = self._subs.get(what)
        if sub is None or epoch < sub.start:
            return
        if sub.flags & SubscribeFlag.ONETIME:
            del self._subs[what]
            self._unsent_subs.discard(what)
        else:
            self._subs[what] = Subscription(epoch + 1, sub.flags)

    # versions

    def get_version(self, what: str) -> asyncio.Future[Version]:
        """Ask which epochs of a map exist. The future survives a change of monitor; its owner bounds the wait."""
        if self._stopped:
            raise NotConnected("the client is shut down")
        if len(self._versions) >= PENDING_VERSIONS_MAX:
            raise NotConnected(f"{PENDING_VERSIONS_MAX} questions to the monitor are open already")
        handle = next(self._handles)
        future: asyncio.Future[Version] = asyncio.get_running_loop().create_future()
        self._versions[handle] = (what, future)
        future.add_done_callback(lambda _: self._versions.pop(handle, None))
        self.send_mon_message(MMonGetVersion(tid=handle, handle=handle, what=what))
        return future

    # dispatch

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Consume answers about versions; let everything else pass."""
        if not isinstance(message, MMonGetVersionReply):
            return False
        if connection is self.connection:
            entry = self._versions.get(message.handle)
            if entry is not None and not entry[1].done():
                entry[1].set_result((message.version, message.oldest_version))
        return True

    def ms_handle_connect(self, connection: Connection) -> None:
        """The monitor is there: tell it again what we want."""
        if connection is not self.connection:
            return
        self.is_open = True
        self._failures = 0
        self._opened.set()
        self._unsent_subs.update(self._subs)
        self.renew_subs()
        for handle, (what, _) in list(self._versions.items()):
            self.send_mon_message(MMonGetVersion(tid=handle, handle=handle, what=what))

    def ms_handle_reset(self, connection: Connection) -> None:
        """Look for another monitor."""
        self._session_lost(connection)

    def ms_handle_refused(self, connection: Connection) -> None:
        """Look for another monitor."""
        self._session_lost(connection)
