"""The accepting side: a listening socket, and the sockets of peers until they have proved who they are.

    accept → TcpStream with Link.acceptor → LinkReady → TcpConnection → ms_handle_accept

A peer that comes back to its lossless session gets the connection that it had before.

Source: Ceph's msg/async/AsyncMessenger (`Processor`), doc/dev/msgr2.rst.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from ..wire.address import AddrType, EntityAddr
from ..wire.auth import ServerAuth
from ..wire.errors import UsageError
from ..wire.link import Event, Link, LinkReady
from ..wire.session import Policy
from ..wire.types import EntityType
from .tcp_connection import TcpConnection
from .tcp_stream import TcpFault, TcpStream

if TYPE_CHECKING:
    from .tcp import TcpMessenger

log = structlog.get_logger(__name__)

BACKLOG = 512


class Listener:
    """One listening socket of a `TcpMessenger`; it owns streams until their handshake is done."""

    def __init__(
        self,
        messenger: TcpMessenger,
        server_auth: Callable[[], ServerAuth],
        policy_for: Callable[[EntityType], Policy],
    ) -> None:
        self._messenger = messenger
        self._server_auth = server_auth
        self._policy_for = policy_for
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.AbstractServer | None = None
        self._timers: dict[TcpStream, asyncio.TimerHandle] = {}

    async def listen(self, address: EntityAddr) -> EntityAddr:
        """Bind and listen; the address that peers have to dial, with our nonce. Raises OSError, UsageError."""
        if address.is_blank or address.host in ("0.0.0.0", "::"):  # noqa: S104
            raise UsageError(f"{address} can't be dialled; name the IP address to listen at")
        server = await self._loop.create_server(self._accept, address.host, address.port, backlog=BACKLOG)
        self._server = server
        port = server.sockets[0].getsockname()[1]
        return EntityAddr.of(address.host, port, address.nonce or self._messenger.nonce, AddrType.MSGR2)

    def close(self) -> None:
        """Listen no more. Connections are the messenger's to close."""
        if self._server is not None:
            self._server.close()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def wait_closed(self) -> None:
        """Wait until the listening socket is closed."""
        if self._server is not None:
            async with asyncio.timeout(self._messenger.limits.shutdown_timeout_s):
                await self._server.wait_closed()

    # streams in their handshake

    def _accept(self) -> TcpStream:
        messenger = self._messenger
        return TcpStream(self, messenger.dispatch_queue, messenger.limits, messenger.streams)

    def stream_made(self, stream: TcpStream) -> None:
        """A peer has connected: begin the handshake, and give it a time-out."""
        messenger = self._messenger
        limits = messenger.limits
        if messenger.is_stopped:
            stream.close()
            return
        peer_address = stream.peer_address
        if len(self._timers) >= limits.handshakes_max:
            slowest = next(iter(self._timers))
            slowest.fault(TcpFault(f"more than {limits.handshakes_max} peers are in their handshake"))
        if len(messenger.streams) > limits.accepted_max:
            log.warning("too_many_connections", peer=str(peer_address), limit=limits.accepted_max)
            stream.close()
            return
        limit_s = limits.handshake_timeout_s
        self._timers[stream] = self._loop.call_later(
            limit_s, stream.fault, TcpFault(f"no handshake within {limit_s} s")
        )
        stream.start(
            Link.acceptor(
                policy_for=self._policy_for,
                my_addrs=messenger.my_addrs,
                my_type=messenger.name.type,
                my_number=messenger.name.number,
                auth=self._server_auth(),
                sessions=messenger.sessions,
                peer_address=peer_address,
                random_bytes=os.urandom,
            )
        )

    def stream_ready(self, stream: TcpStream, event: LinkReady) -> None:
        """The peer has proved who it is: it gets a connection, or the one back that it had."""
        self._stop_timer(stream)
        messenger, link = self._messenger, stream.link
        session = None if link is None else link.session
        assert link is not None
        assert session is not None
        connection = messenger.by_session.get(session)
        if connection is not None and (event.resumed or connection.client_cookie == session.client_cookie):
            connection.attach(stream)
            return
        replaced = None if event.replaces is None else messenger.stream_of(event.replaces)
        if replaced is not None:
            replaced.fault(TcpFault("the peer connected anew"))
        if connection is not None:
            connection.replaced()  # the peer was restarted: what was sent to it is lost
        address = str(link.peer_addrs[0])
        connection = TcpConnection(messenger, link.peer_name, address, session, dials=False)
        messenger.connections.add(connection)
        if not session.lossy:
            messenger.by_session[session] = connection
        connection.attach(stream)
        messenger.dispatch_queue.accepted(connection)

    def stream_event(self, stream: TcpStream, event: Event) -> None:
        """Nothing else happens during a handshake."""

    def stream_lost(self, stream: TcpStream, problem: Exception) -> None:
        """It never got through."""
        if stream.link is not None:
            stream.link.connection_lost()
        self._stop_timer(stream)
        log.info("handshake_failed", address=self._name_of(stream), reason=str(problem) or type(problem).__name__)

    def _name_of(self, stream: TcpStream) -> str:
        try:
            return str(stream.peer_address)
        except UsageError:
            return "?"

    def _stop_timer(self, stream: TcpStream) -> None:
        timer = self._timers.pop(stream, None)
        if timer is not None:
            timer.cancel()
