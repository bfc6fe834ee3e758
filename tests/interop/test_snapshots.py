"""Snapshots of pools and those that clients manage, taken by our client or by librados, seen by both."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import AsyncIterator

import pytest

from cove.rados import (
    NOSNAP,
    SNAPDIR,
    Error,
    InvalidArgument,
    IoCtx,
    ObjectExists,
    ObjectNotFound,
    OldSnapContext,
    Rados,
    ReadOnly,
    ReadOp,
    RequestFlag,
    WriteOp,
)
from cove.wire.snapsets import Interval

from .ceph_cluster import CephCluster
from .peer import Librados, LibradosError


@pytest.fixture
def own_pool(one_osd: CephCluster, request: pytest.FixtureRequest) -> str:
    """A pool that only this test uses: it has one kind of snapshots."""
    name = f"snaps-{request.node.name}"[:60].rstrip("-")
    one_osd.create_pool(name, pg_num=4)
    return name


@pytest.fixture
async def ioctx(client: Rados, own_pool: str) -> AsyncIterator[IoCtx]:
    async with client.open_ioctx(own_pool) as opened:
        yield opened


async def read_at(ioctx: IoCtx, oid: str, snapid: int) -> bytes | None:
    """The object's data at a snapshot; None if it did not exist."""
    context = ioctx.duplicate()
    context.snap_set_read(snapid)
    try:
        return await context.read(oid)
    except ObjectNotFound:
        return None


# of pools


async def test_snapshots_of_a_pool(ioctx: IoCtx, librados: Librados, own_pool: str) -> None:
    before = time.time()
    await ioctx.write_full("a", b"one")
    await ioctx.create_snap("first")
    await ioctx.write_full("a", b"two")
    await ioctx.write_full("b", b"new")
    librados.call(own_pool, "create_snap", "second ünï")
    await ioctx.cluster.wait_for_latest_map()
    await ioctx.remove("a")
    first, second = ioctx.list_snaps()
    assert (first.name, second.name) == ("first", "second ünï")
    assert first == ioctx.lookup_snap("first")
    theirs = librados.ask("snaps", [own_pool])
    assert [[snap.id, snap.name, snap.stamp_ns // 10**9] for snap in (first, second)] == theirs
    assert before - 2 < first.stamp_ns / 1e9 < time.time() + 2
    assert [await read_at(ioctx, "a", snap) for snap in (first.id, second.id, NOSNAP)] == [b"one", b"two", None]
    assert [await read_at(ioctx, "b", snap) for snap in (first.id, second.id)] == [None, b"new"]
    librados.call(own_pool, "set_read", first.id)
    assert librados.read(own_pool, "a") == b"one"
    librados.call(own_pool, "set_read", NOSNAP)


async def test_names_of_snapshots(ioctx: IoCtx, librados: Librados, own_pool: str) -> None:
    await ioctx.create_snap("one")
    with pytest.raises(ObjectExists):
        await ioctx.create_snap("one")
    with pytest.raises(InvalidArgument):
        await ioctx.create_snap("")
    for call in (ioctx.remove_snap("nope"), ioctx.rollback("a", "nope")):
        with pytest.raises(ObjectNotFound):
            await call
    with pytest.raises(ObjectNotFound):
        ioctx.lookup_snap("nope")
    for method, arguments, number in (
        ("create_snap", ["one"], errno.EEXIST),
        ("remove_snap", ["nope"], errno.ENOENT),
        ("lookup_snap", ["nope"], errno.ENOENT),
        ("snap_rollback", ["a", "nope"], errno.ENOENT),
    ):
        librados.ask("pools")  # gets the newest map
        with pytest.raises(LibradosError) as refused:
            librados.call(own_pool, method, *arguments)
        assert refused.value.result == -number
    await ioctx.remove_snap("one")
    assert ioctx.list_snaps() == librados.ask("snaps", [own_pool]) == []


async def test_one_kind_of_snapshots(ioctx: IoCtx, own_pool: str) -> None:
    await ioctx.create_snap("one")
    with pytest.raises(InvalidArgument):
        await ioctx.create_self_managed_snap()
    with pytest.raises(Error):
        await ioctx.remove_self_managed_snap(1)


async def test_the_other_kind_of_snapshots(ioctx: IoCtx) -> None:
    first = await ioctx.create_self_managed_snap()
    with pytest.raises(InvalidArgument):
        await ioctx.create_snap("one")
    assert await ioctx.create_self_managed_snap() > first


async def test_rollback_to_a_snapshot_of_the_pool(ioctx: IoCtx, librados: Librados, own_pool: str) -> None:
    op = WriteOp().write_full(b"before").setxattr("x", b"1").omap_set({"k": b"v"})
    await ioctx.operate("a", op)
    await ioctx.create_snap("s")
    for name in ("a", "born later"):
        await ioctx.operate(name, WriteOp().write_full(b"after, and longer").setxattr("x", b"2").omap_clear())
    await ioctx.rollback("a", "s")
    assert librados.read(own_pool, "a") == b"before"
    assert librados.ask("xattrs", [own_pool], "a") == {"x": b"1"}
    assert librados.ask("omap", [own_pool], "a") == [["k", b"v"]]
    await ioctx.rollback("born later", ioctx.lookup_snap("s").id)
    with pytest.raises(ObjectNotFound):
        await ioctx.stat("born later")
    await ioctx.write_full("a", b"again")
    librados.call(own_pool, "snap_rollback", "a", "s")
    assert await ioctx.read("a") == b"before"


async def test_a_name_that_our_map_lacks(ioctx: IoCtx, librados: Librados, own_pool: str) -> None:
    """Rollback and removal look for it in the newest map."""
    await ioctx.write_full("a", b"one")
    librados.call(own_pool, "create_snap", "theirs")
    await ioctx.rollback("a", "theirs")
    librados.call(own_pool, "create_snap", "theirs 2")
    await ioctx.remove_snap("theirs 2")
    assert [name for _, name, _ in librados.ask("snaps", [own_pool])] == ["theirs"]


async def test_a_name_that_has_become_free(ioctx: IoCtx, librados: Librados, own_pool: str) -> None:
    """Somebody else has removed that snapshot, and our client has not been told."""
    await ioctx.create_snap("again")
    librados.ask("pools")
    librados.call(own_pool, "remove_snap", "again")
    await ioctx.create_snap("again")
    assert [name for _, name, _ in librados.ask("snaps", [own_pool])] == ["again"]


async def test_names_that_are_no_text(one_osd: CephCluster, ioctx: IoCtx, own_pool: str) -> None:
    for name in ("\udcff\udcfe", "a/b @\n", "x" * 3000):
        await ioctx.write_full("a", b"one")
        await ioctx.create_snap(name)
        await ioctx.write_full("a", b"two")
        await ioctx.rollback("a", name)
        assert await ioctx.read("a") == b"one"
        await ioctx.remove_snap(name)
    with pytest.raises(InvalidArgument):
        await ioctx.create_snap("a\0b")
    assert ioctx.list_snaps() == []


async def test_rollback_while_reading_at_a_snapshot(ioctx: IoCtx, librados: Librados, own_pool: str) -> None:
    """It is about the head, whatever the context reads, as in librados."""
    await ioctx.write_full("a", b"one")
    await ioctx.create_snap("s")
    librados.ask("pools")
    for context, rollback in (
        (ioctx.snap_set_read, lambda: ioctx.rollback("a", "s")),
        (
            lambda snapid: librados.call(own_pool, "set_read", snapid),
            lambda: asyncio.to_thread(librados.call, own_pool, "snap_rollback", "a", "s"),
        ),
    ):
        await ioctx.write_full("a", b"two")
        context(ioctx.lookup_snap("s").id)
        await rollback()
        context(NOSNAP)
        assert await ioctx.read("a") == b"one"


async def test_reading_at_a_snapshot_refuses_writes(ioctx: IoCtx) -> None:
    await ioctx.write_full("a", b"one")
    ioctx.snap_set_read(1 << 40)
    assert await ioctx.read("a") == b"one"  # an id that is newer than all of the object's
    with pytest.raises(ReadOnly):
        await ioctx.write_full("a", b"two")
    ioctx.snap_set_read(None)
    await ioctx.write_full("a", b"two")
    with pytest.raises(InvalidArgument):
        ioctx.snap_set_read(-1)


# managed by clients


async def test_self_managed_snapshots(ioctx: IoCtx, librados: Librados, own_pool: str) -> None:
    await ioctx.write_full("a", b"0123456789")
    first = await ioctx.create_self_managed_snap()
    ioctx.set_self_managed_snap_write_ctx(first, [first])
    await ioctx.write("a", b"XX", 2)
    second = librados.call(own_pool, "create_self_managed_snap")
    assert second > first
    librados.call(own_pool, "set_self_managed_snap_write", [second, first])
    librados.call(own_pool, "write", "a", b"YY", 4)
    assert [await read_at(ioctx, "a", snap) for snap in (first, second, NOSNAP)] == [
        b"0123456789",
        b"01XX456789",
        b"01XXYY6789",
    ]
    for snap, wanted in ((first, b"0123456789"), (second, b"01XX456789"), (NOSNAP, b"01XXYY6789")):
        librados.call(own_pool, "set_read", snap)
        assert librados.read(own_pool, "a") == wanted
    ioctx.set_self_managed_snap_write_ctx(second, [second, first])
    await ioctx.rollback("a", first)
    assert librados.read(own_pool, "a") == b"0123456789"
    librados.call(own_pool, "rollback_self_managed_snap", "a", second)
    assert await ioctx.read("a") == b"01XX456789"
    await ioctx.remove_self_managed_snap(first)
    assert await read_at(ioctx, "a", first) is None  # at once
    assert await read_at(ioctx, "a", second) == b"01XX456789"
    await ioctx.remove_self_managed_snap(first)  # again
    librados.call(own_pool, "remove_self_managed_snap", second)
    await ioctx.cluster.wait_for_latest_map()
    assert await read_at(ioctx, "a", second) is None


@pytest.mark.parametrize(("snapid", "number"), [(0, errno.EINVAL), (1 << 40, errno.ENOENT)])
async def test_snapshots_that_cannot_be_removed(ioctx: IoCtx, snapid: int, number: int) -> None:
    await ioctx.create_self_managed_snap()
    with pytest.raises(Error) as refused:
        await ioctx.remove_self_managed_snap(snapid)
    assert refused.value.errno == number


@pytest.mark.parametrize(("seq", "snaps"), [(1, [2]), (3, [1, 2]), (3, [2, 2])])
async def test_write_contexts_that_cannot_be(ioctx: IoCtx, seq: int, snaps: list[int]) -> None:
    with pytest.raises(InvalidArgument):
        ioctx.set_self_managed_snap_write_ctx(seq, snaps)


async def test_old_write_contexts(ioctx: IoCtx) -> None:
    """They are used as they are, unless the request says that they must not be old."""
    first, second = await ioctx.create_self_managed_snap(), await ioctx.create_self_managed_snap()
    ioctx.set_self_managed_snap_write_ctx(second, [second, first])
    await ioctx.write_full("a", b"one")
    ioctx.set_self_managed_snap_write_ctx(first, [first])
    with pytest.raises(OldSnapContext):
        await ioctx.operate("a", WriteOp().write_full(b"two").with_flags(RequestFlag.ORDERSNAP))
    await ioctx.write_full("a", b"two")


async def test_rollback_of_something_watched(ioctx: IoCtx) -> None:
    snap = await ioctx.create_self_managed_snap()
    ioctx.set_self_managed_snap_write_ctx(snap, [snap])
    await ioctx.create("a")
    async with await ioctx.watch("a", lambda notification: None):
        with pytest.raises(Error) as refused:
            await ioctx.rollback("a", snap)
    assert refused.value.errno == errno.EBUSY


# of objects


async def test_clones_of_an_object(one_osd: CephCluster, ioctx: IoCtx, own_pool: str) -> None:
    await ioctx.write_full("a", b"0123456789")
    snaps: list[int] = []
    for offset in (2, 4):
        snaps.insert(0, await ioctx.create_self_managed_snap())
        ioctx.set_self_managed_snap_write_ctx(snaps[0], snaps)
        await ioctx.write("a", b"XX", offset)
    found = await ioctx.object_snaps("a")
    second, first = snaps
    assert [(clone.id, clone.snaps, clone.size) for clone in found.clones] == [
        (first, [first], 10),
        (second, [second], 10),
        (NOSNAP, [], 10),
    ]
    assert found.clones[0].overlap == [Interval(0, 2), Interval(4, 6)]
    assert found.clones[1].overlap == [Interval(0, 4), Interval(6, 4)]
    assert found.seq == second
    shown = json.loads(one_osd.rados("-p", own_pool, "listsnaps", "a", "--format", "json"))
    theirs = [("head" if clone.id == NOSNAP else clone.id, clone.size) for clone in found.clones]
    assert [(clone["id"], clone["size"]) for clone in shown["clones"]] == theirs
    ours = [[{"start": start, "length": length} for start, length in clone.overlap] for clone in found.clones]
    assert [clone.get("overlaps", []) for clone in shown["clones"]] == ours
    await ioctx.remove("a")
    assert [clone.id for clone in (await ioctx.object_snaps("a")).clones] == [first, second]  # no head
    with pytest.raises(ObjectNotFound):
        await ioctx.object_snaps("none")
    with pytest.raises(InvalidArgument):
        await ioctx.operate("a", ReadOp().list_snaps())  # at the head
    directory = ioctx.duplicate()
    directory.snap_set_read(SNAPDIR)
    with pytest.raises(InvalidArgument):
        await directory.read("a")


async def test_trimming(ioctx: IoCtx) -> None:
    """The clone of a removed snapshot goes, in the background."""
    await ioctx.write_full("a", b"one")
    snap = await ioctx.create_self_managed_snap()
    ioctx.set_self_managed_snap_write_ctx(snap, [snap])
    await ioctx.write_full("a", b"two")
    assert len((await ioctx.object_snaps("a")).clones) == 2
    await ioctx.remove_self_managed_snap(snap)
    async with asyncio.timeout(30):
        while len((await ioctx.object_snaps("a")).clones) > 1:
            await asyncio.sleep(0.1)


async def test_copies_of_snapshots(ioctx: IoCtx, librados: Librados, own_pool: str) -> None:
    await ioctx.write_full("a", b"one")
    snap = await ioctx.create_self_managed_snap()
    ioctx.set_self_managed_snap_write_ctx(snap, [snap])
    await ioctx.write_full("a", b"two")
    source = ioctx.duplicate()
    source.snap_set_read(snap)
    await ioctx.copy_from("b", "a", source)
    assert librados.read(own_pool, "b") == b"one"
