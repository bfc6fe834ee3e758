"""Opening an image: from a name to the header's fixed part, and the checks that decide what may be done with it.

Source: Ceph's librbd image/OpenRequest (order of the calls, errnos).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rados.errors import Error as RadosError
from ..rados.operations import ReadOp
from ..wire import cls_rbd
from ..wire.cls_rbd import Feature
from ..wire.types import NOSNAP
from .calls import add_call, exists, output, read_call, read_call_or
from .errors import Error, FunctionNotSupported, ImageNotFound
from .features import Access, access
from .layout import Layout
from .refresh import HeaderState, refresh

if TYPE_CHECKING:
    from ..rados import IoCtx


@dataclass(slots=True)
class Opened:
    """What opening has found. Times are nanoseconds since the epoch."""

    name: str
    id: str
    header_oid: str
    object_prefix: str
    layout: Layout
    create_time_ns: int
    access_time_ns: int
    modify_time_ns: int
    data_pool_id: int
    state: HeaderState
    access: Access


async def find_id(ioctx: IoCtx, name: str) -> str:
    """The id of the image with that name. Raises ImageNotFound, FunctionNotSupported (an image of format 1)."""
    oid = cls_rbd.id_object(name)
    try:
        await ioctx.operate(oid, ReadOp().stat())
        return await read_call(ioctx, oid, cls_rbd.GET_ID, None)
    except RadosError as error:
        if error.errno != errno.ENOENT:
            raise
    if await exists(ioctx, f"{name}.rbd"):
        raise FunctionNotSupported(f"image {name!r} has the old format 1, which is not supported: migrate it first")
    raise ImageNotFound(f"there is no image {name!r}: check name and pool")


async def open_image(ioctx: IoCtx, name: str, *, read_only: bool) -> Opened:
    """Find an image by name and read its header.

    Raises ImageNotFound (also for one whose creation or removal was interrupted), FunctionNotSupported.
    """
    image_id = await find_id(ioctx, name)
    return await open_header(ioctx, name, image_id, read_only=read_only)


async def open_header(ioctx: IoCtx, name: str, image_id: str, *, read_only: bool) -> Opened:
    """Read the header of a known id."""
    header_oid = cls_rbd.header_object(image_id)
    op = add_call(ReadOp(), cls_rbd.GET_SIZE, NOSNAP)
    add_call(op, cls_rbd.GET_OBJECT_PREFIX, None)
    add_call(op, cls_rbd.GET_FEATURES, cls_rbd.GetFeatures(NOSNAP, read_only))
    try:
        result = await ioctx.operate(header_oid, op)
    except RadosError as error:
        if error.errno == errno.ENOENT:
            raise ImageNotFound(
                f"image {name!r} is incomplete (no {header_oid}): its creation or removal was interrupted, remove it"
            ) from error
        raise
    size = output(result, 0, cls_rbd.GET_SIZE)
    prefix = output(result, 1, cls_rbd.GET_OBJECT_PREFIX)
    features = output(result, 2, cls_rbd.GET_FEATURES)

    striping = cls_rbd.Striping(0, 1)
    if features.features & Feature.STRIPINGV2:
        codes = (errno.ENOEXEC, errno.EINVAL)
        striping = await read_call_or(ioctx, header_oid, cls_rbd.GET_STRIPE_UNIT_COUNT, None, striping, *codes)
    created = await read_call(ioctx, header_oid, cls_rbd.GET_CREATE_TIMESTAMP, None)
    op = add_call(ReadOp(), cls_rbd.GET_ACCESS_TIMESTAMP, None)
    add_call(op, cls_rbd.GET_MODIFY_TIMESTAMP, None)
    times = await ioctx.operate(header_oid, op)
    data_pool = await read_call(ioctx, header_oid, cls_rbd.GET_DATA_POOL, None)

    state = await refresh(ioctx, header_oid, read_only=read_only)
    allowed = access(state.features, has_parent=state.parent.exists, has_snapshots=bool(state.snapc.snaps))
    try:
        layout = Layout(size.order, striping.unit, striping.count)
    except Error as error:
        raise Error(f"{header_oid}: {error}", errno=errno.EIO) from error
    return Opened(
        name=name,
        id=image_id,
        header_oid=header_oid,
        object_prefix=prefix,
        layout=layout,
        create_time_ns=created,
        access_time_ns=output(times, 0, cls_rbd.GET_ACCESS_TIMESTAMP),
        modify_time_ns=output(times, 1, cls_rbd.GET_MODIFY_TIMESTAMP),
        data_pool_id=data_pool,
        state=state,
        access=allowed,
    )
