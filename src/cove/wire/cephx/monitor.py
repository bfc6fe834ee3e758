"""The monitor's end of a connection: the login, and the requests for tickets that follow on the open session.

The client names itself and is challenged, whoever it says it is; its proof is then checked, and answered by an AUTH
ticket, the connection's secret and the service tickets it asked for. Who is refused does not learn why.

Source: Ceph's auth/cephx/CephxServiceHandler.h, mon/AuthMonitor.h (rules), doc/dev/cephx_protocol.
"""

from __future__ import annotations

import errno
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from ..auth import (
    AUTH_MODE_MON,
    AuthDone,
    AuthMethod,
    AuthMore,
    AuthRefused,
    AuthSecrets,
    AuthStep,
    ConnectionMode,
    decode_entity_name,
)
from ..encoding import Decoder, Encoder
from ..errors import PeerError
from ..types import EntityType
from .keys import CryptoKey, KeyType, Usage
from .rotating import ROTATED_SERVICES
from .server import CephxServer, Entity
from .structures import (
    Authenticate,
    AuthTicket,
    Request,
    RequestHeader,
    ResponseHeader,
    ServerChallenge,
    ServiceTicketRequest,
)
from .tickets import (
    CONNECTION_SECRET_BYTES,
    Authorizer,
    IssuedTicket,
    encode_ticket_reply,
    open_ticket,
    seal_connection_secret,
)

_AUTH_MODE_MON_LAST = 19
_TICKET_SERVICES = tuple(sorted(service for service in ROTATED_SERVICES if service != EntityType.AUTH))


class _Refused(Exception):
    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.result = -error


@dataclass(frozen=True, slots=True)
class MAuthAnswer:
    """What a MAuthReply carries: 0 or a negative errno, the client's global id, a payload."""

    result: int
    global_id: int
    payload: bytes = b""


class MonitorAuth:
    """A `ServerAuth` for one connection of a monitor; afterwards it answers the session's MAuth messages."""

    def __init__(self, server: CephxServer) -> None:
        self._server = server
        self._challenge = 0
        self._mode = ConnectionMode.CRC
        self._is_open = False
        self.entity_name = ""
        """Whoever has proved to be this, once logged in; before that, who it claims to be."""
        self.global_id = 0

    def methods(self, peer: EntityType) -> Sequence[AuthMethod]:
        """cephx, for everyone."""
        return (AuthMethod.CEPHX,)

    def modes(self, peer: EntityType) -> Sequence[ConnectionMode]:
        """As the settings say."""
        return tuple(self._server.settings.modes)

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        """Whoever it is gets a challenge."""
        if self._is_open:
            raise PeerError("AUTH_REQUEST after the login")
        if method != AuthMethod.CEPHX:
            return AuthRefused(-errno.EOPNOTSUPP)
        self._challenge = 0
        try:
            decoder = Decoder(payload)
            kind = decoder.u8()
            self.entity_name, self.global_id = decode_entity_name(decoder), decoder.u64()
        except PeerError:
            return AuthRefused(-errno.EACCES)
        if not AUTH_MODE_MON <= kind <= _AUTH_MODE_MON_LAST:
            # Also a monitor's own service ticket: clients always log in.
            return AuthRefused(-errno.EACCES)
        self._mode = mode
        self._challenge = int.from_bytes(self._server.random_bytes(8), "little") or 1
        return AuthMore(ServerChallenge(self._challenge).to_bytes())

    def more(self, payload: bytes) -> AuthStep:
        """The proof has come."""
        if not self._challenge or self._is_open:
            raise PeerError("AUTH_REQUEST_MORE without a challenge")
        step = self._check_proof(payload)
        if isinstance(step, AuthRefused):
            self._challenge = 0  # there is no second guess
        return step

    def _check_proof(self, payload: bytes) -> AuthStep:
        try:
            decoder = Decoder(payload)
            if RequestHeader.decode(decoder).type != Request.AUTH_SESSION_KEY:
                return AuthRefused(-errno.EINVAL)
            request = Authenticate.decode(decoder)
        except PeerError:
            return AuthRefused(-errno.EPERM)
        try:
            return self._login(request)
        except _Refused as refused:
            return AuthRefused(refused.result)

    def _login(self, request: Authenticate) -> AuthDone:
        server = self._server
        if self._mode == ConnectionMode.SECURE and not request.other_keys:
            # There would be nothing to carry the secret.
            raise _Refused(errno.EINVAL)
        entity = self._prove(request)
        old_key = self._old_session_key(request)
        self._check_mon_caps(entity)
        if not self.global_id:
            self.global_id = server.new_global_id()
        secret = server.random_bytes(CONNECTION_SECRET_BYTES) if self._mode == ConnectionMode.SECURE else b""
        auth, payload = self._answer(entity, request.other_keys, old_key, secret)
        self._is_open = True
        session_key = auth.ticket.session_key.secret
        return AuthDone(self.entity_name, self.global_id, payload, AuthSecrets(session_key, secret))

    def _prove(self, request: Authenticate) -> Entity:
        """Who has the key. Checks in the order of Ceph's, so that the same error is met first."""
        entity = self._server.entity(self.entity_name)
        if entity is None or entity.key.type not in self._server.settings.allowed_key_types:
            raise _Refused(errno.EACCES)
        if self._is_proof_of(entity.key, request):
            return entity
        pending = entity.pending_key
        if pending.type in self._server.settings.allowed_key_types and self._is_proof_of(pending, request):
            return self._server.use_pending_key(entity)
        raise _Refused(errno.EACCES)

    def _is_proof_of(self, key: CryptoKey, request: Authenticate) -> bool:
        if key.type == KeyType.NONE:
            return False
        expected = key.proof(self._challenge, request.client_challenge)
        return hmac.compare_digest(expected.to_bytes(8, "little"), request.proof.to_bytes(8, "little"))

    def _old_session_key(self, request: Authenticate) -> CryptoKey | None:
        """Session key of the AUTH ticket shown, which proves that the global id is the client's own.

        Ceph compares the id alone; but tickets are shown in the open, where another entity may have seen this one.
        """
        shown = request.old_ticket
        if not self.global_id:
            if shown.data:
                raise _Refused(errno.EINVAL)
            return None
        try:
            info = open_ticket(shown, self._server.rotating_secrets(EntityType.AUTH).secrets)
            if self._is_own(info.ticket):
                return info.session_key
        except PeerError:
            pass
        if request.version < 3 and self._server.settings.allow_insecure_global_id_reclaim:
            return None
        raise _Refused(errno.EACCES)

    def _is_own(self, ticket: AuthTicket) -> bool:
        return (ticket.name, ticket.global_id) == (self.entity_name, self.global_id)

    @staticmethod
    def _check_mon_caps(entity: Entity) -> None:
        if not entity.caps.get("mon"):
            raise _Refused(errno.EACCES)

    def _answer(
        self, entity: Entity, wanted: int, old_key: CryptoKey | None, secret: bytes | None
    ) -> tuple[IssuedTicket, bytes]:
        """The AUTH ticket, and the payload that brings it; `secret` is None on an open session."""
        server = self._server
        auth = server.issue(entity, self.global_id, EntityType.AUTH)
        session_key = auth.ticket.session_key
        encoder = Encoder()
        ResponseHeader(Request.AUTH_SESSION_KEY).encode(encoder)
        encode_ticket_reply(encoder, [auth], entity.key, server.random_bytes, old_key)
        if wanted:
            encoder.blob(b"" if secret is None else seal_connection_secret(secret, session_key, server.random_bytes))
            extra = Encoder()
            tickets = self._tickets(entity, wanted)
            if tickets:
                encode_ticket_reply(extra, tickets, session_key, server.random_bytes)
            encoder.blob(extra.bytes())
        return auth, encoder.bytes()

    def _tickets(self, entity: Entity, mask: int) -> list[IssuedTicket]:
        """Tickets for the services in `mask`; what is no service with secrets is left out."""
        return [self._server.issue(entity, self.global_id, service) for service in _TICKET_SERVICES if service & mask]

    # -- the open session

    def handle_mauth(self, payload: bytes) -> MAuthAnswer:
        """The answer to a MAuth message's payload. Raises PeerError before the login."""
        if not self._is_open:
            raise PeerError("MAuth before the login")
        try:
            decoder = Decoder(payload)
            kind = RequestHeader.decode(decoder).type
            if kind == Request.AUTH_SESSION_KEY:
                answer = self._renew_session_key(Authenticate.decode(decoder))
            elif kind == Request.SERVICE_TICKETS:
                answer = self._give_tickets(decoder)
            elif kind == Request.ROTATING_SECRETS:
                answer = self._give_secrets()
            else:
                raise _Refused(errno.EINVAL)
        except PeerError:
            return MAuthAnswer(-errno.EPERM, self.global_id)
        except _Refused as refused:
            return MAuthAnswer(refused.result, self.global_id)
        return MAuthAnswer(0, self.global_id, answer)

    def _renew_session_key(self, request: Authenticate) -> bytes:
        entity = self._prove(request)
        old_key = self._old_session_key(request)
        self._check_mon_caps(entity)
        return self._answer(entity, request.other_keys, old_key, None)[1]

    def _give_tickets(self, decoder: Decoder) -> bytes:
        try:
            secrets = self._server.rotating_secrets(EntityType.AUTH).secrets
            info, _ = Authorizer.decode(decoder).open(EntityType.AUTH, secrets)
        except PeerError:
            raise _Refused(errno.EACCES) from None
        mask = ServiceTicketRequest.decode(decoder).keys
        entity = self._server.entity(self.entity_name)
        if entity is None or not self._is_own(info.ticket):
            raise _Refused(errno.EACCES)
        tickets = self._tickets(entity, mask)
        encoder = Encoder()
        status = 0 if tickets or not mask & ~EntityType.AUTH else -errno.EACCES
        ResponseHeader(Request.SERVICE_TICKETS, status).encode(encoder)
        encode_ticket_reply(encoder, tickets, info.session_key, self._server.random_bytes)
        return encoder.bytes()

    def _give_secrets(self) -> bytes:
        entity = self._server.entity(self.entity_name)
        service = EntityType[self.entity_name.partition(".")[0].upper()]
        if entity is None or service not in _TICKET_SERVICES:
            raise _Refused(errno.EACCES)
        secrets = self._server.rotating_secrets(service)
        encoder = Encoder()
        ResponseHeader(Request.ROTATING_SECRETS).encode(encoder)
        encoder.blob(entity.key.seal(secrets.to_bytes(), Usage.ROTATING_SECRETS, self._server.random_bytes))
        return encoder.bytes()
