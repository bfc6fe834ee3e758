"""Reading an image's header: everything about it that may change while it is open.

Source: Ceph's librbd image/RefreshRequest (order of the calls).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..rados.errors import Error as RadosError
from ..rados.operations import ReadOp
from ..wire import cls_lock, cls_rbd
from ..wire.cls_lock import RBD_LOCK_NAME, LockInfo
from ..wire.cls_rbd import GroupSpec, ParentImageSpec
from ..wire.types import NOSNAP, SnapContext
from .calls import add_call, output, read_call_or
from .errors import Error

if TYPE_CHECKING:
    from ..rados import IoCtx

METADATA_PAGE = 64


@dataclass(slots=True)
class HeaderState:
    """The changing part of a header. `size` in bytes; `flags` as ImageFlag."""

    size: int
    features: int
    incompatible: int
    flags: int
    snapc: SnapContext
    lock: LockInfo
    parent: ParentImageSpec
    op_features: int = 0
    group: GroupSpec = field(default_factory=GroupSpec)
    metadata: dict[str, bytes] = field(default_factory=dict)
    pool_metadata: dict[str, bytes] = field(default_factory=dict)


async def refresh(ioctx: IoCtx, header_oid: str, *, read_only: bool) -> HeaderState:
    """Read the header's present state. Raises rados errors, and EIO for a snapshot context that makes no sense."""
    op = ReadOp()
    add_call(op, cls_rbd.GET_SIZE, NOSNAP)
    add_call(op, cls_rbd.GET_FEATURES, cls_rbd.GetFeatures(NOSNAP, read_only))
    add_call(op, cls_rbd.GET_FLAGS, NOSNAP)
    add_call(op, cls_rbd.GET_SNAPCONTEXT, None)
    add_call(op, cls_lock.GET_INFO, cls_lock.InfoRequest(RBD_LOCK_NAME))
    result = await ioctx.operate(header_oid, op)
    features = output(result, 1, cls_rbd.GET_FEATURES)
    state = HeaderState(
        size=output(result, 0, cls_rbd.GET_SIZE).size,
        features=features.features,
        incompatible=features.incompatible,
        flags=output(result, 2, cls_rbd.GET_FLAGS),
        snapc=output(result, 3, cls_rbd.GET_SNAPCONTEXT),
        lock=output(result, 4, cls_lock.GET_INFO),
        parent=ParentImageSpec(),
    )
    if not state.snapc.is_valid():
        raise Error(f"{header_oid}: snapshot context {state.snapc} is not in order", errno=errno.EIO)

    op = add_call(ReadOp(), cls_rbd.PARENT_GET, None)
    add_call(op, cls_rbd.PARENT_OVERLAP_GET, NOSNAP)
    result = await ioctx.operate(header_oid, op)
    state.parent = output(result, 0, cls_rbd.PARENT_GET)

    state.metadata = await list_metadata(ioctx, header_oid)
    state.pool_metadata = await list_metadata(ioctx, cls_rbd.INFO)
    if state.features & cls_rbd.Feature.OPERATIONS:
        state.op_features = await read_call_or(ioctx, header_oid, cls_rbd.OP_FEATURES_GET, None, 0, errno.EOPNOTSUPP)
    codes = (errno.ENOENT, errno.EOPNOTSUPP)
    state.group = await read_call_or(ioctx, header_oid, cls_rbd.IMAGE_GROUP_GET, None, GroupSpec(), *codes)
    return state


async def list_metadata(ioctx: IoCtx, oid: str) -> dict[str, bytes]:
    """All key-value settings of a header or of the pool; none if the object is absent."""
    found: dict[str, bytes] = {}
    start_after = ""
    while True:
        try:
            query = cls_rbd.KeysAfter(start_after, METADATA_PAGE)
            page = await read_call_or(ioctx, oid, cls_rbd.METADATA_LIST, query, {}, errno.ENOENT)
        except RadosError as error:
            if error.errno == errno.EOPNOTSUPP:
                return found
            raise
        found.update(page)
        if len(page) < METADATA_PAGE:
            return found
        start_after = max(page, key=lambda key: key.encode("utf-8", "surrogateescape"))
