"""`Store`: the embedded RADOS endpoint, whole: engine, commit pipeline, monitor and OSD 0."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import structlog

from ..messenger import LoopbackMessenger, LoopbackNetwork
from ..wire.osdmap import OSDMap
from ..wire.types import EntityName, EntityType
from .engine import Engine
from .errors import StoreError
from .monitor import MON_ADDRESS, OSD_ADDRESS, Monitor
from .osd import Osd
from .pipeline import CommitPipeline
from .state import State
from .stats import StoreStats

log = structlog.get_logger(__name__)


class Store:
    """One process, one directory, one event loop.

    `start` raises StoreError if the directory can't be used: open elsewhere, no store, another format.
    """

    def __init__(self, path: Path, *, map_size_bytes: int = 1 << 40) -> None:
        self.path = path
        self.stats = StoreStats()
        self._map_size_bytes = map_size_bytes
        self._engine: Engine | None = None
        self._state: State | None = None
        self._pipeline: CommitPipeline | None = None
        self._monitor: Monitor | None = None
        self._osd: Osd | None = None
        self._messengers: list[LoopbackMessenger] = []

    async def start(self, network: LoopbackNetwork) -> None:
        """Open the store, recover, and listen on the loopback network, as MON_ADDRESS and OSD_ADDRESS."""
        if self._engine is not None:
            raise StoreError(f"the store in {self.path} is started already")
        # LMDB comes up with the last complete commit by itself: recovery is to look at what that says
        self._engine = Engine(self.path, map_size_bytes=self._map_size_bytes)
        try:
            self._state = State(self._engine)
            self._pipeline = CommitPipeline(self._state, self.stats)
            self._monitor = Monitor(self._state, self._pipeline)
            await self._monitor.start()
            self._osd = Osd(
                self._state,
                self._pipeline,
                self.stats,
                lambda: self._open_monitor().osdmap,
                self._monitor.share_map,
            )
            monitor = LoopbackMessenger(network, EntityName(EntityType.MON, 0))
            osd = LoopbackMessenger(network, EntityName(EntityType.OSD, 0))
            self._messengers = [monitor, osd]
            monitor.add_dispatcher_tail(self._monitor)
            osd.add_dispatcher_tail(self._osd)
            monitor.bind(MON_ADDRESS)
            osd.bind(OSD_ADDRESS)
        except BaseException:
            await self.stop()
            raise
        log.info("store_started", path=str(self.path), fsid=str(self._engine.fsid), epoch=self.osdmap.epoch)

    async def stop(self) -> None:
        """Close all connections, make durable what is pending, and close the store."""
        for messenger in self._messengers:
            await messenger.shutdown()
        self._messengers.clear()
        try:
            if self._osd is not None:
                await self._osd.stop()
            if self._monitor is not None:
                await self._monitor.stop()
            if self._pipeline is not None:
                await self._pipeline.stop()
        finally:
            if self._state is not None:
                self._state.drop_reader()
            if self._engine is not None:
                self._engine.close()
            self._engine = self._state = self._pipeline = self._monitor = self._osd = None

    def _open_monitor(self) -> Monitor:
        if self._monitor is None:
            raise StoreError(f"the store in {self.path} is not started")
        return self._monitor

    @property
    def osdmap(self) -> OSDMap:
        """The cluster map. Raises StoreError unless the store is started."""
        return self._open_monitor().osdmap

    @property
    def fsid(self) -> UUID:
        """Id of the cluster. Raises StoreError unless the store is started."""
        return self.osdmap.fsid
