"""Class `rbd`, the methods on `rbd_trash`.

Source: Ceph's cls/rbd/cls_rbd.cc (behaviour).
"""

from __future__ import annotations

import errno
from dataclasses import replace

from ...wire import cls_rbd as rbd
from ..errors import OpError
from .context import ClassContext, decode_stored
from .rbd_directory import check_id
from .registry import cls_method

_IMAGE = rbd.TrashImage.codec()


def _key(image_id: str) -> str:
    return rbd.DIR_ID_PREFIX + image_id


@cls_method(rbd.TRASH_ADD)
def trash_add(ctx: ClassContext, request: rbd.TrashAdd) -> None:
    """Enter an image."""
    check_id(request.image_id)
    if ctx.find(_key(request.image_id)) is not None:
        raise OpError(errno.EEXIST)
    ctx.save(_key(request.image_id), _IMAGE, request.image)


@cls_method(rbd.TRASH_REMOVE)
def trash_remove(ctx: ClassContext, image_id: str) -> None:
    """Take an image out."""
    ctx.get(_key(image_id))
    ctx.drop(_key(image_id))


@cls_method(rbd.TRASH_GET)
def trash_get(ctx: ClassContext, image_id: str) -> rbd.TrashImage:
    """What is known of an image in the trash."""
    return ctx.load(_key(image_id), _IMAGE)


@cls_method(rbd.TRASH_LIST)
def trash_list(ctx: ClassContext, request: rbd.KeysAfter) -> dict[str, rbd.TrashImage]:
    """Images after an id."""
    found = ctx.page(rbd.DIR_ID_PREFIX, request.start_after, request.max_return)
    return {name: decode_stored(_IMAGE.unpack, value) for name, value in found}


@cls_method(rbd.TRASH_STATE_SET)
def trash_state_set(ctx: ClassContext, request: rbd.TrashSetState) -> None:
    """Change the state if it is the expected one."""
    image = ctx.load(_key(request.image_id), _IMAGE)
    if image.state == request.expected:
        ctx.save(_key(request.image_id), _IMAGE, replace(image, state=request.new))
    elif image.state != request.new:
        raise OpError(errno.ESTALE)
