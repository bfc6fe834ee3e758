"""One attempt of a client to log in, at a monitor (`MonLogin`) or at an OSD or manager (`ServiceLogin`).

Attempts share nothing: they hold copies of what they need, so that several can run at once. What a login at a monitor
brings lies in the attempt until `CephxClient.adopt` takes it.

Source: Ceph's doc/dev/cephx_protocol, auth/cephx/CephxClientHandler.h, CephxProtocol.h.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..auth import AUTH_MODE_MON, AuthError, AuthMethod, AuthSecrets, ConnectionMode, encode_entity_name
from ..encoding import NS_PER_S, Decoder, Encoder
from ..errors import PeerError
from ..types import EntityType
from .keys import CryptoKey, RandomBytes, Usage
from .structures import (
    NO_TICKET,
    Authenticate,
    Authorize,
    AuthorizeChallenge,
    AuthorizeReply,
    Request,
    RequestHeader,
    ResponseHeader,
    ServerChallenge,
    TicketBlob,
)
from .tickets import Authorizer, IssuedTicket, decode_ticket_reply, open_connection_secret

_SECRET_BYTES_MIN = 40
_U64 = 2**64
_LIFETIMES_MAX = 4
"""No service opens a ticket that is this many times as old as it was to become."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as its bearer holds it; times in nanoseconds since the epoch, by the bearer's clock."""

    blob: TicketBlob
    session_key: CryptoKey
    expires_ns: int
    renew_after_ns: int
    useless_after_ns: int

    @staticmethod
    def received(issued: IssuedTicket, now_ns: int) -> Ticket:
        """From a reply that came at `now_ns`."""
        validity_ns = issued.ticket.validity_ns
        quarter_ns = validity_ns // NS_PER_S * NS_PER_S // 4
        expires_ns = now_ns + validity_ns
        return Ticket(
            blob=issued.blob,
            session_key=issued.ticket.session_key,
            expires_ns=expires_ns,
            renew_after_ns=expires_ns - quarter_ns,
            useless_after_ns=now_ns + _LIFETIMES_MAX * validity_ns,
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logs in: all that an attempt needs to know of the client."""

    name: str
    key: CryptoKey
    random_bytes: RandomBytes = field(repr=False)
    global_id: int = 0
    """0: none yet."""
    auth_ticket: Ticket | None = None
    """Shown to keep the global id."""

    def random_u64(self) -> int:
        """A nonce or challenge, never 0."""
        return int.from_bytes(self.random_bytes(8), "little") or 1

    def prove(self, server_challenge: int, wanted: int) -> bytes:
        """The answer to a monitor's challenge: request AUTH_SESSION_KEY, and the tickets wanted besides."""
        challenge = self.random_u64()
        shown = self.auth_ticket is not None and self.global_id != 0
        request = Authenticate(
            client_challenge=challenge,
            proof=self.key.proof(server_challenge, challenge),
            old_ticket=self.auth_ticket.blob if shown and self.auth_ticket else NO_TICKET,
            other_keys=wanted,
        )
        return RequestHeader(Request.AUTH_SESSION_KEY).to_bytes() + request.to_bytes()

    def open_session_key(self, decoder: Decoder) -> tuple[list[IssuedTicket], bytes]:
        """The monitor's answer to a proof, behind its header: tickets, the AUTH one first, and a connection secret.

        Raises AuthError if it was not made with our key, PeerError if it makes no sense.
        """
        old_key = None if self.auth_ticket is None else self.auth_ticket.session_key
        issued = open_tickets(decoder, self.key, f"the key of {self.name}: wrong key, or not our monitor", old_key)
        if len(issued) != 1 or issued[0].service != EntityType.AUTH or not issued[0].ticket.validity_ns:
            raise PeerError("the monitor's answer to a login does not begin with an AUTH ticket")
        session_key = issued[0].ticket.session_key
        if not decoder.remaining:
            return issued, b""
        sealed_secret, extra = decoder.blob(), decoder.blob()
        try:
            secret = open_connection_secret(sealed_secret, session_key)
        except PeerError as error:
            raise AuthError(f"the monitor's connection secret does not open with its own ticket ({error})") from error
        if extra:
            issued += open_tickets(Decoder(extra), session_key, "the AUTH ticket that came with it")
        return issued, secret


def open_tickets(decoder: Decoder, key: CryptoKey, which: str, wrap_key: CryptoKey | None = None) -> list[IssuedTicket]:
    """Tickets from the monitor. Raises AuthError, saying `which` key did not fit."""
    try:
        return decode_ticket_reply(decoder, key, wrap_key)
    except PeerError as error:
        raise AuthError(f"the monitor's answer could not be opened with {which} ({error})") from error


class MonLogin:
    """A `ClientAuth` for a monitor. `started_ns` is when it began: the tickets' time is counted from there."""

    method = AuthMethod.CEPHX

    def __init__(self, identity: Identity, started_ns: int, wanted: int, modes: Sequence[ConnectionMode]) -> None:
        self.modes: Sequence[ConnectionMode] = tuple(modes)
        self.started_ns = started_ns
        self.global_id = identity.global_id
        self.server_challenge = 0
        self.issued: list[IssuedTicket] = []
        self.is_done = False
        self._identity = identity
        self._wanted = wanted

    def request(self) -> bytes:
        """Who we are, and the global id to keep (0: a new one)."""
        encoder = Encoder()
        encoder.u8(AUTH_MODE_MON)
        encode_entity_name(encoder, self._identity.name)
        encoder.u64(self.global_id)
        self.server_challenge = 0
        return encoder.bytes()

    def more(self, payload: bytes) -> bytes:
        """The monitor's challenge has come: prove that we have the key. Raises PeerError."""
        if self.server_challenge or self.is_done:
            raise PeerError("a monitor challenges us a second time")
        self.server_challenge = ServerChallenge.from_bytes(payload).challenge
        if not self.server_challenge:
            raise PeerError("a monitor's challenge is 0")
        return self._identity.prove(self.server_challenge, self._wanted)

    def done(self, global_id: int, mode: ConnectionMode, payload: bytes) -> AuthSecrets:
        """The tickets have come. Raises AuthError when they were not made with our key."""
        name = self._identity.name
        if not self.server_challenge:
            raise AuthError(f"the monitor lets {name} in without having asked for a proof")
        if not global_id or (self.global_id and global_id != self.global_id):
            raise AuthError(f"the monitor gives {name} global id {global_id}, not {self.global_id or 'a new one'}")
        decoder = Decoder(payload)
        header = ResponseHeader.decode(decoder)
        if header.type != Request.AUTH_SESSION_KEY or header.status:
            text = f"the monitor answers the login of {name} with type 0x{header.type:04x}, status {header.status}"
            raise AuthError(text, header.status if header.status < 0 else -13)
        issued, secret = self._identity.open_session_key(decoder)
        if mode == ConnectionMode.SECURE and len(secret) < _SECRET_BYTES_MIN:
            raise AuthError(f"the monitor gives a secret of {len(secret)} bytes for a secure connection")
        self.global_id = global_id
        self.issued = issued
        self.is_done = True
        return AuthSecrets(issued[0].ticket.session_key.secret, secret)


class ServiceLogin:
    """A `ClientAuth` for an OSD or manager: it shows a ticket, and shows it again with the answer to a challenge."""

    method = AuthMethod.CEPHX

    def __init__(
        self, identity: Identity, service: EntityType, ticket: Ticket, modes: Sequence[ConnectionMode]
    ) -> None:
        self.modes: Sequence[ConnectionMode] = tuple(modes)
        self._identity = identity
        self._service = service
        self._who = service.name.lower()
        self._ticket = ticket
        self._nonce = 0
        self._is_challenged = False

    def request(self) -> bytes:
        """The ticket, with a new nonce."""
        self._nonce = self._identity.random_u64()
        self._is_challenged = False
        return self._show(Authorize(self._nonce))

    def more(self, payload: bytes) -> bytes:
        """The service's challenge has come. Raises AuthError, PeerError."""
        if not self._nonce or self._is_challenged:
            raise PeerError(f"the {self._who} challenges us a second time")
        challenge = AuthorizeChallenge.from_bytes(self._open(payload, Usage.AUTHORIZE_CHALLENGE)).challenge
        self._is_challenged = True
        return self._show(Authorize(self._nonce, True, (challenge + 1) % _U64))

    def done(self, global_id: int, mode: ConnectionMode, payload: bytes) -> AuthSecrets:
        """The service has let us in. Raises AuthError when it has not shown that it could open the ticket."""
        if not self._nonce:
            raise AuthError(f"the {self._who} lets us in before we have asked")
        if global_id != self._identity.global_id:
            raise AuthError(f"the {self._who} takes us for {global_id}, not for {self._identity.global_id}")
        reply = AuthorizeReply.from_bytes(self._open(Decoder(payload).blob(), Usage.AUTHORIZE_REPLY))
        expected = (self._nonce + 1) % _U64
        if not hmac.compare_digest(reply.nonce_plus_one.to_bytes(8, "little"), expected.to_bytes(8, "little")):
            raise AuthError(f"the {self._who} answers another nonce than ours")
        if mode == ConnectionMode.SECURE and len(reply.connection_secret) < _SECRET_BYTES_MIN:
            raise AuthError(f"the {self._who} gives no secret for a secure connection")
        return AuthSecrets(self._ticket.session_key.secret, reply.connection_secret)

    def _show(self, authorize: Authorize) -> bytes:
        who, ticket = self._identity, self._ticket
        return Authorizer.make(
            who.global_id, self._service, ticket.blob, ticket.session_key, authorize, who.random_bytes
        ).to_bytes()

    def _open(self, sealed: bytes, usage: Usage) -> bytes:
        try:
            return self._ticket.session_key.unseal(sealed, usage)
        except PeerError as error:
            raise AuthError(f"the {self._who} did not show that it could open our ticket ({error})") from error


def refusal(name: str, peer: EntityType, result: int, allowed: Sequence[int] = ()) -> AuthError:
    """The error for a peer that refuses us with `result` (and the methods it allows): what it may mean, what to do."""
    who = peer.name.lower()
    if allowed and AuthMethod.CEPHX not in allowed:
        text = f"the {who} does not take cephx, only {_methods(allowed)}: set auth_client_required to that"
    elif result == -95:
        text = f"the {who} and {name} have no authentication method or connection mode in common"
    elif peer == EntityType.MON:
        text = f"the monitor refuses {name}: no such user, a wrong key, or no capability for the monitors (caps mon)"
    else:
        text = f"the {who} refuses the ticket of {name}: it is too old, or a clock is wrong"
    return AuthError(f"{text} [error {-result}]", result)


def _methods(numbers: Sequence[int]) -> str:
    known = {method.value: method.name.lower() for method in AuthMethod}
    return ", ".join(known.get(number, str(number)) for number in numbers)
