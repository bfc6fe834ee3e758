"""Snapshots: of the whole pool, or managed by the client itself.

Source: Ceph's librados IoCtx.
"""

from __future__ import annotations

from .ioctx_base import IoCtxBase


class SnapshotMethods(IoCtxBase):
    """Snapshots: of the whole pool, or managed by the client itself."""
