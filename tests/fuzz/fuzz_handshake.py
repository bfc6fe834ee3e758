"""The handshake. Invariant: whatever a peer sends, a link gives events or a PeerError, and grants nothing unsigned.

An input is a script for a peer: its first byte chooses the end under test, then come frames, each as tag, length and
payload. They are framed properly here, so that the fuzzer spends its time on what they say and in which order.
"""

from __future__ import annotations

from cove.wire import control
from cove.wire.address import AddrType, EntityAddr
from cove.wire.auth import (
    AuthDone,
    AuthMethod,
    AuthMore,
    AuthRefused,
    AuthSecrets,
    AuthStep,
    ConnectionMode,
    NoneClientAuth,
)
from cove.wire.errors import PeerError
from cove.wire.features import SUPPORTED
from cove.wire.frames import FrameWriter
from cove.wire.handshake import BANNER
from cove.wire.link import Link
from cove.wire.session import LOSSLESS_CLIENT, STATEFUL_SERVER, Session, SessionRegistry
from cove.wire.types import EntityType

MON, CLIENT = EntityAddr.of("127.0.0.1", 3300), EntityAddr.of("127.0.0.1", 0, 42, AddrType.ANY)
SECRET_KEY = b"nobody can know this session key"
_RECONNECTS, _ANY_SIGNATURE, _SERVER = 1, 2, 4


class Auth(NoneClientAuth):
    """Both ends of a method with two rounds; its session key is secret, or there is none."""

    def __init__(self, key: bytes) -> None:
        super().__init__("client.admin", EntityType.MON)
        self.secrets = AuthSecrets(key, bytes(64)) if key else AuthSecrets()

    def more(self, payload: bytes) -> bytes:
        return payload[::-1]

    def done(self, global_id: int, mode: ConnectionMode, payload: bytes) -> AuthSecrets:
        return self.secrets


class ServerEnd:
    """The accepting side."""

    def __init__(self, key: bytes) -> None:
        self.secrets = AuthSecrets(key, bytes(64)) if key else AuthSecrets()

    def methods(self, peer: EntityType) -> list[AuthMethod]:
        return [AuthMethod.NONE, AuthMethod.CEPHX]

    def modes(self, peer: EntityType) -> list[ConnectionMode]:
        return [ConnectionMode.CRC, ConnectionMode.SECURE]

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        return self.more(payload)

    def more(self, payload: bytes) -> AuthStep:
        if payload[:1] == b"m":
            return AuthMore(payload)
        if payload[:1] == b"r":
            return AuthRefused()
        return AuthDone("client.admin", 4113, b"", self.secrets)


def under_test(flags: int) -> Link:
    """The end that the flags choose."""
    key = b"" if flags & _ANY_SIGNATURE else SECRET_KEY
    if flags & _SERVER:
        sessions = SessionRegistry()
        known = Session(STATEFUL_SERVER)
        known.client_cookie, known.server_cookie, known.entity = 1, 2, "client.admin"
        sessions.add((CLIENT,), known)
        return Link.acceptor(
            policy_for=lambda _: STATEFUL_SERVER,
            my_addrs=(MON,),
            my_type=EntityType.MON,
            my_number=0,
            auth=ServerEnd(key),
            sessions=sessions,
            peer_address=CLIENT,
            random_bytes=bytes,
        )
    session = Session(LOSSLESS_CLIENT, (CLIENT,))
    if flags & _RECONNECTS:
        session.client_cookie, session.server_cookie = 1, 2
    return Link.connector(
        session=session,
        peer_type=EntityType.MON,
        target=MON,
        my_type=EntityType.CLIENT,
        auths=[Auth(key), Auth(key)],
        random_bytes=bytes,
    )


def one_input(data: bytes) -> None:
    """Play the script."""
    if not data:
        return
    link = under_test(data[0])
    signed_by_nobody = not data[0] & _ANY_SIGNATURE
    link.start()
    writer, pos = FrameWriter(), 1
    try:
        link.receive(BANNER)
        while pos + 2 <= len(data):
            tag, length = data[pos], data[pos + 1]
            payload = data[pos + 2 : pos + 2 + length]
            pos += 2 + length
            link.receive(b"".join(writer.frame(tag, [payload])))
            link.take_output()
            if signed_by_nobody:
                assert not link.is_ready
                assert link.entity == ""
                assert link.features == 0
    except PeerError:
        assert not link.is_ready
        link.connection_lost()


def script(flags: int, *frames: control.Control) -> bytes:
    """An input that sends these."""
    out = bytes((flags,))
    for frame in frames:
        payload = frame.to_bytes()
        out += bytes((frame.TAG, len(payload))) + payload
    return out


def seeds() -> list[bytes]:
    """Handshakes that succeed, or could have."""
    hello, signature = control.Hello(EntityType.MON, CLIENT), control.AuthSignature(bytes(32))
    done = control.AuthDone(1, 1, b"")
    start = (hello, control.AuthBadMethod(2, -95, [1], [1]), control.AuthReplyMore(b"x"), done, signature)
    server_ident = control.ServerIdent((MON,), 0, 1, SUPPORTED, 0, 0, 9)
    client_hello = control.Hello(EntityType.CLIENT, MON)
    request = control.AuthRequest(1, [1], b"m")
    client_start = (client_hello, request, control.AuthRequestMore(b"d"), signature)
    ident = control.ClientIdent((CLIENT,), MON, 1, 1, SUPPORTED, 0, 0, 1)
    resume = control.SessionReconnect((CLIENT,), 1, 2, 3, 4, 0)
    ack, alive = control.Ack(1), control.Keepalive2(5)
    return [
        script(_ANY_SIGNATURE, *start, server_ident, alive, ack),
        script(0, *start, server_ident),
        script(_ANY_SIGNATURE | _RECONNECTS, *start, control.SessionRetry(1), control.SessionRetryGlobal(4)),
        script(_ANY_SIGNATURE | _RECONNECTS, *start, control.SessionReset(False), server_ident),
        script(_ANY_SIGNATURE | _RECONNECTS, *start, control.SessionReconnectOk(0), alive),
        script(_ANY_SIGNATURE | _SERVER, *client_start, control.CompressionRequest(True, [1]), ident, alive),
        script(_ANY_SIGNATURE | _SERVER, *client_start, resume, ack),
        script(_SERVER, *client_start, ident),
        script(_ANY_SIGNATURE, hello, done, signature, control.IdentMissingFeatures(1)),
        script(_ANY_SIGNATURE, hello, done, signature, control.Wait()),
    ]


if __name__ == "__main__":
    from tests.fuzz.runner import main

    main(one_input, seeds())
