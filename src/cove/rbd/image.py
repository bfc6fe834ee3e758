"""An open image: what the users of `cove.rbd` hold. Reading and writing is in `io.py`, sizes in `resize.py`.

    open (open.py, refresh.py) ─► first write: lock (lock.py), object map (object_map.py) ─► I/O (io.py) ─► close

Every method may be called by many tasks at a time. A write has been committed when its call returns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog

from ..rados.errors import Error as RadosError
from ..wire import cls_rbd
from ..wire.cls_rbd import Feature, ImageFlag
from ..wire.encoding import Buffer
from ..wire.structure import ClassMethod
from . import io, resize
from .calls import write_call
from .errors import ImageClosed, ReadOnlyImage
from .gate import WriteGate
from .layout import Layout
from .lock import ExclusiveLock
from .object_map import ImageObjectMap, load_stored
from .open import Opened, open_image
from .refresh import HeaderState, refresh

if TYPE_CHECKING:
    from ..rados import IoCtx

log = structlog.get_logger(__name__)

TIMESTAMP_INTERVAL_NS = 60 * 10**9
"""Access and modification times are written at most this often."""


@dataclass(frozen=True, slots=True)
class ImageStat:
    """What there is to know about an image. Sizes in bytes, times in nanoseconds since the epoch."""

    name: str
    id: str
    size: int
    order: int
    object_size: int
    object_count: int
    stripe_unit: int
    stripe_count: int
    features: int
    flags: int
    block_name_prefix: str
    create_time_ns: int
    access_time_ns: int
    modify_time_ns: int
    lock_owners: tuple[str, ...]


class Image:
    """An open image. `await Image.open(ioctx, "name")`, or `async with` it; close it to give its lock back."""

    def __init__(self, ioctx: IoCtx, opened: Opened, *, read_only: bool) -> None:
        self.ioctx = ioctx
        self.name = opened.name
        self.id = opened.id
        self.layout: Layout = opened.layout
        self.header_oid = opened.header_oid
        self.object_prefix = opened.object_prefix
        self.state: HeaderState = opened.state
        self.access = opened.access
        self.read_only = read_only
        self.gate = WriteGate()
        self.lock = ExclusiveLock(ioctx, opened.header_oid, opened.name)
        self.object_map = ImageObjectMap(ioctx, opened.id, opened.state.features)
        self._opened = opened
        self._setting_up = asyncio.Lock()
        self._ready = not opened.state.features & Feature.EXCLUSIVE_LOCK
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._oids: dict[int, str] = {}
        self._access_ns = max(opened.access_time_ns, opened.create_time_ns)
        self._modify_ns = max(opened.modify_time_ns, opened.create_time_ns)

    @classmethod
    async def open(cls, ioctx: IoCtx, name: str, read_only: bool = False) -> Image:
        """Open an image.

        An exclusive lock that a dead owner has left is broken, unless `read_only`. Raises ImageNotFound,
        FunctionNotSupported (features that must be known even for reading).
        """
        opened = await open_image(ioctx, name, read_only=read_only)
        image = cls(ioctx, opened, read_only=read_only)
        if not read_only and opened.access.writable and opened.state.lock.lockers:
            await image.lock.break_dead(opened.state.lock)
        log.debug("image_opened", image=name, id=opened.id, read_only=read_only)
        return image

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def size(self) -> int:
        """Size in bytes, as of the last refresh."""
        return self.state.size

    @property
    def object_count(self) -> int:
        """How many data objects the image may have."""
        return self.layout.object_count(self.state.size)

    def data_oid(self, number: int) -> str:
        """Name of a data object."""
        oid = self._oids.get(number)
        if oid is None:
            if len(self._oids) >= 65536:
                self._oids.clear()
            oid = self._oids[number] = cls_rbd.data_object(self.object_prefix, number)
        return oid

    def stat(self) -> ImageStat:
        """Everything about the image, as of the last refresh."""
        state, layout, opened = self.state, self.layout, self._opened
        return ImageStat(
            name=self.name,
            id=self.id,
            size=state.size,
            order=layout.order,
            object_size=layout.object_size,
            object_count=self.object_count,
            stripe_unit=layout.stripe_unit,
            stripe_count=layout.stripe_count,
            features=state.features,
            flags=state.flags,
            block_name_prefix=self.object_prefix,
            create_time_ns=opened.create_time_ns,
            access_time_ns=self._access_ns,
            modify_time_ns=self._modify_ns,
            lock_owners=tuple(f"{owner.entity} {owner.cookie}" for owner in state.lock.lockers),
        )

    async def refresh(self) -> None:
        """Read the header again."""
        self.check_open()
        self.state = await refresh(self.ioctx, self.header_oid, read_only=self.read_only)

    # reading ----------------------------------------------------------------------------------------------------

    async def read(self, offset: int, length: int) -> bytes:
        """Bytes of a range; short at the image's end. Raises InvalidArgument at or beyond the end."""
        return await io.read(self, offset, length)

    async def read_segments(self, offset: int, length: int) -> list[io.Segment]:
        """As `read`, as consecutive pieces; a hole is (length, None)."""
        return await io.read_segments(self, offset, length)

    async def block_status(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        """Consecutive extents of a range: their length, and whether they may hold data."""
        self.check_open()
        states = self.object_map.states
        usable = self.state.features & Feature.OBJECT_MAP and not self.state.flags & ImageFlag.OBJECT_MAP_INVALID
        if states is None and usable and not self.lock.held:
            states = await load_stored(self.ioctx, self.id)
        return io.block_status(self, states, offset, length)

    # writing ----------------------------------------------------------------------------------------------------

    async def write(self, offset: int, data: Buffer) -> int:
        """Write and commit; returns the number of bytes, less than given only at the image's end.

        `data` must not change until then: it is not copied. Raises InvalidArgument at or beyond the end,
        ReadOnlyImage, ImageBusy (another client has the lock), or the rados error of the first object that failed.
        """
        return await io.write(self, offset, data)

    async def discard(self, offset: int, length: int, *, granularity: int = io.DISCARD_GRANULARITY) -> int:
        """Give back the space of a range; only whole blocks of `granularity` bytes of each object."""
        return await io.discard(self, offset, length, granularity)

    async def write_zeroes(self, offset: int, length: int, *, thick: bool = False) -> int:
        """Make a range read as zeros: by giving its space back, or by writing them if `thick`."""
        return await io.write_zeroes(self, offset, length, thick=thick)

    async def write_same(self, offset: int, length: int, pattern: Buffer) -> int:
        """Repeat `pattern` over a range, which must be a multiple of its size."""
        return await io.write_same(self, offset, length, pattern)

    async def compare_and_write(self, offset: int, compare: Buffer, data: Buffer) -> int:
        """Write `data` if the image holds `compare` there, atomically. Both within one stripe unit.

        Raises CompareMismatch with the image offset of the first difference.
        """
        return await io.compare_and_write(self, offset, compare, data)

    async def flush(self) -> None:
        """Wait for all writes begun before: they are committed then."""
        self.check_open()
        await self.gate.drain()

    async def resize(self, size: int, *, allow_shrink: bool = True) -> None:
        """Change the size in bytes; what is cut off is deleted. Raises InvalidArgument if shrinking is not allowed."""
        await resize.resize(self, size, allow_shrink=allow_shrink)

    # the exclusive lock -----------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raises ImageClosed."""
        if self._closed:
            raise ImageClosed(f"image {self.name!r} is closed: open it again")

    def check_writable(self) -> None:
        """Raises ImageClosed or ReadOnlyImage."""
        self.check_open()
        if self.read_only:
            raise ReadOnlyImage(f"image {self.name!r} is open read-only")
        if not self.access.writable:
            raise ReadOnlyImage(f"image {self.name!r}: {self.access.reason}")

    async def ensure_lock(self) -> None:
        """Before the first change: take the lock and load the object map. Raises ImageBusy."""
        if self._ready:
            return
        async with self._setting_up:
            if self._ready:
                return
            if await self.lock.acquire():
                try:
                    self.state = await refresh(self.ioctx, self.header_oid, read_only=False)
                    if self.state.features & Feature.OBJECT_MAP:
                        await self._open_object_map()
                except BaseException:
                    await asyncio.shield(self._give_up())
                    raise
            self._ready = True

    async def _open_object_map(self) -> None:
        if self.state.flags & ImageFlag.OBJECT_MAP_INVALID:
            log.warning("object_map_not_used", image=self.name, reason="it is marked invalid")
            return
        await self.object_map.open(self.object_count)

    async def _give_up(self) -> None:
        await self.object_map.close()
        await self.lock.release()

    async def close(self) -> None:
        """Wait for writes, give the lock back. The image is unusable afterwards; closing twice is fine."""
        if self._closed:
            return
        await self.gate.close()
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.lock.held:
            await self._give_up()
        log.debug("image_closed", image=self.name)

    # timestamps -------------------------------------------------------------------------------------------------

    def note_write(self) -> None:
        """Bring the modification time up to date, in the background and not often."""
        now = time.time_ns()
        if now - self._modify_ns > TIMESTAMP_INTERVAL_NS:
            self._modify_ns = now
            self._touch(cls_rbd.SET_MODIFY_TIMESTAMP)

    def note_read(self) -> None:
        """Bring the access time up to date, in the background and not often."""
        if self.read_only or not self.access.writable:
            return
        now = time.time_ns()
        if now - self._access_ns > TIMESTAMP_INTERVAL_NS:
            self._access_ns = now
            self._touch(cls_rbd.SET_ACCESS_TIMESTAMP)

    def _touch(self, method: ClassMethod[None, None]) -> None:
        async def touch() -> None:
            try:
                await write_call(self.ioctx, self.header_oid, method, None)
            except RadosError as error:
                log.warning("timestamp_not_set", image=self.name, error=str(error))

        task = asyncio.get_running_loop().create_task(touch())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
