"""IoCtx: operations on the objects of one pool, with a namespace, a locator key and a snapshot context.

`aio_operate` is the way that every operation goes; all else here is convenience on top of it. It never waits: what
the throttle does not let through yet is queued. `await ioctx.operate(...)` is `await ioctx.aio_operate(...)`.

Write data is passed on as the caller's own buffer (see operations.py): it must not change until the completion.

Source: Ceph's librados IoCtx and its IoCtxImpl.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from ..wire.encoding import Buffer
from ..wire.errors import PeerError
from ..wire.listing import ListedObject, unpack_page
from ..wire.types import ALL_NSPACES, HOBJECT_MIN, NOSNAP, ObjectLocator, SnapContext
from .completion import AioCompletion, Callback
from .errors import InvalidArgument, NotConnected, TimedOut, make_error
from .listing import PAGE_ENTRIES, PgListOp, cursor_locator
from .operations import OMAP_PAGE_MAX, OP_BYTES_MAX, OpVector, ReadOp, WriteOp
from .results import ObjectStat, OmapKeys, OmapValues, OpResult
from .session import NO_SNAPS

if TYPE_CHECKING:
    from .client import Rados
    from .objecter import Objecter

ALL_NAMESPACES = ALL_NSPACES
"""For list_objects: every namespace."""
READ_ALL = 0
OMAP_ENTRIES_MAX = 1 << 24


class IoCtx:
    """An open pool. Made by `Rados.open_ioctx`; `async with` or `await` it before use.

    Settings (namespace, locator key, snapshots) apply to the operations submitted after they were set.
    """

    def __init__(self, cluster: Rados, pool: str) -> None:
        self.cluster = cluster
        self.pool_name = pool
        self.pool_id = -1
        self._objecter: Objecter | None = None
        self._nspace = ""
        self._locator_key = ""
        self._locator = ObjectLocator(-1)
        self._snap_read = NOSNAP
        self._snapc = NO_SNAPS
        self._last_version = 0
        self._write_seq = 0
        self._writes: dict[int, AioCompletion] = {}
        self._flush_waiters: list[tuple[int, asyncio.Future[None]]] = []

    # opening

    async def _open(self) -> Self:
        if self._objecter is None:
            self.pool_id = await self.cluster.pool_lookup(self.pool_name)
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

    def duplicate(self) -> IoCtx:
        """Another context on the same pool with the same settings and a write queue of its own."""
        other = IoCtx(self.cluster, self.pool_name)
        other.pool_id, other._objecter = self.pool_id, self._objecter
        other._nspace, other._locator_key, other._locator = self._nspace, self._locator_key, self._locator
        other._snap_read, other._snapc = self._snap_read, self._snapc
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
        if nspace == ALL_NSPACES or len(nspace.encode("utf-8", "surrogateescape")) > 256:
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

    def snap_set_read(self, snapid: int | None) -> None:
        """Read at a snapshot from now on (None: the head). Writes are refused with ReadOnly meanwhile."""
        self._snap_read = NOSNAP if snapid is None else snapid

    def set_self_managed_snap_write_ctx(self, seq: int, snaps: Sequence[int]) -> None:
        """The snapshots that writes preserve: newest id, and the existing ids in descending order.

        Raises InvalidArgument when they are not descending or newer than `seq`.
        """
        snapc = SnapContext(seq, tuple(snaps))
        if not snapc.is_valid():
            raise InvalidArgument(
                f"snapshot context seq={seq} snaps={list(snaps)}: ids must descend, and none may be newer than seq"
            )
        self._snapc = snapc

    def get_last_version(self) -> int:
        """The object version after the last operation that was awaited through `operate` or a convenience method."""
        return self._last_version

    # operations

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
            raise NotConnected(f"the io context of pool {self.pool_name!r} is not open; use `async with` or `await`")
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

    # convenience: data

    async def write(self, oid: str, data: Buffer, offset: int = 0) -> None:
        """Write at `offset` (bytes), creating or growing the object as needed."""
        await self.operate(oid, WriteOp().write(data, offset))

    async def write_full(self, oid: str, data: Buffer) -> None:
        """Replace the object's data."""
        await self.operate(oid, WriteOp().write_full(data))

    async def append(self, oid: str, data: Buffer) -> None:
        """Write at the object's end."""
        await self.operate(oid, WriteOp().append(data))

    async def read(self, oid: str, length: int = READ_ALL, offset: int = 0) -> bytes:
        """Bytes from `offset` on, short at the object's end; `length` 0 is all. Raises ObjectNotFound."""
        return (await self.operate(oid, ReadOp().read(length, offset))).data(0)

    async def stat(self, oid: str) -> ObjectStat:
        """Size and modification time. Raises ObjectNotFound."""
        return cast("ObjectStat", (await self.operate(oid, ReadOp().stat())).value(0))

    async def remove(self, oid: str) -> None:
        """Delete the object. Raises ObjectNotFound."""
        await self.operate(oid, WriteOp().remove())

    async def truncate(self, oid: str, size: int) -> None:
        """Cut or extend the object to `size` bytes."""
        await self.operate(oid, WriteOp().truncate(size))

    async def zero(self, oid: str, offset: int, length: int) -> None:
        """Make a range read as zeros."""
        await self.operate(oid, WriteOp().zero(offset, length))

    # convenience: attributes

    async def setxattr(self, oid: str, name: str, value: Buffer) -> None:
        """Set an attribute."""
        await self.operate(oid, WriteOp().setxattr(name, value))

    async def getxattr(self, oid: str, name: str) -> bytes:
        """An attribute's value. Raises NoData if there is none."""
        return (await self.operate(oid, ReadOp().getxattr(name))).data(0)

    async def getxattrs(self, oid: str) -> dict[str, bytes]:
        """All attributes."""
        return cast("dict[str, bytes]", (await self.operate(oid, ReadOp().getxattrs())).value(0))

    async def rmxattr(self, oid: str, name: str) -> None:
        """Remove an attribute."""
        await self.operate(oid, WriteOp().rmxattr(name))

    # convenience: omap

    async def omap_set(self, oid: str, values: Mapping[str, Buffer]) -> None:
        """Set keys of the object map."""
        await self.operate(oid, WriteOp().omap_set(values))

    async def omap_rm_keys(self, oid: str, keys: Iterable[str]) -> None:
        """Remove keys of the object map."""
        await self.operate(oid, WriteOp().omap_rm_keys(keys))

    async def omap_clear(self, oid: str) -> None:
        """Remove all keys and the header."""
        await self.operate(oid, WriteOp().omap_clear())

    async def omap_set_header(self, oid: str, data: Buffer) -> None:
        """Set the header of the object map."""
        await self.operate(oid, WriteOp().omap_set_header(data))

    async def omap_get_header(self, oid: str) -> bytes:
        """The header of the object map."""
        return (await self.operate(oid, ReadOp().omap_get_header())).data(0)

    async def omap_get_vals_by_keys(self, oid: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Those of the keys that exist, with their values."""
        return cast("dict[str, bytes]", (await self.operate(oid, ReadOp().omap_get_vals_by_keys(keys))).value(0))

    async def omap_get_keys(self, oid: str, start_after: str = "", max_return: int = OMAP_PAGE_MAX) -> OmapKeys:
        """One page of keys."""
        return cast("OmapKeys", (await self.operate(oid, ReadOp().omap_get_keys(start_after, max_return))).value(0))

    async def omap_get_vals(
        self, oid: str, start_after: str = "", prefix: str = "", max_return: int = OMAP_PAGE_MAX
    ) -> OmapValues:
        """One page of keys and values."""
        op = ReadOp().omap_get_vals(start_after, prefix, max_return)
        return cast("OmapValues", (await self.operate(oid, op)).value(0))

    async def omap_items(self, oid: str, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """All keys and values with that prefix, in the order of the keys, page by page."""
        start_after = ""
        for _ in range(OMAP_ENTRIES_MAX):
            page = await self.omap_get_vals(oid, start_after, prefix)
            for item in page.values.items():
                yield item
            if not page.more or not page.values:
                return
            start_after = next(reversed(page.values))

    # convenience: classes and listing

    async def execute(self, oid: str, cls: str, method: str, data: Buffer = b"", *, write: bool = True) -> bytes:
        """Run a method of an object class and return its output.

        `write=False` submits it as a read: needed where the output of a read-only method is wanted in a context
        that reads at a snapshot, allowed only for methods that don't write.
        """
        op: OpVector = (WriteOp() if write else ReadOp()).exec(cls, method, data)
        return (await self.operate(oid, op)).data(0)

    async def list_objects(self, nspace: str | None = None) -> AsyncIterator[ListedObject]:
        """The pool's objects in the context's namespace (or the one given; ALL_NAMESPACES for all).

        The order is that of the placement hash. Objects created or removed meanwhile may or may not appear.
        """
        if self._objecter is None:
            raise NotConnected(f"the io context of pool {self.pool_name!r} is not open; use `async with` or `await`")
        cursor, start_epoch = HOBJECT_MIN, self._objecter.epoch
        nspace = self._nspace if nspace is None else nspace
        while not cursor.max:
            objecter = self._objecter
            if objecter is None:
                raise NotConnected("the io context was closed during a listing")
            completion = AioCompletion(op := PgListOp(cursor, PAGE_ENTRIES, start_epoch), "")
            locator = cursor_locator(self.pool_id, cursor, nspace)
            # no object has an empty name: this key is the placement group's own
            key = (locator.pool, "", str(cursor.hash), nspace)
            objecter.op_submit(objecter.prepare_read_op(key, locator, op, completion, self._snap_read))
            try:
                page = unpack_page((await completion).data(0))
            except PeerError as problem:
                raise make_error(-errno.EIO, operation="list objects", detail=str(problem)) from problem
            for entry in page.objects:
                yield entry
            if page.handle == cursor:
                raise make_error(-errno.EIO, operation="list objects", detail="the OSD's cursor does not move")
            cursor = page.handle

    def __repr__(self) -> str:
        return f"<IoCtx pool {self.pool_name!r} ({self.pool_id})>"
