"""A compute service over fakes and a real database file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cove.bus import Bus
from cove.compute import boot
from cove.compute.guest import GuestFiles
from cove.compute.servers import ComputeService
from cove.compute.steps import Patience
from cove.compute.uids import UidPool
from cove.config import Settings
from cove.db import Database
from cove.timeline import Timeline
from tests.unit.compute.fakes import Fakes, World
from tests.unit.network.fakes import new_database

PATIENCE = Patience(disk_s=5, port_active_s=0.1, lease_s=0.2, facts_s=0.2, image_lease_s=0.2, power_off_s=3)


class Bench:
    """The fakes, what lasts (database, timeline), and services made over them."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings(state_dir=directory / "state", run_dir=directory / "run", host="host1")
        self.fakes = Fakes(World(directory))
        self.world = self.fakes.world
        self.settings.state_dir.mkdir()
        new_database(self.settings.state_dir)
        self.db = Database(self.settings.database_url)
        self.timeline = Timeline()
        self.service = self.make()

    def make(self, bus: Bus | None = None) -> ComputeService:
        fakes = self.fakes
        return ComputeService(
            self.db, fakes.network, fakes.disks, self.timeline, self.settings,
            hypervisor=fakes.hypervisor, wiring=fakes.wiring, uids=UidPool(lambda: ()), patience=PATIENCE,
            bus=bus,
        )  # fmt: skip

    async def restart(self) -> ComputeService:
        """As `cove up` does: what is gone is the memory of the service alone."""
        await self.service.stop()
        self.service = self.make()
        await self.service.start()
        return self.service


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    guest = GuestFiles(tmp_path / "vmlinuz", tmp_path / "initramfs.gz", "6.1", "ff")
    monkeypatch.setattr(boot, "load_guest", lambda _: guest)
    bench = Bench(tmp_path)
    await bench.db.start()
    try:
        await bench.service.start()
        yield bench
    finally:
        await bench.service.stop()
        await bench.db.close()


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until the condition holds."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)
