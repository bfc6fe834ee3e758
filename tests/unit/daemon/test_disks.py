"""Disks over the embedded store: what compute relies on when a name is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cove.compute.disks import DiskExists
from cove.daemon.disks import DiskError, Disks
from cove.messenger import LoopbackNetwork
from cove.rados import LoopbackTransport, Rados
from cove.store import Store


@pytest.fixture
async def disks(tmp_path: Path) -> AsyncIterator[Disks]:
    network = LoopbackNetwork()
    store = Store(tmp_path, map_size_bytes=256 << 20)
    await store.start(network)
    rados = Rados(LoopbackTransport(network))
    await rados.connect()
    made = Disks(rados, store)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await rados.shutdown()
        await store.stop()


async def test_a_name_that_is_taken(disks: Disks) -> None:
    await disks.create("rbd", "vm1-disk", 8 << 20, source_image=None)
    with pytest.raises(DiskExists, match="vm1-disk") as raised:
        await disks.create("rbd", "vm1-disk", 16 << 20, source_image=None)
    assert isinstance(raised.value, DiskError)
    assert (await disks.info("rbd", "vm1-disk")).size_bytes == 8 << 20
