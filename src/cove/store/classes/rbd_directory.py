"""Class `rbd`, the methods on `rbd_id.NAME`, `rbd_directory` and `rbd_mirroring`.

Source: Ceph's cls/rbd/cls_rbd.cc (behaviour).
"""

from __future__ import annotations

import errno

from ...wire import cls_rbd as rbd
from ...wire.structure import STR, U8, U32
from ..errors import OpError
from .context import ClassContext, decode_stored
from .registry import cls_method


def check_id(image_id: str) -> None:
    """Raise EINVAL unless it is made of ASCII letters and digits."""
    if not image_id or not (image_id.isascii() and image_id.isalnum()):
        raise OpError(errno.EINVAL)


@cls_method(rbd.GET_ID)
def get_id(ctx: ClassContext, _request: None) -> str:
    """The id of the image with this name."""
    body = ctx.read()
    if not body:
        raise OpError(errno.ENOENT)
    return decode_stored(STR.unpack, body)


@cls_method(rbd.SET_ID)
def set_id(ctx: ClassContext, image_id: str) -> None:
    """Fill a new id object."""
    ctx.require()
    check_id(image_id)
    if ctx.size:
        raise OpError(errno.EEXIST)
    ctx.write_full(STR.pack(image_id))


def _name_key(name: str) -> str:
    return rbd.DIR_NAME_PREFIX + name


def _id_key(image_id: str) -> str:
    return rbd.DIR_ID_PREFIX + image_id


def _add(ctx: ClassContext, name: str, image_id: str) -> None:
    ctx.put_all({_name_key(name): STR.pack(image_id), _id_key(image_id): STR.pack(name)})


def _check_pair(ctx: ClassContext, name: str, image_id: str) -> None:
    by_name, by_id = ctx.load(_name_key(name), STR), ctx.load(_id_key(image_id), STR)
    if by_name != image_id or by_id != name:
        raise OpError(errno.ESTALE)


@cls_method(rbd.DIR_ADD_IMAGE)
def dir_add_image(ctx: ClassContext, image: rbd.DirectoryImage) -> None:
    """Enter an image."""
    if not image.name:
        raise OpError(errno.EINVAL)
    check_id(image.image_id)
    if ctx.find(_name_key(image.name)) is not None:
        raise OpError(errno.EEXIST)
    if ctx.find(_id_key(image.image_id)) is not None:
        raise OpError(errno.EBADF)
    _add(ctx, image.name, image.image_id)


@cls_method(rbd.DIR_REMOVE_IMAGE)
def dir_remove_image(ctx: ClassContext, image: rbd.DirectoryImage) -> None:
    """Take an image out."""
    _check_pair(ctx, image.name, image.image_id)
    ctx.drop(_name_key(image.name), _id_key(image.image_id))


@cls_method(rbd.DIR_RENAME_IMAGE)
def dir_rename_image(ctx: ClassContext, request: rbd.DirectoryRename) -> None:
    """Give an image another name."""
    _check_pair(ctx, request.source, request.image_id)
    if not request.destination:
        raise OpError(errno.EINVAL)
    check_id(request.image_id)
    if ctx.find(_name_key(request.destination)) is not None:
        raise OpError(errno.EEXIST)
    ctx.drop(_name_key(request.source))
    _add(ctx, request.destination, request.image_id)


@cls_method(rbd.DIR_GET_ID)
def dir_get_id(ctx: ClassContext, name: str) -> str:
    """Name → id."""
    return ctx.load(_name_key(name), STR)


@cls_method(rbd.DIR_GET_NAME)
def dir_get_name(ctx: ClassContext, image_id: str) -> str:
    """Id → name."""
    return ctx.load(_id_key(image_id), STR)


@cls_method(rbd.DIR_LIST)
def dir_list(ctx: ClassContext, request: rbd.KeysAfter) -> dict[str, str]:
    """Names and ids after a name."""
    found = ctx.page(rbd.DIR_NAME_PREFIX, request.start_after, request.max_return)
    return {name: decode_stored(STR.unpack, value) for name, value in found}


@cls_method(rbd.DIR_STATE_ASSERT)
def dir_state_assert(ctx: ClassContext, state: int) -> None:
    """Fail with ENOENT unless the directory is in that state."""
    if ctx.load(rbd.DIR_STATE_KEY, U8) != state:
        raise OpError(errno.ENOENT)


@cls_method(rbd.DIR_STATE_SET)
def dir_state_set(ctx: ClassContext, state: int) -> None:
    """Allow or forbid adding; to forbid it, the directory must be empty."""
    if state not in (rbd.DirectoryState.READY, rbd.DirectoryState.ADD_DISABLED):
        raise OpError(errno.EINVAL)
    if state == rbd.DirectoryState.ADD_DISABLED:
        ctx.require()
        if ctx.page(rbd.DIR_NAME_PREFIX, "", 1):
            raise OpError(errno.EBUSY)
    ctx.save(rbd.DIR_STATE_KEY, U8, state)


@cls_method(rbd.MIRROR_MODE_GET)
def mirror_mode_get(ctx: ClassContext, _request: None) -> int:
    """Mirroring is not offered, but every client asks: ENOENT means disabled."""
    return ctx.load("mirror_mode", U32)


@cls_method(rbd.MIRROR_UUID_GET)
def mirror_uuid_get(ctx: ClassContext, _request: None) -> str:
    """See `mirror_mode_get`."""
    return decode_stored(lambda value: value.decode("ascii", "replace"), ctx.get("mirror_uuid"))


@cls_method(rbd.MIRROR_IMAGE_GET)
def mirror_image_get(ctx: ClassContext, image_id: str) -> rbd.MirrorImage:
    """See `mirror_mode_get`."""
    return ctx.load(f"image_{image_id}", rbd.MirrorImage.codec())


@cls_method(rbd.MIRROR_IMAGE_REMOVE)
def mirror_image_remove(ctx: ClassContext, image_id: str) -> None:
    """ENOENT for an image that is not mirrored; one that is must be in the state "disabling"."""
    image = ctx.load(f"image_{image_id}", rbd.MirrorImage.codec())
    if image.state != 0:
        raise OpError(errno.EBUSY)
    ctx.drop(f"image_{image_id}", f"global_{image.global_id}")


@cls_method(rbd.MIRROR_PEER_LIST)
def mirror_peer_list(ctx: ClassContext, _request: None) -> list[bytes]:
    """See `mirror_mode_get`."""
    return [value for _, value in ctx.items("mirror_peer_")]
