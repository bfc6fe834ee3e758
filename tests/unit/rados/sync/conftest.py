"""A handle of the facade on an embedded store, which runs on the facade's own event loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cove.messenger import LoopbackNetwork
from cove.rados import LoopbackTransport
from cove.rados.client import Rados as Client
from cove.rados.sync import Ioctx, Rados, runtime
from cove.store import Store


class Handle(Rados):
    """Connects to the store instead of a cluster."""

    network: LoopbackNetwork

    def _make_client(self) -> Client:
        return Client(LoopbackTransport(self.network))


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[Handle]:
    """Not connected yet."""
    network = LoopbackNetwork()
    store = Store(tmp_path / "store", map_size_bytes=1 << 26)
    thread = runtime.acquire()
    runtime.run(thread, lambda: store.start(network))
    found = Handle()
    found.network = network
    try:
        yield found
    finally:
        found.shutdown()
        runtime.run(thread, store.stop)
        runtime.release(thread)


@pytest.fixture
def cluster(handle: Handle) -> Handle:
    """Connected."""
    handle.connect(timeout=10)
    return handle


@pytest.fixture
def ioctx(cluster: Handle) -> Iterator[Ioctx]:
    """On the store's pool."""
    with cluster.open_ioctx("rbd") as opened:
        yield opened
