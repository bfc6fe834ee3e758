"""`ObjectContext`: one object while a vector of operations runs on it. Pure: it knows neither LMDB nor the network.

Reads of data, xattrs and omap see the object as it was before the vector; only its existence and size are current.
Changes are collected in a log, which is applied when every operation has succeeded, or else forgotten: that is what
makes a vector all-or-nothing.

Source: Ceph's PrimaryLogPG (OpContext, do_osd_ops).
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..wire.cls_lock import EntityAddress
from ..wire.encoding import Buffer
from ..wire.types import EntityName, EntityType, SnapContext
from .errors import OpError
from .info import ObjectInfo

OBJECT_SIZE_MAX = 128 << 20
"""Bytes. Ceph: osd_max_object_size."""


class StoredObject(ABC):
    """An object as it was before the vector. Only called for one that exists (`info` is not None)."""

    info: ObjectInfo | None

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, at most up to the end of the object."""

    @abstractmethod
    def extents(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Where there is data in that range: (offset, length), ascending; the rest is zeros."""

    @abstractmethod
    def xattr(self, name: bytes) -> bytes | None:
        """Value of an xattr."""

    @abstractmethod
    def xattrs(self) -> dict[bytes, bytes]:
        """All xattrs, ascending by name."""

    @abstractmethod
    def omap_header(self) -> bytes:
        """The omap header; empty if there is none."""

    @abstractmethod
    def omap_value(self, key: bytes) -> bytes | None:
        """Value of an omap key."""

    @abstractmethod
    def omap_items(self, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Omap keys and values from `start` (inclusive) on, in the order of the keys' bytes."""


@dataclass(slots=True)
class Requester:
    """Who sent a request."""

    name: EntityName = EntityName(EntityType.CLIENT, 0)
    address: EntityAddress = field(default_factory=EntityAddress)


NOBODY = Requester()

# The steps of a log. What applies them has a method of the same name for each.
Step = tuple[object, ...]


class ObjectContext:
    """State of the object as the vector goes, and the log of its changes."""

    __slots__ = ("exists", "log", "mtime_ns", "now_ns", "requester", "size", "snapc", "stored")

    def __init__(
        self,
        stored: StoredObject,
        *,
        now_ns: int = 0,
        mtime_ns: int = 0,
        requester: Requester = NOBODY,
        snapc: SnapContext | None = None,
    ) -> None:
        self.stored = stored
        info = stored.info
        self.exists = info is not None
        self.size = info.size if info is not None else 0
        self.log: list[Step] = []
        self.now_ns = now_ns
        self.mtime_ns = mtime_ns
        self.requester = requester
        self.snapc = snapc
        # Snapshots: the clone of the old head and its overlap are to be worked out from `log` when it is applied.

    @property
    def was_there(self) -> bool:
        """Whether the object existed before the vector: what reads of its contents go by."""
        return self.stored.info is not None

    @property
    def user_version(self) -> int:
        """The object's user version before the vector; 0 if it was absent."""
        return self.stored.info.user_version if self.stored.info is not None else 0

    def require(self) -> None:
        """Raise ENOENT unless the object exists by now."""
        if not self.exists:
            raise OpError(errno.ENOENT)

    def require_stored(self) -> None:
        """Raise ENOENT unless the object existed before the vector and still does."""
        if self.stored.info is None or not self.exists:
            raise OpError(errno.ENOENT)

    # reading

    def read(self, offset: int, length: int) -> bytes:
        """Stored bytes, clipped at the current size."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        self.require_stored()
        return self.stored.read(offset, length)

    def read_all(self) -> bytes:
        """All stored bytes, clipped at the current size."""
        return self.read(0, self.size)

    # changing

    def create(self) -> None:
        """Bring the object into being; nothing happens if it is there."""
        if not self.exists:
            self.exists = True
            self.log.append(("create",))

    def write(self, offset: int, data: Buffer) -> None:
        """Write bytes, creating and growing the object as needed. An empty write beyond the end grows it too."""
        end = offset + len(data)
        if end > OBJECT_SIZE_MAX:
            raise OpError(errno.EFBIG)
        self.create()
        if len(data):
            self.log.append(("write", offset, data))
        if end > self.size:
            if not len(data):
                self.log.append(("resize", end))
            self.size = end

    def write_full(self, data: Buffer) -> None:
        """Replace the contents; xattrs and omap stay."""
        if len(data) > OBJECT_SIZE_MAX:
            raise OpError(errno.EFBIG)
        self.create()
        if self.size:
            self.log.append(("resize", len(data)))
        if len(data):
            self.log.append(("write", 0, data))
        self.size = len(data)
        if not self.log:
            self.log.append(("touch",))

    def truncate(self, size: int) -> None:
        """Cut off, or grow with zeros. The object must exist."""
        if size > OBJECT_SIZE_MAX:
            raise OpError(errno.EFBIG)
        self.log.append(("resize", size))
        self.size = size

    def zero(self, offset: int, length: int) -> None:
        """Make a range zeros without growing the object. The object must exist."""
        self.log.append(("zero", offset, min(length, self.size - offset)))

    def delete(self) -> None:
        """Remove the object with all that belongs to it. It must exist."""
        self.require()
        self.log.append(("delete",))
        self.exists = False
        self.size = 0

    def set_xattr(self, name: bytes, value: bytes) -> None:
        """Set an xattr, creating the object as needed."""
        self.create()
        self.log.append(("set_xattr", name, value))

    def remove_xattr(self, name: bytes) -> None:
        """Remove an xattr; an absent one is no error. The object must exist."""
        self.require()
        self.log.append(("remove_xattr", name))

    def omap_set(self, items: dict[bytes, bytes]) -> None:
        """Set omap keys, creating the object as needed."""
        self.create()
        self.log.append(("omap_set", items))

    def omap_set_header(self, header: bytes) -> None:
        """Set the omap header, creating the object as needed."""
        self.create()
        self.log.append(("omap_set_header", header))

    def omap_remove(self, keys: Iterable[bytes]) -> None:
        """Remove omap keys; absent ones are no error. The object must exist."""
        self.require()
        self.log.append(("omap_remove", list(keys)))

    def omap_remove_range(self, begin: bytes, end: bytes) -> None:
        """Remove the omap keys of [begin, end). The object must exist."""
        self.require()
        self.log.append(("omap_remove_range", begin, end))

    def omap_clear(self) -> None:
        """Remove all omap keys and the header. The object must exist."""
        self.require()
        self.log.append(("omap_clear",))
