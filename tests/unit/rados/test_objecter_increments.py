"""Maps as they come from monitors: increments, unreadable bytes; and what in a map ends an operation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cove.messenger import LoopbackNetwork
from cove.rados import NotSupported, OutcomeUnknown, Rados, RadosConf, TimedOut, WriteOp
from cove.rados.transport import LoopbackTransport
from cove.wire.address import AddrVec
from cove.wire.messages import MOSDMap
from cove.wire.osdmap import USUAL_FLAGS, MapFlag
from cove.wire.osdmap_apply import apply_incremental
from cove.wire.osdmap_codec import encode_osdmap
from cove.wire.osdmap_incremental import Incremental, encode_incremental
from cove.wire.pool import PgPool, PoolFlag, PoolType
from cove.wire.types import PgId, SnapContext

from .fake import FSID, FakeCluster, FakeMon, a_pool, eventually, first_map, settle


def change(cluster: FakeCluster, **fields: Any) -> bytes:
    """The next epoch, which nobody has been told of yet."""
    mon = cluster.mon
    made = Incremental(fsid=FSID, epoch=mon.newest.epoch + 1, **fields)
    mon.maps[made.epoch] = apply_incremental(mon.newest, made)
    return encode_incremental(made)


def send(cluster: FakeCluster, *incrementals: bytes, fulls: dict[int, bytes] | None = None, oldest: int = 1) -> None:
    """Increments to epochs 2, 3, ..., and full maps."""
    (connection,) = cluster.mon.messenger.connections
    connection.send_message(
        MOSDMap(
            fsid=FSID,
            incrementals=dict(enumerate(incrementals, start=2)),
            fulls=fulls or {},
            oldest=oldest,
            newest=max(cluster.mon.maps),
        )
    )


def damaged(data: bytes) -> bytes:
    return data[:50] + bytes([data[50] ^ 1]) + data[51:]


async def test_increments_are_applied_one_by_one(held: FakeCluster) -> None:
    objecter = held.client.objecter
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    first = objecter.osdmap
    assert first is not None
    send(
        held,
        change(held, new_state={0: 2}),
        change(held, new_flags=USUAL_FLAGS | MapFlag.PAUSEWR),
        change(held, new_flags=USUAL_FLAGS),
    )
    await eventually(lambda: objecter.epoch == 4)
    assert objecter.osdmap == held.mon.newest
    assert objecter.osdmap is not None
    assert objecter.osdmap.crush is first.crush
    await held.osds[1].has(1)
    assert held.osds[1].requests[0].epoch == 4
    held.osds[1].reply(0)
    await completion
    held.assert_nothing_leaked()


async def test_an_increment_on_another_base_is_not_used(held: FakeCluster) -> None:
    change(held, new_flags=USUAL_FLAGS | MapFlag.NOUP)
    third = change(held, new_flags=USUAL_FLAGS | MapFlag.NOOUT)
    (connection,) = held.mon.messenger.connections
    connection.send_message(MOSDMap(fsid=FSID, incrementals={3: third}, fulls={3: held.mon.full(3)}, newest=3))
    await eventually(lambda: held.client.objecter.epoch == 3)
    assert held.client.osdmap == held.mon.newest


async def test_increments_that_cannot_be_reached_make_us_ask(held: FakeCluster) -> None:
    """Also if they are very far away: every epoch between is looked for, none is counted up to."""
    far = encode_incremental(Incremental(fsid=FSID, epoch=4_000_000_000))
    (connection,) = held.mon.messenger.connections
    connection.send_message(MOSDMap(fsid=FSID, incrementals={4_000_000_000: far}, newest=4_000_000_000))
    await eventually(lambda: 2 in held.mon.starts("osdmap"))
    assert held.client.objecter.epoch == 1


async def test_an_unreadable_increment_makes_us_ask_for_a_full_map(held: FakeCluster) -> None:
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    good, bad = change(held, new_state={0: 2}), damaged(change(held, new_flags=USUAL_FLAGS | MapFlag.NOUP))
    full_maps = held.mon.starts("osdmap").count(0)
    send(held, good, bad)
    await eventually(lambda: held.client.objecter.epoch == 3)
    assert held.mon.starts("osdmap").count(0) == full_maps + 1
    assert held.client.osdmap == held.mon.newest
    assert held.client.objecter.stats.maps == 3, "the one before the damage was used"
    await held.osds[1].has(1)
    held.osds[1].reply(0)
    await completion
    held.assert_nothing_leaked()


async def test_an_increment_that_contradicts_itself_is_unreadable(held: FakeCluster) -> None:
    send(held, encode_incremental(Incremental(fsid=FSID, epoch=2, new_weight={77: 1})))
    await eventually(lambda: held.mon.starts("osdmap").count(0) == 2)
    assert held.client.objecter.epoch == 1


@pytest.mark.parametrize("wrong", ["epoch", "fsid"])
async def test_a_map_that_is_not_what_it_was_sent_as_is_unreadable(held: FakeCluster, wrong: str) -> None:
    other = held.mon.publish()
    del held.mon.maps[2]
    bytes_of_another = encode_osdmap(
        replace(other, epoch=3) if wrong == "epoch" else replace(other, fsid=type(FSID)(int=5))
    )
    send(held, fulls={2: bytes_of_another})
    await eventually(lambda: held.mon.starts("osdmap").count(0) == 2)
    assert held.client.objecter.epoch == 1


async def test_if_full_maps_are_damaged_too_we_do_not_ask_without_end(held: FakeCluster) -> None:
    bad = damaged(change(held, new_flags=USUAL_FLAGS | MapFlag.NOUP))
    held.mon.encoded[2] = damaged(held.mon.full(2))
    send(held, bad)
    await eventually(lambda: held.mon.starts("osdmap").count(0) == 2)
    await settle(200)
    assert held.mon.starts("osdmap").count(0) == 2
    assert held.client.objecter.epoch == 1
    del held.mon.encoded[2]
    held.client.objecter._tick()
    await eventually(lambda: held.client.objecter.epoch == 2)
    held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    held.osd.reply(0)
    await held.ioctx.aio_flush(1)


async def test_a_damaged_first_map_is_a_connection_that_times_out() -> None:
    network = LoopbackNetwork()
    mon = FakeMon(network, "mon.0", first_map())
    mon.encoded[1] = damaged(mon.full(1))
    client = Rados(LoopbackTransport(network), conf=RadosConf())
    with pytest.raises(TimedOut, match="no OSD map"):
        await client.connect(timeout_s=0.05)
    await mon.messenger.shutdown()


# what a map says of pools


async def test_a_pool_with_a_cache_tier_is_refused_with_its_reason(held: FakeCluster) -> None:
    waiting = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    send(held, change(held, new_pools={1: replace(a_pool(32), read_tier=2, write_tier=2)}))
    with pytest.raises(OutcomeUnknown, match="cache tiers are not supported"):
        await waiting  # it was sent, and nobody is asked again what became of it
    with pytest.raises(NotSupported, match=r"read on object 'b': .*cache tier"):
        await held.ioctx.read("b")
    assert len(held.osd.requests) == 1
    held.assert_nothing_leaked()


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        (PgPool(pg_num=8, type=7), "type 7"),
        (PgPool(pg_num=8, object_hash=9), "function 9"),
        (PgPool(pg_num=0), "0 placement groups"),
        (PgPool(pg_num=8, type=PoolType.ERASURE, flags=PoolFlag.EC_OPTIMIZATIONS), "ec_optimizations"),
    ],
)
async def test_so_is_a_pool_that_cannot_be_placed(held: FakeCluster, pool: PgPool, reason: str) -> None:
    send(held, change(held, new_pools={1: pool}))
    await eventually(lambda: held.client.objecter.epoch == 2)
    with pytest.raises(NotSupported, match=reason):
        await held.ioctx.write_full("a", b"x")
    held.assert_nothing_leaked()


async def test_requests_to_erasure_coded_pools_name_the_primarys_shard(held: FakeCluster) -> None:
    erasure = PgPool(pg_num=1, type=PoolType.ERASURE, size=3, min_size=1)
    send(held, change(held, new_pools={1: erasure}, new_pg_temp={PgId(1, 0): (7, 1, 0)}))
    await eventually(lambda: held.client.objecter.epoch == 2)
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osds[1].has(1)
    assert held.osds[1].requests[0].shard == 1, "shard 0 has nobody"
    held.osds[1].reply(0)
    await completion
    held.ioctx.aio_operate("b", WriteOp().append(b"x"))
    await held.osds[1].has(2)
    held.osds[1].reply(1)
    await held.ioctx.aio_flush(1)


async def test_requests_to_replicated_pools_name_no_shard(held: FakeCluster) -> None:
    held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await held.osd.has(1)
    assert held.osd.requests[0].shard == -1
    held.osd.reply(0)
    await held.ioctx.aio_flush(1)


async def test_an_osd_that_speaks_no_msgr2_is_waited_for(held: FakeCluster) -> None:
    addrs: list[AddrVec] = [(addr[0]._replace(type=1),) for addr in held.mon.newest.client_addrs]
    held.mon.maps[2] = replace(held.mon.newest, epoch=2, client_addrs=addrs)
    send(held, fulls={2: held.mon.full(2)})
    await eventually(lambda: held.client.objecter.epoch == 2)
    completion = held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await settle()
    assert len(held.client.objecter.homeless.ops) == 1
    held.mon.set_osd(0, up=True)
    await held.osd.has(1)
    held.osd.reply(0)
    await completion
    held.assert_nothing_leaked()


async def test_removed_snapshots_leave_the_snap_contexts_of_waiting_writes(held: FakeCluster) -> None:
    send(held, change(held, new_flags=USUAL_FLAGS | MapFlag.PAUSEWR))
    await eventually(lambda: held.client.objecter.epoch == 2)
    held.ioctx.set_self_managed_snap_write_ctx(9, [9, 7, 5, 3])
    held.ioctx.aio_operate("a", WriteOp().append(b"x"))
    await settle()
    send(held, b"", change(held, new_removed_snaps={1: ((5, 3),), 2: ((3, 1),)}))
    await eventually(lambda: held.client.objecter.epoch == 3)
    send(held, b"", b"", change(held, new_flags=USUAL_FLAGS))
    await held.osd.has(1)
    assert held.osd.requests[0].snapc == SnapContext(9, (9, 3)), "7 and 5 are gone; 3 is so only in another pool"
    held.osd.reply(0)
    await held.ioctx.aio_flush(1)
