"""Watch and notify on a real cluster, with librados as the other side; and what OSDs that come and go do to watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from cove.messenger import TcpConnection
from cove.rados import (
    Error,
    IoCtx,
    NotConnected,
    Notification,
    NotifyTimedOut,
    ObjectNotFound,
    Rados,
    RadosConf,
    WatcherId,
)

from .ceph_cluster import CephCluster
from .conftest import POOL
from .peer import Librados

QUICK = RadosConf(tick_interval_s=0.5)


async def true_soon(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


def ignore(notification: Notification) -> None:
    """A callback."""


class Told:
    """A callback that notes what it is told, and answers with it."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.notifiers: set[int] = set()

    async def __call__(self, notification: Notification) -> bytes:
        self.data.append(notification.data)
        self.notifiers.add(notification.notifier)
        return b"<" + notification.data + b">"


# one OSD


async def test_our_watch_and_our_notify(ioctx: IoCtx, oid: str) -> None:
    await ioctx.write_full(oid, b"x")
    assert (await ioctx.notify(oid, b"nobody")).answers == {}
    first, second = Told(), Told()
    async with await ioctx.watch(oid, first) as one, await ioctx.watch(oid, second, timeout_s=13) as two:
        watchers = await ioctx.list_watchers(oid)
        assert sorted((item.name.number, item.cookie, item.timeout) for item in watchers) == [
            (ioctx.cluster.global_id, one.cookie, 30),
            (ioctx.cluster.global_id, two.cookie, 13),
        ]
        result = await ioctx.notify(oid, b"news")
        who = ioctx.cluster.global_id
        assert result.answers == {WatcherId(who, one.cookie): b"<news>", WatcherId(who, two.cookie): b"<news>"}
        assert result.missed == []
        for number in range(20):
            await ioctx.notify(oid, b"%d" % number)
        assert first.data == second.data == [b"news", *(b"%d" % number for number in range(20))]
        assert first.notifiers == {who}
        assert one.check() < 10
    assert await ioctx.list_watchers(oid) == []
    assert (await ioctx.notify(oid, b"nobody")).answers == {}


async def test_an_empty_and_a_large_notify(ioctx: IoCtx, oid: str) -> None:
    await ioctx.write_full(oid, b"x")
    told = Told()
    async with await ioctx.watch(oid, told):
        large = bytes(range(256)) * 4096
        await ioctx.notify(oid)
        result = await ioctx.notify(oid, large)
    assert told.data == [b"", large]
    assert list(result.answers.values()) == [b"<" + large + b">"]


async def test_names_with_a_namespace_and_a_locator(client: Rados, oid: str) -> None:
    async with client.open_ioctx(POOL) as ioctx:
        ioctx.set_namespace("watched")
        ioctx.set_locator_key("key")
        await ioctx.write_full(oid, b"x")
        told = Told()
        async with await ioctx.watch(oid, told):
            await ioctx.notify(oid, b"news")
            ioctx.set_locator_key("")
            with pytest.raises(ObjectNotFound):
                await ioctx.notify(oid, b"elsewhere")
        assert told.data == [b"news"]


async def test_an_object_that_is_not_there(ioctx: IoCtx) -> None:
    for attempt in (ioctx.watch("absent", ignore), ioctx.notify("absent"), ioctx.list_watchers("absent")):
        with pytest.raises(ObjectNotFound):
            await attempt
    assert len(ioctx.objecter.lingers) == 0


async def test_our_watch_and_the_notify_of_librados(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write_full(oid, b"x")
    told = Told()
    async with await ioctx.watch(oid, told):
        for number in range(5):
            await asyncio.to_thread(librados.call, POOL, "notify", oid, f"number {number}", 10000)
    # librados sends a notify again when the PG is split or moved meanwhile, which other tests' pools may bring about
    assert list(dict.fromkeys(told.data)) == [b"number %d" % number for number in range(5)]
    assert told.notifiers != {ioctx.cluster.global_id}


async def test_the_watch_of_librados_and_our_notify(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write_full(oid, b"x")
    cookie = librados.ask("watch", [POOL, "", ""], oid)
    (watcher,) = await ioctx.list_watchers(oid)
    result = await ioctx.notify(oid, b"news")
    assert result.answers == {WatcherId(watcher.name.number, watcher.cookie): b""}
    assert librados.ask("watch_told", cookie, 1) == [["notify", ioctx.cluster.global_id, b"news"]]
    librados.ask("unwatch", cookie)
    assert await ioctx.list_watchers(oid) == []


async def test_both_watch_and_both_are_told(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write_full(oid, b"x")
    cookie = librados.ask("watch", [POOL, "", ""], oid)
    told = Told()
    async with await ioctx.watch(oid, told):
        result = await ioctx.notify(oid, b"one")
        assert sorted(result.answers.values()) == [b"", b"<one>"]
        await asyncio.to_thread(librados.call, POOL, "notify", oid, "two", 10000)
    assert told.data == [b"one", b"two"]
    assert [item[2] for item in librados.ask("watch_told", cookie, 2)] == [b"one", b"two"]
    librados.ask("unwatch", cookie)


async def test_a_watch_that_does_not_answer(ioctx: IoCtx, oid: str) -> None:
    await ioctx.write_full(oid, b"x")
    free = asyncio.Event()

    async def stuck(notification: Notification) -> bytes:
        await free.wait()
        return b"late"

    async with await ioctx.watch(oid, stuck) as silent, await ioctx.watch(oid, Told()) as quick:
        began = time.monotonic()
        with pytest.raises(NotifyTimedOut) as caught:
            await ioctx.notify(oid, b"news", timeout_s=1)
        assert 0.9 < time.monotonic() - began < 10
        who = ioctx.cluster.global_id
        assert caught.value.notify_result.answers == {WatcherId(who, quick.cookie): b"<news>"}
        assert caught.value.notify_result.missed == [WatcherId(who, silent.cookie)]
        free.set()


async def test_the_object_is_removed(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write_full(oid, b"x")
    errors: list[Error] = []
    watch = await ioctx.watch(oid, ignore, on_error=errors.append)
    librados.call(POOL, "remove_object", oid)
    await true_soon(lambda: errors)
    assert type(errors[0]) is NotConnected
    with pytest.raises(NotConnected):
        watch.check()
    with pytest.raises(ObjectNotFound):
        await watch.unwatch()
    await ioctx.write_full(oid, b"y")
    async with await ioctx.watch(oid, told := Told()):
        await ioctx.notify(oid, b"again")
    assert told.data == [b"again"]


async def test_pings_hold_a_watch_with_a_short_time_out(one_osd: CephCluster, oid: str) -> None:
    async with Rados(one_osd.conf_path) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full(oid, b"x")
        told = Told()
        async with await ioctx.watch(oid, told, timeout_s=2) as watch:
            await asyncio.sleep(5)
            assert watch.check() < 2
            await ioctx.notify(oid, b"still here")
        assert told.data == [b"still here"]


async def test_a_watch_that_is_not_renewed_is_lost(one_osd: CephCluster, oid: str) -> None:
    async with Rados(one_osd.conf_path) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full(oid, b"x")
        errors: list[Error] = []
        watch = await ioctx.watch(oid, ignore, on_error=errors.append, timeout_s=1)
        ioctx.objecter.lingers._stop_pings()
        await true_soon(lambda: errors)
        assert type(watch.error) is NotConnected
        assert await ioctx.list_watchers(oid) == []
        await watch.unwatch()


async def test_a_cancelled_watch_leaves_nothing_at_the_osd(ioctx: IoCtx, oid: str) -> None:
    await ioctx.write_full(oid, b"x")
    for turns in range(12):
        task = asyncio.create_task(ioctx.watch(oid, ignore))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():  # it was quicker
            await task.result().unwatch()
    await true_soon(lambda: not len(ioctx.objecter.lingers))
    assert await ioctx.list_watchers(oid) == []


async def test_a_cut_connection(one_osd: CephCluster, oid: str) -> None:
    async with Rados(one_osd.conf_path, conf=QUICK) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full(oid, b"x")
        told = Told()
        async with await ioctx.watch(oid, told) as watch:
            for number in range(10):
                cut(ioctx)
                await ioctx.notify(oid, b"%d" % number)
            assert list(dict.fromkeys(told.data)) == [b"%d" % number for number in range(10)]
            await true_soon(lambda: watch.check() < 1)
            assert len(await ioctx.list_watchers(oid)) == 1


def cut(ioctx: IoCtx) -> None:
    """Lose the connections to all OSDs, as by a broken network."""
    for session in ioctx.objecter.sessions.values():
        if isinstance(session.up, TcpConnection):
            stream = session.up._stream
            assert stream is not None
            assert stream._transport is not None
            stream._transport.abort()


async def test_a_blocklisted_watcher_hears_of_it(one_osd: CephCluster, librados: Librados, oid: str) -> None:
    async with Rados(one_osd.conf_path, conf=QUICK) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full(oid, b"x")
        errors: list[Error] = []
        await ioctx.watch(oid, ignore, on_error=errors.append)
        (watcher,) = await ioctx.list_watchers(oid)
        address = str(watcher.address).removeprefix("v2:").removeprefix("v1:").removeprefix("any:")
        librados.mon("osd blocklist", blocklistop="add", addr=address)
        try:
            await true_soon(lambda: errors)
        finally:
            librados.mon("osd blocklist", blocklistop="rm", addr=address)


# three OSDs


@pytest.fixture(scope="module")
def three_osds(ceph_is_installed: None) -> Iterator[CephCluster]:
    """Quick to notice that an OSD is gone."""
    options = {"osd_heartbeat_interval": "1", "osd_heartbeat_grace": "3", "mon_osd_min_down_reporters": "1"}
    with CephCluster(osds=3, store="bluestore", options=options) as cluster:
        yield cluster


class Watched:
    """Objects with a watch each, on all OSDs; and what became of the watches."""

    def __init__(self, ioctx: IoCtx, prefix: str) -> None:
        self.ioctx = ioctx
        self.oids = [f"{prefix}.{number}" for number in range(12)]
        self.told = {oid: Told() for oid in self.oids}
        self.errors: list[Error] = []

    async def begin(self) -> None:
        for oid in self.oids:
            await self.ioctx.write_full(oid, b"x")
            await self.ioctx.watch(oid, self.told[oid], on_error=self.errors.append)

    async def check(self, what: bytes) -> None:
        """A notify reaches each watch, and each answers."""
        results = await asyncio.gather(*(self.ioctx.notify(oid, what, timeout_s=20) for oid in self.oids))
        assert not self.errors
        assert [list(result.answers.values()) for result in results] == [[b"<" + what + b">"]] * len(self.oids)
        assert all(told.data[-1] == what for told in self.told.values())


@pytest.fixture
async def watched(three_osds: CephCluster, request: pytest.FixtureRequest) -> AsyncIterator[Watched]:
    async with Rados(three_osds.conf_path, conf=QUICK) as client, client.open_ioctx(POOL) as ioctx:
        found = Watched(ioctx, request.node.name)
        await found.begin()
        await found.check(b"before")
        yield found


async def test_an_osd_is_killed_and_comes_back(three_osds: CephCluster, watched: Watched) -> None:
    librados = three_osds.peer()
    victim = three_osds.osds[1]
    victim.kill()
    await asyncio.to_thread(librados.mon, "osd down", ids=["1"])
    await watched.check(b"without osd.1")
    victim.start()
    await asyncio.to_thread(three_osds.wait_up)
    await watched.check(b"with osd.1")
    for oid in watched.oids:
        assert len(await watched.ioctx.list_watchers(oid)) == 1


async def test_an_osd_is_killed_and_nobody_says_so(three_osds: CephCluster, watched: Watched) -> None:
    three_osds.osds[2].kill()
    await watched.check(b"without osd.2")
    three_osds.osds[2].start()
    await asyncio.to_thread(three_osds.wait_up)
    await watched.check(b"with osd.2")


async def test_all_osds_restart(three_osds: CephCluster, watched: Watched) -> None:
    for osd in three_osds.osds:
        osd.kill()
    for osd in three_osds.osds:
        osd.start()
    await asyncio.to_thread(three_osds.wait_up)
    await watched.check(b"after")


async def test_the_primary_changes(three_osds: CephCluster, watched: Watched) -> None:
    librados = three_osds.peer()
    for osd in range(3):
        await asyncio.to_thread(librados.mon, "osd primary-affinity", id=osd, weight=0.0)
        await watched.ioctx.cluster.wait_for_latest_map()
        await watched.check(b"not osd.%d" % osd)
        await asyncio.to_thread(librados.mon, "osd primary-affinity", id=osd, weight=1.0)
    await watched.check(b"after")


async def test_groups_are_split(three_osds: CephCluster, watched: Watched) -> None:
    librados = three_osds.peer()
    await asyncio.to_thread(librados.mon, "osd pool set", pool=POOL, var="pg_num", val="32")
    await watched.check(b"while")
    await asyncio.to_thread(three_osds.wait_clean)
    await watched.check(b"after")


async def test_pauses(three_osds: CephCluster, watched: Watched) -> None:
    librados = three_osds.peer()
    await asyncio.to_thread(librados.mon, "osd set", key="pause")
    await watched.ioctx.cluster.wait_for_latest_map()
    notify = asyncio.create_task(watched.ioctx.notify(watched.oids[0], b"paused"))
    await asyncio.sleep(2)
    assert not notify.done()
    await asyncio.to_thread(librados.mon, "osd unset", key="pause")
    await notify
    await watched.check(b"after")


async def test_the_pool_is_deleted(three_osds: CephCluster) -> None:
    async with Rados(three_osds.conf_path, conf=QUICK) as client:
        await client.pool_create("short-lived", pg_num=8)
        async with client.open_ioctx("short-lived") as ioctx:
            await ioctx.write_full("a", b"x")
            errors: list[Error] = []
            watch = await ioctx.watch("a", ignore, on_error=errors.append)
            await client.pool_delete("short-lived")
            await true_soon(lambda: errors)
            assert type(watch.error) is NotConnected
            with pytest.raises(ObjectNotFound):
                await watch.unwatch()
