"""The dialling end of the handshake: the handlers of `handshake.TRANSITIONS` for the connector.

Source: Ceph's msg/async/ProtocolV2.cc ("client handshake").
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence

from . import control
from .address import EntityAddr
from .auth import GLOBAL_ID_MAX, AuthError, AuthMethod, ClientAuth, ConnectionMode
from .errors import PeerError, UsageError
from .handshake import Channel, Handshake, Role, State
from .link_events import LinkReady, LinkWait, SessionReset
from .session import SEQ_END, Session, SessionState
from .types import EntityType

_HINTS = {
    -errno.EACCES: "the name or its key is not accepted there",
    -errno.EOPNOTSUPP: "it allows no such method or mode",
}


def _names(kind: type[AuthMethod] | type[ConnectionMode], numbers: Iterable[int]) -> str:
    known = {int(member): member.name.lower() for member in kind}
    return ", ".join(known.get(number, str(number)) for number in list(numbers)[:8]) or "none at all"


class ConnectorHandshake(Handshake):
    """Authenticates with the first of `auths` that the peer allows, then begins or resumes `session`."""

    ROLE = Role.CONNECTOR
    session: Session

    def __init__(
        self,
        channel: Channel,
        link: object,
        my_type: EntityType,
        random_bytes: Callable[[int], bytes],
        session: Session,
        peer_type: EntityType,
        target: EntityAddr,
        auths: Sequence[ClientAuth],
    ) -> None:
        super().__init__(channel, link, my_type, random_bytes)
        if not auths:
            raise UsageError(f"no method to authenticate with at {target}")
        if not session.my_addrs:
            raise UsageError("a connecting session needs an address of its own, at least its type and nonce")
        self.session = session
        self.target = target
        self._expected_type = peer_type
        self._auths = list(auths)
        self._auth = self._auths.pop(0)
        self._tried: list[AuthMethod] = []

    def start(self) -> None:
        """Number the attempt, and send the banner."""
        self.session.begin_attempt()
        self.session.link = self.link
        super().start()

    def _hello(self) -> control.Hello:
        return control.Hello(self.my_type, self.target)

    def on_hello(self, hello: control.Hello) -> State:
        """Is it the kind of peer that we wanted? It tells which address we have."""
        self.peer_type = self._peer_type(hello.entity_type)
        if self.peer_type is not self._expected_type:
            raise PeerError(
                f"{self.target} is a {self.peer_type.name.lower()}, not a {self._expected_type.name.lower()}"
            )
        own = self.session.my_addrs[0]
        if own.is_blank:
            seen = hello.peer_addr
            if not seen.host:
                raise PeerError(f"{self.target} does not say which address we have")
            # the port is the one of this TCP connection, at which nobody listens
            sockaddr = seen.sockaddr[:2] + bytes(2) + seen.sockaddr[4:]
            self.session.my_addrs = (EntityAddr(own.type, own.nonce, sockaddr), *self.session.my_addrs[1:])
        return self._request()

    def _request(self) -> State:
        auth = self._auth
        self._tried.append(auth.method)
        self.channel.send(control.AuthRequest(auth.method, [int(mode) for mode in auth.modes], auth.request()))
        return State.AUTH

    def on_bad_method(self, answer: control.AuthBadMethod) -> State:
        """Try the next method that the peer allows, on the same connection."""
        while self._auths:
            self._auth = self._auths.pop(0)
            if self._auth.method in answer.allowed_methods:
                return self._request()
        return self.on_refused(answer)

    def on_refused(self, answer: control.AuthBadMethod) -> State:
        """There is no further method; or the refusal came after a second round, when acceptors take no other one."""
        result = answer.result if answer.result < 0 else -errno.EACCES
        code = errno.errorcode.get(-result, str(-result))
        hint = f" ({_HINTS[result]})" if result in _HINTS else ""
        tried, modes = _names(AuthMethod, self._tried), _names(ConnectionMode, self._auth.modes)
        allowed = _names(AuthMethod, answer.allowed_methods)
        allowed_modes = _names(ConnectionMode, answer.allowed_modes)
        raise AuthError(
            f"{self.target} refuses us with {code}{hint}: tried method {tried} in mode {modes};"
            f" it allows method {allowed} in mode {allowed_modes}",
            result,
        )

    def on_reply_more(self, answer: control.AuthReplyMore) -> State:
        """Another round."""
        self.channel.send(control.AuthRequestMore(self._auth.more(answer.payload)))
        return State.AUTH_MORE

    def on_auth_done(self, done: control.AuthDone) -> State:
        """The peer is satisfied; whether we are shows its proof, and then its signature."""
        if done.mode not in self._auth.modes:
            raise PeerError(f"AUTH_DONE with mode {done.mode}, asked for {_names(ConnectionMode, self._auth.modes)}")
        if done.global_id > GLOBAL_ID_MAX:
            raise PeerError(f"AUTH_DONE with the global id {done.global_id}")
        mode = ConnectionMode(done.mode)
        secrets = self._auth.done(done.global_id, mode, done.payload)
        self.global_id = done.global_id
        self._settle(secrets, mode)
        return State.SIGN

    def on_signature(self, frame: control.AuthSignature) -> State:
        """Both ends have seen the same bytes: begin or resume the session."""
        self._check_signature(frame)
        return self._reconnect() if self.session.server_cookie else self._ident()

    def _ident(self) -> State:
        session = self.session
        if session.lossy:
            session.client_cookie = 0
        elif not session.client_cookie:
            session.client_cookie = self._new_cookie()
        self.channel.send(
            control.ClientIdent(
                session.my_addrs,
                self.target,
                session.gid,
                session.global_seq,
                session.policy.supported,
                session.policy.required,
                control.FLAG_LOSSY if session.lossy else 0,
                session.client_cookie,
            )
        )
        return State.IDENT

    def _reconnect(self) -> State:
        session = self.session
        self.channel.send(
            control.SessionReconnect(
                session.my_addrs,
                session.client_cookie,
                session.server_cookie,
                session.global_seq,
                session.connect_seq,
                session.in_seq,
            )
        )
        return State.RECONNECT

    def on_server_ident(self, ident: control.ServerIdent) -> State:
        """A new session. Its acceptor decides whether it is lossy."""
        session = self.session
        if self.target not in ident.addrs:
            raise PeerError(
                f"the peer at {self.target} says that it is {', '.join(map(str, ident.addrs)) or 'nowhere'}"
            )
        missing = session.policy.required & ~ident.supported
        if missing:
            raise PeerError(f"the peer at {self.target} lacks the feature bits {missing:#x}")
        session.peer_addrs = ident.addrs
        session.peer_number = ident.gid
        session.peer_global_seq = ident.global_seq
        session.features = self._agree(session.policy, ident.supported)
        session.server_cookie = ident.cookie
        session.connect_seq = 0
        session.in_seq = 0
        session.adopt_lossy(bool(ident.flags & control.FLAG_LOSSY))
        return self._ready(resumed=False)

    def _ready(self, resumed: bool) -> State:
        self.session.state = SessionState.READY
        self.events.append(LinkReady(resumed))
        return State.READY

    def on_missing_features(self, answer: control.IdentMissingFeatures) -> State:
        """Nothing that we could do about it."""
        raise PeerError(f"{self.target} requires the feature bits {answer.features:#x}, which we lack")

    def on_wait(self, _: control.Wait) -> State:
        """The peer dials us, too, and its connection will be the one."""
        self.events.append(LinkWait())
        return State.CLOSED

    def on_reconnect_ok(self, answer: control.SessionReconnectOk) -> State:
        """The session goes on; `link.py` sends again what the peer has not received."""
        self.session.acknowledged(answer.msg_seq)
        return self._ready(resumed=True)

    def on_reset(self, answer: control.SessionReset) -> State:
        """The peer does not know the session: begin a new one."""
        self.session.reset(answer.full)
        self.events.append(SessionReset(answer.full))
        return self._ident()

    def on_retry(self, answer: control.SessionRetry) -> State:
        """A later attempt of ours got through before."""
        if answer.connect_seq >= SEQ_END:
            raise PeerError(f"SESSION_RETRY with connect_seq {answer.connect_seq}")
        self.session.connect_seq = answer.connect_seq + 1
        return self._reconnect()

    def on_retry_global(self, answer: control.SessionRetryGlobal) -> State:
        """The peer has seen higher numbers from our address."""
        self.session.global_seq = self.session.global_seqs.next_after(answer.global_seq)
        return self._reconnect()
