"""Puts the parts of Cove together, in the order in which they need each other, and takes them apart again.

store → rados client → disks ; database, bus → network service → API ; DHCP agent ; compute.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.app import create_app
from ..bus import connect as connect_bus
from ..compute.firewall import Firewall
from ..compute.firewall_api import HttpFirewallApi
from ..compute.firewall_sync import FirewallSync
from ..compute.network_api import HttpNetworkApi
from ..compute.routes import server_routes
from ..compute.servers import ComputeService
from ..config import Settings
from ..db import Database
from ..dhcp import DhcpAgent
from ..errors import CoveError
from ..linux.files import write_atomic
from ..messenger import LoopbackNetwork
from ..network import DEMO_PROJECT_ID, NetworkService
from ..rados import LoopbackTransport, Rados, RadosConf
from ..store import Store
from ..timeline import Timeline
from .disks import Disks
from .http_server import HttpServer
from .imports import Imports
from .pidfile import PidFile
from .places import RUN_NAMES, make_directories, remove_ours
from .routes import cove_routes
from .users import CLOUDS_FILE, Users

log = structlog.get_logger(__name__)

AGENT_START_WAIT_S = 1.0


class Service:
    """The whole server. `start`, wait for `stop_requested`, `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stop_requested = asyncio.Event()
        self.timeline = Timeline()
        self.token = secrets.token_urlsafe(32)
        self._take_down = False
        self._agent_start: asyncio.Task[None] | None = None
        self._stops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._pid_file = PidFile(settings.run_dir / "cove.pid")

    def request_stop(self, *, take_down: bool = False) -> None:
        """Ask `run` to end; with `take_down`, VMs and DHCP servers end too."""
        self._take_down = self._take_down or take_down
        self.stop_requested.set()

    async def start(self) -> None:
        """Start everything; returns when the API answers. Raises CoveError."""
        settings = self.settings
        make_directories(settings)
        self._pid_file.acquire()
        # First of all what fails most often, so that nothing is begun in vain. Nobody is accepted yet.
        self._http = HttpServer(
            settings.api_host, settings.api_port, self.request_stop, trusted_proxies=settings.api_trusted_proxies
        )
        self._stops.append(("listener", self._http.stop))
        write_atomic(settings.token_file, self.token + "\n", mode=0o600)

        loopback = LoopbackNetwork()
        self.store = Store(_store_path(settings), map_size_bytes=settings.store_map_size_bytes)
        await self._begin("store", self.store.start(loopback), self.store.stop)
        conf = RadosConf(
            inflight_ops_max=settings.objecter_inflight_ops,
            inflight_bytes_max=settings.objecter_inflight_op_bytes,
            osd_op_timeout_s=settings.rados_osd_op_timeout_s,
        )
        self.rados = Rados(LoopbackTransport(loopback), conf=conf)
        await self._begin("rados", self.rados.connect(), self.rados.shutdown)
        self.disks = Disks(self.rados, self.store)
        await self._begin("disks", self.disks.start(), self.disks.stop)
        self.imports = Imports(self.disks, settings.state_dir / "imports", settings.run_dir / "imports")
        await self.imports.start()

        self.database = Database(settings.database_url)
        await self._begin("database", self.database.start(), self.database.close)
        self.users = Users(settings, self.database)
        await self._begin("users", self.users.start(), self.users.stop)
        self.bus = connect_bus(settings.bus_url)
        await self._begin("bus", self.bus.start(), self.bus.close)
        self.network = NetworkService(self.database, self.bus, self.timeline, settings)
        await self._begin("network", self.network.start(), self.network.stop)

        # compute speaks Networking v2.0, as it would to a server elsewhere; here without a socket in between
        async def networking(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        http = httpx.AsyncClient(
            base_url="http://cove",
            headers={"X-Auth-Token": self.token},
            transport=httpx.ASGITransport(app=networking),
        )
        self._stops.append(("network_client", http.aclose))
        firewall = FirewallSync(Firewall(settings.state_dir), HttpFirewallApi(http), self.bus)
        self.compute = ComputeService(
            self.database, HttpNetworkApi(http), self.disks, self.timeline, settings, bus=self.bus, firewall=firewall
        )
        routes = [*server_routes(lambda: self.compute, project_id=DEMO_PROJECT_ID), *cove_routes(self)]
        app = create_app(
            settings,
            self.network,
            routes,
            self.token,
            identity=self.users.identity,
            authenticator=self.users.authenticator,
            is_admin=self.network.policy.is_admin,
        )
        self.agent = DhcpAgent(self.bus, settings, self.timeline)
        self._stops.append(("dhcp_agent", self._stop_agent))  # after compute: VMs end before what serves them
        await self._begin("compute", self.compute.start(), self._stop_compute)
        await self._serve(app)
        await self._start_agent()
        log.info("up", api=self.api_url, state_dir=str(settings.state_dir))

    async def _start_agent(self) -> None:
        """Start the DHCP agent. With many networks to converge it goes on in the background; the API is up."""
        self._agent_start = asyncio.create_task(self.agent.start(), name="dhcp_agent_start")
        done, _ = await asyncio.wait({self._agent_start}, timeout=AGENT_START_WAIT_S)
        if done:
            self._agent_start.result()
            return

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                log.error("dhcp_agent_failed", error=str(task.exception()))
                self.request_stop()

        self._agent_start.add_done_callback(ended)

    async def _begin(self, name: str, starting: Awaitable[None], stop: Callable[[], Awaitable[None]]) -> None:
        self._stops.append((name, stop))
        await starting

    async def _serve(self, app: ASGIApp) -> None:
        """Serve the API; write down where."""
        settings = self.settings
        self.api_url = self._http.url
        self._stops.append(("api", self._http.stop))
        await self._http.start(app)
        self.users.write_clouds(self.api_url)
        endpoint = json.dumps({"api_url": self.api_url, "pid": os.getpid()})
        write_atomic(settings.run_dir / "endpoint.json", endpoint + "\n", mode=0o600)

    async def _stop_agent(self) -> None:
        if self._agent_start is not None:
            self._agent_start.cancel()
            await asyncio.wait({self._agent_start})
        await (self.agent.shutdown() if self._take_down else self.agent.stop())

    async def _stop_compute(self) -> None:
        await (self.compute.shutdown() if self._take_down else self.compute.stop())

    async def stop(self) -> None:
        """Stop what was started, in reverse. What fails is logged, and does not keep the rest from stopping."""
        while self._stops:
            name, stop = self._stops.pop()
            try:
                async with asyncio.timeout(60):
                    await stop()
            except Exception:
                log.exception("stop_failed", part=name)
        if self._pid_file.held:  # else the files are another server's
            for name in ("endpoint.json", "token", CLOUDS_FILE):
                (self.settings.run_dir / name).unlink(missing_ok=True)
            if self._take_down:
                remove_ours(self.settings.run_dir, RUN_NAMES)
            self._pid_file.release()
            with contextlib.suppress(OSError):
                self.settings.run_dir.rmdir()  # a start that failed leaves no empty directory
        log.info("stopped", took_down=self._take_down)


def _store_path(settings: Settings) -> Path:
    """The directory of the embedded store. Raises CoveError for storage that is not embedded."""
    scheme, _, path = settings.storage_url.partition("://")
    if scheme != "store":
        raise CoveError(f"storage_url {settings.storage_url!r}: only store://PATH is there yet")
    return Path(path)
