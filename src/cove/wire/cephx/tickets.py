"""How tickets travel: the monitor's reply that hands them out, and the authorizer that shows one.

Both ends use these. What fails to open raises PeerError; what that means (a wrong key, a forged ticket) is said by
the callers, who know whose key it was.

Source: Ceph's auth/cephx/CephxProtocol.cc (names and meaning), doc/dev/cephx_protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..auth import AUTH_MODE_AUTHORIZER
from ..encoding import Decoder, Encoder
from ..errors import PeerError
from ..types import EntityType
from .keys import CryptoKey, KeyType, RandomBytes, Usage
from .structures import Authorize, ExpiringKey, ServiceTicket, ServiceTicketInfo, TicketBlob

_REPLY_VERSION = 1
_TICKETS_MAX = 32
CONNECTION_SECRET_BYTES = 64
"""Length of the secret of a secure connection; 40 of them are used."""


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """One ticket of a reply: for which service, the client's half, and the half that the service can open."""

    service: int
    ticket: ServiceTicket
    blob: TicketBlob = field(repr=False)


def encode_ticket_reply(
    encoder: Encoder,
    tickets: Sequence[IssuedTicket],
    key: CryptoKey,
    random_bytes: RandomBytes,
    wrap_key: CryptoKey | None = None,
) -> None:
    """Tickets sealed with `key`; their blobs with `wrap_key` too, if there is one (the old AUTH session key)."""
    encoder.u8(_REPLY_VERSION)
    encoder.u32(len(tickets))
    for issued in tickets:
        encoder.u32(issued.service)
        encoder.u8(_REPLY_VERSION)
        encoder.blob(key.seal(issued.ticket.to_bytes(), Usage.SERVICE_TICKET, random_bytes))
        encoder.bool(wrap_key is not None)
        blob = Encoder()
        blob.blob(issued.blob.to_bytes())
        if wrap_key is None:
            encoder.raw(blob.bytes())
        else:
            encoder.blob(wrap_key.seal(blob.bytes(), Usage.WRAPPED_TICKET, random_bytes))


def decode_ticket_reply(decoder: Decoder, key: CryptoKey, wrap_key: CryptoKey | None = None) -> list[IssuedTicket]:
    """The tickets. Raises PeerError, also if they do not open."""
    decoder.u8()
    count = decoder.u32()
    if count > _TICKETS_MAX:
        raise PeerError(f"a reply of {count} tickets; at most {_TICKETS_MAX} are taken")
    found = []
    for _ in range(count):
        service = decoder.u32()
        decoder.u8()
        ticket = ServiceTicket.from_bytes(key.unseal(decoder.blob(), Usage.SERVICE_TICKET))
        if ticket.session_key.type == KeyType.NONE:
            raise PeerError(f"a ticket for service {service} has no session key")
        if decoder.bool():
            if wrap_key is None:
                raise PeerError("a ticket is wrapped with the key of an older one, which was not shown")
            blob = Decoder(wrap_key.unseal(decoder.blob(), Usage.WRAPPED_TICKET)).blob()
        else:
            blob = decoder.blob()
        found.append(IssuedTicket(service, ticket, TicketBlob.from_bytes(blob)))
    return found


def seal_connection_secret(secret: bytes, key: CryptoKey, random_bytes: RandomBytes) -> bytes:
    """The monitor's connection secret as it stands in its reply: a blob in an envelope in a blob."""
    encoder = Encoder()
    inner = Encoder()
    inner.blob(secret)
    encoder.blob(key.seal(inner.bytes(), Usage.CONNECTION_SECRET, random_bytes))
    return encoder.bytes()


def open_connection_secret(data: bytes, key: CryptoKey) -> bytes:
    """The reverse; nothing in, nothing out. Raises PeerError."""
    if not data:
        return b""
    return Decoder(key.unseal(Decoder(data).blob(), Usage.CONNECTION_SECRET)).blob()


@dataclass(frozen=True, slots=True)
class Authorizer:
    """What shows a ticket to a service. `sealed` is a CephXAuthorize under the ticket's session key."""

    global_id: int
    service: int
    blob: TicketBlob
    sealed: bytes

    @staticmethod
    def make(
        global_id: int,
        service: int,
        blob: TicketBlob,
        session_key: CryptoKey,
        authorize: Authorize,
        random_bytes: RandomBytes,
    ) -> Authorizer:
        """With `authorize` sealed."""
        sealed = session_key.seal(authorize.to_bytes(), Usage.AUTHORIZE, random_bytes)
        return Authorizer(global_id, service, blob, sealed)

    def encode(self, encoder: Encoder) -> None:
        """Append it, with the byte that names the kind of login."""
        encoder.u8(AUTH_MODE_AUTHORIZER)
        encoder.u64(self.global_id)
        encoder.u32(self.service)
        self.blob.encode(encoder)
        encoder.blob(self.sealed)

    def to_bytes(self) -> bytes:
        """Encoded."""
        encoder = Encoder()
        self.encode(encoder)
        return encoder.bytes()

    @staticmethod
    def decode(decoder: Decoder) -> Authorizer:
        """Raises PeerError."""
        mode = decoder.u8()
        if not AUTH_MODE_AUTHORIZER <= mode < 10:
            raise PeerError(f"an authorizer begins with {mode}, not with 1 to 9")
        return Authorizer(decoder.u64(), decoder.u32(), TicketBlob.decode(decoder), decoder.blob())

    def open(self, service: EntityType, secrets: Mapping[int, ExpiringKey]) -> tuple[ServiceTicketInfo, Authorize]:
        """Who shows it, and what for. Raises PeerError for everything that is wrong with it.

        That the ticket's time is over is not looked at: it ends when the secret which sealed it is forgotten, so
        that services need not agree on the time.
        """
        if self.service != service:
            raise PeerError(f"a ticket for service {self.service} is of no use at {service.name}")
        info = open_ticket(self.blob, secrets)
        if info.ticket.global_id != self.global_id:
            raise PeerError(f"a ticket of {info.ticket.global_id} is shown by {self.global_id}")
        return info, Authorize.from_bytes(info.session_key.unseal(self.sealed, Usage.AUTHORIZE))


def seal_ticket(info: ServiceTicketInfo, secret_id: int, secret: CryptoKey, random_bytes: RandomBytes) -> TicketBlob:
    """The service's half of a ticket."""
    return TicketBlob(secret_id, secret.seal(info.to_bytes(), Usage.TICKET_INFO, random_bytes))


def open_ticket(blob: TicketBlob, secrets: Mapping[int, ExpiringKey]) -> ServiceTicketInfo:
    """What a service reads in a ticket. Raises PeerError if no secret of that id is known, or it does not fit."""
    secret = secrets.get(blob.secret_id)
    if secret is None:
        raise PeerError(f"a ticket is sealed with secret {blob.secret_id}; known are {sorted(secrets)}")
    return ServiceTicketInfo.from_bytes(secret.key.unseal(blob.data, Usage.TICKET_INFO))
