"""The OSD of the store: takes MOSDOps, refuses or executes them, and answers when what they did is durable.

    ms_dispatch → early refusals → dup? → read: at once, or in a thread if it is large
                                        → write: interpreter → layer (`state.py`) → group commit (`pipeline.py`) → reply

Everything is executed in the order in which it arrives. A read that sees changes which are not durable yet is
answered after they are.

Snapshots are not offered: a write with a snap context that has snapshots, and a read at a snapshot, get -95.

Source: Ceph's PrimaryLogPG::do_op (order of the checks), messages/MOSDOpReply.h (versions in a reply).
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from ..messenger import Connection, Dispatcher
from ..wire.errors import WireError
from ..wire.hashing import stable_mod
from ..wire.messages import Message, MOSDOp, MOSDOpReply
from ..wire.osd_ops import RequestFlag
from ..wire.osdmap import OSDMap
from ..wire.types import NOSNAP, EVersion
from .context import ObjectContext
from .dups import Answer, Duplicates
from .errors import OpError
from .info import PgInfo
from .interpreter import UnknownMethod, access_of, run_vector, shape_reply
from .job import Job, bytes_wanted, kept_operations, requester_of
from .keys import ObjectName, full_object_key, is_shortened, object_key, to_bytes
from .layer import Layer
from .listing import list_page
from .pipeline import RETRY, CommitPipeline
from .state import LayeredObject, LogWriter, State
from .stats import StoreStats

log = structlog.get_logger(__name__)

NAME_LENGTH_MAX = 2048
NSPACE_LENGTH_MAX = 256
INPUT_MAX = 90 << 20
"""Bytes of all inputs of a request. Ceph: osd_max_write_size."""
READ_ON_LOOP_MAX = 128 << 10
"""Bytes that a read may ask for without being sent to a thread."""
BACKLOG_MAX = 65536
STARTS_PER_TURN = 64
"""Requests taken from the backlog before the rest of the event loop has its turn."""
READS_IN_THREAD_MAX = 32
_NO_VERSION = EVersion(0, 0)
_DONE_FLAGS = int(RequestFlag.ACK | RequestFlag.ONDISK)
_STATE_FLAGS = int(RequestFlag.ACK | RequestFlag.ONNVRAM | RequestFlag.ONDISK)


class Osd(Dispatcher):
    """Executes requests on the event loop."""

    def __init__(
        self,
        state: State,
        pipeline: CommitPipeline,
        stats: StoreStats,
        osdmap: Callable[[], OSDMap],
        share_map: Callable[[Connection], None],
    ) -> None:
        self._state = state
        self._pipeline = pipeline
        self._stats = stats
        self._map = osdmap
        self._share_map = share_map
        self._dups = Duplicates(state.engine.meta_items(Duplicates.PREFIX))
        self._backlog: deque[Job] = deque()
        # One thread: each look-up gives up the interpreter lock, and two that take turns at it need four times as long
        # as one after the other. What is not in memory is fetched ahead (`mapping.py`), so the disk has enough to do.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="cove-store-read")
        self._reads: set[asyncio.Future[int]] = set()
        self._loop = asyncio.get_running_loop()
        self._working_off = False
        self._small_reads = 0
        pipeline.on_room = self._work_off
        pipeline.on_lost.append(self._lost)

    async def stop(self) -> None:
        """Wait for the reads in the thread."""
        if self._reads:
            await asyncio.wait(self._reads, timeout=30.0)
        self._reader.shutdown(wait=False, cancel_futures=True)

    # taking requests

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Execute a request, or let it wait its turn."""
        if not isinstance(message, MOSDOp):
            return False
        job = Job(connection, message)
        if self._backlog or self._is_full:
            if len(self._backlog) >= BACKLOG_MAX:
                log.error("backlog_full", peer=str(connection.peer_name), requests=BACKLOG_MAX)
                connection.mark_down()
                return True
            self._backlog.append(job)
            self._pipeline.schedule()
            return True
        self._start(job)
        return True

    @property
    def _is_full(self) -> bool:
        """Whether requests have to wait. A read in a thread holds a snapshot, of which LMDB has so many."""
        return self._pipeline.is_full or len(self._reads) >= READS_IN_THREAD_MAX

    def _work_off(self) -> None:
        if not self._working_off:
            self._work_off_some()

    def _work_off_some(self) -> None:
        for _ in range(STARTS_PER_TURN):
            if not self._backlog or self._is_full:
                self._working_off = False
                return
            self._start(self._backlog.popleft())
        self._working_off = True
        self._loop.call_soon(self._work_off_some)

    def _lost(self) -> None:
        self._dups.reload(self._state.engine.meta_items(Duplicates.PREFIX))

    def _start(self, job: Job) -> None:
        if not job.connection.is_connected:
            return
        try:
            self._execute(job)
        except Exception:
            # a mistake of ours, or a page that can't be read: this request fails, the others go on
            log.exception("request_failed", oid=job.message.oid, ops=[op.name for op in job.message.ops])
            self._refuse(job, -errno.EIO)

    def _execute(self, job: Job) -> None:
        message = job.message
        osdmap = self._map()
        job.epoch = osdmap.epoch
        pool = osdmap.pools.get(message.pg.pool)
        if pool is None or message.pg.seed >= pool.pg_num:
            # the client learns from the newer map where to send it, or that there is no such pool any more
            self._share_map(job.connection)
            return
        try:
            job.access = access_of(message.ops)
        except UnknownMethod:
            self._refuse(job, -errno.EOPNOTSUPP)
            return
        except WireError:
            self._refuse(job, -errno.EINVAL)
            return
        if job.access.lists:
            self._list(job)
            return
        if message.pg.seed != stable_mod(message.raw_hash, pool.pg_num):
            self._share_map(job.connection)
            return
        code = self._early_code(job)
        if code:
            self._refuse(job, code)
            return
        locator = message.locator
        job.key = object_key(message.pg.pool, message.raw_hash, locator.nspace, locator.key, message.oid)
        if job.access.writes:
            self._write(job)
        else:
            self._read(job)

    def _early_code(self, job: Job) -> int:
        """The errno of a request that is refused before anything runs; 0 if it may go on."""
        message, locator = job.message, job.message.locator
        if len(message.oid) > 256 or locator.key or locator.nspace:
            if max(len(to_bytes(message.oid)), len(to_bytes(locator.key))) > NAME_LENGTH_MAX:
                return -errno.ENAMETOOLONG
            if len(to_bytes(locator.nspace)) > NSPACE_LENGTH_MAX:
                return -errno.ENAMETOOLONG
        if not message.oid:
            return -errno.EINVAL
        if job.access.writes and message.snapid != NOSNAP:
            return -errno.EINVAL
        if job.access.input_bytes > INPUT_MAX:
            return -errno.EMSGSIZE
        if message.snapid != NOSNAP:
            return -errno.EOPNOTSUPP  # snapshots: here the clone that serves the id would be looked up
        if job.access.writes:
            if message.snapc.snaps:
                return -errno.EOPNOTSUPP if message.snapc.is_valid() else -errno.EINVAL
            if self._pipeline.failed:
                return self._pipeline.failed
        return 0

    # listing

    def _list(self, job: Job) -> None:
        message = job.message
        self._stats.operations += 1
        pool = self._map().pools[message.pg.pool]
        result = 0
        for op in message.ops:
            op.rval, op.outdata = 0, b""
        try:
            for op in message.ops:
                if not op.is_pg_op():
                    raise OpError(errno.EINVAL)
                result = list_page(self._state.engine, pool, message.pg, message.locator, message.snapid, op)
        except OpError as error:
            result = error.code
        except WireError:
            result = -errno.EINVAL
        info = self._state.pg(message.pg.pool, message.pg.seed)
        version = EVersion(job.epoch, info.last_version)
        self._reply(job, result, version, version, info.last_user_version)

    # reading

    def _read(self, job: Job) -> None:
        state = self._state
        info = state.info(job.key)
        pending = state.pending_layer(job.key)
        if info is None:
            if pending is None:
                self._refuse(job, -errno.ENOENT)
            else:
                self._after(pending, job, partial(self._refuse, job, -errno.ENOENT))
            return
        self._stats.operations += 1
        if pending is None and bytes_wanted(job.message, info.size) > READ_ON_LOOP_MAX:
            self._read_in_thread(job)
            return
        self._small_reads += 1
        if not self._small_reads % 1024:
            state.engine.mapping.trim()
        context = self._context(job, state.object(job.key))
        result = run_vector(context, job.message.ops)
        if pending is None:
            self._answer_read(job, result, info.user_version)
        else:
            self._after(pending, job, partial(self._answer_read, job, result, info.user_version))

    def _read_in_thread(self, job: Job) -> None:
        info = self._state.info(job.key)
        assert info is not None
        # the transaction begins now, so that the read does not see what is written after it
        stored, txn = self._state.durable_object(info)
        context = self._context(job, stored)

        def work() -> int:
            try:
                return run_vector(context, job.message.ops)
            finally:
                txn.abort()
                self._state.engine.mapping.trim()

        def finished(future: asyncio.Future[int]) -> None:
            self._reads.discard(future)
            if future.cancelled():
                return
            error = future.exception()
            if error is not None:
                log.error("read_failed", oid=job.message.oid, exc_info=error)
                self._answer_read(job, -errno.EIO, 0)
            else:
                self._answer_read(job, future.result(), info.user_version)
            self._work_off()

        future = self._loop.run_in_executor(self._reader, work)
        self._reads.add(future)
        future.add_done_callback(finished)

    def _answer_read(self, job: Job, result: int, user_version: int) -> None:
        if result >= 0:
            self._reply(job, result, EVersion(0, user_version), _NO_VERSION, user_version)
        elif result == -errno.ENOENT:
            pg = job.message.pg
            info = self._state.pg(pg.pool, pg.seed)
            self._reply(job, result, EVersion(job.epoch, info.last_version), _NO_VERSION, info.last_user_version)
        else:
            self._reply(job, result, _NO_VERSION, _NO_VERSION, 0)

    def _after(self, layer: Layer, job: Job, answer: Callable[[], None]) -> None:
        """Answer when the layer is durable. If it is lost, so is what was read: execute again."""

        def done(code: int) -> None:
            if code == 0:
                answer()
            else:
                self._start(job)

        layer.done.append(done)
        if layer is self._state.layers[-1]:
            self._pipeline.schedule()

    # writing

    def _write(self, job: Job) -> None:
        message, state = job.message, self._state
        request_id = job.request_id
        known = self._dups.find(request_id)
        if known is not None:
            self._duplicate(job, known)
            return
        self._stats.operations += 1
        pending = state.pending_layer(job.key)
        stored = state.object(job.key)
        before = stored.info
        context = self._context(job, stored)
        result = run_vector(context, message.ops)
        changed = bool(context.log)
        result = shape_reply(message.ops, result, changed=changed, flags=message.flags)
        if result >= 0 and changed and not self._pipeline.space.allows(context, message.flags):
            self._refuse(job, -errno.ENOSPC)
            return
        pg = state.pg(message.pg.pool, message.pg.seed)
        pg.last_version += 1
        epoch = job.epoch
        replay = EVersion(epoch, pg.last_version)
        layer = state.layers[-1]
        user_version = before.user_version if before is not None else 0
        if result < 0 or not changed:
            bad_replay, user_version = self._versions_unchanged(result, user_version, replay, pg)
            kept = kept_operations(message, result)
            self._dups.record(layer, request_id, Answer(result, epoch, pg.last_version, 0, kept))
            layer.dirty_pgs.add(message.pg)
            if layer.must_commit:
                self._pipeline.schedule()
            answer = partial(self._reply, job, result, bad_replay, replay, user_version)
            if pending is None:
                answer()
            else:
                self._after(pending, job, answer)
            return
        full_key = self._full_key(job) if before is None else before.full_key
        writer = LogWriter(state, stored, full_key)
        try:
            after = writer.apply(context.log)
        except BaseException:
            self._pipeline.abandon()  # the layer holds half a vector now: it must never be committed
            raise
        user_version = max(pg.last_user_version, user_version) + 1
        user_version = max(user_version, pg.last_version)
        pg.last_user_version = user_version
        if after is not None:
            after.user_version = user_version
            after.version, after.epoch = pg.last_version, epoch
            if message.mtime_ns:
                after.mtime_ns = message.mtime_ns
            after.snap_seq = max(after.snap_seq, message.snapc.seq)
        layer.objects[job.key] = after
        layer.operations += 1
        layer.dirty_pgs.add(message.pg)
        kept = kept_operations(message, result)
        self._dups.record(layer, request_id, Answer(result, epoch, pg.last_version, user_version, kept))
        self._stats.writes += 1
        self._stats.bytes_written += writer.written
        answer = partial(self._reply, job, result, EVersion(epoch, user_version), replay, user_version)
        self._after_or_fail(layer, job, answer)
        self._pipeline.schedule()

    @staticmethod
    def _versions_unchanged(result: int, user_version: int, replay: EVersion, pg: PgInfo) -> tuple[EVersion, int]:
        """Bad replay version and user version of a write that failed or changed nothing."""
        if result == -errno.ENOENT:
            return replay, pg.last_user_version
        if result < 0:
            return EVersion(replay.epoch, user_version), user_version
        return EVersion(replay.epoch, user_version or replay.version), user_version

    def _after_or_fail(self, layer: Layer, job: Job, answer: Callable[[], None]) -> None:
        """Answer when the layer is durable; with the error if its commit fails."""

        def done(code: int) -> None:
            if code == 0:
                answer()
            elif code == RETRY:
                self._start(job)
            else:
                for op in job.message.ops:
                    op.outdata = b""
                self._reply(job, code, _NO_VERSION, _NO_VERSION, 0)

        layer.done.append(done)

    def _duplicate(self, job: Job, known: Answer) -> None:
        """Answer as the first time, but not before that run is durable."""
        self._stats.duplicates += 1
        replay = EVersion(known.epoch, known.version)
        for op in job.message.ops:
            op.rval, op.outdata = 0, b""
        for op, (rval, output) in zip(job.message.ops, known.operations, strict=False):
            op.rval, op.outdata = rval, output

        def answer() -> None:
            bad_replay = EVersion(known.epoch, known.user_version or known.version)
            self._reply(job, known.result, bad_replay, replay, known.user_version, early=True)

        pending = self._state.pending_layer(job.key)
        if pending is None:
            answer()
        else:
            # if that layer is lost, it need not be the one of the first run: look again
            self._after(pending, job, answer)

    def _full_key(self, job: Job) -> bytes:
        """The whole sort key if the one in the table had to be cut, else nothing."""
        message, locator = job.message, job.message.locator
        name = ObjectName(to_bytes(locator.nspace), to_bytes(locator.key), to_bytes(message.oid))
        full_key = full_object_key(message.pg.pool, message.raw_hash, name)
        return full_key if is_shortened(full_key) else b""

    # common

    def _context(self, job: Job, stored: LayeredObject) -> ObjectContext:
        message = job.message
        return ObjectContext(
            stored,
            now_ns=time.time_ns(),
            mtime_ns=message.mtime_ns,
            requester=requester_of(job.connection.peer_name),
            snapc=message.snapc,
        )

    def _refuse(self, job: Job, code: int) -> None:
        """An early refusal: no versions, and nothing of any operation."""
        for op in job.message.ops:
            op.rval, op.outdata = 0, b""
        self._reply(job, code, _NO_VERSION, _NO_VERSION, 0, early=True)

    def _reply(
        self,
        job: Job,
        result: int,
        bad_replay: EVersion,
        replay: EVersion,
        user_version: int,
        *,
        early: bool = False,
    ) -> None:
        message = job.message
        if not job.connection.is_connected:
            return
        flags = message.flags & ~_STATE_FLAGS
        flags |= message.flags & _DONE_FLAGS if early else _DONE_FLAGS
        for op in message.ops:
            self._stats.bytes_read += len(op.outdata)
        job.connection.send_message(
            MOSDOpReply(
                tid=message.tid,
                oid=message.oid,
                pg=message.pg,
                flags=flags,
                result=result,
                epoch=job.epoch,
                ops=message.ops,
                retry_attempt=message.retry_attempt,
                bad_replay_version=bad_replay,
                replay_version=replay,
                user_version=user_version,
            )
        )
