"""Lingers: what stays registered at an OSD after its operation was answered: watches, and notifies under way.

    add → send → answered: registered
    the connection is lost, or its group has a new interval → send again, under a new tid, after the plain operations

An OSD answers a repeated tid of a write from its log, without doing it, so a watch that has to be registered on a new
connection needs a new request. The requests of lingers are therefore made here and never sent twice; they need no
place in the throttle (each linger has at most two in flight, and their number is bounded), because a watch that waits
behind a full throttle is soon none.

Source: Ceph's Objecter::linger_register, _send_linger, _send_linger_ping; doc/dev/osd_internals (watch and notify).
"""

from __future__ import annotations

import asyncio
import errno
import functools
import heapq
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import structlog

from ..messenger import Connection
from ..wire.messages import MWatchNotify
from ..wire.osdmap import PgMapping
from ..wire.types import NOSNAP, ObjectLocator, SnapContext
from .completion import AioCompletion
from .errors import NotConnected, Overloaded
from .operations import OpVector
from .session import NO_SNAPS, Op, OSDSession, Outcome, Placed
from .target import ObjectKey, Recalc

if TYPE_CHECKING:
    from .objecter import Objecter

log = structlog.get_logger(__name__)

LINGERS_MAX = 65536
"""Watches and notifies of one client; and, apart from these, small requests about them that are under way."""
REQUEST_TIMEOUT_S = 60.0
"""For those small requests, where the client has no time-out for operations."""
PINGS_PER_TIMEOUT = 3
"""A watch with a short time-out is renewed more often than the client ticks."""
DUE_S = 0.005
"""Pings that are due so soon go with those that are due now."""
PINGS_AT_ONCE = 128
"""So many, and the event loop has its turn: thousands that are due at the same time would keep all else waiting."""


Interval = tuple[PgMapping, int, int]
"""What stays the same within an interval of a placement group: its OSDs, and the pool's size and min_size.

With each new one its primary, even if that is the same OSD, begins without watches that are connected.
"""


class LingerOp(Op):
    """A request of a linger: sent once. If its connection is lost, the linger makes another one."""

    __slots__ = ("linger", "since_s")

    repeatable: ClassVar[bool] = False

    def __init__(self, linger: Linger, vector: OpVector, answered: Callable[[LingerOp, AioCompletion], None]) -> None:
        completion = AioCompletion(vector, linger.oid, functools.partial(answered, self))
        super().__init__(linger.objecter, linger.key, linger.locator, vector, completion, linger.snapid, linger.snapc)
        self.linger = linger
        self.since_s = linger.objecter.now_s()
        """When it was made; it was sent then, or later."""


class Linger(Placed, ABC):
    """One watch, or one notify under way. Subclasses say what is sent, and what answers and messages mean."""

    __slots__ = ("cookie", "interval", "objecter", "oid", "op", "ping", "registered", "sent", "snapc", "snapid")

    def __init__(
        self,
        objecter: Objecter,
        key: ObjectKey,
        locator: ObjectLocator,
        *,
        snapid: int = NOSNAP,
        snapc: SnapContext = NO_SNAPS,
    ) -> None:
        self.objecter = objecter
        self.key = key
        self.locator = locator
        self.oid = key[1]
        self.snapid = snapid
        self.snapc = snapc
        self.flags = 0
        self.target = None
        self.target_epoch = 0
        self.paused = False
        self.pool_ever_existed = False
        self.interval: Interval | None = None
        """Of its placement group, when it was sent."""
        self.cookie = 0
        self.op: LingerOp | None = None
        """The registration in flight."""
        self.ping: LingerOp | None = None
        self.registered = False
        self.sent = False
        """Whether some OSD may have got a registration."""

    @abstractmethod
    def next_vector(self) -> OpVector:
        """What registers it (again)."""

    @abstractmethod
    def answered(self, op: LingerOp, result: int) -> None:
        """The registration was answered. `op.completion` has the outputs; a negative result is the error."""

    @abstractmethod
    def failed(self, result: int, detail: str = "") -> None:
        """It is over, for a reason that came without a request."""

    @abstractmethod
    def handle(self, message: MWatchNotify) -> None:
        """Its OSD has something to tell."""

    def pinged(self, op: LingerOp, result: int) -> None:
        """A ping was answered."""


class Pings(NamedTuple):
    """How often a watch is pinged, and by what."""

    interval_s: float
    make: Callable[[], OpVector]


class Lingers:
    """The lingers of one client, by cookie; in the order in which they were added, which is that of their resends."""

    def __init__(self, objecter: Objecter) -> None:
        self.objecter = objecter
        self.by_cookie: dict[int, Linger] = {}
        self._cookies = itertools.count(1)
        self._moved: dict[int, Linger] = {}
        self._requests: set[Op] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pings: dict[int, Pings] = {}
        self._ping_order: list[tuple[float, int]] = []
        """A heap: when the next ping of a watch is due, and the watch's cookie (it may be gone by then)."""
        self._ping_timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.by_cookie) + len(self._requests)

    # what their owners do

    def add(self, linger: Linger) -> None:
        """Give it a cookie, and register it. Raises NotConnected, Overloaded."""
        if self.objecter.stopped:
            raise NotConnected("the client is shut down; open a new one")
        if len(self.by_cookie) >= LINGERS_MAX:
            raise Overloaded(f"this client has {LINGERS_MAX} watches and notifies; {Overloaded.remedy}")
        linger.cookie = next(self._cookies)
        self.by_cookie[linger.cookie] = linger
        self.send(linger)

    def remove(self, linger: Linger) -> None:
        """Forget it, and what it has in flight. Twice is no error."""
        self.by_cookie.pop(linger.cookie, None)
        self._moved.pop(linger.cookie, None)
        self._pings.pop(linger.cookie, None)
        for request in (linger.op, linger.ping):
            if request is not None and request.outcome is None:
                self._drop(request)
        linger.op = linger.ping = None

    def send(self, linger: Linger) -> None:
        """Register it (again), unless a registration is about to be sent anyway."""
        op = linger.op
        if op is not None:
            if not op.attempts:
                return
            self._drop(op)
        if linger.ping is not None:
            self._drop(linger.ping)
            linger.ping = None
        linger.registered = False
        op = linger.op = LingerOp(linger, linger.next_vector(), self._registration_answered)
        linger.flags = op.flags
        self.objecter._op_submit(op)
        self._follow(linger, op)

    def request(self, vector: OpVector, linger: Linger) -> AioCompletion:
        """Send a small request about a linger (an unwatch, an answer), which outlives it and needs no throttle.

        It ends within the client's time-out for operations. Raises Overloaded, NotConnected.
        """
        objecter = self.objecter
        if objecter.stopped:
            raise NotConnected("the client is shut down; open a new one")
        if len(self._requests) >= LINGERS_MAX:
            raise Overloaded(f"{LINGERS_MAX} answers and unwatches are under way; {Overloaded.remedy}")
        completion = AioCompletion(vector, linger.oid)
        op = Op(objecter, linger.key, linger.locator, vector, completion, linger.snapid, linger.snapc)
        completion.on_complete(lambda _: self._requests.discard(op))
        self._requests.add(op)
        objecter.wheel.add(op, objecter.conf.osd_op_timeout_s or REQUEST_TIMEOUT_S)
        objecter._op_submit(op)
        return completion

    def keep_alive(self, linger: Linger, make_ping: Callable[[], OpVector], timeout_s: int) -> None:
        """Ping a registered watch from now on; `timeout_s` is the watch's own, 0 for the OSD's."""
        tick_s = self.objecter.conf.tick_interval_s
        interval_s = min(tick_s, timeout_s / PINGS_PER_TIMEOUT) if timeout_s else tick_s
        self._pings[linger.cookie] = Pings(interval_s, make_ping)
        self._ping_at(self.objecter.now_s() + interval_s, linger.cookie)

    def run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a user's callback; the client's shutdown cancels it, unless it is the one who shuts it down."""
        task = self.objecter._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # what the Objecter does

    def handle_watch_notify(self, osd: int, connection: Connection, message: MWatchNotify) -> None:
        """Give a message to the linger that it is for. One from another OSD than the linger's comes too late."""
        linger = self.by_cookie.get(message.cookie)
        if linger is None or linger.target is None or linger.target.osd != osd:
            log.debug("stray_watch_notify", cookie=message.cookie, peer=str(connection.peer_name))
            return
        linger.handle(message)

    def scan(self, skipped: bool) -> None:
        """A new map: note the lingers that have to be registered again; end those whose pool is gone."""
        for linger in list(self.by_cookie.values()):
            # what is registered stays so in a pause
            linger.paused = False
            recalc = self.objecter._calc_target(linger)
            before, linger.interval = linger.interval, self._interval_of(linger)
            if recalc >= Recalc.POOL_DNE:
                if linger.op is None:
                    self._end(linger, recalc)
                # else its request meets the same end
            elif recalc is Recalc.NEED_RESEND or skipped or linger.interval != before:
                self._move(linger)

    def connection_lost(self, session: OSDSession) -> None:
        """A connection was lost, and with it what was registered there: register it again on a new one."""
        for op in session.in_tid_order():
            if not op.repeatable:
                self.superseded(op)
        self.session_closed(session.osd)
        self.resend_moved()

    def session_closed(self, osd: int) -> None:
        """An OSD is gone, or restarted elsewhere: what was registered there is to be registered again."""
        for linger in self._on(osd):
            self._move(linger)

    def superseded(self, op: Op) -> bool:
        """A linger's request is to be sent to another place, or again. False: it has not been sent, and may be.

        A ping only makes sense where its watch is registered.
        """
        assert isinstance(op, LingerOp)
        linger = op.linger
        if op is linger.ping:
            linger.ping = None
        elif not op.attempts:
            return False
        elif op is linger.op:
            linger.op, linger.sent = None, True
            self._moved[linger.cookie] = linger
        self._drop(op)
        return True

    def resend_moved(self) -> None:
        """The plain operations have been sent where the new map says; now the lingers."""
        while self._moved:
            moved, self._moved = self._moved, {}
            for cookie in sorted(moved):
                linger = self.by_cookie.get(cookie)
                if linger is not None:
                    self.send(linger)

    def osds(self) -> set[int]:
        """The OSDs where something is registered, or is about to be."""
        return {linger.target.osd for linger in self.by_cookie.values() if linger.target is not None}

    def shutdown(self) -> None:
        """End all of them."""
        for linger in list(self.by_cookie.values()):
            self.remove(linger)
            linger.failed(-errno.ENOTCONN, "the client was shut down")
        self._stop_pings()
        for op in list(self._requests):
            self.objecter.op_cancel(op, -errno.ECANCELED)
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    # inside

    def _move(self, linger: Linger) -> None:
        if linger.op is None or linger.op.attempts:
            self._moved[linger.cookie] = linger
        # else its request has not been sent, and goes where the plain ones go

    def _on(self, osd: int) -> list[Linger]:
        return [item for item in self.by_cookie.values() if item.target is not None and item.target.osd == osd]

    def _follow(self, linger: Linger, op: LingerOp) -> None:
        linger.target = op.target
        linger.target_epoch = op.target_epoch
        linger.pool_ever_existed = op.pool_ever_existed
        linger.interval = self._interval_of(linger)

    def _interval_of(self, linger: Linger) -> Interval | None:
        targets, target = self.objecter.targets, linger.target
        if targets is None or target is None or target.refused is not None:
            return None
        pool = targets.osdmap.pools[target.pg.pool]
        return (targets.osdmap.pg_to_osds(target.pg), pool.size, pool.min_size)

    def _drop(self, op: LingerOp) -> None:
        """Forget a request without telling anybody; an answer is stray."""
        if op.attempts:
            op.linger.sent = True
        self.objecter._retire(op)
        op.outcome = Outcome(-errno.ECANCELED, 0, (), False)

    def _end(self, linger: Linger, recalc: Recalc) -> None:
        result, detail = -errno.EIO, ""
        if recalc is Recalc.POOL_DNE:
            result, detail = -errno.ENOENT, "its pool does not exist"
        elif recalc is Recalc.POOL_UNSUPPORTED and self.objecter.targets is not None:
            result, detail = -errno.EOPNOTSUPP, self.objecter.targets.unsupported.get(linger.locator.pool, "")
        # its owner's callbacks must not find a map half in use
        self.remove(linger)
        self.objecter._loop.call_soon(linger.failed, result, detail)

    def _registration_answered(self, op: LingerOp, completion: AioCompletion) -> None:
        linger = op.linger
        if linger.op is not op:
            return
        linger.op = None
        linger.sent = linger.sent or op.attempts > 0
        result = completion.get_return_value()
        linger.registered = result >= 0
        linger.answered(op, result)

    # pings

    def _ping_at(self, due_s: float, cookie: int) -> None:
        heapq.heappush(self._ping_order, (due_s, cookie))
        timer = self._ping_timer
        if timer is None or timer.when() > due_s:
            if timer is not None:
                timer.cancel()
            self._ping_timer = self.objecter._loop.call_at(due_s, self._ping_all)

    def _stop_pings(self) -> None:
        self._ping_order.clear()
        if self._ping_timer is not None:
            self._ping_timer.cancel()
            self._ping_timer = None

    def _ping_all(self) -> None:
        """Ping those whose time it is, unless they are on the move, or their last ping is not answered yet."""
        self._ping_timer = None
        now_s, targets, order = self.objecter.now_s(), self.objecter.targets, self._ping_order
        due: list[int] = []
        while order and order[0][0] <= now_s + DUE_S and len(due) < PINGS_AT_ONCE:
            due.append(heapq.heappop(order)[1])
        for cookie in due:
            pings = self._pings.get(cookie)
            if pings is None:
                continue  # it has ended
            heapq.heappush(order, (now_s + pings.interval_s, cookie))
            linger = self.by_cookie[cookie]
            if linger.registered and linger.ping is None and targets is not None and not targets.pause_reads:
                self._ping(linger, pings.make())
        if order:
            self._ping_timer = self.objecter._loop.call_at(order[0][0], self._ping_all)

    def _ping(self, linger: Linger, vector: OpVector) -> None:
        """Straight to where it is registered; neither a pause of writes nor a full cluster holds it back."""
        objecter, target = self.objecter, linger.target
        if target is None or target.osd < 0:
            return
        op = linger.ping = LingerOp(linger, vector, self._ping_answered)
        op.tid = objecter.next_tid()
        op.target, op.target_epoch, op.pool_ever_existed = target, linger.target_epoch, True
        session = objecter._get_session(target.osd)
        session.ops[op.tid] = op
        op.session = session
        objecter._send_op(op, session)

    def _ping_answered(self, op: LingerOp, completion: AioCompletion) -> None:
        linger = op.linger
        if linger.ping is op:
            linger.ping = None
            linger.pinged(op, completion.get_return_value())
