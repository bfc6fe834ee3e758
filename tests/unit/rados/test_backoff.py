"""Backoffs: what OSDs do not want to be sent now."""

from __future__ import annotations

from cove.messenger import Connection
from cove.rados import WriteOp
from cove.rados import backoff as backoffs
from cove.wire.hobject import pg_range
from cove.wire.messages import BackoffOp, Message, MOSDBackoff, MOSDOp
from cove.wire.types import HObject, PgId

from .fake import FakeCluster, FakeOsd, settle


def noted(osd: FakeOsd) -> list[MOSDBackoff]:
    """The acknowledgements that come to an OSD from now on."""
    acks: list[MOSDBackoff] = []
    dispatch = osd.ms_dispatch

    def take(connection: Connection, message: Message) -> bool:
        if isinstance(message, MOSDBackoff):
            acks.append(message)
            return True
        return dispatch(connection, message)

    osd.ms_dispatch = take  # type: ignore[method-assign]
    return acks


def whole_group(request: MOSDOp, op: BackoffOp, number: int = 1) -> MOSDBackoff:
    begin, end = pg_range(request.pg, 32)
    return MOSDBackoff(pg=request.pg, epoch=77, op=op, id=number, begin=begin, end=end)


def one_object(request: MOSDOp, op: BackoffOp, number: int) -> MOSDBackoff:
    name = HObject(pool=request.pg.pool, oid=request.oid, hash=request.raw_hash)
    return MOSDBackoff(pg=request.pg, epoch=78, op=op, id=number, begin=name, end=name)


async def test_a_group_is_held_back_and_released_in_order(held: FakeCluster) -> None:
    osd, acks = held.osd, noted(held.osd)
    first = held.ioctx.aio_operate("a", WriteOp().append(b"1"))
    other = held.ioctx.aio_operate("b", WriteOp().append(b"x"))
    await osd.has(2)
    request = osd.requests[0]
    assert request.pg != osd.requests[1].pg
    osd.connections[0].send_message(whole_group(request, BackoffOp.BLOCK))
    await settle()
    (ack,) = acks
    assert (ack.op, ack.epoch, ack.id, ack.begin, ack.pg) == (BackoffOp.ACK_BLOCK, 77, 1, acks[0].begin, request.pg)
    second = held.ioctx.aio_operate("a", WriteOp().append(b"2"))
    osd.reply(1)
    await other
    await settle()
    assert len(osd.requests) == 2, "nothing goes to the group"
    osd.connections[0].send_message(whole_group(request, BackoffOp.UNBLOCK))
    await osd.has(4)
    again = osd.requests[2:]
    assert [(r.tid, r.retry_attempt) for r in again] == [(request.tid, 1), (request.tid + 2, 0)]
    osd.reply(2)
    osd.reply(3)
    await first
    await second
    held.assert_nothing_leaked()
    assert not held.client.objecter.sessions[0].backoffs


async def test_an_object_stays_held_back_while_another_backoff_says_so(held: FakeCluster) -> None:
    osd, acks = held.osd, noted(held.osd)
    done = held.ioctx.aio_operate("a", WriteOp().append(b"1"))
    await osd.has(1)
    request, connection = osd.requests[0], osd.connections[0]
    connection.send_message(whole_group(request, BackoffOp.BLOCK, 1))
    connection.send_message(one_object(request, BackoffOp.BLOCK, 2))
    connection.send_message(whole_group(request, BackoffOp.UNBLOCK, 1))
    connection.send_message(whole_group(request, BackoffOp.UNBLOCK, 99))
    await settle()
    assert len(acks) == 2
    assert len(osd.requests) == 1
    connection.send_message(one_object(request, BackoffOp.UNBLOCK, 2))
    await osd.has(2)
    osd.reply(1)
    await done


async def test_a_new_connection_begins_without_backoffs(held: FakeCluster) -> None:
    osd = held.osd
    noted(osd)
    done = held.ioctx.aio_operate("a", WriteOp().append(b"1"))
    await osd.has(1)
    osd.connections[0].send_message(whole_group(osd.requests[0], BackoffOp.BLOCK))
    await settle()
    osd.cut()
    await osd.has(2)
    osd.reply(1)
    await done
    held.assert_nothing_leaked()


async def test_other_groups_and_absurd_numbers(held: FakeCluster) -> None:
    osd = held.osd
    done = held.ioctx.aio_operate("a", WriteOp().append(b"1"))
    await osd.has(1)
    session = held.client.objecter.sessions[0]
    (op,) = session.ops.values()
    elsewhere = MOSDBackoff(pg=PgId(9, 9), epoch=1, op=BackoffOp.BLOCK, id=1)
    assert backoffs.block(session, elsewhere) is not None
    assert not backoffs.holds(session, op)
    session.backoffs[PgId(9, 9)] = dict.fromkeys(range(backoffs.BACKOFFS_MAX), elsewhere.range)
    assert backoffs.block(session, elsewhere) is None
    osd.reply(0)
    await done
