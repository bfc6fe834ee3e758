"""`cove server`: a process that serves the Networking and the Identity API, and nothing else.

Several of them, on as many hosts, share one PostgreSQL database behind one URL. Each keeps nothing of its own: store,
DHCP agent and VMs are those of `cove up`, to which what is for an agent is handed over (`cove.network.outbox`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import structlog

from ..api.app import create_app
from ..bus import connect as connect_bus
from ..config import Settings
from ..db import Database
from ..errors import CoveError
from ..network import NetworkService
from ..timeline import Timeline
from .http_server import HttpServer
from .places import make_directories
from .users import Users

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 60


class ApiService:
    """One API process. `start`, wait for `stop_requested`, `stop`. Raises CoveError for a database of one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stop_requested = asyncio.Event()
        self._stops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self.database = Database(settings.database_url)
        if not self.database.shared:
            raise CoveError(
                f"`cove server` shares a PostgreSQL database with other servers, and database_url is the file "
                f"{self.database.label}: set database_url (COVE_DATABASE_URL) to postgresql://user:password@host/"
                "database, there and for `cove up`; VMs are shown by `cove server list`"
            )

    @property
    def api_url(self) -> str:
        """URL of the API for who is on this machine; once started."""
        return self._http.url

    def request_stop(self) -> None:
        """Ask `run` to end."""
        self.stop_requested.set()

    async def start(self) -> None:
        """Start everything; returns when the API answers. Raises CoveError."""
        settings = self.settings
        make_directories(settings)
        self._http = HttpServer(
            settings.api_host, settings.api_port, self.request_stop, trusted_proxies=settings.api_trusted_proxies
        )
        self._stops.append(("listener", self._http.stop))
        await self._begin("database", self.database.start(), self.database.close)
        users = Users(settings, self.database)
        await self._begin("users", users.start(), users.stop)
        bus = connect_bus(settings.bus_url)
        await self._begin("bus", bus.start(), bus.close)
        network = NetworkService(self.database, bus, Timeline(), settings)
        await self._begin("network", network.start(), network.stop)
        app = create_app(
            settings,
            network,
            [],
            secrets.token_urlsafe(32),  # nobody's: the machine's own token is that of `cove up`
            identity=users.identity,
            authenticator=users.authenticator,
            is_admin=network.policy.is_admin,
        )
        self._stops.append(("api", self._http.stop))
        await self._http.start(app)
        log.info("up", api=self.api_url, database=self.database.label)

    async def stop(self) -> None:
        """Stop what was started, in reverse. What fails is logged, and does not keep the rest from stopping."""
        while self._stops:
            name, stop = self._stops.pop()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await stop()
            except Exception:
                log.exception("stop_failed", part=name)
        log.info("stopped")

    async def _begin(self, name: str, starting: Awaitable[None], stop: Callable[[], Awaitable[None]]) -> None:
        self._stops.append((name, stop))
        await starting
