"""Listing pools: paging, cursors, slices, filters; compared with librados and `rados ls`; while groups are split."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cove.rados import (
    ALL_NAMESPACES,
    InvalidArgument,
    IoCtx,
    ObjectCursor,
    ObjectNotFound,
    Rados,
    WriteOp,
    plain_filter,
)
from cove.wire.listing import ListedObject

from .ceph_cluster import CephCluster
from .conftest import POOL
from .peer import Librados

COUNT = 3000


@pytest.fixture(scope="module")
def pool(one_osd: CephCluster) -> str:
    """A pool with `COUNT` objects in three namespaces, some with a locator key. No test changes it."""
    one_osd.create_pool("listing", pg_num=7)
    peer = one_osd.peer()
    for number in range(COUNT):
        nspace = ("", "one", "zwei: ünï#/%")[number % 3]
        locator = f"key {number % 4}" if number % 10 == 0 else ""
        peer.call("listing", "write_full", f"object:{number}#%/ü", b"", nspace=nspace, locator=locator)
    return "listing"


@pytest.fixture
async def ioctx(client: Rados, pool: str) -> AsyncIterator[IoCtx]:
    await client.wait_for_latest_map()
    async with client.open_ioctx(pool) as opened:
        yield opened


async def everything(ioctx: IoCtx) -> list[ListedObject]:
    return [entry async for entry in ioctx.list_objects(ALL_NAMESPACES)]


async def test_the_same_order_as_librados(ioctx: IoCtx, librados: Librados, one_osd: CephCluster) -> None:
    ours = [[entry.name, entry.nspace, entry.locator_key] for entry in await everything(ioctx)]
    assert ours == librados.ask("listing", ["listing", "*"])
    assert len(ours) == COUNT
    names = one_osd.rados("-p", "listing", "ls", "--namespace", "one").decode().splitlines()
    assert [entry.name.split("\t")[0] async for entry in ioctx.list_objects("one")] == [n.split("\t")[0] for n in names]


@pytest.mark.parametrize("page_entries", [1, 7, 1024, 100_000])
async def test_pages_of_any_size(ioctx: IoCtx, page_entries: int) -> None:
    wanted = [entry async for entry in ioctx.list_objects("one")]
    part = wanted if page_entries > 1 else wanted[:50]
    listing = ioctx.list_objects("one", page_entries=page_entries)
    assert await listing.page(len(part)) == part


async def test_a_cursor_survives_as_text(ioctx: IoCtx, one_osd: CephCluster) -> None:
    """At every place, also within a page, and in another client."""
    wanted = await everything(ioctx)
    listing = ioctx.list_objects(ALL_NAMESPACES, page_entries=100)
    texts = []
    for entry in wanted:
        texts.append(str(listing.cursor))
        assert await anext(listing) == entry
    assert listing.cursor.is_end or listing.cursor > ObjectCursor.parse(texts[-1])
    cursors = [ObjectCursor.parse(text) for text in texts]
    assert cursors == sorted(set(cursors))
    async with Rados(one_osd.conf_path) as another, another.open_ioctx("listing") as context:
        for at in (0, 1, 99, 100, 101, 1500, COUNT - 1):
            resumed = context.list_objects(ALL_NAMESPACES, start=ObjectCursor.parse(texts[at]))
            assert await resumed.page(250) == wanted[at : at + 250]
            resumed.seek(cursors[at])
            assert await anext(resumed) == wanted[at]


async def test_seek_by_hash(ioctx: IoCtx) -> None:
    listing = ioctx.list_objects(ALL_NAMESPACES)
    wanted = await listing.page(COUNT)
    listing.seek(0)
    assert await listing.page(COUNT) == wanted
    halfway = int("0001", 2)  # the order is that of the reversed bits: these are the odd hashes
    listing.seek(halfway)
    assert listing.cursor.hash == halfway
    rest = await listing.page(COUNT)
    assert wanted[-len(rest) :] == rest
    assert 0.4 * COUNT < len(rest) < 0.6 * COUNT
    for bad in (-1, 1 << 32):
        with pytest.raises(InvalidArgument):
            listing.seek(bad)


@pytest.mark.parametrize("parts", [1, 2, 3, 16, 1000])
async def test_slices(ioctx: IoCtx, parts: int) -> None:
    wanted = await everything(ioctx)
    found: list[ListedObject] = []
    for n in range(parts):
        begin, end = ioctx.object_list_slice(n, parts)
        found += [entry async for entry in ioctx.list_objects(ALL_NAMESPACES, start=begin, end=end)]
    assert found == wanted


async def test_slices_like_librados(ioctx: IoCtx, librados: Librados) -> None:
    theirs = librados.ask("c", "slices", ["listing", "one"], 5)
    for n in range(5):
        begin, end = ioctx.object_list_slice(n, 5)
        ours = [entry async for entry in ioctx.list_objects("one", start=begin, end=end)]
        assert [[entry.name, entry.nspace, entry.locator_key] for entry in ours] == theirs[n]
        assert len(ours) > COUNT / 3 / 5 / 2


async def test_slices_of_slices(ioctx: IoCtx) -> None:
    begin, end = ioctx.object_list_slice(1, 3)
    wanted = [entry async for entry in ioctx.list_objects(start=begin, end=end)]
    found: list[ListedObject] = []
    for n in range(4):
        first, last = ioctx.object_list_slice(n, 4, begin, end)
        found += [entry async for entry in ioctx.list_objects(start=first, end=last)]
    assert found == wanted
    for n, m in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(InvalidArgument):
            ioctx.object_list_slice(n, m)


async def test_an_end_within_a_page(ioctx: IoCtx) -> None:
    wanted = await everything(ioctx)
    listing = ioctx.list_objects(ALL_NAMESPACES)
    await listing.page(777)
    assert [entry async for entry in ioctx.list_objects(ALL_NAMESPACES, end=listing.cursor)] == wanted[:777]


async def test_cursors_of_other_pools(client: Rados, ioctx: IoCtx) -> None:
    listing = ioctx.list_objects()
    await anext(listing)
    async with client.open_ioctx(POOL) as other:
        with pytest.raises(InvalidArgument):
            other.list_objects(start=listing.cursor)


async def test_filters(ioctx: IoCtx, client: Rados, one_osd: CephCluster) -> None:
    one_osd.create_pool("filtered", pg_num=4)
    await client.wait_for_latest_map()
    async with client.open_ioctx("filtered") as pool:
        for number in range(40):
            pool.aio_operate(f"{number}", WriteOp().setxattr("kind", b"log" if number % 4 == 0 else b"data"))
        pool.aio_operate("without", WriteOp().create())
        await pool.aio_flush(20)
        found = [entry.name async for entry in pool.list_objects(filter=plain_filter("kind", b"log"))]
        assert sorted(found, key=int) == [str(number) for number in range(0, 40, 4)]
        assert [entry async for entry in pool.list_objects(filter=plain_filter("kind", b"lo"))] == []
        with pytest.raises(InvalidArgument):
            await anext(pool.list_objects(filter=b"\x04\0\0\0nope"))


async def test_deleted_objects_with_snapshots(client: Rados, one_osd: CephCluster) -> None:
    """They are listed, by librados as well."""
    one_osd.create_pool("listed-snaps", pg_num=1)
    await client.wait_for_latest_map()
    async with client.open_ioctx("listed-snaps") as pool:
        await pool.create("a")
        await pool.create_snap("s")
        await pool.remove("a")
        ours = [entry.name async for entry in pool.list_objects()]
        assert ours == [name for name, _, _ in one_osd.peer().ask("listing", ["listed-snaps", ""])]
        pool.snap_set_read(pool.lookup_snap("s").id)
        assert [entry.name async for entry in pool.list_objects()] == ours
        assert await pool.read("a") == b""


async def test_a_pool_that_goes(client: Rados, one_osd: CephCluster) -> None:
    one_osd.create_pool("going", pg_num=2)
    await client.wait_for_latest_map()
    async with client.open_ioctx("going") as pool:
        listing = pool.list_objects()
        await client.pool_delete("going")
        with pytest.raises(ObjectNotFound):
            await anext(listing)


@pytest.mark.parametrize(("before", "after"), [(4, 16), (16, 4)])
async def test_while_groups_are_split_or_merged(client: Rados, one_osd: CephCluster, before: int, after: int) -> None:
    """Objects that are there all the time are listed once, others at most once."""
    name = f"listed-{before}-{after}"
    one_osd.create_pool(name, pg_num=before)
    await client.wait_for_latest_map()
    peer = one_osd.peer()
    peer.mon("osd pool set", pool=name, var="pg_autoscale_mode", val="off")
    async with client.open_ioctx(name) as pool:
        stable = {f"stays {number}" for number in range(600)}
        for oid in stable:
            pool.aio_operate(oid, WriteOp().create())
        await pool.aio_flush(60)
        listing = pool.list_objects(page_entries=10)
        found = [entry.name for entry in await listing.page(100)]
        peer.mon("osd pool set", pool=name, var="pg_num", val=str(after))
        seen = {before}
        for place in (200, 350, 500):  # our client does not know yet that the number has changed
            async with asyncio.timeout(60):
                while (number := peer.mon("osd pool get", pool=name, var="pg_num")["pg_num"]) in seen:
                    if number == after:
                        break
                    await asyncio.sleep(0.1)
            seen.add(number)
            pool.aio_operate(f"comes {place}", WriteOp().create())
            found += [entry.name for entry in await listing.page(place - len(found))]
        found += [entry.name async for entry in listing]
        await pool.aio_flush(60)
        assert len(found) == len(set(found))
        assert stable <= set(found)
        assert len(seen) > 1
