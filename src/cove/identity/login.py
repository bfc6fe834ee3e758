"""The body of POST /auth/tokens: what it says, without looking at any of it.

    {"auth": {"identity": {"methods": ["password"], "password": {"user": {…, "password": …}}}, "scope": {…}}}

`cove.identity.authentication` checks who that is; here is only the grammar, and its errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cove.identity.errors import Unauthorized, ValidationError
from cove.identity.passwords import PASSWORD_LENGTH_MAX

METHODS = ("password", "token", "application_credential")
NAME_LENGTH_MAX = 255


@dataclass(frozen=True, slots=True)
class DomainRef:
    """A domain by id or by name."""

    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Ref:
    """A user or a project: by id, or by name and domain."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None


@dataclass(frozen=True, slots=True)
class PasswordMethod:
    """Who, and the password."""

    user: Ref
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialMethod:
    """An application credential by id, or by name and its user."""

    id: str | None
    name: str | None
    user: Ref | None
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ScopeRef:
    """What the token is to be for. All empty: what the user's default project says."""

    project: Ref | None = None
    domain: DomainRef | None = None
    system: bool = False
    unscoped: bool = False
    given: bool = True


DEFAULT_SCOPE = ScopeRef(given=False)


@dataclass(frozen=True, slots=True)
class Login:
    """A whole request."""

    methods: tuple[str, ...]
    password: PasswordMethod | None
    token: str | None = field(repr=False)
    credential: CredentialMethod | None
    scope: ScopeRef


def parse(body: Any) -> Login:
    """The request in a decoded body. Raises ValidationError, and Unauthorized for methods that are not there."""
    auth = _member(body, "auth", "request body")
    identity = _member(auth, "identity", "auth")
    methods = identity.get("methods")
    if not isinstance(methods, list) or not all(isinstance(method, str) for method in methods):
        raise _missing("methods, a list,", "identity")
    wanted = tuple(dict.fromkeys(methods))
    if not wanted:
        raise Unauthorized
    for method in wanted:
        if method not in METHODS:
            known = ", ".join(METHODS)
            raise Unauthorized(f"Attempted to authenticate with an unsupported method. There are: {known}.")
    given = {method: _member(identity, method, "identity") for method in wanted}
    return Login(
        methods=wanted,
        password=_password(given["password"]) if "password" in given else None,
        token=_text(given["token"], "id", "token") if "token" in given else None,
        credential=_credential(given["application_credential"]) if "application_credential" in given else None,
        scope=_scope(auth),
    )


def _missing(what: str, where: str) -> ValidationError:
    return ValidationError(f"Expecting to find {what} in {where}.")


def _member(value: Any, name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get(name), dict):
        raise _missing(name, where)
    inner: dict[str, Any] = value[name]
    return inner


def _text(value: Mapping[str, Any], name: str, where: str, length_max: int = PASSWORD_LENGTH_MAX) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not 1 <= len(text) <= length_max or "\0" in text:
        raise _missing(f"{name}, text of 1 to {length_max} characters,", where)
    return text


def _optional(value: Mapping[str, Any], name: str, where: str) -> str | None:
    return _text(value, name, where, NAME_LENGTH_MAX) if value.get(name) is not None else None


def _domain(value: Mapping[str, Any], where: str) -> DomainRef:
    inner = _member(value, "domain", where)
    found = DomainRef(_optional(inner, "id", "domain"), _optional(inner, "name", "domain"))
    if found.id is None and found.name is None:
        raise _missing("id or name", "domain")
    return found


def _ref(value: Mapping[str, Any], where: str) -> Ref:
    ref_id = _optional(value, "id", where)
    if ref_id is not None:
        return Ref(id=ref_id)
    name = _optional(value, "name", where)
    if name is None:
        raise _missing("id or name", where)
    return Ref(name=name, domain=_domain(value, where))


def _password(value: Mapping[str, Any]) -> PasswordMethod:
    user = _member(value, "user", "password")
    return PasswordMethod(_ref(user, "user"), _text(user, "password", "user"))


def _credential(value: Mapping[str, Any]) -> CredentialMethod:
    where = "application_credential"
    secret = _text(value, "secret", where)
    credential_id = _optional(value, "id", where)
    if credential_id is not None:
        return CredentialMethod(credential_id, None, None, secret)
    name = _optional(value, "name", where)
    if name is None:
        raise _missing("id or name", where)
    return CredentialMethod(None, name, _ref(_member(value, "user", where), "user"), secret)


def _scope(auth: Mapping[str, Any]) -> ScopeRef:
    scope = auth.get("scope")
    if scope is None:
        return DEFAULT_SCOPE
    if scope == "unscoped":
        return ScopeRef(unscoped=True)
    known = ("system", "project", "domain", "unscoped")
    if not isinstance(scope, dict) or len(scope) != 1 or next(iter(scope)) not in known:
        raise _missing("one of system, project, domain or unscoped", "scope")
    if "unscoped" in scope:
        return ScopeRef(unscoped=True)
    if "system" in scope:
        if scope["system"] != {"all": True}:
            raise _missing('{"all": true} as system', "scope")
        return ScopeRef(system=True)
    if "domain" in scope:
        return ScopeRef(domain=_domain(scope, "scope"))
    return ScopeRef(project=_ref(_member(scope, "project", "scope"), "project"))
