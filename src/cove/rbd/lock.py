"""The exclusive lock of an image: class `lock`, name `rbd_lock` on the header, cookie `auto N`, tag `internal`.

It is taken at the first write and given back at close. A lock that a dead owner left is broken at open, or when the
lock is wanted. Who counts as dead is decided by `owner_is_alive`, and nowhere else.

Source: Ceph's librbd ManagedLock and managed_lock/{Acquire,Break,Release}Request.
"""

from __future__ import annotations

import asyncio
import errno
import re
import secrets
from typing import TYPE_CHECKING

import structlog

from ..rados.errors import Error as RadosError
from ..wire import cls_lock
from ..wire.cls_lock import RBD_LOCK_NAME, LockerId, LockInfo, LockType
from .calls import read_call, write_call
from .errors import ImageBusy

if TYPE_CHECKING:
    from ..rados import IoCtx

log = structlog.get_logger(__name__)

TAG = "internal"
_COOKIE = re.compile(r"auto (\d+)")
ATTEMPTS_MAX = 8

_live_cookies: set[str] = set()
"""Cookies of the locks that this process holds or is taking."""


def owner_is_alive(owner: LockerId) -> bool:
    """Whether the holder of an automatic lock still runs.

    A cluster would be asked for the header's watchers. The embedded store has no watches yet, and exactly one client
    process (the one that owns the store): a lock is alive if this very process holds it. Cookies are random, so
    that an earlier process's are not taken for ours.
    """
    return owner.cookie in _live_cookies


def dead_owners(info: LockInfo, image: str) -> list[LockerId]:
    """Owners whose lock may be broken. Raises ImageBusy if anybody holds it who may not be disturbed."""
    for owner in info.lockers:
        if info.tag != TAG or info.type != LockType.EXCLUSIVE or not _COOKIE.fullmatch(owner.cookie):
            raise ImageBusy(
                f"image {image!r} is locked by hand ({owner.entity}, cookie {owner.cookie!r}, tag {info.tag!r}): "
                "remove that lock first"
            )
        if owner_is_alive(owner):
            raise ImageBusy(f"image {image!r} is open for writing elsewhere ({owner.entity}): close it there first")
    return list(info.lockers)


class ExclusiveLock:
    """The lock of one open image."""

    def __init__(self, ioctx: IoCtx, header_oid: str, image: str) -> None:
        self._ioctx = ioctx
        self._oid = header_oid
        self._image = image
        self._changing = asyncio.Lock()
        self.cookie = f"auto {secrets.randbits(62) + 1}"
        self.held = False

    async def break_dead(self, info: LockInfo) -> None:
        """Break what dead owners left. Locks of others stay, without an error."""
        try:
            owners = dead_owners(info, self._image)
        except ImageBusy:
            return
        for owner in owners:
            await self._break(owner)

    async def _break(self, owner: LockerId) -> None:
        log.info("lock_broken", image=self._image, owner=str(owner.entity), cookie=owner.cookie)
        request = cls_lock.BreakRequest(RBD_LOCK_NAME, owner.entity, owner.cookie)
        try:
            await write_call(self._ioctx, self._oid, cls_lock.BREAK_LOCK, request)
        except RadosError as error:
            if error.errno != errno.ENOENT:
                raise

    async def acquire(self) -> bool:
        """Take the lock; False if we had it. Raises ImageBusy while a living owner or a manual lock is in the way."""
        if self.held:
            return False
        async with self._changing:
            if self.held:
                return False
            _live_cookies.add(self.cookie)
            try:
                await self._acquire()
            except BaseException:
                _live_cookies.discard(self.cookie)
                raise
            self.held = True
            return True

    async def _acquire(self) -> None:
        request = cls_lock.LockRequest(RBD_LOCK_NAME, LockType.EXCLUSIVE, self.cookie, TAG)
        for _ in range(ATTEMPTS_MAX):
            info = await read_call(self._ioctx, self._oid, cls_lock.GET_INFO, cls_lock.InfoRequest(RBD_LOCK_NAME))
            for owner in dead_owners(info, self._image):
                await self._break(owner)
            try:
                await write_call(self._ioctx, self._oid, cls_lock.LOCK, request)
            except RadosError as error:
                if error.errno == errno.EEXIST:
                    return  # an earlier attempt of ours, whose answer was lost
                if error.errno != errno.EBUSY:
                    raise
            else:
                return
        raise ImageBusy(f"image {self._image!r}: the lock changed hands {ATTEMPTS_MAX} times while it was wanted")

    async def release(self) -> None:
        """Give the lock back; that it is gone already is no error."""
        async with self._changing:
            if not self.held:
                return
            self.held = False
            try:
                request = cls_lock.UnlockRequest(RBD_LOCK_NAME, self.cookie)
                await write_call(self._ioctx, self._oid, cls_lock.UNLOCK, request)
            except RadosError as error:
                if error.errno != errno.ENOENT:
                    raise
            finally:
                _live_cookies.discard(self.cookie)
