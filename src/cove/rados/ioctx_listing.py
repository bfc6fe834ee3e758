"""Listing the objects of a pool: one placement group after the other, page by page.

    async for entry in ioctx.list_objects(): ...

    listing = ioctx.list_objects(start=ObjectCursor.parse(text))    # go on where `str(listing.cursor)` was noted

    for n in range(8):                                              # eight workers, each a part of the pool
        begin, end = ioctx.object_list_slice(n, 8)

The cursor is a place in the cluster's own order (by reversed hash; `wire/listing.py`). Each page asks the group that
the cursor falls into, and the answer's handle is the next cursor. The order does not depend on how many groups there
are: if they are split or merged meanwhile, the cursor falls into another group, and nothing is missed or told twice.

Source: Ceph's Objecter::enumerate_objects and list_nobjects, librados' NListContext, pg_nls_response_t, hobject_t.
"""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections import deque
from typing import Self

from ..wire.errors import PeerError, UsageError
from ..wire.hobject import order_key
from ..wire.listing import (
    BEGIN,
    END,
    ListedObject,
    ListPage,
    ObjectCursor,
    list_slice,
    pack_cursor,
    pack_filtered_cursor,
    plain_filter,
    unpack_page,
)
from ..wire.osd_ops import OpCode, OSDOp, PgList
from ..wire.types import ALL_NSPACES, HObject, ObjectLocator
from .completion import AioCompletion
from .errors import InvalidArgument, make_error
from .ioctx_base import IoCtxBase
from .op_vector import OpVector

__all__ = ["ALL_NAMESPACES", "ListingMethods", "ObjectCursor", "ObjectListing", "plain_filter"]

ALL_NAMESPACES = ALL_NSPACES
"""For list_objects: every namespace."""
PAGE_ENTRIES = 1024
"""Entries that are asked for at a time; OSDs answer with no more than `osd_max_pgls`, 1024."""
MISPLACED_MAX = 8
"""Pages without an answer, one after the other: the OSD's map was a newer one."""


class PgListOp(OpVector):
    """The request for one page."""

    __slots__ = ()

    def __init__(self, cursor: HObject, count: int, start_epoch: int, filter: bytes | None = None) -> None:
        super().__init__()
        params = PgList(count, start_epoch)
        if filter is None:
            self._add(OSDOp(OpCode.PGNLS, params, pack_cursor(cursor)))
        else:
            self._add(OSDOp(OpCode.PGNLS_FILTER, params, pack_filtered_cursor(filter, cursor)))


def cursor_locator(pool: int, cursor: HObject, nspace: str) -> ObjectLocator:
    """Where the page at a cursor is: the placement group of its hash."""
    return ObjectLocator(pool=pool, nspace=nspace, hash=cursor.hash)


class ObjectListing:
    """A listing of a pool under way, from `IoCtx.list_objects`: `async for` goes on where the last one stopped."""

    def __init__(
        self,
        ioctx: ListingMethods,
        nspace: str,
        start: ObjectCursor,
        end: ObjectCursor,
        filter: bytes | None,
        page_entries: int,
    ) -> None:
        self._ioctx = ioctx
        self._nspace = nspace
        self._next = start.position
        self._end = end
        self._end_key = order_key(end.position)
        self._filter = filter
        self._page_entries = page_entries
        self._entries: deque[ListedObject] = deque()
        self._start_epoch = ioctx.objecter.epoch

    @property
    def cursor(self) -> ObjectCursor:
        """Where the listing stands: before the object that comes next. As text it outlives this process."""
        if not self._entries:
            return ObjectCursor(self._next)
        return ObjectCursor(self._ioctx._full_name(self._entries[0]))

    def seek(self, to: int | ObjectCursor) -> None:
        """Go on at a cursor, or before the objects of a hash (32 bits). Raises InvalidArgument."""
        cursor = self._ioctx._cursor_at(to) if isinstance(to, int) else self._ioctx._check_cursor(to)
        self._next = cursor.position
        self._entries.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ListedObject:
        """The next object. Raises the errors of reads; the listing can go on after them, at the same place."""
        while not self._entries:
            if self._at_end:
                raise StopAsyncIteration
            await self._fetch()
        return self._entries.popleft()

    async def page(self, entries_max: int) -> list[ListedObject]:
        """Up to so many of the next objects; fewer only at the end. Raises as the iteration does, and loses nothing."""
        while len(self._entries) < entries_max and not self._at_end:
            await self._fetch()
        return [self._entries.popleft() for _ in range(min(entries_max, len(self._entries)))]

    @property
    def _at_end(self) -> bool:
        """Whether there are no more pages."""
        return order_key(self._next) >= self._end_key

    async def _fetch(self) -> None:
        ioctx, cursor = self._ioctx, self._next
        page = await ioctx._list_page(cursor, self._nspace, self._page_entries, self._start_epoch, self._filter)
        after = order_key(page.handle)
        if after <= order_key(cursor):
            raise make_error(-errno.EIO, operation="list objects", detail="the OSD's cursor does not move")
        entries = page.objects
        if after > self._end_key:  # a page is in the cursors' order
            first_beyond = bisect_left(entries, self._end_key, key=lambda entry: order_key(ioctx._full_name(entry)))
            entries = entries[:first_beyond]
        self._entries.extend(entries)
        self._next = page.handle if after < self._end_key else self._end.position


class ListingMethods(IoCtxBase):
    """What lists a pool."""

    def list_objects(
        self,
        nspace: str | None = None,
        *,
        start: ObjectCursor | None = None,
        end: ObjectCursor | None = None,
        filter: bytes | None = None,
        page_entries: int = PAGE_ENTRIES,
    ) -> ObjectListing:
        """The pool's objects in the context's namespace (or the one given; ALL_NAMESPACES for all), for `async for`.

        From `start` on (None: the first) to before `end` (None: to the last), in the order of the placement hash.
        Objects created or removed meanwhile may or may not appear; all others do, once. Objects that are deleted but
        have snapshots appear, too, and can't be read at the head. Where the context reads at a snapshot, it is the
        present objects that are listed all the same. `filter`: what the OSDs are to leave out, e.g.
        `plain_filter("kind", b"log")`; raises InvalidArgument where an OSD does not know it. `page_entries`: how
        many to ask for at a time. Raises InvalidArgument (cursors of another pool), NotConnected.
        """
        if not 1 <= page_entries < 1 << 63:
            raise InvalidArgument(f"page_entries={page_entries}: give 1 or more")
        return ObjectListing(
            self,
            self._nspace if nspace is None else nspace,
            BEGIN if start is None else self._check_cursor(start),
            END if end is None else self._check_cursor(end),
            filter,
            page_entries,
        )

    def object_list_slice(
        self, n: int, m: int, start: ObjectCursor | None = None, end: ObjectCursor | None = None
    ) -> tuple[ObjectCursor, ObjectCursor]:
        """Begin and end of part `n` (0 to m - 1) of the pool, cut into `m` parts of about the same size, for
        `list_objects(start=..., end=...)`. Raises InvalidArgument."""
        begin = BEGIN if start is None else self._check_cursor(start)
        try:
            return list_slice(self.pool_id, n, m, begin, END if end is None else self._check_cursor(end))
        except UsageError as problem:
            raise InvalidArgument(str(problem)) from None

    def _cursor_at(self, position: int) -> ObjectCursor:
        try:
            return ObjectCursor.at_hash(self.pool_id, position)
        except UsageError as problem:
            raise InvalidArgument(str(problem)) from None

    def _check_cursor(self, cursor: ObjectCursor) -> ObjectCursor:
        if not (cursor.is_begin or cursor.is_end or cursor.position.pool == self.pool_id):
            raise InvalidArgument(f"cursor {cursor}: is of pool {cursor.position.pool}, not of {self.pool_id}")
        return cursor

    def _full_name(self, entry: ListedObject) -> HObject:
        """An object as cursors name it."""
        locator = ObjectLocator(self.pool_id, entry.locator_key, entry.nspace)
        raw = self.cluster.osdmap.raw_pg(entry.name, locator)
        return HObject(pool=self.pool_id, oid=entry.name, hash=raw.seed, key=entry.locator_key, nspace=entry.nspace)

    async def _list_page(
        self, cursor: HObject, nspace: str, count: int, start_epoch: int, filter: bytes | None
    ) -> ListPage:
        objecter = self.objecter
        # no object has an empty name: this key is the placement group's own
        key = (self.pool_id, "", str(cursor.hash), nspace)
        locator = cursor_locator(self.pool_id, cursor, nspace)
        for _ in range(MISPLACED_MAX):
            completion = AioCompletion(op := PgListOp(cursor, count, start_epoch, filter), "")
            objecter.op_submit(objecter.prepare_read_op(key, locator, op, completion))
            output = (await completion).data(0)
            if output:
                break
            await objecter.wait_for_latest_map(self.cluster.conf.mon_op_timeout_s)
        try:
            return unpack_page(output)
        except PeerError as problem:
            raise make_error(-errno.EIO, operation="list objects", detail=str(problem)) from problem
