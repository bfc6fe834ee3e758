"""Listing the objects of a pool: one placement group after the other, page by page.

The cursor is the name of the next object in the cluster's own order (by reversed hash); each page asks the group
that the cursor falls into, and the answer's handle is the next cursor.

Source: Ceph's Objecter::enumerate_objects, pg_nls_response_t, hobject_t.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator

from ..wire.errors import PeerError
from ..wire.listing import ListedObject, pack_cursor, unpack_page
from ..wire.osd_ops import OpCode, OSDOp, PgList
from ..wire.types import ALL_NSPACES, HOBJECT_MIN, HObject, ObjectLocator
from .completion import AioCompletion
from .errors import make_error
from .ioctx_base import IoCtxBase
from .operations import OpVector

ALL_NAMESPACES = ALL_NSPACES
"""For list_objects: every namespace."""
PAGE_ENTRIES = 1024


class PgListOp(OpVector):
    """The request for one page."""

    __slots__ = ()

    def __init__(self, cursor: HObject, count: int, start_epoch: int) -> None:
        super().__init__()
        self._add(OSDOp(OpCode.PGNLS, PgList(count, start_epoch), pack_cursor(cursor)))


def cursor_locator(pool: int, cursor: HObject, nspace: str) -> ObjectLocator:
    """Where the page at a cursor is: the placement group of its hash."""
    return ObjectLocator(pool=pool, nspace=nspace, hash=cursor.hash)


class ListingMethods(IoCtxBase):
    """What lists a pool."""

    async def list_objects(self, nspace: str | None = None) -> AsyncIterator[ListedObject]:
        """The pool's objects in the context's namespace (or the one given; ALL_NAMESPACES for all).

        The order is that of the placement hash. Objects created or removed meanwhile may or may not appear.
        """
        cursor, start_epoch = HOBJECT_MIN, self.objecter.epoch
        nspace = self._nspace if nspace is None else nspace
        while not cursor.max:
            objecter = self.objecter
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
