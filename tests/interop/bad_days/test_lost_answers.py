"""Writes whose answers are lost: OutcomeUnknown if they were sent, a plain error if they were not; never a second time.

A proxy holds the OSDs' answers back, so that it is sure that the write has happened and that nobody has told us.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cove.rados import AioCompletion, Blocklisted, Cancelled, OutcomeUnknown, Rados, ReadOp, TimedOut, WriteOp

from ..ceph_cluster import eventually
from ..conftest import POOL
from ..peer import Librados, LibradosError
from .conftest import BadDays
from .detour import Way, detour
from .storm import leftovers


def appended(librados: Librados, oid: str) -> bytes:
    """What is there."""
    try:
        return librados.read(POOL, oid)
    except LibradosError:
        return b""


async def until_appended(librados: Librados, oid: str, data: bytes) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(appended, librados, oid) != data:
            pass


def until_osds_know(cluster: BadDays, librados: Librados) -> None:
    """Wait until each OSD has the newest map."""
    epoch = librados.mon("osd stat")["epoch"]

    def known() -> bool:
        answers = [librados.command(osd, prefix="status", format="json") for osd in range(len(cluster.osds))]
        return all(code == 0 and int(json.loads(out)["newest_map"]) >= epoch for code, out, _ in answers)

    eventually(known, "all OSDs have the newest map", 20)


@pytest.fixture
async def way(cluster: BadDays) -> AsyncIterator[Way]:
    await cluster.until_healthy()
    async with detour(cluster) as way:
        yield way


@asynccontextmanager
async def unanswered(way: Way, librados: Librados, oid: str, timeout_s: float = 60) -> AsyncIterator[AioCompletion]:
    """An append of x, done and not answered. Answers come again afterwards, on new connections."""
    await way.ioctx.append(oid, b"-")  # the connection is there
    for proxy in way.proxies:
        proxy.to_client.stall()
    completion = way.ioctx.aio_operate(oid, WriteOp().append(b"x"), timeout_s=timeout_s)
    try:
        await until_appended(librados, oid, b"-x")
        assert not completion.is_complete()
        yield completion
    finally:
        way.cut()
        for proxy in way.proxies:
            proxy.to_client.go()


async def test_the_answer_is_lost_with_its_connection(way: Way, librados: Librados, oid: str) -> None:
    """Sent again, it is answered and not done again."""
    async with unanswered(way, librados, oid) as completion:
        before = way.client.objecter.stats.resent
    await completion
    assert way.client.objecter.stats.resent > before
    assert await way.ioctx.read(oid) == appended(librados, oid) == b"-x"
    assert not leftovers(way.client)


async def test_no_answer_in_time(way: Way, librados: Librados, oid: str) -> None:
    async with unanswered(way, librados, oid, timeout_s=1.5) as completion:
        with pytest.raises(OutcomeUnknown):
            await completion
        assert not leftovers(way.client)
        with pytest.raises(TimedOut):  # of a read that is always known
            await way.ioctx.operate(oid, ReadOp().read(), timeout_s=0.2)


async def test_cancelled_without_an_answer(way: Way, librados: Librados, oid: str) -> None:
    async with unanswered(way, librados, oid) as completion:
        assert completion.cancel()
        assert isinstance(completion.error(), OutcomeUnknown)
        assert not leftovers(way.client)


async def test_shut_down_without_an_answer(way: Way, librados: Librados, oid: str) -> None:
    async with unanswered(way, librados, oid) as completion:
        await way.client.shutdown()
        assert isinstance(completion.error(), OutcomeUnknown)


async def test_locked_out_without_an_answer(cluster: BadDays, way: Way, librados: Librados, oid: str) -> None:
    """Sent again, it is refused, which says nothing of the first time. What was not sent before is refused plainly."""
    async with unanswered(way, librados, oid) as completion:
        (us,) = way.client.monclient.messenger.my_addrs  # type: ignore[attr-defined]
        address = str(us).rpartition("v2:")[2]
        await cluster.command("osd blocklist", blocklistop="add", addr=address)
        await asyncio.to_thread(until_osds_know, cluster, librados)
    with pytest.raises(OutcomeUnknown):
        await completion
    with pytest.raises(Blocklisted):
        await way.ioctx.append(oid, b"y")
    assert appended(librados, oid) == b"-x"
    assert not leftovers(way.client)
    async with Rados(cluster.conf_path) as another, another.open_ioctx(POOL) as ioctx:
        await ioctx.append(oid, b"z")


async def test_never_sent(cluster: BadDays, client: Rados, librados: Librados, oid: str) -> None:
    """Paused until it is too late, cancelled, or shut down: it has not happened, and will not."""
    async with client.open_ioctx(POOL) as ioctx:
        await ioctx.append(oid, b"-")
        await cluster.command("osd set", key="pause")
        try:
            await client.wait_for_latest_map()
            late = ioctx.aio_operate(oid, WriteOp().append(b"1"), timeout_s=0.3)
            with pytest.raises(TimedOut):
                await late
            with pytest.raises(TimedOut):
                await ioctx.operate(oid, ReadOp().read(), timeout_s=0.3)
            cancelled = ioctx.aio_operate(oid, WriteOp().append(b"2"))
            assert cancelled.cancel()
            assert isinstance(cancelled.error(), Cancelled)
            assert not leftovers(client)
            open_still = ioctx.aio_operate(oid, WriteOp().append(b"3"))
            await client.shutdown()
            assert isinstance(open_still.error(), Cancelled)
        finally:
            await cluster.command("osd unset", key="pause")
    assert appended(librados, oid) == b"-"
