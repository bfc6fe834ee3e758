"""IoCtxBase: an open pool with its settings (namespace, locator key, snapshots), and how operations are submitted.

`aio_operate` is the way that every operation goes; what `ioctx.py` puts together is convenience on top of it. It
never waits: what the throttle does not let through yet is queued. `await ioctx.operate(...)` is
`await ioctx.aio_operate(...)`.

Write data is passed on as the caller's own buffer (see operations.py): it must not change until the completion.

Source: Ceph's librados IoCtx and its IoCtxImpl.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..wire.encoding import encode_text
from ..wire.errors import UsageError
from ..wire.osd_ops import RequestFlag
from ..wire.types import ALL_NSPACES, NOSNAP, SNAPDIR, ObjectLocator, SnapContext
from .completion import AioCompletion, Callback
from .errors import InvalidArgument, NotConnected, TimedOut, make_error
from .operations import OP_BYTES_MAX, OpVector
from .results import OpResult
from .session import NO_SNAPS

if TYPE_CHECKING:
    from .client import Rados
    from .objecter import Objecter

_FULL_TRY = int(RequestFlag.FULL_TRY)


class IoCtxBase:
    """The state of an io context, and its operations in their general form."""

    def __init__(self, cluster: Rados, pool: str | int) -> None:
        """`pool` by name or number; it is looked up when the context is opened."""
        self.cluster = cluster
        self.pool_name = pool if isinstance(pool, str) else ""
        self.pool_id = pool if isinstance(pool, int) else -1
        self._objecter: Objecter | None = None
        self._nspace = ""
        self._locator_key = ""
        self._locator = ObjectLocator(-1)
        self._snap_read = NOSNAP
        self._snapc = NO_SNAPS
        self._extra_flags = 0
        self._last_version = 0
        self._write_seq = 0
        self._writes: dict[int, AioCompletion] = {}
        self._flush_waiters: list[tuple[int, asyncio.Future[None]]] = []

    # opening

    async def _open(self) -> Self:
        if self._objecter is None:
            if self.pool_name:
                self.pool_id = await self.cluster.pool_lookup(self.pool_name)
            else:
                self.pool_name = await self.cluster.pool_reverse_lookup(self.pool_id)
            self._objecter = self.cluster.objecter
            self._relocate()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """No more operations through this context; those in flight go on. `aio_flush` first to be sure of writes:
        the client's `shutdown` gives up what is still in flight."""
        self._objecter = None

    def duplicate(self) -> Self:
        """Another context on the same pool with the same settings and a write queue of its own."""
        other = type(self)(self.cluster, self.pool_name)
        other.pool_id, other._objecter = self.pool_id, self._objecter
        other._nspace, other._locator_key, other._locator = self._nspace, self._locator_key, self._locator
        other._snap_read, other._snapc, other._extra_flags = self._snap_read, self._snapc, self._extra_flags
        return other

    # settings

    def _relocate(self) -> None:
        self._locator = ObjectLocator(self.pool_id, self._locator_key, self._nspace)

    @property
    def namespace(self) -> str:
        """The namespace in which objects are looked for; "" is the default one."""
        return self._nspace

    def set_namespace(self, nspace: str) -> None:
        """Look for objects in that namespace from now on. Raises InvalidArgument."""
        try:
            size = len(encode_text(nspace))
        except UsageError as problem:
            raise InvalidArgument(f"namespace: {problem}") from None
        if nspace == ALL_NSPACES or size > 256:
            raise InvalidArgument(f"namespace {nspace!r}: must have at most 256 bytes, and not be the byte 1")
        self._nspace = nspace
        self._relocate()

    @property
    def locator_key(self) -> str:
        """What is hashed instead of the object's name; "" for the name itself."""
        return self._locator_key

    def set_locator_key(self, key: str) -> None:
        """Place objects by this key. It becomes part of their identity: they are not found without it."""
        self._locator_key = key
        self._relocate()

    def set_location(self, nspace: str, locator_key: str) -> None:
        """Both at once, and unchecked: what is no namespace is refused by the OSD, operation by operation."""
        self._nspace, self._locator_key = nspace, locator_key
        self._relocate()

    @property
    def locator(self) -> ObjectLocator:
        """Where objects are looked for: pool, locator key, namespace. Names the source of `WriteOp.copy_from`."""
        return self._locator

    @property
    def snap_read(self) -> int:
        """The snapshot id that is read at; NOSNAP is the head."""
        return self._snap_read

    def snap_set_read(self, snapid: int | None) -> None:
        """Read at a snapshot from now on (None: the head). Writes are refused with ReadOnly meanwhile.

        An object that did not exist then is not found; an id newer than an object's last change reads its head.
        Of a pool's snapshot, `lookup_snap(name).id` is the id. Raises InvalidArgument for what is no id.
        """
        if snapid is not None and not 0 <= snapid <= SNAPDIR:
            raise InvalidArgument(f"snapid={snapid}: give the id of a snapshot, or None for the head")
        self._snap_read = NOSNAP if snapid is None else snapid

    def set_self_managed_snap_write_ctx(self, seq: int, snaps: Sequence[int]) -> None:
        """The snapshots that writes preserve: newest id, and the existing ids in descending order.

        Raises InvalidArgument when they are not descending, newer than `seq`, or no ids.
        """
        snapc = SnapContext(seq, tuple(snaps))
        if not (snapc.is_valid() and 0 <= seq <= SNAPDIR and (not snaps or snaps[-1] >= 0)):
            raise InvalidArgument(
                f"snapshot context seq={seq} snaps={list(snaps)}: ids must descend, and none may be newer than seq"
            )
        self._snapc = snapc

    def set_osdmap_full_try(self, enabled: bool = True) -> None:
        """What writes do while pool or cluster is full: wait until it no longer is (False, as a context begins), or
        fail at once with NoSpace (True), except those that free space, which are done."""
        if enabled:
            self._extra_flags |= _FULL_TRY
        else:
            self._extra_flags &= ~_FULL_TRY

    def get_last_version(self) -> int:
        """The object version after the last operation that was awaited through `operate` or a convenience method."""
        return self._last_version

    # operations

    @property
    def objecter(self) -> Objecter:
        """The client's Objecter. Raises NotConnected when the context is not open."""
        if self._objecter is None:
            raise self._not_open()
        return self._objecter

    def _not_open(self) -> NotConnected:
        return NotConnected(f"the io context of pool {self.pool_name!r} is not open; use `async with` or `await`")

    def aio_operate(
        self,
        oid: str,
        op: OpVector,
        on_complete: Callback | None = None,
        on_safe: Callback | None = None,
        *,
        timeout_s: float | None = None,
    ) -> AioCompletion:
        """Submit a vector. Must be called on the event loop; returns at once.

        `timeout_s`: None is the client's `osd_op_timeout_s`, 0 never. Raises ReadOnly (a write while reading at a
        snapshot), NotConnected (not open), TooLarge, Overloaded. All else comes through the completion.
        """
        objecter = self._objecter
        if objecter is None:
            raise self._not_open()
        completion = AioCompletion(op, oid, on_complete, on_safe)
        locator = self._locator
        key = (locator.pool, oid, locator.key, locator.nspace)
        if not op.ops:
            asyncio.get_running_loop().call_soon(completion.complete, 0)
            return completion
        if op.budget_bytes > OP_BYTES_MAX:
            raise make_error(-errno.E2BIG, operation=op.name, oid=oid)
        if op.is_write:
            if self._snap_read != NOSNAP:
                raise make_error(-errno.EROFS, operation=op.name, oid=oid)
            request = objecter.prepare_mutate_op(key, locator, op, completion, self._snapc)
            request.flags |= self._extra_flags
            seq = self._write_seq = self._write_seq + 1
            self._writes[seq] = completion
            completion.join_queue(self, seq)
            try:
                objecter.op_submit(request, timeout_s)
            except BaseException:
                self.complete_aio_write(seq)
                raise
        else:
            objecter.op_submit(objecter.prepare_read_op(key, locator, op, completion, self._snap_read), timeout_s)
        return completion

    async def operate(self, oid: str, op: OpVector, *, timeout_s: float | None = None) -> OpResult:
        """Submit a vector and wait for its result. Cancelling cancels the operation."""
        result = await self.aio_operate(oid, op, timeout_s=timeout_s)
        self._last_version = result.version
        return result

    # the write queue

    def complete_aio_write(self, seq: int) -> None:
        """A write of this context is done (called by its completion)."""
        del self._writes[seq]
        if self._flush_waiters:
            oldest = next(iter(self._writes), None)
            for mark, future in self._flush_waiters:
                if (oldest is None or oldest > mark) and not future.done():
                    future.set_result(None)

    async def aio_flush(self, timeout_s: float | None = None) -> None:
        """Wait until all writes submitted so far are done, whatever their results. Raises TimedOut."""
        oldest = next(iter(self._writes), None)
        if oldest is None:
            return
        mark = self._write_seq
        entry: tuple[int, asyncio.Future[None]] = (mark, asyncio.get_running_loop().create_future())
        self._flush_waiters.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                await entry[1]
        except TimeoutError:
            left = sum(1 for seq in self._writes if seq <= mark)
            raise TimedOut(f"flush: {left} writes not done within {timeout_s} s", errno=errno.ETIMEDOUT) from None
        finally:
            self._flush_waiters.remove(entry)

    def __repr__(self) -> str:
        return f"<IoCtx pool {self.pool_name!r} ({self.pool_id})>"
