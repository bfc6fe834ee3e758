"""IoCtx: all that can be done with an open pool; each module below holds the methods of one subject.

Source: Ceph's librados IoCtx and its IoCtxImpl.
"""

from __future__ import annotations

from .ioctx_data import DataMethods
from .ioctx_listing import ListingMethods
from .ioctx_locks import LockMethods
from .ioctx_pool import PoolMethods
from .ioctx_snaps import SnapshotMethods
from .ioctx_watch import WatchMethods


class IoCtx(DataMethods, ListingMethods, SnapshotMethods, LockMethods, WatchMethods, PoolMethods):
    """An open pool. Made by `Rados.open_ioctx`; `async with` or `await` it before use.

    Settings (namespace, locator key, snapshots) apply to the operations submitted after they were set.
    """
