"""Watch and notify.

Source: Ceph's librados IoCtx.
"""

from __future__ import annotations

from .ioctx_base import IoCtxBase


class WatchMethods(IoCtxBase):
    """Watch and notify."""
