"""The client's end of cephx: log in at a monitor, collect tickets, show them to OSDs and managers, renew them in time.

A `CephxClient` holds what outlives a connection: the key, the global id and the tickets. The attempts to log in
(`login.py`) stand beside it, so that several monitors can be tried at once; the one that is adopted brings the tickets.

    mon_auth() -> AUTH_REQUEST, challenge, proof, AUTH_DONE -> adopt()
    authorizer() -> AUTH_REQUEST with a ticket, challenge, the ticket again, AUTH_DONE
    renewal_due() -> renewal_request() -> MAuth, MAuthReply -> handle_reply() -> perhaps one more request

Source: Ceph's doc/dev/cephx_protocol, auth/cephx/CephxClientHandler.h, CephxProtocol.h.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..auth import AuthError, ConnectionMode
from ..encoding import NS_PER_S, Decoder, Encoder
from ..errors import PeerError, UsageError
from ..types import EntityType
from .keys import CryptoKey, KeyType, RandomBytes, Usage
from .login import Identity, MonLogin, ServiceLogin, Ticket, open_tickets
from .structures import Authorize, Request, RequestHeader, ResponseHeader, RotatingSecrets, ServiceTicketRequest
from .tickets import Authorizer, IssuedTicket

CLIENT_SERVICES = EntityType.AUTH | EntityType.MON | EntityType.OSD | EntityType.MGR
"""The tickets that a client needs, as a mask."""
SECURE_FIRST = (ConnectionMode.SECURE, ConnectionMode.CRC)
CRC_FIRST = (ConnectionMode.CRC, ConnectionMode.SECURE)

_SERVICES = EntityType.AUTH | EntityType.MON | EntityType.MDS | EntityType.OSD | EntityType.MGR
_RETRY_NS = 10 * NS_PER_S
"""How soon a request that has no answer, or brought no ticket for some service, is made again."""


class CephxClient:
    """One entity's identity towards a cluster. Raises UsageError for a name or key that can't be used.

    `name` is e.g. `client.admin`; `wanted` the mask of tickets to hold.
    """

    def __init__(self, name: str, key: CryptoKey, random_bytes: RandomBytes, *, wanted: int = CLIENT_SERVICES) -> None:
        kind, dot, _ = name.partition(".")
        if kind.upper() not in EntityType.__members__ or not dot:
            raise UsageError(f"{name!r} is no name of an entity; write TYPE.ID, e.g. client.admin")
        if key.type == KeyType.NONE:
            raise UsageError(f"the key of {name} is of type none, which cephx does not take")
        self.name = name
        self.key = key
        self.random_bytes = random_bytes
        self.wanted = (wanted | EntityType.AUTH) & _SERVICES
        self.global_id = 0
        """Given by the monitor, and kept for life; 0 before the first login."""
        self.tickets: dict[int, Ticket] = {}
        self._auth_epoch: int | None = None
        self._server_challenge = 0
        self._not_before_ns = 0

    def _identity(self) -> Identity:
        auth_ticket = self.tickets.get(EntityType.AUTH)
        return Identity(self.name, self.key, self.random_bytes, self.global_id, auth_ticket)

    # -- logging in

    def mon_auth(
        self, now_ns: int, wanted: int | None = None, modes: Sequence[ConnectionMode] = SECURE_FIRST
    ) -> MonLogin:
        """One attempt at one monitor. `now_ns`: when it begins; `wanted`: mask of services, by default the client's."""
        mask = self.wanted if wanted is None else (wanted | EntityType.AUTH) & _SERVICES
        return MonLogin(self._identity(), now_ns, mask, modes)

    def adopt(self, attempt: MonLogin) -> None:
        """Take over what a finished attempt has brought.

        Of several attempts, one: the others have other global ids, and their connections are to be closed. Raises
        UsageError for those, and for an attempt that is not finished.
        """
        if not attempt.is_done:
            raise UsageError("a login is adopted that is not finished")
        if self.global_id and attempt.global_id != self.global_id:
            raise UsageError(f"{self.name} is {self.global_id} already; it can't become {attempt.global_id}")
        self.global_id = attempt.global_id
        self._server_challenge = attempt.server_challenge
        self._not_before_ns = 0
        self._take(attempt.issued, attempt.started_ns)

    def forget(self) -> None:
        """Drop global id and tickets: the next login is that of a new client.

        For a monitor that refuses the id because it no longer knows the secrets behind its ticket. The cluster does
        not recognize repeated requests of the old id after this.
        """
        self.global_id = 0
        self.tickets.clear()
        self._server_challenge = 0
        self._not_before_ns = 0

    def handle_auth_epoch(self, epoch: int) -> bool:
        """A monmap says `auth_epoch`. If it has grown since the last one, all tickets are void: returns whether."""
        known = epoch if self._auth_epoch is None else self._auth_epoch
        self._auth_epoch = max(epoch, known)
        if epoch <= known or not self.tickets:
            return False
        auth = self.tickets.pop(EntityType.AUTH, None)
        self.tickets.clear()
        if auth is not None:
            # It must be shown once more to get a new one, but that is due at once.
            self.tickets[EntityType.AUTH] = Ticket(auth.blob, auth.session_key, 0, 0, 0)
        self._not_before_ns = 0
        return True

    # -- showing tickets

    def has_ticket(self, service: EntityType) -> bool:
        """Whether there is one, fresh or not."""
        return service in self.tickets

    def authorizer(self, service: EntityType, now_ns: int, modes: Sequence[ConnectionMode] = CRC_FIRST) -> ServiceLogin:
        """One attempt at an OSD or manager. Raises AuthError if there is no ticket that could be of use there.

        A ticket whose time is over is shown all the same: services only judge by the secrets they know.
        """
        ticket = self.tickets.get(service)
        if ticket is None:
            raise AuthError(f"{self.name} has no ticket for service {service.name.lower()}: log in first")
        if now_ns > ticket.useless_after_ns:
            age_s = (now_ns - ticket.expires_ns) // NS_PER_S
            raise AuthError(
                f"the ticket of {self.name} for service {service.name.lower()} ended {age_s} s ago and could not be "
                "renewed: is a monitor reachable, and is the clock right?"
            )
        return ServiceLogin(self._identity(), service, ticket, modes)

    # -- renewal

    @property
    def next_renewal_ns(self) -> int:
        """When to look again: the earliest time at which a ticket becomes due."""
        return max(min(map(self._due_ns, self._wanted_services())), self._not_before_ns)

    def renewal_due(self, now_ns: int) -> bool:
        """Whether to send `renewal_request` now, on the connection of the adopted login. Never before a login."""
        return self.global_id != 0 and now_ns >= self.next_renewal_ns

    def renewal_request(self, now_ns: int) -> bytes:
        """Payload of the MAuth that asks for what is due. Raises UsageError before the first login."""
        if not self.global_id or EntityType.AUTH not in self.tickets:
            raise UsageError(f"{self.name} can't renew tickets before it has logged in")
        self._not_before_ns = now_ns + _RETRY_NS
        if now_ns >= self._due_ns(EntityType.AUTH):
            return self._identity().prove(self._server_challenge, self.wanted)
        return self._ask_tickets(self._due(now_ns))

    def handle_reply(self, payload: bytes, now_ns: int, result: int = 0) -> bytes | None:
        """The MAuthReply to a renewal has come; returns the next MAuth payload to send, if one is needed.

        Raises AuthError if the monitor refuses, PeerError if its answer does not make sense.
        """
        auth = self.tickets.get(EntityType.AUTH)
        if auth is None:
            raise PeerError("an answer to a renewal that nobody asked for")
        if result < 0:
            raise AuthError(f"the monitor refuses to renew the tickets of {self.name} [error {-result}]", result)
        decoder = Decoder(payload)
        header = ResponseHeader.decode(decoder)
        if header.status < 0:
            raise AuthError(f"the monitor gives {self.name} no tickets [error {-header.status}]", header.status)
        if header.type == Request.AUTH_SESSION_KEY:
            issued, _ = self._identity().open_session_key(decoder)
        elif header.type == Request.SERVICE_TICKETS:
            issued = open_tickets(decoder, auth.session_key, "the key of the AUTH ticket that was shown")
        else:
            raise PeerError(f"an answer to cephx request 0x{header.type:04x}, which was not made")
        self._take(issued, now_ns)
        due = self._due(now_ns)
        if not due:
            self._not_before_ns = 0
            return None
        # Some monitors renew the AUTH ticket alone. What a request for tickets does not bring, the cluster has not.
        return self._ask_tickets(due) if header.type == Request.AUTH_SESSION_KEY else None

    # -- rotating secrets, for daemons

    @staticmethod
    def rotating_request() -> bytes:
        """Payload of the MAuth with which a daemon asks for the secrets of its own service."""
        return RequestHeader(Request.ROTATING_SECRETS).to_bytes()

    def open_rotating_secrets(self, payload: bytes, result: int = 0) -> RotatingSecrets:
        """The answer to `rotating_request`. Raises AuthError, PeerError."""
        decoder = Decoder(payload)
        status = result if result < 0 else ResponseHeader.decode(decoder).status
        if status < 0:
            raise AuthError(f"the monitor gives {self.name} no rotating secrets [error {-status}]", status)
        return RotatingSecrets.from_bytes(self.key.unseal(decoder.blob(), Usage.ROTATING_SECRETS))

    # -- inside

    def _wanted_services(self) -> list[int]:
        return [1 << bit for bit in range(self.wanted.bit_length()) if self.wanted >> bit & 1]

    def _due_ns(self, service: int) -> int:
        ticket = self.tickets.get(service)
        return 0 if ticket is None else ticket.renew_after_ns

    def _due(self, now_ns: int) -> int:
        """Mask of the services whose tickets are to be renewed."""
        return sum(service for service in self._wanted_services() if now_ns >= self._due_ns(service))

    def _take(self, issued: Sequence[IssuedTicket], now_ns: int) -> None:
        for entry in issued:
            # One without validity would be due again at once, for ever.
            if entry.ticket.validity_ns and entry.service in self._wanted_services():
                self.tickets[entry.service] = Ticket.received(entry, now_ns)

    def _ask_tickets(self, mask: int) -> bytes:
        auth = self.tickets[EntityType.AUTH]
        authorize = Authorize(self._identity().random_u64())
        encoder = Encoder()
        RequestHeader(Request.SERVICE_TICKETS).encode(encoder)
        Authorizer.make(
            self.global_id, EntityType.AUTH, auth.blob, auth.session_key, authorize, self.random_bytes
        ).encode(encoder)
        ServiceTicketRequest(mask).encode(encoder)
        return encoder.bytes()
