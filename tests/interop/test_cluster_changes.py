"""Calls about the cluster that change it, or need it in trouble: each on a cluster of its own."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import signal
from pathlib import Path

import pytest

from cove.rados import (
    Blocklisted,
    Cancelled,
    InvalidArgument,
    LogLine,
    NotConnected,
    OutcomeUnknown,
    Rados,
    TimedOut,
    WriteOp,
)

from .ceph_cluster import CephCluster, Daemon, eventually
from .three_monitors import ThreeMonitors, ours


def stop(daemon: Daemon) -> None:
    """Have it do nothing until SIGCONT."""
    daemon.signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{daemon.pid}/task")
    eventually(
        lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()),
        "all threads stopped",
    )


async def test_a_blocklisted_client_knows_it(one_osd: CephCluster) -> None:
    async with Rados(one_osd.conf_path) as admin, Rados(one_osd.conf_path) as victim:
        async with victim.open_ioctx("rbd") as ioctx:
            await ioctx.write_full("blocklist", b"before")
            waiting = asyncio.ensure_future(victim.wait_until_blocklisted(20))
            await admin.blocklist_add(victim.addresses, 600)
            assert not admin.is_blocklisted
            assert victim.addresses in one_osd.peer().mon("osd dump")["blocklist"]
            await waiting
            assert victim.is_blocklisted
            with pytest.raises(Blocklisted):
                await ioctx.read("blocklist", 10)
            with pytest.raises((Blocklisted, OutcomeUnknown)):
                await ioctx.write_full("blocklist", b"after")
        with pytest.raises(InvalidArgument):
            await admin.blocklist_add("rubbish")
        async with Rados(one_osd.conf_path) as fresh, fresh.open_ioctx("rbd") as ioctx:
            assert await ioctx.read("blocklist", 10) == b"before"
        (await admin.mon_command({"prefix": "osd blocklist", "blocklistop": "rm", "addr": victim.addresses})).check()


async def test_commands_follow_their_osd(ceph_is_installed: None) -> None:
    with CephCluster(osds=2) as cluster:
        async with Rados(cluster.conf_path) as client:
            assert (await client.osd_command(1, {"prefix": "version"})).result == 0
            cluster.osds[1].kill()
            cluster.ceph("osd", "down", "1")
            eventually(lambda: not cluster.ceph("osd", "dump")["osds"][1]["up"], "osd.1 down")
            answer = await client.osd_command(1, {"prefix": "version"})
            assert (answer.result, answer.status) == (-errno.ENXIO, "osd.1 is down")
            # every placement group is served by the other one now
            for seed in range(8):
                pgid = f"1.{seed}"
                queried = await client.pg_command(pgid, {"prefix": "query", "pgid": pgid, "format": "json"})
                assert queried.check().json()["acting"] == [0]


async def test_a_silent_osd_and_a_monitor_without_quorum(ceph_is_installed: None) -> None:
    with CephCluster() as cluster:
        async with Rados(cluster.conf_path) as client:
            (await client.osd_command(0, {"prefix": "version"})).check()
            stop(cluster.osds[0])
            with pytest.raises(OutcomeUnknown):
                await client.osd_command(0, {"prefix": "version"}, timeout_s=0.3)
            cluster.osds[0].signal(signal.SIGCONT)
            (await client.osd_command(0, {"prefix": "version"})).check()
            stop(cluster.mon)
            with pytest.raises(TimedOut):
                await client.ping_monitor("a", timeout_s=0.3)
            with pytest.raises((TimedOut, OutcomeUnknown)):
                await client.mon_command({"prefix": "version"}, target="a", timeout_s=0.3)
            cluster.mon.signal(signal.SIGCONT)
            assert json.loads(await client.ping_monitor("a"))["mon_status"]


async def test_daemons_are_killed_with_commands_in_flight(ceph_is_installed: None) -> None:
    version = {"prefix": "version"}
    with CephCluster(osds=2) as cluster:
        async with Rados(cluster.conf_path) as client:
            (await client.osd_command(1, version)).check()
            stop(cluster.osds[1])
            asked = asyncio.ensure_future(client.osd_command(1, version, timeout_s=60))
            given_up = asyncio.ensure_future(client.osd_command(1, version))
            await open_commands(client, 2)
            given_up.cancel()
            cluster.osds[1].kill()
            cluster.osds[1].start()
            # done by the new one, or the map has said that the old one is down
            assert (await asked).result in (0, -errno.ENXIO)
            with pytest.raises(asyncio.CancelledError):
                await given_up
            await asyncio.to_thread(cluster.wait_up)
            await client.wait_for_latest_map()
            (await client.osd_command(1, version)).check()
            stop(cluster.mgr)
            stat = asyncio.ensure_future(client.mgr_command({"prefix": "pg stat"}, timeout_s=60))
            told = asyncio.ensure_future(client.mgr_command(version, target="x", timeout_s=60))
            await asyncio.sleep(0.1)
            cluster.mgr.kill()
            cluster.mgr.start()
            assert [(await command).result for command in (stat, told)] == [0, 0]


async def test_shutdown_ends_what_is_in_flight_everywhere(ceph_is_installed: None) -> None:
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    version = {"prefix": "version"}
    with CephCluster() as cluster:
        client = Rados(cluster.conf_path)
        await client.connect()
        (await client.mgr_command({"prefix": "pg stat"})).check()
        (await client.osd_command(0, version)).check()
        for daemon in (cluster.osds[0], cluster.mgr, cluster.mon):
            stop(daemon)
        waiting = [
            asyncio.ensure_future(call)
            for call in (
                client.osd_command(0, version),
                client.osd_command(7, version),  # asks for the newest map
                client.pg_command("1.0", version),
                client.mgr_command({"prefix": "pg stat"}),
                client.mgr_command(version, target="x"),
                client.mon_command({"prefix": "status"}),
                client.mon_command(version, target="a"),
                client.ping_monitor("a"),
                client.blocklist_add("10.0.0.1:0/5"),
                client.pool_stats(),
                client.wait_for_latest_map(),
            )
        ]
        await open_commands(client, 3)
        async with asyncio.timeout(2):
            await client.shutdown()
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [Cancelled] * len(waiting)
        for daemon in (cluster.osds[0], cluster.mgr, cluster.mon):
            daemon.signal(signal.SIGCONT)
    del results, waiting
    gc.collect()
    await asyncio.sleep(0)
    assert not unheard
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def open_commands(client: Rados, count: int) -> None:
    """Wait until so many commands to OSDs are under way."""
    async with asyncio.timeout(5):
        while len(client.objecter.commands) < count:
            await asyncio.sleep(0.01)


async def test_another_monitor_goes_on_with_all(ceph_is_installed: None) -> None:
    lines: list[LogLine] = []
    with ThreeMonitors() as cluster:
        client = Rados(cluster.conf_path)
        await client.service_daemon_register("gateway", "one", {})
        async with client:
            client.monitor_log("info", lines.append)
            name = ours(client, cluster)
            cluster.mons[name].signal(signal.SIGSTOP)
            hello = {"prefix": "log", "logtext": ["hello"]}
            waiting = [
                asyncio.ensure_future(call)
                for call in (client.mon_command(hello), client.pool_create("new"), client.cluster_stat())
            ]
            await asyncio.sleep(0.1)
            cluster.mons[name].kill()
            await asyncio.gather(*waiting)
            assert (await client.mon_command({"prefix": "version"}, target=name)).result == -errno.ENXIO
            with pytest.raises(NotConnected, match="nobody listens"):
                await client.ping_monitor(name)
            async with asyncio.timeout(30):
                while "hello" not in [line.text for line in lines]:
                    await asyncio.sleep(0.05)
            async with asyncio.timeout(30):
                shown: object = None
                while shown is None:
                    dump = (await client.mon_command({"prefix": "service dump", "format": "json"})).check().json()
                    shown = dump["services"].get("gateway", {}).get("daemons", {}).get("one")


async def test_the_configuration_database_of_the_cluster(ceph_is_installed: None) -> None:
    with CephCluster() as cluster:
        async with Rados(cluster.conf_path) as client:
            cluster.ceph("config", "set", "client", "rados_osd_op_timeout", "17")
            async with asyncio.timeout(20):
                while client.conf.osd_op_timeout_s != 17:
                    await asyncio.sleep(0.02)
            assert client.conf_get("rados_osd_op_timeout") == "17"
            client.conf_set("rados_osd_op_timeout", "18")
            assert client.objecter.conf.osd_op_timeout_s == 18


async def test_erasure_coded_pools_want_whole_stripes(ceph_is_installed: None) -> None:
    with CephCluster(osds=3, store="bluestore") as cluster:
        cluster.ceph("osd", "erasure-code-profile", "set", "two", "k=2", "m=1", "crush-failure-domain=osd")
        cluster.create_pool("ec", 8, pool_type="erasure", erasure_code_profile="two")
        async with Rados(cluster.conf_path) as client, client.open_ioctx("ec") as ioctx:
            assert ioctx.requires_alignment()
            stripe = cluster.peer().call("ec", "alignment")
            assert ioctx.alignment() == stripe > 0
            op = WriteOp()
            op.append(bytes(stripe))
            await ioctx.operate("whole", op)
            cluster.ceph("osd", "pool", "set", "ec", "allow_ec_overwrites", "true")
            await client.wait_for_latest_map()
            assert (ioctx.requires_alignment(), ioctx.alignment()) == (False, 0)
