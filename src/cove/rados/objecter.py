"""The Objecter: takes operations, finds their OSD, sends them, and sees to it that each is answered exactly once.

    op_submit → _op_submit_with_budget (throttle, time-out) → _op_submit → _calc_target → _get_session → _send_op
    MOSDOpReply → ms_dispatch → handle_osd_op_reply → _finish_op → _deliver (in submission order, by object)

Lost connections are dealt with here as well (`ms_handle_reset`); what new maps do to operations in flight is in
`maps.py`, throttle, time-outs, cancellation and the order of completions in `delivery.py`.

Source: Ceph's osdc/Objecter; the order of checks and resends is its.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Callable
from typing import Any

import structlog

from ..messenger import Connection, Messenger
from ..wire.auth import AuthError
from ..wire.errors import UsageError
from ..wire.messages import (
    BackoffOp,
    MCommandReply,
    Message,
    MGetPoolStatsReply,
    MOSDBackoff,
    MOSDMap,
    MOSDOp,
    MOSDOpReply,
    MPoolOpReply,
    MStatfsReply,
    MWatchNotify,
)
from ..wire.osd_ops import RequestFlag
from ..wire.types import NOSNAP, EntityType, ObjectLocator, SnapContext
from . import backoff
from .completion import AioCompletion
from .conf import RadosConf
from .errors import NotConnected
from .linger import Lingers
from .maps import MapHandling
from .monclient import MonClient
from .operations import OpVector, fresh_ops
from .osd_commands import OsdCommands
from .replicas import REPLICA_READS, ReplicaReads
from .requests import Requests
from .resubmit import OTHERWISE, answered_otherwise
from .session import HOMELESS, NO_SNAPS, Op, OSDSession, Placed
from .target import ObjectKey, Recalc
from .trace import Stage

log = structlog.get_logger(__name__)

SILENT_S = 20.0
"""An OSD that owes answers and does not react to keep-alives either: then its connection is taken for lost."""
DENIALS_MAX = 8
"""Refused logins at an OSD, one after the other, until operations there fail: some six seconds."""
LINGERS_SILENT_S = 10.0
"""The same as SILENT_S, for an OSD with watches: they must be registered elsewhere within their time-out."""

_RETRY = int(RequestFlag.RETRY)


class Objecter(MapHandling):
    """The operations in flight of one client."""

    def __init__(self, messenger: Messenger, monclient: MonClient, conf: RadosConf) -> None:
        super().__init__(monclient, conf)
        self.messenger = messenger
        self._tids = itertools.count(1)
        self.mon_requests = Requests("the monitor", monclient.send_mon_message, self._tids)
        monclient.on_new_identity.append(self._new_identity)
        self.commands = OsdCommands(self)
        self.on_map.append(self.commands.map_changed)
        self.lingers = Lingers(self)
        self._by_connection: dict[Connection, OSDSession] = {}
        self.replica_reads = ReplicaReads(conf.crush_location)
        self._tick_timer: asyncio.TimerHandle | None = None
        self._handlers: dict[type[Message], Callable[[Connection, Any], bool]] = {
            MOSDOpReply: self.handle_osd_op_reply,
            MOSDMap: self.handle_osd_map,
            MOSDBackoff: self.handle_osd_backoff,
            MWatchNotify: self.handle_watch_notify,
            MCommandReply: self._handle_command_reply,
            MPoolOpReply: self._handle_mon_reply,
            MStatfsReply: self._handle_mon_reply,
            MGetPoolStatsReply: self._handle_mon_reply,
        }

    # life

    @property
    def stopped(self) -> bool:
        """Whether it has been shut down."""
        return self._stopped

    def start(self) -> None:
        """Ask for the first map and begin to tick."""
        self._maybe_request_map()
        self._tick_timer = self._loop.call_later(self.conf.tick_interval_s, self._tick)

    def now_s(self) -> float:
        """The time by the event loop's clock."""
        return self._loop.time()

    def shutdown(self) -> None:
        """Fail what is in flight with ECANCELED (writes that were sent: OutcomeUnknown) and close all sessions."""
        self._stopped = True
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        self.lingers.shutdown()
        for op in self.live_ops():
            self.op_cancel(op, -errno.ECANCELED)
        for osd in list(self.sessions):
            self._close_session(self.sessions[osd])
        self.mon_requests.cancel_all()
        self.commands.cancel_all()
        self._fail_map_waiters()
        self.wheel.close()

    # submit

    def prepare_mutate_op(
        self,
        key: ObjectKey,
        locator: ObjectLocator,
        vector: OpVector,
        completion: AioCompletion,
        snapc: SnapContext = NO_SNAPS,
    ) -> Op:
        """A request for a vector that writes; nothing is sent yet."""
        return Op(self, key, locator, vector, completion, NOSNAP, snapc)

    def prepare_read_op(
        self,
        key: ObjectKey,
        locator: ObjectLocator,
        vector: OpVector,
        completion: AioCompletion,
        snapid: int = NOSNAP,
    ) -> Op:
        """A request for a vector that only reads; nothing is sent yet."""
        return Op(self, key, locator, vector, completion, snapid)

    def op_submit(self, op: Op, timeout_s: float | None = None) -> None:
        """Submit. `timeout_s`: 0 is never, None the configured one. The completion tells everything else.

        Raises NotConnected after shutdown, Overloaded when too many operations wait for the throttle.
        """
        if self._stopped:
            raise NotConnected("the client is shut down; open a new one")
        self.stats.submitted += 1
        self._op_submit_with_budget(op, self.conf.osd_op_timeout_s if timeout_s is None else timeout_s)

    def _op_submit_with_budget(self, op: Op, timeout_s: float) -> None:
        if self._admit(op, timeout_s):
            self._op_submit(op)
        # else the throttle calls op.granted(), which goes on from here

    def _op_submit(self, op: Op) -> None:
        if op.trace is not None:
            op.trace.mark(Stage.ADMITTED)
        op.tid = self._last_tid = next(self._tids)
        try:
            recalc = self._calc_target(op)
        except UnicodeEncodeError as problem:
            self._fail_soon(op, -errno.EINVAL, f"a name that is no UTF-8: {problem}")
            return
        if op.trace is not None:
            op.trace.targeted(op)
        self._place(op, recalc)

    def _place(self, op: Op, recalc: Recalc) -> None:
        """Put an operation into the session of its target, and send it unless something holds it back."""
        if recalc > Recalc.POOL_DNE:
            self._refuse(op, recalc)
            return
        target = op.target
        session = self._get_session(HOMELESS if target is None else target.osd)
        session.ops[op.tid] = op
        op.session = session
        if op.paused or session.is_homeless:
            if op.after is not None:
                self._loop.call_soon(self._held_back, op)
            self._maybe_request_map()
            if recalc is Recalc.POOL_DNE:
                self._check_op_pool_dne(op)
        else:
            self._send_op(op, session)

    def _calc_target(self, op: Placed) -> Recalc:
        targets = self.targets
        if targets is None:
            return Recalc.NO_ACTION
        op.target_epoch = targets.epoch
        target = targets.cache.get(op.key)
        if target is None:
            target = targets.locate(op.key, op.locator)
            if target is None:
                op.target = None
                return Recalc.POOL_DNE
        op.pool_ever_existed = True
        if target.refused is not None:
            return target.refused
        was_paused = op.paused
        if targets.gated:
            op.paused = targets.is_paused(op.flags, op.locator.pool, self.epoch_barrier)
        else:
            op.paused = False
        old = op.target
        op.target = target
        if op.flags & REPLICA_READS:
            target = op.target = self.replica_reads.target_of(targets.osdmap, target, old, op.flags)
        if old is target:
            changed = False
        else:
            changed = (
                old is None
                or old.pg != target.pg
                or old.osd != target.osd
                or old.shard != target.shard
                or (old.pg_num != target.pg_num and target.was_split_or_merged(old))
                or (target.force_resend == targets.epoch and old.force_resend != target.force_resend)
                or old.acting != target.acting
            )
        return Recalc.NEED_RESEND if changed or (was_paused and not op.paused) else Recalc.NO_ACTION

    def _get_session(self, osd: int) -> OSDSession:
        session = self.sessions.get(osd)
        if session is not None:
            if session.connection is None and session.reopen_timer is None:
                self._open_session(session)
            return session
        if osd == HOMELESS:
            return self.homeless
        assert self.targets is not None
        session = OSDSession(osd, self.targets.osdmap.address_of(osd))
        self.sessions[osd] = session
        self._open_session(session)
        return session

    def _send_op(self, op: Op, session: OSDSession) -> None:
        connection, target = session.up, op.target
        if connection is None or target is None:
            return  # sent when the connection is up
        if session.backoffs and backoff.holds(session, op):
            return  # sent when the OSD wants it
        attempt = op.attempts
        if attempt:
            flags, ops = op.flags | _RETRY, fresh_ops(op.ops)
            self.stats.resent += 1
        else:
            flags, ops = op.flags, op.ops
        request = MOSDOp(
            tid=op.tid,
            pg=target.pg,
            shard=target.shard,
            raw_hash=target.raw_hash,
            epoch=op.target_epoch,
            flags=flags,
            oid=op.key[1],
            locator=op.locator,
            ops=ops,
            snapid=op.snapid,
            snapc=op.snapc,
            mtime_ns=op.mtime_ns,
            retry_attempt=attempt,
        )
        try:
            connection.send_message(request)
        except UsageError as problem:
            self._fail_soon(op, -errno.EINVAL, str(problem))
            return
        op.attempts = attempt + 1
        self.stats.sent += 1
        if op.trace is not None:
            op.trace.sent(op)

    # dispatch

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Consume answers to our requests; look at maps and let others see them, too."""
        handler = self._handlers.get(type(message))
        return False if handler is None else handler(connection, message)

    def handle_osd_op_reply(self, connection: Connection, message: MOSDOpReply) -> bool:
        """Match an answer with its operation by connection, tid and attempt; anything else is stray."""
        session = self._by_connection.get(connection)
        op = None if session is None else session.ops.get(message.tid)
        if session is None or op is None or (message.retry_attempt >= 0 and message.retry_attempt != op.attempts - 1):
            self.stats.stray += 1
            log.debug("stray_reply", tid=message.tid, peer=str(connection.peer_name))
            return True
        session.failures = 0
        if op.trace is not None:
            op.trace.mark(Stage.ANSWERED)
        if message.redirect is None and message.result not in OTHERWISE:
            self._finish_op(op, message.result, message.user_version, message.ops)
        else:
            answered_otherwise(self, op, message)
        return True

    def handle_watch_notify(self, connection: Connection, message: MWatchNotify) -> bool:
        """Something for a watch, or for a notify under way."""
        session = self._by_connection.get(connection)
        if session is not None:
            self.lingers.handle_watch_notify(session.osd, connection, message)
        return True

    def handle_osd_backoff(self, connection: Connection, message: MOSDBackoff) -> bool:
        """Hold operations back as their OSD wishes, or send them again when it no longer does."""
        session = self._by_connection.get(connection)
        if session is None:
            return True
        if message.op == BackoffOp.BLOCK:
            acknowledgement = backoff.block(session, message)
            if acknowledgement is not None:
                connection.send_message(acknowledgement)
        elif message.op == BackoffOp.UNBLOCK:
            for op in backoff.unblock(session, message):
                if not op.paused:
                    self._send_op(op, session)
        return True

    def _handle_mon_reply(self, connection: Connection, message: Message) -> bool:
        return connection is self.monclient.connection and self.mon_requests.handle_reply(message)

    # for commands (osd_commands.py)

    def _handle_command_reply(self, connection: Connection, message: MCommandReply) -> bool:
        if connection.peer_type != EntityType.OSD:
            return False
        self.commands.handle_reply(self._by_connection.get(connection), message)
        return True

    def configure(self, conf: RadosConf) -> None:
        """Other time-outs, for the operations to come, and limits, also for those that wait."""
        self.conf = conf
        self.throttle.set_limits(conf.inflight_ops_max, conf.inflight_bytes_max)

    def next_tid(self) -> int:
        """A number for a request; all requests of one client share one counter."""
        return next(self._tids)

    def session_of(self, osd: int) -> OSDSession:
        """The session with an OSD that is up; it is opened if need be."""
        return self._get_session(osd)

    def request_map(self) -> None:
        """Ask for the next epoch of the map."""
        self._maybe_request_map()

    # connections

    def _open_session(self, session: OSDSession) -> None:
        """Connect; what is in flight there is sent (again) when the connection is up."""
        session.stop_timer()
        connection = session.connection = self.messenger.connect_to(session.address, EntityType.OSD)
        self._by_connection[connection] = session

    def _close_session(self, session: OSDSession) -> None:
        session.stop_timer()
        self._drop_connection(session)
        self.sessions.pop(session.osd, None)

    def _drop_connection(self, session: OSDSession) -> None:
        connection = session.disconnect()
        if connection is not None:
            self._by_connection.pop(connection, None)
            connection.mark_down()

    def _reopen_later(self, session: OSDSession) -> None:
        targets = self.targets
        self._maybe_request_map()
        if self._stopped or targets is None or not targets.osdmap.is_up(session.osd):
            return  # the map that says so has moved the operations, or the next one will
        delay_s = session.backoff_s()
        session.failures += 1
        if not session.ops and not self.commands.wants(session.osd):
            return  # the next operation opens it
        if delay_s:
            session.reopen_timer = self._loop.call_later(delay_s, self._open_session, session)
        else:
            self._open_session(session)

    def ms_handle_connect(self, connection: Connection) -> None:
        """A new session. With a monitor: ask again what is open. (MonClient comes first and has its session.)
        With an OSD: send (again) what is in flight there, in the order of submission."""
        if connection is self.monclient.connection:
            self.mon_requests.resend_all()
        session = self._by_connection.get(connection)
        if session is not None:
            session.up = connection
            for op in session.in_tid_order():
                if op.trace is not None:
                    op.trace.mark(Stage.CONNECTED)
                if not op.paused:
                    self._send_op(op, session)
            self.commands.session_up(session)

    def ms_handle_reset(self, connection: Connection) -> None:
        """An OSD's connection is lost: connect again and send again, same tids, next attempt."""
        session = self._by_connection.pop(connection, None)
        if session is not None:
            session.disconnect()
            self._reopen_later(session)
            self.lingers.connection_lost(session)

    def ms_handle_refused(self, connection: Connection) -> None:
        """Nobody listens at an OSD's address: nothing was delivered; try again, or wait for a map."""
        session = self._by_connection.pop(connection, None)
        if session is None:
            return
        session.disconnect()
        session.failures = max(session.failures, 1)
        if isinstance(connection.refused_because, AuthError) and session.failures >= DENIALS_MAX:
            self._denied(session, connection.refused_because)
        self._reopen_later(session)

    def _denied(self, session: OSDSession, problem: AuthError) -> None:
        """An OSD does not accept us, not with new tickets either: those who wait for it should know."""
        for op in session.in_tid_order():
            self._fail_soon(op, -errno.EACCES, f"osd.{session.osd} refuses the connection: {problem}")
        self.commands.refused(session, problem)

    def _new_identity(self) -> None:
        """The OSDs will not recognize what we have sent if it is sent again: its outcome can't be known."""
        for op in self.live_ops():
            if op.outcome is None and op.is_write and op.may_have_happened:
                self.op_cancel(op, -errno.ECANCELED)

    # tick

    def _tick(self) -> None:
        """Old operations may mean that we missed a map, or that their OSD can't be reached any more."""
        self._tick_timer = self._loop.call_later(self.conf.tick_interval_s, self._tick)
        now_s, with_lingers = self._loop.time(), self.lingers.osds()
        for session in list(self.sessions.values()):
            connection, has_lingers = session.up, session.osd in with_lingers
            if connection is None or not (session.ops or has_lingers or self.commands.wants(session.osd)):
                continue
            silent_s = LINGERS_SILENT_S if has_lingers else SILENT_S
            if session.keepalive.is_lost(connection, now_s, silent_s):
                log.warning("osd_is_silent", osd=session.osd, address=session.address, operations=len(session.ops))
                self._drop_connection(session)
                self._reopen_later(session)
                self.lingers.connection_lost(session)
            else:
                session.keepalive.ask(connection, now_s)
        self._recheck_pools()
        waits = self.homeless.ops or with_lingers or any(session.ops for session in self.sessions.values())
        if waits or self._full_map_wanted:
            self._maybe_request_map()
