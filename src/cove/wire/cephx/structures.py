"""The structures of cephx: challenges, tickets and the authorizers that show them, with what is sealed inside.

They carry one version byte at most, never the framed header of other structures, so nothing in them can be skipped.
A version newer than ours is read as ours, as Ceph does: what newer senders add stands at the end.

Source: Ceph's auth/cephx/CephxProtocol.h, auth/Auth.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Self

from ..auth import decode_entity_name, encode_entity_name
from ..encoding import Decoder, Encoder
from ..structure import BLOB, BOOL, I32, STR, U32, U64, UTIME, Codec, Structure, map_of
from .keys import KEY, CryptoKey

U16: Codec[int] = Codec(Encoder.u16, Decoder.u16)
ENTITY_NAME: Codec[str] = Codec(encode_entity_name, decode_entity_name)


class Request(IntEnum):
    """What a client asks a monitor for."""

    AUTH_SESSION_KEY = 0x0100
    SERVICE_TICKETS = 0x0200
    ROTATING_SECRETS = 0x0400


@dataclass(frozen=True, slots=True)
class Since:
    """A field that versions below `version` lack; they mean `default`."""

    codec: Codec[Any]
    version: int
    default: Any


FieldCodec = Codec[Any] | Since


class CephxStructure(Structure):
    """Fields behind one version byte (`VERSION`), or none where it is None."""

    __slots__ = ()
    VERSION: ClassVar[int | None] = 1
    LAYOUT: ClassVar[tuple[tuple[str, FieldCodec], ...]] = ()

    def wire_version(self) -> int | None:
        """The version that is written."""
        return self.VERSION

    def encode(self, encoder: Encoder) -> None:
        """Append the structure."""
        version = self.wire_version()
        if version is not None:
            encoder.u8(version)
        for name, codec in self.LAYOUT:
            if isinstance(codec, Since):
                if version is None or version < codec.version:
                    continue
                codec = codec.codec
            codec.encode(encoder, getattr(self, name))

    @classmethod
    def decode(cls, decoder: Decoder) -> Self:
        """Read the structure. Raises PeerError."""
        version = 0 if cls.VERSION is None else decoder.u8()
        values: dict[str, Any] = {}
        for name, codec in cls.LAYOUT:
            if isinstance(codec, Since):
                values[name] = codec.default if version < codec.version else codec.codec.decode(decoder)
            else:
                values[name] = codec.decode(decoder)
        return cls._make(version, values)

    @classmethod
    def _make(cls, version: int, values: dict[str, Any]) -> Self:
        return cls(**values)


def nested(cls: type[CephxStructure]) -> Codec[Any]:
    """A structure as a field."""
    decode: Callable[[Decoder], Any] = cls.decode
    return Codec(lambda encoder, value: value.encode(encoder), decode)


@dataclass(frozen=True, slots=True)
class RequestHeader(CephxStructure):
    """CephXRequestHeader: what is asked for (a `Request`, if the asker is sane)."""

    VERSION = None
    LAYOUT = (("type", U16),)
    type: int


@dataclass(frozen=True, slots=True)
class ResponseHeader(CephxStructure):
    """CephXResponseHeader: what was asked for, and 0 or a negative errno."""

    VERSION = None
    LAYOUT = (("type", U16), ("status", I32))
    type: int
    status: int = 0


@dataclass(frozen=True, slots=True)
class ServerChallenge(CephxStructure):
    """CephXServerChallenge: a random number that is not 0."""

    LAYOUT = (("challenge", U64),)
    challenge: int


@dataclass(frozen=True, slots=True)
class ChallengeBlob(CephxStructure):
    """CephXChallengeBlob: what the proof of a key is computed from."""

    VERSION = None
    LAYOUT = (("server_challenge", U64), ("client_challenge", U64))
    server_challenge: int
    client_challenge: int


@dataclass(frozen=True, slots=True)
class TicketBlob(CephxStructure):
    """CephXTicketBlob: a sealed `ServiceTicketInfo`, and the id of the service's secret that opens it."""

    LAYOUT = (("secret_id", U64), ("data", BLOB))
    secret_id: int = 0
    data: bytes = field(default=b"", repr=False)


NO_TICKET = TicketBlob()


@dataclass(frozen=True, slots=True)
class Authenticate(CephxStructure):
    """CephXAuthenticate: the proof of the entity's key, the AUTH ticket held so far, and a mask of services wanted."""

    VERSION = 3
    LAYOUT = (
        ("client_challenge", U64),
        ("proof", U64),
        ("old_ticket", nested(TicketBlob)),
        ("other_keys", Since(U32, 2, 0)),
    )
    client_challenge: int
    proof: int
    old_ticket: TicketBlob = NO_TICKET
    other_keys: int = 0
    version: int = 3
    """Below 3: from a client that does not know that its old ticket must be shown."""

    def wire_version(self) -> int:
        """As it came."""
        return self.version

    @classmethod
    def _make(cls, version: int, values: dict[str, Any]) -> Self:
        return cls(**values, version=version)


@dataclass(frozen=True, slots=True)
class ServiceTicket(CephxStructure):
    """CephXServiceTicket, the client's half of a ticket. The validity is a duration, in nanoseconds."""

    LAYOUT = (("session_key", KEY), ("validity_ns", UTIME))
    session_key: CryptoKey
    validity_ns: int


@dataclass(frozen=True, slots=True)
class AuthCapsInfo(CephxStructure):
    """AuthCapsInfo: what the bearer may do. The blob holds an encoded string, or nothing."""

    LAYOUT = (("allow_all", BOOL), ("caps", BLOB))
    allow_all: bool = False
    caps: bytes = b""

    @staticmethod
    def of(text: str) -> AuthCapsInfo:
        """From the text of a capability; empty: no capability."""
        return AuthCapsInfo(caps=STR.pack(text) if text else b"")

    def text(self) -> str:
        """The capability's text. Raises PeerError."""
        return STR.unpack(self.caps) if self.caps else ""


@dataclass(frozen=True, slots=True)
class AuthTicket(CephxStructure):
    """AuthTicket: for whom, from when to when (nanoseconds since the epoch), and what it allows."""

    VERSION = 2
    LAYOUT = (
        ("name", ENTITY_NAME),
        ("global_id", U64),
        ("old_auid", Since(U64, 2, 2**64 - 1)),
        ("created_ns", UTIME),
        ("expires_ns", UTIME),
        ("caps", nested(AuthCapsInfo)),
        ("flags", U32),
    )
    name: str
    global_id: int
    created_ns: int
    expires_ns: int
    caps: AuthCapsInfo = AuthCapsInfo()
    flags: int = 0
    old_auid: int = 2**64 - 1


@dataclass(frozen=True, slots=True)
class ServiceTicketInfo(CephxStructure):
    """CephXServiceTicketInfo, the service's half of a ticket: sealed so that only the service can read it."""

    LAYOUT = (("ticket", nested(AuthTicket)), ("session_key", KEY))
    ticket: AuthTicket
    session_key: CryptoKey


@dataclass(frozen=True, slots=True)
class ServiceTicketRequest(CephxStructure):
    """CephXServiceTicketRequest: a mask of services."""

    LAYOUT = (("keys", U32),)
    keys: int


@dataclass(frozen=True, slots=True)
class Authorize(CephxStructure):
    """CephXAuthorize: a nonce, and from the second round on the answer to the service's challenge."""

    VERSION = 2
    LAYOUT = (("nonce", U64), ("have_challenge", Since(BOOL, 2, False)), ("challenge_plus_one", Since(U64, 2, 0)))
    nonce: int
    have_challenge: bool = False
    challenge_plus_one: int = 0


@dataclass(frozen=True, slots=True)
class AuthorizeChallenge(CephxStructure):
    """CephXAuthorizeChallenge."""

    LAYOUT = (("challenge", U64),)
    challenge: int


@dataclass(frozen=True, slots=True)
class AuthorizeReply(CephxStructure):
    """CephXAuthorizeReply; version 2 only where there is a secret."""

    VERSION = 2
    LAYOUT = (("nonce_plus_one", U64), ("connection_secret", Since(BLOB, 2, b"")))
    nonce_plus_one: int
    connection_secret: bytes = field(default=b"", repr=False)

    def wire_version(self) -> int:
        """2 where there is a secret."""
        return 2 if self.connection_secret else 1


@dataclass(frozen=True, slots=True)
class ExpiringKey(CephxStructure):
    """ExpiringCryptoKey: a key, and when it ends (nanoseconds since the epoch)."""

    LAYOUT = (("key", KEY), ("expires_ns", UTIME))
    key: CryptoKey
    expires_ns: int


@dataclass(frozen=True, slots=True)
class RotatingSecrets(CephxStructure):
    """RotatingSecrets: a service's secrets by id, and the highest id ever given."""

    LAYOUT = (("secrets", map_of(U64, nested(ExpiringKey))), ("max_id", U64))
    secrets: dict[int, ExpiringKey]
    max_id: int = 0


STRUCTURES: tuple[type[CephxStructure], ...] = (
    RequestHeader,
    ResponseHeader,
    ServerChallenge,
    ChallengeBlob,
    TicketBlob,
    Authenticate,
    ServiceTicket,
    ServiceTicketInfo,
    AuthTicket,
    AuthCapsInfo,
    ServiceTicketRequest,
    Authorize,
    AuthorizeChallenge,
    AuthorizeReply,
    ExpiringKey,
    RotatingSecrets,
)
"""All of them, for the tests and the fuzzer."""
