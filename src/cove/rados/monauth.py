"""Who we are, for all connections of one client: logins at monitors, tickets for OSDs and managers, their renewal.

The messenger asks for the methods to try with each new connection (`client_auths`). While several monitors are tried
at once each has a login of its own; the MonClient adopts that of the monitor that won. Tickets are renewed on the
open session, before they expire.

Source: Ceph's auth/AuthClient.h, mon/MonClient.h (handle_auth_request, _check_auth_tickets), auth/AuthRegistry.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..messenger import Connection
from ..wire.auth import AuthError, AuthMethod, ClientAuth, ConnectionMode, NoneClientAuth
from ..wire.cephx.client import CRC_FIRST, SECURE_FIRST, CephxClient
from ..wire.cephx.keys import CryptoKey
from ..wire.cephx.login import MonLogin
from ..wire.encoding import NS_PER_S
from ..wire.errors import PeerError
from ..wire.messages import MAuth, MAuthReply
from ..wire.types import EntityType

REFUSED_AGAIN_NS = 30 * NS_PER_S
"""How soon a second refusal of a ticket leads to a further one."""
_LIKE_MONITORS = (EntityType.MON, EntityType.MGR)
"""Whose connections carry secrets, and are encrypted if possible; bulk data goes to OSDs, unencrypted if possible."""


class ClusterAuth:
    """The identity of one client towards one cluster (the messenger's `AuthSource`)."""

    def __init__(
        self,
        name: str,
        key: CryptoKey | None,
        *,
        methods: Sequence[AuthMethod] = (AuthMethod.CEPHX, AuthMethod.NONE),
        mon_modes: Sequence[ConnectionMode] = SECURE_FIRST,
        service_modes: Sequence[ConnectionMode] = CRC_FIRST,
        random_bytes: Callable[[int], bytes] = os.urandom,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Without a key there is no cephx. `mon_modes` serve for managers, too. Raises UsageError for a bad name."""
        self.name = name
        self.global_id = 0
        self.methods = tuple(method for method in methods if key is not None or method != AuthMethod.CEPHX)
        self._mon_modes = tuple(mon_modes)
        self._service_modes = tuple(service_modes)
        self._now_ns = now_ns
        self.cephx: CephxClient | None = None
        if key is not None and AuthMethod.CEPHX in methods:
            self.cephx = CephxClient(name, key, random_bytes)
        self._refused_ns = -REFUSED_AGAIN_NS
        self._logins: dict[Connection, MonLogin] = {}

    def client_auths(self, connection: Connection) -> Sequence[ClientAuth]:
        """Methods to try with that connection's peer. Raises AuthError without a ticket for it."""
        peer = connection.peer_type
        modes = self._mon_modes if peer in _LIKE_MONITORS else self._service_modes
        found: list[ClientAuth] = []
        for method in self.methods:
            if method == AuthMethod.NONE:
                found.append(NoneClientAuth(self.name, peer, self.global_id))
            elif method == AuthMethod.CEPHX and self.cephx is not None:
                if peer == EntityType.MON:
                    self._logins = {c: login for c, login in self._logins.items() if c.is_connected}
                    login = self._logins[connection] = self.cephx.mon_auth(self._now_ns(), modes=modes)
                    found.append(login)
                elif self.cephx.has_ticket(peer) or AuthMethod.NONE not in self.methods:
                    found.append(self.cephx.authorizer(peer, self._now_ns(), modes))
        return found

    def adopt(self, connection: Connection) -> None:
        """The login on that connection is the one that counts. Raises UsageError if it is of no use."""
        login = self._logins.pop(connection, None)
        self._logins.clear()
        if self.cephx is not None and login is not None and login.is_done:
            self.cephx.adopt(login)
            self.global_id = self.cephx.global_id
        else:
            self.global_id = connection.global_id

    def forget(self, connection: Connection) -> None:
        """That connection did not come up."""
        self._logins.pop(connection, None)

    def forget_identity(self) -> None:
        """Log in as a new client the next time: the monitors no longer accept the old one's ticket."""
        self.global_id = 0
        if self.cephx is not None:
            self.cephx.forget()

    # renewal

    def handle_auth_epoch(self, epoch: int) -> None:
        """The monitors' ciphers have changed: tickets from before are void."""
        if self.cephx is not None:
            self.cephx.handle_auth_epoch(epoch)

    def ticket_refused(self, service: EntityType) -> None:
        """An OSD or manager did not take our ticket: it is due for renewal now (but not again and again)."""
        ticket = None if self.cephx is None else self.cephx.tickets.get(service)
        now_ns = self._now_ns()
        if self.cephx is None or ticket is None or now_ns < self._refused_ns + REFUSED_AGAIN_NS:
            return
        self._refused_ns = now_ns
        self.cephx.tickets[service] = replace(ticket, renew_after_ns=0)

    @property
    def _has_tickets(self) -> bool:
        return self.cephx is not None and bool(self.cephx.global_id)

    def renewal_due_in_s(self) -> float:
        """When to renew, in seconds from now, negative if that is over; infinite if there is nothing to renew."""
        if self.cephx is None or not self._has_tickets:
            return float("inf")
        return (self.cephx.next_renewal_ns - self._now_ns()) / NS_PER_S

    def renewal_request(self, monmap_epoch: int) -> MAuth | None:
        """What to send to renew the tickets; None if there are none to renew."""
        if self.cephx is None or not self._has_tickets:
            return None
        payload = self.cephx.renewal_request(self._now_ns())
        return MAuth(protocol=AuthMethod.CEPHX, payload=payload, monmap_epoch=monmap_epoch)

    def handle_reply(self, reply: MAuthReply, monmap_epoch: int) -> MAuth | None:
        """Take the new tickets; returns what to send next, if anything. Raises AuthError if there are none."""
        if self.cephx is None:
            return None
        try:
            payload = self.cephx.handle_reply(bytes(reply.payload), self._now_ns(), reply.result)
        except AuthError:
            raise
        except PeerError as problem:
            raise AuthError(f"the monitor's answer makes no sense: {problem}") from problem
        if payload is None:
            return None
        return MAuth(protocol=AuthMethod.CEPHX, payload=payload, monmap_epoch=monmap_epoch)
