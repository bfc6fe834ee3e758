"""The cluster of the bad days: three monitors, three OSDs with BlueStore (what they have acknowledged survives a kill
-9), pools of size 3 and min_size 2. All tests of this package share it, and leave it in good health.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from cove.rados import IoCtx, Rados

from ..conftest import POOL
from ..peer import Librados
from ..three_monitors import ThreeMonitors

OSDS = 3


class BadDays(ThreeMonitors):
    """Quick to notice who is gone."""

    def __init__(self) -> None:
        super().__init__(
            osds=OSDS,
            store="bluestore",
            options={
                "osd_heartbeat_interval": "1",
                "osd_heartbeat_grace": "4",
                "mon_osd_min_down_reporters": "1",
            },
        )

    def _start(self) -> None:
        super()._start()
        self.make_pool_safe(POOL)
        self.peer().mon("osd set-require-min-compat-client", version="luminous")  # upmaps

    def make_pool_safe(self, pool: str) -> None:
        """Every write is on two OSDs at least, and usually on three."""
        for name, value in (("size", "3"), ("min_size", "2")):
            self.peer().mon("osd pool set", pool=pool, var=name, val=value)

    async def command(self, prefix: str, **command: object) -> object:
        """A monitor command, while the event loop goes on."""
        return await asyncio.to_thread(self.peer().mon, prefix, **command)

    async def until_healthy(self) -> None:
        """Wait until all OSDs are up and have everything."""
        await asyncio.to_thread(self.wait_up)
        await asyncio.to_thread(self.wait_clean)


class DefaultConnect:
    """Connects with the default time-out to an address that says nothing, on a thread of its own, from the start of
    this package's tests."""

    def __init__(self) -> None:
        self.hole = socket.create_server(("127.0.0.1", 0))
        self.took_s = 0.0
        self.problem: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            asyncio.run(self._connect())
        except BaseException as problem:
            self.problem = problem
        self.took_s = time.monotonic() - began

    async def _connect(self) -> None:
        port = self.hole.getsockname()[1]
        options = {"mon_host": f"v2:127.0.0.1:{port}", "key": "AQBVYQJrYcrXCBAAsGd84IaMgqDgU28/z03bGA=="}
        await Rados(options).connect()


@pytest.fixture(scope="package")
def default_connect() -> Iterator[DefaultConnect]:
    connect = DefaultConnect()
    yield connect
    connect.thread.join(60)
    connect.hole.close()


@pytest.fixture(scope="package")
def cluster(ceph_is_installed: None, default_connect: DefaultConnect) -> Iterator[BadDays]:
    with BadDays() as cluster:
        yield cluster


@pytest.fixture
def librados(cluster: BadDays) -> Librados:
    return cluster.peer()


@pytest.fixture
async def client(cluster: BadDays) -> AsyncIterator[Rados]:
    await cluster.until_healthy()
    async with Rados(cluster.conf_path) as client:
        yield client


@pytest.fixture
async def ioctx(client: Rados) -> AsyncIterator[IoCtx]:
    async with client.open_ioctx(POOL) as ioctx:
        yield ioctx
