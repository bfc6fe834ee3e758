# mypy: allow-untyped-calls
"""Maps as monitors send them: ours, made of increments, is the monitor's; monitor and manager maps are understood."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cove.rados import Rados
from cove.wire.monmap import decode_monmap, encode_monmap
from cove.wire.osdmap import OSDMap
from cove.wire.osdmap_codec import decode_osdmap

from .ceph_cluster import CephCluster, eventually

CHANGES = (
    ("osd", "set", "noout"),
    ("osd", "pool", "create", "p", "4"),
    ("osd", "pool", "set", "p", "compression_mode", "passive"),
    ("osd", "pool", "mksnap", "p", "before"),
    ("osd", "pool", "set-quota", "p", "max_objects", "100"),
    ("osd", "pool", "application", "enable", "p", "rbd"),
    ("osd", "reweight", "1", "0.5"),
    ("osd", "primary-affinity", "0", "0.25"),
    ("osd", "blocklist", "add", "10.0.0.1:0/17"),
    ("osd", "set-require-min-compat-client", "luminous"),
    ("osd", "pg-upmap-items", "1.0", "0", "1"),
    ("osd", "down", "0"),
    ("osd", "crush", "reweight", "osd.0", "0.75"),
    ("osd", "erasure-code-profile", "set", "q", "k=2", "m=1"),
    ("osd", "pool", "rmsnap", "p", "before"),
    ("osd", "pool", "delete", "p", "p", "--yes-i-really-really-mean-it"),
    ("osd", "setmaxosd", "5"),
    ("osd", "unset", "noout"),
)


@pytest.fixture(scope="module")
def two_osds(ceph_is_installed: None) -> Iterator[CephCluster]:
    with CephCluster(osds=2) as cluster:
        yield cluster


def map_of_the_monitor(cluster: CephCluster, epoch: int) -> OSDMap:
    path = cluster.directory / "osdmap"
    cluster.run("ceph", "-c", cluster.conf_path, "osd", "getmap", str(epoch), "-o", path)
    return decode_osdmap(path.read_bytes())


async def test_increments_lead_to_the_map_of_the_monitor(two_osds: CephCluster) -> None:
    async with Rados(two_osds.conf_path) as client:
        for command in CHANGES:
            before = client.osdmap
            two_osds.ceph(*command)
            await client.wait_for_latest_map()
            ours = client.osdmap
            assert ours.epoch > before.epoch
            assert ours == map_of_the_monitor(two_osds, ours.epoch), command
            if "crush" not in command:
                assert ours.crush is before.crush, "a full map would have brought a CRUSH map of its own"
        assert client.osdmap.osd_only.blocklist
        assert client.osdmap.max_osd == 5


async def test_a_client_that_comes_late_has_the_same_map(two_osds: CephCluster) -> None:
    async with Rados(two_osds.conf_path) as client:
        await client.wait_for_latest_map()
        assert client.osdmap == map_of_the_monitor(two_osds, client.osdmap.epoch)


async def test_the_monitors_map(two_osds: CephCluster) -> None:
    path = two_osds.directory / "monmap"
    two_osds.run("ceph", "-c", two_osds.conf_path, "mon", "getmap", "-o", path)
    data = path.read_bytes()
    monmap = decode_monmap(data)
    assert encode_monmap(monmap) == data
    dump = two_osds.ceph("mon", "dump")
    assert (str(monmap.fsid), monmap.epoch) == (dump["fsid"], dump["epoch"])
    assert [name for name, _, _ in monmap.addresses()] == [mon["name"] for mon in dump["mons"]]
    assert monmap.min_mon_release == dump["min_mon_release"] >= 16


async def test_the_managers_map(two_osds: CephCluster) -> None:
    def available() -> bool:
        return bool(two_osds.ceph("mgr", "dump")["available"])

    eventually(available, "a manager that is available")
    async with Rados(two_osds.conf_path) as client:
        answer = await client.mgr_command({"prefix": "osd df", "format": "json"})
        assert client._mgrclient is not None
        mgrmap = client._mgrclient.mgrmap
        assert answer
        assert mgrmap is not None
    dump = two_osds.ceph("mgr", "dump")
    assert (mgrmap.active_name, mgrmap.active_gid) == (dump["active_name"], dump["active_gid"])
    assert [str(addr) for addr in mgrmap.active_addrs] == [
        f"{addr['type']}:{addr['addr']}/{addr['nonce']}" for addr in dump["active_addrs"]["addrvec"]
    ]
