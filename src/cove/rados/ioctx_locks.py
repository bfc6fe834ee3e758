"""Advisory locks on objects (object class `lock`).

Source: Ceph's librados IoCtx.
"""

from __future__ import annotations

from .ioctx_base import IoCtxBase


class LockMethods(IoCtxBase):
    """Advisory locks on objects (object class `lock`)."""
