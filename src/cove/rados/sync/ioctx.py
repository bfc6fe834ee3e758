"""Ioctx: all that can be done with an open pool; each module below has the methods of one subject.

Source: Ceph's pybind/rados (`Ioctx`).
"""

from __future__ import annotations

from typing import Self

from .ioctx_aio import AioMethods
from .ioctx_data import DataMethods
from .ioctx_ops import OperationMethods
from .ioctx_pool import PoolMethods
from .iterators import ObjectIterator
from .watch import WatchMethods


class Ioctx(DataMethods, AioMethods, OperationMethods, PoolMethods, WatchMethods):
    """An open pool; `with` closes it. Made by `Rados.open_ioctx`."""

    def __enter__(self) -> Self:
        return self

    def dup(self) -> Ioctx:
        """Another io context for the pool, with the same namespace."""
        other = self.rados.open_ioctx2(self.get_pool_id())
        other.set_namespace(self.get_namespace())
        return other

    def list_objects(self) -> ObjectIterator:
        """The pool's objects in the context's namespace; in all of them, if that is LIBRADOS_ALL_NSPACES."""
        self.require_ioctx_open()
        return ObjectIterator(self)
