"""Advisory locks on objects: kept by the object class `lock` in an attribute, respected by those who ask.

    async with ioctx.lock("board", "writers", timeout_s=10) as held:
        await ioctx.operate("board", WriteOp().assert_locked("writers", held.cookie).append(b"x"))

A locker is a client (its global id) and a cookie. A client that dies leaves its locks behind, unless they have a
duration; `break_lock` takes them away.

Source: Ceph's librados IoCtx (lock_*, unlock, break_lock, list_lockers), cls_lock_client.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from types import TracebackType
from typing import Self

import structlog

from ..wire import cls_lock
from ..wire.cls_lock import LockInfo, LockRequest, LockType
from ..wire.encoding import NS_PER_S, TIME_MAX_NS
from ..wire.types import EntityName, EntityType
from .class_calls import read_call, write_call
from .errors import Error, InvalidArgument, ObjectBusy, ObjectNotFound, OutcomeUnknown
from .ioctx_base import IoCtxBase

log = structlog.get_logger(__name__)

RETRY_S_MIN = 0.02
RETRY_S_MAX = 1.0
"""How often somebody who waits for a lock asks again."""
LET_GO_S = 5.0
"""How long a lock may take to be given back after an error or a cancellation."""


def duration_ns_of(duration_s: float) -> int:
    """A duration for the wire. Raises InvalidArgument."""
    if not 0 <= duration_s < TIME_MAX_NS / NS_PER_S:
        raise InvalidArgument(f"duration_s={duration_s}: give seconds, 0 for a lock that does not end by itself")
    return round(duration_s * NS_PER_S)


def client_of(client: EntityName | str) -> EntityName:
    """A locker's name, e.g. from the text `client.4123`. Raises InvalidArgument."""
    if isinstance(client, EntityName):
        return client
    kind, dot, number = client.partition(".")
    if kind != "client" or not dot or not (number.isascii() and number.isdecimal()) or int(number) >= 1 << 63:
        raise InvalidArgument(f"client {client!r}: lockers are named as in list_lockers, e.g. client.4123")
    return EntityName(EntityType.CLIENT, int(number))


class LockMethods(IoCtxBase):
    """Advisory locks."""

    async def lock_exclusive(
        self,
        oid: str,
        name: str,
        cookie: str,
        *,
        description: str = "",
        duration_s: float = 0.0,
        flags: int = 0,
        tag: str = "",
    ) -> None:
        """Take the lock `name` of an object for this client and cookie alone. Creates the object if there is none.

        `duration_s`: seconds after which it ends by itself, by the OSD's clock; 0 never. `flags` (LockFlag): MAY_RENEW
        takes a lock that we hold once more, e.g. for another duration; MUST_RENEW only such a one. Raises ObjectBusy
        (others hold it, or with another tag), ObjectExists (we hold it), ObjectNotFound (MUST_RENEW, and we don't),
        InvalidArgument.
        """
        await self._lock(oid, name, LockType.EXCLUSIVE, cookie, tag, description, duration_s, flags)

    async def lock_shared(
        self,
        oid: str,
        name: str,
        cookie: str,
        tag: str,
        *,
        description: str = "",
        duration_s: float = 0.0,
        flags: int = 0,
    ) -> None:
        """Take the lock together with all who do so with the same `tag`. Otherwise as `lock_exclusive`."""
        await self._lock(oid, name, LockType.SHARED, cookie, tag, description, duration_s, flags)

    async def _lock(
        self,
        oid: str,
        name: str,
        kind: LockType,
        cookie: str,
        tag: str,
        description: str,
        duration_s: float,
        flags: int,
    ) -> None:
        request = LockRequest(name, kind, cookie, tag, description, duration_ns_of(duration_s), flags)
        await write_call(self, oid, cls_lock.LOCK, request)

    async def unlock(self, oid: str, name: str, cookie: str) -> None:
        """Give a lock back. Raises ObjectNotFound when this client does not hold it with that cookie."""
        await write_call(self, oid, cls_lock.UNLOCK, cls_lock.UnlockRequest(name, cookie))

    async def break_lock(self, oid: str, name: str, client: EntityName | str, cookie: str) -> None:
        """Take a lock away from another client (`list_lockers` has its name and cookie; "client.4123" will do).

        It is not told, and may still write: `Rados.blocklist_add` keeps it from that, and is to come first. Raises
        ObjectNotFound when it does not hold the lock.
        """
        await write_call(self, oid, cls_lock.BREAK_LOCK, cls_lock.BreakRequest(name, client_of(client), cookie))

    async def list_lockers(self, oid: str, name: str) -> LockInfo:
        """Who holds a lock (with address, description and end), its type and its tag. A lock that nobody has ever
        taken has no lockers and type NONE. Raises ObjectNotFound when there is no such object."""
        return await read_call(self, oid, cls_lock.GET_INFO, cls_lock.InfoRequest(name))

    async def list_locks(self, oid: str) -> list[str]:
        """Names of an object's locks, also those that nobody holds any more. Raises ObjectNotFound."""
        return (await read_call(self, oid, cls_lock.LIST_LOCKS, None)).names

    async def assert_locked(
        self, oid: str, name: str, cookie: str, *, tag: str = "", type: int = LockType.EXCLUSIVE
    ) -> None:
        """Raises ObjectBusy unless this client holds the lock with that cookie, tag and type; ObjectNotFound without
        an object. `WriteOp.assert_locked` makes a write depend on it."""
        await read_call(self, oid, cls_lock.ASSERT_LOCKED, cls_lock.AssertRequest(name, type, cookie, tag))

    async def set_lock_cookie(
        self, oid: str, name: str, cookie: str, new_cookie: str, *, tag: str = "", type: int = LockType.EXCLUSIVE
    ) -> None:
        """Change the cookie of a lock that we hold, without letting go of it. Raises ObjectBusy unless we hold it so,
        or if the new cookie is in use."""
        request = cls_lock.SetCookieRequest(name, type, cookie, tag, new_cookie)
        await write_call(self, oid, cls_lock.SET_COOKIE, request)

    def lock(
        self,
        oid: str,
        name: str,
        *,
        cookie: str | None = None,
        shared_tag: str | None = None,
        description: str = "",
        duration_s: float = 0.0,
        timeout_s: float = 0.0,
    ) -> HeldLock:
        """A lock for `async with`: taken at its beginning, given back at its end.

        `cookie`: None is a random one. `shared_tag`: take it shared, with this tag. `timeout_s`: how long to wait for
        others to let go of it, before ObjectBusy; it is asked for anew with growing pauses of up to a second.

        That it has ended meanwhile (by its duration, or broken) is no error at the end: make writes depend on it with
        `WriteOp.assert_locked`. Where the block raises, that error comes out, also if the lock can't be given back.
        """
        return HeldLock(self, oid, name, cookie, shared_tag, description, duration_s, timeout_s)


class HeldLock:
    """A lock on an object, from `IoCtx.lock`. Attributes: oid, name, cookie."""

    def __init__(
        self,
        ioctx: LockMethods,
        oid: str,
        name: str,
        cookie: str | None,
        shared_tag: str | None,
        description: str,
        duration_s: float,
        timeout_s: float,
    ) -> None:
        self.oid = oid
        self.name = name
        self.cookie = secrets.token_hex(8) if cookie is None else cookie
        self._ioctx = ioctx
        self._kind = LockType.EXCLUSIVE if shared_tag is None else LockType.SHARED
        self._tag = shared_tag or ""
        self._description = description
        self._duration_s = duration_s
        self._timeout_s = timeout_s

    async def _take(self, flags: int, duration_s: float) -> None:
        await self._ioctx._lock(
            self.oid, self.name, self._kind, self.cookie, self._tag, self._description, duration_s, flags
        )

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        deadline_s, pause_s = loop.time() + self._timeout_s, RETRY_S_MIN
        while True:
            try:
                await self._take(0, self._duration_s)
            except ObjectBusy:
                left_s = deadline_s - loop.time()
                if left_s <= 0:
                    raise
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, RETRY_S_MAX)
            except (asyncio.CancelledError, OutcomeUnknown):
                await self._let_go()  # it may have been taken
                raise
            else:
                return self

    async def renew(self, duration_s: float | None = None) -> None:
        """Let it last for its duration (or this one, seconds) from now on. Raises ObjectNotFound when it has ended,
        ObjectBusy when others have taken it since."""
        await self._take(cls_lock.LockFlag.MUST_RENEW, self._duration_s if duration_s is None else duration_s)

    async def _unlock(self) -> None:
        with contextlib.suppress(ObjectNotFound):  # it ended by itself, or somebody broke it
            await self._ioctx.unlock(self.oid, self.name, self.cookie)

    async def _let_go(self) -> None:
        """Give back what may be held, where another error is on its way already: in bounded time, without one more."""
        try:
            async with asyncio.timeout(LET_GO_S):
                await self._unlock()
        except (Error, TimeoutError) as problem:
            log.warning("lock_not_given_back", oid=self.oid, lock=self.name, problem=str(problem) or "no answer")

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is not None:
            await self._let_go()
            return
        try:
            await self._unlock()
        except asyncio.CancelledError:
            await self._let_go()  # our unlock may not have left yet
            raise
