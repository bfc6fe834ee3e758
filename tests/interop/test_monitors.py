"""A cluster with three monitors: the client stays with one that lives, whichever that is, and loses nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from cove.rados import Rados, RadosConf, TimedOut

from .ceph_cluster import MON_PORT, CephCluster, Daemon, eventually
from .conftest import POOL
from .test_failover import appending

NAMES = "abc"


class ThreeMonitors(CephCluster):
    """Monitors a, b and c side by side on one address, from the start."""

    def __init__(self) -> None:
        options = {"mon_client_ping_interval": "1", "mon_client_ping_timeout": "3", "mon_lease": "2"}
        super().__init__(osds=1, options=options)
        self.mons = {"a": self.mon, **{name: Daemon(self, "mon", name) for name in NAMES[1:]}}

    def _write_for_three(self) -> None:
        secret = (self.directory / "mon.keyring").read_text()
        for name in NAMES:  # without one they would not use cephx among themselves
            self._write_secret(f"mon.{name}.keyring", secret)
        hosts = ",".join(f"[{self.address_of(name)}]" for name in NAMES)
        for path in (self.conf_path, self.daemon_conf_path):
            path.write_text(path.read_text().replace(f"mon_host = {self.mon_host}", f"mon_host = {hosts}"))

    def address_of(self, name: str) -> str:
        """Where a monitor listens."""
        return f"v2:{self.address}:{MON_PORT + NAMES.index(name)}/0"

    def _start(self) -> None:
        self._write_for_three()
        super()._start()

    def run(self, *command: object, stdin: bytes | None = None) -> str:
        """The monitor map is made with all three, and each gets its store and is started with the first."""
        words = [str(word) for word in command]
        if words[0] == "monmaptool":
            at = words.index("--addv")
            more = [part for name in NAMES[1:] for part in ("--addv", name, f"[{self.address_of(name)}]")]
            return super().run(*words[:at], *more, *words[at:], stdin=stdin)
        output = super().run(*words, stdin=stdin)
        if words[:2] == ["ceph-mon", "--mkfs"]:
            for name in NAMES[1:]:
                super().run(*(name if word == "a" else word for word in words))
                self.mons[name].start()
        return output

    def stop(self, keep_logs: bool = False) -> None:
        for mon in self.mons.values():
            mon.kill()
        super().stop(keep_logs)

    def wait_quorum(self, count: int = 3) -> None:
        """Wait until so many monitors agree."""
        eventually(lambda: len(self.peer().mon("quorum_status")["quorum"]) == count, f"{count} monitors in quorum")


@pytest.fixture(scope="module")
def monitors(ceph_is_installed: None) -> Iterator[ThreeMonitors]:
    with ThreeMonitors() as cluster:
        yield cluster


@pytest.fixture
async def client(monitors: ThreeMonitors) -> AsyncIterator[Rados]:
    await asyncio.to_thread(monitors.wait_quorum)
    async with Rados(monitors.conf_path) as cluster:
        yield cluster


def ours(client: Rados, monitors: ThreeMonitors) -> str:
    """The monitor that the client has its session with."""
    connection = client.monclient.connection
    assert connection is not None
    return next(name for name in NAMES if monitors.address_of(name) == connection.peer_address)


async def osd_stat(client: Rados) -> int:
    """Number of OSDs, by a monitor."""
    answer = await client.mon_command({"prefix": "osd stat", "format": "json"}, timeout_s=40)
    return int(answer.check().json()["num_osds"])


async def test_the_monitor_of_the_session_dies(monitors: ThreeMonitors, client: Rados) -> None:
    """One after the other: each time another one takes over, with what was asked meanwhile."""
    for _ in range(3):
        name = ours(client, monitors)
        identity = client.global_id
        asked = asyncio.ensure_future(osd_stat(client))
        await asyncio.sleep(0)
        monitors.mons[name].kill()
        assert await asked
        assert ours(client, monitors) != name
        assert client.global_id == identity, "a new identity would make repeated writes happen twice"
        number = await client.pool_create("while-away")
        assert number in client.osdmap.pools
        await client.pool_delete("while-away")
        monitors.mons[name].start()
        await asyncio.to_thread(monitors.wait_quorum)


async def test_the_monitor_of_the_session_says_nothing(monitors: ThreeMonitors, client: Rados) -> None:
    """Stopped, it keeps its connections; keep-alives tell."""
    name = ours(client, monitors)
    monitors.mons[name].signal(signal.SIGSTOP)
    try:
        assert await osd_stat(client)
        assert ours(client, monitors) != name
    finally:
        monitors.mons[name].signal(signal.SIGCONT)


async def connect_until_refused(monitors: ThreeMonitors) -> None:
    """The monitor that is left takes a while to notice that it is alone."""
    async with asyncio.timeout(30):
        while True:
            async with Rados(monitors.conf_path, conf=RadosConf(connect_timeout_s=2)):
                await asyncio.sleep(0.2)


async def test_operations_go_on_while_there_is_no_quorum(monitors: ThreeMonitors, client: Rados) -> None:
    """What needs the monitors fails in time; new clients are told; all is well once they are back."""
    async with appending(client, monitors.peer(), "quorum") as appender:
        for name in "bc":
            monitors.mons[name].kill()
        await appender.progress()
        with pytest.raises(TimedOut) as told:
            await connect_until_refused(monitors)
        for name in NAMES:
            assert monitors.address_of(name) in str(told.value)
        for name in "bc":
            monitors.mons[name].start()
        assert await osd_stat(client)
        await appender.progress()


async def test_everything_restarts(monitors: ThreeMonitors, client: Rados) -> None:
    """All monitors at once, an operation waiting for a pool that only they can know of."""
    for mon in monitors.mons.values():
        mon.kill()
    created = asyncio.ensure_future(client.pool_create("after-all"))
    await asyncio.sleep(0.2)
    for mon in monitors.mons.values():
        mon.start()
    number = await created
    assert number in client.osdmap.pools
    async with client.open_ioctx(POOL) as ioctx:
        await ioctx.write_full("after-all", b"x")
    await client.pool_delete("after-all")
