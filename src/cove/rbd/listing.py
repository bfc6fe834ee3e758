"""Names and ids of a pool's images, and renaming.

Source: Ceph's librbd api::Image::list_images, operation/RenameRequest.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..rados.errors import Error as RadosError
from ..rados.operations import WriteOp
from ..wire import cls_rbd
from .calls import exists, read_call, remove_object, write_call
from .create import check_name
from .errors import ImageExists
from .open import find_id

if TYPE_CHECKING:
    from ..rados import IoCtx

PAGE = 1024


async def list_entries(ioctx: IoCtx) -> dict[str, str]:
    """Name → id of all images of the pool (and namespace), ordered by name."""
    found: dict[str, str] = {}
    start_after = ""
    while True:
        try:
            page = await read_call(ioctx, cls_rbd.DIRECTORY, cls_rbd.DIR_LIST, cls_rbd.KeysAfter(start_after, PAGE))
        except RadosError as error:
            if error.errno == errno.ENOENT:
                return found
            raise
        names = sorted(page, key=lambda name: name.encode("utf-8", "surrogateescape"))
        found.update((name, page[name]) for name in names)
        if len(page) < PAGE:
            return found
        start_after = names[-1]


async def list_images(ioctx: IoCtx) -> list[str]:
    """Names of all images of the pool (and namespace), in order."""
    return list(await list_entries(ioctx))


async def rename(ioctx: IoCtx, source: str, destination: str) -> None:
    """Give an image another name; its id and objects stay. Raises ImageNotFound, ImageExists, InvalidArgument."""
    check_name(destination)
    for oid in (f"{destination}.rbd", cls_rbd.id_object(destination)):
        if await exists(ioctx, oid):
            raise ImageExists(f"image {destination!r} exists already: choose another name")
    image_id = await find_id(ioctx, source)
    create = WriteOp().create(exclusive=True).write_full(cls_rbd.SET_ID.input.pack(image_id))
    await ioctx.operate(cls_rbd.id_object(destination), create)
    try:
        change = cls_rbd.DirectoryRename(source, destination, image_id)
        await write_call(ioctx, cls_rbd.DIRECTORY, cls_rbd.DIR_RENAME_IMAGE, change)
    except RadosError:
        await remove_object(ioctx, cls_rbd.id_object(destination))
        raise
    await remove_object(ioctx, cls_rbd.id_object(source))
