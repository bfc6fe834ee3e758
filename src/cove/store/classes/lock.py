"""Class `lock`: advisory locks of several clients on one object, in its xattrs.

Source: Ceph's cls/lock/cls_lock.cc (behaviour).
"""

from __future__ import annotations

import errno
from dataclasses import replace

from ...wire import cls_lock
from ...wire.cls_lock import AddressType, LockerId, LockerInfo, LockFlag, LockInfo, LockType
from ..errors import OpError
from .context import ClassContext, decode_stored
from .registry import cls_method

EXCLUSIVE_TYPES = (LockType.EXCLUSIVE, LockType.EXCLUSIVE_EPHEMERAL)


def _load(ctx: ClassContext, name: str) -> LockInfo:
    """The lock without the lockers whose time is up. Raises ENOENT for an absent object."""
    try:
        value = ctx.get_xattr(cls_lock.XATTR_PREFIX + name)
    except OpError as error:
        if error.code != -errno.ENODATA:
            raise
        return LockInfo()
    info = decode_stored(LockInfo.from_bytes, value)
    info.lockers = {
        locker: held
        for locker, held in info.lockers.items()
        if not held.expiration_ns or held.expiration_ns >= ctx.now_ns
    }
    return info


def _save(ctx: ClassContext, name: str, info: LockInfo) -> None:
    ctx.set_xattr(cls_lock.XATTR_PREFIX + name, info.to_bytes())


def _ours(ctx: ClassContext, cookie: str) -> LockerId:
    return LockerId(ctx.requester.name, cookie)


@cls_method(cls_lock.LOCK)
def lock(ctx: ClassContext, request: cls_lock.LockRequest) -> None:
    """Take or renew a lock."""
    both = LockFlag.MAY_RENEW | LockFlag.MUST_RENEW
    if request.type not in (*EXCLUSIVE_TYPES, LockType.SHARED) or not request.name or request.flags & both == both:
        raise OpError(errno.EINVAL)
    try:
        info = _load(ctx, request.name)
    except OpError as error:
        if error.code != -errno.ENOENT:
            raise
        info = LockInfo()
    if info.lockers and info.tag != request.tag:
        raise OpError(errno.EBUSY)
    locker = _ours(ctx, request.cookie)
    if locker in info.lockers:
        if not request.flags & both:
            raise OpError(errno.EEXIST)
        del info.lockers[locker]
    elif request.flags & LockFlag.MUST_RENEW:
        raise OpError(errno.ENOENT)
    if info.lockers and (request.type in EXCLUSIVE_TYPES or info.type != request.type):
        raise OpError(errno.EBUSY)
    address = replace(ctx.requester.address, type=AddressType.LEGACY)
    if len(address.sockaddr) >= 4:
        address = replace(address, sockaddr=address.sockaddr[:2] + b"\0\0" + address.sockaddr[4:])
    expiration_ns = ctx.now_ns + request.duration_ns if request.duration_ns else 0
    info.type, info.tag = request.type, request.tag
    info.lockers[locker] = LockerInfo(expiration_ns, address, request.description)
    _save(ctx, request.name, info)


def _drop(ctx: ClassContext, name: str, locker: LockerId) -> None:
    info = _load(ctx, name)
    if locker not in info.lockers:
        raise OpError(errno.ENOENT)
    del info.lockers[locker]
    if not info.lockers and info.type == LockType.EXCLUSIVE_EPHEMERAL:
        ctx.remove()
        return
    _save(ctx, name, info)


@cls_method(cls_lock.UNLOCK)
def unlock(ctx: ClassContext, request: cls_lock.UnlockRequest) -> None:
    """Give a lock of the requester's back."""
    _drop(ctx, request.name, _ours(ctx, request.cookie))


@cls_method(cls_lock.BREAK_LOCK)
def break_lock(ctx: ClassContext, request: cls_lock.BreakRequest) -> None:
    """Take somebody's lock away."""
    _drop(ctx, request.name, LockerId(request.locker, request.cookie))


@cls_method(cls_lock.GET_INFO)
def get_info(ctx: ClassContext, request: cls_lock.InfoRequest) -> LockInfo:
    """Who holds the lock."""
    return _load(ctx, request.name)


@cls_method(cls_lock.LIST_LOCKS)
def list_locks(ctx: ClassContext, _request: None) -> cls_lock.LockNames:
    """Names of all locks of the object, held or not."""
    prefix = cls_lock.XATTR_PREFIX
    return cls_lock.LockNames([name[len(prefix) :] for name in ctx.xattr_names() if name.startswith(prefix)])


def _assert_held(ctx: ClassContext, name: str, kind: int, cookie: str, tag: str) -> LockInfo:
    if kind not in (*EXCLUSIVE_TYPES, LockType.SHARED) or not name:
        raise OpError(errno.EINVAL)
    info = _load(ctx, name)
    if info.type != kind or info.tag != tag or _ours(ctx, cookie) not in info.lockers:
        raise OpError(errno.EBUSY)
    return info


@cls_method(cls_lock.ASSERT_LOCKED)
def assert_locked(ctx: ClassContext, request: cls_lock.AssertRequest) -> None:
    """Fail with EBUSY unless the requester holds the lock."""
    _assert_held(ctx, request.name, request.type, request.cookie, request.tag)


@cls_method(cls_lock.SET_COOKIE)
def set_cookie(ctx: ClassContext, request: cls_lock.SetCookieRequest) -> None:
    """Give a lock that the requester holds another cookie."""
    info = _assert_held(ctx, request.name, request.type, request.cookie, request.tag)
    new = _ours(ctx, request.new_cookie)
    if new in info.lockers:
        raise OpError(errno.EBUSY)
    info.lockers[new] = info.lockers.pop(_ours(ctx, request.cookie))
    _save(ctx, request.name, info)
