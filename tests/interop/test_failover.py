"""What happens to operations in flight when OSDs, the monitor or the map change: they are done, once, and in order."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from cove.rados import Error, IoCtx, OutcomeUnknown, Rados, RadosConf, ReadOp, TimedOut, WriteOp

from .ceph_cluster import CephCluster, eventually
from .conftest import POOL
from .peer import Librados


@pytest.fixture(scope="module")
def three_osds(ceph_is_installed: None) -> Iterator[CephCluster]:
    """Quick to notice that an OSD is gone, and with tickets that end after seconds."""
    options = {
        "osd_heartbeat_interval": "1",
        "osd_heartbeat_grace": "3",
        "mon_osd_min_down_reporters": "1",
        "auth_service_ticket_ttl": "4",
        "auth_mon_ticket_ttl": "8",
    }
    with CephCluster(osds=3, store="bluestore", options=options) as cluster:
        yield cluster


@pytest.fixture
async def client(three_osds: CephCluster) -> AsyncIterator[Rados]:
    async with Rados(three_osds.conf_path) as cluster:
        yield cluster


@pytest.fixture
def librados(three_osds: CephCluster) -> Librados:
    return three_osds.peer()


class Appender:
    """Appends numbers to a few objects, one at a time each, for as long as it runs."""

    def __init__(self, ioctx: IoCtx, prefix: str, objects: int = 12) -> None:
        self.ioctx = ioctx
        self.acknowledged: dict[str, list[int]] = {f"{prefix}.{number}": [] for number in range(objects)}
        self.errors: list[Error] = []
        self._running = True

    @property
    def count(self) -> int:
        return sum(len(numbers) for numbers in self.acknowledged.values())

    async def _one(self, oid: str) -> None:
        number = 0
        while self._running:
            try:
                await self.ioctx.append(oid, b"%08d" % number)
            except Error as error:
                self.errors.append(error)
                return
            self.acknowledged[oid].append(number)
            number += 1

    async def progress(self, more: int = 200) -> None:
        """Wait until so many more are acknowledged, on each object some."""
        wanted = {oid: len(numbers) + more // len(self.acknowledged) for oid, numbers in self.acknowledged.items()}
        async with asyncio.timeout(40):
            while any(len(self.acknowledged[oid]) < count for oid, count in wanted.items()):
                assert not self.errors
                await asyncio.sleep(0.01)

    async def check(self, librados: Librados) -> None:
        """Everything acknowledged is there, once, in order."""
        assert not self.errors
        for oid, numbers in self.acknowledged.items():
            assert librados.read(POOL, oid) == b"".join(b"%08d" % number for number in numbers)


@asynccontextmanager
async def appending(client: Rados, librados: Librados, prefix: str) -> AsyncIterator[Appender]:
    async with client.open_ioctx(POOL) as ioctx:
        appender = Appender(ioctx, prefix)
        async with asyncio.TaskGroup() as tasks:
            for oid in appender.acknowledged:
                tasks.create_task(appender._one(oid))
            try:
                await appender.progress()
                yield appender
                await appender.progress()
            finally:
                appender._running = False
        await appender.check(librados)


async def test_an_osd_is_killed_and_comes_back(three_osds: CephCluster, client: Rados, librados: Librados) -> None:
    """Its work goes to others, and back; nothing acknowledged is lost, nothing is done twice."""
    async with appending(client, librados, "killed") as appender:
        victim = three_osds.osds[1]
        victim.kill()
        librados.mon("osd down", ids=["1"])
        await appender.progress()
        victim.start()
        while librados.mon("osd stat")["num_up_osds"] < 3:
            await asyncio.sleep(0.05)
        await appender.progress()


async def test_all_osds_restart(three_osds: CephCluster, client: Rados, librados: Librados, no_auth: CephCluster) -> None:
    """With BlueStore, as MemStore keeps only what was flushed at a clean end."""
    async with Rados(no_auth.conf_path) as cluster:
        async with appending(cluster, no_auth.peer(), "restarted") as appender:
            no_auth.osds[0].kill()
            await asyncio.sleep(0)
            no_auth.osds[0].start()
            await appender.progress()


async def test_the_monitor_restarts(three_osds: CephCluster, client: Rados, librados: Librados) -> None:
    async with appending(client, librados, "monitor") as appender:
        three_osds.mon.kill()
        await appender.progress()  # operations need no monitor
        three_osds.mon.start()
        assert (await client.mon_command({"prefix": "osd stat", "format": "json"})).check().json()["num_osds"] == 3
    number = await client.pool_create("after-restart")
    assert number in client.osdmap.pools
    await client.pool_delete("after-restart")


async def test_the_manager_restarts(three_osds: CephCluster, client: Rados) -> None:
    command = {"prefix": "osd df", "format": "json"}
    (await client.mgr_command(command)).check()
    three_osds.mgr.kill()
    three_osds.mgr.start()
    assert len((await client.mgr_command(command)).check().json()["nodes"]) == 3


async def test_placement_groups_are_split(three_osds: CephCluster, client: Rados, librados: Librados) -> None:
    async with appending(client, librados, "split") as appender:
        librados.mon("osd pool set", pool=POOL, var="pg_num", val="32")
        librados.mon("osd pool set", pool=POOL, var="pgp_num", val="32")
        await appender.progress()
        librados.mon("osd reweight", id=2, weight=0.3)
        await appender.progress()
        librados.mon("osd reweight", id=2, weight=1.0)
        await appender.progress()


async def test_paused_operations_wait_for_the_map(client: Rados, librados: Librados) -> None:
    async with client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full("paused", b"before")
        librados.mon("osd set", key="pause")
        try:
            await client.wait_for_latest_map()
            write = ioctx.aio_operate("paused", WriteOp().write_full(b"after"))
            read = ioctx.aio_operate("paused", ReadOp().read())
            with pytest.raises(TimedOut):
                await ioctx.operate("paused", ReadOp().read(), timeout_s=0.3)
            assert not write.is_complete()
            assert not read.is_complete()
        finally:
            librados.mon("osd unset", key="pause")
        await write
        assert (await read).data(0) == b"after"


async def test_an_osd_that_says_nothing(three_osds: CephCluster, librados: Librados) -> None:
    """A read times out; of a write nobody knows; both work again once it goes on."""
    conf = RadosConf(osd_op_timeout_s=0.5)
    async with Rados(three_osds.conf_path, conf=conf) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full("silent", b"before")
        primary = three_osds.osds[librados.ask("osd_map", [[POOL, "silent", ""]])[0]["acting_primary"]]
        primary.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(TimedOut):
                await ioctx.read("silent")
            with pytest.raises(OutcomeUnknown):
                await ioctx.write_full("silent", b"after")
            assert time.monotonic() - began < 3
        finally:
            primary.signal(signal.SIGCONT)
        assert await ioctx.operate("silent", ReadOp().read(), timeout_s=20)


async def test_a_pool_without_space(three_osds: CephCluster, client: Rados, librados: Librados) -> None:
    """Over its quota, writes wait, as they would with librados; what removes goes through."""
    three_osds.create_pool("small", pg_num=1)
    librados.mon("osd pool set-quota", pool="small", field="max_objects", val="1")
    async with client.open_ioctx("small") as ioctx:
        await ioctx.write_full("a", b"1")
        await ioctx.write_full("b", b"1")

        def is_full() -> bool:
            return "full" in next(p for p in librados.mon("osd dump")["pools"] if p["pool_name"] == "small")["flags_names"]

        await asyncio.to_thread(eventually, is_full, "the pool is full", 30)
        await client.wait_for_latest_map()
        waiting = ioctx.aio_operate("c", WriteOp().write_full(b"1"))
        with pytest.raises(Error):
            await ioctx.operate("d", WriteOp().write_full(b"1"), timeout_s=0.3)
        assert not waiting.is_complete()
        librados.mon("osd pool set-quota", pool="small", field="max_objects", val="0")
        await waiting
    await client.pool_delete("small")


async def test_tickets_are_renewed(three_osds: CephCluster, client: Rados, librados: Librados) -> None:
    """Longer than any ticket lasts; then an OSD wants a new authorizer, and the monitor a new session."""
    async with appending(client, librados, "tickets") as appender:
        await asyncio.sleep(9)
        librados.mon("osd down", ids=["0"])  # it comes back at once, and all connections to it are new
        await appender.progress()
        three_osds.mon.kill()
        three_osds.mon.start()
        assert (await client.mon_command({"prefix": "osd stat"})).result == 0
        await appender.progress()


async def test_a_client_is_locked_out(three_osds: CephCluster, librados: Librados) -> None:
    """Blocklisted by its address, it is told so; a new client is not."""
    from cove.rados import Blocklisted

    async with Rados(three_osds.conf_path) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full("blocklist", b"1")
        (address,) = client.get_addrs()
        assert librados.command("mon", prefix="osd blocklist", blocklistop="add", addr=str(address))[0] == 0
        with pytest.raises(Blocklisted):
            async with asyncio.timeout(20):
                while True:
                    await ioctx.write_full("blocklist", b"2")
    async with Rados(three_osds.conf_path) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full("blocklist", b"3")
