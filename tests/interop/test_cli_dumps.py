"""Pools exported and imported by `cove rados` and by Ceph's own `rados`, in all four combinations."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cove.rados import Rados
from cove.rados.dump import ObjectBegin, Section, objects_of, read_object

from .ceph_cluster import CephCluster
from .peer import Librados
from .rados_cli import Cove

MIB = 1 << 20
BIG = os.urandom(9 * MIB + 5)
POOLS = itertools.count()


def new_pool(cluster: CephCluster, **options: object) -> str:
    name = f"dumps{next(POOLS)}"
    cluster.create_pool(name, 4, **options)
    return name


def fill_map(cluster: CephCluster, pool: str) -> None:
    """More keys than there are in a section, and in a page."""

    async def work() -> None:
        async with Rados(cluster.conf_path) as rados, rados.open_ioctx(pool) as ioctx:
            await ioctx.omap_set("maps", {f"key {number:05}": b"value %d" % number for number in range(1500)})

    asyncio.run(work())


@pytest.fixture(scope="module")
def filled(one_osd: CephCluster) -> str:
    """A pool with objects of every kind."""
    pool, librados = new_pool(one_osd), one_osd.peer()
    librados.call(pool, "write_full", "four", BIG[: 4 * MIB])
    one_osd.rados("-p", pool, "put", "big", "-", stdin=BIG)
    librados.call(pool, "set_xattr", "big", "binary", b"\0\xff")
    librados.call(pool, "set_xattr", "big", "_score", b"")
    librados.call(pool, "write_full", "empty", b"")
    librados.call(pool, "write_full", "ünï code", b"x", nspace="näme")
    librados.call(pool, "write_full", "located", b"y", nspace="n", locator="where")
    librados.call(pool, "set_xattr", "located", "a", b"1", nspace="n", locator="where")
    fill_map(one_osd, pool)
    one_osd.rados("-p", pool, "setomapheader", "maps", "header")
    for number in range(20):
        librados.call(pool, "write_full", f"small {number}", b"%d" % number)
    return pool


def contents_of(cluster: CephCluster, pool: str) -> dict[ObjectBegin, list[Section]]:
    """All that a pool holds, by object."""

    async def work() -> dict[ObjectBegin, list[Section]]:
        found = {}
        async with Rados(cluster.conf_path) as rados, rados.open_ioctx(pool) as ioctx:
            async for begin in objects_of(ioctx, None):
                found[begin] = list(contents := await read_object(ioctx, begin))
                contents.close()
        return found

    return asyncio.run(work())


def test_both_write_the_same_bytes(cove: Cove, one_osd: CephCluster, filled: str, tmp_path: Path) -> None:
    one_osd.rados("-p", filled, "export", tmp_path / "theirs")
    assert "26 objects" in cove("-p", filled, "export", tmp_path / "ours").decode()
    theirs = (tmp_path / "theirs").read_bytes()
    assert len(theirs) > 13 * MIB
    assert (tmp_path / "ours").read_bytes() == theirs
    assert cove("-p", filled, "export") == theirs


@pytest.mark.parametrize("exporter", ["ours", "theirs"])
@pytest.mark.parametrize("importer", ["ours", "theirs"])
def test_all_combinations(
    cove: Cove, one_osd: CephCluster, filled: str, tmp_path: Path, exporter: str, importer: str
) -> None:
    dump, target = tmp_path / "dump", new_pool(one_osd)
    run: dict[str, Callable[..., bytes]] = {"ours": cove, "theirs": one_osd.rados}
    run[exporter]("-p", filled, "export", dump)
    run[importer]("-p", target, "import", dump)
    found = contents_of(one_osd, target)
    assert len(found) == 26
    assert found == contents_of(one_osd, filled)


def test_import_again(cove: Cove, librados: Librados, one_osd: CephCluster, filled: str, tmp_path: Path) -> None:
    dump, target = tmp_path / "dump", new_pool(one_osd)
    cove("-p", filled, "export", dump)
    librados.call(target, "write_full", "big", b"old")
    librados.call(target, "set_xattr", "big", "old", b"old")
    assert b"overwrite\t\tbig\n" in cove("-p", target, "import", "--dry-run", dump)
    assert cove("-p", target, "ls") == b"big\n"
    counts = cove.json("-p", target, "import", "--no-overwrite", dump)
    assert (counts["kept"], counts["written"]) == (1, 25)
    assert librados.read(target, "big") == b"old"
    cove("-p", target, "import", "-", stdin=dump.read_bytes())
    assert contents_of(one_osd, target) == contents_of(one_osd, filled)


def test_damage(cove: Cove, librados: Librados, one_osd: CephCluster, filled: str, tmp_path: Path) -> None:
    target = new_pool(one_osd)
    librados.call(target, "write_full", "big", b"old")
    dump = cove("-p", filled, "export")
    at = dump.index(BIG[-5:])
    (tmp_path / "cut").write_bytes(dump[:at])
    text = cove.refused("-p", target, "import", tmp_path / "cut")
    assert "byte " in text
    assert "nothing was changed" in text
    assert cove("-p", target, "ls") == b"big\n"
    result = cove.run("-p", target, "import", "-", stdin=dump[:at])
    assert result.returncode == 1
    assert f"byte {at}: it ends here" in result.stderr.decode()
    assert librados.read(target, "big") == b"old"


def test_of_one_namespace(cove: Cove, one_osd: CephCluster, filled: str) -> None:
    target = new_pool(one_osd)
    cove("-p", target, "import", "-", stdin=cove("-p", filled, "-N", "n", "export"))
    assert cove("-p", target, "ls", "--all") == b"n\tlocated\twhere\n"


def test_cppool_cp_and_purge(cove: Cove, librados: Librados, one_osd: CephCluster, filled: str) -> None:
    target = new_pool(one_osd)
    assert "26 objects" in cove("cppool", filled, target).decode()
    assert contents_of(one_osd, target) == contents_of(one_osd, filled)
    cove("-p", target, "cp", "big", "copy")
    assert librados.read(target, "copy") == BIG
    assert librados.call(target, "get_xattr", "copy", "binary") == b"\0\xff"
    assert "27 objects" in cove("purge", target, "--yes-i-really-really-mean-it").decode()
    assert one_osd.rados("-p", target, "ls", "--all") == b""
