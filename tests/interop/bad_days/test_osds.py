"""OSDs die, come back, are marked out and in; primaries move; groups are split: the client hides all of it."""

from __future__ import annotations

from functools import partial

import pytest

from cove.rados import IoCtx, Rados

from ..conftest import POOL
from ..peer import Librados
from .conftest import OSDS, BadDays
from .storm import Storm, until


@pytest.mark.parametrize("told", [False, True], ids=["found by itself", "told by the map"])
async def test_an_osd_is_killed_and_restarted(
    cluster: BadDays, client: Rados, ioctx: IoCtx, librados: Librados, told: bool
) -> None:
    """The monitor is told, or its peers notice; then it comes back. Its groups send backoffs while they peer, or do not
    (Ceph's default)."""
    await cluster.command("config set", who="osd", name="osd_backoff_on_peering", value=str(not told).lower())
    victim = 1 if told else 2
    async with Storm(client, ioctx, f"killed-{told}") as storm:
        await until(lambda: storm.at(victim), "operations are in flight there")
        before = storm.resent
        cluster.osds[victim].kill()
        if told:
            await cluster.command("osd down", ids=[str(victim)])
        await until(lambda: not client.osdmap.is_up(victim), "the client knows")
        await storm.progress()
        assert storm.resent > before
        cluster.osds[victim].start()
        await until(lambda: storm.at(victim), "it serves again")
        await storm.progress()
    storm.compare(librados, POOL)


async def test_an_osd_is_marked_out_and_in(cluster: BadDays, client: Rados, ioctx: IoCtx, librados: Librados) -> None:
    async with Storm(client, ioctx, "out") as storm:
        await until(lambda: storm.at(0), "operations are in flight there")
        before = storm.resent
        await cluster.command("osd out", ids=["0"])
        await until(partial(storm.is_not_primary, 0), "it is primary no more")
        await storm.progress()
        await cluster.command("osd in", ids=["0"])
        await until(lambda: storm.at(0), "it serves again")
        await storm.progress()
        assert storm.resent > before
    storm.compare(librados, POOL)


async def _primary_moves(cluster: BadDays, storm: Storm, oid: str, pgid: str, up: list[int]) -> None:
    await until(lambda: storm.at(up[0]), "operations are in flight there")
    await cluster.command("osd pg-upmap", pgid=pgid, id=[up[1], up[2], up[0]])
    await until(lambda: storm.primaries()[oid] == up[1], "the other one is primary")
    await storm.progress(4)
    await cluster.command("osd rm-pg-upmap", pgid=pgid)
    await until(lambda: storm.primaries()[oid] == up[0], "the first one is primary again")
    await storm.progress(4)


async def test_primary_changed_by_upmap(cluster: BadDays, client: Rados, ioctx: IoCtx, librados: Librados) -> None:
    """Back and forth, each object's group."""
    async with Storm(client, ioctx, "upmap", objects=4) as storm:
        before = storm.resent
        moved = set()
        for oid in storm.oids:
            placed = await cluster.command("osd map", pool=POOL, object=oid)
            assert isinstance(placed, dict)
            pgid, up = placed["pgid"], placed["up"]
            if pgid in moved:
                continue
            moved.add(pgid)
            await _primary_moves(cluster, storm, oid, pgid, up)
        assert storm.resent > before
    storm.compare(librados, POOL)


async def test_primary_changed_by_affinity(cluster: BadDays, client: Rados, ioctx: IoCtx, librados: Librados) -> None:
    """Everybody has no affinity once."""
    async with Storm(client, ioctx, "affinity") as storm:
        before = storm.resent
        for osd in range(OSDS):
            await until(partial(storm.at, osd), "operations are in flight there")
            await cluster.command("osd primary-affinity", id=osd, weight=0.0)
            await until(partial(storm.is_not_primary, osd), "it is primary no more")
            await storm.progress(4)
            await cluster.command("osd primary-affinity", id=osd, weight=1.0)
            await until(partial(storm.is_primary, osd), "it is primary again")
        await storm.progress(4)
        assert storm.resent > before
    storm.compare(librados, POOL)


async def test_placement_groups_are_split(cluster: BadDays, client: Rados, librados: Librados) -> None:
    """And their parts get places of their own."""
    cluster.create_pool("split", pg_num=8)
    cluster.make_pool_safe("split")
    async with client.open_ioctx("split") as ioctx, Storm(client, ioctx, "split", objects=12) as storm:
        before = storm.resent
        for what in ("pg_num", "pgp_num"):
            await cluster.command("osd pool set", pool="split", var=what, val="32")
        await until(lambda: client.osdmap.pools[ioctx.pool_id].pgp_num == 32, "the pool is split")
        await storm.progress()
        assert storm.resent > before
    storm.compare(librados, "split")
    await client.pool_delete("split")
