"""The object map of an open image: which data objects may exist, kept in memory and in `rbd_object_map.ID`.

Only the owner of the exclusive lock has one. An object's state becomes `exists` before data is written to it, and
`nonexistent` only after it has been deleted, so that a crash leaves objects that are marked and absent, but never
objects that are there and not marked. Changes of one object's state follow each other: `claim`.

A failing update switches the map off and marks it invalid in the header: everything may exist then. No data is
written without the map before that mark is durable: whoever opens the image next would trust the map.

Source: Ceph's librbd ObjectMap and object_map/{Lock,Refresh,Update,Resize,Invalidate}Request.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from ..rados.errors import Error as RadosError
from ..rados.operations import WriteOp
from ..wire import cls_lock, cls_rbd
from ..wire.cls_lock import RBD_LOCK_NAME, LockType
from ..wire.cls_rbd import Feature, ImageFlag
from ..wire.object_map import ObjectMap, ObjectState
from ..wire.types import NOSNAP
from .calls import add_call, read_call, write_call
from .errors import ReadOnlyImage

if TYPE_CHECKING:
    from ..rados import IoCtx

log = structlog.get_logger(__name__)

UPDATE_OBJECTS_MAX = 262_144
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_ASSERT_LOCKED = cls_lock.AssertRequest(RBD_LOCK_NAME, LockType.EXCLUSIVE, "", "")


def ranges(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending object numbers as half-open ranges."""
    start = previous = -1
    for number in numbers:
        if number != previous + 1 or start < 0:
            if start >= 0:
                yield start, previous + 1
            start = number
        previous = number
    if start >= 0:
        yield start, previous + 1


class ImageObjectMap:
    """The head's object map. `states` is None while there is none to rely on."""

    def __init__(self, ioctx: IoCtx, image_id: str, features: int) -> None:
        self._ioctx = ioctx
        self._oid = cls_rbd.object_map_object(image_id)
        self._header_oid = cls_rbd.header_object(image_id)
        self._fast_diff = bool(features & Feature.FAST_DIFF)
        self._claims: dict[int, asyncio.Future[None]] = {}
        self.states: ObjectMap | None = None
        self._unmarked = False
        """The map is off, and its stored form does not say so yet."""
        self._marking = asyncio.Lock()
        self.locked = False
        self.updates = 0

    @property
    def oid(self) -> str:
        """The object that the map is stored in."""
        return self._oid

    def may_exist(self, number: int) -> bool:
        """False only if the object is known to be absent."""
        states = self.states
        return states is None or number >= states.count or states[number] != ObjectState.NONEXISTENT

    # opening and closing ----------------------------------------------------------------------------------------

    async def open(self, object_count: int) -> None:
        """As the image's lock owner: lock the map object, load the map; make it anew if it is damaged or short."""
        await self._lock()
        try:
            loaded = await read_call(self._ioctx, self._oid, cls_rbd.OBJECT_MAP_LOAD, None)
        except RadosError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL, errno.EIO):
                raise
            log.warning("object_map_damaged", oid=self._oid, error=str(error))
            await self._rebuild_size(object_count, damaged=error.errno != errno.ENOENT)
            return
        if loaded.count < object_count:
            log.warning("object_map_short", oid=self._oid, count=loaded.count, needed=object_count)
            await self._rebuild_size(object_count, damaged=False)
            return
        self.states = loaded

    async def _lock(self) -> None:
        request = cls_lock.LockRequest(RBD_LOCK_NAME, LockType.EXCLUSIVE, "", "")
        for attempt in range(2):
            try:
                await write_call(self._ioctx, self._oid, cls_lock.LOCK, request)
            except RadosError as error:
                if error.errno == errno.EBUSY and attempt == 0:
                    await self._break_locks()
                    continue
                if error.errno != errno.EEXIST:
                    log.warning("object_map_lock_failed", oid=self._oid, error=str(error))
            break
        self.locked = True

    async def _break_locks(self) -> None:
        """Who holds the header's lock may take the map's from whoever left it; errors don't matter."""
        try:
            info = await read_call(self._ioctx, self._oid, cls_lock.GET_INFO, cls_lock.InfoRequest(RBD_LOCK_NAME))
            for owner in info.lockers:
                request = cls_lock.BreakRequest(RBD_LOCK_NAME, owner.entity, owner.cookie)
                await write_call(self._ioctx, self._oid, cls_lock.BREAK_LOCK, request)
        except RadosError as error:
            log.warning("object_map_break_lock_failed", oid=self._oid, error=str(error))

    async def _rebuild_size(self, object_count: int, *, damaged: bool) -> None:
        """Mark the map invalid and give it the right size; a damaged one is emptied first."""
        await self.invalidate()
        op = WriteOp()
        if damaged:
            op.truncate(0)
        add_call(op, cls_rbd.OBJECT_MAP_RESIZE, cls_rbd.ObjectMapResize(object_count, 0))
        try:
            await self._ioctx.operate(self._oid, op)
        except RadosError as error:
            log.warning("object_map_resize_failed", oid=self._oid, error=str(error))

    async def close(self) -> None:
        """Unlock the map object. Errors are logged: the header's lock is what counts."""
        self.states = None
        self._unmarked = False  # no data has been written since
        if not self.locked:
            return
        self.locked = False
        try:
            await write_call(self._ioctx, self._oid, cls_lock.UNLOCK, cls_lock.UnlockRequest(RBD_LOCK_NAME, ""))
        except RadosError as error:
            if error.errno != errno.ENOENT:
                log.warning("object_map_unlock_failed", oid=self._oid, error=str(error))

    async def invalidate(self) -> None:
        """From now on everything may exist, for us and for who comes after us."""
        self.states = None
        self._unmarked = True
        await self.ensure_marked()

    async def ensure_marked(self) -> None:
        """Where the map is off because it failed: have that in the header. Raises rados errors; repeat it then.

        To be awaited before every write of data that the map is not told of.
        """
        if not self._unmarked:
            return
        async with self._marking:
            if not self._unmarked:
                return
            flags = int(ImageFlag.OBJECT_MAP_INVALID | (ImageFlag.FAST_DIFF_INVALID if self._fast_diff else 0))
            await write_call(self._ioctx, self._header_oid, cls_rbd.SET_FLAGS, cls_rbd.SetFlags(flags, flags))
            self._unmarked = False
            log.warning("object_map_invalidated", oid=self._oid)

    # changes ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def claim(self, numbers: Sequence[int]) -> AsyncIterator[None]:
        """While inside, nobody else changes the states of these objects, nor begins a write that needs them changed."""
        claims = self._claims
        while True:
            taken = {claims[number] for number in numbers if number in claims}
            if not taken:
                break
            await asyncio.wait(taken)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for number in numbers:
            claims[number] = done
        try:
            yield
        finally:
            for number in numbers:
                del claims[number]
            done.set_result(None)

    def is_writable(self, numbers: Sequence[int]) -> bool:
        """Whether data may be written to all these objects at once."""
        states = self.states
        if states is None:
            return not self._unmarked
        claims = self._claims
        return all(number not in claims and states[number] == ObjectState.EXISTS for number in numbers)

    async def ensure_exists(self, numbers: Sequence[int]) -> set[int]:
        """Make the state of these objects (ascending) `exists`; returns those that were not.

        The caller must submit its writes before it awaits anything else.
        """
        fresh: set[int] = set()
        while not self.is_writable(numbers):
            if self.states is None:
                await self.ensure_marked()
                continue
            async with self.claim(numbers):
                states = self.states
                if states is None:
                    continue
                changed = [number for number in numbers if states[number] != ObjectState.EXISTS]
                await self.set_states(changed, ObjectState.EXISTS)
                fresh.update(changed)
        return fresh if self.states is not None else set(numbers)

    async def set_states(self, numbers: Sequence[int], new: ObjectState, current: ObjectState | None = None) -> None:
        """As `update`, for ascending numbers with gaps."""
        for start, end in ranges(numbers):
            await self.update(start, end, new, current)

    async def update(self, start: int, end: int, new: ObjectState, current: ObjectState | None = None) -> None:
        """Change the states of objects [start, end), on the OSD and then in memory. Needs their claim.

        A failure invalidates the map and is not raised; only EROFS (the lock is lost) is, and a lack of space, which
        has changed nothing.
        """
        for first in range(start, end, UPDATE_OBJECTS_MAX):
            last = min(first + UPDATE_OBJECTS_MAX, end)
            if self.states is None:
                return
            change = cls_rbd.ObjectMapUpdate(first, last, new, current)
            op = add_call(WriteOp(), cls_lock.ASSERT_LOCKED, _ASSERT_LOCKED)
            add_call(op, cls_rbd.OBJECT_MAP_UPDATE, change)
            try:
                self.updates += 1
                await self._ioctx.operate(self._oid, op)
            except RadosError as error:
                if error.errno == errno.EBUSY:
                    raise ReadOnlyImage("the image's lock was taken by another client: open it again") from error
                if error.errno in _NO_SPACE:
                    raise
                log.warning("object_map_update_failed", oid=self._oid, error=str(error))
                await self.invalidate()
                return
            if self.states is not None:
                self.states.update(first, last, new, current)

    async def resize(self, object_count: int) -> None:
        """Grow with absent objects, or drop the last ones, which must be absent."""
        if self.states is None:
            return
        op = add_call(WriteOp(), cls_lock.ASSERT_LOCKED, _ASSERT_LOCKED)
        add_call(op, cls_rbd.OBJECT_MAP_RESIZE, cls_rbd.ObjectMapResize(object_count, 0))
        try:
            await self._ioctx.operate(self._oid, op)
        except RadosError as error:
            if error.errno in _NO_SPACE:
                raise
            log.warning("object_map_resize_failed", oid=self._oid, error=str(error))
            await self.invalidate()
            return
        if self.states is not None:
            self.states.resize(object_count)


async def load_stored(ioctx: IoCtx, image_id: str) -> ObjectMap | None:
    """The map as it is stored now, for who does not own the lock; None if there is none to rely on."""
    try:
        states = await read_call(ioctx, cls_rbd.object_map_object(image_id), cls_rbd.OBJECT_MAP_LOAD, None)
        # in this order: a map that is not marked after it was read was right when it was read
        flags = await read_call(ioctx, cls_rbd.header_object(image_id), cls_rbd.GET_FLAGS, NOSNAP)
        return None if flags & ImageFlag.OBJECT_MAP_INVALID else states
    except RadosError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL, errno.EIO, errno.EOPNOTSUPP):
            return None
        raise
