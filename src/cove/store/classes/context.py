"""`ClassContext`: what a class method may do with its object.

It follows the rule of the vector: existence and size are current, data, xattrs and omap are those from before the
vector. A method that says that it only reads can't write, and the reverse: EIO.

Source: Ceph's objclass API (cls_cxx_*).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ...wire.encoding import Buffer
from ...wire.errors import PeerError
from ...wire.structure import Codec
from ..context import ObjectContext, Requester
from ..errors import OpError
from ..keys import to_bytes, to_text

if TYPE_CHECKING:
    from .registry import Method

T = TypeVar("T")


class ClassContext:
    """The object, as one method sees it. `result` >= 0 is what the call returns besides its output."""

    __slots__ = ("_method", "_object", "result")

    def __init__(self, context: ObjectContext, method: Method) -> None:
        self._object = context
        self._method = method
        self.result = 0

    def _reading(self) -> ObjectContext:
        if not self._method.reads:
            raise OpError(errno.EIO)
        return self._object

    def _writing(self) -> ObjectContext:
        if not self._method.writes:
            raise OpError(errno.EIO)
        return self._object

    @property
    def now_ns(self) -> int:
        """The server's time, nanoseconds since the epoch."""
        return self._object.now_ns

    @property
    def requester(self) -> Requester:
        """Who calls."""
        return self._object.requester

    @property
    def exists(self) -> bool:
        """Whether the object exists by now."""
        return self._object.exists

    @property
    def size(self) -> int:
        """Bytes of the object by now. Raises ENOENT."""
        self.require()
        return self._object.size

    def require(self) -> None:
        """Raise ENOENT unless the object exists by now."""
        self._object.require()

    # data

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Data; to the end by default. Raises ENOENT."""
        context = self._reading()
        context.require()
        return context.read(offset, context.size if length is None else length)

    def write(self, offset: int, data: Buffer) -> None:
        """Write data."""
        self._writing().write(offset, data)

    def write_full(self, data: Buffer) -> None:
        """Replace the data."""
        self._writing().write_full(data)

    def create(self, *, exclusive: bool = False) -> None:
        """Bring the object into being. Raises EEXIST if it is exclusive and the object is there."""
        context = self._writing()
        if exclusive and context.exists:
            raise OpError(errno.EEXIST)
        context.create()

    def remove(self) -> None:
        """Remove the object. Raises ENOENT."""
        self._writing().delete()

    def truncate(self, size: int) -> None:
        """Cut off or grow the data. Raises ENOENT."""
        context = self._writing()
        context.require()
        context.truncate(size)

    # xattrs

    def get_xattr(self, name: str) -> bytes:
        """Raises ENOENT (no object) or ENODATA (no such attribute)."""
        context = self._reading()
        context.require_stored()
        value = context.stored.xattr(to_bytes(name))
        if value is None:
            raise OpError(errno.ENODATA)
        return value

    def xattr_names(self) -> list[str]:
        """Names of all xattrs. Raises ENOENT."""
        context = self._reading()
        context.require_stored()
        return [to_text(name) for name in context.stored.xattrs()]

    def set_xattr(self, name: str, value: bytes) -> None:
        """Set an xattr; it creates the object."""
        self._writing().set_xattr(to_bytes(name), value)

    # omap

    def find(self, key: str) -> bytes | None:
        """Value of an omap key, None if it is absent. An absent object has none."""
        context = self._reading()
        return context.stored.omap_value(to_bytes(key)) if context.was_there else None

    def get(self, key: str) -> bytes:
        """Value of an omap key. Raises ENOENT."""
        value = self.find(key)
        if value is None:
            raise OpError(errno.ENOENT)
        return value

    def load(self, key: str, codec: Codec[T]) -> T:
        """Decoded value of an omap key. Raises ENOENT, or EIO when it does not decode."""
        return decode_stored(codec.unpack, self.get(key))

    def load_or(self, key: str, codec: Codec[T], default: T) -> T:
        """Decoded value of an omap key, or the default. Raises EIO."""
        value = self.find(key)
        return default if value is None else decode_stored(codec.unpack, value)

    def items(self, prefix: str, after: str = "") -> Iterator[tuple[str, bytes]]:
        """Omap entries with that prefix, which is taken off; those after `after` (without prefix), in order."""
        context = self._reading()
        if not context.was_there:
            return
        start = to_bytes(prefix)
        skip = to_bytes(after)
        for key, value in context.stored.omap_items(start + skip):
            if not key.startswith(start):
                return
            name = key[len(start) :]
            if skip and name <= skip:
                continue
            yield to_text(name), value

    def page(self, prefix: str, after: str, count: int) -> list[tuple[str, bytes]]:
        """The first entries of `items`."""
        found: list[tuple[str, bytes]] = []
        for item in self.items(prefix, after):
            if len(found) >= count:
                break
            found.append(item)
        return found

    def put(self, key: str, value: bytes) -> None:
        """Set an omap key; it creates the object."""
        self._writing().omap_set({to_bytes(key): value})

    def put_all(self, items: dict[str, bytes]) -> None:
        """Set omap keys; it creates the object."""
        self._writing().omap_set({to_bytes(key): value for key, value in items.items()})

    def save(self, key: str, codec: Codec[T], value: T) -> None:
        """Encode a value under an omap key."""
        self.put(key, codec.pack(value))

    def drop(self, *keys: str) -> None:
        """Remove omap keys; absent ones are no error. Raises ENOENT for an absent object."""
        self._writing().omap_remove([to_bytes(key) for key in keys])


def decode_stored(decode: Callable[[bytes], T], value: bytes) -> T:
    """A stored value; one that does not decode is an I/O error."""
    try:
        return decode(value)
    except PeerError:
        raise OpError(errno.EIO) from None
