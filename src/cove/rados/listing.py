"""Listing the objects of a pool: one placement group after the other, page by page.

The cursor is the name of the next object in the cluster's own order (by reversed hash); each page asks the group
that the cursor falls into, and the answer's handle is the next cursor.

Source: Ceph's Objecter::enumerate_objects, pg_nls_response_t, hobject_t.
"""

from __future__ import annotations

from ..wire.listing import pack_cursor
from ..wire.osd_ops import OpCode, OSDOp, PgList
from ..wire.types import HObject, ObjectLocator
from .operations import OpVector

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
