"""What happens to operations in flight when OSDs, the monitor or the map change: they are done, once, and in order."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from cove.rados import (
    AioCompletion,
    Blocklisted,
    Error,
    IoCtx,
    OutcomeUnknown,
    Rados,
    RadosConf,
    ReadOp,
    TimedOut,
    WriteOp,
)

from .ceph_cluster import CephCluster, eventually
from .conftest import POOL
from .peer import Librados


@pytest.fixture(scope="module")
def three_osds(ceph_is_installed: None) -> Iterator[CephCluster]:
    """Quick to notice that an OSD is gone."""
    options = {
        "osd_heartbeat_interval": "1",
        "osd_heartbeat_grace": "3",
        "mon_osd_min_down_reporters": "1",
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
        deadline = time.monotonic() + 40
        while any(len(self.acknowledged[oid]) < count for oid, count in wanted.items()):
            assert not self.errors
            assert time.monotonic() < deadline, self._stuck()
            await asyncio.sleep(0.01)

    def _stuck(self) -> str:
        """What is in flight, and where."""
        objecter = self.ioctx.cluster.objecter
        lines = [f"epoch {objecter.epoch}"]
        for op in objecter.live_ops():
            session = op.session
            where = "nowhere" if session is None else f"osd.{session.osd} backoffs {list(session.backoffs)}"
            lines.append(f"{op} epoch {op.target_epoch} {op.target} in {where}")
        return "\n".join(lines)

    async def check(self, librados: Librados) -> None:
        """Everything acknowledged is there, once, in order."""
        assert not self.errors
        librados.ask("pools")  # with the newest map; with an old one it takes librados seconds to notice
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


@pytest.mark.parametrize("backoffs", ["false", "true"])
async def test_an_osd_is_killed_and_comes_back(
    three_osds: CephCluster, client: Rados, librados: Librados, backoffs: str
) -> None:
    """Its work goes to others, and back; nothing acknowledged is lost, nothing is done twice.

    With and without backoffs from groups that peer (Ceph's default is without).
    """
    librados.mon("config set", who="osd", name="osd_backoff_on_peering", value=backoffs)
    async with appending(client, librados, f"killed-{backoffs}") as appender:
        victim = three_osds.osds[1]
        victim.kill()
        librados.mon("osd down", ids=["1"])
        await appender.progress()
        victim.start()
        while librados.mon("osd stat")["num_up_osds"] < 3:
            await asyncio.sleep(0.05)
        await appender.progress()


async def test_all_osds_restart(
    three_osds: CephCluster, client: Rados, librados: Librados, no_auth: CephCluster
) -> None:
    """With BlueStore, as MemStore keeps only what was flushed at a clean end."""
    async with Rados(no_auth.conf_path) as cluster, appending(cluster, no_auth.peer(), "restarted") as appender:
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


async def test_many_in_flight_on_each_object_stay_in_order(
    three_osds: CephCluster, client: Rados, librados: Librados
) -> None:
    """Appends that do not wait for one another, while connections break, OSDs go and come, and groups are split."""
    submitted: dict[str, int] = {f"pipelined.{number}": 0 for number in range(12)}
    acknowledged: dict[str, list[int]] = {oid: [] for oid in submitted}
    errors: list[Error] = []
    running = True
    async with client.open_ioctx(POOL) as ioctx:

        def submit(oid: str) -> None:
            number = submitted[oid]
            submitted[oid] += 1

            def done(completion: AioCompletion) -> None:
                error = completion.error()
                if error is not None:
                    errors.append(error)
                    return
                acknowledged[oid].append(number)
                if running:
                    submit(oid)

            ioctx.aio_operate(oid, WriteOp().append(b"%08d" % number), done)

        for oid in submitted:
            for _ in range(8):
                submit(oid)
        for pg_num in (64, 128):
            for osd in range(3):
                three_osds.osds[osd].kill()
                librados.mon("osd down", ids=[str(osd)])
                await asyncio.sleep(0.2)
                three_osds.osds[osd].start()
                librados.mon("osd down", ids=[str((osd + 1) % 3)])  # it comes back by itself
                await asyncio.sleep(0.5)
                await asyncio.to_thread(three_osds.wait_up)
            librados.mon("osd pool set", pool=POOL, var="pg_num", val=str(pg_num))
        running = False
        await ioctx.aio_flush(60)
    assert not errors
    for oid, count in submitted.items():
        assert acknowledged[oid] == list(range(count))
        assert librados.read(POOL, oid) == b"".join(b"%08d" % number for number in range(count))


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
        await asyncio.to_thread(three_osds.wait_clean)  # or the primary may still change
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
            return (
                "full" in next(p for p in librados.mon("osd dump")["pools"] if p["pool_name"] == "small")["flags_names"]
            )

        await asyncio.to_thread(eventually, is_full, "the pool is full", 30)
        await client.wait_for_latest_map()
        waiting = ioctx.aio_operate("c", WriteOp().write_full(b"1"))
        with pytest.raises(Error):
            await ioctx.operate("d", WriteOp().write_full(b"1"), timeout_s=0.3)
        assert not waiting.is_complete()
        librados.mon("osd pool set-quota", pool="small", field="max_objects", val="0")
        await waiting
    await client.pool_delete("small")


async def test_tickets_are_renewed(ceph_is_installed: None) -> None:
    """Longer than any ticket lasts; then an OSD wants a new authorizer, and the monitor a new session."""
    with CephCluster(options={"auth_service_ticket_ttl": "3", "auth_mon_ticket_ttl": "5"}) as cluster:
        librados = cluster.peer()
        async with Rados(cluster.conf_path) as client, appending(client, librados, "tickets") as appender:
            await asyncio.sleep(6)
            librados.mon("osd down", ids=["0"])  # it comes back at once, and the connection to it is new
            await appender.progress()
            cluster.mon.kill()
            cluster.mon.start()
            assert (await client.mon_command({"prefix": "osd stat"})).result == 0
            await appender.progress()


async def write_until_refused(ioctx: IoCtx) -> None:
    """The OSD learns of the blocklist a moment later."""
    async with asyncio.timeout(20):
        while True:
            await ioctx.write_full("blocklist", b"2")


async def test_a_client_is_locked_out(three_osds: CephCluster, librados: Librados) -> None:
    """Blocklisted by its address, it is told so; a new client is not."""
    async with Rados(three_osds.conf_path) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full("blocklist", b"1")
        (us,) = client.monclient.messenger.my_addrs  # type: ignore[attr-defined]
        address = str(us).rpartition("v2:")[2]
        assert librados.command("mon", prefix="osd blocklist", blocklistop="add", addr=address)[0] == 0
        with pytest.raises(Blocklisted):
            await write_until_refused(ioctx)
    async with Rados(three_osds.conf_path) as client, client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full("blocklist", b"3")
