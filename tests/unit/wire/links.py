"""Both ends of a link in memory: fake authentication methods, and a wire between them that can be cut anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from cove.wire.address import AddrType, AddrVec, EntityAddr
from cove.wire.auth import (
    AuthDone,
    AuthError,
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
from cove.wire.link import Event, Link
from cove.wire.message_codec import MessageParts
from cove.wire.session import LOSSY_CLIENT, STATELESS_SERVER, Policy, Session, SessionRegistry
from cove.wire.types import EntityType

MON = EntityAddr.of("127.0.0.1", 3300)
CLIENT = EntityAddr.of("127.0.0.1", 0, 4242, AddrType.ANY)
BLANK_CLIENT = EntityAddr(AddrType.ANY, 4242, b"")
SEEN_CLIENT = EntityAddr.of("127.0.0.1", 50000)
CRC, SECURE = ConnectionMode.CRC, ConnectionMode.SECURE


def random_source(seed: bytes) -> Callable[[int], bytes]:
    """Bytes that look random and are always the same."""
    count = 0

    def random_bytes(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_128(seed + count.to_bytes(4, "little")).digest(size)

    return random_bytes


class NoneServerAuth:
    """Method none at the acceptor."""

    def __init__(self, global_id: int = 4113) -> None:
        self.global_id = global_id

    def methods(self, peer: EntityType) -> Sequence[AuthMethod]:
        return (AuthMethod.NONE,)

    def modes(self, peer: EntityType) -> Sequence[ConnectionMode]:
        return (SECURE, CRC)

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        _, name, global_id = decode_none_request(payload)
        return AuthDone(name, global_id or self.global_id, b"", AuthSecrets())

    def more(self, payload: bytes) -> AuthStep:
        raise AssertionError("method none has one round")


SECRETS = AuthSecrets(bytes(range(32)), bytes(range(100, 164)))


class RoundsClientAuth:
    """Stands in for cephx: a challenge, a proof, a session key and a connection secret."""

    method = AuthMethod.CEPHX

    def __init__(self, modes: Sequence[ConnectionMode] = (SECURE, CRC), proof: bytes = b"proof") -> None:
        self.modes = modes
        self.proof = proof
        self.secrets = SECRETS

    def request(self) -> bytes:
        return b"\x0aname"

    def more(self, payload: bytes) -> bytes:
        return self.proof + payload

    def done(self, global_id: int, mode: ConnectionMode, payload: bytes) -> AuthSecrets:
        if payload != b"server proof":
            raise AuthError("the server does not know the key")
        return self.secrets


class RoundsServerAuth(NoneServerAuth):
    """The other end of `RoundsClientAuth`."""

    def __init__(self, modes: Sequence[ConnectionMode] = (SECURE, CRC), rounds: int = 1) -> None:
        super().__init__()
        self.allowed_modes = modes
        self.rounds = rounds
        self.secrets = SECRETS
        self.server_proof = b"server proof"
        self.refuse_request = False

    def methods(self, peer: EntityType) -> Sequence[AuthMethod]:
        return (AuthMethod.CEPHX,)

    def modes(self, peer: EntityType) -> Sequence[ConnectionMode]:
        return self.allowed_modes

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        return AuthRefused() if self.refuse_request else AuthMore(b"challenge")

    def more(self, payload: bytes) -> AuthStep:
        if not payload.startswith(b"proof"):
            return AuthRefused()
        self.rounds -= 1
        if self.rounds > 0:
            return AuthMore(b"again")
        return AuthDone("client.admin", 4113, self.server_proof, self.secrets, b"allow *")


class Ends:
    """A connector and an acceptor, and the bytes on their way between them."""

    def __init__(
        self,
        *,
        session: Session | None = None,
        client_auths: Sequence[ClientAuth] | None = None,
        server_auth: ServerAuth | None = None,
        policy: Policy = STATELESS_SERVER,
        registry: SessionRegistry | None = None,
        target: EntityAddr = MON,
        my_addrs: AddrVec = (MON,),
        peer_type: EntityType = EntityType.MON,
        my_type: EntityType = EntityType.CLIENT,
        step: int = 1 << 30,
    ) -> None:
        self.session = session or Session(LOSSY_CLIENT, (CLIENT,))
        self.registry = registry if registry is not None else SessionRegistry()
        self.client = Link.connector(
            session=self.session,
            peer_type=peer_type,
            target=target,
            my_type=my_type,
            auths=client_auths if client_auths is not None else [NoneClientAuth("client.admin", EntityType.MON)],
            random_bytes=random_source(b"client"),
        )
        self.server = Link.acceptor(
            policy_for=lambda _: policy,
            my_addrs=my_addrs,
            my_type=EntityType.MON,
            my_number=0,
            auth=server_auth or NoneServerAuth(),
            sessions=self.registry,
            peer_address=SEEN_CLIENT,
            random_bytes=random_source(b"server"),
        )
        self.step = step
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self.client_sent = b""
        self.server_sent = b""
        self.client.start()
        self.server.start()

    def client_output(self) -> bytes:
        """Take what the client wants to write."""
        data = b"".join(self.client.take_output())
        self.client_sent += data
        return data

    def server_output(self) -> bytes:
        """Take what the server wants to write."""
        data = b"".join(self.server.take_output())
        self.server_sent += data
        return data

    def to_server(self, data: bytes) -> None:
        """Deliver in steps."""
        for pos in range(0, len(data), self.step):
            self.server_events += self.server.receive(data[pos : pos + self.step])

    def to_client(self, data: bytes) -> None:
        """Deliver in steps."""
        for pos in range(0, len(data), self.step):
            self.client_events += self.client.receive(data[pos : pos + self.step])

    def run(self) -> Ends:
        """Until nobody has anything to say."""
        for _ in range(1000):
            to_server, to_client = self.client_output(), self.server_output()
            if not to_server and not to_client:
                return self
            self.to_server(to_server)
            self.to_client(to_client)
        raise AssertionError("they never stop")


def parts(
    tid: int, front: bytes = b"front", middle: bytes = b"", data: Sequence[bytes] = (), type: int = 42
) -> MessageParts:
    """A message."""
    return MessageParts(type, tid, 127, 1, 1, 0, front, middle, data)
