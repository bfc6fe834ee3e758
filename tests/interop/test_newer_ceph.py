"""What clusters newer than 16 may have: chosen primaries (18), MSR rules and faster erasure coding (20).

`./run-tests interop-ceph-versions` has such clusters.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cove.rados import NotSupported, Rados
from cove.wire.types import ObjectLocator

from .ceph_cluster import CephCluster, installed_release
from .conftest import POOL

OBJECTS = [f"object {number}" for number in range(64)]


@pytest.fixture(scope="module")
def cluster(ceph_is_installed: None) -> Iterator[CephCluster]:
    if installed_release().number < 18:
        pytest.skip("needs Ceph 18 or later")
    with CephCluster(osds=4) as cluster:
        cluster.wait_clean()
        yield cluster


def needs(number: int) -> None:
    if installed_release().number < number:
        pytest.skip(f"needs Ceph {number} or later")


async def check_placement_and_io(cluster: CephCluster, pool: str) -> None:
    """Where we place objects is where the cluster says, and there they can be written and read."""
    cluster.wait_clean()  # or temporary mappings may come and go
    theirs = cluster.peer().ask("osd_map", [[pool, oid, ""] for oid in OBJECTS])
    async with Rados(cluster.conf_path) as client, client.open_ioctx(pool) as ioctx:
        for oid, expected in zip(OBJECTS, theirs, strict=True):
            osdmap = client.osdmap
            place = osdmap.pg_to_osds(osdmap.actual_pg(osdmap.raw_pg(oid, ObjectLocator(ioctx.pool_id))))
            assert (list(place.acting), place.primary) == (expected["acting"], expected["acting_primary"]), oid
        for oid in OBJECTS[:16]:
            await ioctx.write_full(oid, oid.encode())
        assert [await ioctx.read(oid) for oid in OBJECTS[:16]] == [oid.encode() for oid in OBJECTS[:16]]


async def test_chosen_primaries(cluster: CephCluster) -> None:
    admin = cluster.peer()
    admin.mon("osd set-require-min-compat-client", version="reef")
    for pg in cluster.ceph("pg", "ls-by-pool", POOL)["pg_stats"][:6]:
        admin.mon("osd pg-upmap-primary", pgid=pg["pgid"], id=pg["acting"][1])
    assert len(cluster.ceph("osd", "dump")["pg_upmap_primaries"]) == 6
    await check_placement_and_io(cluster, POOL)


async def test_a_pool_with_faster_erasure_coding_is_refused(cluster: CephCluster) -> None:
    needs(20)
    admin = cluster.peer()
    admin.mon("osd erasure-code-profile set", name="plain", profile=["k=2", "m=1", "crush-failure-domain=osd"])
    cluster.create_pool("fast", pool_type="erasure", erasure_code_profile="plain")
    await check_placement_and_io(cluster, "fast")
    admin.mon("osd pool set", pool="fast", var="allow_ec_optimizations", val="true")
    async with Rados(cluster.conf_path) as client, client.open_ioctx("fast") as ioctx:
        await client.wait_for_latest_map()
        with pytest.raises(NotSupported, match="ec_optimizations"):
            await ioctx.write_full("x", b"y")


async def test_msr_rules(cluster: CephCluster) -> None:
    """Three shards on one host: a rule for which clusters demand that clients know MSR."""
    needs(20)
    admin = cluster.peer()
    admin.mon("osd set-require-min-compat-client", version="squid")
    shape = [
        "k=2",
        "m=1",
        "crush-failure-domain=host",
        "crush-osds-per-failure-domain=3",
        "crush-num-failure-domains=1",
    ]
    admin.mon("osd erasure-code-profile set", name="msr", profile=shape)
    cluster.create_pool("msr", pool_type="erasure", erasure_code_profile="msr")
    rules = cluster.ceph("osd", "crush", "rule", "dump")
    assert "choosemsr" in str(rules)
    await check_placement_and_io(cluster, "msr")
    await check_placement_and_io(cluster, POOL)
