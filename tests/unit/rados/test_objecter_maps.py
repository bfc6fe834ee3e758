"""New maps: moved operations, pauses, full flags, barriers, gaps, pools that come and go."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from uuid import uuid4

import pytest

from cove.messenger import LoopbackConnection
from cove.rados import InOutError, ObjectNotFound, OutcomeUnknown, RadosConf, ReadOp, TimedOut, WriteOp
from cove.wire.auth import AuthError
from cove.wire.messages import MMonGetVersion, MMonSubscribe, MOSDMap, SubscribeFlag
from cove.wire.monmap import MonMap
from cove.wire.osd_ops import RequestFlag
from cove.wire.osdmap import MapFlag, PoolFlag
from cove.wire.osdmap_codec import encode_osdmap

from .fake import OSD_ADDRESSES, FakeCluster, FakeOsd, eventually, first_map, running_cluster, settle

SOME_MONMAP = MonMap(fsid=uuid4(), epoch=1)


def append(cluster: FakeCluster, oid: str, data: bytes) -> None:
    """Submit, and don't wait."""
    cluster.ioctx.aio_operate(oid, WriteOp().append(data))


def push(cluster: FakeCluster) -> None:
    """The monitor sends its newest map to the client, subscribed or not (as OSDs do, too)."""
    mon = cluster.mon
    for connection in list(mon.messenger.connections):
        mon.send_maps(connection, [max(mon.maps)])


async def test_a_map_that_changes_nothing_resends_nothing(held: FakeCluster) -> None:
    held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    held.mon.publish()
    push(held)
    await eventually(lambda: held.client.objecter.epoch == 2)
    assert len(held.osd.requests) == 1
    held.osd.reply(0)
    await held.ioctx.aio_flush(1)


async def test_a_down_osd_moves_operations_in_order_with_the_same_tids(held: FakeCluster) -> None:
    for number in range(5):
        held.ioctx.aio_operate(f"object {number}", WriteOp().append(b"x"))
    await eventually(lambda: len(held.osd.requests) == 5)
    held.mon.set_osd(0, up=False)
    push(held)
    second = held.osds[1]
    await eventually(lambda: len(second.requests) == 5)
    assert [request.tid for request in second.requests] == [1, 2, 3, 4, 5]
    assert all(request.retry_attempt == 1 and request.flags & RequestFlag.RETRY for request in second.requests)
    assert all(request.epoch == 2 for request in second.requests)
    for index in range(5):
        held.osd.reply(index)  # the old primary's answers come too late
        second.reply(index)
    await held.ioctx.aio_flush(1)
    held.assert_nothing_leaked()


async def test_a_resend_does_not_share_operations_with_the_first_request(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", ReadOp().read(3))
    await eventually(lambda: held.osd.requests)
    held.mon.set_osd(0, up=False)
    push(held)
    await eventually(lambda: held.osds[1].requests)
    held.osd.requests[0].ops[0].outdata = b"old"
    held.osds[1].reply(0)
    assert (await completion).data(0) == b""


async def test_no_osd_up_is_homeless_until_a_map_brings_one(held: FakeCluster) -> None:
    held.mon.set_osd(0, up=False)
    held.mon.set_osd(1, up=False)
    push(held)
    objecter = held.client.objecter
    await eventually(lambda: objecter.epoch == 3)
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    assert len(objecter.homeless.ops) == 1
    await settle()
    assert next(iter(held.mon.subs.values())).start == 4, "the next map is wanted at once"
    held.mon.set_osd(1, up=True)
    await eventually(lambda: held.osds[1].requests)
    held.osds[1].reply(0)
    await completion
    held.assert_nothing_leaked()


async def test_a_homeless_write_times_out_plainly(held: FakeCluster) -> None:
    held.mon.set_osd(0, up=False)
    held.mon.set_osd(1, up=False)
    push(held)
    await eventually(lambda: held.client.objecter.epoch == 3)
    with pytest.raises(TimedOut):
        await held.ioctx.operate("a", WriteOp().append(b"x"), timeout_s=0.01)
    held.assert_nothing_leaked()


async def test_a_changed_address_reconnects(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    moved = FakeOsd(held.network, 0, "v2:127.0.0.1:6900/3", auto=True)
    held.mon.set_osd(0, up=True, address="v2:127.0.0.1:6900/3")
    push(held)
    await completion
    assert [(request.tid, request.retry_attempt) for request in moved.requests] == [(1, 1)]
    await moved.messenger.shutdown()


@pytest.mark.parametrize(
    ("flag", "blocks_reads", "blocks_writes"),
    [(MapFlag.PAUSERD, True, False), (MapFlag.PAUSEWR, False, True), (MapFlag.FULL, False, True)],
)
async def test_pause_flags(cluster: FakeCluster, flag: MapFlag, blocks_reads: bool, blocks_writes: bool) -> None:
    cluster.mon.set_flags(flag)
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == 2)
    read = cluster.ioctx.aio_operate("a", ReadOp().read())
    write = cluster.ioctx.aio_operate("b", WriteOp().append(b"x"))
    await settle()
    assert read.is_complete() is not blocks_reads
    assert write.is_complete() is not blocks_writes
    (sub,) = cluster.mon.subs.values()
    assert not sub.flags & SubscribeFlag.ONETIME, "while paused, every map is wanted"
    cluster.mon.set_flags(MapFlag(0))
    await read
    await write
    assert len(cluster.osd.requests) == 2
    assert all(request.retry_attempt == 0 for request in cluster.osd.requests)
    cluster.assert_nothing_leaked()


async def test_paused_operations_are_sent_in_tid_order(cluster: FakeCluster) -> None:
    cluster.mon.set_flags(MapFlag.PAUSEWR)
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == 2)
    for number in range(10):
        cluster.ioctx.aio_operate(f"object {number}", WriteOp().append(b"x"))
    cluster.mon.set_flags(MapFlag(0))
    await cluster.ioctx.aio_flush(1)
    assert [request.tid for request in cluster.osd.requests] == list(range(1, 11))


async def test_a_full_pool_holds_plain_writes_only(cluster: FakeCluster) -> None:
    cluster.mon.set_pool(1, flags=PoolFlag.HASHPSPOOL | PoolFlag.FULL)
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == 2)
    plain = cluster.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await cluster.ioctx.operate("b", WriteOp().append(b"x").with_flags(RequestFlag.FULL_TRY))
    await cluster.ioctx.read("c")
    async with cluster.client.open_ioctx("images") as images:
        await images.append("d", b"x")
    assert not plain.is_complete()
    cluster.mon.set_pool(1, flags=PoolFlag.HASHPSPOOL)
    await plain
    cluster.assert_nothing_leaked()


async def test_a_write_in_flight_is_resent_when_the_full_flag_goes(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    held.mon.set_flags(MapFlag.FULL)
    push(held)
    await eventually(lambda: held.client.objecter.epoch == 2)
    assert len(held.osd.requests) == 1
    held.mon.set_flags(MapFlag(0))
    await eventually(lambda: len(held.osd.requests) == 2)
    assert held.osd.requests[1].tid == held.osd.requests[0].tid
    held.osd.reply(0)  # the answer to the first sending
    held.osd.reply(1)
    await completion
    assert held.client.objecter.stats.stray == 1
    held.assert_nothing_leaked()


async def test_epoch_barrier(cluster: FakeCluster) -> None:
    cluster.client.objecter.set_epoch_barrier(3)
    completion = cluster.ioctx.aio_operate("a", ReadOp().read())
    await settle()
    assert not cluster.osd.requests
    cluster.mon.publish()
    await eventually(lambda: cluster.client.objecter.epoch == 2)
    assert not completion.is_complete()
    cluster.mon.publish()
    await completion
    assert cluster.osd.requests[0].epoch == 3


async def test_the_barrier_is_the_client_s_to_set(cluster: FakeCluster) -> None:
    cluster.client.set_epoch_barrier(2)
    completion = cluster.ioctx.aio_operate("a", ReadOp().read())
    await settle()
    assert not cluster.osd.requests
    cluster.mon.publish()
    await completion


async def test_a_map_of_another_cluster_and_an_old_one_are_ignored(cluster: FakeCluster) -> None:
    mon = cluster.mon
    (connection,) = mon.messenger.connections
    foreign = replace(mon.maps[1], fsid=uuid4(), epoch=9)
    connection.send_message(MOSDMap(fsid=foreign.fsid, fulls={9: encode_osdmap(foreign)}, newest=9))
    await settle()
    assert cluster.client.objecter.epoch == 1
    mon.publish()
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == 2)
    mon.send_maps(connection, [1])
    await settle()
    assert cluster.client.objecter.epoch == 2


async def test_several_epochs_in_one_message_are_walked_one_by_one(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    held.mon.set_osd(0, up=False)
    held.mon.set_osd(0, up=True)
    (connection,) = held.mon.messenger.connections
    maps = held.client.objecter.stats.maps
    held.mon.send_maps(connection, [2, 3])
    await eventually(lambda: len(held.osd.requests) == 2)
    assert held.client.objecter.stats.maps == maps + 2
    assert held.osd.requests[1].tid == 1, "it left and came back: sent again"
    held.osd.reply(1)
    await completion


async def test_a_gap_is_asked_for_and_then_jumped_over(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    held.mon.silent.add(MMonSubscribe)
    held.mon.publish()
    held.mon.publish()
    push(held)
    await eventually(lambda: 2 in held.mon.starts("osdmap"))
    assert held.client.objecter.epoch == 1
    push(held)  # still with the gap
    await eventually(lambda: held.client.objecter.epoch == 3)
    await eventually(lambda: len(held.osd.requests) == 2)
    held.osd.reply(1)
    await completion


async def test_epochs_that_the_monitor_has_trimmed_are_skipped(held: FakeCluster) -> None:
    held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    held.mon.publish()
    held.mon.publish()
    held.mon.oldest = 3
    push(held)
    await eventually(lambda: len(held.osd.requests) == 2)
    held.osd.reply(1)
    await held.ioctx.aio_flush(1)


# pools


async def test_a_pool_deleted_in_flight_is_enoent_at_once(held: FakeCluster) -> None:
    held.mon.silent.add(MMonGetVersion)
    sent = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    held.mon.drop_pool(1)
    push(held)
    with pytest.raises(ObjectNotFound):
        await sent
    held.assert_nothing_leaked()


async def test_a_pool_that_never_was_is_checked_with_the_monitor(cluster: FakeCluster) -> None:
    cluster.ioctx.pool_id = 99
    cluster.ioctx.set_namespace("")
    versions = len(cluster.mon.of_type(MMonGetVersion))
    waiting = [cluster.ioctx.aio_operate(str(number), WriteOp().append(b"x")) for number in range(10)]
    waiting.append(cluster.ioctx.aio_operate("b", ReadOp().read()))
    for completion in waiting:
        with pytest.raises(ObjectNotFound):
            await completion
    asked = len(cluster.mon.of_type(MMonGetVersion)) - versions
    assert asked == 2, "one question for the first, and one for those submitted after it was asked"
    cluster.assert_nothing_leaked()


async def test_a_pool_newer_than_our_map_is_waited_for(cluster: FakeCluster) -> None:
    cluster.mon.silent.add(MMonSubscribe)
    cluster.mon.add_pool(7, "new")
    cluster.ioctx.pool_id = 7
    cluster.ioctx.set_namespace("")
    completion = cluster.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: cluster.mon.of_type(MMonGetVersion))
    await settle()
    assert not completion.is_complete()
    push(cluster)
    await completion


async def test_pool_eio(cluster: FakeCluster) -> None:
    cluster.mon.set_pool(1, flags=PoolFlag.HASHPSPOOL | PoolFlag.EIO)
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == 2)
    with pytest.raises(InOutError):
        await cluster.ioctx.read("a")
    cluster.assert_nothing_leaked()


async def test_starting_with_a_paused_cluster() -> None:
    async with running_cluster(osdmap=first_map(MapFlag.PAUSEWR)) as cluster:
        with pytest.raises(TimedOut):
            await cluster.ioctx.operate("a", WriteOp().append(b"x"), timeout_s=0.01)
        await cluster.ioctx.read("a")


# sessions


async def test_a_cut_connection_resends_in_order_with_the_next_attempt(held: FakeCluster) -> None:
    for number in range(5):
        held.ioctx.aio_operate(f"object {number}", WriteOp().append(b"x"))
    await eventually(lambda: len(held.osd.requests) == 5)
    held.osd.reply(2)
    await eventually(lambda: held.client.objecter.throttle.ops == 4)
    held.osd.cut()
    await eventually(lambda: len(held.osd.requests) == 9)
    again = held.osd.requests[5:]
    assert [request.tid for request in again] == [1, 2, 4, 5]
    assert all(request.retry_attempt == 1 and request.flags & RequestFlag.RETRY for request in again)
    assert held.osd.connections[5] is not held.osd.connections[0]
    held.osd.reply(5, attempt=0)
    await settle()
    assert held.client.objecter.stats.stray == 1, "an answer to the first attempt does not count any more"
    for index in range(5, 9):
        held.osd.reply(index)
    await held.ioctx.aio_flush(1)
    held.assert_nothing_leaked()


async def test_operations_after_a_cut_go_behind_the_resent_ones(held: FakeCluster) -> None:
    held.ioctx.aio_operate("a", WriteOp().append(b"1"))
    await eventually(lambda: held.osd.requests)
    held.osd.cut()
    held.ioctx.aio_operate("a", WriteOp().append(b"2"))
    await eventually(lambda: len(held.osd.requests) >= 3)
    assert [request.tid for request in held.osd.requests[1:3]] == [1, 2]


async def test_refused_connections_are_tried_again_and_count_as_never_sent(held: FakeCluster) -> None:
    listeners = held.network.listeners
    osd = listeners.pop(OSD_ADDRESSES[0])
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"), timeout_s=0.02)
    with pytest.raises(TimedOut):
        await write
    held.assert_nothing_leaked()
    later = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await settle()
    listeners[OSD_ADDRESSES[0]] = osd
    await eventually(lambda: held.osd.requests)
    held.osd.reply(0)
    await later
    held.assert_nothing_leaked()


async def test_an_idle_session_that_was_cut_is_opened_by_the_next_operation(cluster: FakeCluster) -> None:
    await cluster.ioctx.append("a", b"x")
    cluster.osd.cut()
    await settle()
    assert len(cluster.osd.accepted) == 1
    await cluster.ioctx.append("a", b"x")
    assert len(cluster.osd.accepted) == 2
    assert [request.retry_attempt for request in cluster.osd.requests] == [0, 0]


async def test_a_connection_that_breaks_again_and_again_is_opened_less_often(held: FakeCluster) -> None:
    held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    held.osd.cut()
    await eventually(lambda: len(held.osd.requests) == 2)
    held.osd.cut()
    await settle()
    session = held.client.objecter.sessions[0]
    assert session.reopen_timer is not None
    await eventually(lambda: len(held.osd.requests) == 3)
    held.osd.reply(2)
    await held.ioctx.aio_flush(1)
    assert session.failures == 0
    assert [request.retry_attempt for request in held.osd.requests] == [0, 1, 2]


async def test_cut_and_down_at_once_loses_nothing(held: FakeCluster) -> None:
    for number in range(3):
        held.ioctx.aio_operate(f"object {number}", WriteOp().append(b"x"))
    await eventually(lambda: len(held.osd.requests) == 3)
    held.mon.set_osd(0, up=False)
    held.osd.cut()
    push(held)
    await eventually(lambda: len(held.osds[1].requests) == 3)
    for index in range(3):
        held.osds[1].reply(index)
    await held.ioctx.aio_flush(1)
    held.assert_nothing_leaked()


async def test_the_cluster_away_in_mid_flight_is_an_error_within_the_time_out() -> None:
    async with running_cluster(auto=False, conf=RadosConf(osd_op_timeout_s=0.05)) as cluster:
        task = asyncio.ensure_future(cluster.ioctx.read("a"))
        await eventually(lambda: cluster.osd.requests)
        await cluster.mon.messenger.shutdown()
        for osd in cluster.osds:
            await osd.messenger.shutdown()
        with pytest.raises(TimedOut) as caught:
            await task
        assert caught.value.errno == errno.ETIMEDOUT
        cluster.assert_nothing_leaked()


@pytest.mark.parametrize("by", ["callback", "throttle"])
async def test_new_operations_do_not_overtake_those_that_are_sent_again(by: str) -> None:
    """One ends with the map that moves another: what its end sets going must not get ahead on the other's object."""
    conf = RadosConf(inflight_ops_max=2 if by == "throttle" else 10)
    async with running_cluster(auto=False, conf=conf) as held:
        async with held.client.open_ioctx("images") as images:
            doomed = images.aio_operate("doomed", WriteOp().append(b"x"))
            held.ioctx.aio_operate("a", WriteOp().append(b"1"))
            await held.osd.has(2)
            if by == "callback":
                doomed.on_complete(lambda _: append(held, "a", b"2"))
            else:
                held.ioctx.aio_operate("a", WriteOp().append(b"2"))
            held.mon.set_osd(0, up=False)
            held.mon.drop_pool(2)
            for connection in list(held.mon.messenger.connections):
                held.mon.send_maps(connection, [2, 3])
            with pytest.raises(ObjectNotFound):
                await doomed
        second = held.osds[1]
        await second.has(2)
        assert [bytes(request.ops[0].indata) for request in second.requests] == [b"1", b"2"]
        for index in range(2):
            second.reply(index)
        await held.ioctx.aio_flush(1)
        held.assert_nothing_leaked()


async def test_a_first_map_of_another_cluster_is_ignored() -> None:
    async with running_cluster() as cluster:
        objecter = cluster.client.objecter
        objecter.targets = None
        objecter.monclient.monmap = replace(SOME_MONMAP, fsid=uuid4())
        connection = next(iter(cluster.mon.messenger.connections))
        cluster.mon.send_maps(connection, [1])
        await settle()
        assert objecter.epoch == 0
        objecter.monclient.monmap = replace(SOME_MONMAP, fsid=cluster.mon.newest.fsid)
        cluster.mon.send_maps(connection, [1])
        await eventually(lambda: objecter.epoch == 1)


async def test_an_osd_that_does_not_react_to_keepalives_is_connected_to_again(
    held: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that drops everything: neither a reset nor a map tells."""
    monkeypatch.setattr("cove.rados.objecter.SILENT_S", 0.0)
    objecter = held.client.objecter
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    for _ in range(4):
        objecter._tick()  # answered
    assert len(held.osd.accepted) == 1
    monkeypatch.setattr(LoopbackConnection, "send_keepalive", lambda connection: None)
    for _ in range(3):
        await asyncio.sleep(0.001)  # or the last answer is as new as the next question
        objecter._tick()
    await held.osd.has(2)
    assert len(held.osd.accepted) == 2
    assert held.osd.requests[1].tid == held.osd.requests[0].tid
    assert held.osd.requests[1].retry_attempt == 1
    held.osd.reply(1)
    await write
    for _ in range(4):
        objecter._tick()  # nothing is in flight: nobody asks
    await settle()
    assert len(held.osd.accepted) == 2


async def test_a_callback_may_submit_when_an_osd_denies_us(held: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    objecter = held.client.objecter
    first = held.ioctx.aio_operate("a", WriteOp().append(b"1"))
    await held.osd.has(1)
    first.on_complete(lambda _: append(held, "b", b"2"))
    session = objecter.sessions[0]
    session.failures = 100
    refused = session.connection
    assert refused is not None
    refused.refused_because = AuthError("no")
    objecter.ms_handle_refused(refused)
    refused.mark_down()
    with pytest.raises(OutcomeUnknown):
        await first
    await held.osd.has(2)
    assert list(objecter._by_connection) == [session.connection]
    held.osd.reply(1)
    await held.ioctx.aio_flush(1)
    held.assert_nothing_leaked()


@pytest.mark.parametrize(("before", "after"), [(32, 33), (33, 32)], ids=["split", "merged"])
async def test_groups_that_were_split_or_merged_are_sent_again(before: int, after: int) -> None:
    """Also what stays in its group: the OSD has dropped it. What is in another group is left alone."""
    osdmap = first_map()
    pools = {1: replace(osdmap.pools[1], pg_num=before), 2: osdmap.pools[2]}
    async with running_cluster(auto=False, osdmap=replace(osdmap, pools=pools)) as held:
        for number in range(200):
            held.ioctx.aio_operate(f"object {number}", WriteOp().append(b"x"))
        await held.osd.has(200)
        affected = {request.tid for request in held.osd.requests if request.pg.seed in (0, 32)}
        staying = {request.tid for request in held.osd.requests if request.pg.seed == 0 and request.raw_hash & 32 == 0}
        assert staying
        assert staying < affected
        held.mon.publish(pools=pools | {1: replace(pools[1], pg_num=after)})
        push(held)
        await held.osd.has(200 + len(affected))
        await settle()
        again = held.osd.requests[200:]
        assert [request.tid for request in again] == sorted(affected)
        assert all(request.epoch == 2 for request in again)
        for index in range(len(held.osd.requests)):
            if index >= 200 or held.osd.requests[index].tid not in affected:
                held.osd.reply(index)
        await held.ioctx.aio_flush(1)
        held.assert_nothing_leaked()


async def test_a_primary_that_is_down_is_nobody(held: FakeCluster) -> None:
    """primary_temp may name one: nobody would ever answer there."""
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    held.mon.set_osd(1, up=False)
    target = held.client.objecter.live_ops()[0].target
    assert target is not None
    held.mon.publish(primary_temp={target.pg: 1})
    for connection in list(held.mon.messenger.connections):
        held.mon.send_maps(connection, [2, 3])
    await eventually(lambda: held.client.objecter.epoch == 3)
    assert held.client.objecter.homeless.ops
    assert 1 not in held.client.objecter.sessions
    held.mon.publish(primary_temp={})
    await held.osd.has(2)
    held.osd.reply(1)
    await write
