"""The end of an OSD or manager: a ticket is shown, challenged, and tells who the client is and what it may do.

A service keeps nothing of its clients. It knows its rotating secrets: from the monitor's own state where both run in
one process, else by request 0x0400.

Source: Ceph's auth/cephx/CephxProtocol.h (cephx_verify_authorizer's rules), doc/dev/cephx_protocol.
"""

from __future__ import annotations

import errno
import hmac
from collections.abc import Callable, Sequence

from ..auth import AuthDone, AuthMethod, AuthMore, AuthRefused, AuthSecrets, AuthStep, ConnectionMode
from ..encoding import Decoder, Encoder
from ..errors import PeerError, UsageError
from ..types import EntityType
from .client import CRC_FIRST
from .keys import RandomBytes, Usage
from .rotating import ROTATED_SERVICES
from .structures import Authorize, AuthorizeChallenge, AuthorizeReply, RotatingSecrets, ServiceTicketInfo
from .tickets import CONNECTION_SECRET_BYTES, Authorizer

_U64 = 2**64


class CephxService:
    """Makes a `ServerAuth` for each connection of an OSD or manager.

    `secrets` gives the service's rotating secrets as they are now. Raises UsageError for what is no service.
    """

    def __init__(
        self,
        service: EntityType,
        secrets: Callable[[], RotatingSecrets],
        random_bytes: RandomBytes,
        modes: Sequence[ConnectionMode] = CRC_FIRST,
    ) -> None:
        if service not in ROTATED_SERVICES:
            raise UsageError(f"{service.name.lower()} is no service that takes tickets")
        self.service = service
        self.secrets = secrets
        self.random_bytes = random_bytes
        self.modes = tuple(modes)

    def accept(self) -> ServiceAuth:
        """For a new connection."""
        return ServiceAuth(self)


class ServiceAuth:
    """A `ServerAuth` for one connection. A client without any capability here is let in: its operations are refused."""

    def __init__(self, service: CephxService) -> None:
        self._service = service
        self._mode = ConnectionMode.CRC
        self._challenge: int | None = None

    def methods(self, peer: EntityType) -> Sequence[AuthMethod]:
        """cephx, for everyone."""
        return (AuthMethod.CEPHX,)

    def modes(self, peer: EntityType) -> Sequence[ConnectionMode]:
        """As configured."""
        return self._service.modes

    def request(self, method: AuthMethod, mode: ConnectionMode, payload: bytes) -> AuthStep:
        """A ticket is shown: if it opens, its bearer is challenged, so that a recorded one is of no use."""
        if method != AuthMethod.CEPHX:
            return AuthRefused(-errno.EOPNOTSUPP)
        self._challenge = None
        try:
            info, _ = self._open(payload)
        except PeerError:
            return AuthRefused(-errno.EACCES)
        self._mode = mode
        self._challenge = int.from_bytes(self._service.random_bytes(8), "little")
        challenge = AuthorizeChallenge(self._challenge).to_bytes()
        return AuthMore(info.session_key.seal(challenge, Usage.AUTHORIZE_CHALLENGE, self._service.random_bytes))

    def more(self, payload: bytes) -> AuthStep:
        """The ticket again, with the answer to the challenge."""
        if self._challenge is None:
            raise PeerError("AUTH_REQUEST_MORE without a challenge")
        expected, self._challenge = (self._challenge + 1) % _U64, None
        try:
            info, authorize = self._open(payload)
            caps = info.ticket.caps.text().encode("utf-8", "surrogateescape")
        except PeerError:
            return AuthRefused(-errno.EACCES)
        answered = authorize.challenge_plus_one.to_bytes(8, "little")
        if not authorize.have_challenge or not hmac.compare_digest(answered, expected.to_bytes(8, "little")):
            return AuthRefused(-errno.EACCES)
        secure = self._mode == ConnectionMode.SECURE
        secret = self._service.random_bytes(CONNECTION_SECRET_BYTES) if secure else b""
        reply = AuthorizeReply((authorize.nonce + 1) % _U64, secret)
        encoder = Encoder()
        encoder.blob(info.session_key.seal(reply.to_bytes(), Usage.AUTHORIZE_REPLY, self._service.random_bytes))
        secrets = AuthSecrets(info.session_key.secret, secret)
        return AuthDone(info.ticket.name, info.ticket.global_id, encoder.bytes(), secrets, caps)

    def _open(self, payload: bytes) -> tuple[ServiceTicketInfo, Authorize]:
        return Authorizer.decode(Decoder(payload)).open(self._service.service, self._service.secrets().secrets)
