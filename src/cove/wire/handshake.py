"""The handshake, from the first byte of a TCP connection until the session is ready: states, transitions, and what
both ends do alike. `handshake_connector.py` and `handshake_acceptor.py` have the handlers of one end each.

    connector                                                acceptor
    banner ------------------------------------------------> <-------------------------------------------- banner
    HELLO -------------------------------------------------> <--------------------------------------------- HELLO
    AUTH_REQUEST ------------------------------------------>
                                             <-------------- AUTH_BAD_METHOD (another AUTH_REQUEST), or
    AUTH_REQUEST_MORE <------------------------------------> AUTH_REPLY_MORE, any number of times
                                             <-------------- AUTH_DONE: mode and secrets are settled
    AUTH_SIGNATURE ----------------------------------------> <------------------------------------ AUTH_SIGNATURE
    CLIENT_IDENT or SESSION_RECONNECT --------------------->
                                             <-------------- SERVER_IDENT or SESSION_RECONNECT_OK: ready

Neither end grants anything before the other's signature is checked: it is an HMAC over every byte that its sender has
received, so that nobody in between can have changed the choice of a method or mode.

What may come in which state is in `TRANSITIONS`; anything else is a fault. A fault is a `PeerError`: the owner closes
the TCP connection, and no frame says why.

Source: Ceph's doc/dev/msgr2 ("Phase: banner" to "Phase: message flow handshake"), msg/async/ProtocolV2.cc.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from . import control
from .auth import AuthDone, AuthSecrets, ConnectionMode
from .encoding import Buffer
from .errors import PeerError
from .frame_crypto import secure_keys
from .frames import Frame, FrameReader, FrameWriter, Tag, tag_name
from .link_events import Event
from .session import Policy, Session
from .types import EntityType

BANNER_PREFIX: Final = b"ceph v2\n"
_BANNER_V1: Final = b"ceph v02"
REVISION_1: Final = 1
"""Protocol feature: frames of msgr2.1."""
PROTOCOL_SUPPORTED: Final = REVISION_1
PROTOCOL_REQUIRED: Final = REVISION_1
_BANNER_LENGTH = struct.Struct("<H")
_BANNER_FEATURES = struct.Struct("<QQ")
BANNER: Final = (
    BANNER_PREFIX
    + _BANNER_LENGTH.pack(_BANNER_FEATURES.size)
    + _BANNER_FEATURES.pack(PROTOCOL_SUPPORTED, PROTOCOL_REQUIRED)
)

FRAMES_MAX: Final = 64
"""Frames of one handshake, whatever they are; more is a peer that plays for time."""

PEER_TYPES: Final = frozenset((EntityType.MON, EntityType.MDS, EntityType.OSD, EntityType.CLIENT, EntityType.MGR))


class Role(Enum):
    """Which end."""

    CONNECTOR = "connector"
    ACCEPTOR = "acceptor"


class State(Enum):
    """Named by what is waited for."""

    START = "start"
    BANNER = "banner"
    HELLO = "hello"
    AUTH = "auth"
    AUTH_MORE = "auth_more"
    SIGN = "sign"
    IDENT = "ident"
    RECONNECT = "reconnect"
    SESSION = "session"
    READY = "ready"
    CLOSED = "closed"


class Transition(NamedTuple):
    """In `state`, `tag` is handled by the method `handler`, which leads to one of `leads_to`."""

    role: Role
    state: State
    tag: Tag
    handler: str
    leads_to: tuple[State, ...]


_C, _A = Role.CONNECTOR, Role.ACCEPTOR

TRANSITIONS: Final[tuple[Transition, ...]] = (
    Transition(_C, State.HELLO, Tag.HELLO, "on_hello", (State.AUTH,)),
    Transition(_C, State.AUTH, Tag.AUTH_BAD_METHOD, "on_bad_method", (State.AUTH,)),
    Transition(_C, State.AUTH, Tag.AUTH_REPLY_MORE, "on_reply_more", (State.AUTH_MORE,)),
    Transition(_C, State.AUTH, Tag.AUTH_DONE, "on_auth_done", (State.SIGN,)),
    Transition(_C, State.AUTH_MORE, Tag.AUTH_BAD_METHOD, "on_refused", ()),
    Transition(_C, State.AUTH_MORE, Tag.AUTH_REPLY_MORE, "on_reply_more", (State.AUTH_MORE,)),
    Transition(_C, State.AUTH_MORE, Tag.AUTH_DONE, "on_auth_done", (State.SIGN,)),
    Transition(_C, State.SIGN, Tag.AUTH_SIGNATURE, "on_signature", (State.IDENT, State.RECONNECT)),
    Transition(_C, State.IDENT, Tag.SERVER_IDENT, "on_server_ident", (State.READY,)),
    Transition(_C, State.IDENT, Tag.IDENT_MISSING_FEATURES, "on_missing_features", ()),
    Transition(_C, State.IDENT, Tag.WAIT, "on_wait", (State.CLOSED,)),
    Transition(_C, State.RECONNECT, Tag.SESSION_RECONNECT_OK, "on_reconnect_ok", (State.READY,)),
    Transition(_C, State.RECONNECT, Tag.SESSION_RESET, "on_reset", (State.IDENT,)),
    Transition(_C, State.RECONNECT, Tag.SESSION_RETRY, "on_retry", (State.RECONNECT,)),
    Transition(_C, State.RECONNECT, Tag.SESSION_RETRY_GLOBAL, "on_retry_global", (State.RECONNECT,)),
    Transition(_C, State.RECONNECT, Tag.WAIT, "on_wait", (State.CLOSED,)),
    Transition(_A, State.HELLO, Tag.HELLO, "on_hello", (State.AUTH,)),
    Transition(_A, State.AUTH, Tag.AUTH_REQUEST, "on_auth_request", (State.AUTH, State.AUTH_MORE, State.SIGN)),
    Transition(_A, State.AUTH_MORE, Tag.AUTH_REQUEST_MORE, "on_request_more", (State.AUTH_MORE, State.SIGN)),
    Transition(_A, State.SIGN, Tag.AUTH_SIGNATURE, "on_signature", (State.SESSION,)),
    Transition(_A, State.SESSION, Tag.COMPRESSION_REQUEST, "on_compression", (State.SESSION,)),
    Transition(_A, State.SESSION, Tag.CLIENT_IDENT, "on_client_ident", (State.SESSION, State.CLOSED, State.READY)),
    Transition(_A, State.SESSION, Tag.SESSION_RECONNECT, "on_reconnect", (State.SESSION, State.CLOSED, State.READY)),
)
"""The whole handshake after the banners. In READY, `link.py` goes on."""

_BY_ROLE: Final = {role: {(row.state, int(row.tag)): row for row in TRANSITIONS if row.role is role} for role in Role}


def _signature(session_key: bytes, transcript: Buffer) -> bytes:
    """HMAC-SHA256; where there is no session key (method none) the signature is all zero, and checked all the same."""
    if not session_key:
        return bytes(control.SIGNATURE_BYTES)
    return hmac.digest(session_key, transcript, hashlib.sha256)


class Channel:
    """The two directions of a connection: what comes out of the reader, and what waits to be written."""

    __slots__ = ("output", "reader", "sent_log", "writer")

    def __init__(self) -> None:
        self.reader = FrameReader()
        self.reader.messages_allowed = False
        self.reader.transcript = bytearray()
        self.writer = FrameWriter()
        self.output: list[Buffer] = []
        self.sent_log: bytearray | None = bytearray()
        """Everything sent, until the signatures are made."""

    def write(self, data: bytes) -> None:
        """Bytes that are no frame."""
        self.output.append(data)
        if self.sent_log is not None:
            self.sent_log += data

    def send(self, frame: control.Control) -> None:
        """A control frame."""
        parts = self.writer.frame(frame.TAG, (frame.to_bytes(),))
        self.output += parts
        if self.sent_log is not None:
            for part in parts:
                self.sent_log += part


class Handshake:
    """What both ends share. Handlers take the decoded frame and return the next state."""

    ROLE: Role

    def __init__(
        self,
        channel: Channel,
        link: object,
        my_type: EntityType,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.channel = channel
        self.link = link
        self.my_type = my_type
        self.random_bytes = random_bytes
        self.state = State.START
        self.events: list[Event] = []
        self.peer_type = EntityType.UNSET
        self.mode = ConnectionMode.CRC
        self.global_id = 0
        self.session: Session | None = None
        self.granted: AuthDone | None = None
        """(Acceptor) who the peer is, once its signature was right."""
        self._banner_payload_bytes = 0
        """As the peer announces it; 0: not yet."""
        self._expected_signature = b""
        self._frames_left = FRAMES_MAX
        self._rows = _BY_ROLE[self.ROLE]

    def start(self) -> None:
        """The TCP connection is up: send the banner, without waiting for the peer's."""
        assert self.state is State.START
        self.channel.write(BANNER)
        self.state = State.BANNER

    def step(self) -> bool:
        """Handle one piece of what has arrived; False if more bytes are needed. Raises PeerError."""
        if self.state is State.BANNER:
            return self._read_banner()
        frame = self.channel.reader.next_frame()
        if frame is None:
            return False
        self._handle(frame)
        return True

    def _handle(self, frame: Frame) -> None:
        row = self._rows.get((self.state, frame.tag))
        if row is None:
            raise PeerError(f"{tag_name(frame.tag)} in state {self.state.value} of the {self.ROLE.value}")
        self._frames_left -= 1
        if self._frames_left < 0:
            raise PeerError(f"a handshake of more than {FRAMES_MAX} frames")
        handler: Callable[[control.Control], State] = getattr(self, row.handler)
        state = handler(control.decode_control(frame.tag, frame.segments[0]))
        assert state in row.leads_to, f"{row.handler} leads to {state}"
        self.state = state
        if state is State.READY:
            self.channel.reader.messages_allowed = True

    # --- banner ------------------------------------------------------------------------------------------------------

    def _read_banner(self) -> bool:
        """Prefix and length have to be there before the payload is looked at."""
        reader = self.channel.reader
        head_bytes = len(BANNER_PREFIX) + _BANNER_LENGTH.size
        if not self._banner_payload_bytes:
            if reader.buffered_bytes < head_bytes:
                return False
            head = reader.take(head_bytes)
            if not head.startswith(BANNER_PREFIX):
                hint = "; it speaks msgr v1 there" if head.startswith(_BANNER_V1) else ""
                raise PeerError(f"the peer's banner begins with {head[:8]!r}, not {BANNER_PREFIX!r}{hint}")
            (self._banner_payload_bytes,) = _BANNER_LENGTH.unpack_from(head, len(BANNER_PREFIX))
            if self._banner_payload_bytes < _BANNER_FEATURES.size:
                raise PeerError(f"the payload of the peer's banner has {self._banner_payload_bytes} bytes")
        if reader.buffered_bytes < self._banner_payload_bytes:
            return False
        supported, required = _BANNER_FEATURES.unpack_from(reader.take(self._banner_payload_bytes))
        if required & ~PROTOCOL_SUPPORTED:
            raise PeerError(f"the peer requires protocol features {required:#x}; {PROTOCOL_SUPPORTED:#x} are known")
        if PROTOCOL_REQUIRED & ~supported:
            raise PeerError(f"the peer has protocol features {supported:#x}; msgr2.1 is needed")
        self.channel.send(self._hello())
        self.state = State.HELLO
        return True

    def _hello(self) -> control.Hello:
        raise NotImplementedError

    # --- signatures --------------------------------------------------------------------------------------------------

    def _settle(self, secrets: AuthSecrets, mode: ConnectionMode) -> None:
        """AUTH_DONE has been sent or received: sign what was received, and change the mode in both directions.

        The frame that carries our signature is the first in the new mode, as the peer's is.
        """
        channel = self.channel
        received, sent = channel.reader.transcript, channel.sent_log
        assert received is not None
        assert sent is not None
        signature = _signature(secrets.session_key, received)
        self._expected_signature = _signature(secrets.session_key, sent)
        channel.reader.transcript = channel.sent_log = None
        self.mode = mode
        if mode is ConnectionMode.SECURE:
            keys = secure_keys(secrets.connection_secret)
            outgoing, incoming = keys.to_acceptor, keys.to_connector
            if self.ROLE is Role.ACCEPTOR:
                outgoing, incoming = incoming, outgoing
            channel.writer.switch_to_secure(keys.key, outgoing)
            channel.reader.switch_to_secure(keys.key, incoming)
        channel.send(control.AuthSignature(signature))

    def _check_signature(self, frame: control.AuthSignature) -> None:
        if not hmac.compare_digest(frame.signature, self._expected_signature):
            raise PeerError("the peer's signature of the handshake is wrong: it has another key, or bytes were changed")

    def _new_cookie(self) -> int:
        """Random, and not 0."""
        return int.from_bytes(self.random_bytes(8), "little") or 1

    # --- what both ends learn from each other ------------------------------------------------------------------------

    @staticmethod
    def _peer_type(number: int) -> EntityType:
        if number not in PEER_TYPES:
            raise PeerError(f"HELLO from an entity of type {number}")
        return EntityType(number)

    @staticmethod
    def _agree(policy: Policy, supported: int) -> int:
        return policy.supported & supported
