"""New OSD maps, and what they do to the operations in flight; pools that our map does not know.

Each epoch is looked at on its own: an operation whose primary changed, even if it changed back, is sent again, in
the order of submission and with its old tid.

Source: Ceph's Objecter::handle_osd_map, _scan_requests, _check_op_pool_dne.
"""

from __future__ import annotations

import asyncio
import errno
from abc import ABC, abstractmethod
from collections.abc import Callable

import structlog

from ..messenger import Connection
from ..wire.errors import PeerError
from ..wire.intervals import IntervalSet, contains
from ..wire.messages import MOSDMap, SubscribeFlag
from ..wire.osdmap import OSDMap
from ..wire.osdmap_apply import apply_incremental
from ..wire.osdmap_codec import decode_osdmap
from ..wire.osdmap_incremental import decode_incremental
from ..wire.types import SnapContext
from .conf import RadosConf
from .delivery import Delivery
from .errors import NotConnected, TimedOut
from .linger import Lingers
from .monclient import CONTINUOUS, NO_FSID, MonClient, Version
from .session import HOMELESS, Op, OSDSession, Placed
from .target import Recalc, Targets

log = structlog.get_logger(__name__)


class MapHandling(Delivery, ABC):
    """The part of the Objecter that keeps its map."""

    def __init__(self, monclient: MonClient, conf: RadosConf) -> None:
        super().__init__(conf)
        self.monclient = monclient
        self.targets: Targets | None = None
        self.sessions: dict[int, OSDSession] = {}
        self.homeless = OSDSession(HOMELESS)
        self.lingers: Lingers
        self.epoch_barrier = 0
        self._last_tid = 0
        self.on_map: list[Callable[[], None]] = []
        """Called after the operations have been looked at, when a newer map is in use."""
        self._map_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._dne_check: asyncio.Future[Version] | None = None
        self._dne_asked_tid = 0
        self._gap_start = 0
        self._full_map_wanted = False
        """A map could not be read: the next one we ask for is a full one."""
        self._stopped = False

    @abstractmethod
    def _calc_target(self, op: Placed) -> Recalc:
        """Look up the target of an operation or linger in the present map."""

    @abstractmethod
    def _place(self, op: Op, recalc: Recalc) -> None:
        """Put an operation into its session and send it if it may go."""

    @abstractmethod
    def _close_session(self, session: OSDSession) -> None:
        """Close the connection to an OSD."""

    @property
    def osdmap(self) -> OSDMap | None:
        """The map in use; None before the first."""
        return None if self.targets is None else self.targets.osdmap

    @property
    def epoch(self) -> int:
        """Epoch of the map in use; 0 before the first."""
        return 0 if self.targets is None else self.targets.epoch

    def handle_osd_map(self, connection: Connection, message: MOSDMap) -> bool:
        """Go through the epochs of a map message, one by one, and send again what moved. Never consumes it."""
        ours = self.epoch
        cluster = self.monclient.fsid if self.targets is None else self.targets.osdmap.fsid
        if cluster not in (message.fsid, NO_FSID):
            log.warning("osdmap_of_another_cluster", fsid=str(message.fsid))
            return False
        newest = max((*message.fulls, *message.incrementals), default=0)
        unreadable = False
        if newest > ours:
            need_resend: dict[int, Op] = {}
            try:
                self._walk_epochs(newest, message, need_resend)
            except PeerError as problem:
                unreadable = True
                log.warning("osdmap_unreadable", after=self.epoch, peer=str(connection.peer_name), problem=str(problem))
            finally:
                self._resend(need_resend)
        self._map_tail(unreadable)
        if self.epoch > ours:
            for tell in tuple(self.on_map):
                tell()
        return False

    def _walk_epochs(self, newest: int, message: MOSDMap, need_resend: dict[int, Op]) -> None:
        """Use the epochs of a message that are newer than ours. Raises PeerError; what came before is in use then."""
        skipped = False
        epoch = self.epoch + 1
        newest_full = max(message.fulls, default=0)
        if self.targets is None or (self._full_map_wanted and newest_full >= epoch):
            # begin with the newest full map, whatever is between
            if not newest_full:
                return
            epoch, skipped = newest_full, self.targets is not None and newest_full > epoch
        while epoch <= newest:
            osdmap = self._read_map(epoch, message)
            if osdmap is not None:
                self._use_map(osdmap, need_resend, skipped)
                epoch, skipped = epoch + 1, False
                continue
            missing_from = self.epoch + 1
            following = min((full for full in message.fulls if full > epoch), default=0)
            if not following or (epoch >= message.oldest > 0 and self._gap_start != missing_from):
                # the monitor may still have it: ask once, before jumping over it
                self._gap_start = missing_from
                if self.monclient.sub_want("osdmap", missing_from, SubscribeFlag.ONETIME):
                    self.monclient.renew_subs()
                return
            epoch, skipped = following, True

    def _read_map(self, epoch: int, message: MOSDMap) -> OSDMap | None:
        """Our map changed by the message's increment to that epoch, or its full map, or None. Raises PeerError."""
        ours = self.osdmap
        changes = message.incrementals.get(epoch)
        if changes is not None and ours is not None and epoch == ours.epoch + 1:
            osdmap = apply_incremental(ours, decode_incremental(changes))
        elif epoch in message.fulls:
            osdmap = decode_osdmap(message.fulls[epoch])
        else:
            return None
        if osdmap.epoch != epoch or osdmap.fsid != message.fsid:
            raise PeerError(f"the OSD map sent as epoch {epoch} of {message.fsid} is {osdmap.epoch} of {osdmap.fsid}")
        return osdmap

    def _use_map(self, osdmap: OSDMap, need_resend: dict[int, Op], skipped: bool) -> None:
        self._full_map_wanted = False
        self.targets = Targets(osdmap, self.epoch_barrier)
        self.stats.maps += 1
        self._scan_requests(self.homeless, skipped, need_resend)
        closed = []
        for session in list(self.sessions.values()):
            self._scan_requests(session, skipped, need_resend)
            if not osdmap.is_up(session.osd) or osdmap.address_of(session.osd) != session.address:
                for op in session.in_tid_order():
                    need_resend[op.tid] = op
                    op.session = None
                session.ops.clear()
                self._close_session(session)
                closed.append(session.osd)
        if len(self.lingers):
            self.lingers.scan(skipped)
            for osd in closed:
                self.lingers.session_closed(osd)

    def _scan_requests(self, session: OSDSession, skipped: bool, need_resend: dict[int, Op]) -> None:
        assert self.targets is not None
        removed = self.targets.osdmap.new_removed_snaps
        for op in session.in_tid_order():
            if op.session is not session:
                continue  # finished by the callback of one before it
            if removed and op.snapc.snaps:
                op.snapc = _without_removed(op.snapc, removed.get(op.locator.pool, ()))
            recalc = self._calc_target(op)
            if recalc > Recalc.POOL_DNE:
                self._refuse(op, recalc)
                continue
            if recalc is Recalc.POOL_DNE:
                self._check_op_pool_dne(op)
                if op.tid not in session.ops or session.is_homeless:
                    continue
            # a full flag that comes or goes shows as a pause that begins or ends
            if recalc is not Recalc.NO_ACTION or skipped:
                session.ops.pop(op.tid, None)
                op.session = None
                need_resend[op.tid] = op
            elif op.paused and op.after is not None:
                self._loop.call_soon(self._held_back, op)

    def _resend(self, need_resend: dict[int, Op]) -> None:
        for tid in sorted(need_resend):
            op = need_resend[tid]
            if op.session is not None or op.outcome is not None:
                continue  # ended meanwhile
            if not op.repeatable and self.lingers.superseded(op):
                continue
            recalc = self._calc_target(op)
            self._place(op, recalc)
        self.lingers.resend_moved()

    def _refuse(self, op: Op, recalc: Recalc) -> None:
        """End an operation on a pool on which none can be done."""
        if recalc is Recalc.POOL_UNSUPPORTED and self.targets is not None:
            self._fail_soon(op, -errno.EOPNOTSUPP, self.targets.unsupported.get(op.locator.pool, ""))
        else:
            self._fail_soon(op, -errno.EIO)

    def _map_tail(self, unreadable: bool) -> None:
        epoch = self.epoch
        self.monclient.sub_got("osdmap", epoch)
        more_wanted = False
        for wanted, future in self._map_waiters:
            if wanted > epoch:
                more_wanted = True
            elif not future.done():
                future.set_result(None)
        targets = self.targets
        if unreadable:
            if not self._full_map_wanted:  # else the full map was bad as well: not before the next tick
                self._full_map_wanted = True
                self._maybe_request_map()
        elif targets is None or targets.gated or more_wanted or self.homeless.ops:
            self._maybe_request_map()

    def _maybe_request_map(self) -> None:
        """Subscribe to the next epoch; to all that follow, while something is paused or full."""
        targets = self.targets
        continuous = targets is not None and targets.needs_continuous_maps()
        flags = CONTINUOUS if continuous else SubscribeFlag.ONETIME
        start = 0 if targets is None or self._full_map_wanted else targets.epoch + 1
        if self.monclient.sub_want("osdmap", start, flags):
            self.monclient.renew_subs()

    def set_epoch_barrier(self, epoch: int) -> None:
        """Hold everything back until the map is at least this new."""
        if epoch > self.epoch_barrier:
            self.epoch_barrier = epoch
            if self.targets is not None:
                self.targets.set_barrier(epoch)
            if epoch > self.epoch:
                self._maybe_request_map()

    async def wait_for_map(self, epoch: int, timeout_s: float) -> None:
        """Wait until the map is at least this new. Raises TimedOut."""
        if self.epoch >= epoch and self.targets is not None:
            return
        entry: tuple[int, asyncio.Future[None]] = (epoch, self._loop.create_future())
        self._map_waiters.append(entry)
        try:
            self._maybe_request_map()
            async with asyncio.timeout(timeout_s):
                await entry[1]
        except TimeoutError:
            raise TimedOut(
                f"no OSD map of epoch {epoch} within {timeout_s:.3g} s (have {self.epoch}); {TimedOut.remedy}",
                errno=errno.ETIMEDOUT,
            ) from None
        finally:
            if entry in self._map_waiters:
                self._map_waiters.remove(entry)

    async def wait_for_latest_map(self, timeout_s: float) -> None:
        """Ask the monitor for the newest epoch and wait until we have it. Raises TimedOut."""
        deadline = self._loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                newest, _ = await self.monclient.get_version("osdmap")
        except TimeoutError:
            raise TimedOut(
                f"no monitor said within {timeout_s:.3g} s which OSD map is the newest; {TimedOut.remedy}",
                errno=errno.ETIMEDOUT,
            ) from None
        await self.wait_for_map(newest, max(deadline - self._loop.time(), 0.0))

    # pools that don't exist

    def _check_op_pool_dne(self, op: Op) -> None:
        """The pool is not in our map: gone for good, or are we only behind?"""
        if op.pool_ever_existed:
            op.map_dne_bound = self.epoch  # it was there: it has been deleted
        if op.map_dne_bound:
            if self.epoch >= op.map_dne_bound:
                self._fail_soon(op, -errno.ENOENT, "its pool does not exist")
            return
        self._ask_for_newest_epoch()

    def _recheck_pools(self) -> None:
        """Ask about pools that are not in our map, if nobody has, or could."""
        if any(op.target is None and not op.map_dne_bound for op in self.homeless.ops.values()):
            self._ask_for_newest_epoch()

    def _ask_for_newest_epoch(self) -> None:
        """One question at a time; its answer serves the operations that were submitted before it was asked."""
        if self._dne_check is None and not self._stopped:
            self._dne_asked_tid = self._last_tid
            try:
                self._dne_check = self.monclient.get_version("osdmap")
            except NotConnected:
                return  # too many questions to the monitor: asked again at the next tick
            self._dne_check.add_done_callback(self._pool_dne_checked)

    def _pool_dne_checked(self, answer: asyncio.Future[Version]) -> None:
        self._dne_check = None
        if answer.cancelled() or answer.exception() is not None or self._stopped:
            return  # the next map or the operation's time-out decides
        newest = max(answer.result()[0], 1)
        for op in self.homeless.in_tid_order():
            if op.session is not self.homeless or op.target is not None or op.map_dne_bound:
                continue
            if op.tid > self._dne_asked_tid:
                self._ask_for_newest_epoch()
                break
            op.map_dne_bound = newest
            if self.epoch >= newest:
                self._fail_soon(op, -errno.ENOENT, "its pool does not exist")
            else:
                self._maybe_request_map()

    def _fail_map_waiters(self) -> None:
        for _, future in self._map_waiters:
            if not future.done():
                future.set_exception(NotConnected("the client was shut down"))
        self._map_waiters.clear()


def _without_removed(snapc: SnapContext, removed: IntervalSet) -> SnapContext:
    """A snap context without the snapshots that are gone; the OSD need not keep anything for them."""
    if not removed:
        return snapc
    return SnapContext(snapc.seq, tuple(snap for snap in snapc.snaps if not contains(removed, snap)))
