"""The cephx ends of a cluster in memory, with a clock and random bytes of their own."""

from __future__ import annotations

import hashlib
from typing import Any

from cove.wire.auth import AuthDone, AuthMethod, AuthMore, AuthRefused, AuthSecrets, ClientAuth, ConnectionMode
from cove.wire.cephx import (
    CephxClient,
    CephxServer,
    CephxService,
    CephxSettings,
    CephxState,
    CryptoKey,
    Entity,
    KeyType,
    MonitorAuth,
    ServiceAuth,
)
from cove.wire.types import EntityType

SECOND = 10**9
HOUR = 3600 * SECOND
START = 1_700_000_000 * SECOND
CAPS = {"mon": "allow *", "osd": "allow rw pool=rbd", "mgr": "allow *"}


class Refused(Exception):
    """The server's end says no."""

    def __init__(self, result: int, in_round: int) -> None:
        super().__init__(result)
        self.result = result
        self.in_round = in_round


class Cluster:
    """One monitor, an OSD and a manager that share its secrets, and `client.a`."""

    def __init__(self, key_type: KeyType = KeyType.AES, state: CephxState | None = None, **settings: Any) -> None:
        self.now_ns = START
        self.changes = 0
        self._drawn = 0
        self.key = CryptoKey.generate(key_type, self.random_bytes)
        self.server = CephxServer(
            lambda: self.now_ns, self.random_bytes, state, CephxSettings(**settings), on_change=self._count
        )
        if state is None:
            self.server.put_entity(Entity("client.a", self.key, dict(CAPS)))

    def _count(self) -> None:
        self.changes += 1

    def random_bytes(self, length: int) -> bytes:
        """Different at each call, the same in each run."""
        self._drawn += 1
        return hashlib.shake_128(self._drawn.to_bytes(8, "little")).digest(length)

    def client(self, name: str = "client.a", key: CryptoKey | None = None) -> CephxClient:
        return CephxClient(name, key or self.key, self.random_bytes)

    def monitor(self) -> MonitorAuth:
        return MonitorAuth(self.server)

    def service(self, kind: EntityType = EntityType.OSD) -> ServiceAuth:
        return CephxService(kind, lambda: self.server.rotating_secrets(kind), self.random_bytes).accept()

    def log_in(self, client: CephxClient, mode: ConnectionMode = ConnectionMode.SECURE) -> MonitorAuth:
        """A whole login, adopted; the monitor's end of the session."""
        monitor, attempt = self.monitor(), client.mon_auth(self.now_ns)
        authenticate(attempt, monitor, mode)
        client.adopt(attempt)
        return monitor

    def connect(
        self, client: CephxClient, kind: EntityType = EntityType.OSD, mode: ConnectionMode = ConnectionMode.CRC
    ) -> tuple[AuthDone, AuthSecrets]:
        """A whole connection to an OSD or manager."""
        return authenticate(client.authorizer(kind, self.now_ns), self.service(kind), mode)

    def renew(self, client: CephxClient, monitor: MonitorAuth) -> list[int]:
        """One renewal on an open session; the kinds of requests that were made."""
        kinds = []
        request: bytes | None = client.renewal_request(self.now_ns)
        while request is not None:
            kinds.append(int.from_bytes(request[:2], "little"))
            answer = monitor.handle_mauth(request)
            assert answer.global_id == client.global_id
            request = client.handle_reply(answer.payload, self.now_ns, answer.result)
        return kinds


def authenticate(
    client: ClientAuth, server: Any, mode: ConnectionMode = ConnectionMode.CRC
) -> tuple[AuthDone, AuthSecrets]:
    """Both ends until the client is satisfied. Raises Refused, or what the client raises."""
    assert client.method in server.methods(EntityType.CLIENT)
    assert mode in server.modes(EntityType.CLIENT)
    step = server.request(AuthMethod(client.method), mode, client.request())
    rounds = 1
    while isinstance(step, AuthMore):
        step = server.more(client.more(step.payload))
        rounds += 1
    if isinstance(step, AuthRefused):
        raise Refused(step.result, rounds)
    secrets = client.done(step.global_id, mode, step.payload)
    assert secrets == step.secrets
    return step, secrets
