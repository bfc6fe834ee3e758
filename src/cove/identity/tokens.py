"""Tokens: opaque random text outside, a row under its SHA-256 inside.

The row says who, where, how and until when; what the user may do there is looked up whenever a token is validated, so
that it can never outlive a user, a project, a role or a secret. Validated tokens are kept in `cove.identity.cache`.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cove.identity import assignments, catalog, models, roles, times
from cove.identity.assignments import SYSTEM_ID
from cove.identity.passwords import new_secret
from cove.identity.policy import Caller

_tokens, _users, _domains, _projects = models.tokens, models.users, models.domains, models.projects
_credentials, _having = models.application_credentials, models.application_credential_roles


@dataclass(frozen=True, slots=True)
class Named:
    """An id and a name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is for; nothing of it for an unscoped one."""

    project: Named | None = None
    domain: Named | None = None
    """Of a token for a domain: that domain. Of one for a project: the project's."""
    system: bool = False

    @property
    def key(self) -> tuple[str, str] | None:
        """Scope and id as in role assignments."""
        if self.project is not None:
            return "project", self.project.id
        if self.domain is not None:
            return "domain", self.domain.id
        return ("system", SYSTEM_ID) if self.system else None


@dataclass(frozen=True, slots=True)
class Credential:
    """The application credential with which a token was got."""

    id: str
    name: str
    unrestricted: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A valid token. Times are seconds since 1970."""

    id_hash: str
    user: Named
    user_domain: Named
    scope: Scope
    roles: tuple[Named, ...]
    """With those that others imply, by name."""
    methods: tuple[str, ...]
    audit_ids: tuple[str, ...]
    issued_at: float
    expires_at: float
    credential: Credential | None = None

    def caller(self) -> Caller:
        """For the Identity API's policy."""
        project, domain = self.scope.project, self.scope.domain
        return Caller(
            user_id=self.user.id,
            roles=frozenset(role.name for role in self.roles),
            project_id=project.id if project else "",
            domain_id=domain.id if domain and not project else "",
            system=self.scope.system,
            project_domain_id=domain.id if domain and project else "",
            token_hash=self.id_hash,
            restricted=self.credential is not None and not self.credential.unrestricted,
        )


def hash_of(token: str) -> str:
    """The key of a token in the database and in memory."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_audit_id() -> str:
    """What names a token in logs and answers without being one."""
    return base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")


# --- from the database -----------------------------------------------------------------------------------------------

_TOKEN = (
    sa.select(
        _tokens,
        _users.c.name.label("user_name"),
        _domains.c.id.label("user_domain_id"),
        _domains.c.name.label("user_domain_name"),
    )
    .join(_users, _users.c.id == _tokens.c.user_id)
    .join(_domains, _domains.c.id == _users.c.domain_id)
    .where(
        _tokens.c.id_hash == sa.bindparam("id_hash"),
        _tokens.c.expires_at > sa.bindparam("now"),
        _users.c.enabled,
        _domains.c.enabled,
    )
)
_PROJECT = (
    sa.select(_projects.c.id, _projects.c.name, _domains.c.id, _domains.c.name)
    .join(_domains, _domains.c.id == _projects.c.domain_id)
    .where(_projects.c.id == sa.bindparam("id"), _projects.c.enabled, _domains.c.enabled)
)
_DOMAIN = sa.select(_domains.c.id, _domains.c.name).where(_domains.c.id == sa.bindparam("id"), _domains.c.enabled)
_CREDENTIAL = sa.select(_credentials).where(_credentials.c.id == sa.bindparam("id"))
_CREDENTIAL_ROLES = sa.select(_having.c.role_id).where(_having.c.credential_id == sa.bindparam("id"))
_REVISION = sa.select(models.revision.c.counter)


def current_revision(connection: sa.Connection) -> int:
    """The counter of changes that may concern tokens; -1 before the service was ever started."""
    counter = connection.execute(_REVISION).scalar()
    return -1 if counter is None else int(counter)


def project_scope(connection: sa.Connection, project_id: str) -> Scope | None:
    """The scope of a project, None if there is none such, or it or its domain is disabled."""
    row = connection.execute(_PROJECT, {"id": project_id}).one_or_none()
    return None if row is None else Scope(project=Named(row[0], row[1]), domain=Named(row[2], row[3]))


def domain_scope(connection: sa.Connection, domain_id: str) -> Scope | None:
    """The scope of a domain, None if there is none such, or it is disabled."""
    row = connection.execute(_DOMAIN, {"id": domain_id}).one_or_none()
    return None if row is None else Scope(domain=Named(row[0], row[1]))


def roles_on(connection: sa.Connection, user_id: str, scope: Scope, credential_id: str | None) -> tuple[Named, ...]:
    """The roles of a user there, sorted by name; with an application credential only those that it has."""
    if scope.key is None:
        return ()
    held = assignments.effective(connection, user_id, *scope.key)
    if held and credential_id is not None:
        given = connection.execute(_CREDENTIAL_ROLES, {"id": credential_id}).scalars()
        held &= roles.expand(given, roles.implications(connection))
    if not held:
        return ()
    names = roles.names(connection)
    return tuple(sorted((Named(role_id, names[role_id]) for role_id in held), key=lambda role: role.name))


def load(connection: sa.Connection, id_hash: str, now: float) -> Token | None:
    """The token with this hash, None if it is not (or no longer) valid."""
    row = connection.execute(_TOKEN, {"id_hash": id_hash, "now": now}).one_or_none()
    if row is None:
        return None
    scope: Scope | None = Scope(system=row.system)
    if row.project_id is not None:
        scope = project_scope(connection, row.project_id)
    elif row.domain_id is not None:
        scope = domain_scope(connection, row.domain_id)
    if scope is None:
        return None
    credential = None
    if row.application_credential_id is not None:
        found = connection.execute(_CREDENTIAL, {"id": row.application_credential_id}).one_or_none()
        if found is None or (found.expires_at is not None and found.expires_at <= now):
            return None
        credential = Credential(found.id, found.name, found.unrestricted)
    held = roles_on(connection, row.user_id, scope, row.application_credential_id)
    if scope.key is not None and not held:
        return None
    return Token(
        id_hash=id_hash,
        user=Named(row.user_id, row.user_name),
        user_domain=Named(row.user_domain_id, row.user_domain_name),
        scope=scope,
        roles=held,
        methods=tuple(row.methods),
        audit_ids=tuple(row.audit_ids),
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        credential=credential,
    )


def issue(
    connection: sa.Connection,
    *,
    user_id: str,
    scope: Scope,
    methods: Sequence[str],
    audit_ids: Sequence[str],
    now: float,
    expires_at: float,
    credential_id: str | None = None,
) -> str:
    """Store a new token; the text that is it. The caller has checked that the user has a role in the scope."""
    token = new_secret()
    key = scope.key
    row = {
        "id_hash": hash_of(token),
        "user_id": user_id,
        "project_id": key[1] if key is not None and key[0] == "project" else None,
        "domain_id": key[1] if key is not None and key[0] == "domain" else None,
        "system": scope.system,
        "methods": list(methods),
        "audit_ids": [new_audit_id(), *audit_ids[-1:]],
        "application_credential_id": credential_id,
        "issued_at": now,
        "expires_at": expires_at,
    }
    connection.execute(_tokens.insert(), row)
    return token


_DELETE = _tokens.delete().where(_tokens.c.id_hash == sa.bindparam("hash"))
_EXPIRED = (
    sa.select(_tokens.c.id_hash)
    .where(_tokens.c.expires_at <= sa.bindparam("now"))
    .order_by(_tokens.c.expires_at)
    .limit(sa.bindparam("count"))
)


def delete(connection: sa.Connection, id_hash: str) -> None:
    """Forget a token."""
    connection.execute(_DELETE, {"hash": id_hash})


def expired(connection: sa.Connection, now: float, count: int) -> list[str]:
    """The hashes of some tokens that are past their time, the oldest first."""
    return list(connection.execute(_EXPIRED, {"now": now, "count": count}).scalars())


def delete_many(connection: sa.Connection, hashes: Sequence[str]) -> None:
    """Forget these tokens. Nobody has to be told: they were worth nothing."""
    connection.execute(_tokens.delete().where(_tokens.c.id_hash.in_(hashes)))


# --- on the wire -----------------------------------------------------------------------------------------------------


def view(connection: sa.Connection, token: Token, base: str, *, with_catalog: bool) -> dict[str, Any]:
    """The body of the answers to POST and GET /auth/tokens."""
    scope = token.scope
    shown: dict[str, Any] = {
        "methods": list(token.methods),
        "user": {
            "id": token.user.id,
            "name": token.user.name,
            "domain": {"id": token.user_domain.id, "name": token.user_domain.name},
            "password_expires_at": None,
        },
        "audit_ids": list(token.audit_ids),
        "expires_at": times.shown(token.expires_at),
        "issued_at": times.shown(token.issued_at),
    }
    if scope.project is not None:
        assert scope.domain is not None
        domain = {"id": scope.domain.id, "name": scope.domain.name}
        shown["project"] = {"id": scope.project.id, "name": scope.project.name, "domain": domain}
        shown["is_domain"] = False
    elif scope.domain is not None:
        shown["domain"] = {"id": scope.domain.id, "name": scope.domain.name}
    elif scope.system:
        shown["system"] = {"all": True}
    if scope.key is not None:
        shown["roles"] = [{"id": role.id, "name": role.name} for role in token.roles]
        if with_catalog:
            project_id = scope.project.id if scope.project else ""
            shown["catalog"] = catalog.catalog(connection, base, token.user.id, project_id)
    if token.credential is not None:
        shown["application_credential"] = {
            "id": token.credential.id,
            "name": token.credential.name,
            "restricted": not token.credential.unrestricted,
        }
    return {"token": shown}
