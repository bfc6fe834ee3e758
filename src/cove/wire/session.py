"""Sessions: what outlives a TCP connection: policy, cookies, sequence numbers, messages that are not acknowledged.

A lossy session (every client's) ends with its connection; whoever sent through it sends again. A lossless one is
resumed on the next connection, where SESSION_RECONNECT tells each end what the other has received:

    sent:      unacked = [3, 4, 5], out_seq = 5        resumed with msg_seq 4: 5 is sent again, as 5
    received:  in_seq = 7                              what comes with a number up to 7 has been here

`SessionRegistry` keeps an acceptor's sessions by their peers' addresses, and decides what CLIENT_IDENT and
SESSION_RECONNECT are answered with.

Source: Ceph's doc/dev/msgr2 ("Session reconnect"), msg/Policy.h, msg/async/ProtocolV2.cc.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

from . import control
from .address import AddrVec, EntityAddr, msgr2_address
from .errors import PeerError, UsageError
from .features import CLIENT_REQUIRED, CLIENT_SUPPORTED, REQUIRED, SUPPORTED
from .message_codec import MessageParts

UNACKED_MESSAGES_MAX = 65536
UNACKED_BYTES_MAX = 512 << 20
SESSIONS_MAX: Final = 65536
SEQ_END: Final = 1 << 63
"""Numbers of attempts that a peer tells of are refused from here on: ours must be able to go beyond them."""


class Policy(NamedTuple):
    """How sessions with one kind of peer behave."""

    lossy: bool
    """The session ends with its connection."""
    server: bool = False
    """We never dial."""
    standby: bool = False
    """With nothing to send, a lost connection is not replaced until there is."""
    resetcheck: bool = False
    """A peer that was restarted makes us forget the session, and tell the caller."""
    registered: bool = False
    """A lossy server session of which there is one for each client address."""
    supported: int = SUPPORTED
    required: int = REQUIRED
    """Feature bits without which the peer is refused."""


LOSSY_CLIENT: Final = Policy(lossy=True, supported=CLIENT_SUPPORTED, required=CLIENT_REQUIRED)
"""A client to monitors, managers and OSDs."""
LOSSLESS_CLIENT: Final = Policy(lossy=False, resetcheck=True)
"""What real clients fetch their first monmap with. (The monitor answers with a lossy session.)"""
STATELESS_SERVER: Final = Policy(lossy=True, server=True)
"""Monitor and manager towards clients; sufficient for any server of clients."""
STATELESS_REGISTERED_SERVER: Final = STATELESS_SERVER._replace(registered=True)
"""OSD towards clients."""
STATEFUL_SERVER: Final = Policy(lossy=False, server=True, standby=True, resetcheck=True)
"""MDS towards clients."""
LOSSLESS_PEER: Final = Policy(lossy=False, standby=True)
"""OSD and OSD."""
LOSSLESS_PEER_REUSE: Final = LOSSLESS_PEER._replace(resetcheck=True)


class GlobalSequence:
    """Counts a process's connection attempts: a peer refuses those that are older than what it has seen."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def next(self) -> int:
        """A number higher than all before."""
        self.value += 1
        return self.value

    def next_after(self, seen: int) -> int:
        """A number also higher than `seen`, which a peer remembers. Raises PeerError if that is absurd."""
        if seen >= SEQ_END:
            raise PeerError(f"the peer has seen global_seq {seen}")
        self.value = max(self.value, seen)
        return self.next()


class SessionState(Enum):
    """Where a session is."""

    CONNECTING = auto()
    READY = auto()
    STANDBY = auto()
    """Without a connection, kept for the peer's return or the next message."""
    CLOSED = auto()


class AfterFault(Enum):
    """What is to be done when a connection is lost."""

    CLOSE = auto()
    """Nothing is left: tell the caller."""
    STANDBY = auto()
    """Keep the session, and wait."""
    DIAL = auto()
    """Connect again, with a back-off."""


class _Unacked(NamedTuple):
    seq: int
    parts: MessageParts
    size_bytes: int


def _parts_bytes(parts: MessageParts) -> int:
    return len(parts.front) + len(parts.middle) + sum(map(len, parts.data))


class Session:
    """One end of a session. Its connecting end is made by whoever dials, its accepting end by a `SessionRegistry`."""

    __slots__ = (
        "_unacked",
        "_unacked_bytes",
        "client_cookie",
        "connect_seq",
        "entity",
        "features",
        "gid",
        "global_seq",
        "global_seqs",
        "in_seq",
        "link",
        "lossy",
        "my_addrs",
        "out_seq",
        "peer_addrs",
        "peer_global_seq",
        "peer_number",
        "policy",
        "server_cookie",
        "state",
    )

    def __init__(
        self, policy: Policy, my_addrs: AddrVec = (), gid: int = -1, global_seqs: GlobalSequence | None = None
    ) -> None:
        self.policy = policy
        self.lossy = policy.lossy
        """The acceptor's policy decides: a connector learns it from SERVER_IDENT."""
        self.my_addrs = my_addrs
        """Our own. A connector's single address may lack its IP (only type and nonce): HELLO tells it."""
        self.gid = gid
        """What we call ourselves in the ident: global id, rank or OSD id; -1 as long as it is not known."""
        self.global_seqs = global_seqs or GlobalSequence()
        """Shared by all sessions of a process."""
        self.global_seq = 0
        self.connect_seq = 0
        self.client_cookie = 0
        self.server_cookie = 0
        self.in_seq = 0
        """Number of the last message received."""
        self.out_seq = 0
        """Number of the last message sent."""
        self.peer_addrs: AddrVec = ()
        self.peer_number = -1
        self.peer_global_seq = 0
        self.features = 0
        self.entity = ""
        """Whom the peer has proved to be (known to acceptors)."""
        self.state = SessionState.CONNECTING
        self.link: object | None = None
        """The link that it runs on at present."""
        self._unacked: deque[_Unacked] = deque()
        self._unacked_bytes = 0

    def __repr__(self) -> str:
        return f"<Session {self.state.name} in_seq={self.in_seq} out_seq={self.out_seq} unacked={len(self._unacked)}>"

    def begin_attempt(self) -> None:
        """A connection is about to be dialled: it gets numbers higher than those before."""
        self.global_seq = self.global_seqs.next()
        if self.server_cookie:
            self.connect_seq += 1
        self.state = SessionState.CONNECTING

    def check_room(self, parts: MessageParts) -> None:
        """(Lossless) raises UsageError when too much waits for acknowledgement: the peer does not read."""
        if len(self._unacked) >= UNACKED_MESSAGES_MAX or self._unacked_bytes + _parts_bytes(parts) > UNACKED_BYTES_MAX:
            raise UsageError(f"{len(self._unacked)} messages of {self._unacked_bytes} bytes are not acknowledged")

    def keep(self, parts: MessageParts) -> None:
        """(Lossless) a message was written with the next number: keep it until it is acknowledged."""
        self.out_seq += 1
        size = _parts_bytes(parts)
        self._unacked.append(_Unacked(self.out_seq, parts, size))
        self._unacked_bytes += size

    def acknowledged(self, seq: int) -> None:
        """The peer has received everything up to `seq`."""
        unacked = self._unacked
        while unacked and unacked[0].seq <= seq:
            self._unacked_bytes -= unacked.popleft().size_bytes

    @property
    def unacked_messages(self) -> int:
        """How many messages wait for acknowledgement."""
        return len(self._unacked)

    def unacked(self) -> Iterator[tuple[int, MessageParts]]:
        """Messages to send again on a new connection, with the numbers that they had."""
        for seq, parts, _ in self._unacked:
            yield seq, parts

    def reset(self, full: bool) -> None:
        """The peer has lost the session: its half is new. `full`: what was queued is dropped, too."""
        self.server_cookie = 0
        self.connect_seq = 0
        self.in_seq = 0
        if full:
            self.client_cookie = 0
            self.out_seq = 0
            self._unacked.clear()
            self._unacked_bytes = 0

    def adopt_lossy(self, lossy: bool) -> None:
        """The acceptor has said how the session is; a lossy one keeps nothing."""
        self.lossy = lossy
        if lossy:
            self._unacked.clear()
            self._unacked_bytes = 0

    def fault(self) -> AfterFault:
        """The connection is lost. Unacknowledged messages stay, to be sent before all others next time."""
        self.link = None
        if self.lossy or self.state is SessionState.CLOSED:
            self.state = SessionState.CLOSED
            return AfterFault.CLOSE
        self.state = SessionState.STANDBY
        if self.policy.server or (self.policy.standby and not self._unacked):
            return AfterFault.STANDBY
        return AfterFault.DIAL


class Admission(NamedTuple):
    """A peer may go on, with this session."""

    session: Session
    replaces: object | None
    """The link that the session has left; its TCP connection is to be closed."""


def _order_key(addrs: AddrVec) -> bytes:
    """Addresses are ordered as their structs lie in memory: type, nonce and socket address, little endian."""
    addr = msgr2_address(addrs) or (addrs[0] if addrs else EntityAddr())
    return addr.type.to_bytes(4, "little") + addr.nonce.to_bytes(4, "little") + addr.sockaddr[:28].ljust(28, b"\0")


class SessionRegistry:
    """An acceptor's sessions, by the complete address list of the peer. One for each process that accepts."""

    def __init__(self, global_seqs: GlobalSequence | None = None, sessions_max: int = SESSIONS_MAX) -> None:
        self.global_seqs = global_seqs or GlobalSequence()
        self._sessions: dict[AddrVec, Session] = {}
        self._sessions_max = sessions_max

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, addrs: AddrVec) -> Session | None:
        """The session of the peer with these addresses, unless it is closed."""
        session = self._sessions.get(addrs)
        return session if session is not None and session.state is not SessionState.CLOSED else None

    def add(self, addrs: AddrVec, session: Session) -> None:
        """Remember a session, e.g. one that we dial ourselves to a peer that may dial us. Raises PeerError if full."""
        if addrs not in self._sessions and len(self._sessions) >= self._sessions_max:
            raise PeerError(f"{len(self._sessions)} sessions are open; no more are taken")
        session.peer_addrs = addrs
        self._sessions[addrs] = session

    def drop(self, session: Session) -> None:
        """Forget a session: whoever comes back to it is told to start anew."""
        session.state = SessionState.CLOSED
        if self._sessions.get(session.peer_addrs) is session:
            del self._sessions[session.peer_addrs]

    def admit(
        self, ident: control.ClientIdent, policy: Policy, my_addrs: AddrVec, entity: str
    ) -> Admission | control.Wait:
        """What CLIENT_IDENT leads to. Raises PeerError if the connection is to be closed.

        The first rule that fits decides; "being replaced" does not exist here, as replacing is one step.
        """
        kept = policy.registered or not policy.lossy
        old = self.find(ident.addrs) if kept else None
        if old is None:
            return self._admit_new(ident, policy, my_addrs, entity, None)
        idle = old.state in (SessionState.READY, SessionState.STANDBY)
        other_cookie = bool(old.client_cookie and ident.cookie and old.client_cookie != ident.cookie)
        if old.peer_global_seq > ident.global_seq and not (other_cookie and not idle):
            raise PeerError(f"CLIENT_IDENT with global_seq {ident.global_seq} after {old.peer_global_seq}")
        if old.lossy or old.entity != entity or old.peer_global_seq > ident.global_seq:
            return self._admit_new(ident, policy, my_addrs, entity, old)
        if old.server_cookie and old.client_cookie and old.client_cookie != ident.cookie:
            # the peer was restarted
            if policy.resetcheck:
                old.reset(full=True)
            return self._move(old, ident)
        if old.client_cookie == ident.cookie or idle:
            return self._move(old, ident)
        # both dial: the end with the higher address keeps the connection that it made
        if _order_key(ident.addrs) < _order_key(my_addrs) or policy.server:
            return self._move(old, ident)
        return control.Wait()

    def _admit_new(
        self, ident: control.ClientIdent, policy: Policy, my_addrs: AddrVec, entity: str, old: Session | None
    ) -> Admission:
        replaces = None
        if old is not None:
            replaces, old.link = old.link, None
            self.drop(old)
        session = Session(policy, my_addrs, global_seqs=self.global_seqs)
        session.entity = entity
        session.peer_addrs = ident.addrs
        session.peer_global_seq = ident.global_seq
        session.client_cookie = ident.cookie
        if policy.registered or not policy.lossy:
            self.add(ident.addrs, session)
        return Admission(session, replaces)

    def _move(self, session: Session, ident: control.ClientIdent) -> Admission:
        replaces, session.link = session.link, None
        session.peer_global_seq = ident.global_seq
        session.client_cookie = ident.cookie
        session.connect_seq = 0
        session.in_seq = 0
        return Admission(session, replaces)

    def resume(
        self, request: control.SessionReconnect, policy: Policy, my_addrs: AddrVec, entity: str
    ) -> Admission | control.Control:
        """What SESSION_RECONNECT leads to: the session, or what to answer instead.

        The server cookie is not compared, as real daemons don't. Raises PeerError for a number that is absurd.
        """
        if request.connect_seq >= SEQ_END:
            raise PeerError(f"SESSION_RECONNECT with connect_seq {request.connect_seq}")
        session = self.find(request.addrs)
        if session is None or session.entity != entity:
            return control.SessionReset(full=True)
        if session.client_cookie != request.client_cookie:
            return control.SessionReset(full=policy.resetcheck)
        if not session.server_cookie:
            return control.SessionReset(full=False)
        if session.peer_global_seq > request.global_seq:
            return control.SessionRetryGlobal(session.peer_global_seq)
        if session.connect_seq > request.connect_seq:
            return control.SessionRetry(session.connect_seq)
        if (
            session.connect_seq == request.connect_seq
            and not policy.server
            and _order_key(request.addrs) > _order_key(my_addrs)
        ):
            return control.Wait()
        replaces, session.link = session.link, None
        session.connect_seq = request.connect_seq
        session.peer_global_seq = request.global_seq
        session.acknowledged(request.msg_seq)
        return Admission(session, replaces)
