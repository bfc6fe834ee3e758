"""Changing an image's size: growing is a matter of the header and the map, shrinking deletes what is cut off.

A crash in between leaves an image that works: a map that is longer than needed is ignored, and what was deleted
lay beyond the size that the caller wanted.

Source: Ceph's librbd operation/ResizeRequest and operation/TrimRequest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ..wire import cls_rbd
from .calls import write_call
from .create import SIZE_MAX
from .errors import InvalidArgument
from .io import delete_objects, discard_extents
from .layout import ObjectExtent

if TYPE_CHECKING:
    from collections.abc import Callable

    from .image import Image

log = structlog.get_logger(__name__)

TRIM_OBJECTS = 1024
"""Objects that one round of a trim marks, deletes and unmarks."""


async def resize(image: Image, size: int, *, allow_shrink: bool) -> None:
    """See Image.resize."""
    image.check_writable()
    if not 0 <= size < SIZE_MAX:
        raise InvalidArgument(f"size={size}: give a size in bytes, at least 0 and below 2^63")
    await image.ensure_lock()
    async with image.gate.blocked():
        old = image.size
        if size < old and not allow_shrink:
            raise InvalidArgument(f"size={size}: smaller than now ({old}), and shrinking is not allowed")
        count = image.layout.object_count(size)
        if size < old:
            await trim(image, size)
            await write_call(image.ioctx, image.header_oid, cls_rbd.SET_SIZE, size)
            await image.object_map.resize(count)
        elif size > old:
            await image.object_map.resize(count)
            await write_call(image.ioctx, image.header_oid, cls_rbd.SET_SIZE, size)
        image.state.size = size
    log.info("image_resized", image=image.name, old=old, new=size)


async def trim(
    image: Image, size: int, *, flags: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Delete all data beyond `size`; writes must be stopped. `on_progress` gets objects done and to do."""
    layout, old = image.layout, image.size
    first = -(-size // layout.period) * layout.stripe_count
    end = layout.object_count(old)
    for start in range(first, end, TRIM_OBJECTS):
        stop = min(start + TRIM_OBJECTS, end)
        await delete_objects(image, range(start, stop), flags=flags)
        if on_progress is not None:
            on_progress(stop - first, end - first)
    edge = min(-(-size // layout.period) * layout.period, old)
    if size < edge:
        await discard_extents(image, [_to_the_end(extent, layout.object_size) for extent in _edge(image, size, edge)])


def _edge(image: Image, start: int, end: int) -> list[ObjectExtent]:
    """What is cut off the objects of the last set: one extent for each object, from its first byte cut."""
    found: dict[int, ObjectExtent] = {}
    for extent in image.layout.extents(start, end - start):
        known = found.get(extent.object_no)
        if known is None or extent.offset < known.offset:
            found[extent.object_no] = extent
    return list(found.values())


def _to_the_end(extent: ObjectExtent, object_size: int) -> ObjectExtent:
    """Nothing of an object is kept behind the cut; cut at 0, the object goes."""
    return ObjectExtent(extent.object_no, extent.offset, object_size - extent.offset, [])
