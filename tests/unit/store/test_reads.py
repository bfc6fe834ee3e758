# mypy: allow-untyped-calls
"""Reads that are too large for the event loop: many at once, and in order with writes."""

from __future__ import annotations

import asyncio

from cove.store import osd

from .harness import read, running_store, writefull

LARGE = osd.READ_ON_LOOP_MAX + 4096


async def test_far_more_large_reads_than_lmdb_has_readers(tmp_path):
    async with running_store(tmp_path / "s") as (_store, client):
        assert (await client.run("a", writefull(b"x" * LARGE))).result == 0
        answers = await asyncio.gather(*(client.run("a", read(0, LARGE)) for _ in range(300)))
        assert {answer.result for answer in answers} == {0}
        assert {answer.ops[0].outdata for answer in answers} == {b"x" * LARGE}


async def test_requests_behind_a_crowd_of_large_reads_keep_their_order(tmp_path):
    async with running_store(tmp_path / "s") as (_store, client):
        await client.run("a", writefull(b"1" * LARGE))
        crowd = [client.submit(client.op("a", [read(0, LARGE)])) for _ in range(osd.READS_IN_THREAD_MAX * 2)]
        change = client.submit(client.op("a", [writefull(b"2" * LARGE)]))
        after = client.submit(client.op("a", [read(0, LARGE)]))
        async with asyncio.timeout(20):
            assert {(await answer).ops[0].outdata[:1] for answer in crowd} == {b"1"}
            assert (await change).result == 0
            assert (await after).ops[0].outdata[:1] == b"2"
