"""Where 10,000 objects are: our map and CRUSH beside the monitor's, on a cluster whose map has been worked on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from cove.rados import Rados
from cove.wire.types import ObjectLocator

from .ceph_cluster import CephCluster
from .peer import Librados

OBJECTS = 10_000
POOLS: dict[str, dict[str, Any]] = {
    "replicated": {"pg_num": 16},
    "odd": {"pg_num": 12},
    "odd-erasure": {"pg_num": 7, "pool_type": "erasure", "erasure_code_profile": "two-one"},
    "fast": {"pg_num": 16, "rule": "fast"},
    "racks": {"pg_num": 21, "rule": "racks"},
    "upmapped": {"pg_num": 16},
    "old-hash": {"pg_num": 16},
    "temp": {"pg_num": 8},
}


@pytest.fixture(scope="module")
def shaped(ceph_is_installed: None) -> Iterator[CephCluster]:
    """Three OSDs of two classes on three hosts in two racks, four more that are down, weights of all kinds."""
    with CephCluster(osds=3) as cluster:
        shape(cluster)
        yield cluster


def shape(cluster: CephCluster) -> None:
    admin = cluster.peer()
    mon = admin.mon
    for number in range(3, 7):  # exist, and never were up
        mon("osd new", uuid=f"00000000-0000-0000-0000-00000000000{number}", id=number)
    for rack in ("r0", "r1"):
        mon("osd crush add-bucket", name=rack, type="rack")
        mon("osd crush move", name=rack, args=["root=default"])
    for number in range(7):
        place = [f"host=h{number % 3}", f"rack=r{number % 3 % 2}", "root=default"]
        mon(
            "osd crush set" if number < 3 else "osd crush add",
            id=number,
            weight=[0.5, 1.0, 0.7, 0.3, 0.2, 2.0, 0.1][number],
            args=place,
        )
        mon("osd crush rm-device-class", ids=[str(number)])
        mon("osd crush set-device-class", **{"class": "ssd" if number % 2 else "nvme"}, ids=[str(number)])
    for number in range(3, 6):
        mon("osd in", ids=[str(number)])
    mon("osd reweight", id=1, weight=0.6)
    mon("osd reweight", id=4, weight=0.1)
    mon("osd primary-affinity", id=0, weight=0.2)
    mon("osd crush rule create-replicated", name="fast", root="default", type="osd", **{"class": "ssd"})
    mon("osd crush rule create-replicated", name="racks", root="default", type="rack")
    mon("osd crush weight-set create-compat")
    mon("osd crush weight-set reweight-compat", item="osd.2", weight=[0.4])
    profile = ["k=2", "m=1", "crush-failure-domain=osd"]
    mon("osd erasure-code-profile set", name="two-one", profile=profile)
    numbers = {name: cluster.create_pool(name, **options) for name, options in POOLS.items()}
    mon("osd pool set", pool="old-hash", var="hashpspool", val="false", yes_i_really_mean_it=True)
    upmapped = numbers["upmapped"]
    for pg, pairs in {0: [0, 1], 1: [1, 2], 2: [2, 0], 3: [0, 2], 4: [1, 0]}.items():
        mon("osd pg-upmap-items", pgid=f"{upmapped}.{pg:x}", id=pairs)
    mon("osd pg-upmap", pgid=f"{upmapped}.a", id=[2, 0])
    mon("osd pg-upmap", pgid=f"{upmapped}.b", id=[1, 2])
    for pg in range(4):
        mon("osd pg-temp", pgid=f"{numbers['temp']}.{pg:x}", id=[pg % 3, (pg + 1) % 3])
        mon("osd primary-temp", pgid=f"{numbers['temp']}.{pg + 4:x}", id=pg % 3)


async def test_placement_of_ten_thousand_objects(shaped: CephCluster) -> None:
    names = [f"rbd_data.{number * 7919:x}.{number:016x}" for number in range(OBJECTS - 100)]
    names += [f"ünï {number} " + "x" * (number * 17) for number in range(100)]
    pools = list(POOLS)
    admin: Librados = shaped.peer()
    async with Rados(shaped.conf_path) as cluster:
        deadline = time.monotonic() + 60
        while True:
            await cluster.wait_for_latest_map()
            osdmap = cluster.osdmap
            asked = [(pools[n % len(pools)], name, "nspace" if n % 3 == 0 else "") for n, name in enumerate(names)]
            theirs = admin.ask("osd_map", asked)
            if {answer["epoch"] for answer in theirs} == {osdmap.epoch}:
                break  # nothing has changed meanwhile (temporary mappings go when a PG has its data)
            assert time.monotonic() < deadline
    seen_pools, differing = set(), []
    for (pool, name, nspace), answer in zip(asked, theirs, strict=True):
        number = osdmap.pool_id(pool)
        assert number is not None
        raw = osdmap.raw_pg(name, ObjectLocator(number, "", nspace))
        pg = osdmap.actual_pg(raw)
        found = osdmap.pg_to_osds(pg)
        seen_pools.add(answer["pool_id"])
        ours = {
            "raw_pgid": str(raw),
            "pgid": str(pg),
            "up": list(found.up),
            "up_primary": found.up_primary,
            "acting": list(found.acting),
            "acting_primary": found.primary,
        }
        if ours != {key: answer[key] for key in ours}:
            differing.append((pool, name, ours, answer))
    assert not differing, f"{len(differing)} differ, the first: {differing[0]}"
    assert len(seen_pools) == len(POOLS)


async def test_objects_are_found_where_they_are(shaped: CephCluster) -> None:
    """Written by one client, read by the other, in every kind of pool, as far as its PGs have OSDs enough."""
    librados = shaped.peer()
    names = [f"object {number}" for number in range(60)]
    async with Rados(shaped.conf_path) as cluster:
        await cluster.wait_for_latest_map()
        for pool in POOLS:
            asked = librados.ask("osd_map", [[pool, name, ""] for name in names])
            wanted = 2 if "erasure" in pool else 1
            reachable = [
                answer["objname"]
                for answer in asked
                if sum(0 <= osd < 3 for osd in answer["acting"]) >= wanted
                and answer["acting_primary"] in answer["acting"]  # the primary_temp of some is not
            ]
            assert reachable
            async with cluster.open_ioctx(pool) as ioctx:
                for name in reachable:
                    await ioctx.write_full(name, f"{pool} {name}".encode())
                for name in reachable:
                    assert librados.read(pool, name) == f"{pool} {name}".encode()
