"""The store's space: how much is used, how much is left, and the reserve that only those may use who give space back.

Every commit needs free pages, one that deletes, too. So when what is left falls below a reserve, vectors that make
objects larger are refused with ENOSPC, while deleting, cutting off and overwriting go on; a request with FULL_TRY or
FULL_FORCE may use the reserve.

Source: Ceph's handling of full OSDs (PrimaryLogPG::do_op, CEPH_OSD_FLAG_FULL_TRY), at the scale of one store.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import lmdb

from ..wire.osd_ops import RequestFlag
from .context import ObjectContext

if TYPE_CHECKING:
    from .engine import Engine

METADATA_BYTES = 4096
"""Xattrs and omap of a vector up to this size are let through: to take a lock must be possible in a full store."""
PAGES_PER_CHUNK = 1.25
"""What a chunk takes in the file, in relation to its bytes: LMDB adds a header, and rounds up to pages."""
_MAY_USE_RESERVE = int(RequestFlag.FULL_TRY | RequestFlag.FULL_FORCE)


class Space:
    """What is left, measured when it matters. `note_commit` after each commit keeps the estimate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.reserve = engine.reserve
        self.left = self.room_bytes()
        """Bytes left, an estimate on the low side."""

    def used_bytes(self) -> int:
        """Bytes of pages that hold something. The file is larger, as it never shrinks: the rest is used again."""
        pages, _, size = self._engine.pages()
        return pages * size

    def room_bytes(self) -> int:
        """Bytes that may still be used: pages free in the file, and what the disk has for it to grow."""
        used, total, size = self._engine.pages()
        disk = os.statvfs(self._engine.path)
        allocated = max(self._engine.file_bytes() - total * size, 0)
        growth = min(disk.f_bavail * disk.f_frsize + allocated, self._engine.map_size - total * size)
        return (total - used) * size + max(growth, 0)

    def note_commit(self, nbytes: int) -> None:
        """So many bytes have been written, or were tried to be."""
        self.left -= int(2 * PAGES_PER_CHUNK * nbytes) + METADATA_BYTES
        if self.left < 4 * self.reserve:
            self.left = self.room_bytes()

    def is_low(self) -> bool:
        """Whether only the reserve is left."""
        if self.left >= self.reserve:
            return False
        self.left = self.room_bytes()
        return self.left < self.reserve

    def allows(self, context: ObjectContext, flags: int) -> bool:
        """Whether a vector that has run on `context` may be applied."""
        return not self.is_low() or bool(flags & _MAY_USE_RESERVE) or not _grows(context)

    def is_used_up(self, error: Exception, nbytes: int) -> bool:
        """Whether a commit of so many bytes has failed for want of space."""
        if isinstance(error, (lmdb.MapFullError, lmdb.DiskError, lmdb.TxnFullError)):
            return True
        text = str(error)
        if any(os.strerror(number) in text for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)):
            return True
        # LMDB calls a write that was cut short by a full disk an I/O error
        disk = os.statvfs(self._engine.path)
        needed = int(PAGES_PER_CHUNK * nbytes) + self.reserve
        return os.strerror(errno.EIO) in text and disk.f_bavail * disk.f_frsize < needed


def _grows(context: ObjectContext) -> bool:
    """Whether the changes make the object larger, or are more metadata than is let through."""
    stored = context.stored
    info = stored.info
    if context.exists and (info is None or context.size > info.size):
        return True
    metadata = 0
    steps: list[Any] = list(context.log)
    for kind, *values in steps:
        if kind == "write" and info is not None:
            offset, length = values[0], len(values[1])
            if sum(found for _, found in stored.extents(offset, length)) < min(length, info.size - offset):
                return True  # into a hole
        elif kind == "set_xattr":
            metadata += len(values[1])
        elif kind == "omap_set":
            metadata += sum(len(key) + len(value) for key, value in values[0].items())
        elif kind == "omap_set_header":
            metadata += len(values[0])
    return metadata > METADATA_BYTES
