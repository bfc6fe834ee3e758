"""The HTTP side of a server process: a socket that is bound before anything else is begun, and uvicorn on it."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import resource
import socket
from collections.abc import Callable, Sequence

import structlog
import uvicorn
from starlette.types import ASGIApp

from ..errors import CoveError
from .http_protocol import BoundedProtocol, sweep

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 15
CONNECTIONS_MAX = 2048


class ApiServer(uvicorn.Server):
    """uvicorn that says when it listens, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; once a second, end the connections that take too long."""
        if counter % 10 == 0:
            sweep(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)


class HttpServer:
    """Takes the address when it is made, so that what fails most often fails first; serves from `start` to `stop`.

    `ended` is called when it stops by itself. `trusted_proxies` are addresses and networks whose word on who the client
    is (X-Forwarded-For, X-Forwarded-Proto) is taken; nobody else's is. Raises CoveError.
    """

    def __init__(self, host: str, port: int, ended: Callable[[], None], *, trusted_proxies: Sequence[str] = ()) -> None:
        self._trusted_proxies = checked_proxies(trusted_proxies)
        self._listener = bind(host, port)
        self._ended = ended
        self._server: ApiServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self.url = _url_of(self._listener)
        """URL of the API for who is on this machine."""

    async def start(self, app: ASGIApp) -> None:
        """Accept connections."""
        self._listener.listen(256)
        self._listener.setblocking(False)

        class Protocol(BoundedProtocol):
            connections_max = connections_max()

        # Requests that can't be parsed are nothing to log: anybody can send as many as they like.
        config = uvicorn.Config(
            app, loop="uvloop", http=Protocol, ws="none", lifespan="off", log_config=None, log_level="error",
            access_log=False, timeout_keep_alive=60, timeout_graceful_shutdown=5, server_header=False,
            proxy_headers=bool(self._trusted_proxies), forwarded_allow_ips=self._trusted_proxies,
        )  # fmt: skip
        self._server = server = ApiServer(config)
        self._serving = asyncio.create_task(self._serve(server), name="api")
        async with asyncio.timeout(START_TIMEOUT_S):
            await server.listening.wait()

    async def stop(self) -> None:
        """Finish the requests that are under way, for a moment. May be called again."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._serving
        self._listener.close()

    async def _serve(self, server: ApiServer) -> None:
        try:
            await server._serve(sockets=[self._listener])
        finally:
            self._ended()  # without its API a server is of no use


def connections_max() -> int:
    """How many connections are taken: files, sockets to guests and the database need descriptors, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, max(16, soft // 2))


def checked_proxies(proxies: Sequence[str]) -> list[str]:
    """The setting `api_trusted_proxies`. Raises CoveError."""
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            raise CoveError(
                f"api_trusted_proxies {proxy!r}: give an address or a network, such as 192.0.2.10 or 192.0.2.0/28"
            ) from None
    return list(proxies)


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket, not listening yet. Raises CoveError."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise CoveError(f"api_host {host!r}: give an IP address, such as 127.0.0.1") from None
    if not address.is_loopback:
        log.warning("api_without_tls", host=host, why="passwords and tokens cross the network as plain HTTP")
    listener = socket.socket(
        socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        remedy = "set api_port (COVE_API_PORT) to a free one" if error.errno == errno.EADDRINUSE else "see api_host"
        raise CoveError(f"the API can't listen on {host} port {port} ({error.strerror}): {remedy}") from None
    return listener


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{f'[{address}]' if address.version == 6 else address}:{port}"
