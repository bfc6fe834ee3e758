"""Redirects, ENXIO, cancellation from outside, and what a blocklisted client hears."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace

import pytest

from cove.rados import Blocklisted, Cancelled, NoSpace, ObjectNotFound, OutcomeUnknown, ReadOp, TimedOut, WriteOp
from cove.rados.errors import Error
from cove.rados.resubmit import AT_ONCE_MAX, MISDIRECTED_MAX
from cove.wire.messages import MMonSubscribe, MOSDOp, MOSDOpReply
from cove.wire.names import RequestRedirect
from cove.wire.osd_ops import RequestFlag
from cove.wire.types import ObjectLocator

from .fake import FakeCluster, eventually, settle
from .test_objecter_maps import push


def redirect(cluster: FakeCluster, index: int, pool: int, oid: str = "", key: str = "", nspace: str = "") -> None:
    """Answer a request by sending it elsewhere."""
    request = cluster.osd.requests[index]
    cluster.osd.connections[index].send_message(
        MOSDOpReply(
            tid=request.tid,
            oid=request.oid,
            pg=request.pg,
            flags=request.flags,
            result=-errno.ENOENT,
            epoch=request.epoch,
            ops=request.ops,
            retry_attempt=request.retry_attempt,
            redirect=RequestRedirect(ObjectLocator(pool, key, nspace), oid),
        )
    )


async def test_a_redirected_operation_goes_there_under_a_new_tid(held: FakeCluster) -> None:
    done: list[str] = []
    first = held.ioctx.aio_operate("a", WriteOp().append(b"x"), lambda _: done.append("first"))
    held.ioctx.aio_operate("a", WriteOp().append(b"y"), lambda _: done.append("second"))
    await held.osd.has(2)
    redirect(held, 0, 2, "b", "k", "ns")
    await held.osd.has(3)
    again = held.osd.requests[2]
    assert (again.tid, again.retry_attempt, again.oid) == (3, 0, "b")
    assert again.locator == ObjectLocator(2, "k", "ns")
    assert again.pg.pool == 2
    assert again.flags & RequestFlag.REDIRECTED
    assert again.flags & RequestFlag.IGNORE_CACHE
    assert again.flags & RequestFlag.IGNORE_OVERLAY
    assert bytes(again.ops[0].indata) == b"x"
    held.osd.reply(1)
    await settle()
    assert done == [], "it keeps its turn among the operations on the object"
    held.osd.reply(2)
    await first
    assert done == ["first", "second"]
    held.assert_nothing_leaked()


async def test_a_redirect_may_keep_the_name(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", ReadOp().read())
    await held.osd.has(1)
    redirect(held, 0, 2)
    await held.osd.has(2)
    assert held.osd.requests[1].oid == "a"
    held.osd.reply(1)
    await completion
    held.assert_nothing_leaked()


async def test_a_redirect_to_a_pool_that_is_not_there(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", ReadOp().read())
    await held.osd.has(1)
    redirect(held, 0, 99)
    with pytest.raises(ObjectNotFound, match="pool"):
        await completion
    held.assert_nothing_leaked()


async def test_redirects_in_a_circle_are_slowed_down_and_time_out(held: FakeCluster) -> None:
    task = asyncio.create_task(held.ioctx.operate("a", ReadOp().read(), timeout_s=0.1))
    count = 0
    while not task.done():
        if len(held.osd.requests) > count:
            redirect(held, count, 1 + count % 2)
            count += 1
        await asyncio.sleep(0)
    with pytest.raises(TimedOut):
        await task
    assert AT_ONCE_MAX < count < AT_ONCE_MAX + 30
    held.assert_nothing_leaked()


@pytest.mark.parametrize("what", ["cancel", "cut"])
async def test_a_redirected_operation_is_cancelled_and_sent_again_like_others(held: FakeCluster, what: str) -> None:
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    later = held.ioctx.aio_operate("a", WriteOp().append(b"y"))
    await held.osd.has(2)
    redirect(held, 0, 2, "b")
    redirect(held, 1, 2, "b")
    await held.osd.has(4)
    if what == "cancel":
        later.cancel()
        completion.cancel()
        with pytest.raises(OutcomeUnknown):
            await completion
    else:
        held.osd.cut()
        await held.osd.has(6)
        assert [(r.oid, r.retry_attempt) for r in held.osd.requests[4:]] == [("b", 1), ("b", 1)]
        held.osd.reply(4)
        held.osd.reply(5)
        await later
    await settle()
    held.assert_nothing_leaked()


# ENXIO


async def test_an_operation_at_the_wrong_osd_waits_for_a_map_and_goes_again(cluster: FakeCluster) -> None:
    answers = iter([-errno.ENXIO, 0])
    cluster.osd.answer_with = lambda request: next(answers)
    asked = len(cluster.mon.of_type(MMonSubscribe))
    await cluster.ioctx.operate("a", WriteOp().append(b"x"))
    assert [request.tid for request in cluster.osd.requests] == [1, 2]
    assert len(cluster.mon.of_type(MMonSubscribe)) > asked
    cluster.assert_nothing_leaked()


async def test_a_map_moves_what_was_at_the_wrong_osd(cluster: FakeCluster) -> None:
    cluster.osd.answer_with = lambda request: -errno.ENXIO
    completion = cluster.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await cluster.osd.has(1)
    cluster.mon.set_osd(0, up=False)
    push(cluster)
    await completion
    assert len(cluster.osds[1].requests) == 1
    cluster.assert_nothing_leaked()


async def test_the_wrong_osd_for_ever_is_the_answer(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cove.rados.resubmit.MISDIRECTED_DELAY_S", 0.0001)
    cluster.osd.answer_with = lambda request: -errno.ENXIO
    with pytest.raises(Error) as caught:
        await cluster.ioctx.operate("a", WriteOp().append(b"x"))
    assert caught.value.errno == errno.ENXIO
    assert len(cluster.osd.requests) == MISDIRECTED_MAX + 1
    cluster.assert_nothing_leaked()


async def test_enxio_of_an_operation_itself_is_its_answer(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", WriteOp().exec("c", "m"))
    await held.osd.has(1)
    held.osd.requests[0] = replace(held.osd.requests[0], flags=held.osd.requests[0].flags | RequestFlag.ACK)
    held.osd.reply(0, -errno.ENXIO)
    await completion.wait_for_complete()
    assert completion.get_return_value() == -errno.ENXIO
    assert len(held.osd.requests) == 1


async def test_a_wait_after_enxio_can_be_cancelled(cluster: FakeCluster) -> None:
    cluster.osd.answer_with = lambda request: -errno.ENXIO
    completion = cluster.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await cluster.osd.has(1)
    await settle()
    completion.cancel()
    with pytest.raises(Cancelled):
        await completion
    cluster.assert_nothing_leaked()


# cancellation from outside


async def test_cancel_by_tid(held: FakeCluster) -> None:
    objecter = held.client.objecter
    read = held.ioctx.aio_operate("a", ReadOp().read())
    write = held.ioctx.aio_operate("b", WriteOp().append(b"x"))
    await held.osd.has(2)
    assert objecter.op_cancel_tid(1, -errno.ETIMEDOUT)
    with pytest.raises(TimedOut):
        await read
    assert not objecter.op_cancel_tid(1)
    assert not objecter.op_cancel_tid(0)
    assert objecter.op_cancel_tid(2)
    with pytest.raises(OutcomeUnknown):
        await write
    held.assert_nothing_leaked()


async def test_all_writes_of_a_pool_are_cancelled(held: FakeCluster) -> None:
    held.mon.set_pool(1, flags=held.mon.newest.pools[1].flags | 2)
    push(held)
    await eventually(lambda: held.client.objecter.epoch == 2)
    async with held.client.open_ioctx("images") as images:
        waiting = [held.ioctx.aio_operate("a", WriteOp().append(b"x")) for _ in range(3)]
        read = held.ioctx.aio_operate("a", ReadOp().read())
        other = images.aio_operate("a", WriteOp().append(b"x"))
        await held.osd.has(2)
        assert held.client.objecter.op_cancel_writes(-errno.ENOSPC, held.ioctx.pool_id) == 3
        for completion in waiting:
            with pytest.raises(NoSpace):
                await completion
        assert not read.is_complete()
        assert not other.is_complete()
        assert held.client.objecter.op_cancel_writes(-errno.ENOSPC) == 1
        with pytest.raises(OutcomeUnknown):
            await other
        held.osd.reply(0)
        await read
    held.assert_nothing_leaked()


# a client that is locked out


def refuse(request: MOSDOp) -> int:
    return -errno.ESHUTDOWN


async def test_every_operation_of_a_blocklisted_client_says_so(cluster: FakeCluster) -> None:
    cluster.osd.answer_with = refuse
    for attempt in (
        cluster.ioctx.operate("a", ReadOp().read()),
        cluster.ioctx.operate("a", WriteOp().append(b"x")),
        cluster.ioctx.watch("a", lambda notification: None),
        cluster.ioctx.notify("a"),
        cluster.ioctx.list_watchers("a"),
    ):
        with pytest.raises(Blocklisted):
            await attempt
    await settle()
    cluster.assert_nothing_leaked()
    assert len(cluster.client.objecter.lingers) == 0
