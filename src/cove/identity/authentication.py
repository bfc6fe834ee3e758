"""Logging in: from a parsed request to a token.

Two steps. First the proofs, each outside of any transaction that writes: a password's hash takes its time. Then one
write transaction that looks whether what was proven still holds (a password may have been changed meanwhile), settles
the scope, and stores the token.

What can be observed from outside does not tell who exists: an unknown user costs a hash, counts as a failed attempt and
gets the same answer as a wrong password.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog

from cove.db import Database
from cove.identity import models, tokens
from cove.identity.attempts import Attempts
from cove.identity.errors import Forbidden, NotFound, TooManyAttempts, Unauthorized
from cove.identity.login import CredentialMethod, DomainRef, Login, PasswordMethod, Ref, ScopeRef
from cove.identity.passwords import RANDOM_PREFIX, Passwords, verify_now
from cove.identity.tokens import Scope, Token

log = structlog.get_logger(__name__)

_users, _domains, _projects = models.users, models.domains, models.projects
_credentials = models.application_credentials

_USER = sa.select(_users.c.id, _users.c.password_hash, _users.c.enabled, _users.c.default_project_id)


@dataclass(frozen=True, slots=True)
class Proof:
    """That the client is this user; and the rows that must still be as they were when the token is stored."""

    user_id: str
    password_hash: str | None = field(default=None, repr=False)
    token: Token | None = None
    credential_id: str | None = None
    secret_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token: its text, and what it says."""

    text: str = field(repr=False)
    token: Token
    body: dict[str, Any]


class Authentication:
    """Logs in. `validate` finds a valid token by its text; `now` is wall-clock time, `monotonic` that of locks."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        validate: Callable[[str], Awaitable[Token | None]],
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        token_lifetime_s: int,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._validate = validate
        self._now = now
        self._monotonic = monotonic
        self._token_lifetime_s = token_lifetime_s
        self.attempts = Attempts()

    async def log_in(self, login: Login, address: str, base: str, *, with_catalog: bool) -> Issued:
        """The token for a request. Raises Unauthorized, Forbidden, TooManyAttempts, Busy."""
        proofs: list[Proof] = []
        if login.credential is not None:
            if login.scope.given:
                raise Unauthorized("Application credentials cannot request a scope: they have their project.")
            proofs.append(await self._by_credential(login.credential, address))
        if login.password is not None:
            proofs.append(await self._by_password(login.password, address))
        if login.token is not None:
            proofs.append(await self._by_token(login.token))
        if len({proof.user_id for proof in proofs}) != 1:
            raise Unauthorized
        issued = await self._db.write(lambda connection: self._issue(connection, login, proofs, base, with_catalog))
        log.info(
            "identity.login",
            user_id=issued.token.user.id,
            methods=list(issued.token.methods),
            audit_id=issued.token.audit_ids[0],
            address=address,
        )
        return issued

    async def check_password(self, user_id: str, password: str, address: str) -> str:
        """The stored hash, if this is the user's password. Raises Unauthorized, TooManyAttempts, Busy."""
        proof = await self._by_password(PasswordMethod(Ref(id=user_id), password), address)
        assert proof.password_hash is not None
        return proof.password_hash

    # --- proofs ------------------------------------------------------------------------------------------------------

    async def _by_password(self, method: PasswordMethod, address: str) -> Proof:
        row, domain_id = await self._db.read(lambda connection: _find_user(connection, method.user))
        stored = row.password_hash if row is not None and row.enabled else None
        await self._prove(
            _key(row.id if row is not None else None, method.user, domain_id),
            address,
            row.id if row is not None else "",
            lambda: self._passwords.verify_here(method.password, stored),
        )
        assert row is not None
        return Proof(row.id, password_hash=row.password_hash)

    async def _by_credential(self, method: CredentialMethod, address: str) -> Proof:
        row, user_key = await self._db.read(lambda connection: _find_credential(connection, method, self._now()))
        asked = method.id or tokens.hash_of(f"{method.name}\0{user_key}")
        key = f"credential {row.id if row is not None else asked}"
        user_id = row.user_id if row is not None else ""
        drawn_here = row is not None and row.secret_hash.startswith(RANDOM_PREFIX)
        self._refuse_locked(key, address)
        if drawn_here and verify_now(method.secret, row.secret_hash):
            self.attempts.succeeded(key, address)
        else:
            # Whatever is wrong costs a hash: how long it takes would tell what there is.
            stored = None if row is None or drawn_here else row.secret_hash
            await self._prove(key, address, user_id, lambda: self._passwords.verify_here(method.secret, stored))
        assert row is not None
        return Proof(row.user_id, credential_id=row.id, secret_hash=row.secret_hash)

    async def _prove(self, key: str, address: str, user_id: str, is_right: Callable[[], bool]) -> None:
        """Compare, if this user may try at all. Raises Unauthorized, TooManyAttempts, Busy."""
        self._refuse_locked(key, address)

        def attempt() -> bool:
            # Again when it is this one's turn: of many at once that guess, only a few get an answer.
            self._refuse_locked(key, address)
            right = is_right()
            if right:
                self.attempts.succeeded(key, address)
            else:
                self.attempts.failed(key, address, self._monotonic())
            return right

        if not await self._passwords.run(attempt):
            # Not the name that was given: people type their password there.
            log.warning("identity.login_failed", user_id=user_id or None, address=address)
            raise Unauthorized

    async def _by_token(self, text: str) -> Proof:
        token = await self._validate(text)
        if token is None:
            raise NotFound("Failed to validate token")
        if token.credential is not None:
            raise Forbidden("You are not authorized: a token of an application credential cannot make another token.")
        return Proof(token.user.id, token=token)

    def _refuse_locked(self, key: str, address: str) -> None:
        wait_s = self.attempts.retry_after_s(key, address, self._monotonic())
        if wait_s:
            raise TooManyAttempts(wait_s)

    # --- the token ---------------------------------------------------------------------------------------------------

    def _issue(
        self, connection: sa.Connection, login: Login, proofs: list[Proof], base: str, with_catalog: bool
    ) -> Issued:
        now = self._now()
        user_id = proofs[0].user_id
        row = connection.execute(_USER.where(_users.c.id == user_id)).one_or_none()
        if row is None or not row.enabled:
            raise Unauthorized
        expires_at = float(int(now) + self._token_lifetime_s)
        methods: list[str] = []
        audit_ids: tuple[str, ...] = ()
        credential_id = None
        scope: Scope | None = None
        for proof in proofs:
            if proof.password_hash is not None and proof.password_hash != row.password_hash:
                raise Unauthorized
            if proof.token is not None:
                parent = tokens.load(connection, proof.token.id_hash, now)
                if parent is None:
                    raise Unauthorized
                expires_at = min(expires_at, parent.expires_at)
                methods += parent.methods
                audit_ids = parent.audit_ids
            if proof.credential_id is not None:
                credential = connection.execute(
                    sa.select(_credentials).where(_credentials.c.id == proof.credential_id)
                ).one_or_none()
                if credential is None or credential.secret_hash != proof.secret_hash:
                    raise Unauthorized
                expires_at = min(expires_at, credential.expires_at or expires_at)
                credential_id = credential.id
                scope = tokens.project_scope(connection, credential.project_id)
                if scope is None:
                    raise Unauthorized
        if scope is None:
            scope = _scope(connection, login.scope, user_id, row.default_project_id)
        text = tokens.issue(
            connection,
            user_id=user_id,
            scope=scope,
            methods=list(dict.fromkeys([*methods, *login.methods])),
            audit_ids=audit_ids,
            now=float(int(now)),
            expires_at=expires_at,
            credential_id=credential_id,
        )
        token = tokens.load(connection, tokens.hash_of(text), now)
        if token is None:  # no role there, or something is disabled: the whole transaction is undone
            raise Unauthorized
        return Issued(text, token, tokens.view(connection, token, base, with_catalog=with_catalog))


def _key(user_id: str | None, ref: Ref, domain_id: str | None) -> str:
    """Under what attempts are counted: the user's id, or what was given where there is no such user.

    That is the same however the domain was named: else a user that is locked by one name of its domain, and not by the
    other, would be known not to exist.
    """
    if user_id is not None:
        return f"user {user_id}"
    domain = ref.domain or DomainRef()
    given = "\0".join((ref.id or "", ref.name or "", domain_id or domain.id or domain.name or ""))
    return f"nobody {tokens.hash_of(given)}"  # a hash: names are long, and keys are kept


def _domain_is(ref: DomainRef) -> sa.ColumnElement[bool]:
    return _domains.c.id == ref.id if ref.id is not None else _domains.c.name == ref.name


def _find_user(connection: sa.Connection, ref: Ref) -> tuple[Any, str | None]:
    """The user of a request, if there is one in an enabled domain; and the id of the domain that the request names."""
    statement = _USER.join(_domains, _domains.c.id == _users.c.domain_id).where(_domains.c.enabled)
    if ref.id is not None:
        return connection.execute(statement.where(_users.c.id == ref.id)).one_or_none(), None
    assert ref.domain is not None
    domain_id = connection.execute(sa.select(_domains.c.id).where(_domain_is(ref.domain))).scalar()
    statement = statement.where(_users.c.name == ref.name, _users.c.domain_id == domain_id)
    return connection.execute(statement).one_or_none(), domain_id


def _find_credential(connection: sa.Connection, method: CredentialMethod, now: float) -> tuple[Any, str]:
    """The application credential of a request, if it is still good and its user may log in; and whose it would be."""
    user_key = ""
    statement = (
        sa.select(_credentials)
        .join(_users, _users.c.id == _credentials.c.user_id)
        .join(_domains, _domains.c.id == _users.c.domain_id)
        .where(
            _users.c.enabled,
            _domains.c.enabled,
            sa.or_(_credentials.c.expires_at.is_(None), _credentials.c.expires_at > now),
        )
    )
    if method.id is not None:
        statement = statement.where(_credentials.c.id == method.id)
    else:
        assert method.user is not None
        user, domain_id = _find_user(connection, method.user)
        user_key = _key(user.id if user is not None else None, method.user, domain_id)
        statement = statement.where(
            _credentials.c.name == method.name, _users.c.id == (user.id if user is not None else None)
        )
    return connection.execute(statement).one_or_none(), user_key


def _scope(connection: sa.Connection, wanted: ScopeRef, user_id: str, default_project_id: str | None) -> Scope:
    """The scope of a request. Raises Unauthorized for one that there is not."""
    if wanted.unscoped:
        return Scope()
    if wanted.system:
        return Scope(system=True)
    found: Scope | None
    if wanted.project is not None:
        project_id = wanted.project.id
        if project_id is None:
            assert wanted.project.domain is not None
            project_id = connection.execute(
                sa.select(_projects.c.id)
                .join(_domains, _domains.c.id == _projects.c.domain_id)
                .where(_projects.c.name == wanted.project.name, _domain_is(wanted.project.domain))
            ).scalar()
        found = None if project_id is None else tokens.project_scope(connection, project_id)
    elif wanted.domain is not None:
        domain_id = connection.execute(sa.select(_domains.c.id).where(_domain_is(wanted.domain))).scalar()
        found = None if domain_id is None else tokens.domain_scope(connection, domain_id)
    else:
        # A default project without a role there counts for nothing: the token is unscoped.
        found = tokens.project_scope(connection, default_project_id) if default_project_id is not None else None
        if found is None or not tokens.roles_on(connection, user_id, found, None):
            return Scope()
    if found is None:
        raise Unauthorized
    return found
