"""Reads of replicas: any, or the nearest by the CRUSH map."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from cove.rados import InvalidArgument, RadosConf, ReadOp, WriteOp
from cove.rados.replicas import FAR, Replicas, parse_location
from cove.rados.target import PgTarget
from cove.wire.crush.map import Bucket, BucketAlg, CrushMap
from cove.wire.osd_ops import RequestFlag
from cove.wire.osdmap import OSDMap
from cove.wire.types import PgId

from .fake import FakeCluster, eventually, first_map, running_cluster
from .test_objecter_maps import push

BALANCE, LOCALIZE = int(RequestFlag.BALANCE_READS), int(RequestFlag.LOCALIZE_READS)
PRIMARY = PgTarget(5, PgId(1, 5), 0, 0, None, pg_num=32)


def two_racks() -> OSDMap:
    """osd.0 on host a in rack r1, osd.1 on host b in rack r2; a shadow bucket repeats osd.1."""
    straw = BucketAlg.STRAW2
    buckets = {
        -1: Bucket(-1, 11, straw, (-2, -3), (1, 1), 2),
        -2: Bucket(-2, 3, straw, (-4,), (1,), 1),
        -3: Bucket(-3, 3, straw, (-5,), (1,), 1),
        -4: Bucket(-4, 1, straw, (0,), (1,), 1),
        -5: Bucket(-5, 1, straw, (1,), (1,), 1),
        -6: Bucket(-6, 1, straw, (1,), (1,), 1),
    }
    names = {-1: "default", -2: "r1", -3: "r2", -4: "a", -5: "b", -6: "b~ssd", 0: "osd.0", 1: "osd.1"}
    crush = CrushMap(buckets, first_map().crush.rules, names=names, shadows={-5: {0: -6}}, max_devices=2, max_buckets=6)
    return replace(first_map(), crush=crush)


@pytest.mark.parametrize(
    ("where", "distances", "nearest"),
    [
        ("host=a rack=r1 root=default", [1, 11], 0),
        ("host=b,rack=r2;root=default", [11, 1], 1),
        ("host=c rack=r2 root=default", [11, 3], 1),
        ("host=c root=default", [11, 11], 0),
        ("host=c", [FAR, FAR], 0),
    ],
)
def test_the_nearest_is_the_one_with_the_lowest_bucket_in_common(
    where: str, distances: list[int], nearest: int
) -> None:
    replicas = Replicas(two_racks(), parse_location(where))
    assert [replicas.distance(osd) for osd in (0, 1)] == distances
    assert replicas.choose(PRIMARY, None, LOCALIZE).osd == nearest
    assert replicas.choose(PRIMARY, None, LOCALIZE).osd == nearest, "remembered"


def test_places() -> None:
    assert ("host", socket.gethostname().partition(".")[0]) in parse_location("")
    with pytest.raises(InvalidArgument, match="KIND=NAME"):
        parse_location("host=a somewhere")
    with pytest.raises(InvalidArgument):
        RadosConf(crush_location=7)  # type: ignore[arg-type]


def test_any_replica_serves_a_balanced_read_and_keeps_it() -> None:
    osdmap = two_racks()
    replicas = Replicas(osdmap, parse_location("host=a"))
    chosen = [replicas.choose(PRIMARY, None, BALANCE) for _ in range(100)]
    assert {target.osd for target in chosen} == {0, 1}
    for target in chosen:
        assert replicas.choose(PRIMARY, target, BALANCE) == target
    elsewhere = PRIMARY._replace(osd=1, acting=(1, 0))
    assert {replicas.choose(PRIMARY, elsewhere, BALANCE).osd for _ in range(100)} == {0, 1}, "another acting set"


def test_no_choice() -> None:
    down = replace(two_racks(), osd_state=[3, 1])
    assert Replicas(down, parse_location("host=b")).choose(PRIMARY, None, LOCALIZE) is PRIMARY
    erasure = PRIMARY._replace(shard=0)
    assert Replicas(two_racks(), parse_location("host=b")).choose(erasure, None, LOCALIZE) is erasure
    nowhere = PRIMARY._replace(osd=-1)
    assert Replicas(two_racks(), parse_location("host=b")).choose(nowhere, None, LOCALIZE) is nowhere


async def test_reads_go_to_the_replica_and_writes_to_the_primary() -> None:
    conf = RadosConf(crush_location="host=b rack=r2 root=default")
    async with running_cluster(conf=conf, osdmap=replace(two_racks(), primary_affinity=[0x10000, 0])) as cluster:
        await cluster.ioctx.operate("a", ReadOp().read().with_flags(RequestFlag.LOCALIZE_READS))
        await cluster.ioctx.operate("a", WriteOp().append(b"x").with_flags(RequestFlag.LOCALIZE_READS))
        await cluster.ioctx.operate("a", ReadOp().read())
        (request,) = cluster.osds[1].requests
        assert request.flags & RequestFlag.LOCALIZE_READS
        assert len(cluster.osd.requests) == 2
        cluster.assert_nothing_leaked()


async def test_a_replica_that_cannot_serve_sends_us_to_the_primary() -> None:
    conf = RadosConf(crush_location="host=b rack=r2 root=default")
    async with running_cluster(conf=conf, osdmap=replace(two_racks(), primary_affinity=[0x10000, 0])) as cluster:
        cluster.osds[1].answer_with = lambda request: -11
        await cluster.ioctx.operate("a", ReadOp().read().with_flags(RequestFlag.LOCALIZE_READS))
        assert not cluster.osd.requests[0].flags & RequestFlag.LOCALIZE_READS
        cluster.assert_nothing_leaked()


async def test_a_replica_that_goes_down_gives_its_reads_to_others(held: FakeCluster) -> None:
    read = ReadOp().read().with_flags(RequestFlag.BALANCE_READS)
    while not held.osds[1].requests:
        held.ioctx.aio_operate("a", read)
        await eventually(lambda: held.client.objecter.stats.sent == held.client.objecter.stats.submitted)
        await held.client.objecter.wait_for_map(1, 1)
    await eventually(lambda: held.osds[1].requests)
    held.mon.set_osd(1, up=False)
    push(held)
    submitted = held.client.objecter.stats.submitted
    await eventually(lambda: len({request.tid for request in held.osd.requests}) == submitted)
    latest = {request.tid: index for index, request in enumerate(held.osd.requests)}
    for index in latest.values():
        held.osd.reply(index)
    await eventually(lambda: not held.client.objecter.live_ops())
    held.assert_nothing_leaked()
