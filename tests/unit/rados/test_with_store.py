"""The client against the embedded store: round trips of every kind of operation, and lost connections under load."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cove.messenger import LoopbackConnection, LoopbackNetwork
from cove.rados import (
    ALL_NAMESPACES,
    Cancelled,
    CompareMismatch,
    Error,
    IoCtx,
    LoopbackTransport,
    NoData,
    NotSupported,
    ObjectExists,
    ObjectNotFound,
    OutcomeUnknown,
    OutOfRange,
    Overflow,
    Rados,
    RadosConf,
    ReadOp,
    WriteOp,
)
from cove.store import Store
from cove.store.monitor import OSD_ADDRESS
from cove.wire.encoding import Encoder
from cove.wire.osd_ops import CmpOp, RequestFlag

from .fake import eventually


class Running:
    """A store with a client on it."""

    def __init__(self, network: LoopbackNetwork, cluster: Rados, ioctx: IoCtx) -> None:
        self.network = network
        self.cluster = cluster
        self.ioctx = ioctx

    def cut_osd(self) -> bool:
        """Lose the connection to the OSD; False if there is none at the moment."""
        for connection in list(self.network.listeners[OSD_ADDRESS].connections):
            assert isinstance(connection, LoopbackConnection)
            connection.cut()
            return True
        return False

    def assert_nothing_leaked(self) -> None:
        objecter = self.cluster.objecter
        assert (objecter.throttle.ops, objecter.throttle.bytes, objecter.throttle.waiting) == (0, 0, 0)
        assert not objecter.live_ops()
        assert len(objecter.wheel) == 0


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    network = LoopbackNetwork()
    store = Store(tmp_path / "store", map_size_bytes=1 << 28)
    await store.start(network)
    try:
        async with (
            Rados(LoopbackTransport(network), conf=RadosConf(inflight_ops_max=32)) as cluster,
            cluster.open_ioctx("rbd") as ioctx,
        ):
            yield Running(network, cluster, ioctx)
    finally:
        await store.stop()


@pytest.fixture
def ioctx(running: Running) -> IoCtx:
    return running.ioctx


async def test_data(ioctx: IoCtx) -> None:
    await ioctx.write_full("a", b"hello")
    await ioctx.append("a", b" world")
    await ioctx.write("a", memoryview(bytearray(b"J")), 0)
    assert await ioctx.read("a") == b"Jello world"
    assert await ioctx.read("a", 5, 6) == b"world"
    assert await ioctx.read("a", 100, 6) == b"world"
    assert await ioctx.read("a", 5, 100) == b""
    await ioctx.zero("a", 1, 3)
    await ioctx.truncate("a", 7)
    assert await ioctx.read("a") == b"J\0\0\0o w"
    stat = await ioctx.stat("a")
    assert stat.size == 7
    assert abs(stat.mtime - time.time()) < 60
    sparse = (await ioctx.operate("a", ReadOp().sparse_read(7))).value()
    assert b"".join(bytes(data) for _, data in sparse.chunks()).endswith(b"o w")
    await ioctx.remove("a")
    with pytest.raises(ObjectNotFound, match="'a'"):
        await ioctx.read("a")
    with pytest.raises(ObjectNotFound):
        await ioctx.remove("a")


async def test_large_objects(ioctx: IoCtx) -> None:
    data = random.Random(1).randbytes(4 << 20)
    await ioctx.write_full("large", data)
    assert await ioctx.read("large") == data
    assert await ioctx.read("large", 1000, (4 << 20) - 500) == data[-500:]


async def test_attributes(ioctx: IoCtx) -> None:
    await ioctx.setxattr("a", "colour", b"blue")
    await ioctx.setxattr("a", "näme", b"\0\xff")
    assert await ioctx.getxattr("a", "colour") == b"blue"
    assert await ioctx.getxattrs("a") == {"colour": b"blue", "näme": b"\0\xff"}
    await ioctx.rmxattr("a", "colour")
    with pytest.raises(NoData):
        await ioctx.getxattr("a", "colour")
    await ioctx.operate("a", WriteOp().cmpxattr("näme", b"\0\xff").setxattr("done", b"1"))
    with pytest.raises(Cancelled):
        await ioctx.operate("a", WriteOp().cmpxattr("näme", b"other").remove())
    assert "done" in await ioctx.getxattrs("a")


async def test_omap(ioctx: IoCtx) -> None:
    values = {f"key {number:04}": bytes([number % 256]) for number in range(2500)}
    await ioctx.omap_set("a", values)
    assert {key: value async for key, value in ioctx.omap_items("a")} == values
    assert [key async for key, _ in ioctx.omap_items("a", "key 24")] == [f"key {n:04}" for n in range(2400, 2500)]
    page = await ioctx.omap_get_keys("a", "key 2497", 1)
    assert page == (["key 2498"], True)
    assert await ioctx.omap_get_vals_by_keys("a", ["key 0001", "absent"]) == {"key 0001": b"\1"}
    await ioctx.omap_rm_keys("a", ["key 0001", "absent"])
    await ioctx.operate("a", WriteOp().omap_rm_range("key 0002", "key 2499"))
    assert [key async for key, _ in ioctx.omap_items("a")] == ["key 0000", "key 2499"]
    await ioctx.omap_set_header("a", b"header")
    assert await ioctx.omap_get_header("a") == b"header"
    await ioctx.operate("a", WriteOp().omap_cmp({"key 0000": (b"\0", CmpOp.EQ)}).create())
    with pytest.raises(Cancelled):
        await ioctx.operate("a", WriteOp().omap_cmp({"key 0000": (b"\1", CmpOp.EQ)}).remove())
    await ioctx.omap_clear("a")
    assert [key async for key, _ in ioctx.omap_items("a")] == []
    assert await ioctx.omap_get_header("a") == b""


async def test_a_compound_write_is_all_or_nothing(ioctx: IoCtx) -> None:
    op = WriteOp().create(exclusive=True).write(b"data").setxattr("x", b"1").omap_set({"k": b"v"})
    await ioctx.operate("a", op)
    with pytest.raises(ObjectExists):
        await ioctx.operate("a", WriteOp().append(b"more").setxattr("x", b"2").create(exclusive=True))
    result = await ioctx.operate("a", ReadOp().read().stat().getxattr("x").omap_get_vals().getxattr("absent").failok())
    assert result.data(0) == b"data"
    assert result.value(1).size == 4
    assert result.data(2) == b"1"
    assert result.value(3) == ({"k": b"v"}, False)
    assert result.rval(4) == -61
    with pytest.raises(NoData):
        result.value(4)


async def test_comparisons_and_versions(ioctx: IoCtx) -> None:
    result = await ioctx.operate("a", WriteOp().write_full(b"abcdef"))
    with pytest.raises(CompareMismatch) as caught:
        await ioctx.operate("a", WriteOp().cmpext(b"cdXf", 2).remove())
    assert caught.value.offset == 2
    await ioctx.operate("a", WriteOp().cmpext(b"cd", 2).assert_version(result.version).append(b"g"))
    with pytest.raises(OutOfRange):
        await ioctx.operate("a", WriteOp().assert_version(result.version).append(b"h"))
    with pytest.raises(Overflow):
        await ioctx.operate("a", WriteOp().assert_version(result.version + 1000).append(b"h"))
    await ioctx.operate("a", ReadOp().assert_exists().read())
    assert ioctx.get_last_version() > result.version
    with pytest.raises(ObjectNotFound):
        await ioctx.operate("b", WriteOp().assert_exists().append(b"x"))
    assert await ioctx.read("a") == b"abcdefg"


async def test_object_classes(ioctx: IoCtx) -> None:
    encoder = Encoder()
    encoder.str("10f2abc")
    await ioctx.operate("rbd_id.vm1", WriteOp().create(exclusive=True).exec("rbd", "set_id", encoder.bytes()))
    assert await ioctx.execute("rbd_id.vm1", "rbd", "get_id") == encoder.bytes()
    assert await ioctx.execute("rbd_id.vm1", "rbd", "get_id", write=False) == encoder.bytes()
    with pytest.raises(NotSupported):
        await ioctx.execute("rbd_id.vm1", "rbd", "no_such_method")
    with pytest.raises(ObjectExists):
        await ioctx.execute("rbd_id.vm1", "rbd", "set_id", encoder.bytes())


async def test_listing_namespaces_and_locator_keys(running: Running) -> None:
    ioctx = running.ioctx
    names = {f"object {number}" for number in range(300)}
    for name in names:
        ioctx.aio_operate(name, WriteOp().create())
    await ioctx.aio_flush(30)
    assert {entry.name async for entry in ioctx.list_objects()} == names
    other = ioctx.duplicate()
    other.set_namespace("ns")
    other.set_locator_key("key")
    await other.append("object 1", b"in ns")
    assert await other.read("object 1") == b"in ns"
    assert await ioctx.read("object 1") == b""
    assert [tuple(entry) async for entry in other.list_objects()] == [("object 1", "ns", "key")]
    assert len([entry async for entry in ioctx.list_objects(ALL_NAMESPACES)]) == 301
    other.set_locator_key("")
    with pytest.raises(ObjectNotFound):
        await other.stat("object 1")
    running.assert_nothing_leaked()


async def test_pools(running: Running) -> None:
    cluster = running.cluster
    assert cluster.pool_list() == ["rbd", "images"]
    await cluster.pool_create("third")
    async with cluster.open_ioctx("third") as ioctx:
        await ioctx.append("a", b"x")
        assert (await cluster.cluster_stat()).num_objects >= 1
        await cluster.pool_delete("third")
        with pytest.raises(ObjectNotFound):
            await ioctx.append("a", b"x")
    with pytest.raises(ObjectNotFound):
        await cluster.open_ioctx("third")
    running.assert_nothing_leaked()


async def test_a_pool_deleted_by_another_client_is_noticed(running: Running) -> None:
    await running.cluster.pool_create("third")
    async with Rados(LoopbackTransport(running.network)) as other, other.open_ioctx("third") as ioctx:
        await ioctx.append("a", b"x")
        await running.cluster.pool_delete("third")
        with pytest.raises(ObjectNotFound):
            await ioctx.operate("a", WriteOp().append(b"x"), timeout_s=5)


async def test_full_try_and_other_flags_are_harmless(ioctx: IoCtx) -> None:
    flags = RequestFlag.FULL_TRY | RequestFlag.RWORDERED
    await ioctx.operate("a", WriteOp().append(b"x").with_flags(flags))
    result = await ioctx.operate("a", WriteOp().setxattr("k", b"v").with_flags(RequestFlag.RETURNVEC))
    assert result.ops == [(0, b"")]


async def test_appends_end_in_submission_order(ioctx: IoCtx) -> None:
    order: list[int] = []
    for number in range(200):
        completion = ioctx.aio_operate("log", WriteOp().append(bytes([number])))
        completion.on_complete(lambda c: order.append(c.get_version()))
    await ioctx.aio_flush(30)
    assert await ioctx.read("log") == bytes(range(200))
    assert order == sorted(order)
    assert len(set(order)) == 200


@pytest.mark.parametrize("seed", range(3))
async def test_lost_connections_under_load_lose_and_repeat_nothing(running: Running, seed: int) -> None:
    """Resends carry the same tid, so that an append whose answer was lost is not applied twice."""
    dice = random.Random(seed)
    ioctx, objecter = running.ioctx, running.cluster.objecter
    expected: dict[str, bytes] = {f"log {number}": b"" for number in range(4)}
    failed: list[Error] = []
    cuts = 0
    for number in range(400):
        name = f"log {dice.randrange(4)}"
        data = number.to_bytes(2, "big")
        expected[name] += data

        ioctx.aio_operate(name, WriteOp().append(data), lambda c: failed.extend(filter(None, [c.error()])))
        if dice.random() < 0.2:
            await asyncio.sleep(0)
        if dice.random() < 0.02 and running.cut_osd():
            cuts += 1
            session = objecter.sessions[0]
            await eventually(lambda session=session: session.connection is not None)  # type: ignore[misc]
    await ioctx.aio_flush(60)
    assert not failed
    assert cuts
    assert objecter.stats.resent
    for name, content in expected.items():
        assert await ioctx.read(name) == content
    running.assert_nothing_leaked()


async def test_cancelled_writes_happen_once_or_not_at_all(running: Running) -> None:
    dice = random.Random(5)
    acknowledged: list[int] = []

    async def append(number: int) -> None:
        await running.ioctx.operate("log", WriteOp().append(number.to_bytes(2, "big")))
        acknowledged.append(number)

    tasks = [asyncio.ensure_future(append(number)) for number in range(200)]
    while not all(task.done() for task in tasks):
        dice.choice(tasks).cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    await running.ioctx.append("log", b"")
    raw = await running.ioctx.read("log")
    found = [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]
    assert found == sorted(set(found)), "in order, and none twice"
    assert set(acknowledged) <= set(found)
    running.assert_nothing_leaked()


async def test_a_restart_of_the_store_in_mid_flight(tmp_path: Path) -> None:
    network = LoopbackNetwork()
    store = Store(tmp_path / "store", map_size_bytes=1 << 28)
    await store.start(network)
    async with Rados(LoopbackTransport(network)) as cluster, cluster.open_ioctx("rbd") as ioctx:
        await ioctx.append("log", b"before ")
        await store.stop()
        completion = ioctx.aio_operate("log", WriteOp().append(b"after"))
        lost = ioctx.aio_operate("other", ReadOp().read(), timeout_s=0.01)
        with pytest.raises((Error, OutcomeUnknown)):
            await lost
        store = Store(tmp_path / "store", map_size_bytes=1 << 28)
        await store.start(network)
        await completion
        assert await ioctx.read("log") == b"before after"
        await cluster.wait_for_latest_map(5)
    await store.stop()
