"""Object: one object with a position, read and written like a file.

Source: Ceph's pybind/rados (`Object`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import TYPE_CHECKING, Any

from .errors import LogicError, ObjectStateError
from .iterators import XattrIterator

if TYPE_CHECKING:
    from .ioctx import Ioctx


def set_object_locator(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of methods: the io context has `self.locator_key` meanwhile. For classes of users' own."""

    @wraps(func)
    def located(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.locator_key is None:
            return func(self, *args, **kwargs)
        before = self.ioctx.get_locator_key()
        self.ioctx.set_locator_key(self.locator_key)
        try:
            return func(self, *args, **kwargs)
        finally:
            self.ioctx.set_locator_key(before)

    return located


def set_object_namespace(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of methods: the io context has the namespace `self.nspace` meanwhile. For classes of users' own."""

    @wraps(func)
    def spaced(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.nspace is None:
            raise LogicError("Namespace not set properly in context")
        before = self.ioctx.get_namespace()
        self.ioctx.set_namespace(self.nspace)
        try:
            return func(self, *args, **kwargs)
        finally:
            self.ioctx.set_namespace(before)

    return spaced


class Object:
    """An object and a position in it (`offset`, bytes). `state` is "exists" until `remove`."""

    def __init__(self, ioctx: Ioctx, key: str, locator_key: str | None = None, nspace: str | None = None) -> None:
        self.key = key
        self.ioctx = ioctx
        self.offset = 0
        self.state = "exists"
        self.locator_key = locator_key
        self.nspace = "" if nspace is None else nspace

    def __str__(self) -> str:
        nspace = self.nspace or "--default--"
        return f"rados.Object(ioctx={self.ioctx},key={self.key},nspace={nspace},locator={self.locator_key})"

    def _placed(self) -> AbstractContextManager[Ioctx]:
        """The io context, looking where this object is: other threads, which may use it, are not concerned."""
        if self.nspace is None:
            raise LogicError("Namespace not set properly in context")
        return self.ioctx._placed(self.nspace, self.locator_key)

    def require_object_exists(self) -> None:
        """Raises ObjectStateError after `remove`."""
        if self.state != "exists":
            raise ObjectStateError(f"The object is {self.state}")

    def read(self, length: int = 1024 * 1024) -> bytes:
        """Up to `length` bytes from the position on, which moves behind them."""
        self.require_object_exists()
        with self._placed() as ioctx:
            data = ioctx.read(self.key, length, self.offset)
        self.offset += len(data)
        return data

    def write(self, string_to_write: bytes) -> int:
        """Write at the position, which moves behind what was written. Returns 0."""
        self.require_object_exists()
        with self._placed() as ioctx:
            result = ioctx.write(self.key, string_to_write, self.offset)
        if result == 0:
            self.offset += len(string_to_write)
        return result

    def remove(self) -> None:
        """Delete it. Raises ObjectNotFound."""
        self.require_object_exists()
        with self._placed() as ioctx:
            ioctx.remove_object(self.key)
        self.state = "removed"

    def stat(self) -> tuple[int, time.struct_time]:
        """Size in bytes and time of the last modification. Raises ObjectNotFound."""
        self.require_object_exists()
        with self._placed() as ioctx:
            return ioctx.stat(self.key)

    def seek(self, position: int) -> None:
        """Go on at that position (bytes from the beginning)."""
        self.require_object_exists()
        self.offset = position

    def get_xattr(self, xattr_name: str) -> bytes:
        """An attribute's value. Raises NoData, ObjectNotFound."""
        self.require_object_exists()
        with self._placed() as ioctx:
            return ioctx.get_xattr(self.key, xattr_name)

    def get_xattrs(self) -> XattrIterator:
        """All attributes, as pairs of name and value."""
        self.require_object_exists()
        with self._placed() as ioctx:
            return ioctx.get_xattrs(self.key)

    def set_xattr(self, xattr_name: str, xattr_value: bytes) -> bool:
        """Set an attribute. Returns True."""
        self.require_object_exists()
        with self._placed() as ioctx:
            return ioctx.set_xattr(self.key, xattr_name, xattr_value)

    def rm_xattr(self, xattr_name: str) -> bool:
        """Remove an attribute. Returns True."""
        self.require_object_exists()
        with self._placed() as ioctx:
            return ioctx.rm_xattr(self.key, xattr_name)
