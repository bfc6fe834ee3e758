"""Advisory locks: taken by our client or by librados, respected and seen by both."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import AsyncIterator

import pytest

from cove.rados import (
    Blocklisted,
    Error,
    InvalidArgument,
    IoCtx,
    LockFlag,
    LockType,
    ObjectBusy,
    ObjectExists,
    ObjectNotFound,
    Rados,
    WriteOp,
)

from .ceph_cluster import CephCluster
from .conftest import POOL
from .peer import Librados, LibradosError


@pytest.fixture
async def other(one_osd: CephCluster) -> AsyncIterator[IoCtx]:
    """Another client of ours."""
    async with Rados(one_osd.conf_path) as cluster, cluster.open_ioctx(POOL) as opened:
        yield opened


async def test_exclusive_locks(one_osd: CephCluster, ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.lock_exclusive(oid, "mylock", "ours", description="by cove")
    with pytest.raises(LibradosError) as refused:
        librados.call(POOL, "lock_exclusive", oid, "mylock", "theirs")
    assert refused.value.result == -errno.EBUSY
    with pytest.raises(ObjectExists):
        await ioctx.lock_exclusive(oid, "mylock", "ours")
    with pytest.raises(ObjectBusy):
        await ioctx.lock_exclusive(oid, "mylock", "another cookie")
    shown = json.loads(one_osd.rados("-p", POOL, "lock", "info", oid, "mylock", "--format", "json"))
    (locker,) = shown["lockers"]
    assert (shown["type"], locker["cookie"], locker["description"]) == ("exclusive", "ours", "by cove")
    assert locker["name"] == f"client.{ioctx.cluster.global_id}"
    await ioctx.unlock(oid, "mylock", "ours")
    librados.call(POOL, "lock_exclusive", oid, "mylock", "theirs", "by librados")
    with pytest.raises(ObjectBusy):
        await ioctx.lock_exclusive(oid, "mylock", "ours")
    info = await ioctx.list_lockers(oid, "mylock")
    ((who, about),) = info.lockers.items()
    assert (info.type, info.tag, who.cookie, about.description) == (LockType.EXCLUSIVE, "", "theirs", "by librados")
    await ioctx.break_lock(oid, "mylock", who.entity, who.cookie)
    with pytest.raises(LibradosError) as gone:
        librados.call(POOL, "unlock", oid, "mylock", "theirs")
    assert gone.value.result == -errno.ENOENT


async def test_shared_locks(ioctx: IoCtx, other: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.lock_shared(oid, "shared", "1", "tag")
    await other.lock_shared(oid, "shared", "1", "tag")
    librados.call(POOL, "lock_shared", oid, "shared", "2", "tag")
    info = await ioctx.list_lockers(oid, "shared")
    assert (info.type, info.tag, len(info.lockers)) == (LockType.SHARED, "tag", 3)
    with pytest.raises(ObjectBusy):
        await ioctx.lock_shared(oid, "shared", "3", "another tag")
    with pytest.raises(ObjectBusy):
        await ioctx.lock_exclusive(oid, "shared", "3", tag="tag")
    await other.break_lock(oid, "shared", f"client.{ioctx.cluster.global_id}", "1")
    with pytest.raises(ObjectNotFound):
        await ioctx.unlock(oid, "shared", "1")
    assert len((await ioctx.list_lockers(oid, "shared")).lockers) == 2


async def test_names_of_locks(one_osd: CephCluster, ioctx: IoCtx, librados: Librados, oid: str) -> None:
    for name in ("a", "b ünï"):
        await ioctx.lock_exclusive(oid, name, "")
    await ioctx.unlock(oid, "a", "")
    assert sorted(await ioctx.list_locks(oid)) == ["a", "b ünï"]
    shown = json.loads(one_osd.rados("-p", POOL, "lock", "list", oid, "--format", "json"))
    assert sorted(lock["name"] for lock in shown["locks"]) == ["a", "b ünï"]
    assert (await ioctx.list_lockers(oid, "never")).type == LockType.NONE
    assert (await ioctx.list_lockers(oid, "a")).lockers == {}


async def test_the_same_errors(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    """Of our methods and librados', on an object of their own each."""
    await ioctx.create(oid)
    for number, (method, arguments) in enumerate(
        [
            ("unlock", ["nope", "c"]),
            ("lock_exclusive", ["", "c"]),
            ("lock_shared", ["", "c", "tag"]),
        ]
    ):
        with pytest.raises(LibradosError) as theirs:
            librados.call(POOL, method, oid, *arguments)
        with pytest.raises(Error) as ours:
            await getattr(ioctx, method)(oid, *arguments)
        assert ours.value.result == theirs.value.result, number
    for call in (ioctx.list_locks(f"{oid}.none"), ioctx.list_lockers(f"{oid}.none", "x")):
        with pytest.raises(ObjectNotFound):
            await call
    with pytest.raises(ObjectNotFound):
        await ioctx.lock_exclusive(oid, "x", "c", flags=LockFlag.MUST_RENEW)
    with pytest.raises(InvalidArgument):
        await ioctx.lock_exclusive(oid, "x", "c", flags=LockFlag.MUST_RENEW | LockFlag.MAY_RENEW)
    for client in ("4", "client.", "client.x", "osd.1", "client.-1"):
        with pytest.raises(InvalidArgument):
            await ioctx.break_lock(oid, "x", client, "c")


async def test_locks_that_end(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.lock_exclusive(oid, "brief", "ours", duration_s=1.0)
    ((_, about),) = (await ioctx.list_lockers(oid, "brief")).lockers.items()
    assert abs(about.expiration_ns / 1e9 - time.time() - 1) < 5
    await ioctx.lock_exclusive(oid, "brief", "ours", duration_s=0.5, flags=LockFlag.MAY_RENEW)

    def taken_by_librados() -> bool:
        try:
            librados.call(POOL, "lock_exclusive", oid, "brief", "theirs")
        except LibradosError as refused:
            if refused.result != -errno.EBUSY:
                raise
            return False
        return True

    assert not taken_by_librados()
    async with asyncio.timeout(20):
        while not taken_by_librados():
            await asyncio.sleep(0.1)


async def test_a_lock_for_a_while(ioctx: IoCtx, other: IoCtx, oid: str) -> None:
    order: list[str] = []

    async def work(context: IoCtx, name: str) -> None:
        async with context.lock(oid, "turns", timeout_s=30) as held:
            order.append(f"{name} begins")
            await context.operate(oid, WriteOp().assert_locked("turns", held.cookie).append(name.encode()))
            order.append(f"{name} ends")

    async with asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(work((ioctx, other)[number % 2], str(number)))
    assert all(order[at][0] == order[at + 1][0] for at in range(0, 12, 2))
    assert sorted(await ioctx.read(oid)) == sorted(b"012345")
    assert (await ioctx.list_lockers(oid, "turns")).lockers == {}


async def test_waiting_in_vain(ioctx: IoCtx, other: IoCtx, oid: str) -> None:
    async with ioctx.lock(oid, "l", description="mine") as held:
        with pytest.raises(ObjectBusy):
            async with other.lock(oid, "l", timeout_s=0.1):
                pytest.fail("two hold it")
        with pytest.raises(ObjectBusy):
            await other.operate(oid, WriteOp().assert_locked("l", held.cookie).append(b"x"))
        await ioctx.assert_locked(oid, "l", held.cookie)
        await ioctx.set_lock_cookie(oid, "l", held.cookie, "new")
        with pytest.raises(ObjectBusy):
            await ioctx.assert_locked(oid, "l", held.cookie)
        held.cookie = "new"
        await held.renew(60)
    async with other.lock(oid, "l", shared_tag="t"), ioctx.lock(oid, "l", shared_tag="t"):
        assert len((await ioctx.list_lockers(oid, "l")).lockers) == 2


async def test_who_waits_may_give_up(ioctx: IoCtx, other: IoCtx, oid: str) -> None:
    async with ioctx.lock(oid, "l"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), other.lock(oid, "l", timeout_s=60):
                pytest.fail("two hold it")
    await other.lock_exclusive(oid, "l", "free again")


async def test_who_takes_a_lock_away_keeps_its_holder_from_writing(
    one_osd: CephCluster, other: IoCtx, oid: str
) -> None:
    """By the address that list_lockers tells, before the lock is broken."""
    async with Rados(one_osd.conf_path) as victim, victim.open_ioctx(POOL) as theirs:
        await theirs.lock_exclusive(oid, "l", "c")
        ((who, about),) = (await other.list_lockers(oid, "l")).lockers.items()
        await other.cluster.blocklist_add(str(about.address), 600)
        await other.break_lock(oid, "l", who.entity, who.cookie)
        async with other.lock(oid, "l") as held:
            await other.operate(oid, WriteOp().assert_locked("l", held.cookie).write_full(b"ours"))
        for late in (theirs.write_full(oid, b"theirs"), theirs.lock_exclusive(oid, "l", "c")):
            with pytest.raises(Blocklisted):
                await late
    assert await other.read(oid) == b"ours"


async def test_renewing_while_others_wait(ioctx: IoCtx, other: IoCtx, oid: str) -> None:
    """Before its end it lasts on; after it, another's is not taken."""
    async with ioctx.lock(oid, "l", duration_s=1.0) as held:
        await held.renew(600)
        with pytest.raises(ObjectBusy):
            async with other.lock(oid, "l", timeout_s=1.5):
                pytest.fail("two hold it")
        await held.renew(0.2)
        async with other.lock(oid, "l", timeout_s=20):
            with pytest.raises(ObjectNotFound):
                await held.renew(600)
            with pytest.raises(ObjectBusy):
                await ioctx.assert_locked(oid, "l", held.cookie)


async def test_a_lock_that_was_broken(ioctx: IoCtx, other: IoCtx, oid: str) -> None:
    """Its end is no error; renewing it is."""
    async with ioctx.lock(oid, "l") as held:
        await other.break_lock(oid, "l", f"client.{ioctx.cluster.global_id}", held.cookie)
        with pytest.raises(ObjectNotFound):
            await held.renew(10)
