"""Unusual names, namespaces, locator keys, and the listing of all of them."""

from __future__ import annotations

import pytest

from cove.rados import ALL_NAMESPACES, IoCtx, NameTooLong, Rados, WriteOp

from .ceph_cluster import CephCluster
from .conftest import POOL
from .peer import Librados

NAMES = [
    "plain",
    "with space",
    " leading and trailing ",
    "tab\tand\nnewline",
    "päth/with/слэш",
    "日本語 🜚",
    "percent%20%00",
    ".dot",
    "..",
    "_head",
    "__x",
    "back\\slash",
    "q'u\"o`t$e",
    "a" * 255,
    "é" * 1024,
    "x" * 2048,
]


@pytest.fixture
async def own_pool(one_osd: CephCluster, client: Rados, request: pytest.FixtureRequest) -> str:
    """A pool that only this test uses."""
    name = f"names-{request.node.name}"[:60].rstrip("-")
    one_osd.create_pool(name, pg_num=5)
    await client.wait_for_latest_map()
    return name


async def test_unusual_names(client: Rados, librados: Librados, own_pool: str) -> None:
    async with client.open_ioctx(own_pool) as ioctx:
        for number, name in enumerate(NAMES):
            await ioctx.write_full(name, b"ours %d" % number)
        for number, name in enumerate(NAMES):
            assert librados.read(own_pool, name) == b"ours %d" % number, name
            librados.call(own_pool, "write_full", name, b"theirs %d" % number)
            assert await ioctx.read(name) == b"theirs %d" % number, name
        assert sorted([entry.name async for entry in ioctx.list_objects()]) == sorted(NAMES)
        assert sorted(name for name, _, _ in librados.ask("listing", [own_pool, ""])) == sorted(NAMES)


async def test_names_that_are_no_text(one_osd: CephCluster, client: Rados, own_pool: str) -> None:
    """Any bytes but NUL can be a name; ours come as surrogates, as from os.fsdecode."""
    name = bytes(byte for byte in range(1, 256) if byte not in b"\n\r")
    async with client.open_ioctx(own_pool) as ioctx:
        await ioctx.write_full(name.decode("utf-8", "surrogateescape"), b"any bytes")
        assert one_osd.rados("-p", own_pool, "ls") == name + b"\n"
        assert one_osd.run_bytes("rados", "-c", one_osd.conf_path, "-p", own_pool, "get", name, "-") == b"any bytes"
        assert [entry.name async for entry in ioctx.list_objects()] == [name.decode("utf-8", "surrogateescape")]


@pytest.mark.parametrize("name", ["x" * 2049, "é" * 1025])
async def test_too_long(ioctx: IoCtx, name: str) -> None:
    with pytest.raises(NameTooLong):
        await ioctx.write_full(name, b"")
    with pytest.raises(NameTooLong):
        await ioctx.read(name)


async def test_namespaces_and_locators(client: Rados, librados: Librados, own_pool: str) -> None:
    wanted = []
    async with client.open_ioctx(own_pool) as ioctx:
        for nspace in ("", "one", "zwei ünï"):
            for locator in ("", "key", "a/b"):
                ioctx.set_namespace(nspace)
                ioctx.set_locator_key(locator)
                await ioctx.write_full("same", f"{nspace}:{locator}".encode())
                wanted.append(["same", nspace, locator])
        for _, nspace, locator in wanted:
            theirs = librados.call(own_pool, "read", "same", 100, 0, nspace=nspace, locator=locator)
            assert theirs == f"{nspace}:{locator}".encode()
            librados.call(own_pool, "write_full", "same2", b"2" + theirs, nspace=nspace, locator=locator)
            ioctx.set_namespace(nspace)
            ioctx.set_locator_key(locator)
            assert await ioctx.read("same2") == b"2" + theirs
        wanted += [["same2", nspace, locator] for _, nspace, locator in wanted]
        ioctx.set_locator_key("")
        ours = [[entry.name, entry.nspace, entry.locator_key] async for entry in ioctx.list_objects(ALL_NAMESPACES)]
        assert sorted(ours) == sorted(wanted) == sorted(librados.ask("listing", [own_pool, "*"]))
        for nspace in ("", "one", "zwei ünï", "none"):
            ioctx.set_namespace(nspace)
            ours = [[entry.name, entry.nspace, entry.locator_key] async for entry in ioctx.list_objects()]
            assert sorted(ours) == sorted(entry for entry in wanted if entry[1] == nspace)


async def test_listing_of_thousands(client: Rados, librados: Librados, own_pool: str) -> None:
    """Several pages of each placement group."""
    async with client.open_ioctx(own_pool) as ioctx:
        wanted = [f"object {number}" for number in range(6000)]
        for name in wanted:
            ioctx.aio_operate(name, WriteOp().create())
        await ioctx.aio_flush(60)
        ours = [entry.name async for entry in ioctx.list_objects()]
        assert len(ours) == len(set(ours))
        theirs = [name for name, _, _ in librados.ask("listing", [own_pool, ""])]
        assert sorted(ours) == sorted(theirs) == sorted(wanted)


async def test_listing_of_an_empty_pool(client: Rados, own_pool: str) -> None:
    async with client.open_ioctx(own_pool) as ioctx:
        assert [entry async for entry in ioctx.list_objects()] == []


async def test_pool_names(client: Rados, librados: Librados) -> None:
    name = "pool with spaces ünï"
    number = await client.pool_create(name)
    assert name in librados.ask("pools")
    async with client.open_ioctx(name) as ioctx:
        assert ioctx.pool_id == number
        await ioctx.write_full("x", b"1")
    assert librados.read(name, "x") == b"1"
    await client.pool_delete(name)
    assert name not in librados.ask("pools")
    assert POOL in librados.ask("pools")
