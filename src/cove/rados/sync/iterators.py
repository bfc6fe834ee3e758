"""What is iterated over: objects of a pool, keys of object maps, attributes, snapshots of a pool.

Source: Ceph's pybind/rados.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...wire.listing import ListedObject
from ..errors import Error as ClientError
from .checks import check_str
from .errors import make_ex

if TYPE_CHECKING:
    from .ioctx import Ioctx
    from .objects import Object

PAGE_OBJECTS = 1024


class ObjectIterator:
    """The objects of a pool, in the namespace that the io context has now."""

    def __init__(self, ioctx: Ioctx) -> None:
        self.ioctx = ioctx
        self._nspace = ioctx.nspace
        self._page: list[ListedObject] = []
        self._at = 0
        self._source: Any = None
        self._session: Any = None
        self._ended = False

    def __iter__(self) -> ObjectIterator:
        return self

    def __next__(self) -> Object:
        """The next object. A listing that fails ends, as with Ceph's module."""
        from .objects import Object

        if self._at >= len(self._page):
            self._fetch()
        entry = self._page[self._at]
        self._at += 1
        return Object(self.ioctx, entry.name, entry.locator_key or None, entry.nspace)

    def _fetch(self) -> None:
        if self._ended:
            raise StopIteration
        io, session = self.ioctx._context()
        if self._session is not session:
            if self._session is not None:  # the process has forked meanwhile: the parent's listing can't go on here
                raise make_ex(-errno.ESHUTDOWN, f"error iterating over the objects in ioctx '{self.ioctx.name}'")
            self._session = session
            self._source = io.list_objects(self._nspace)
        try:
            self._page, self._at = session.run(self._collect), 0
        except ClientError as problem:
            self._ended = True
            raise StopIteration from problem
        if len(self._page) < PAGE_OBJECTS:
            self._ended = True
        if not self._page:
            raise StopIteration

    async def _collect(self) -> list[ListedObject]:
        found: list[ListedObject] = []
        async for entry in self._source:
            found.append(entry)
            if len(found) >= PAGE_OBJECTS:
                break
        return found


class OmapIterator:
    """Keys and values that a read operation has asked for: there once it has been operated."""

    def __init__(self, ioctx: Ioctx, omap_key_type: Callable[[bytes], Any] = bytes.decode) -> None:
        self.ioctx = ioctx
        self.omap_key_type = omap_key_type
        self._entries: Iterator[tuple[str, bytes | None]] = iter(())

    def __iter__(self) -> OmapIterator:
        return self

    def __next__(self) -> tuple[Any, bytes | None]:
        """The next pair. Values that are empty, or were not asked for, are None."""
        key, value = next(self._entries)
        return self.omap_key_type(key.encode("utf-8", "surrogateescape")), value

    def _fill(self, entries: list[tuple[str, bytes | None]]) -> None:
        self._entries = iter(entries)


class XattrIterator:
    """The attributes of an object, as pairs of name and value, in the order of the names."""

    def __init__(self, ioctx: Any, oid: str) -> None:
        check_str(oid=oid)
        self.ioctx = ioctx
        self.oid = oid
        self._entries = iter(ioctx._xattrs(oid).items())

    def __iter__(self) -> XattrIterator:
        return self

    def __next__(self) -> tuple[str, bytes]:
        """The next pair."""
        entry: tuple[str, bytes] = next(self._entries)
        return entry


class Snap:
    """A snapshot of a pool: its name and number."""

    def __init__(self, ioctx: Any, name: str, snap_id: int) -> None:
        self.ioctx = ioctx
        self.name = name
        self.snap_id = snap_id

    def __str__(self) -> str:
        return f"rados.Snap(ioctx={self.ioctx},name={self.name},snap_id={self.snap_id})"

    def get_timestamp(self) -> datetime:
        """When it was made, in local time, to the second. Raises ObjectNotFound if it is gone."""
        for snap in self.ioctx._pool_snaps():
            if snap.id == self.snap_id:
                return datetime.fromtimestamp(snap.stamp_ns // 10**9)
        raise make_ex(-errno.ENOENT, "rados_ioctx_snap_get_stamp error")


class SnapIterator:
    """The snapshots of a pool, in the order of their numbers."""

    def __init__(self, ioctx: Any) -> None:
        self.ioctx = ioctx
        self._snaps = iter(sorted(ioctx._pool_snaps(), key=lambda snap: snap.id))

    def __iter__(self) -> SnapIterator:
        return self

    def __next__(self) -> Snap:
        """The next one."""
        snap = next(self._snaps)
        return Snap(self.ioctx, snap.name, snap.id)
