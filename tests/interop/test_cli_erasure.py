"""`cove rados` on erasure-coded pools, which take writes only in whole stripes; beside Ceph's own `rados`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .ceph_cluster import CephCluster
from .rados_cli import Cove

STRIPES = {"even": 4096, "odd": 12288, "large": 3 << 20}
"""Name of a profile → bytes of a stripe on each OSD; two of them hold data. 4 MiB are no multiple of the last two."""
DATA = os.urandom(9 << 20) + b"end"
POOLS = itertools.count()


@pytest.fixture(scope="module")
def cluster(ceph_is_installed: None) -> Iterator[CephCluster]:
    """Three OSDs."""
    with CephCluster(osds=3) as started:
        for name, unit in STRIPES.items():
            profile = ["k=2", "m=1", "crush-failure-domain=osd", f"stripe_unit={unit}"]
            started.peer().mon("osd erasure-code-profile set", name=name, profile=profile, force=True)
        yield started


@pytest.fixture
def cove(cluster: CephCluster) -> Cove:
    """The command on it."""
    return Cove(cluster)


def new_pool(cluster: CephCluster, profile: str) -> str:
    name = f"ec{next(POOLS)}"
    cluster.create_pool(name, 4, pool_type="erasure", erasure_code_profile=profile)
    return name


@pytest.mark.parametrize("profile", STRIPES)
def test_pieces_are_whole_stripes(cove: Cove, cluster: CephCluster, tmp_path: Path, profile: str) -> None:
    pool, target = new_pool(cluster, profile), new_pool(cluster, profile)
    cove("-p", pool, "put", "put", "-", stdin=DATA)
    cove("-p", pool, "append", "appended", "-", stdin=DATA)
    stripe = bytes(2 * STRIPES[profile])
    for _ in range(2):
        cove("-p", pool, "append", "stripes", "-", stdin=stripe)
    for name, data in (("put", DATA), ("appended", DATA), ("stripes", 2 * stripe)):
        assert cluster.rados("-p", pool, "get", name, "-") == data
    cove("-p", pool, "cp", "put", "copied")
    assert cove("-p", pool, "get", "copied", "-") == DATA
    cove("-p", pool, "export", tmp_path / "dump")
    cove("-p", target, "import", tmp_path / "dump")
    assert cove("-p", target, "export") == (tmp_path / "dump").read_bytes()
    assert cluster.rados("-p", target, "get", "appended", "-") == DATA


def test_what_they_do_not_take(cove: Cove, cluster: CephCluster) -> None:
    pool = new_pool(cluster, "even")
    cove("-p", pool, "put", "x", "-", stdin=b"odd")
    for words in (["append", "x", "-"], ["put", "x", "-", "--offset", "1"], ["setomapval", "x", "k", "v"]):
        text = cove.refused("-p", pool, *words, stdin=b"more", lines=2)
        assert f"pool '{pool}' is erasure-coded" in text
        assert "multiples of 8192 bytes" in text
    cove("-p", "rbd", "setomapval", "maps", "k", "v")
    dump = cove("-p", "rbd", "export")
    result = cove.run("-p", pool, "import", "-", stdin=dump)
    assert result.returncode == 1
    assert b"1 object without the omap" in result.stderr
    assert sorted(cove("-p", pool, "ls").decode().split()) == ["maps", "x"]
