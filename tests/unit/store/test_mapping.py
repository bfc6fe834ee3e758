# mypy: allow-untyped-calls
"""How much of the engine's file stays mapped, and that reading ahead aims at the right place."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from cove.store import mapping, state
from cove.store.mapping import Mapping, address_of

from .harness import read, running_store, writefull

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' /proc")
SIZE = 4 << 20


def mapped_bytes(path: Path) -> int:
    """Resident bytes of the mapping of a file."""
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(None, 1)[0]:
            found = line.endswith(os.path.realpath(path))
        elif found and line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    return 0


async def test_reading_much_does_not_keep_it_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "MAPPED_BYTES_MAX", 2 * SIZE)
    async with running_store(tmp_path / "s") as (_, client):
        content = [os.urandom(SIZE) for _ in range(8)]
        for number, data in enumerate(content):
            await client.run(f"o{number}", writefull(data))
        for number, data in enumerate(content):
            assert (await client.run(f"o{number}", read())).ops[0].outdata == data
            assert mapped_bytes(tmp_path / "s" / "data.mdb") <= 3 * SIZE + (1 << 20)


async def test_slow_chunks_have_the_rest_fetched(tmp_path, monkeypatch):
    asked: list[tuple[int, int]] = []
    async with running_store(tmp_path / "s") as (store, client):
        data = os.urandom(SIZE)
        await client.run("o", writefull(data))
        file_mapping = store._engine.mapping
        monkeypatch.setattr(state, "SLOW_S", -1.0)
        advise = file_mapping._advise

        def spy(start, length, advice):
            asked.append((start, length))
            advise(start, length, advice)

        monkeypatch.setattr(file_mapping, "_advise", spy)
        assert (await client.run("o", read())).ops[0].outdata == data
    # in one piece, as it was written in one piece
    assert 1 <= len(asked) <= 4
    assert sum(length for _, length in asked) >= SIZE
    assert all(start % mmap.PAGESIZE == 0 for start, _ in asked)


def test_addresses():
    data = bytes(range(256)) * 64
    view = memoryview(data)
    assert address_of(view[100:]) - address_of(view) == 100


def test_a_file_that_is_not_mapped_gets_no_advice(tmp_path):
    advised = Mapping(tmp_path / "none")
    advised.will_need(4096, 4096)
    assert not advised.trim()
    advised.close()
