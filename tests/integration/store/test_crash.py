# mypy: allow-untyped-calls
"""kill -9 at random moments: everything acknowledged is there afterwards, and no vector is half there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import lmdb

from cove.store.info import ObjectInfo
from cove.wire.encoding import Decoder
from tests.integration.store.writer import SLOTS, body
from tests.unit.store.harness import getxattr, omap_get_vals, read, running_store, writefull

ROUNDS = int(os.environ.get("COVE_CRASH_ROUNDS", "12"))
REPOSITORY = Path(__file__).resolve().parents[3]


async def run_and_kill(path: Path, start: list[int], delay_s: float) -> dict[int, int]:
    """Let the writer work for a while, kill it, and return the newest acknowledged round of each slot."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.store.writer",
        str(path),
        ",".join(map(str, start)),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    acknowledged: dict[int, int] = {}
    killed = False
    try:
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"ready\n"
        deadline = asyncio.get_running_loop().time() + delay_s
        async with asyncio.timeout(60):
            while True:
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 and not killed:
                    killed = True
                    process.send_signal(signal.SIGKILL)
                try:
                    line = await asyncio.wait_for(process.stdout.readline(), max(left, 0.001) if not killed else None)
                except TimeoutError:
                    continue
                if not line.endswith(b"\n"):
                    break
                slot, n = map(int, line.split())
                acknowledged[slot] = n
    finally:
        if not killed:
            process.kill()
        await process.wait()
    assert process.returncode == -signal.SIGKILL
    return acknowledged


async def check(path: Path, acknowledged: list[int]) -> list[int]:
    """Look at every slot; returns the rounds that are there."""
    there = []
    async with running_store(path) as (store, client):
        for slot in range(SLOTS):
            reply = await client.run(f"slot{slot}", read(), getxattr("n"), omap_get_vals())
            if reply.result == -2:
                assert acknowledged[slot] == 0
                there.append(0)
                continue
            assert reply.result == 0
            n = int(reply.ops[1].outdata)
            # one more may have been committed without the answer having come through
            assert acknowledged[slot] <= n <= acknowledged[slot] + 1
            assert reply.ops[0].outdata == body(slot, n), f"slot {slot}: the data is not that of round {n}"
            decoder = Decoder(reply.ops[2].outdata)
            omap = decoder.map(decoder.blob, decoder.blob)
            assert int(omap[b"n"]) == n
            assert max(int(value) for value in omap.values()) == n
            assert int(omap[f"at{n % 50}".encode()]) == n
            there.append(n)
        journal = (await client.run("journal", read())).ops[0].outdata.decode().splitlines()
        newest: dict[int, int] = {}
        for line in journal:
            slot, n = map(int, line.split(":"))
            assert n == newest.get(slot, n - 1) + 1, f"slot {slot}: the journal has a gap before round {n}"
            newest[slot] = n
        for slot in range(SLOTS):
            assert newest.get(slot, 0) >= acknowledged[slot]
        _check_tables(store)
    return there


def _check_tables(store) -> None:
    """Nothing belongs to an object that is not there, and all of LMDB's pages can be read."""
    engine = store._engine
    with engine.begin() as txn:
        numbers = {ObjectInfo.unpack(record).number for _, record in txn.cursor(engine.objects)}
        for table in (engine.data, engine.attrs, engine.omap):
            for key, _ in txn.cursor(table):
                assert int.from_bytes(bytes(key[:8]), "big") in numbers
    assert isinstance(engine.env, lmdb.Environment)


async def test_kill_9(tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    there = [0] * SLOTS
    rounds = 0
    for _ in range(ROUNDS):
        acknowledged = await run_and_kill(tmp_path / "store", there, chance.uniform(0.0, 0.35))
        before = there
        there = await check(tmp_path / "store", [acknowledged.get(slot, there[slot]) for slot in range(SLOTS)])
        rounds += sum(there) - sum(before)
        # the journal may miss the last round that was committed without an answer: start it anew
        async with running_store(tmp_path / "store") as (_, client):
            await client.run("journal", writefull("".join(f"{s}:{n}\n" for s, n in enumerate(there) if n).encode()))
    assert rounds > SLOTS * ROUNDS / 4
