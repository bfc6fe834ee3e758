"""Dumps of pools as a library has them: into a file object and back, and what became of each object."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cove.messenger import LoopbackNetwork
from cove.rados import IoCtx, LoopbackTransport, Rados
from cove.rados.dump import DamagedDump, Existing, Outcome, check_dump, export_pool, import_pool, piece_size
from cove.rados.dump import exporting as module
from cove.store import Store


@pytest.fixture
async def rados(tmp_path: Path) -> AsyncIterator[Rados]:
    """A client of an embedded store."""
    network = LoopbackNetwork()
    store = Store(tmp_path / "store", map_size_bytes=1 << 28)
    await store.start(network)
    async with Rados(LoopbackTransport(network)) as client:
        await client.pool_create("copy")
        yield client
    await store.stop()


async def filled(rados: Rados) -> IoCtx:
    ioctx = await rados.open_ioctx("rbd")
    for number in range(40):
        await ioctx.write_full(f"o{number}", bytes(number))
    return ioctx


@pytest.mark.parametrize("buffer", [1, 100, 1 << 20])
async def test_there_and_back(rados: Rados, monkeypatch: pytest.MonkeyPatch, buffer: int) -> None:
    monkeypatch.setattr(module, "BUFFER_BYTES", buffer)
    source, moved, told = await filled(rados), list[int](), list[Outcome]()
    file = io.BytesIO()
    exported = await export_pool(source, file, moved=moved.append)
    assert (exported.objects, exported.size_bytes, exported.gone) == (40, 780, 0)
    assert sum(moved) == 780
    file.seek(0)
    assert check_dump(file) == 40
    target = await rados.open_ioctx("copy")
    await target.write_full("o1", b"kept")
    imported = await import_pool(target, file, Existing.KEEP, outcome=told.append)
    assert imported.counts == {"written": 39, "kept": 1}
    assert [outcome.begin.name for outcome in told if outcome.what == "kept"] == ["o1"]
    assert await target.read("o1", 10) == b"kept"
    again = io.BytesIO()
    await export_pool(target, again, "")
    file.seek(0)
    assert len(again.getvalue()) == len(file.getvalue()) + 3


async def test_damage(rados: Rados) -> None:
    file = io.BytesIO()
    await export_pool(await filled(rados), file)
    cut = io.BytesIO(file.getvalue()[:-30])
    with pytest.raises(DamagedDump, match="byte "):
        check_dump(cut)
    with pytest.raises(DamagedDump, match="byte "):
        await import_pool(await rados.open_ioctx("copy"), cut, dry_run=True)


async def test_pieces_of_a_replicated_pool_are_of_any_size(rados: Rados) -> None:
    assert piece_size(await rados.open_ioctx("rbd"), 1000) == 1000
