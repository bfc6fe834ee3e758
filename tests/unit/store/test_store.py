# mypy: allow-untyped-calls
"""The store as a whole: opening, the monitor, pools, locks that expire."""

from __future__ import annotations

import asyncio
import copy
import errno
import struct
import subprocess
import sys
import threading
import time

import lmdb
import pytest

from cove.messenger import LoopbackNetwork
from cove.store import Store, StoreError
from cove.store import context as store_context
from cove.store.engine import Engine
from cove.wire import cls_lock
from cove.wire.cls_lock import LockFlag, LockType
from cove.wire.messages import (
    MMonGetVersion,
    MMonSubscribe,
    MPoolOp,
    MStatfs,
    PoolOpCode,
    SubscribeFlag,
    Subscription,
)
from cove.wire.osdmap_codec import decode_osdmap
from tests.unit.store.harness import TIMEOUT_S, Client, create, omap_set, read, running_store, setxattr, stat, writefull


async def test_first_start_makes_an_fsid_and_two_pools(tmp_path):
    async with running_store(tmp_path / "s") as (store, _):
        fsid = store.fsid
        assert store.osdmap.pool_names == {1: "rbd", 2: "images"}
        assert store.osdmap.pools[1].pg_num == 32
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "s" / "data.mdb").stat().st_mode & 0o777 == 0o600
    async with running_store(tmp_path / "s") as (store, _):
        assert store.fsid == fsid
        assert store.osdmap.epoch == 1
    with pytest.raises(StoreError, match="not started"):
        _ = store.osdmap


async def test_only_one_process_has_it_open(tmp_path):
    async with running_store(tmp_path / "s"):
        code = (
            "import asyncio, pathlib, sys\n"
            "from cove.messenger import LoopbackNetwork\n"
            "from cove.store import Store, StoreError\n"
            "try: asyncio.run(Store(pathlib.Path(sys.argv[1])).start(LoopbackNetwork()))\n"
            "except StoreError as error: print(error); sys.exit(7)\n"
        )
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", code, str(tmp_path / "s")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == 7, run.stderr
        assert "open in another process (pid" in run.stdout
        with pytest.raises(StoreError, match="open in another process"):
            await Store(tmp_path / "s").start(LoopbackNetwork())
    async with running_store(tmp_path / "s"):
        pass


@pytest.mark.parametrize(("magic", "message"), [(b"cove-store", "has format 99"), (b"other-data", "no store")])
async def test_another_format_is_refused(tmp_path, magic, message):
    async with running_store(tmp_path / "s"):
        pass
    with lmdb.open(str(tmp_path / "s"), max_dbs=8) as env:
        table = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            record = bytearray(txn.get(b"superblock", db=table) or b"")
            record[:12] = magic + struct.pack("<H", 99)
            txn.put(b"superblock", bytes(record), db=table)
    with pytest.raises(StoreError, match=message):
        await Store(tmp_path / "s").start(LoopbackNetwork())


async def test_the_map_by_subscription(tmp_path):
    async with running_store(tmp_path / "s") as (store, client):
        client.mon.send_message(MMonSubscribe(what={"osdmap": Subscription(0), "config": Subscription(0)}))
        first = await asyncio.wait_for(client.unasked.get(), TIMEOUT_S)
        assert (first.newest, list(first.fulls)) == (1, [1])
        once = Client(store._messengers[0].network)
        once.mon.send_message(MMonSubscribe(what={"osdmap": Subscription(2, SubscribeFlag.ONETIME)}))
        reply = await client.ask_mon(MPoolOp(fsid=store.fsid, pool=0, op=PoolOpCode.CREATE, name="p1"))
        assert (reply.reply_code, reply.epoch) == (0, 2)
        second = await asyncio.wait_for(client.unasked.get(), TIMEOUT_S)
        assert decode_osdmap(second.fulls[2]).pool_id("p1") == 3
        await client.ask_mon(MPoolOp(fsid=store.fsid, pool=0, op=PoolOpCode.CREATE, name="p2"))
        assert (await asyncio.wait_for(client.unasked.get(), TIMEOUT_S)).newest == 3
        assert (await asyncio.wait_for(once.unasked.get(), TIMEOUT_S)).newest == 2
        answer = await client.ask_mon(MMonGetVersion(handle=5, what="osdmap"))
        assert (answer.handle, answer.version) == (5, 3)
        await asyncio.sleep(0)
        assert once.unasked.empty()
        await once.messenger.shutdown()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"op": PoolOpCode.CREATE, "name": "rbd"}, 0),
        ({"op": PoolOpCode.CREATE, "name": ""}, -errno.EINVAL),
        ({"op": PoolOpCode.CREATE, "name": "a\nb"}, -errno.EINVAL),
        ({"op": PoolOpCode.DELETE, "pool": 77, "name": "delete"}, 0),
        ({"op": PoolOpCode.CREATE_SNAP, "pool": 77, "name": "s"}, -errno.ENOENT),
        ({"op": PoolOpCode.CREATE_UNMANAGED_SNAP, "pool": 1}, -errno.EOPNOTSUPP),
    ],
)
async def test_pool_operations_that_change_nothing(tmp_path, fields, code):
    async with running_store(tmp_path / "s") as (store, client):
        reply = await client.ask_mon(MPoolOp(**{"fsid": store.fsid, "pool": 0, **fields}))
        assert (reply.reply_code, reply.epoch) == (code, 1)
        wrong = type(store.fsid)(int=1)
        reply = await client.ask_mon(MPoolOp(fsid=wrong, pool=0, op=PoolOpCode.CREATE, name="new"))
        assert reply.reply_code == -errno.EINVAL


async def test_many_pools_at_once_get_numbers_of_their_own(tmp_path):
    async with running_store(tmp_path / "s") as (store, client):
        names = [f"p{n}" for n in range(10)]
        asked = [client.ask_mon(MPoolOp(fsid=store.fsid, pool=0, op=PoolOpCode.CREATE, name=name)) for name in names]
        assert {reply.reply_code for reply in await asyncio.gather(*asked)} == {0}
        assert list(store.osdmap.pool_names.values()) == ["rbd", "images", *names]
    async with running_store(tmp_path / "s") as (store, _):
        assert len(store.osdmap.pools) == 12


class HeldCommits:
    """The first commit waits for `go`, and then fails or succeeds."""

    def __init__(self, monkeypatch, error=None):
        self.arrived, self.go = threading.Event(), threading.Event()
        commit = Engine.commit

        def held(engine, layer, next_number):
            if not self.go.is_set():
                self.arrived.set()
                assert self.go.wait(TIMEOUT_S)
                if error is not None:
                    raise error
            commit(engine, layer, next_number)

        monkeypatch.setattr(Engine, "commit", held)


async def test_a_pool_that_is_there_already_is_no_answer_before_it_is_durable(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (store, client):
        held = HeldCommits(monkeypatch)
        ask = MPoolOp(fsid=store.fsid, pool=0, op=PoolOpCode.CREATE, name="new")
        answers = [asyncio.ensure_future(client.ask_mon(copy.copy(ask))) for _ in range(2)]
        await asyncio.to_thread(held.arrived.wait, TIMEOUT_S)
        answers.append(asyncio.ensure_future(client.ask_mon(copy.copy(ask))))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(answer.done() for answer in answers)
        held.go.set()
        assert [(reply.reply_code, reply.epoch) for reply in await asyncio.gather(*answers)] == [(0, 2)] * 3


async def test_pools_of_a_lost_commit_are_made_again_one_by_one(tmp_path, monkeypatch):
    async with running_store(tmp_path / "s") as (store, client):
        held = HeldCommits(monkeypatch, lmdb.MapFullError("full"))
        lost = client.submit(client.op("o", [writefull(b"x")]))
        await asyncio.to_thread(held.arrived.wait, TIMEOUT_S)
        names = ["a", "b", "c", "a"]
        asked = [client.ask_mon(MPoolOp(fsid=store.fsid, pool=0, op=PoolOpCode.CREATE, name=name)) for name in names]
        answers = asyncio.gather(*asked)
        for _ in range(20):
            await asyncio.sleep(0)
        held.go.set()
        assert (await lost).result == -errno.ENOSPC
        assert {reply.reply_code for reply in await answers} == {0}
        assert list(store.osdmap.pool_names.values()) == ["rbd", "images", "a", "b", "c"]
    async with running_store(tmp_path / "s") as (store, _):
        assert list(store.osdmap.pool_names.values()) == ["rbd", "images", "a", "b", "c"]


async def test_removing_a_pool_waits_where_it_can_not_be_committed(tmp_path, monkeypatch):
    from cove.store import monitor

    monkeypatch.setattr(monitor, "PURGE_RETRY_S", 0.05)
    async with running_store(tmp_path / "s") as (store, client):
        await _fill(client, 5)
        commit = Engine.commit
        tries: list[float] = []

        def failing(engine, layer, next_number):
            if layer.purged and len(tries) < 3:
                tries.append(time.monotonic())
                raise lmdb.MapFullError("full")
            commit(engine, layer, next_number)

        monkeypatch.setattr(Engine, "commit", failing)
        await client.ask_mon(MPoolOp(fsid=store.fsid, pool=1, op=PoolOpCode.DELETE, name="rbd"))
        await _until(lambda: store._monitor._durable.deleted == ())
        assert len(tries) == 3
        assert tries[2] - tries[0] >= 0.09
        assert _entries(store)["objects"] == 0


async def _fill(client, count):
    for n in range(count):
        await client.run(f"o{n}", writefull(bytes(40_000)), setxattr("x", b""), omap_set({b"k": b"v"}))


async def _until(condition):
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.01)


def _entries(store):
    engine = store._engine
    with engine.begin() as txn:
        return {name: txn.stat(table)["entries"] for name, table in engine._db.items() if name not in ("meta", "pgs")}


async def test_a_deleted_pools_objects_go_in_steps(tmp_path):
    async with running_store(tmp_path / "s") as (store, client):
        await _fill(client, 70)
        await client.run("kept", create(), pool=2)
        before = store.stats.copy()
        reply = await client.ask_mon(MPoolOp(fsid=store.fsid, pool=1, op=PoolOpCode.DELETE, name="delete"))
        assert (reply.reply_code, reply.epoch) == (0, 2)
        assert store.osdmap.pool_id("rbd") is None
        await _until(lambda: _entries(store) == {"objects": 1, "data": 0, "attrs": 0, "omap": 0})
        assert store.stats.since(before).commits >= 4
        assert (await client.run("kept", stat(), pool=2)).result == 0
        # a request to the pool is dropped, and the newer map comes instead
        client.submit(client.op("o1", [read()]))
        assert (await asyncio.wait_for(client.unasked.get(), TIMEOUT_S)).newest == 2
        reply = await client.ask_mon(MPoolOp(fsid=store.fsid, pool=0, op=PoolOpCode.CREATE, name="rbd"))
        assert store.osdmap.pool_id("rbd") == 3


async def test_a_restart_carries_on_with_the_removal(tmp_path, monkeypatch):
    from cove.store.monitor import Monitor

    async with running_store(tmp_path / "s") as (store, client):
        await _fill(client, 40)
        monkeypatch.setattr(Monitor, "_purge_step", lambda self, pool: asyncio.sleep(3600))
        await client.ask_mon(MPoolOp(fsid=store.fsid, pool=1, op=PoolOpCode.DELETE, name="delete"))
        assert _entries(store)["objects"] == 40
    monkeypatch.undo()
    async with running_store(tmp_path / "s") as (store, _):
        await _until(lambda: _entries(store)["objects"] == 0)
        await _until(lambda: store._monitor._durable.deleted == ())
    async with running_store(tmp_path / "s") as (store, _):
        assert store._monitor._durable.deleted == ()


async def test_statfs(tmp_path):
    async with running_store(tmp_path / "s") as (store, client):
        await _fill(client, 3)
        reply = await client.ask_mon(MStatfs(fsid=store.fsid))
        assert reply.num_objects == 3
        assert reply.kb == reply.kb_used + reply.kb_avail
        assert reply.kb_used >= 120


async def test_a_deleted_object_leaves_nothing(tmp_path):
    from tests.unit.store.harness import delete

    async with running_store(tmp_path / "s") as (store, client):
        await _fill(client, 2)
        await client.run("o0", delete())
        await client.run("o1", delete(), create())
        assert _entries(store) == {"objects": 1, "data": 0, "attrs": 0, "omap": 0}


async def test_locks_expire(tmp_path, monkeypatch):
    now = [1_700_000_000 * 10**9]
    monkeypatch.setattr("cove.store.osd.time.time_ns", lambda: now[0])
    second = 10**9
    async with running_store(tmp_path / "s") as (store, client):
        other = Client(store._messengers[0].network)

        async def lock(who, cookie, *, duration=0, flags=0, kind=LockType.EXCLUSIVE):
            request = cls_lock.LockRequest("l", kind, cookie, duration_ns=duration, flags=flags)
            return (await who.call("o", "lock", "lock", request.to_bytes()))[0]

        assert await lock(client, "c", duration=second) == 0
        assert await lock(other, "c") == -errno.EBUSY
        assert await lock(client, "c", duration=second, flags=LockFlag.MAY_RENEW) == 0
        now[0] += second + 1
        assert await lock(other, "c", flags=LockFlag.MUST_RENEW) == -errno.ENOENT
        assert await lock(other, "c") == 0
        info = cls_lock.LockInfo.from_bytes(
            (await client.call("o", "lock", "get_info", cls_lock.InfoRequest("l").to_bytes()))[1]
        )
        (held,) = info.lockers.items()
        assert held[0].entity == other.messenger.name
        assert held[1].expiration_ns == 0
        await other.messenger.shutdown()
    assert store_context.NOBODY.name.number == 0
