"""`/v3/auth/…`: tokens, and what the caller's token may be scoped to."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cove.identity import assignments, catalog, domains, models, tokens
from cove.identity.call import Call, links
from cove.identity.errors import NotFound
from cove.identity.tokens import Token


def show_token(call: Call) -> dict[str, Any]:
    """GET or HEAD /auth/tokens. `prepared` is the token of X-Subject-Token, None if it is not valid."""
    token = _subject(call)
    call.require("validate_token", user_id=token.user.id)
    return tokens.view(call.connection, token, call.base, with_catalog=not call.is_set("nocatalog"))


def revoke_token(call: Call) -> None:
    """DELETE /auth/tokens. `prepared` is the token of X-Subject-Token, None if it is not valid."""
    token = _subject(call)
    call.require("revoke_token", user_id=token.user.id)
    tokens.delete(call.connection, token.id_hash)
    call.bump()


def _subject(call: Call) -> Token:
    """The token that is asked about. Raises NotFound: also to those who may not ask about others' tokens."""
    token: Token | None = call.prepared
    if token is None:
        raise NotFound("Failed to validate token")
    return token


def my_catalog(call: Call) -> dict[str, Any]:
    """GET /auth/catalog."""
    caller = call.caller
    if not (caller.project_id or caller.domain_id or caller.system):
        raise NotFound("The token has no scope, and hence no catalogue: log in to a project.")
    entries = catalog.catalog(call.connection, call.base, caller.user_id, caller.project_id)
    return {"catalog": entries, "links": links(call, "/auth/catalog")}


def my_domains(call: Call) -> dict[str, Any]:
    """GET /auth/domains: what the caller may scope a token to."""
    having = sa.select(models.assignments.c.scope_id).where(
        models.assignments.c.user_id == call.caller.user_id, models.assignments.c.scope == "domain"
    )
    table = models.domains
    rows = call.rows(sa.select(table).where(table.c.id.in_(having), table.c.enabled).order_by(table.c.id))
    return {"domains": [domains.view(call, row) for row in rows], "links": links(call, "/auth/domains")}


def my_system(call: Call) -> dict[str, Any]:
    """GET /auth/system: whether the caller may scope a token to the system."""
    held = assignments.effective(call.connection, call.caller.user_id, "system", assignments.SYSTEM_ID)
    return {"system": [{"all": True}] if held else [], "links": {"self": f"{call.v3}/auth/system"}}
