"""Payloads of the control frames: one structure for each tag, declared as a table of fields, for both ends.

The handshake (`handshake.py`) sends and receives these; after it, only KEEPALIVE2, KEEPALIVE2_ACK and ACK are left
(`link.py`). Further bytes behind the known fields are ignored; too few are an error of the peer.

Source: Ceph's doc/dev/msgr2 ("Message frame format": control frames), msg/async/frames_v2.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from .address import ADDR, ADDRVEC, AddrVec, EntityAddr
from .encoding import Buffer, Encoder
from .errors import PeerError
from .frames import Tag, tag_name
from .structure import BLOB, BOOL, I32, I64, U8, U32, U64, UTIME, Codec, Structure, list_of

SIGNATURE_BYTES: Final = 32

U32_LIST: Codec[list[int]] = list_of(U32)
SIGNATURE: Codec[bytes] = Codec(Encoder.raw, lambda decoder: decoder.raw(SIGNATURE_BYTES))

FLAG_LOSSY: Final = 1
"""In the idents: the session ends with its TCP connection."""


class Control(Structure):
    """A control frame's payload; `TAG` is the frame's."""

    __slots__ = ()
    TAG: ClassVar[Tag]


@dataclass(frozen=True, slots=True)
class Hello(Control):
    """Who speaks, and the other's address as seen from here."""

    TAG = Tag.HELLO
    FIELDS = (("entity_type", U8), ("peer_addr", ADDR))
    entity_type: int
    peer_addr: EntityAddr


@dataclass(frozen=True, slots=True)
class AuthRequest(Control):
    """The connector begins with a method."""

    TAG = Tag.AUTH_REQUEST
    FIELDS = (("method", U32), ("modes", U32_LIST), ("payload", BLOB))
    method: int
    modes: list[int]
    payload: bytes


@dataclass(frozen=True, slots=True)
class AuthBadMethod(Control):
    """The acceptor refuses what was tried, with a negative errno, and says what it allows."""

    TAG = Tag.AUTH_BAD_METHOD
    FIELDS = (("method", U32), ("result", I32), ("allowed_methods", U32_LIST), ("allowed_modes", U32_LIST))
    method: int
    result: int
    allowed_methods: list[int]
    allowed_modes: list[int]


@dataclass(frozen=True, slots=True)
class AuthReplyMore(Control):
    """The acceptor wants another round."""

    TAG = Tag.AUTH_REPLY_MORE
    FIELDS = (("payload", BLOB),)
    payload: bytes


@dataclass(frozen=True, slots=True)
class AuthRequestMore(Control):
    """The connector's next round."""

    TAG = Tag.AUTH_REQUEST_MORE
    FIELDS = (("payload", BLOB),)
    payload: bytes


@dataclass(frozen=True, slots=True)
class AuthDone(Control):
    """The acceptor is satisfied; `mode` is what frames will be from now on."""

    TAG = Tag.AUTH_DONE
    FIELDS = (("global_id", U64), ("mode", U32), ("payload", BLOB))
    global_id: int
    mode: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class AuthSignature(Control):
    """HMAC over all that its sender has received until AUTH_DONE."""

    TAG = Tag.AUTH_SIGNATURE
    FIELDS = (("signature", SIGNATURE),)
    signature: bytes


@dataclass(frozen=True, slots=True)
class ClientIdent(Control):
    """The connector asks for a new session. `target` is the address it dialled."""

    TAG = Tag.CLIENT_IDENT
    FIELDS = (
        ("addrs", ADDRVEC),
        ("target", ADDR),
        ("gid", I64),
        ("global_seq", U64),
        ("supported", U64),
        ("required", U64),
        ("flags", U64),
        ("cookie", U64),
    )
    addrs: AddrVec
    target: EntityAddr
    gid: int
    global_seq: int
    supported: int
    required: int
    flags: int
    cookie: int


@dataclass(frozen=True, slots=True)
class ServerIdent(Control):
    """The acceptor grants a new session."""

    TAG = Tag.SERVER_IDENT
    FIELDS = (
        ("addrs", ADDRVEC),
        ("gid", I64),
        ("global_seq", U64),
        ("supported", U64),
        ("required", U64),
        ("flags", U64),
        ("cookie", U64),
    )
    addrs: AddrVec
    gid: int
    global_seq: int
    supported: int
    required: int
    flags: int
    cookie: int


@dataclass(frozen=True, slots=True)
class IdentMissingFeatures(Control):
    """The acceptor requires features that the connector has not."""

    TAG = Tag.IDENT_MISSING_FEATURES
    FIELDS = (("features", U64),)
    features: int


@dataclass(frozen=True, slots=True)
class SessionReconnect(Control):
    """The connector wants to go on with a session; `msg_seq` is the last message that it has received."""

    TAG = Tag.SESSION_RECONNECT
    FIELDS = (
        ("addrs", ADDRVEC),
        ("client_cookie", U64),
        ("server_cookie", U64),
        ("global_seq", U64),
        ("connect_seq", U64),
        ("msg_seq", U64),
    )
    addrs: AddrVec
    client_cookie: int
    server_cookie: int
    global_seq: int
    connect_seq: int
    msg_seq: int


@dataclass(frozen=True, slots=True)
class SessionReset(Control):
    """The acceptor does not know the session. `full`: what was queued belongs to nobody any more."""

    TAG = Tag.SESSION_RESET
    FIELDS = (("full", BOOL),)
    full: bool


@dataclass(frozen=True, slots=True)
class SessionRetry(Control):
    """The acceptor has seen a later connect_seq."""

    TAG = Tag.SESSION_RETRY
    FIELDS = (("connect_seq", U64),)
    connect_seq: int


@dataclass(frozen=True, slots=True)
class SessionRetryGlobal(Control):
    """The acceptor has seen a later global_seq."""

    TAG = Tag.SESSION_RETRY_GLOBAL
    FIELDS = (("global_seq", U64),)
    global_seq: int


@dataclass(frozen=True, slots=True)
class SessionReconnectOk(Control):
    """The session goes on; `msg_seq` is the last message that the acceptor has received."""

    TAG = Tag.SESSION_RECONNECT_OK
    FIELDS = (("msg_seq", U64),)
    msg_seq: int


@dataclass(frozen=True, slots=True)
class Wait(Control):
    """Both ends have dialled: the acceptor's connection will be the one."""

    TAG = Tag.WAIT
    FIELDS = ()


@dataclass(frozen=True, slots=True)
class Keepalive2(Control):
    """Are you there? The stamp is its sender's clock, in nanoseconds."""

    TAG = Tag.KEEPALIVE2
    FIELDS = (("stamp_ns", UTIME),)
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Keepalive2Ack(Control):
    """Yes; with the stamp of the question."""

    TAG = Tag.KEEPALIVE2_ACK
    FIELDS = (("stamp_ns", UTIME),)
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Ack(Control):
    """All messages up to `seq` have been received."""

    TAG = Tag.ACK
    FIELDS = (("seq", U64),)
    seq: int


@dataclass(frozen=True, slots=True)
class CompressionRequest(Control):
    """The connector would compress, by one of the methods."""

    TAG = Tag.COMPRESSION_REQUEST
    FIELDS = (("wanted", BOOL), ("methods", U32_LIST))
    wanted: bool
    methods: list[int]


@dataclass(frozen=True, slots=True)
class CompressionDone(Control):
    """What the acceptor chose; method 0 is none."""

    TAG = Tag.COMPRESSION_DONE
    FIELDS = (("on", BOOL), ("method", U32))
    on: bool
    method: int


CONTROLS: Final[dict[int, type[Control]]] = {
    int(structure.TAG): structure
    for structure in (
        Hello,
        AuthRequest,
        AuthBadMethod,
        AuthReplyMore,
        AuthRequestMore,
        AuthDone,
        AuthSignature,
        ClientIdent,
        ServerIdent,
        IdentMissingFeatures,
        SessionReconnect,
        SessionReset,
        SessionRetry,
        SessionRetryGlobal,
        SessionReconnectOk,
        Wait,
        Keepalive2,
        Keepalive2Ack,
        Ack,
        CompressionRequest,
        CompressionDone,
    )
}
"""Every tag but MESSAGE."""


def decode_control(tag: int, payload: Buffer) -> Control:
    """The payload of a control frame. Raises PeerError naming the frame."""
    structure = CONTROLS.get(tag)
    if structure is None:
        raise PeerError(f"{tag_name(tag)} is no control frame")
    try:
        return structure.from_bytes(payload)
    except PeerError as error:
        raise PeerError(f"{tag_name(tag)} does not decode: {error}") from None
