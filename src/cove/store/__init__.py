"""The embedded RADOS endpoint: a monitor and an OSD on LMDB, for one machine, in one process."""

from .errors import StoreError
from .stats import StoreStats
from .store import Store

__all__ = ["Store", "StoreError", "StoreStats"]
