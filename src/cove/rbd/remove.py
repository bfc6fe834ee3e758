"""Removing an image: its data, then header, object map, id object and directory entry.

In this order an interrupted removal can be repeated at any time: as long as there is a header, the data can be
found; as long as there is an id object or a directory entry, the rest can. The same path clears what an interrupted
creation has left (which never has data). `repair` finishes both for a whole pool, after a crash.

Source: Ceph's librbd image/RemoveRequest, image/PreRemoveRequest (checks, errnos). The trash, through which librbd
moves an image while it is removed, is not used.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from ..rados.errors import Error as RadosError
from ..wire import cls_rbd
from ..wire.osd_ops import RequestFlag
from .calls import exists, read_call_or, remove_object, write_call
from .errors import ImageNotFound, image_error
from .image import Image
from .listing import list_entries
from .open import open_header
from .resize import trim

if TYPE_CHECKING:
    from ..rados import IoCtx

log = structlog.get_logger(__name__)

_FULL_TRY = RequestFlag.FULL_TRY
"""Removing must work on a full pool, too."""


async def remove(ioctx: IoCtx, name: str, *, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Remove an image with all its data, or what is left of one. `on_progress` gets objects done and to do.

    Raises ImageNotFound, ImageBusy (somebody has it open for writing), ReadOnlyImage (features or snapshots),
    or Error with EMLINK (it belongs to a group).
    """
    image_id = await _find(ioctx, name)
    await _remove_data(ioctx, name, image_id, on_progress)
    await _remove_metadata(ioctx, name, image_id)
    log.info("image_removed", image=name, id=image_id)


async def _find(ioctx: IoCtx, name: str) -> str:
    """The image's id, from its id object or from the directory."""
    image_id = await read_call_or(ioctx, cls_rbd.id_object(name), cls_rbd.GET_ID, None, "", errno.ENOENT)
    if not image_id:
        image_id = await read_call_or(ioctx, cls_rbd.DIRECTORY, cls_rbd.DIR_GET_ID, name, "", errno.ENOENT)
    if image_id:
        return image_id
    raise ImageNotFound(f"there is no image {name!r}: check name and pool")


async def _remove_data(ioctx: IoCtx, name: str, image_id: str, on_progress: Callable[[int, int], None] | None) -> None:
    try:
        opened = await open_header(ioctx, name, image_id, read_only=False)
    except ImageNotFound:
        return  # no header: either no data was written yet, or all of it is gone
    async with Image(ioctx, opened, read_only=False) as image:
        if opened.state.snapc.snaps:
            raise image_error(errno.ENOTEMPTY, f"image {name!r} has snapshots, remove those first")
        if opened.state.group.pool >= 0:
            raise image_error(errno.EMLINK, f"image {name!r} belongs to a group, take it out of that first")
        image.check_writable()
        await image.ensure_lock()
        async with image.gate.blocked():
            await trim(image, 0, flags=_FULL_TRY, on_progress=on_progress)


async def _remove_metadata(ioctx: IoCtx, name: str, image_id: str) -> None:
    await remove_object(ioctx, cls_rbd.header_object(image_id), flags=_FULL_TRY)
    await remove_object(ioctx, cls_rbd.object_map_object(image_id), flags=_FULL_TRY)
    await remove_object(ioctx, cls_rbd.id_object(name), flags=_FULL_TRY)
    try:
        entry = cls_rbd.DirectoryImage(name, image_id)
        await write_call(ioctx, cls_rbd.DIRECTORY, cls_rbd.DIR_REMOVE_IMAGE, entry)
    except RadosError as error:
        if error.errno != errno.ENOENT:
            raise


async def repair(ioctx: IoCtx) -> list[str]:
    """Clear away what interrupted creations and removals left in a pool: entries without a header.

    Only for a time when nobody else creates or removes images there, as at the start of the process that owns the
    store. Returns the names cleared.
    """
    cleared = []
    for name, image_id in (await list_entries(ioctx)).items():
        if not await exists(ioctx, cls_rbd.header_object(image_id)):
            log.info("image_leftovers_removed", image=name, id=image_id)
            await _remove_metadata(ioctx, name, image_id)
            cleared.append(name)
    return cleared
