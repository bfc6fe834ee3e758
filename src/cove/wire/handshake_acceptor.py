"""The listening end of the handshake: the handlers of `handshake.TRANSITIONS` for the acceptor.

Source: Ceph's msg/async/ProtocolV2.cc ("server handshake").
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from . import control
from .address import AddrVec, EntityAddr
from .auth import AuthDone, AuthError, AuthMethod, AuthMore, AuthRefused, AuthStep, ConnectionMode, ServerAuth
from .errors import PeerError
from .handshake import Channel, Handshake, Role, State
from .link_events import LinkReady
from .session import Admission, Policy, SessionRegistry, SessionState
from .types import EntityType

_COMPRESSION_NONE = 0


class AcceptorHandshake(Handshake):
    """Lets a peer prove who it is, then gives it a session."""

    ROLE = Role.ACCEPTOR

    def __init__(
        self,
        channel: Channel,
        link: object,
        my_type: EntityType,
        random_bytes: Callable[[int], bytes],
        policy_for: Callable[[EntityType], Policy],
        my_addrs: AddrVec,
        my_number: int,
        auth: ServerAuth,
        sessions: SessionRegistry,
        peer_address: EntityAddr,
    ) -> None:
        super().__init__(channel, link, my_type, random_bytes)
        self._policy_for = policy_for
        self._my_addrs = my_addrs
        self._my_number = my_number
        self._auth = auth
        self._sessions = sessions
        self._peer_address = peer_address
        self._method = AuthMethod.UNKNOWN
        self._done: AuthDone | None = None

    def _hello(self) -> control.Hello:
        return control.Hello(self.my_type, self._peer_address)

    def on_hello(self, hello: control.Hello) -> State:
        """The policy goes by the kind of peer."""
        self.peer_type = self._peer_type(hello.entity_type)
        self._policy = self._policy_for(self.peer_type)
        return State.AUTH

    # --- authentication ----------------------------------------------------------------------------------------------

    def on_auth_request(self, request: control.AuthRequest) -> State:
        """Choose the mode, the first of the peer's that we allow; let the method look at the payload."""
        try:
            self._method = AuthMethod(request.method)
        except ValueError:
            return self._refuse(request.method, -errno.EOPNOTSUPP, State.AUTH)
        allowed = self._auth.modes(self.peer_type)
        mode = next((mode for mode in request.modes if mode in allowed and self._is_possible(mode)), None)
        if self._method not in self._auth.methods(self.peer_type) or mode is None:
            return self._refuse(request.method, -errno.EOPNOTSUPP, State.AUTH)
        self.mode = ConnectionMode(mode)
        payload = request.payload
        return self._advance(lambda: self._auth.request(self._method, self.mode, payload), State.AUTH)

    def _is_possible(self, mode: int) -> bool:
        """Method none yields no secret to encrypt with."""
        return mode == ConnectionMode.CRC or self._method is not AuthMethod.NONE

    def on_request_more(self, request: control.AuthRequestMore) -> State:
        """Another round. A peer that is refused here stays in this state, where nothing can save it."""
        return self._advance(lambda: self._auth.more(request.payload), State.AUTH_MORE)

    def _advance(self, step: Callable[[], AuthStep], on_refusal: State) -> State:
        try:
            result = step()
        except AuthError as error:
            result = AuthRefused(error.result)
        except PeerError:
            # a payload that makes no sense is a wrong one: which of the two it was is nobody's business
            result = AuthRefused()
        if isinstance(result, AuthDone) and not self._is_of_its_kind(result.entity):
            result = AuthRefused()
        if isinstance(result, AuthRefused):
            return self._refuse(self._method, result.result, on_refusal)
        if isinstance(result, AuthMore):
            self.channel.send(control.AuthReplyMore(result.payload))
            return State.AUTH_MORE
        self._done = result
        self.channel.send(control.AuthDone(result.global_id, self.mode, result.payload))
        self._settle(result.secrets, self.mode)
        return State.SIGN

    def _is_of_its_kind(self, entity: str) -> bool:
        """HELLO chose policy and methods: who said `osd` there must be one. Daemons may connect as clients."""
        return self.peer_type == EntityType.CLIENT or entity.startswith(f"{self.peer_type.name.lower()}.")

    def _refuse(self, method: int, result: int, state: State) -> State:
        methods = [int(allowed) for allowed in self._auth.methods(self.peer_type)]
        modes = [int(allowed) for allowed in self._auth.modes(self.peer_type)]
        self.channel.send(control.AuthBadMethod(method, result, methods, modes))
        return state

    def on_signature(self, frame: control.AuthSignature) -> State:
        """From here on the peer is who it said."""
        self._check_signature(frame)
        assert self._done is not None
        self.granted = self._done
        self.global_id = self._done.global_id
        return State.SESSION

    # --- session -----------------------------------------------------------------------------------------------------

    def on_compression(self, _: control.CompressionRequest) -> State:
        """We never said that we could."""
        self.channel.send(control.CompressionDone(on=False, method=_COMPRESSION_NONE))
        return State.SESSION

    def _check_addrs(self, addrs: AddrVec) -> None:
        if not addrs or any(addr.is_blank for addr in addrs):
            raise PeerError("the peer does not say which address it has")

    def on_client_ident(self, ident: control.ClientIdent) -> State:
        """A new session, unless the peer lacks something or an older one of its address decides otherwise."""
        self._check_addrs(ident.addrs)
        if ident.target not in self._my_addrs:
            raise PeerError(f"the peer wanted {ident.target}; we are {', '.join(map(str, self._my_addrs))}")
        policy = self._policy
        missing = policy.required & ~ident.supported
        if missing:
            self.channel.send(control.IdentMissingFeatures(missing))
            return State.SESSION
        assert self.granted is not None
        admission = self._sessions.admit(ident, policy, self._my_addrs, self.granted.entity)
        if isinstance(admission, control.Wait):
            self.channel.send(admission)
            return State.CLOSED
        session = admission.session
        session.server_cookie = 0 if policy.lossy else self._new_cookie()
        session.features = self._agree(policy, ident.supported)
        # an OSD or a monitor is known by its number; a client by the id that its authentication gave it
        is_client = self.peer_type is EntityType.CLIENT and self.global_id != 0
        session.peer_number = self.global_id if is_client else ident.gid
        self.channel.send(
            control.ServerIdent(
                self._my_addrs,
                self._my_number,
                self._sessions.global_seqs.next(),
                policy.supported,
                policy.required,
                control.FLAG_LOSSY if policy.lossy else 0,
                session.server_cookie,
            )
        )
        return self._ready(admission, resumed=False)

    def on_reconnect(self, request: control.SessionReconnect) -> State:
        """Go on with a session, or say why not: most answers let the peer try again on this connection."""
        self._check_addrs(request.addrs)
        assert self.granted is not None
        answer = self._sessions.resume(request, self._policy, self._my_addrs, self.granted.entity)
        if isinstance(answer, control.Control):
            self.channel.send(answer)
            return State.CLOSED if isinstance(answer, control.Wait) else State.SESSION
        self.channel.send(control.SessionReconnectOk(answer.session.in_seq))
        return self._ready(answer, resumed=True)

    def _ready(self, admission: Admission, resumed: bool) -> State:
        self.session = admission.session
        self.session.link = self.link
        self.session.state = SessionState.READY
        self.events.append(LinkReady(resumed, admission.replaces))
        return State.READY
