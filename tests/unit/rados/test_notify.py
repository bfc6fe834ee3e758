"""Notifies under way, against the scripted cluster."""

from __future__ import annotations

import asyncio
import errno

import pytest

from cove.rados import Error, NotifyTimedOut, ObjectNotFound, RadosConf, TimedOut, WatcherId
from cove.wire.messages import MWatchNotify, NotifyCode
from cove.wire.osd_ops import OpCode, RequestFlag
from cove.wire.osdmap import MapFlag
from cove.wire.watches import NotifyReplies, NotifyRequest

from .fake import FakeCluster, eventually, running_cluster, settle
from .test_linger import assert_no_lingers, ignore
from .test_objecter_maps import push


def complete(
    cluster: FakeCluster,
    index: int,
    notify_id: int,
    replies: NotifyReplies | None = None,
    code: int = 0,
) -> None:
    request = cluster.osd.requests[index]
    cluster.osd.connections[index].send_message(
        MWatchNotify(
            opcode=NotifyCode.COMPLETE,
            cookie=request.ops[0].params.cookie,  # type: ignore[union-attr]
            notify_id=notify_id,
            return_code=code,
            data=(replies or NotifyReplies()).to_bytes(),
        )
    )


async def test_a_notify_brings_the_answers(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.notify("a", b"news", timeout_s=2.5))
    await held.osd.has(1)
    (request,) = held.osd.requests
    assert request.flags & (RequestFlag.READ | RequestFlag.WRITE) == RequestFlag.READ
    assert NotifyRequest.from_bytes(request.ops[0].indata) == NotifyRequest(3, b"news")
    assert held.client.objecter.throttle.ops == 1
    held.osd.reply(0, outdata=(77).to_bytes(8, "little"))
    await eventually(lambda: not held.client.objecter.throttle.ops)
    complete(held, 0, 76, code=-5)  # of another time
    complete(held, 0, 77, NotifyReplies({WatcherId(5, 1): b"yes"}, []))
    result = await task
    assert result.answers == {WatcherId(5, 1): b"yes"}
    assert result.missed == []
    assert_no_lingers(held)


async def test_a_completion_may_overtake_the_reply(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.notify("a"))
    await held.osd.has(1)
    complete(held, 0, 77)
    assert (await task).answers == {}
    held.osd.reply(0, outdata=(77).to_bytes(8, "little"))
    await settle()
    assert_no_lingers(held)


async def test_watches_that_do_not_answer(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.notify("a"))
    await held.osd.has(1)
    replies = NotifyReplies({WatcherId(5, 1): b"yes"}, [WatcherId(6, 2)])
    complete(held, 0, 77, replies, -errno.ETIMEDOUT)
    with pytest.raises(NotifyTimedOut, match="1 of 2 watches") as caught:
        await task
    assert caught.value.notify_result.missed == [WatcherId(6, 2)]
    assert caught.value.notify_result.answers == replies.answers
    assert isinstance(caught.value, TimedOut)
    assert_no_lingers(held)


async def test_a_notify_that_is_refused(cluster: FakeCluster) -> None:
    cluster.osd.answer_with = lambda request: -errno.ENOENT
    with pytest.raises(ObjectNotFound, match="notify on object 'a'"):
        await cluster.ioctx.notify("a")
    assert_no_lingers(cluster)


async def test_a_notify_whose_result_cannot_be_read(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.notify("a"))
    await held.osd.has(1)
    held.osd.connections[0].send_message(
        MWatchNotify(opcode=2, cookie=held.osd.requests[0].ops[0].params.cookie, data=b"\xff\xff")  # type: ignore[union-attr]
    )
    with pytest.raises(Error) as caught:
        await task
    assert caught.value.errno == errno.EIO
    assert_no_lingers(held)


@pytest.mark.parametrize("answered", [False, True])
async def test_a_notify_is_asked_for_again_after_a_cut(held: FakeCluster, answered: bool) -> None:
    task = asyncio.create_task(held.ioctx.notify("a", b"news"))
    await held.osd.has(1)
    if answered:
        held.osd.reply(0, outdata=(77).to_bytes(8, "little"))
        await settle()
    held.osd.cut()
    await held.osd.has(2)
    assert [request.tid for request in held.osd.requests] == [1, 2]
    assert held.osd.requests[1].ops[0].indata == held.osd.requests[0].ops[0].indata
    complete(held, 1, 78)
    await task
    assert_no_lingers(held)


async def test_a_notify_never_hangs() -> None:
    async with running_cluster(auto=False, conf=RadosConf(osd_op_timeout_s=0.02)) as cluster:
        with pytest.raises(NotifyTimedOut, match="did not say"):
            await cluster.ioctx.notify("a", timeout_s=0.01)
        assert_no_lingers(cluster)
        cluster.mon.set_flags(MapFlag.PAUSERD)
        push(cluster)
        await eventually(lambda: cluster.client.objecter.epoch == 2)
        with pytest.raises(TimedOut, match="not sent"):
            await cluster.ioctx.notify("a", timeout_s=0.01)
        assert_no_lingers(cluster)


async def test_a_cancelled_notify_leaves_nothing(held: FakeCluster) -> None:
    for answered in (False, True):
        task = asyncio.create_task(held.ioctx.notify("a"))
        count = len(held.osd.requests) + 1
        await held.osd.has(count)
        if answered:
            held.osd.reply(count - 1)
            await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert_no_lingers(held)


async def test_too_many_lingers_are_refused(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cove.rados.linger.LINGERS_MAX", 2)
    for _ in range(2):
        await cluster.ioctx.watch("a", ignore)
    with pytest.raises(Error, match="2 watches"):
        await cluster.ioctx.watch("a", ignore)
    with pytest.raises(Error, match="2 watches"):
        await cluster.ioctx.notify("a")
    cluster.assert_nothing_leaked()


async def test_who_watches(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.list_watchers("a"))
    await held.osd.has(1)
    assert held.osd.requests[0].ops[0].code == OpCode.LIST_WATCHERS
    held.osd.reply(0, outdata=bytes.fromhex("0101040000000000 0000".replace(" ", "")))
    assert await task == []
