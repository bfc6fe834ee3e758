"""A link: one msgr2.1 TCP connection without the TCP: received bytes become events, messages become bytes to write.

    owner (messenger/tcp.py)              Link
    connection made            ->         start()
    bytes arrived              ->         receive(data) -> [Event, ...]     PeerError: close the connection
    a message to send          ->         send_message(parts)
    after each of these        <-         take_output(): pieces to write, in order
    connection lost            ->         connection_lost() -> what to do about the session

It joins frames (`frames.py`), the handshake (`handshake.py`) and the session (`session.py`); once the session is ready
it numbers and acknowledges messages and answers keep-alives by itself.

Source: Ceph's doc/dev/msgr2 ("Phase: message exchange"), msg/async/ProtocolV2.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from . import control
from .address import AddrVec, EntityAddr
from .auth import ClientAuth, ConnectionMode, ServerAuth
from .encoding import Buffer
from .errors import PeerError, UsageError
from .frames import Frame, Tag, tag_name
from .handshake import Channel, State
from .handshake_acceptor import AcceptorHandshake
from .handshake_connector import ConnectorHandshake
from .link_events import Event, KeepaliveAck, LinkReady, LinkWait, MessageIn, SessionReset
from .message_codec import MessageHeader, MessageParts
from .session import AfterFault, Policy, Session, SessionRegistry
from .types import EntityName, EntityType

__all__ = [
    "AfterFault",
    "Event",
    "KeepaliveAck",
    "Link",
    "LinkReady",
    "LinkWait",
    "MessageIn",
    "SessionReset",
]

HEADER: Final = struct.Struct("<QQHHHIHQBHH")
"""seq, tid, type, priority, version, data_pre_padding_len, data_off, ack_seq, flags, compat_version, reserved."""
_FLAGS = 3
"""What real peers write; nobody reads it."""
_READY_TAGS = (Tag.KEEPALIVE2, Tag.KEEPALIVE2_ACK, Tag.ACK)
"""Control frames of a ready session; all others are a fault."""
_STAMP_BYTES = 8
_MESSAGE = int(Tag.MESSAGE)


class Link:
    """One connection, either end."""

    __slots__ = ("_acked_seq", "_channel", "_events", "_failed", "_handshake", "_ready", "_session", "_sessions")

    def __init__(self, sessions: SessionRegistry | None) -> None:
        """Use `connector` or `acceptor`."""
        self._channel = Channel()
        self._handshake: ConnectorHandshake | AcceptorHandshake
        self._sessions = sessions
        self._session: Session | None = None
        self._ready = False
        self._failed = False
        self._events: list[Event] = []
        self._acked_seq = 0

    @staticmethod
    def connector(
        *,
        session: Session,
        peer_type: EntityType,
        target: EntityAddr,
        my_type: EntityType,
        auths: Sequence[ClientAuth],
        random_bytes: Callable[[int], bytes],
    ) -> Link:
        """The dialling end. `target` is the peer's address as the map gives it, nonce and all.

        `auths` are tried in order. Raises UsageError if there are none, or if the session has no address.
        """
        link = Link(None)
        link._handshake = ConnectorHandshake(
            link._channel, link, my_type, random_bytes, session, peer_type, target, auths
        )
        return link

    @staticmethod
    def acceptor(
        *,
        policy_for: Callable[[EntityType], Policy],
        my_addrs: AddrVec,
        my_type: EntityType,
        my_number: int,
        auth: ServerAuth,
        sessions: SessionRegistry,
        peer_address: EntityAddr,
        random_bytes: Callable[[int], bytes],
    ) -> Link:
        """The listening end. `peer_address` is the other end of the TCP connection as `accept` told it."""
        link = Link(sessions)
        link._handshake = AcceptorHandshake(
            link._channel,
            link,
            my_type,
            random_bytes,
            policy_for,
            my_addrs,
            my_number,
            auth,
            sessions,
            peer_address,
        )
        return link

    # --- what is known of the peer -----------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether messages may be sent."""
        return self._ready

    @property
    def state(self) -> State:
        """Where the handshake is (READY afterwards)."""
        return self._handshake.state

    @property
    def session(self) -> Session | None:
        """The session; an acceptor has one once it is ready."""
        return self._handshake.session

    @property
    def features(self) -> int:
        """What both ends support; 0 before the session is ready."""
        return self._session.features if self._session is not None else 0

    @property
    def peer_type(self) -> EntityType:
        """Kind of the peer, as it says in HELLO."""
        return self._handshake.peer_type

    @property
    def peer_name(self) -> EntityName:
        """Kind and number; number -1 as long as it is unknown."""
        return EntityName(self._handshake.peer_type, self._session.peer_number if self._session is not None else -1)

    @property
    def peer_addrs(self) -> AddrVec:
        """All addresses of the peer, as it says."""
        return self._session.peer_addrs if self._session is not None else ()

    @property
    def mode(self) -> ConnectionMode:
        """Crc or secure; valid once ready."""
        return self._handshake.mode

    @property
    def global_id(self) -> int:
        """The client's id, given or confirmed by the acceptor's authentication."""
        return self._handshake.global_id

    @property
    def entity(self) -> str:
        """(Acceptor) who the peer has proved to be, e.g. `client.admin`."""
        granted = self._handshake.granted
        return granted.entity if granted is not None else ""

    @property
    def caps(self) -> bytes:
        """(Acceptor) what the peer's ticket allows."""
        granted = self._handshake.granted
        return granted.caps if granted is not None else b""

    # --- the connection ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The TCP connection is up."""
        self._handshake.start()

    def receive(self, data: Buffer) -> list[Event]:
        """What these bytes bring, in any cut. Raises PeerError if the connection has to be closed.

        What came before the offending bytes in the same call is then left in `take_events`. An AuthError says that
        we are refused; after LinkWait, nothing is read any more.
        """
        if self._failed:
            raise PeerError("the link has failed before")
        if not self._ready and self._handshake.state is State.CLOSED:
            # a peer that talks on after WAIT must not fill our memory
            return []
        reader = self._channel.reader
        reader.feed(data)
        events: list[Event] = []
        try:
            if not self._ready:
                self._shake_hands(events)
            if self._ready:
                next_frame, message = reader.next_frame, _MESSAGE
                while (frame := next_frame()) is not None:
                    if frame.tag == message:
                        self._receive_message(frame, events)
                    else:
                        self._receive_control(frame, events)
        except BaseException:
            self._failed = True
            self._ready = False
            self._events = events
            raise
        return events

    def take_events(self) -> list[Event]:
        """After a PeerError: what the same bytes brought before it. A lossless session has counted them as received."""
        events, self._events = self._events, []
        return events

    def take_output(self) -> list[Buffer]:
        """All that is to be written now, in order. Call it after whatever may have sent something."""
        session = self._session
        if session is not None and self._ready and not session.lossy and self._acked_seq < session.in_seq:
            # nothing that went out since has carried the acknowledgement
            self._acked_seq = session.in_seq
            self._channel.send(control.Ack(session.in_seq))
        output = self._channel.output
        self._channel.output = []
        return output

    def connection_lost(self) -> AfterFault:
        """The TCP connection is gone, for whatever reason: what is to be done about the session."""
        self._failed = True
        self._ready = False
        session = self._handshake.session
        if session is None or session.link is not self:
            # there is none yet, or another connection has taken it over
            return AfterFault.CLOSE
        after = session.fault()
        if after is AfterFault.CLOSE and self._sessions is not None:
            self._sessions.drop(session)
        return after

    # --- messages ----------------------------------------------------------------------------------------------------

    def send_message(self, parts: MessageParts) -> None:
        """Number a message and queue it for writing; its buffers must not change any more.

        Raises UsageError if the link is not ready, or if the message is larger than any peer would take.
        """
        session = self._session
        if session is None or not self._ready:
            raise UsageError("a message before the link is ready")
        if session.lossy:
            self._write_message(session.out_seq + 1, parts, session)
            session.out_seq += 1
        else:
            session.check_room(parts)
            self._write_message(session.out_seq + 1, parts, session)
            session.keep(parts)

    def _write_message(self, seq: int, parts: MessageParts, session: Session) -> None:
        kind, tid, priority, version, compat_version, data_off, front, middle, data = parts
        in_seq = session.in_seq
        try:
            header = HEADER.pack(seq, tid, kind, priority, version, 0, data_off, in_seq, _FLAGS, compat_version, 0)
        except struct.error as error:
            raise UsageError(f"a message of type {kind} has a header field that does not fit: {error}") from None
        self._channel.output += self._channel.writer.message(header, front, middle, data)
        self._acked_seq = in_seq

    def send_keepalive(self, now_ns: int) -> None:
        """Ask whether the peer is alive; `KeepaliveAck` will bring the stamp back. Raises UsageError before ready."""
        if not self._ready:
            raise UsageError("a keep-alive before the link is ready")
        self._channel.send(control.Keepalive2(now_ns))

    def _shake_hands(self, events: list[Event]) -> None:
        handshake = self._handshake
        handshake.events = events
        while handshake.state is not State.CLOSED and handshake.step():
            if handshake.state is State.READY:
                session = self._session = handshake.session
                assert session is not None
                self._ready = True
                self._acked_seq = session.in_seq
                ready = events[-1]
                if isinstance(ready, LinkReady) and isinstance(ready.replaces, Link):
                    # whatever still arrives there must not touch the session
                    ready.replaces._failed = True
                    ready.replaces._ready = False
                for seq, parts in session.unacked():
                    self._write_message(seq, parts, session)
                return

    def _receive_message(self, frame: Frame, events: list[Event]) -> None:
        segments = frame.segments
        if len(segments[0]) < HEADER.size:
            raise PeerError(f"MESSAGE with a header of {len(segments[0])} bytes; {HEADER.size} are needed")
        seq, tid, kind, priority, version, _, data_off, ack_seq, flags, compat_version, _ = HEADER.unpack_from(
            segments[0]
        )
        session = self._session
        assert session is not None
        if not session.lossy:
            session.acknowledged(ack_seq)
        if seq <= session.in_seq:
            # it has been here, before the connection was lost
            return
        session.in_seq = seq
        count = len(segments)
        events.append(
            MessageIn(
                MessageHeader(seq, tid, kind, priority, version, data_off, ack_seq, flags, compat_version or version),
                segments[1] if count > 1 else b"",
                segments[2] if count > 2 else b"",
                segments[3] if count > 3 else b"",
            )
        )

    def _receive_control(self, frame: Frame, events: list[Event]) -> None:
        if frame.tag not in _READY_TAGS:
            raise PeerError(f"{tag_name(frame.tag)} in state {State.READY.value}")
        payload = frame.segments[0]
        message = control.decode_control(frame.tag, payload)
        if isinstance(message, control.Keepalive2):
            # the stamp goes back as it came, even if it is none
            self._channel.output += self._channel.writer.frame(Tag.KEEPALIVE2_ACK, (payload[:_STAMP_BYTES],))
        elif isinstance(message, control.Keepalive2Ack):
            events.append(KeepaliveAck(message.stamp_ns))
        elif isinstance(message, control.Ack):
            session = self._session
            assert session is not None
            if not session.lossy:
                session.acknowledged(message.seq)
