"""The messenger over TCP: dials peers, listens for them, and ends everything it began.

    TcpMessenger ── TcpConnection (what dispatchers see, one a peer) ── TcpStream (one socket) ── wire.link.Link
                 └─ Listener (accept.py): sockets of peers until they have authenticated

Source: Ceph's msg/async/AsyncMessenger; doc/dev/msgr2.rst.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from ..wire.address import AddrType, AddrVec, EntityAddr
from ..wire.auth import ServerAuth
from ..wire.errors import UsageError
from ..wire.session import LOSSY_CLIENT, GlobalSequence, Policy, Session, SessionRegistry
from ..wire.types import EntityName, EntityType
from .accept import Listener
from .limits import TcpLimits
from .messenger import AuthSource, Messenger
from .tcp_connection import TcpConnection
from .tcp_stream import TcpStream

log = structlog.get_logger(__name__)

Route = Callable[[EntityAddr], tuple[str, int]]


def direct(target: EntityAddr) -> tuple[str, int]:
    """Dial a peer at its own address."""
    return target.host, target.port


class TcpMessenger(Messenger):
    """An endpoint on the network. Everything of it runs on the event loop in which it was made.

    `auth_source` is asked at each attempt to connect. `nonce` tells this incarnation from others at the same address
    (None: a random one). `route` says which host and port to dial for an address (NAT, test proxies).
    """

    def __init__(
        self,
        name: EntityName,
        auth_source: AuthSource | None = None,
        *,
        nonce: int | None = None,
        limits: TcpLimits | None = None,
        route: Route = direct,
    ) -> None:
        super().__init__(name)
        self.auth_source = auth_source
        self.nonce = secrets.randbelow(2**32 - 1) + 1 if nonce is None else nonce
        self.limits = limits or TcpLimits()
        self.route = route
        self.my_addrs: AddrVec = (EntityAddr(AddrType.ANY, self.nonce),)
        """How peers know us: where we listen, or our IP address (once a peer has told us) with port 0."""
        self.connections: set[TcpConnection] = set()
        self.global_seqs = GlobalSequence()
        self.sessions = SessionRegistry(self.global_seqs)
        self.by_session: dict[Session, TcpConnection] = {}
        """Accepted connections that outlive their socket."""
        self.streams: set[TcpStream] = set()
        """Sockets that are not closed yet."""
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def is_stopped(self) -> bool:
        """Whether it is shut down, or about to be."""
        return self._stopped

    def connect_to(self, address: str, peer_type: EntityType, *, policy: Policy = LOSSY_CLIENT) -> TcpConnection:
        """A connection to the peer at `address` (`v2:IP:PORT/NONCE`, as maps name it); it dials at once.

        Never raises for an address that makes no sense: `ms_handle_refused` tells. Raises UsageError after shutdown.
        """
        if self._stopped:
            raise UsageError("the messenger is shut down")
        session = Session(policy, self.my_addrs, self.name.number, self.global_seqs)
        connection = TcpConnection(self, EntityName(peer_type, -1), address, session, dials=True)
        self.connections.add(connection)
        connection.dial()
        return connection

    async def bind(
        self, address: EntityAddr, server_auth: Callable[[], ServerAuth], policy_for: Callable[[EntityType], Policy]
    ) -> EntityAddr:
        """Listen at an IP address and port (0: any free one) and return the whole address that peers have to dial.

        `server_auth` makes the accepting side of each connection's authentication. Raises OSError if the address is
        taken, UsageError if it is not one that a peer could dial.
        """
        if self._stopped:
            raise UsageError("the messenger is shut down")
        listener = Listener(self, server_auth, policy_for)
        bound = await listener.listen(address)
        if self._stopped:
            listener.close()
            raise UsageError("the messenger was shut down meanwhile")
        self._listeners.append(listener)
        self.my_addrs = (*(addr for addr in self.my_addrs if addr.port), bound)
        return bound

    def learn_addresses(self, addrs: AddrVec) -> None:
        """A peer has told us which IP address we have; it stays, as peers know us by it."""
        if self.my_addrs[0].is_blank:
            self.my_addrs = addrs

    def stream_of(self, link: object) -> TcpStream | None:
        """The open stream that a link belongs to."""
        return next((stream for stream in self.streams if stream.link is link), None)

    def filenos(self) -> Sequence[int]:
        """The numbers of its open sockets, for a process that has inherited copies of them."""
        return [stream.fileno for stream in list(self.streams) if stream.fileno >= 0]

    def run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with this messenger at the latest."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def forget(self, connection: TcpConnection) -> None:
        """A connection is closed for good."""
        self.connections.discard(connection)
        self.by_session.pop(connection.session, None)

    async def shutdown(self) -> None:
        """Close all connections and listeners, and wait until their sockets are closed. Dispatchers are not told."""
        self._stopped = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.mark_down()
        for stream in list(self.streams):
            stream.close()
        endings = [*self._tasks, *(asyncio.ensure_future(stream.wait_closed()) for stream in self.streams)]
        if endings:
            _, open_still = await asyncio.wait(endings, timeout=self.limits.shutdown_timeout_s)
            for ending in open_still:
                ending.cancel()
            if open_still:
                log.warning("shutdown_incomplete", messenger=str(self.name), open=len(open_still))
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()
