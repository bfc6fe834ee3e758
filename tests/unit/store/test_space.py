# mypy: allow-untyped-calls
"""A store that is nearly full: what grows is refused, what gives space back works, and nothing is lost."""

from __future__ import annotations

import asyncio
import errno
import os
from types import SimpleNamespace

import lmdb
import pytest

from cove.store import dups
from cove.store.engine import Engine
from cove.wire.messages import MPoolOp, MStatfs, PoolOpCode
from cove.wire.osd_ops import RequestFlag

from .harness import (
    TIMEOUT_S,
    append,
    create,
    delete,
    omap_set,
    read,
    running_store,
    setxattr,
    truncate,
    write,
    writefull,
    zero,
)

MAP = 8 << 20
FULL_TRY = 0x400024 | RequestFlag.FULL_TRY


async def fill(client, size=64 << 10):
    """Write objects until there is no space; returns how many."""
    for number in range(1000):
        code = (await client.run(f"o{number}", writefull(os.urandom(size)))).result
        if code:
            assert code == -errno.ENOSPC
            return number
    raise AssertionError("never full")


async def test_the_reserve_is_for_who_gives_space_back(tmp_path):
    async with running_store(tmp_path / "s", map_size_bytes=MAP) as (_, client):
        count = await fill(client)
        assert count > 20
        for refused in (
            [create()],
            [writefull(b"x")],
            [omap_set({b"k": b"v"})],
            [delete(), create(), write(b"x", 100)],
        ):
            assert (await client.run("new", *refused)).result in (-errno.ENOSPC, -errno.ENOENT)
        assert (await client.run("o0", append(b"x"))).result == -errno.ENOSPC
        assert (await client.run("o0", setxattr("a", bytes(5000)))).result == -errno.ENOSPC
        assert (await client.run("o0", read())).result == 0
        # in place, smaller, small attributes (a lock), and who says that it may
        assert (await client.run("o0", write(b"y" * 4096, 4096))).result == 0
        assert (await client.run("o0", setxattr("a", bytes(100)))).result == 0
        assert (await client.run("o0", zero(0, 20_000))).result == 0
        assert (await client.run("o0", write(b"z", 100))).result == -errno.ENOSPC, "into the hole"
        assert (await client.run("o0", truncate(10_000))).result == 0
        assert (await client.run("o1", append(b"x"), flags=FULL_TRY)).result == 0
        for number in range(count):
            assert (await client.run(f"o{number}", delete())).result == 0
        assert await fill(client) >= count * 0.8
    async with running_store(tmp_path / "s", map_size_bytes=MAP) as (_, client):
        assert (await client.run("o0", delete())).result == 0


@pytest.mark.parametrize("size", [100, 4096, 30_000])
async def test_cycles_of_filling_and_deleting_go_on_for_ever(tmp_path, monkeypatch, size):
    monkeypatch.setattr(dups, "REQUESTS_MAX", 100)  # they are stored, too
    async with running_store(tmp_path / "s", map_size_bytes=1 << 20) as (store, client):
        counts = []
        for _ in range(3):
            codes = []
            for start in range(0, 40_000, 64):
                replies = await asyncio.gather(
                    *(client.run(f"o{n}", writefull(os.urandom(size))) for n in range(start, start + 64))
                )
                codes += [reply.result for reply in replies]
                if any(codes):
                    break
            assert set(codes) <= {0, -errno.ENOSPC}
            there = [number for number, code in enumerate(codes) if code == 0]
            counts.append(len(there))
            for number in there:
                assert (await client.run(f"o{number}", delete())).result == 0
        assert min(counts) > max(counts) * 0.6
        assert store._pipeline.failed == 0


async def test_a_pool_can_be_deleted_from_a_full_store(tmp_path):
    async with running_store(tmp_path / "s", map_size_bytes=MAP) as (store, client):
        await fill(client)
        reply = await client.ask_mon(MPoolOp(fsid=store.fsid, pool=1, op=PoolOpCode.DELETE, name="rbd"))
        assert reply.reply_code == 0
        async with asyncio.timeout(TIMEOUT_S):
            while store._monitor._durable.deleted:
                await asyncio.sleep(0.01)
        assert (await client.run("new", writefull(bytes(1 << 20)), pool=2)).result == 0


async def test_statfs_tells_of_what_is_given_back(tmp_path):
    async with running_store(tmp_path / "s", map_size_bytes=64 << 20) as (store, client):
        empty = await client.ask_mon(MStatfs(fsid=store.fsid))
        await client.run("big", writefull(bytes(range(256)) * (64 << 10)))
        full = await client.ask_mon(MStatfs(fsid=store.fsid))
        await client.run("big", delete())
        again = await client.ask_mon(MStatfs(fsid=store.fsid))
    assert full.kb_used > empty.kb_used + (16 << 10)
    assert full.kb_avail < empty.kb_avail - (16 << 10)
    assert again.kb_used < empty.kb_used + 256
    assert again.kb_avail > full.kb_avail + (15 << 10)


@pytest.mark.parametrize(
    ("error", "free_bytes", "code"),
    [
        (lmdb.MapFullError("full"), 1 << 30, -errno.ENOSPC),
        (lmdb.Error("mdb_txn_commit: No space left on device"), 1 << 30, -errno.ENOSPC),
        (lmdb.Error("mdb_txn_commit: File too large"), 1 << 30, -errno.ENOSPC),
        (lmdb.Error("mdb_txn_commit: Disk quota exceeded"), 1 << 30, -errno.ENOSPC),
        (lmdb.Error("mdb_txn_commit: Input/output error"), 0, -errno.ENOSPC),
        (lmdb.Error("mdb_txn_commit: Input/output error"), 1 << 30, -errno.EIO),
        (lmdb.CorruptedError("broken"), 0, -errno.EIO),
    ],
)
async def test_which_errors_are_a_lack_of_space(tmp_path, monkeypatch, error, free_bytes, code):
    async with running_store(tmp_path / "s") as (_, client):
        await client.run("o", writefull(b"old"))
        commit = Engine.commit

        def failing(engine, layer, next_number):
            raise error

        blocks = SimpleNamespace(f_bavail=free_bytes // 4096, f_frsize=4096)
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "commit", failing)
            patch.setattr(os, "statvfs", lambda path: blocks)
            assert (await client.run("o", writefull(b"new"))).result == code
        assert Engine.commit is commit
        assert (await client.run("o", read())).ops[0].outdata == b"old"
        # a disk with space again is written to; one that lost data is not
        assert (await client.run("o", writefull(b"new"))).result == (0 if code == -errno.ENOSPC else -errno.EIO)
