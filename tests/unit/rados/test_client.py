"""Rados, MonClient, IoCtx and listing, against the scripted cluster."""

from __future__ import annotations

import asyncio
import errno

import pytest

from cove.messenger import LoopbackNetwork
from cove.rados import (
    ALL_NAMESPACES,
    AioCompletion,
    Cancelled,
    InOutError,
    InvalidArgument,
    LoopbackTransport,
    NotConnected,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    Rados,
    RadosConf,
    ReadOnly,
    TimedOut,
    WriteOp,
)
from cove.wire.encoding import Decoder
from cove.wire.hobject import decode_hobject
from cove.wire.listing import ListedObject, ListPage, pack_cursor, pack_page, unpack_page
from cove.wire.messages import MMonGetVersion, MMonSubscribe, MOSDOp, MPoolOp, MStatfs
from cove.wire.osd_ops import OpCode, PgList
from cove.wire.types import HOBJECT_MAX, HOBJECT_MIN, HObject

from .fake import FSID, FakeCluster, FakeMon, eventually, first_map, running_cluster, settle

# connecting


async def test_connect_with_nobody_there_names_the_monitors() -> None:
    client = Rados(LoopbackTransport(LoopbackNetwork(), ["mon.a", "mon.b"]))
    with pytest.raises(TimedOut, match=r"mon\.a: .*nobody listens.*mon\.b: .*nobody listens"):
        await client.connect(timeout_s=0.02)
    with pytest.raises(NotConnected):
        client.open_ioctx("rbd").cluster.osdmap  # noqa: B018


async def test_connect_to_a_monitor_that_gives_no_map() -> None:
    network = LoopbackNetwork()
    mon = FakeMon(network, "mon.0", first_map())
    mon.silent.add(MMonSubscribe)
    client = Rados(LoopbackTransport(network))
    with pytest.raises(TimedOut, match=r"no OSD map.*mon\.0: connected"):
        await client.connect(timeout_s=0.02)
    mon.silent.clear()
    await client.connect(timeout_s=1)
    assert client.fsid == FSID
    await client.shutdown()
    await mon.messenger.shutdown()


async def test_the_second_monitor_is_tried_when_the_first_is_away() -> None:
    network = LoopbackNetwork()
    mon = FakeMon(network, "mon.b", first_map())
    async with Rados(LoopbackTransport(network, ["mon.a", "mon.b"])) as client:
        assert client.pool_list() == ["rbd", "images"]
    await mon.messenger.shutdown()


async def test_a_cancelled_connect_leaves_nothing() -> None:
    network = LoopbackNetwork()
    mon = FakeMon(network, "mon.0", first_map())
    mon.silent.add(MMonSubscribe)
    client = Rados(LoopbackTransport(network))
    task = asyncio.ensure_future(client.connect())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settle()
    assert not mon.messenger.connections
    await mon.messenger.shutdown()


async def test_connected_twice_and_bad_names() -> None:
    async with running_cluster() as cluster:
        with pytest.raises(InvalidArgument, match="connected already"):
            await cluster.client.connect()
    for name in ("admin", "osd.1", "client."):
        with pytest.raises(InvalidArgument, match=r"client\.NAME"):
            Rados(LoopbackTransport(LoopbackNetwork()), name=name)
    with pytest.raises(InvalidArgument, match="inflight_ops_max=0"):
        RadosConf(inflight_ops_max=0)


async def test_two_clients_have_different_names(cluster: FakeCluster) -> None:
    async with Rados(LoopbackTransport(cluster.network)) as other, other.open_ioctx("rbd") as ioctx:
        await ioctx.append("a", b"x")
        await cluster.ioctx.append("a", b"x")
    names = {connection.peer_name for connection in cluster.osd.accepted}
    assert len(names) == 2


# monitor session


async def test_a_lost_monitor_is_found_again_and_open_questions_are_asked_again(cluster: FakeCluster) -> None:
    cluster.mon.silent |= {MStatfs, MMonGetVersion}
    stat = asyncio.ensure_future(cluster.client.cluster_stat())
    latest = asyncio.ensure_future(cluster.client.wait_for_latest_map())
    await eventually(lambda: cluster.mon.of_type(MStatfs) and cluster.mon.of_type(MMonGetVersion))
    cluster.mon.silent.clear()
    (connection,) = cluster.mon.messenger.connections
    connection.cut()
    assert (await stat).num_objects == 7
    await latest
    tids = [message.tid for message in cluster.mon.of_type(MStatfs)]
    assert len(tids) == 2
    assert tids[0] == tids[1]


async def test_subscriptions_are_renewed_with_a_new_session(cluster: FakeCluster) -> None:
    objecter = cluster.client.objecter
    waiting = asyncio.ensure_future(objecter.wait_for_map(2, 5))
    await eventually(lambda: cluster.mon.subs)
    (connection,) = cluster.mon.messenger.connections
    connection.cut()
    await eventually(lambda: cluster.mon.messenger.connections)
    await settle()
    cluster.mon.publish()
    await waiting


async def test_monitor_requests_time_out(cluster: FakeCluster) -> None:
    await cluster.client.shutdown()
    cluster.mon.silent |= {MPoolOp, MStatfs, MMonGetVersion}
    async with Rados(LoopbackTransport(cluster.network), conf=RadosConf(mon_op_timeout_s=0.01)) as client:
        with pytest.raises(OutcomeUnknown, match="create pool 'new'"):
            await client.pool_create("new")
        with pytest.raises(TimedOut, match="cluster stat"):
            await client.cluster_stat()
        with pytest.raises(TimedOut):
            await client.pool_lookup("absent")
        assert len(client.objecter.mon_requests) == 0


async def test_map_that_never_comes(cluster: FakeCluster) -> None:
    with pytest.raises(TimedOut, match="no OSD map of epoch 9"):
        await cluster.client.objecter.wait_for_map(9, 0.01)


# pools


async def test_pools(cluster: FakeCluster) -> None:
    client = cluster.client
    assert await client.pool_create("new") == 3
    assert client.pool_list() == ["rbd", "images", "new"]
    with pytest.raises(ObjectExists):
        await client.pool_create("new")
    async with client.open_ioctx("new") as ioctx:
        await ioctx.append("a", b"x")
        await client.pool_delete("new")
        with pytest.raises(ObjectNotFound):
            await ioctx.append("a", b"x")
    with pytest.raises(ObjectNotFound, match="the pools are: rbd, images"):
        await client.open_ioctx("new")
    for name in ("", "a\nb", "x" * 300):
        with pytest.raises(InvalidArgument, match="pool name"):
            await client.pool_create(name)


async def test_a_pool_made_by_others_is_found(cluster: FakeCluster) -> None:
    cluster.mon.add_pool(5, "theirs")
    ioctx = await cluster.client.open_ioctx("theirs")
    assert ioctx.pool_id == 5


async def test_cluster_stat(cluster: FakeCluster) -> None:
    assert await cluster.client.cluster_stat() == (1000, 100, 900, 7)


# io context


async def test_an_io_context_must_be_open(cluster: FakeCluster) -> None:
    ioctx = cluster.client.open_ioctx("rbd")
    with pytest.raises(NotConnected, match="not open"):
        ioctx.aio_operate("a", WriteOp().append(b"x"))
    async with ioctx:
        await ioctx.append("a", b"x")
    with pytest.raises(NotConnected, match="not open"):
        await ioctx.append("a", b"x")
    with pytest.raises(NotConnected):
        async for _ in ioctx.list_objects():
            pass


async def test_writes_are_refused_while_reading_at_a_snapshot(cluster: FakeCluster) -> None:
    cluster.ioctx.snap_set_read(3)
    with pytest.raises(ReadOnly):
        cluster.ioctx.aio_operate("a", WriteOp().append(b"x"))
    assert not cluster.osd.requests
    await cluster.ioctx.read("a")
    cluster.ioctx.snap_set_read(None)
    await cluster.ioctx.append("a", b"x")
    cluster.assert_nothing_leaked()


@pytest.mark.parametrize(("seq", "snaps"), [(3, [4]), (5, [3, 4]), (5, [4, 4])])
async def test_bad_snapshot_contexts(cluster: FakeCluster, seq: int, snaps: list[int]) -> None:
    with pytest.raises(InvalidArgument, match="descend"):
        cluster.ioctx.set_self_managed_snap_write_ctx(seq, snaps)


async def test_namespace_and_locator_key_are_part_of_the_request(cluster: FakeCluster) -> None:
    ioctx = cluster.ioctx
    ioctx.set_namespace("ns")
    ioctx.set_locator_key("key")
    await ioctx.append("a", b"x")
    twin = ioctx.duplicate()
    ioctx.set_namespace("")
    ioctx.set_locator_key("")
    await ioctx.append("key", b"x")
    await twin.append("b", b"x")
    first, second, third = cluster.osd.requests
    assert (first.locator.nspace, first.locator.key) == ("ns", "key")
    assert first.raw_hash == third.raw_hash, "the key is hashed, not the name"
    assert first.raw_hash != second.raw_hash, "the namespace is hashed as well"
    for nspace in ("\x01", "n" * 257):
        with pytest.raises(InvalidArgument, match="namespace"):
            ioctx.set_namespace(nspace)


async def test_flush_waits_for_the_writes_submitted_so_far(held: FakeCluster) -> None:
    ioctx = held.ioctx
    await ioctx.aio_flush()
    for number in range(3):
        ioctx.aio_operate(f"object {number}", WriteOp().append(b"x"))
    flush = asyncio.ensure_future(ioctx.aio_flush())
    await settle()
    ioctx.aio_operate("later", WriteOp().append(b"x"))
    await eventually(lambda: len(held.osd.requests) == 4)
    held.osd.reply(2)
    held.osd.reply(0)
    await settle()
    assert not flush.done()
    with pytest.raises(TimedOut, match="2 writes"):
        await ioctx.aio_flush(0.01)
    held.osd.reply(1, -errno.EIO)
    await flush
    held.osd.reply(3)
    await ioctx.aio_flush(1)
    assert not ioctx._flush_waiters


async def test_flush_sees_completed_callbacks(held: FakeCluster) -> None:
    order: list[str] = []
    held.ioctx.aio_operate("a", WriteOp().append(b"x"), lambda c: order.append("callback"))
    flush = asyncio.ensure_future(held.ioctx.aio_flush())
    flush.add_done_callback(lambda _: order.append("flushed"))
    await eventually(lambda: held.osd.requests)
    held.osd.reply(0)
    await flush
    assert order == ["callback", "flushed"]


async def test_a_vector_can_be_used_for_several_objects(cluster: FakeCluster) -> None:
    op = WriteOp().create(True).append(b"x")
    done = [cluster.ioctx.aio_operate(name, op) for name in ("a", "b", "c")]
    for completion in done:
        assert isinstance(completion, AioCompletion)
        await completion
    vectors = [request.ops for request in cluster.osd.requests]
    assert len({id(ops[0]) for ops in vectors}) == 3


# listing


def _page(handle: HObject, names: list[str]) -> bytes:
    return pack_page(ListPage([ListedObject(name, "ns", "") for name in names], handle))


@pytest.mark.parametrize(
    "name", [HOBJECT_MIN, HOBJECT_MAX, HObject(3, "née", 0xDEADBEEF, "key", "ns", 7), HObject(-2, "a", 1)]
)
def test_hobject_round_trip(name: HObject) -> None:
    assert decode_hobject(Decoder(pack_cursor(name))) == name


def test_page_round_trip() -> None:
    page = unpack_page(_page(HObject(1, "x", 5), ["a", "b"]))
    assert [entry.name for entry in page.objects] == ["a", "b"]
    assert page.handle == HObject(1, "x", 5)


async def test_list_objects_follows_the_cursor_over_empty_pages(cluster: FakeCluster) -> None:
    pages = iter(
        [
            (HObject(1, "b", 0x20), ["a"], 0),
            (HObject(1, "", 0x10), [], 1),  # after it: the order is that of the reversed bits
            (HOBJECT_MAX, ["b", "c"], 1),
        ]
    )

    def answer(request: MOSDOp) -> int:
        handle, names, result = next(pages)
        request.ops[0].outdata = _page(handle, names)
        return result

    cluster.osd.answer_with = answer
    found = [entry async for entry in cluster.ioctx.list_objects(ALL_NAMESPACES)]
    assert [entry.name for entry in found] == ["a", "b", "c"]
    assert found[0].nspace == "ns"
    requests = cluster.osd.requests
    assert [request.raw_hash for request in requests] == [0, 0x20, 0x10]
    assert [request.pg.seed for request in requests] == [0, 0, 0x10]
    assert all(request.locator.nspace == "\x01" and request.oid == "" for request in requests)
    assert requests[0].ops[0].code == OpCode.PGNLS
    assert requests[0].ops[0].params == PgList(1024, 1)
    assert decode_hobject(Decoder(requests[1].ops[0].indata)) == HObject(1, "b", 0x20)


async def test_a_listing_that_does_not_move_or_makes_no_sense_ends_with_an_error(cluster: FakeCluster) -> None:
    def stuck(request: MOSDOp) -> int:
        request.ops[0].outdata = _page(HOBJECT_MIN, [])
        return 0

    cluster.osd.answer_with = stuck
    with pytest.raises(InOutError, match="does not move"):
        _ = [entry async for entry in cluster.ioctx.list_objects()]
    cluster.osd.answer_with = lambda request: 0
    with pytest.raises(InOutError):
        _ = [entry async for entry in cluster.ioctx.list_objects()]


async def test_a_shutdown_ends_a_connect_that_is_under_way() -> None:
    client = Rados(LoopbackTransport(LoopbackNetwork()))
    task = asyncio.ensure_future(client.connect())
    await settle()
    await client.shutdown()
    with pytest.raises(Cancelled):
        await asyncio.wait_for(task, 1)


async def test_errors_about_pools_speak_of_pools(cluster: FakeCluster) -> None:
    with pytest.raises(ObjectNotFound, match=r"^pool 'nope': .*the pools are: rbd, images; .*pool_create") as caught:
        await cluster.client.open_ioctx("nope")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(ObjectExists, match=r"create pool 'rbd': .*choose another name") as exists:
        await cluster.client.pool_create("rbd")
    assert exists.value.errno == errno.EEXIST
