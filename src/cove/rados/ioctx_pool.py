"""What concerns the pool itself: applications and their metadata, statistics, alignment.

Source: Ceph's librados IoCtx.
"""

from __future__ import annotations

from .ioctx_base import IoCtxBase


class PoolMethods(IoCtxBase):
    """What concerns the pool itself: applications and their metadata, statistics, alignment."""
