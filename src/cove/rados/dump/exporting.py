"""A pool's objects into a file, in the format of Ceph's own `rados export`.

Objects are read several at a time and written in the order in which the pool lists them.

Source: Ceph's tools/rados/PoolDump.cc.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import BinaryIO

from ...wire.encoding import Buffer
from ...wire.rados_dump import ObjectBegin, PoolBegin, PoolEnd, encode_section, section_parts, super_header
from ..errors import ObjectNotFound
from ..ioctx import IoCtx
from ..ioctx_listing import ALL_NAMESPACES
from .contents import ObjectContents, read_object
from .parallel import in_order
from .threads import in_thread

BUFFER_BYTES = 1 << 20
"""Small objects are put together until they are so much: a write of each would cost more than they do."""


@dataclass(slots=True)
class Exported:
    """What a dump holds; `gone` counts objects that were listed, and not there any more."""

    objects: int = 0
    size_bytes: int = 0
    gone: int = 0


async def objects_of(ioctx: IoCtx, nspace: str | None) -> AsyncIterator[ObjectBegin]:
    """The pool's objects: of that namespace, None for all. Raises rados errors."""
    async for entry in ioctx.list_objects(ALL_NAMESPACES if nspace is None else nspace):
        yield ObjectBegin(entry.name, entry.nspace, entry.locator_key)


def _nobody(_count: int) -> None:
    """Of whom nobody asked how far it came."""


async def export_pool(
    ioctx: IoCtx, target: BinaryIO, nspace: str | None = None, *, moved: Callable[[int], None] = _nobody
) -> Exported:
    """Write the objects of a namespace (None: of all) to the target, as they are, or were at the context's snapshot.

    `target.write` must take all it is given; it is called on threads. `moved` is told the bytes of each object that is
    written. Raises ObjectChanged, rados errors, OSError.
    """

    async def read(begin: ObjectBegin) -> ObjectContents | None:
        try:
            return await read_object(ioctx, begin)
        except ObjectNotFound:
            return None

    done = Exported()
    waiting = bytearray(super_header() + encode_section(PoolBegin()))
    async with in_order(objects_of(ioctx, nspace), read) as results:
        async for contents in results:
            if contents is None:
                done.gone += 1
                continue
            try:
                if contents.size < BUFFER_BYTES:
                    for section in contents.sections():
                        waiting += encode_section(section)
                else:
                    await in_thread(_write, target, waiting, contents)
                    waiting = bytearray()
            finally:
                contents.close()
            if len(waiting) >= BUFFER_BYTES:
                await in_thread(target.write, waiting)
                waiting = bytearray()
            done.objects += 1
            done.size_bytes += contents.size
            moved(contents.size)
    await in_thread(target.write, waiting + encode_section(PoolEnd()))
    return done


def _write(target: BinaryIO, before: Buffer, contents: ObjectContents) -> None:
    target.write(before)
    for section in contents.sections():
        for part in section_parts(section):
            target.write(part)
