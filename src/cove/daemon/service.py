"""Puts the parts of Cove together, in the order in which they need each other, and takes them apart again.

store → rados client → disks ; database, bus → network service → API ; DHCP agent ; compute.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import json
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import structlog
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.app import create_app
from ..bus import connect as connect_bus
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
from .imports import Imports
from .pidfile import PidFile
from .places import RUN_NAMES, make_directories, remove_ours
from .routes import cove_routes

log = structlog.get_logger(__name__)

AGENT_START_WAIT_S = 1.0


class ApiServer(uvicorn.Server):
    """uvicorn that says when it listens, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self.listening.set()


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
        listener = bind(settings.api_host, settings.api_port)
        self._stops.append(("listener", _closing(listener)))
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
        self.compute = ComputeService(self.database, HttpNetworkApi(http), self.disks, self.timeline, settings)
        routes = [*server_routes(lambda: self.compute, project_id=DEMO_PROJECT_ID), *cove_routes(self)]
        app = create_app(settings, self.network, routes, self.token)
        self.agent = DhcpAgent(self.bus, settings, self.timeline)
        self._stops.append(("dhcp_agent", self._stop_agent))  # after compute: VMs end before what serves them
        await self._begin("compute", self.compute.start(), self._stop_compute)
        await self._serve(app, listener)
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

    async def _serve(self, app: ASGIApp, listener: socket.socket) -> None:
        """Serve the API on the socket; write down where."""
        settings = self.settings
        listener.listen(256)
        listener.setblocking(False)
        host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
        self.api_url = f"http://{host}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app, loop="uvloop", http="httptools", ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_keep_alive=60, timeout_graceful_shutdown=5,
        )  # fmt: skip
        server = ApiServer(config)
        serving = asyncio.create_task(self._serve_until_stopped(server, listener), name="api")

        async def stop_serving() -> None:
            server.should_exit = True
            await asyncio.wait_for(serving, 15)

        self._stops.append(("api", stop_serving))
        await asyncio.wait_for(server.listening.wait(), 10)
        endpoint = json.dumps({"api_url": self.api_url, "pid": os.getpid()})
        write_atomic(settings.run_dir / "endpoint.json", endpoint + "\n", mode=0o600)

    async def _serve_until_stopped(self, server: uvicorn.Server, listener: socket.socket) -> None:
        try:
            await server._serve(sockets=[listener])
        finally:
            self.request_stop()  # without its API the server is of no use

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
                await asyncio.wait_for(stop(), 60)
            except Exception:
                log.exception("stop_failed", part=name)
        if self._pid_file.held:  # else the files are another server's
            for name in ("endpoint.json", "token"):
                (self.settings.run_dir / name).unlink(missing_ok=True)
            if self._take_down:
                remove_ours(self.settings.run_dir, RUN_NAMES)
            self._pid_file.release()
            with contextlib.suppress(OSError):
                self.settings.run_dir.rmdir()  # a start that failed leaves no empty directory
        log.info("stopped", took_down=self._take_down)


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket on a loopback address, not listening yet. Raises CoveError."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise CoveError(f"api_host {host!r}: give an IP address, such as 127.0.0.1") from None
    if not address.is_loopback:
        raise CoveError(f"api_host {host}: the API listens on loopback only until there is an identity service")
    listener = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        remedy = "set api_port (COVE_API_PORT) to a free one" if error.errno == errno.EADDRINUSE else "see api_host"
        raise CoveError(f"the API can't listen on {host} port {port} ({error.strerror}): {remedy}") from None
    return listener


def _closing(listener: socket.socket) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        listener.close()

    return close


def _store_path(settings: Settings) -> Path:
    """The directory of the embedded store. Raises CoveError for storage that is not embedded."""
    scheme, _, path = settings.storage_url.partition("://")
    if scheme != "store":
        raise CoveError(f"storage_url {settings.storage_url!r}: only store://PATH is there yet")
    return Path(path)
