"""Snapshots, listings and flags of an io context, against the scripted cluster; locks and cursors on a store."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cove.messenger import Connection, LoopbackNetwork
from cove.rados import (
    ALL_NAMESPACES,
    InOutError,
    InvalidArgument,
    IoCtx,
    LockType,
    LoopbackTransport,
    ObjectBusy,
    ObjectCursor,
    ObjectExists,
    ObjectNotFound,
    PoolSnap,
    Rados,
    ReadOp,
    RequestFlag,
    WriteOp,
)
from cove.store import Store
from cove.wire.encoding import Decoder
from cove.wire.hobject import decode_hobject, order_key
from cove.wire.listing import END, ListedObject, ListPage, pack_page
from cove.wire.messages import MOSDOp, MPoolOp, MPoolOpReply, PoolOpCode
from cove.wire.osd_ops import OpCode, OSDOp
from cove.wire.pool import PoolSnap as MapSnap
from cove.wire.snapsets import CloneInfo, SnapList
from cove.wire.types import HOBJECT_MAX, NOSNAP, SNAPDIR, HObject

from .fake import FSID, FakeCluster, eventually

# snapshots


class SnapMon:
    """Makes the scripted monitor answer pool operations on snapshots; `asked` are they."""

    def __init__(self, cluster: FakeCluster, data: bytes = b"", code: int = 0) -> None:
        self.asked: list[MPoolOp] = []
        self._mon, self._data, self._code = cluster.mon, data, code
        cluster.mon._pool_op = self._answer  # type: ignore[method-assign]

    def take(self, number: int, name: str) -> None:
        snaps = dict(self._mon.newest.pools[1].snaps)
        self._mon.set_pool(1, snaps={**snaps, number: MapSnap(number, number * 10**9, name)}, snap_seq=number)

    def _answer(self, connection: Connection, message: MPoolOp) -> None:
        self.asked.append(message)
        if message.op == PoolOpCode.CREATE_SNAP:
            self.take(self._mon.newest.pools[1].snap_seq + 1, message.name)
        reply = MPoolOpReply(
            tid=message.tid,
            fsid=FSID,
            reply_code=self._code,
            epoch=self._mon.newest.epoch,
            response_data=self._data,
        )
        connection.send_message(reply)


async def test_snapshots_of_the_pool(cluster: FakeCluster) -> None:
    mon, ioctx = SnapMon(cluster), cluster.ioctx
    assert ioctx.list_snaps() == []
    await ioctx.create_snap("one")
    await ioctx.create_snap("two")
    assert ioctx.list_snaps() == [PoolSnap(1, "one", 10**9), PoolSnap(2, "two", 2 * 10**9)]
    assert ioctx.lookup_snap("two").id == 2
    with pytest.raises(ObjectExists, match="'one'"):
        await ioctx.create_snap("one")
    with pytest.raises(InvalidArgument):
        await ioctx.create_snap("")
    for missing in (ioctx.remove_snap("none"), ioctx.rollback("a", "none")):
        with pytest.raises(ObjectNotFound, match="'none'"):
            await missing
    await ioctx.remove_snap("one")
    asked = [(message.op, message.pool, message.name) for message in mon.asked]
    assert asked == [
        (PoolOpCode.CREATE_SNAP, 1, "one"),
        (PoolOpCode.CREATE_SNAP, 1, "two"),
        (PoolOpCode.DELETE_SNAP, 1, "one"),
    ]


async def test_a_name_that_has_become_free(cluster: FakeCluster) -> None:
    """Somebody else has removed that snapshot, and our map is not the newest."""
    mon = SnapMon(cluster)
    await cluster.ioctx.create_snap("one")
    cluster.mon.subs.clear()
    cluster.mon.set_pool(1, snaps={}, snap_seq=2)
    assert cluster.ioctx.lookup_snap("one").id == 1
    await cluster.ioctx.create_snap("one")
    assert [message.name for message in mon.asked] == ["one", "one"]
    assert cluster.ioctx.lookup_snap("one").id == 3


@pytest.mark.parametrize("name", ["", "\0", "a\0b", "\ud800"], ids=ascii)
async def test_names_that_no_snapshot_can_have(cluster: FakeCluster, name: str) -> None:
    """Monitors take what stands before a NUL for the name."""
    mon = SnapMon(cluster)
    with pytest.raises(InvalidArgument):
        await cluster.ioctx.create_snap(name)
    with pytest.raises(ObjectNotFound):
        await cluster.ioctx.remove_snap(name)
    assert not mon.asked


async def test_rollback_while_reading_at_a_snapshot(cluster: FakeCluster) -> None:
    """It is about the head, as in librados."""
    cluster.ioctx.snap_set_read(5)
    cluster.ioctx.set_self_managed_snap_write_ctx(7, [7, 5])
    await cluster.ioctx.rollback("a", 5)
    (request,) = cluster.osd.requests
    assert (request.ops[0].code, request.snapid, request.snapc.seq) == (OpCode.ROLLBACK, NOSNAP, 7)
    assert cluster.ioctx.snap_read == 5


async def test_rollback_by_name_looks_in_the_newest_map(cluster: FakeCluster) -> None:
    mon = SnapMon(cluster)
    cluster.mon.subs.clear()  # our client is not told of the next map
    mon.take(7, "theirs")
    await cluster.ioctx.rollback("a", "theirs")
    await cluster.ioctx.rollback("a", 9)
    sent = [request.ops[0] for request in cluster.osd.requests]
    assert [(op.code, op.params.snapid) for op in sent] == [  # type: ignore[union-attr]
        (OpCode.ROLLBACK, 7),
        (OpCode.ROLLBACK, 9),
    ]


async def test_self_managed_snapshots(cluster: FakeCluster) -> None:
    mon = SnapMon(cluster, data=(12).to_bytes(8, "little"))
    assert await cluster.ioctx.create_self_managed_snap() == 12
    await cluster.ioctx.remove_self_managed_snap(12)
    assert [(message.op, message.snapid) for message in mon.asked] == [
        (PoolOpCode.CREATE_UNMANAGED_SNAP, 0),
        (PoolOpCode.DELETE_UNMANAGED_SNAP, 12),
    ]
    for bad in (0, -1, NOSNAP, SNAPDIR):
        with pytest.raises(InvalidArgument):
            await cluster.ioctx.remove_self_managed_snap(bad)


async def test_answers_about_snapshots_that_make_no_sense(cluster: FakeCluster) -> None:
    SnapMon(cluster, data=b"1234")
    with pytest.raises(InOutError):
        await cluster.ioctx.create_self_managed_snap()
    SnapMon(cluster, code=-errno.EINVAL)
    with pytest.raises(InvalidArgument):
        await cluster.ioctx.create_self_managed_snap()


@pytest.mark.parametrize(("seq", "snaps"), [(-1, []), (3, [-1]), (1 << 64, []), (1, [2]), (3, [2, 2])])
async def test_write_contexts_that_cannot_be(cluster: FakeCluster, seq: int, snaps: list[int]) -> None:
    with pytest.raises(InvalidArgument):
        cluster.ioctx.set_self_managed_snap_write_ctx(seq, snaps)


async def test_snaps_of_an_object_are_read_at_snapdir(held: FakeCluster) -> None:
    """Whatever the context itself reads at, and without a change to it."""
    held.ioctx.snap_set_read(5)
    held.ioctx.set_namespace("ns")
    asked = asyncio.ensure_future(held.ioctx.object_snaps("a"))
    await held.osd.has(1)
    request = held.osd.requests[0]
    assert (request.snapid, request.locator.nspace) == (SNAPDIR, "ns")
    wanted = SnapList([CloneInfo(3, [3], [], 1)], 3)
    held.osd.reply(0, outdata=wanted.to_bytes())
    assert await asked == wanted
    assert held.ioctx.snap_read == 5


# flags


async def test_full_try(cluster: FakeCluster) -> None:
    """Of writes; a vector is not changed by it, and duplicates inherit it."""
    op = WriteOp().create()
    cluster.ioctx.set_osdmap_full_try()
    await cluster.ioctx.operate("a", op)
    await cluster.ioctx.duplicate().operate("b", op)
    cluster.ioctx.set_osdmap_full_try(False)
    await cluster.ioctx.operate("c", op)
    await cluster.ioctx.operate("d", ReadOp().stat())
    tries = [bool(request.flags & RequestFlag.FULL_TRY) for request in cluster.osd.requests]
    assert tries == [True, True, False, False]
    assert op.flags == 0


async def test_copies_name_their_source(cluster: FakeCluster) -> None:
    source = cluster.client.open_ioctx("images")
    await source
    source.set_namespace("from")
    source.snap_set_read(4)
    await cluster.ioctx.copy_from("copy", "original", source, src_version=6)
    (op,) = cluster.osd.requests[0].ops
    assert (op.code, op.params.snapid, op.params.src_version) == (OpCode.COPY_FROM2, 4, 6)  # type: ignore[union-attr]
    assert op.indata == WriteOp().copy_from("original", source.locator).ops[0].indata


# listing


def page(*names: str, handle: HObject = HOBJECT_MAX) -> bytes:
    return pack_page(ListPage([ListedObject(name, "", "") for name in names], handle))


async def next_request(cluster: FakeCluster, count: int) -> tuple[MOSDOp, OSDOp]:
    await cluster.osd.has(count)
    request = cluster.osd.requests[count - 1]
    return request, request.ops[0]


async def test_pages_follow_the_handle(held: FakeCluster) -> None:
    listing = held.ioctx.list_objects(ALL_NAMESPACES, page_entries=2)
    asked = asyncio.ensure_future(listing.page(3))
    request, op = await next_request(held, 1)
    assert op.params.count == 2  # type: ignore[union-attr]
    assert (request.raw_hash, request.locator.hash, request.locator.nspace) == (0, 0, ALL_NAMESPACES)
    handle = HObject(1, "", 0x30)
    held.osd.reply(0, outdata=page("a", "b", handle=handle))
    request, op = await next_request(held, 2)
    assert decode_hobject(Decoder(op.indata)) == handle
    assert request.pg.seed == 0x10
    held.osd.reply(1, outdata=page("c", "d"))
    assert [entry.name for entry in await asked] == ["a", "b", "c"]
    assert listing.cursor.position.oid == "d"  # within the page
    assert await listing.page(5) == [ListedObject("d", "", "")]
    assert listing.cursor == END
    assert await listing.page(5) == []


async def test_a_page_without_an_answer_is_asked_for_again(held: FakeCluster) -> None:
    """With the newest map: the OSD has seen its group split, and we have not."""
    asked = asyncio.ensure_future(held.ioctx.list_objects(start=ObjectCursor.at_hash(1, 0x3F)).page(9))
    request, _ = await next_request(held, 1)
    assert request.pg.seed == 0x1F
    held.mon.subs.clear()
    held.mon.set_pool(1, pg_num=64, pgp_num=64)
    held.osd.reply(0)
    request, _ = await next_request(held, 2)
    assert request.pg.seed == 0x3F
    held.osd.reply(1, outdata=page("x"))
    assert [entry.name for entry in await asked] == ["x"]


async def test_an_osd_that_lists_nonsense(cluster: FakeCluster) -> None:
    """No answer at all, time and again; a cursor that stands still, or goes back."""
    with pytest.raises(InOutError):
        await cluster.ioctx.list_objects().page(1)
    assert 1 < len(cluster.osd.requests) < 20
    for handle in (HObject(1, "", 8), HObject(1, "", 0)):

        def answer(request: MOSDOp, handle: HObject = handle) -> int:
            request.ops[0].outdata = page("a", handle=handle)
            return 0

        cluster.osd.answer_with = answer
        with pytest.raises(InOutError, match="does not move"):
            await cluster.ioctx.list_objects(start=ObjectCursor.at_hash(1, 8)).page(1)


async def test_a_listing_goes_on_after_an_error(cluster: FakeCluster) -> None:
    codes = [-errno.EIO, 0]

    def answer(request: MOSDOp) -> int:
        request.ops[0].outdata = page("a")
        return codes.pop(0)

    cluster.osd.answer_with = answer
    listing = cluster.ioctx.list_objects()
    with pytest.raises(InOutError):
        await anext(listing)
    assert [entry.name async for entry in listing] == ["a"]


async def test_no_object_is_lost_with_an_error(cluster: FakeCluster) -> None:
    """What `page` had of the pages before the one that failed comes with the next call."""
    codes = [0, -errno.EIO, 0]

    def answer(request: MOSDOp) -> int:
        first = decode_hobject(Decoder(request.ops[0].indata)).hash == 0
        request.ops[0].outdata = page("a", "b", handle=HObject(1, "", 0x30)) if first else page("c")
        return codes.pop(0)

    cluster.osd.answer_with = answer
    listing = cluster.ioctx.list_objects()
    with pytest.raises(InOutError):
        await listing.page(3)
    assert listing.cursor.position.oid == "a"
    assert [entry.name for entry in await listing.page(9)] == ["a", "b", "c"]


def test_cursors_are_checked(cluster: FakeCluster) -> None:
    foreign = ObjectCursor.at_hash(2, 1)
    for call in (
        lambda: cluster.ioctx.list_objects(start=foreign),
        lambda: cluster.ioctx.list_objects(end=foreign),
        lambda: cluster.ioctx.list_objects().seek(foreign),
        lambda: cluster.ioctx.list_objects().seek(1 << 32),
        lambda: cluster.ioctx.list_objects(page_entries=0),
        lambda: cluster.ioctx.object_list_slice(0, 2, foreign),
    ):
        with pytest.raises(InvalidArgument):
            call()


async def test_an_end_within_a_page_is_found_by_few_looks(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the hash of every name beyond it."""
    full_name = cluster.ioctx._full_name
    names = [full_name(ListedObject(f"object {number}", "", "")) for number in range(500)]
    names.sort(key=order_key)

    def answer(request: MOSDOp) -> int:
        request.ops[0].outdata = page(*(name.oid for name in names))
        return 0

    looks = 0

    def counted(entry: ListedObject) -> HObject:
        nonlocal looks
        looks += 1
        return full_name(entry)

    cluster.osd.answer_with = answer
    monkeypatch.setattr(cluster.ioctx, "_full_name", counted)
    for count in (0, 1, 250, 499):
        looks = 0
        listing = cluster.ioctx.list_objects(end=ObjectCursor(names[count]))
        assert [entry.name async for entry in listing] == [name.oid for name in names[:count]]
        assert 0 < looks < 15


# on a store


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[IoCtx]:
    network = LoopbackNetwork()
    store = Store(tmp_path / "store", map_size_bytes=1 << 28)
    await store.start(network)
    try:
        async with Rados(LoopbackTransport(network)) as cluster, cluster.open_ioctx("rbd") as ioctx:
            yield ioctx
    finally:
        await store.stop()


async def test_resuming_and_slices(stored: IoCtx) -> None:
    for number in range(300):
        context = stored.duplicate()
        context.set_namespace(("", "one")[number % 2])
        context.set_locator_key("key" if number % 50 == 0 else "")
        context.aio_operate(f"object {number}", WriteOp().create())
        await context.aio_flush()
    listing = stored.list_objects(ALL_NAMESPACES, page_entries=16)
    texts, wanted = [], []
    while not (listing.cursor.is_end):
        texts.append(str(listing.cursor))
        wanted += await listing.page(1)
    assert len(wanted) == 300
    for at in range(0, 300, 7):
        resumed = stored.list_objects(ALL_NAMESPACES, start=ObjectCursor.parse(texts[at]))
        assert await resumed.page(300) == wanted[at:]
    found: list[ListedObject] = []
    for n in range(7):
        begin, end = stored.object_list_slice(n, 7)
        found += [entry async for entry in stored.list_objects(ALL_NAMESPACES, start=begin, end=end)]
    assert found == wanted


async def test_locks(stored: IoCtx) -> None:
    await stored.lock_exclusive("a", "l", "one", description="who", duration_s=100)
    info = await stored.list_lockers("a", "l")
    ((who, about),) = info.lockers.items()
    assert (info.type, who.cookie, about.description) == (LockType.EXCLUSIVE, "one", "who")
    with pytest.raises(ObjectExists):
        await stored.lock_exclusive("a", "l", "one")
    with pytest.raises(ObjectBusy):
        await stored.lock_shared("a", "l", "two", "tag")
    await stored.break_lock("a", "l", str(who.entity), "one")
    with pytest.raises(ObjectNotFound):
        await stored.unlock("a", "l", "one")
    assert await stored.list_locks("a") == ["l"]
    for bad in (-1.0, float("nan"), 1e12):
        with pytest.raises(InvalidArgument):
            await stored.lock_exclusive("a", "l", "one", duration_s=bad)
    async with stored.lock("a", "l", cookie="c") as held:
        await stored.operate("a", WriteOp().assert_locked("l", "c").append(b"x"))
        await held.renew(5)
        waiting = asyncio.ensure_future(_take_and_tell(stored))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == b"x"
    with pytest.raises(ObjectBusy):
        await stored.assert_locked("a", "l", "c")


async def _take_and_tell(ioctx: IoCtx) -> bytes:
    async with ioctx.lock("a", "l", timeout_s=20):
        return await ioctx.read("a")


async def test_a_lock_whose_answer_never_came_is_given_back(held: FakeCluster) -> None:
    """Who gives up waiting for the answer may have got the lock."""

    async def take() -> None:
        async with held.ioctx.lock("a", "l", cookie="c"):
            pytest.fail("nobody has answered")

    task = asyncio.ensure_future(take())
    await held.osd.has(1)
    task.cancel()
    await held.osd.has(2)
    assert held.osd.requests[1].ops[0].call_parts()[:2] == ("lock", "unlock")
    held.osd.reply(1, -errno.ENOENT)
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not held.client.objecter.live_ops())


async def test_who_is_cancelled_as_he_gives_a_lock_back(held: FakeCluster) -> None:
    """His unlock may not have left yet: it is asked for once more."""

    async def work() -> None:
        async with held.ioctx.lock("a", "l", cookie="c"):
            pass

    task = asyncio.ensure_future(work())
    await held.osd.has(1)
    held.osd.reply(0)
    await held.osd.has(2)
    task.cancel()
    await held.osd.has(3)
    assert [request.ops[0].call_parts()[1] for request in held.osd.requests] == ["lock", "unlock", "unlock"]
    held.osd.reply(2, -errno.ENOENT)
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not held.client.objecter.live_ops())


async def test_the_error_within_a_lock_comes_out(held: FakeCluster) -> None:
    """Not that of the unlock after it."""

    async def work() -> None:
        async with held.ioctx.lock("a", "l", cookie="c"):
            raise LookupError("the work's own")

    task = asyncio.ensure_future(work())
    await held.osd.has(1)
    held.osd.reply(0)
    await held.osd.has(2)
    held.osd.reply(1, -errno.EPERM)
    with pytest.raises(LookupError):
        await task


async def test_who_is_cancelled_within_a_lock_does_not_wait_for_ever(
    held: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.rados.ioctx_locks.LET_GO_S", 0.01)
    inside = asyncio.Event()

    async def work() -> None:
        async with held.ioctx.lock("a", "l", cookie="c"):
            inside.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(work())
    await held.osd.has(1)
    held.osd.reply(0)
    await inside.wait()
    task.cancel()
    await held.osd.has(2)  # which nobody answers
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await task
    await eventually(lambda: not held.client.objecter.live_ops())


@pytest.mark.parametrize("flags", [-1, 256])
async def test_locks_that_cannot_be_asked_for(cluster: FakeCluster, flags: int) -> None:
    with pytest.raises(InvalidArgument):
        await cluster.ioctx.lock_exclusive("a", "l", "c", flags=flags)
    with pytest.raises(InvalidArgument):
        await cluster.ioctx.lock_shared("a", "\ud800", "c", "tag")
    with pytest.raises(InvalidArgument):
        cluster.ioctx.set_namespace("\ud800")
    assert not cluster.osd.requests
