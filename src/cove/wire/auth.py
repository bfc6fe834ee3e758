"""How a connection authenticates: what the handshake asks of an authentication method, at both ends; method `none`.

The handshake (`handshake.py`) moves frames, checks modes and signatures; the payloads belong to a method: `none` here,
cephx in `cephx/`. One `ClientAuth` or `ServerAuth` object serves one attempt on one connection.

Source: Ceph's doc/dev/msgr2 ("Authentication"), auth/AuthClient.h, auth/AuthServer.h.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from .encoding import Buffer, Decoder, Encoder
from .errors import PeerError, UsageError
from .types import EntityType


class AuthMethod(IntEnum):
    """Methods of authentication."""

    UNKNOWN = 0
    NONE = 1
    CEPHX = 2
    GSS = 4


class ConnectionMode(IntEnum):
    """How frames are protected once authentication is done."""

    CRC = 1
    SECURE = 2


AUTH_MODE_AUTHORIZER = 1
"""First byte of the first payload: a service ticket is shown (values 1 to 9)."""
AUTH_MODE_MON = 10
"""First byte of the first payload: a full login at a monitor (values 10 to 19)."""

NO_SESSION_KEY = b""
"""Method none has no session key, and nothing to sign with: signatures are then 32 zero bytes."""
GLOBAL_ID_MAX = (1 << 63) - 1
"""Global ids are unsigned in authentication, but the numbers of entities, in all names, are signed."""


class AuthError(PeerError):
    """The other side refuses us, or did not prove who it is. `result` is a negative errno."""

    def __init__(self, message: str, result: int = -13) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True, slots=True)
class AuthSecrets:
    """What a finished authentication yields: the key of the signatures, and 64 bytes for secure mode (or none)."""

    session_key: bytes = field(default=NO_SESSION_KEY, repr=False)
    connection_secret: bytes = field(default=b"", repr=False)


class ClientAuth(Protocol):
    """The connecting side of one method."""

    method: AuthMethod
    modes: Sequence[ConnectionMode]
    """Acceptable modes, the best first."""

    def request(self) -> bytes:
        """Payload of AUTH_REQUEST."""

    def more(self, payload: bytes) -> bytes:
        """The answer to AUTH_REPLY_MORE. Raises PeerError."""

    def done(self, global_id: int, mode: ConnectionMode, payload: bytes) -> AuthSecrets:
        """AUTH_DONE has come. Raises AuthError when it does not prove that the server knows our key."""


@dataclass(frozen=True, slots=True)
class AuthMore:
    """The server wants another round."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class AuthDone:
    """The client has proved who it is."""

    entity: str
    """E.g. `client.admin`."""
    global_id: int
    payload: bytes
    secrets: AuthSecrets
    caps: bytes = b""
    """What the service's ticket allows, as the caps text; empty at a monitor."""


@dataclass(frozen=True, slots=True)
class AuthRefused:
    """The client is refused, with a negative errno."""

    result: int = -13


AuthStep = AuthMore | AuthDone | AuthRefused


class ServerAuth(Protocol):
    """The accepting side, for one connection."""

    def methods(self, peer: EntityType) -> Sequence[AuthMethod]:
        """Methods allowed for this kind of peer."""

    def modes(self, peer: EntityType) -> Sequence[ConnectionMode]:
        """Connection modes allowed for this kind of peer."""

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        """AUTH_REQUEST has come, with an allowed method; `mode` is the one chosen."""

    def more(self, payload: bytes) -> AuthStep:
        """AUTH_REQUEST_MORE has come."""


def encode_entity_name(encoder: Encoder, name: str) -> None:
    """EntityName of the auth payloads: u32 type, string id; `name` is e.g. `client.admin`. Raises UsageError."""
    kind, _, identity = name.partition(".")
    try:
        encoder.u32(EntityType[kind.upper()])
    except KeyError:
        raise UsageError(f"{name!r} is no entity's name; write e.g. client.admin") from None
    encoder.str(identity)


def decode_entity_name(decoder: Decoder) -> str:
    """EntityName of the auth payloads. Raises PeerError for a type that doesn't exist."""
    number, identity = decoder.u32(), decoder.str()
    try:
        return f"{EntityType(number).name.lower()}.{identity}"
    except ValueError:
        raise PeerError(f"an entity has type {number}") from None


class NoneClientAuth:
    """Method none: the peer believes the name. `service` is a mon or something else (OSD, manager)."""

    method = AuthMethod.NONE
    modes: Sequence[ConnectionMode] = (ConnectionMode.CRC,)

    def __init__(self, name: str, service: EntityType, global_id: int = 0) -> None:
        self._name = name
        self._service = service
        self.global_id = global_id

    def request(self) -> bytes:
        """Kind of login, name, and the global id to keep (0: a new one)."""
        encoder = Encoder()
        encoder.u8(AUTH_MODE_MON if self._service == EntityType.MON else AUTH_MODE_AUTHORIZER)
        encode_entity_name(encoder, self._name)
        encoder.u64(self.global_id)
        return encoder.bytes()

    def more(self, payload: bytes) -> bytes:
        """There is never a second round."""
        raise PeerError("AUTH_REPLY_MORE with method none")

    def done(self, global_id: int, mode: ConnectionMode, payload: bytes) -> AuthSecrets:
        """The global id that the monitor gave; no secrets."""
        self.global_id = global_id
        return AuthSecrets()


def decode_none_request(payload: Buffer) -> tuple[int, str, int]:
    """Payload of AUTH_REQUEST with method none: kind of login, name, global id. Raises PeerError."""
    decoder = Decoder(payload)
    return decoder.u8(), decode_entity_name(decoder), decoder.u64()


class NoneServerAuth:
    """The accepting side of method none: whoever it is, it is believed. For one connection.

    `new_global_id` is what a monitor gives ids with; None makes this the end of an OSD or manager.
    """

    def __init__(self, new_global_id: Callable[[], int] | None = None) -> None:
        self._new_global_id = new_global_id

    def methods(self, peer: EntityType) -> Sequence[AuthMethod]:
        """none, for everyone."""
        return (AuthMethod.NONE,)

    def modes(self, peer: EntityType) -> Sequence[ConnectionMode]:
        """There is no secret that secure mode could use."""
        return (ConnectionMode.CRC,)

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        """Done at once; a kind of login that does not fit this kind of peer is refused."""
        if method != AuthMethod.NONE or mode != ConnectionMode.CRC:
            return AuthRefused(-errno.EOPNOTSUPP)
        try:
            kind, name, global_id = decode_none_request(payload)
        except PeerError:
            return AuthRefused()
        is_mon_login = AUTH_MODE_MON <= kind < AUTH_MODE_MON + 10
        if is_mon_login != (self._new_global_id is not None) or not kind or kind >= AUTH_MODE_MON + 10:
            return AuthRefused()
        if global_id > GLOBAL_ID_MAX:
            return AuthRefused()
        if self._new_global_id is not None and not global_id:
            global_id = self._new_global_id()
        return AuthDone(name, global_id, b"", AuthSecrets(), b"allow *")

    def more(self, payload: bytes) -> AuthStep:
        """There is never a second round."""
        raise PeerError("AUTH_REQUEST_MORE with method none")
