"""Monitors die, say nothing, have no quorum, all restart; so does the manager. The client stays with a monitor that
lives, whichever that is, and loses nothing."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

import pytest

from cove.rados import IoCtx, Rados, RadosConf, TimedOut

from ..conftest import POOL
from ..peer import Librados
from ..three_monitors import NAMES, ours
from .conftest import BadDays
from .storm import Storm, until


async def osd_stat(client: Rados) -> int:
    """Number of OSDs, by a monitor."""
    answer = await client.mon_command({"prefix": "osd stat", "format": "json"}, timeout_s=40)
    return int(answer.check().json()["num_osds"])


async def test_the_monitor_of_the_session_is_killed(
    cluster: BadDays, client: Rados, ioctx: IoCtx, librados: Librados
) -> None:
    """Twice, under load. Another one takes over with what was asked meanwhile; a primary moves, of which the client
    has to learn from it."""
    async with Storm(client, ioctx, "monitor") as storm:
        for osd in range(2):
            name, identity = ours(client, cluster), client.global_id
            await until(lambda: storm.in_flight, "operations are in flight")
            asked = asyncio.ensure_future(
                client.mon_command({"prefix": "osd primary-affinity", "id": osd, "weight": 0.0}, timeout_s=40)
            )
            await asyncio.sleep(0)
            cluster.mons[name].kill()
            try:
                await storm.progress(4)  # operations need no monitor
                (await asked).check()
                await until(partial(storm.is_not_primary, osd), "the client has the map")
                await storm.progress(4)
                assert ours(client, cluster) != name
                assert client.global_id == identity, "a new identity would make repeated writes happen twice"
                (await client.mon_command({"prefix": "osd primary-affinity", "id": osd, "weight": 1.0})).check()
                number = await client.pool_create("while-away")
                assert number in client.osdmap.pools
                await client.pool_delete("while-away")
            finally:
                cluster.mons[name].start()
            await asyncio.to_thread(cluster.wait_quorum)
        await storm.progress()
    storm.compare(librados, POOL)


async def test_the_monitor_of_the_session_says_nothing(cluster: BadDays, client: Rados) -> None:
    """Stopped, it keeps its connections; keep-alives tell."""
    name = ours(client, cluster)
    cluster.mons[name].signal(signal.SIGSTOP)
    try:
        assert await osd_stat(client)
        assert ours(client, cluster) != name
    finally:
        cluster.mons[name].signal(signal.SIGCONT)
    await asyncio.to_thread(cluster.wait_quorum)


async def connect_until_refused(cluster: BadDays) -> None:
    """The monitor that is left takes a while to notice that it is alone."""
    async with asyncio.timeout(30):
        while True:
            async with Rados(cluster.conf_path, conf=RadosConf(connect_timeout_s=2)):
                await asyncio.sleep(0.2)


async def test_operations_go_on_while_there_is_no_quorum(
    cluster: BadDays, client: Rados, ioctx: IoCtx, librados: Librados
) -> None:
    """What needs the monitors fails in time, and new clients are told. Then the last one dies as well, while it is
    asked; all is well once they are back."""
    async with Storm(client, ioctx, "quorum") as storm:
        for name in "bc":
            cluster.mons[name].kill()
        await storm.progress()
        with pytest.raises(TimedOut) as told:
            await connect_until_refused(cluster)
        for name in NAMES:
            assert cluster.address_of(name) in str(told.value)
        cluster.mons["a"].kill()
        created = asyncio.ensure_future(client.pool_create("after-all"))
        await storm.progress()
        assert not created.done()
        for name in NAMES:
            cluster.mons[name].start()
        assert await created in client.osdmap.pools
        await asyncio.to_thread(cluster.wait_quorum)
        await storm.progress()
    storm.compare(librados, POOL)
    await client.pool_delete("after-all")


async def test_the_manager_restarts(cluster: BadDays, client: Rados) -> None:
    command = {"prefix": "osd df", "format": "json"}
    (await client.mgr_command(command)).check()
    cluster.mgr.kill()
    cluster.mgr.start()
    assert len((await client.mgr_command(command)).check().json()["nodes"]) == 3
