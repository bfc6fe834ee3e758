"""Watches and notifies against the scripted cluster: what is sent when, and what each answer and message means."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cove.messenger import LoopbackConnection
from cove.rados import (
    Blocklisted,
    Error,
    InvalidArgument,
    NotConnected,
    Notification,
    ObjectNotFound,
    RadosConf,
    TimedOut,
    Watch,
    WriteOp,
)
from cove.rados import watch as watch_module
from cove.wire.messages import MOSDOp, MWatchNotify, NotifyCode
from cove.wire.osd_ops import OpCode, RequestFlag
from cove.wire.osd_ops import Watch as WatchParams
from cove.wire.osdmap import MapFlag
from cove.wire.watches import NotifyAck, WatchSubOp

from .fake import FakeCluster, FakeOsd, eventually, running_cluster, settle
from .test_objecter_maps import push

TICK_S = 0.02


@pytest.fixture
async def ticking() -> AsyncIterator[FakeCluster]:
    """OSDs that answer at once, and a client that pings its watches all the time."""
    async with running_cluster(conf=RadosConf(tick_interval_s=TICK_S)) as running:
        yield running


def steps(osd: FakeOsd) -> list[tuple[int, int]]:
    """(sub-op, generation) of the watch requests that came, without pings."""
    found = [request.ops[0].params for request in osd.requests]
    watches = [params for params in found if isinstance(params, WatchParams)]
    return [(item.sub_op, item.gen) for item in watches if item.sub_op != WatchSubOp.PING]


def pings(osd: FakeOsd) -> list[MOSDOp]:
    return [request for request in osd.requests if is_step(request, WatchSubOp.PING)]


def is_step(request: MOSDOp, sub_op: WatchSubOp) -> bool:
    params = request.ops[0].params
    return isinstance(params, WatchParams) and params.sub_op == sub_op


def acks(osd: FakeOsd) -> list[NotifyAck]:
    return [
        NotifyAck.from_bytes(request.ops[0].indata)
        for request in osd.requests
        if request.ops[0].code == OpCode.NOTIFY_ACK
    ]


def tell(osd: FakeOsd, watch: Watch, notify_id: int, data: bytes = b"") -> None:
    """A notification for a watch."""
    osd.connections[-1].send_message(
        MWatchNotify(opcode=NotifyCode.NOTIFY, cookie=watch.cookie, notify_id=notify_id, payload=data, notifier=77)
    )


def disconnect(osd: FakeOsd, watch: Watch) -> None:
    osd.connections[-1].send_message(MWatchNotify(opcode=NotifyCode.DISCONNECT, cookie=watch.cookie))


def ignore(notification: Notification) -> None:
    """A callback."""


def assert_no_lingers(cluster: FakeCluster) -> None:
    cluster.assert_nothing_leaked()
    assert len(cluster.client.objecter.lingers) == 0


# registration


async def test_a_watch_and_its_end(cluster: FakeCluster) -> None:
    cluster.ioctx.set_namespace("ns")
    async with await cluster.ioctx.watch("a", ignore, timeout_s=17) as watch:
        (request,) = cluster.osd.requests
        assert request.flags & RequestFlag.WRITE
        assert (request.oid, request.locator.nspace) == ("a", "ns")
        assert request.ops[0].params == WatchParams(watch.cookie, WatchSubOp.WATCH, 0, 17)
        assert watch.check() < 5
        assert repr(watch).endswith("in order>")
    assert cluster.osd.requests[1].ops[0].params == WatchParams(watch.cookie, WatchSubOp.UNWATCH)
    await watch.unwatch()
    assert len(cluster.osd.requests) == 2, "once is enough"
    assert_no_lingers(cluster)


async def test_cookies_are_unique(cluster: FakeCluster) -> None:
    watches = [await cluster.ioctx.watch("a", ignore) for _ in range(3)]
    assert len({watch.cookie for watch in watches}) == 3
    assert all(watch.cookie for watch in watches)


async def test_a_watch_that_is_refused_leaves_nothing(cluster: FakeCluster) -> None:
    cluster.osd.answer_with = lambda request: -errno.ENOENT if is_step(request, WatchSubOp.WATCH) else 0
    with pytest.raises(ObjectNotFound, match="watch on object 'a'"):
        await cluster.ioctx.watch("a", ignore)
    await settle()
    assert_no_lingers(cluster)


async def test_a_cancelled_registration_is_taken_back(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.watch("a", ignore))
    await held.osd.has(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await held.osd.has(2)
    assert steps(held.osd) == [(WatchSubOp.WATCH, 0), (WatchSubOp.UNWATCH, 0)]
    held.osd.reply(0)
    held.osd.reply(1)
    await eventually(lambda: not len(held.client.objecter.lingers))
    assert_no_lingers(held)


async def test_a_registration_that_was_never_sent_needs_no_unwatch(held: FakeCluster) -> None:
    held.mon.set_flags(MapFlag.PAUSEWR)
    push(held)
    await eventually(lambda: held.client.objecter.epoch == 2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await held.ioctx.watch("a", ignore)
    assert_no_lingers(held)
    held.mon.set_flags(MapFlag(0))
    await eventually(lambda: held.client.objecter.epoch == 3)
    assert not held.osd.requests


async def test_a_registration_that_is_not_answered_times_out() -> None:
    async with running_cluster(auto=False, conf=RadosConf(osd_op_timeout_s=0.03)) as cluster:
        with pytest.raises(TimedOut, match="not registered within"):
            await cluster.ioctx.watch("a", ignore)
        await cluster.osd.has(2)
        assert steps(cluster.osd)[1] == (WatchSubOp.UNWATCH, 0)
        await eventually(lambda: not len(cluster.client.objecter.lingers))
        assert_no_lingers(cluster)


@pytest.mark.parametrize("timeout_s", [-1, 2**32])
async def test_time_outs_that_cannot_be_are_refused(cluster: FakeCluster, timeout_s: int) -> None:
    with pytest.raises(InvalidArgument):
        await cluster.ioctx.watch("a", ignore, timeout_s=timeout_s)
    with pytest.raises(InvalidArgument):
        await cluster.ioctx.notify("a", timeout_s=timeout_s)
    with pytest.raises(InvalidArgument, match="can't be encoded"):
        await cluster.ioctx.watch("\ud800", ignore)


async def test_a_full_pool_holds_back_a_registration_unless_the_context_tries(cluster: FakeCluster) -> None:
    cluster.mon.set_flags(MapFlag.FULL)
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == 2)
    plain = asyncio.create_task(cluster.ioctx.watch("a", ignore))
    await settle()
    assert not cluster.osd.requests
    with_try = cluster.ioctx.duplicate()
    with_try.set_osdmap_full_try(True)
    watch = await with_try.watch("a", ignore)
    await watch.unwatch()
    cluster.mon.set_flags(MapFlag(0))
    await (await plain).unwatch()
    assert_no_lingers(cluster)


async def test_watches_need_no_place_in_the_throttle() -> None:
    async with running_cluster(auto=False, conf=RadosConf(inflight_ops_max=1, tick_interval_s=TICK_S)) as cluster:
        blocked = cluster.ioctx.aio_operate("b", WriteOp().append(b"x"))
        task = asyncio.create_task(cluster.ioctx.watch("a", ignore))
        await cluster.osd.has(2)
        cluster.osd.reply(1)
        watch = await task
        await cluster.osd.has(3)
        assert pings(cluster.osd)
        cluster.osd.reply(0)
        await blocked
        assert watch.error is None


# pings


async def test_pings_keep_the_watch_valid(ticking: FakeCluster) -> None:
    watch = await ticking.ioctx.watch("a", ignore)
    await eventually(lambda: len(pings(ticking.osd)) >= 3)
    ping = pings(ticking.osd)[0]
    assert ping.ops[0].params == WatchParams(watch.cookie, WatchSubOp.PING)
    assert (ping.mtime_ns, ping.flags & RequestFlag.WRITE) == (0, RequestFlag.WRITE)
    await settle()
    assert watch.check() < 3
    await watch.unwatch()
    count = len(pings(ticking.osd))
    await asyncio.sleep(3 * TICK_S)
    assert len(pings(ticking.osd)) == count
    assert_no_lingers(ticking)


async def test_without_answers_the_age_grows_and_pings_do_not_pile_up(held: FakeCluster) -> None:
    async with running_cluster(auto=False, conf=RadosConf(tick_interval_s=TICK_S)) as cluster:
        task = asyncio.create_task(cluster.ioctx.watch("a", ignore))
        await cluster.osd.has(1)
        cluster.osd.reply(0)
        watch = await task
        await eventually(lambda: pings(cluster.osd))
        age = watch.check()
        await eventually(lambda: watch.check() > age + 4 * TICK_S)
        assert len(pings(cluster.osd)) == 1
        cluster.osd.reply(1)
        await eventually(lambda: len(pings(cluster.osd)) == 2)


async def test_a_short_time_out_is_pinged_more_often_than_the_tick(cluster: FakeCluster) -> None:
    watch = await cluster.ioctx.watch("a", ignore, timeout_s=1)
    other = await cluster.ioctx.watch("b", ignore)
    await eventually(lambda: len(pings(cluster.osd)) >= 2)
    assert {ping.oid for ping in pings(cluster.osd)} == {"a"}, "the other one is not due"
    assert (watch.error, other.error) == (None, None)


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (-errno.ENOENT, NotConnected),
        (-errno.ENOTCONN, NotConnected),
        (-errno.ETIMEDOUT, TimedOut),
        (-errno.ESHUTDOWN, Blocklisted),
    ],
)
async def test_a_ping_that_fails_ends_the_watch_once(ticking: FakeCluster, result: int, kind: type[Error]) -> None:
    errors: list[Error] = []
    watch = await ticking.ioctx.watch("a", ignore, on_error=errors.append)
    ticking.osd.answer_with = lambda request: result if is_step(request, WatchSubOp.PING) else 0
    await eventually(lambda: errors)
    assert type(errors[0]) is kind
    assert watch.error is errors[0]
    with pytest.raises(kind):
        watch.check()
    count = len(pings(ticking.osd))
    ticking.osd.cut()
    await asyncio.sleep(3 * TICK_S)
    assert len(pings(ticking.osd)) == count, "it does not come back by itself"
    assert len(errors) == 1
    await watch.unwatch()
    assert_no_lingers(ticking)


async def test_pings_wait_while_reads_are_paused_and_do_not_mind_paused_writes(ticking: FakeCluster) -> None:
    watch = await ticking.ioctx.watch("a", ignore)
    ticking.mon.set_flags(MapFlag.PAUSERD)
    push(ticking)
    await eventually(lambda: ticking.client.objecter.epoch == 2)
    await settle()
    count = len(pings(ticking.osd))
    await asyncio.sleep(3 * TICK_S)
    assert len(pings(ticking.osd)) == count
    ticking.mon.set_flags(MapFlag.PAUSEWR | MapFlag.FULL)
    await eventually(lambda: len(pings(ticking.osd)) >= count + 3)
    ticking.mon.set_flags(MapFlag(0))
    await eventually(lambda: ticking.client.objecter.epoch == 4)
    await settle()
    assert steps(ticking.osd) == [(WatchSubOp.WATCH, 0)], "a pause is no reason to register again"
    assert watch.error is None


# notifications


async def test_notifications_are_told_in_order_and_answered(cluster: FakeCluster) -> None:
    told: list[bytes] = []

    async def callback(notification: Notification) -> bytes | None:
        await asyncio.sleep(0.001 if len(told) % 2 else 0)
        told.append(notification.data)
        assert notification.notifier == 77
        return None if notification.data == b"2" else b"<" + notification.data + b">"

    watch = await cluster.ioctx.watch("a", callback)
    for number in range(5):
        tell(cluster.osd, watch, 100 + number, b"%d" % number)
    await eventually(lambda: len(acks(cluster.osd)) == 5)
    assert told == [b"0", b"1", b"2", b"3", b"4"]
    cookie = watch.cookie
    assert acks(cluster.osd)[:3] == [
        NotifyAck(100, cookie, b"<0>"),
        NotifyAck(101, cookie, b"<1>"),
        NotifyAck(102, cookie),
    ]
    await watch.unwatch()
    assert_no_lingers(cluster)


async def test_a_callback_may_use_the_client_and_does_not_hold_up_others(cluster: FakeCluster) -> None:
    free = asyncio.Event()

    async def slow(notification: Notification) -> bytes:
        await free.wait()
        await cluster.ioctx.write_full("b", b"x")
        return b"slow"

    first = await cluster.ioctx.watch("a", slow)
    second = await cluster.ioctx.watch("a", lambda notification: b"quick")
    for watch in (first, second):
        tell(cluster.osd, watch, 1)
    await eventually(lambda: [ack.payload for ack in acks(cluster.osd)] == [b"quick"])
    await cluster.ioctx.write_full("c", b"x")
    assert first.check() > 0, "since the notification that is not told yet"
    free.set()
    await eventually(lambda: len(acks(cluster.osd)) == 2)


async def test_a_callback_that_fails_gives_no_answer(cluster: FakeCluster) -> None:
    def callback(notification: Notification) -> bytes:
        if notification.notify_id == 1:
            raise RuntimeError("a bug of the user's")
        if notification.notify_id == 2:
            raise asyncio.CancelledError
        return b"fine"

    watch = await cluster.ioctx.watch("a", callback)
    for number in (1, 2, 3):
        tell(cluster.osd, watch, number)
    await eventually(lambda: acks(cluster.osd))
    assert [ack.notify_id for ack in acks(cluster.osd)] == [3]


async def test_an_overflowing_queue_is_an_error(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "NOTIFICATIONS_MAX", 3)
    errors: list[Error] = []
    told: list[int] = []
    free = asyncio.Event()

    async def callback(notification: Notification) -> None:
        await free.wait()
        told.append(notification.notify_id)

    watch = await cluster.ioctx.watch("a", callback, on_error=errors.append)
    for number in range(5):
        tell(cluster.osd, watch, number)
    await eventually(lambda: errors)
    assert type(errors[0]) is TimedOut
    free.set()
    await eventually(lambda: told == [0, 1, 2])
    await watch.flush()
    await watch.unwatch()
    assert_no_lingers(cluster)


async def test_bytes_that_wait_are_bounded(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "NOTIFICATION_BYTES_MAX", 10)
    free = asyncio.Event()

    async def callback(notification: Notification) -> None:
        await free.wait()

    watch = await cluster.ioctx.watch("a", callback)
    tell(cluster.osd, watch, 1, bytes(100))
    await settle()
    assert watch.error is None, "one is let in, whatever its size"
    tell(cluster.osd, watch, 2, b"x")
    await eventually(lambda: watch.error is not None)
    free.set()


async def test_a_disconnect_ends_the_watch(cluster: FakeCluster) -> None:
    errors: list[Error] = []
    watch = await cluster.ioctx.watch("a", ignore, on_error=errors.append)
    disconnect(cluster.osd, watch)
    await eventually(lambda: errors)
    assert type(watch.error) is NotConnected
    cluster.osd.answer_with = lambda request: -errno.ENOENT
    with pytest.raises(ObjectNotFound):
        await watch.unwatch()
    assert_no_lingers(cluster)


async def test_messages_for_others_are_ignored(cluster: FakeCluster) -> None:
    told: list[Notification] = []
    watch = await cluster.ioctx.watch("a", told.append)
    stranger = Watch(watch._linger, ignore, None)
    await cluster.ioctx.write_full("b", b"")
    watch._linger.watch = watch
    cluster.osd.connections[-1].send_message(MWatchNotify(opcode=1, cookie=4711))
    cluster.osd.connections[-1].send_message(MWatchNotify(opcode=9, cookie=watch.cookie))
    cluster.osd.connections[-1].send_message(MWatchNotify(opcode=2, cookie=watch.cookie))
    await settle()
    assert (told, watch.error, stranger.error) == ([], None, None)


async def test_unwatch_waits_for_the_running_callback_and_runs_no_other(cluster: FakeCluster) -> None:
    began, free, told = asyncio.Event(), asyncio.Event(), []

    async def callback(notification: Notification) -> None:
        began.set()
        await free.wait()
        told.append(notification.notify_id)

    watch = await cluster.ioctx.watch("a", callback)
    for number in (1, 2):
        tell(cluster.osd, watch, number)
    await began.wait()
    task = asyncio.create_task(watch.unwatch())
    await settle()
    assert not task.done()
    free.set()
    await task
    assert told == [1]
    assert not acks(cluster.osd)


async def test_unwatch_from_within_the_callback(cluster: FakeCluster) -> None:
    done = asyncio.Event()

    async def callback(notification: Notification) -> None:
        await watch.unwatch()
        done.set()

    watch = await cluster.ioctx.watch("a", callback)
    tell(cluster.osd, watch, 1)
    await asyncio.wait_for(done.wait(), 5)
    assert steps(cluster.osd)[-1] == (WatchSubOp.UNWATCH, 0)
    await settle()
    assert_no_lingers(cluster)


async def test_a_callback_that_never_ends_is_cancelled_by_unwatch() -> None:
    async with running_cluster(conf=RadosConf(osd_op_timeout_s=0.05)) as cluster:
        ended: list[str] = []

        async def callback(notification: Notification) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        watch = await cluster.ioctx.watch("a", callback)
        tell(cluster.osd, watch, 1)
        await settle()
        await watch.unwatch()
        assert ended == ["cancelled"]


async def test_shutdown_ends_watches_notifies_and_callbacks(held: FakeCluster) -> None:
    errors: list[Error] = []

    async def callback(notification: Notification) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(held.ioctx.watch("a", callback, on_error=errors.append))
    await held.osd.has(1)
    held.osd.reply(0)
    watch = await task
    tell(held.osd, watch, 1)
    notify = asyncio.create_task(held.ioctx.notify("a"))
    await held.osd.has(2)
    objecter = held.client.objecter
    await held.client.shutdown()
    with pytest.raises(NotConnected):
        await notify
    await settle()
    assert [type(error) for error in errors] == [NotConnected]
    assert watch._task is None
    assert (objecter.throttle.ops, len(objecter.lingers)) == (0, 0)
    with pytest.raises(NotConnected):
        await watch.unwatch()


# lost connections, and maps


Disturb = Callable[[FakeCluster], Awaitable[None]]


async def test_a_cut_registers_again_after_the_plain_operations(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.watch("a", ignore))
    await held.osd.has(1)
    held.osd.reply(0)
    watch = await task
    held.ioctx.aio_operate("b", WriteOp().append(b"x"))
    await held.osd.has(2)
    held.osd.cut()
    await held.osd.has(4)
    again, reconnect = held.osd.requests[2:]
    assert (again.tid, again.retry_attempt) == (2, 1)
    assert reconnect.ops[0].params == WatchParams(watch.cookie, WatchSubOp.RECONNECT, 1)
    assert (reconnect.tid, reconnect.retry_attempt) == (3, 0), "under a new tid"
    assert reconnect.flags & RequestFlag.FULL_TRY
    held.osd.reply(2)
    held.osd.cut()
    await held.osd.has(5)
    assert steps(held.osd) == [(WatchSubOp.WATCH, 0), (WatchSubOp.RECONNECT, 1), (WatchSubOp.RECONNECT, 2)]
    held.osd.reply(4)
    await settle()
    assert watch.error is None
    told: list[Notification] = []
    watch._callback = told.append
    tell(held.osd, watch, 1)
    await eventually(lambda: told)


async def test_a_cut_while_registering_registers_anew(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.watch("a", ignore))
    await held.osd.has(1)
    held.osd.cut()
    await held.osd.has(2)
    assert steps(held.osd) == [(WatchSubOp.WATCH, 0)] * 2
    assert [request.tid for request in held.osd.requests] == [1, 2]
    assert [request.retry_attempt for request in held.osd.requests] == [0, 0]
    held.osd.reply(1)
    await task


async def test_a_silent_osd_is_connected_to_again(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that drops everything: the ping that stays unanswered makes us ask, and connect again."""
    monkeypatch.setattr("cove.rados.objecter.LINGERS_SILENT_S", 0.0)
    monkeypatch.setattr(LoopbackConnection, "send_keepalive", lambda connection: None)
    objecter = cluster.client.objecter
    watch = await cluster.ioctx.watch("a", ignore)
    cluster.osd.auto = False
    objecter.lingers._ping_order[:] = [(0.0, watch.cookie)]
    objecter.lingers._ping_all()
    await cluster.osd.has(2)
    for _ in range(3):
        await asyncio.sleep(0.001)
        objecter._tick()
    cluster.osd.auto = True
    await eventually(lambda: steps(cluster.osd)[1:] == [(WatchSubOp.RECONNECT, 1)])
    assert len(cluster.osd.accepted) == 2
    await settle()
    assert watch.error is None


async def test_another_primary_registers_there(cluster: FakeCluster) -> None:
    told: list[int] = []
    watch = await cluster.ioctx.watch("a", lambda notification: told.append(notification.notify_id))
    cluster.mon.set_osd(0, up=False)
    push(cluster)
    second = cluster.osds[1]
    await eventually(lambda: steps(second) == [(WatchSubOp.RECONNECT, 1)])
    await settle()
    tell(second, watch, 5)
    await eventually(lambda: acks(second))
    cluster.mon.set_osd(0, up=True)
    push(cluster)
    await eventually(lambda: steps(cluster.osd)[-1] == (WatchSubOp.RECONNECT, 2))
    tell(second, watch, 6)
    tell(cluster.osd, watch, 7)
    await eventually(lambda: acks(cluster.osd))
    assert told == [5, 7], "what the old primary says is too late"
    await watch.unwatch()
    assert_no_lingers(cluster)


async def test_a_restart_at_another_address_registers_there(cluster: FakeCluster) -> None:
    watch = await cluster.ioctx.watch("a", ignore)
    address = "v2:127.0.0.1:6900/3"
    moved = FakeOsd(cluster.network, 0, address, auto=True)
    cluster.mon.set_osd(0, up=True, address=address)
    push(cluster)
    await eventually(lambda: steps(moved) == [(WatchSubOp.RECONNECT, 1)])
    assert watch.error is None
    await moved.messenger.shutdown()


async def test_another_acting_set_registers_again_at_the_same_primary(cluster: FakeCluster) -> None:
    """Within a new interval an OSD begins without connected watches."""
    watch = await cluster.ioctx.watch("a", ignore)
    cluster.mon.set_osd(1, up=False)
    push(cluster)
    await eventually(lambda: steps(cluster.osd)[1:] == [(WatchSubOp.RECONNECT, 1)])
    cluster.mon.set_pool(1, min_size=2)
    push(cluster)
    await eventually(lambda: steps(cluster.osd)[2:] == [(WatchSubOp.RECONNECT, 2)])
    await settle()
    assert watch.error is None


async def test_a_map_that_moves_nothing_registers_nothing(cluster: FakeCluster) -> None:
    await cluster.ioctx.watch("a", ignore)
    cluster.mon.publish()
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == 2)
    await settle()
    assert steps(cluster.osd) == [(WatchSubOp.WATCH, 0)]


async def test_a_lost_watch_is_an_error_when_it_reconnects(cluster: FakeCluster) -> None:
    errors: list[Error] = []
    await cluster.ioctx.watch("a", ignore, on_error=errors.append)
    cluster.osd.answer_with = lambda request: -errno.ENOTCONN if is_step(request, WatchSubOp.RECONNECT) else 0
    cluster.osd.cut()
    await eventually(lambda: errors)
    assert type(errors[0]) is NotConnected
    assert_no_lingers(cluster)


async def test_a_ping_in_flight_does_not_go_to_another_osd(held: FakeCluster) -> None:
    async with running_cluster(auto=False, conf=RadosConf(tick_interval_s=TICK_S)) as cluster:
        task = asyncio.create_task(cluster.ioctx.watch("a", ignore))
        await cluster.osd.has(1)
        cluster.osd.reply(0)
        watch = await task
        await eventually(lambda: pings(cluster.osd))
        cluster.mon.set_osd(0, up=False)
        push(cluster)
        second = cluster.osds[1]
        await second.has(1)
        await asyncio.sleep(3 * TICK_S)
        assert [is_step(request, WatchSubOp.RECONNECT) for request in second.requests] == [True]
        second.reply(0)
        await eventually(lambda: pings(second))
        assert watch.error is None


async def test_a_watch_waits_homeless_for_an_osd(cluster: FakeCluster) -> None:
    watch = await cluster.ioctx.watch("a", ignore)
    for number in range(2):
        cluster.mon.set_osd(number, up=False)
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == 3)
    assert len(cluster.client.objecter.homeless.ops) == 1
    cluster.mon.set_osd(1, up=True)
    await eventually(lambda: steps(cluster.osds[1]))
    assert steps(cluster.osds[1])[-1][0] == WatchSubOp.RECONNECT
    await settle()
    assert watch.error is None
    await watch.unwatch()
    assert_no_lingers(cluster)


async def test_the_pool_is_deleted_under_a_watch_and_a_notify(cluster: FakeCluster) -> None:
    errors: list[Error] = []
    watch = await cluster.ioctx.watch("a", ignore, on_error=errors.append)
    notify = asyncio.create_task(cluster.ioctx.notify("a"))
    await cluster.osd.has(2)
    await settle()
    cluster.mon.drop_pool(1)
    push(cluster)
    await eventually(lambda: errors)
    assert type(watch.error) is NotConnected
    assert "pool" in str(watch.error)
    with pytest.raises(ObjectNotFound):
        await notify
    with pytest.raises(ObjectNotFound):
        await watch.unwatch()
    assert_no_lingers(cluster)


async def test_eagain_registers_once_more(cluster: FakeCluster) -> None:
    answers = iter([-errno.EAGAIN, 0])
    cluster.osd.answer_with = lambda request: next(answers)
    await cluster.ioctx.watch("a", ignore)
    assert steps(cluster.osd) == [(WatchSubOp.WATCH, 0)] * 2
