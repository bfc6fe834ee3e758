"""What the monitors keep for cephx: entities with their keys and capabilities, global ids, rotating secrets.

A `CephxServer` is that state and the rules by which it changes. Each connection gets a `MonitorAuth` (`monitor.py`)
that reads and advances it; OSDs and managers in the same process open tickets with `rotating_secrets` (`service.py`).
`state()` is all that must survive a restart, and `on_change` is called before anything is answered that depends on a
change of it: a monitor that forgets its secrets locks all its clients out, one that forgets its ids gives them twice.

Source: Ceph's auth/cephx/CephxKeyServer.h, mon/AuthMonitor.h (rules), doc/rados/configuration/auth-config-ref.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..auth import ConnectionMode
from ..errors import UsageError
from ..structure import STR, U64, Structure, list_of, map_of
from ..types import EntityType
from .keys import KEY, NO_KEY, CryptoKey, KeyType, RandomBytes
from .rotating import AUTH_TTL_NS, NO_SECRETS, ROTATED_SERVICES, SERVICE_TTL_NS, renew, sealing_secret
from .structures import (
    AuthCapsInfo,
    AuthTicket,
    RotatingSecrets,
    ServiceTicket,
    ServiceTicketInfo,
    nested,
)
from .tickets import IssuedTicket, seal_ticket

_FIRST_GLOBAL_ID = 4096
_GLOBAL_ID_MAX = 2**63 - 1
_RESERVED_IDS = 1024
"""So many global ids are taken from the state at once, so that not every login changes it."""
_ENTITIES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Entity(Structure):
    """A user or daemon that may log in: `caps` is service name to text, e.g. `{"mon": "allow r"}`."""

    FRAME = (1, 1)
    FIELDS = (("name", STR), ("key", KEY), ("caps", map_of(STR, STR)), ("pending_key", KEY))
    name: str
    key: CryptoKey
    caps: dict[str, str] = field(default_factory=dict)
    pending_key: CryptoKey = NO_KEY
    """The next key: taken as well as the present one, and in its place once it has been used."""


@dataclass(frozen=True, slots=True)
class CephxState(Structure):
    """All that a monitor must remember of cephx, as one value. Holds secrets: keep it where keys are kept."""

    FRAME = (1, 1)
    FIELDS = (
        ("entities", list_of(Entity.codec())),
        ("reserved_global_ids", U64),
        ("rotating", map_of(STR, nested(RotatingSecrets))),
    )
    entities: list[Entity] = field(default_factory=list, repr=False)
    reserved_global_ids: int = _FIRST_GLOBAL_ID
    """Ids below this one may have been given already."""
    rotating: dict[str, RotatingSecrets] = field(default_factory=dict, repr=False)
    """By the name of the service, e.g. `osd`."""


@dataclass(frozen=True, slots=True)
class CephxSettings:
    """Rules of a cluster. Raises UsageError for time spans that make no sense, or keys that protect nothing."""

    auth_ttl_ns: int = AUTH_TTL_NS
    service_ttl_ns: int = SERVICE_TTL_NS
    allowed_key_types: frozenset[KeyType] = frozenset((KeyType.AES, KeyType.AES256K))
    """Entities with other keys are refused."""
    service_key_type: KeyType = KeyType.AES256K
    """Of rotating secrets: a client never sees them, but a daemon of another make must know the type."""
    allow_insecure_global_id_reclaim: bool = False
    """Let old clients keep a global id without proving that it was theirs."""
    modes: Sequence[ConnectionMode] = (ConnectionMode.SECURE, ConnectionMode.CRC)

    def __post_init__(self) -> None:
        for name in ("auth_ttl_ns", "service_ttl_ns"):
            if not 1_000_000_000 <= getattr(self, name) <= 10 * 365 * 24 * 3600 * 1_000_000_000:
                raise UsageError(f"{name}={getattr(self, name)} is not within 1 s and 10 years")
        if KeyType.NONE in (self.service_key_type, *self.allowed_key_types):
            raise UsageError("keys of type none protect nothing: anyone could make tickets")

    def ttl_ns(self, service: EntityType) -> int:
        """How long a ticket for `service` is to be valid."""
        return self.auth_ttl_ns if service == EntityType.AUTH else self.service_ttl_ns


class CephxServer:
    """`clock` gives nanoseconds since the epoch; `on_change` is to make `state()` durable before it returns."""

    def __init__(
        self,
        clock: Callable[[], int],
        random_bytes: RandomBytes,
        state: CephxState | None = None,
        settings: CephxSettings | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        state = state or CephxState()
        self.clock = clock
        self.random_bytes = random_bytes
        self.settings = settings or CephxSettings()
        self._on_change = on_change or (lambda: None)
        self._entities = {entity.name: entity for entity in state.entities}
        self._reserved = max(state.reserved_global_ids, _FIRST_GLOBAL_ID)
        self._next_global_id = self._reserved
        self._rotating = {service: state.rotating.get(service.name.lower(), NO_SECRETS) for service in ROTATED_SERVICES}

    def state(self) -> CephxState:
        """What must survive."""
        rotating = {service.name.lower(): secrets for service, secrets in self._rotating.items()}
        return CephxState(list(self._entities.values()), self._reserved, rotating)

    # -- entities

    def entity(self, name: str) -> Entity | None:
        """The entity of that name."""
        return self._entities.get(name)

    def entities(self) -> list[Entity]:
        """All of them, by name."""
        return [self._entities[name] for name in sorted(self._entities)]

    def put_entity(self, entity: Entity) -> None:
        """Add or replace one. Raises UsageError for a name that is none, or too many of them."""
        kind, dot, _ = entity.name.partition(".")
        if not dot or kind.upper() not in EntityType.__members__:
            raise UsageError(f"{entity.name!r} is no name of an entity; write TYPE.ID, e.g. client.admin")
        if entity.name not in self._entities and len(self._entities) >= _ENTITIES_MAX:
            raise UsageError(f"there are {_ENTITIES_MAX} entities already")
        self._entities[entity.name] = entity
        self._on_change()

    def remove_entity(self, name: str) -> bool:
        """Whether it was there. Tickets that it holds stay good until their secrets are dropped."""
        if self._entities.pop(name, None) is None:
            return False
        self._on_change()
        return True

    # -- rotating secrets and global ids

    def tick(self) -> None:
        """Rotate what is due. To be called every few seconds; issuing tickets does it as well."""
        now_ns = self.clock()
        changed = False
        for service, known in self._rotating.items():
            settings = self.settings
            ttl_ns = settings.ttl_ns(service)
            secrets = renew(known, now_ns, ttl_ns, settings.service_key_type, self.random_bytes)
            changed |= secrets is not known
            self._rotating[service] = secrets
        if changed:
            self._on_change()

    def rotating_secrets(self, service: EntityType) -> RotatingSecrets:
        """The secrets of `service` as they are now. Raises UsageError for a service that has none."""
        if service not in self._rotating:
            raise UsageError(f"{service.name.lower()} is no service with rotating secrets")
        self.tick()
        return self._rotating[service]

    def new_global_id(self) -> int:
        """An id that no client ever had."""
        if self._next_global_id >= self._reserved:
            if self._reserved + _RESERVED_IDS > _GLOBAL_ID_MAX:
                raise UsageError("all global ids are used up")
            self._reserved += _RESERVED_IDS
            self._on_change()
        self._next_global_id += 1
        return self._next_global_id - 1

    # -- tickets

    def issue(self, entity: Entity, global_id: int, service: EntityType) -> IssuedTicket:
        """A new ticket for `service`, with a new session key."""
        now_ns = self.clock()
        settings = self.settings
        secrets = self.rotating_secrets(service)
        secret_id, secret, validity_ns = sealing_secret(secrets, now_ns, settings.ttl_ns(service))
        # Between two that know aes256k it is used; a client with an aes key need not know of it.
        key_type = entity.key.type if service == EntityType.AUTH else min(entity.key.type, secret.type)
        session_key = CryptoKey.generate(key_type, self.random_bytes, now_ns)
        # Monitors look capabilities up themselves, so that changes of them are felt at once.
        has_caps = service not in (EntityType.AUTH, EntityType.MON)
        caps = AuthCapsInfo.of(entity.caps.get(service.name.lower(), "") if has_caps else "")
        ticket = AuthTicket(entity.name, global_id, now_ns, now_ns + validity_ns, caps)
        blob = seal_ticket(ServiceTicketInfo(ticket, session_key), secret_id, secret, self.random_bytes)
        return IssuedTicket(service, ServiceTicket(session_key, validity_ns), blob)

    def use_pending_key(self, entity: Entity) -> Entity:
        """A login was proved with the pending key: from now on it is the key."""
        entity = Entity(entity.name, entity.pending_key, entity.caps)
        self._entities[entity.name] = entity
        self._on_change()
        return entity
