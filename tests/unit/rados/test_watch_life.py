"""Watches and notifies that end at an awkward moment, are very many, or whose callbacks do what they should not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cove.messenger import LoopbackConnection
from cove.rados import Error, NotConnected, Notification, RadosConf, TimedOut, Watch
from cove.wire.messages import MWatchNotify, NotifyCode
from cove.wire.osd_ops import OpCode
from cove.wire.watches import NotifyReplies

from .fake import FakeCluster, eventually, running_cluster, settle
from .test_linger import acks, assert_no_lingers, disconnect, ignore, pings, tell
from .test_notify import complete


async def for_ever(notification: Notification) -> None:
    """A callback that does not end."""
    await asyncio.Event().wait()


async def watching_for_ever(cluster: FakeCluster) -> Watch:
    """A watch whose callback is stuck."""
    watch = await cluster.ioctx.watch("a", for_ever)
    tell(cluster.osd, watch, 1)
    await settle()
    return watch


# cancellation


async def test_a_cancelled_unwatch_does_not_wait_for_the_callback(cluster: FakeCluster) -> None:
    watch = await watching_for_ever(cluster)
    task = asyncio.create_task(watch.unwatch())
    await settle()
    assert not task.done()
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    await settle()
    assert watch._task is None, "the callback was cancelled with it"
    assert_no_lingers(cluster)


async def test_a_second_unwatch_waits_for_the_callback_as_well(cluster: FakeCluster) -> None:
    free = asyncio.Event()
    ended: list[str] = []

    async def callback(notification: Notification) -> None:
        await free.wait()
        ended.append("callback")

    async def unwatch() -> None:
        await watch.unwatch()
        ended.append("unwatch")

    watch = await cluster.ioctx.watch("a", callback)
    tell(cluster.osd, watch, 1)
    await settle()
    tasks = [asyncio.create_task(unwatch()) for _ in range(2)]
    await settle()
    free.set()
    await asyncio.gather(*tasks)
    assert ended == ["callback", "unwatch", "unwatch"]


async def test_a_callback_whose_task_is_cancelled_ends_the_watch(cluster: FakeCluster) -> None:
    """The notifications behind it are lost, and the watch must not claim that none is."""
    errors: list[Error] = []
    watch = await cluster.ioctx.watch("a", for_ever, on_error=errors.append)
    for number in range(2):
        tell(cluster.osd, watch, number)
    await settle()
    assert watch._task is not None
    watch._task.cancel()
    await eventually(lambda: errors)
    assert type(watch.error) is TimedOut
    await watch.unwatch()
    assert_no_lingers(cluster)


# shutdown


async def test_shutdown_ends_the_callback_of_a_watch_that_is_over(cluster: FakeCluster) -> None:
    watch = await watching_for_ever(cluster)
    disconnect(cluster.osd, watch)
    await eventually(lambda: watch.error)
    assert watch._task is not None
    await cluster.client.shutdown()
    await settle()
    assert watch._task is None


async def test_a_callback_may_shut_the_client_down(cluster: FakeCluster) -> None:
    done = asyncio.Event()

    async def callback(notification: Notification) -> None:
        await cluster.client.shutdown()
        done.set()

    watch = await cluster.ioctx.watch("a", callback)
    tell(cluster.osd, watch, 1)
    async with asyncio.timeout(5):
        await done.wait()
    assert type(watch.error) is NotConnected


# flush


async def test_a_flush_does_not_wait_for_what_comes_later(cluster: FakeCluster) -> None:
    free = asyncio.Semaphore(0)
    told: list[int] = []

    async def callback(notification: Notification) -> None:
        await free.acquire()
        told.append(notification.notify_id)

    watch = await cluster.ioctx.watch("a", callback)
    await watch.flush()
    for number in range(2):
        tell(cluster.osd, watch, number)
    await settle()
    task = asyncio.create_task(watch.flush())
    await settle()
    tell(cluster.osd, watch, 2)
    free.release()
    await settle()
    assert not task.done()
    free.release()
    await settle()
    assert task.done()
    assert told == [0, 1]
    free.release()
    await watch.unwatch()


async def test_a_flush_ends_with_its_watch(cluster: FakeCluster) -> None:
    watch = await watching_for_ever(cluster)
    task = asyncio.create_task(watch.flush())
    await settle()
    assert not task.done()
    await cluster.client.shutdown()
    async with asyncio.timeout(5):
        await task


# very many


async def test_as_many_watches_as_may_be_are_answered_and_ended(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.rados.linger.LINGERS_MAX", 2)
    watches = [await cluster.ioctx.watch("a", lambda notification: b"yes") for _ in range(2)]
    for watch in watches:
        tell(cluster.osd, watch, 1)
    await eventually(lambda: len(acks(cluster.osd)) == 2)
    await asyncio.gather(*(watch.unwatch() for watch in watches))
    assert_no_lingers(cluster)


async def test_a_ping_looks_at_no_other_watch(cluster: FakeCluster) -> None:
    """The pings of many watches that began at different times, one after the other."""
    count = 300
    lingers = cluster.client.objecter.lingers
    watches = [await cluster.ioctx.watch(f"object {number}", ignore) for number in range(count)]
    looks = 0

    class Counting(dict[int, Any]):
        def __iter__(self) -> Any:
            nonlocal looks
            looks += len(self)
            return super().__iter__()

        def items(self) -> Any:
            nonlocal looks
            looks += len(self)
            return super().items()

        def values(self) -> Any:
            nonlocal looks
            looks += len(self)
            return super().values()

    lingers._pings = Counting(lingers._pings)
    lingers.by_cookie = Counting(lingers.by_cookie)
    lingers._ping_all()
    assert not pings(cluster.osd), "none is due"
    assert not looks
    await asyncio.gather(*(watch.unwatch() for watch in watches))


async def test_a_silent_osd_is_noticed_by_a_notify_under_way(
    held: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The OSD owes no answer to a request then, only the end of the notify."""
    monkeypatch.setattr("cove.rados.objecter.LINGERS_SILENT_S", 0.0)
    monkeypatch.setattr(LoopbackConnection, "send_keepalive", lambda connection: None)
    task = asyncio.create_task(held.ioctx.notify("a"))
    await held.osd.has(1)
    held.osd.reply(0, outdata=(77).to_bytes(8, "little"))
    await settle()
    for _ in range(3):
        await asyncio.sleep(0.001)
        held.client.objecter._tick()
    await held.osd.has(2)
    assert held.osd.requests[1].ops[0].code == OpCode.NOTIFY
    complete(held, 1, 78)
    await task
    assert_no_lingers(held)


async def test_large_answers_do_not_pile_up() -> None:
    """While the OSD takes no answer, the callback that gives large ones is not asked for more."""
    async with running_cluster(auto=False, conf=RadosConf()) as cluster:
        told: list[int] = []

        def callback(notification: Notification) -> bytes:
            told.append(notification.notify_id)
            return bytes(1 << 20)

        task = asyncio.create_task(cluster.ioctx.watch("a", callback))
        await cluster.osd.has(1)
        cluster.osd.reply(0)
        watch = await task
        for number in range(3):
            tell(cluster.osd, watch, number)
        await settle(50)
        assert told == [0]
        for number in range(3):
            await cluster.osd.has(2 + number)
            cluster.osd.reply(1 + number)
        await eventually(lambda: told == [0, 1, 2])


async def test_an_answer_to_a_notify_that_is_none(held: FakeCluster) -> None:
    """An OSD that answers without the operation's output: the number of the notify is not known, no more."""
    task = asyncio.create_task(held.ioctx.notify("a"))
    await held.osd.has(1)
    held.osd.requests[0].ops.clear()
    held.osd.reply(0)
    await settle()
    linger = next(iter(held.client.objecter.lingers.by_cookie.values()))
    held.osd.connections[0].send_message(
        MWatchNotify(opcode=NotifyCode.COMPLETE, cookie=linger.cookie, notify_id=5, data=NotifyReplies().to_bytes())
    )
    assert (await task).answers == {}
    assert_no_lingers(held)


async def test_a_notify_under_way_asks_for_new_maps(held: FakeCluster) -> None:
    """With a new interval its OSD has forgotten it, and says nothing: it keeps the connection, and owes no answer."""
    task = asyncio.create_task(held.ioctx.notify("a"))
    await held.osd.has(1)
    held.osd.reply(0, outdata=(77).to_bytes(8, "little"))
    await settle()
    held.mon.set_pool(1, min_size=2)
    await settle()
    assert held.client.objecter.epoch == 1, "nobody has told us"
    held.client.objecter._tick()
    await held.osd.has(2)
    complete(held, 1, 78)
    await task
    assert_no_lingers(held)
