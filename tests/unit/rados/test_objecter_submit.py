"""Submission, answers, order, budget, time-outs and cancellation, against the scripted cluster."""

from __future__ import annotations

import asyncio
import errno
import functools
import random

import pytest

from cove.messenger import LoopbackConnection
from cove.rados import (
    AioCompletion,
    Cancelled,
    InvalidArgument,
    NotConnected,
    ObjectNotFound,
    OutcomeUnknown,
    Overloaded,
    RadosConf,
    ReadOp,
    TimedOut,
    WriteOp,
)
from cove.wire.features import SUPPORTED
from cove.wire.message_codec import encode_message
from cove.wire.messages import Message, MOSDOp
from cove.wire.osd_ops import Extent, OpCode, RequestFlag
from cove.wire.types import NOSNAP

from .fake import FakeCluster, eventually, running_cluster, settle


async def test_what_a_write_request_carries(cluster: FakeCluster) -> None:
    data = bytearray(b"hello")
    cluster.ioctx.set_namespace("ns")
    cluster.ioctx.set_self_managed_snap_write_ctx(5, [5, 3])
    result = await cluster.ioctx.operate("a", WriteOp().create(True).write(data).set_mtime(77))
    (request,) = cluster.osd.requests
    assert request.tid == 1
    assert (request.oid, request.locator.pool, request.locator.nspace) == ("a", 1, "ns")
    assert [op.code for op in request.ops] == [OpCode.CREATE, OpCode.WRITE]
    assert request.ops[1].indata is data, "the buffer goes through uncopied"
    assert request.flags == (
        RequestFlag.WRITE | RequestFlag.ONDISK | RequestFlag.KNOWN_REDIR | RequestFlag.SUPPORTSPOOLEIO
    )
    assert (request.snapid, request.snapc.seq, request.snapc.snaps) == (NOSNAP, 5, (5, 3))
    assert (request.epoch, request.retry_attempt, request.mtime_ns) == (1, 0, 77)
    assert request.pg.seed == request.raw_hash % 32
    assert result.version == 1
    assert cluster.ioctx.get_last_version() == 1


async def test_what_a_read_request_carries(cluster: FakeCluster) -> None:
    cluster.ioctx.snap_set_read(4)
    await cluster.ioctx.operate("a", ReadOp().read(10).with_flags(RequestFlag.BALANCE_READS))
    (request,) = cluster.osds[0].requests + cluster.osds[1].requests
    assert request.flags & (RequestFlag.READ | RequestFlag.WRITE) == RequestFlag.READ
    assert request.flags & RequestFlag.BALANCE_READS
    assert (request.snapid, request.snapc.seq, request.mtime_ns) == (4, 0, 0)


async def test_submission_sends_in_order_and_waits_for_nothing(held: FakeCluster) -> None:
    names = [f"object {number}" for number in range(20)]
    for name in names:
        held.ioctx.aio_operate(name, WriteOp().append(b"x"))
    await eventually(lambda: len(held.osd.requests) == 20)
    assert [request.oid for request in held.osd.requests] == names
    assert [request.tid for request in held.osd.requests] == list(range(1, 21))
    for index in range(20):
        held.osd.reply(index)
    await held.ioctx.aio_flush(1)
    held.assert_nothing_leaked()


async def test_outputs_return_values_and_handlers(held: FakeCluster) -> None:
    handled: list[object] = []
    op = ReadOp().read(3).handler(lambda rval, data: handled.append((rval, data))).stat()
    completion = held.ioctx.aio_operate("a", op, lambda c: handled.append("complete"))
    await eventually(lambda: held.osd.requests)
    held.osd.requests[0].ops[1].rval = -5
    held.osd.reply(0, 0, outdata=b"abc")
    result = await completion
    assert result.ops == [(0, b"abc"), (-5, b"")]
    assert handled == [(0, b"abc"), "complete"]


async def test_an_error_names_the_operation_and_keeps_outputs(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", WriteOp().exec("rbd", "get_id", b""))
    await eventually(lambda: held.osd.requests)
    held.osd.reply(0, -2, outdata=b"why")
    with pytest.raises(ObjectNotFound, match=r"exec rbd\.get_id on object 'a'"):
        await completion
    assert completion.outputs().data(0) == b"why"
    held.assert_nothing_leaked()


async def test_empty_vector_needs_no_traffic(cluster: FakeCluster) -> None:
    assert (await cluster.ioctx.operate("a", WriteOp())).result == 0
    assert not cluster.osd.requests


def _append(done: list[int], number: int, completion: AioCompletion) -> None:
    done.append(number)


async def test_callbacks_of_one_object_keep_submission_order(held: FakeCluster) -> None:
    done: list[int] = []
    for number in range(6):
        completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
        completion.on_complete(functools.partial(_append, done, number))
    other: list[int] = []
    held.ioctx.aio_operate("b", WriteOp().append(b"x"), lambda c: other.append(1))
    await eventually(lambda: len(held.osd.requests) == 7)
    for index in (5, 3, 1, 6):
        held.osd.reply(index)
    await eventually(lambda: other)
    assert done == [], "the first is still missing"
    assert held.client.objecter.throttle.ops == 3, "answered ones have given their budget back"
    held.osd.reply(0)
    await eventually(lambda: done == [0, 1])
    held.osd.reply(4)
    await settle()
    assert done == [0, 1]
    held.osd.reply(2)
    await eventually(lambda: done == [0, 1, 2, 3, 4, 5])
    held.assert_nothing_leaked()


async def test_a_callback_may_submit_and_cancel_on_the_same_object(held: FakeCluster) -> None:
    done: list[str] = []

    def first(completion: AioCompletion) -> None:
        done.append("first")
        held.ioctx.aio_operate("a", WriteOp().append(b"x"), lambda c: done.append("third"))
        second.cancel()
        done.append("end of first")

    held.ioctx.aio_operate("a", WriteOp().append(b"x"), first)
    second = held.ioctx.aio_operate("a", WriteOp().append(b"x"), lambda c: done.append("second"))
    await eventually(lambda: len(held.osd.requests) == 2)
    held.osd.reply(0)
    await eventually(lambda: len(held.osd.requests) == 3)
    held.osd.reply(2)
    await eventually(lambda: "third" in done)
    assert done == ["first", "second", "end of first", "third"]
    held.assert_nothing_leaked()


async def test_stray_replies_are_ignored(held: FakeCluster) -> None:
    stats = held.client.objecter.stats
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: held.osd.requests)
    held.osd.reply(0, tid=99)
    held.osd.reply(0, attempt=1)
    await eventually(lambda: stats.stray == 2)
    assert not completion.is_complete()
    held.osd.reply(0, attempt=-1)
    await completion
    held.osd.reply(0)
    await eventually(lambda: stats.stray == 3)
    assert held.client.objecter.throttle.ops == 0


# throttle


async def test_throttle_holds_back_and_lets_go_in_order() -> None:
    conf = RadosConf(inflight_ops_max=2, inflight_bytes_max=100)
    async with running_cluster(auto=False, conf=conf) as cluster:
        for number in range(5):
            cluster.ioctx.aio_operate(str(number), WriteOp().write(bytes(40)))
        await settle()
        assert [request.oid for request in cluster.osd.requests] == ["0", "1"]
        for index in range(5):
            await cluster.osd.has(index + 1)
            cluster.osd.reply(index)
        await cluster.ioctx.aio_flush(1)
        assert [request.oid for request in cluster.osd.requests] == ["0", "1", "2", "3", "4"]
        assert cluster.client.objecter.stats.throttled == 3
        cluster.assert_nothing_leaked()


async def test_too_many_waiters_are_refused_and_leave_nothing() -> None:
    conf = RadosConf(inflight_ops_max=1, waiting_ops_max=1)
    async with running_cluster(auto=False, conf=conf) as cluster:
        for _ in range(2):
            cluster.ioctx.aio_operate("a", WriteOp().append(b"x"))
        with pytest.raises(Overloaded):
            cluster.ioctx.aio_operate("a", WriteOp().append(b"x"))
        for index in range(2):
            await cluster.osd.has(index + 1)
            cluster.osd.reply(index)
        await cluster.ioctx.aio_flush(1)
        cluster.assert_nothing_leaked()


# time-outs


async def test_a_read_times_out_plainly_and_a_sent_write_with_unknown_outcome(held: FakeCluster) -> None:
    read = held.ioctx.aio_operate("a", ReadOp().read(), timeout_s=0.01)
    write = held.ioctx.aio_operate("b", WriteOp().append(b"x"), timeout_s=0.01)
    with pytest.raises(TimedOut):
        await read
    with pytest.raises(OutcomeUnknown) as caught:
        await write
    assert caught.value.errno == errno.ETIMEDOUT
    assert write.get_return_value() == -errno.ETIMEDOUT
    held.assert_nothing_leaked()
    held.osd.reply(1)
    await eventually(lambda: held.client.objecter.stats.stray == 1)


async def test_a_write_that_never_left_times_out_plainly() -> None:
    async with running_cluster(auto=False, conf=RadosConf(inflight_ops_max=1)) as cluster:
        cluster.ioctx.aio_operate("a", WriteOp().append(b"x"))
        waiting = cluster.ioctx.aio_operate("b", WriteOp().append(b"x"), timeout_s=0.01)
        with pytest.raises(TimedOut):
            await waiting
        cluster.osd.reply(0)
        await cluster.ioctx.aio_flush(1)
        assert len(cluster.osd.requests) == 1
        cluster.assert_nothing_leaked()


async def test_a_time_out_does_not_wait_for_earlier_operations_on_the_object(held: FakeCluster) -> None:
    done: list[str] = []
    held.ioctx.aio_operate("a", WriteOp().append(b"1"), lambda c: done.append("first"))
    held.ioctx.aio_operate("a", WriteOp().append(b"2"), lambda c: done.append("second"), timeout_s=0.01)
    held.ioctx.aio_operate("a", WriteOp().append(b"3"), lambda c: done.append("third"))
    await eventually(lambda: done == ["second"])
    held.osd.reply(2)
    held.osd.reply(0)
    await eventually(lambda: done == ["second", "first", "third"])
    held.assert_nothing_leaked()


async def test_an_answer_that_waits_for_its_turn_is_told_when_the_time_is_over(held: FakeCluster) -> None:
    held.ioctx.aio_operate("a", WriteOp().append(b"1"), timeout_s=0)
    second = held.ioctx.aio_operate("a", WriteOp().append(b"2"), timeout_s=0.03)
    await eventually(lambda: len(held.osd.requests) == 2)
    held.osd.reply(1)
    assert (await second).result == 0, "the real answer, not a time-out"
    held.osd.reply(0)
    await held.ioctx.aio_flush(1)
    held.assert_nothing_leaked()


async def test_the_configured_time_out_holds() -> None:
    async with running_cluster(auto=False, conf=RadosConf(osd_op_timeout_s=0.01)) as cluster:
        with pytest.raises(TimedOut):
            await cluster.ioctx.read("a")


# cancellation


async def test_cancelling_an_await_gives_budget_and_tid_back(held: FakeCluster) -> None:
    task = asyncio.ensure_future(held.ioctx.operate("a", WriteOp().append(b"x")))
    await eventually(lambda: held.osd.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.assert_nothing_leaked()
    held.osd.reply(0)
    await eventually(lambda: held.client.objecter.stats.stray == 1)


async def test_cancel_of_a_completion(held: FakeCluster) -> None:
    sent = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    read = held.ioctx.aio_operate("b", ReadOp().read())
    await held.osd.has(2)
    assert sent.cancel()
    assert read.cancel()
    assert sent.get_return_value() == read.get_return_value() == -errno.ECANCELED
    with pytest.raises(OutcomeUnknown):
        await sent
    with pytest.raises(Cancelled):
        await read
    held.assert_nothing_leaked()


async def test_a_time_out_around_an_await_cancels_the_operation(held: FakeCluster) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await held.ioctx.read("a")
    held.assert_nothing_leaked()


@pytest.mark.parametrize("seed", range(5))
async def test_random_cancellation_leaks_nothing(seed: int) -> None:
    dice = random.Random(seed)
    async with running_cluster(auto=False, conf=RadosConf(inflight_ops_max=4)) as cluster:
        tasks = [
            asyncio.ensure_future(cluster.ioctx.operate(f"object {dice.randrange(3)}", WriteOp().append(bytes(9))))
            for _ in range(60)
        ]
        answered = 0
        while not all(task.done() for task in tasks):
            for _ in range(dice.randrange(4)):
                dice.choice(tasks).cancel()
            for _ in range(dice.randrange(3)):
                if answered < len(cluster.osd.requests):
                    cluster.osd.reply(answered)
                    answered += 1
            if dice.random() < 0.1:
                cluster.osd.cut()
                answered = len(cluster.osd.requests)
            await settle(dice.randrange(4))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) or result.result == 0 for result in results)  # type: ignore[union-attr]
        cluster.assert_nothing_leaked()


# EAGAIN


async def test_eagain_is_submitted_again_under_a_new_tid(cluster: FakeCluster) -> None:
    answers = iter([-errno.EAGAIN, -errno.EAGAIN, 0])
    cluster.osd.answer_with = lambda request: next(answers)
    await cluster.ioctx.operate("a", ReadOp().read())
    requests = cluster.osd.requests
    assert [request.tid for request in requests] == [1, 2, 3]
    assert [request.retry_attempt for request in requests] == [0, 0, 0]
    cluster.assert_nothing_leaked()


async def test_an_osd_that_says_eagain_for_ever_is_slowed_down_and_times_out(cluster: FakeCluster) -> None:
    cluster.osd.answer_with = lambda request: -errno.EAGAIN
    with pytest.raises((TimedOut, OutcomeUnknown)):
        await cluster.ioctx.aio_operate("a", WriteOp().append(b"x"), timeout_s=0.1)
    assert 9 <= len(cluster.osd.requests) < 40
    cluster.assert_nothing_leaked()


# the end


async def test_shutdown_fails_what_is_in_flight(held: FakeCluster) -> None:
    codes: list[int] = []
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"), lambda c: codes.append(c.get_return_value()))
    read = held.ioctx.aio_operate("a", ReadOp().read(), lambda c: codes.append(c.get_return_value()))
    objecter = held.client.objecter
    await eventually(lambda: len(held.osd.requests) == 2)
    await held.client.shutdown()
    assert codes == [-errno.ECANCELED] * 2
    assert isinstance(write.error(), OutcomeUnknown)
    assert isinstance(read.error(), Cancelled)
    assert objecter.throttle.ops == 0
    with pytest.raises(NotConnected):
        await held.ioctx.read("a")
    await held.client.shutdown()


async def test_shutdown_sends_nothing_that_waited_for_the_throttle() -> None:
    async with running_cluster(auto=False, conf=RadosConf(inflight_ops_max=1)) as cluster:
        order: list[int] = []
        writes = [
            cluster.ioctx.aio_operate(
                "a", WriteOp().append(b"x"), functools.partial(lambda n, _: order.append(n), number)
            )
            for number in range(4)
        ]
        await cluster.osd.has(1)
        objecter = cluster.client.objecter
        await cluster.client.shutdown()
        assert order == [0, 1, 2, 3]
        assert isinstance(writes[0].error(), OutcomeUnknown)
        assert all(isinstance(write.error(), Cancelled) for write in writes[1:])
        assert objecter.stats.sent == 1
        assert (objecter.throttle.ops, objecter.throttle.bytes, objecter.throttle.waiting) == (0, 0, 0)


async def test_shutdown_from_within_a_callback(held: FakeCluster) -> None:
    objecter = held.client.objecter
    held.ioctx.aio_operate("a", WriteOp().append(b"x"), lambda c: objecter.shutdown())
    last = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await eventually(lambda: len(held.osd.requests) == 2)
    held.osd.reply(0)
    await last.wait_for_complete(1)
    assert last.get_return_value() == -errno.ECANCELED
    held.assert_nothing_leaked()


async def test_completions_are_cheap(held: FakeCluster) -> None:
    """No task and no future for an operation that nobody awaits."""
    before = len(asyncio.all_tasks())
    completions = [held.ioctx.aio_operate(str(number), WriteOp().append(b"x")) for number in range(50)]
    assert len(asyncio.all_tasks()) == before
    assert all(completion._future is None for completion in completions)
    assert isinstance(held.osd.requests, list)
    await eventually(lambda: len(held.osd.requests) == 50)
    assert all(isinstance(request, MOSDOp) for request in held.osd.requests)


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback refuses what can't be encoded, as TCP does."""
    send = LoopbackConnection.send_message

    def send_message(connection: LoopbackConnection, message: Message) -> None:
        encode_message(message, SUPPORTED)
        send(connection, message)

    monkeypatch.setattr(LoopbackConnection, "send_message", send_message)


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_cannot_be_sent_is_an_error_and_harms_nobody(
    held: FakeCluster, encoding: None, is_first: bool
) -> None:
    """Also if the connection only comes up later."""
    if not is_first:
        held.ioctx.aio_operate("warm", ReadOp().read())
        await held.osd.has(1)
        held.osd.reply(0)
        await settle()
    vector = WriteOp().write(b"x")
    vector.ops[0].params = Extent(2**64, 1)
    wrong = held.ioctx.aio_operate("a", vector)
    after = held.ioctx.aio_operate("a", WriteOp().append(b"y"))
    with pytest.raises(InvalidArgument, match="does not fit"):
        await asyncio.wait_for(wrong, 1)
    with pytest.raises(InvalidArgument, match="no UTF-8"):
        await asyncio.wait_for(held.ioctx.aio_operate("\ud800", ReadOp().read()), 1)
    await eventually(lambda: held.osd.requests[-1].oid == "a" if held.osd.requests else False)
    held.osd.reply(len(held.osd.requests) - 1)
    await asyncio.wait_for(after, 1)
    held.assert_nothing_leaked()


async def test_what_is_given_up_before_the_connection_is_up_is_not_sent(held: FakeCluster) -> None:
    """So that it is known that it did not happen."""
    given_up = held.ioctx.aio_operate("a", WriteOp().append(b"1"))
    sent = held.ioctx.aio_operate("a", WriteOp().append(b"2"))
    assert given_up.cancel()
    assert isinstance(given_up.error(), Cancelled)
    await held.osd.has(1)
    await settle()
    assert [bytes(request.ops[0].indata) for request in held.osd.requests] == [b"2"]
    held.osd.reply(0)
    await sent
