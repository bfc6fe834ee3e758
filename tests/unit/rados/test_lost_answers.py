"""Writes that were sent, and about which the last word says nothing: their outcome is unknown."""

from __future__ import annotations

import errno

import pytest

from cove.rados import (
    AioCompletion,
    Blocklisted,
    Cancelled,
    InOutError,
    ObjectNotFound,
    OutcomeUnknown,
    PermissionDenied,
    ReadOp,
    WriteOp,
)
from cove.rados.errors import EBLOCKLISTED, Error
from cove.rados.resubmit import MISDIRECTED_MAX
from cove.wire.messages import MOSDOpReply
from cove.wire.osd_ops import RequestFlag
from cove.wire.osdmap import PoolFlag

from .fake import FakeCluster, settle
from .test_resubmit import redirect


def refuse(cluster: FakeCluster, index: int, result: int, *, executed: bool = False) -> None:
    """Answer as an OSD does before it looks at what is asked; or (executed) as the vector itself."""
    request = cluster.osd.requests[index]
    cluster.osd.connections[index].send_message(
        MOSDOpReply(
            tid=request.tid,
            oid=request.oid,
            pg=request.pg,
            flags=request.flags | (RequestFlag.ACK if executed else 0),
            result=result,
            epoch=request.epoch,
            ops=request.ops,
            retry_attempt=request.retry_attempt,
            user_version=0,
        )
    )


CODES = [(-EBLOCKLISTED, Blocklisted), (-errno.EPERM, PermissionDenied)]


@pytest.mark.parametrize(("code", "plain"), CODES)
async def test_a_refusal_says_nothing_of_the_times_before(held: FakeCluster, code: int, plain: type[Error]) -> None:
    """The first request may have been carried out before its connection broke."""
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    read = held.ioctx.aio_operate("b", ReadOp().read())
    await held.osd.has(2)
    held.osd.cut()
    await held.osd.has(4)
    refuse(held, 2, code)
    refuse(held, 3, code)
    with pytest.raises(OutcomeUnknown) as told:
        await write
    assert told.value.result == code
    with pytest.raises(plain):
        await read
    held.assert_nothing_leaked()


@pytest.mark.parametrize(("code", "plain"), CODES)
async def test_a_refusal_of_the_first_request_is_plain(held: FakeCluster, code: int, plain: type[Error]) -> None:
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    refuse(held, 0, code)
    with pytest.raises(plain):
        await write


async def test_what_the_vector_answers_is_known_also_the_second_time(held: FakeCluster) -> None:
    """A method of a class may answer EPERM; a repeated request gets the same answer."""
    writes = [held.ioctx.aio_operate(oid, WriteOp().exec("lock", "lock")) for oid in "ab"]
    await held.osd.has(2)
    held.osd.cut()
    await held.osd.has(4)
    refuse(held, 2, -errno.EPERM, executed=True)
    held.osd.reply(3, -errno.EPERM)  # with a version
    for write in writes:
        with pytest.raises(PermissionDenied):
            await write


async def test_a_pool_that_refuses_everything_says_nothing_of_what_was_sent(held: FakeCluster) -> None:
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    read = held.ioctx.aio_operate("b", ReadOp().read())
    await held.osd.has(2)
    held.mon.set_pool(1, flags=PoolFlag.HASHPSPOOL | PoolFlag.EIO)
    await held.client.wait_for_latest_map(5)
    with pytest.raises(OutcomeUnknown):
        await write
    with pytest.raises(InOutError):
        await read
    with pytest.raises(InOutError):
        await held.ioctx.append("c", b"never sent")
    held.assert_nothing_leaked()


async def test_a_deleted_pool_takes_its_objects_along(held: FakeCluster) -> None:
    """Whether the write happened makes no difference any more."""
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    held.mon.drop_pool(1)
    await held.client.wait_for_latest_map(5)
    with pytest.raises(ObjectNotFound):
        await write
    held.assert_nothing_leaked()


async def sent_again(cluster: FakeCluster, operation: ReadOp | WriteOp) -> AioCompletion:
    """An operation whose first request got lost, or its answer did. The second is number 1."""
    completion = cluster.ioctx.aio_operate("a", operation)
    await cluster.osd.has(1)
    cluster.osd.cut()
    await cluster.osd.has(2)
    return completion


@pytest.mark.parametrize("code", [-errno.EAGAIN, -errno.ENXIO])
async def test_a_write_that_was_sent_before_goes_again_under_its_tid(held: FakeCluster, code: int) -> None:
    """So that an OSD that has carried it out the first time knows it."""
    write = await sent_again(held, WriteOp().append(b"x"))
    refuse(held, 1, code)
    await held.osd.has(3)
    assert [(request.tid, request.retry_attempt) for request in held.osd.requests] == [(1, 0), (1, 1), (1, 2)]
    assert held.osd.requests[2].flags & RequestFlag.RETRY
    held.osd.reply(1)  # too late: this attempt has been answered
    held.osd.reply(2)
    await write
    assert held.client.objecter.stats.stray == 1
    held.assert_nothing_leaked()


@pytest.mark.parametrize("code", [-errno.EAGAIN, -errno.ENXIO])
async def test_what_was_surely_not_done_goes_again_as_something_new(held: FakeCluster, code: int) -> None:
    """A write whose only request was refused, and any read."""
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    refuse(held, 0, code)
    await held.osd.has(2)
    assert (held.osd.requests[1].tid, held.osd.requests[1].retry_attempt) == (2, 0)
    held.osd.cut()
    await held.osd.has(3)
    held.osd.reply(2)
    await write
    read = held.ioctx.aio_operate("a", ReadOp().read())
    await held.osd.has(4)
    held.osd.cut()
    await held.osd.has(5)
    refuse(held, 4, code)
    await held.osd.has(6)
    assert (held.osd.requests[5].tid, held.osd.requests[5].retry_attempt) == (4, 0)
    held.osd.reply(5)
    await read
    held.assert_nothing_leaked()


async def test_cancelled_while_it_waits_to_go_again(held: FakeCluster) -> None:
    """Then only the requests that were not refused count."""
    lost = await sent_again(held, WriteOp().append(b"x"))
    refuse(held, 1, -errno.ENXIO)
    await settle()
    lost.cancel()
    assert isinstance(lost.error(), OutcomeUnknown)
    refused = held.ioctx.aio_operate("b", WriteOp().append(b"x"))
    await held.osd.has(3)
    refuse(held, 2, -errno.ENXIO)
    await settle()
    refused.cancel()
    assert isinstance(refused.error(), Cancelled)
    held.assert_nothing_leaked()


@pytest.mark.parametrize("lost", [True, False])
async def test_the_wrong_osd_for_ever(held: FakeCluster, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    monkeypatch.setattr("cove.rados.resubmit.MISDIRECTED_DELAY_S", 0.0001)
    write = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    if lost:
        held.osd.cut()
    for index in range(lost, lost + MISDIRECTED_MAX + 1):
        await held.osd.has(index + 1)
        refuse(held, index, -errno.ENXIO)
    await write.wait_for_complete()
    assert write.get_return_value() == -errno.ENXIO
    assert isinstance(write.error(), OutcomeUnknown) is lost
    held.assert_nothing_leaked()


async def test_a_redirected_write_that_was_sent_before_is_not_done_elsewhere_as_well(held: FakeCluster) -> None:
    """It may have been carried out before its object moved, and the other place would not know it."""
    write = await sent_again(held, WriteOp().append(b"x"))
    redirect(held, 1, 2, "b")
    with pytest.raises(OutcomeUnknown):
        await write
    held.assert_nothing_leaked()
    assert len(held.osd.requests) == 2


async def test_a_redirected_read_goes_on(held: FakeCluster) -> None:
    read = await sent_again(held, ReadOp().read())
    redirect(held, 1, 2, "b")
    await held.osd.has(3)
    assert (held.osd.requests[2].oid, held.osd.requests[2].retry_attempt) == ("b", 0)
    held.osd.reply(2)
    await read
    held.assert_nothing_leaked()
