"""The cluster is paused, a pool is full: what waits goes on by itself when that is over."""

from __future__ import annotations

import asyncio

import pytest

from cove.rados import IoCtx, Rados, TimedOut, WriteOp
from tests.linearizability import Kind

from ..conftest import POOL
from ..peer import Librados
from .conftest import BadDays
from .storm import Storm, until


async def test_the_cluster_is_paused(cluster: BadDays, client: Rados, ioctx: IoCtx, librados: Librados) -> None:
    """PAUSERD and PAUSEWR, several times. (Monitors set them together; `osd set pauserd` is no command of theirs.)"""
    async with Storm(client, ioctx, "paused") as storm:
        for _ in range(3):
            await cluster.command("osd set", key="pause")
            try:
                await until(lambda: storm.paused(sent=False) == storm.workers, "everything waits")
                live = client.objecter.live_ops()
                assert {op.is_write for op in live} == {True, False}
                await client.wait_for_latest_map()
                assert storm.paused(sent=False) == storm.workers
            finally:
                await cluster.command("osd unset", key="pause")
            await storm.progress()
    storm.compare(librados, POOL)


async def test_a_pool_is_full(cluster: BadDays, client: Rados, librados: Librados) -> None:
    """Over its quota: writes wait, reads go on."""
    cluster.create_pool("quota", pg_num=8)
    cluster.make_pool_safe("quota")
    async with client.open_ioctx("quota") as ioctx:
        await ioctx.write_full("before", b"x")
        async with Storm(client, ioctx, "full") as storm:
            await cluster.command("osd pool set-quota", pool="quota", field="max_objects", val="1")
            await until(storm.all_wait, "every task waits for a write")
            assert all(op.is_write for op in client.objecter.live_ops())
            assert await ioctx.read("before") == b"x"
            for oid in storm.oids:  # on which writes wait
                async with asyncio.timeout(5):
                    await storm.perform(oid, Kind.READ)
            with pytest.raises(TimedOut):
                await ioctx.operate("late", WriteOp().write_full(b"x"), timeout_s=0.3)
            assert storm.all_wait()
            await cluster.command("osd pool set-quota", pool="quota", field="max_objects", val="0")
            await storm.progress()
        storm.compare(librados, "quota")
    await client.pool_delete("quota")
