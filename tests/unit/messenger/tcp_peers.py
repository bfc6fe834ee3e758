"""What the tests of the TCP messenger share: messages, authentication without secrets, recorders, a server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from cove.messenger import Connection, Dispatcher
from cove.messenger.limits import TcpLimits
from cove.messenger.tcp import TcpMessenger, direct
from cove.messenger.tcp_connection import TcpConnection
from cove.wire.address import EntityAddr
from cove.wire.auth import (
    AuthDone,
    AuthMethod,
    AuthMore,
    AuthRefused,
    AuthSecrets,
    AuthStep,
    ClientAuth,
    ConnectionMode,
    NoneClientAuth,
    ServerAuth,
    decode_none_request,
)
from cove.wire.messages import Message, MMonCommand
from cove.wire.session import STATELESS_SERVER, Policy
from cove.wire.types import EntityName, EntityType

FSID = UUID("01234567-89ab-cdef-0123-456789abcdef")
WAIT_S = 5.0
GLOBAL_ID = 4242


def make(tid: int, data: bytes = b"", words: Sequence[str] = ()) -> Message:
    return MMonCommand(tid=tid, fsid=FSID, cmd=list(words), indata=data)


def bulk(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from place to place and from seed to seed."""
    return random.Random(seed).randbytes(size)


class Recorder(Dispatcher):
    """Writes down all that it is told, and wakes who waits for it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Connection]] = []
        self.messages: list[Any] = []
        self.problems: list[Exception] = []
        self.answer: Callable[[Connection, Message], None] | None = None
        self._changed = asyncio.Event()

    def _note(self, name: str, connection: Connection) -> None:
        self.events.append((name, connection))
        self._changed.set()

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        self.messages.append(message)
        self._changed.set()
        if self.answer is not None:
            try:
                self.answer(connection, message)
            except Exception as problem:
                self.problems.append(problem)
                raise
        return True

    def ms_handle_connect(self, connection: Connection) -> None:
        self._note("connect", connection)

    def ms_handle_accept(self, connection: Connection) -> None:
        self._note("accept", connection)

    def ms_handle_reset(self, connection: Connection) -> None:
        self._note("reset", connection)

    def ms_handle_refused(self, connection: Connection) -> None:
        self._note("refused", connection)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    @property
    def tids(self) -> list[int]:
        return [message.tid for message in self.messages]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds, looking again whenever something has been told."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def event(self, name: str, count: int = 1) -> TcpConnection:
        """Wait for the `count`th event of that name, and return its connection."""
        await self.until(lambda: self.names.count(name) >= count)
        connection = [c for n, c in self.events if n == name][count - 1]
        assert isinstance(connection, TcpConnection)
        return connection

    async def received(self, count: int) -> list[Any]:
        await self.until(lambda: len(self.messages) >= count)
        return self.messages


class NoneServer:
    """Believes everybody."""

    def methods(self, peer: EntityType) -> Sequence[AuthMethod]:
        return (AuthMethod.NONE,)

    def modes(self, peer: EntityType) -> Sequence[ConnectionMode]:
        return (ConnectionMode.CRC,)

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        _, entity, global_id = decode_none_request(payload)
        return AuthDone(entity, global_id or GLOBAL_ID, b"", AuthSecrets())

    def more(self, payload: bytes) -> AuthStep:
        raise AssertionError("there is no second round")


SECRETS = AuthSecrets(session_key=b"0123456789abcdef", connection_secret=bytes(range(64)))


class PasswordClient:
    """Two rounds, and keys that both ends know already: what cephx is to the handshake."""

    method = AuthMethod.CEPHX

    def __init__(self, password: bytes, modes: Sequence[ConnectionMode]) -> None:
        self._password = password
        self.modes = modes

    def request(self) -> bytes:
        return b"let me in"

    def more(self, payload: bytes) -> bytes:
        return payload + self._password

    def done(self, global_id: int, mode: ConnectionMode, payload: bytes) -> AuthSecrets:
        return SECRETS


class PasswordServer:
    """The accepting side of it."""

    def methods(self, peer: EntityType) -> Sequence[AuthMethod]:
        return (AuthMethod.CEPHX,)

    def modes(self, peer: EntityType) -> Sequence[ConnectionMode]:
        return (ConnectionMode.SECURE, ConnectionMode.CRC)

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        return AuthMore(b"?")

    def more(self, payload: bytes) -> AuthStep:
        return AuthDone("client.admin", GLOBAL_ID, b"", SECRETS) if payload == b"?right" else AuthRefused(-13)


class NoneSource:
    def client_auths(self, connection: Connection) -> Sequence[ClientAuth]:
        return (NoneClientAuth("client.admin", connection.peer_type),)


class PasswordSource:
    def __init__(self, password: bytes = b"right", modes: Sequence[ConnectionMode] = (ConnectionMode.SECURE,)) -> None:
        self.password = password
        self.modes = modes

    def client_auths(self, connection: Connection) -> Sequence[ClientAuth]:
        return (PasswordClient(self.password, self.modes),)


class NobodySource:
    def client_auths(self, connection: Connection) -> Sequence[ClientAuth]:
        return ()


Auths = Callable[[], ServerAuth]


class Peers:
    """A server that listens and a client that does not; both end with the block."""

    def __init__(
        self,
        *,
        source: Any = None,
        server_auth: Auths = NoneServer,
        policy: Policy = STATELESS_SERVER,
        limits: TcpLimits | None = None,
        server_limits: TcpLimits | None = None,
    ) -> None:
        limits = limits or TcpLimits(handshake_timeout_s=WAIT_S)
        self.server = TcpMessenger(EntityName(EntityType.OSD, 3), limits=server_limits or limits)
        self.via: tuple[str, int] | None = None
        self.client = TcpMessenger(
            EntityName(EntityType.CLIENT, -1), source or NoneSource(), limits=limits, route=self._route
        )
        self.at_server, self.at_client = Recorder(), Recorder()
        self.server.add_dispatcher_tail(self.at_server)
        self.client.add_dispatcher_tail(self.at_client)
        self.address = EntityAddr.of("127.0.0.1", 0)
        self._server_auth = server_auth
        self._policy = policy

    def _route(self, target: EntityAddr) -> tuple[str, int]:
        return self.via or direct(target)

    async def __aenter__(self) -> Peers:
        self.address = await self.server.bind(
            EntityAddr.of("127.0.0.1", 0), self._server_auth, lambda peer: self._policy
        )
        return self

    async def __aexit__(self, *problem: object) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.client.shutdown()
            await self.server.shutdown()
        assert not self.at_client.problems + self.at_server.problems
        for messenger in (self.client, self.server):
            assert not messenger.streams, "a socket was not closed"
            assert not messenger.connections
            assert not messenger._tasks
            assert not messenger.by_session

    def connect(self, **options: Any) -> TcpConnection:
        return self.client.connect_to(str(self.address), EntityType.OSD, **options)

    async def connected(self, **options: Any) -> tuple[TcpConnection, TcpConnection]:
        """Both ends of a new connection that is up."""
        at = self.at_server.names.count("accept")
        ours = self.connect(**options)
        theirs = await self.at_server.event("accept", at + 1)
        await self.at_client.until(lambda: ("connect", ours) in self.at_client.events)
        return ours, theirs
