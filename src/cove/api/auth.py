"""Who asks: from the token of a request to a RequestContext. One authenticator for each place where users may be.

LocalToken       the 0600 file of `cove up`: who may read that is an admin; the command line and compute use it
EmbeddedIdentity the users of this service (cove.identity)
KeystoneAuthenticator (cove.api.keystone) the users of a Keystone
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from typing import Protocol

from cove.db import DatabaseBusy
from cove.errors import CoveError
from cove.identity import IdentityService
from cove.identity.tokens import Token
from cove.network.context import ADMIN_ROLES, DEMO_PROJECT_ID, RequestContext

PROJECT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,255}\Z")

IsAdmin = Callable[[RequestContext], bool]


class Unauthorized(CoveError):
    """The token is not valid, or no longer."""


class IdentityUnavailable(CoveError):
    """Whether the token is valid can't be found out now."""


class Authenticator(Protocol):
    """Knows tokens."""

    async def authenticate(self, token: str) -> RequestContext:
        """Who has this token; without request id, and `is_admin` is not decided yet.

        Raises Unauthorized, IdentityUnavailable.
        """
        ...


class LocalToken:
    """The token of this machine's own user, made anew at each start. Compared in constant time."""

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("the API needs a token that is not empty")
        self._token = token.encode()

    def matches(self, given: bytes) -> bool:
        """Whether it is this one."""
        return hmac.compare_digest(given, self._token)

    @staticmethod
    def context(project_id: str, request_id: str) -> RequestContext:
        """An admin in that project, or in the default one. Raises ValueError for what can't be a project's id."""
        if project_id and not PROJECT_ID.match(project_id):
            raise ValueError(f"X-Project-Id {project_id!r} is not a project's id")
        return RequestContext(project_id or DEMO_PROJECT_ID, is_admin=True, request_id=request_id, roles=ADMIN_ROLES)


class EmbeddedIdentity:
    """The users of cove.identity."""

    def __init__(self, identity: IdentityService) -> None:
        self._identity = identity

    async def authenticate(self, token: str) -> RequestContext:
        """See Authenticator."""
        try:
            found = await self._identity.validate(token)
        except DatabaseBusy as error:
            raise IdentityUnavailable(str(error)) from error
        if found is None:
            raise Unauthorized("the token is not valid")
        return context_of_token(found)


def context_of_token(token: Token) -> RequestContext:
    """The RequestContext that a token says."""
    scope = token.scope
    project = scope.project
    return RequestContext(
        project_id=project.id if project is not None else "",
        is_admin=False,
        request_id="",
        user_id=token.user.id,
        roles=frozenset(role.name for role in token.roles),
        domain_id=scope.domain.id if scope.domain is not None and project is None else "",
        system_scope="all" if scope.system else "",
        project_name=project.name if project is not None else "",
        user_name=token.user.name,
    )


def admin_by_role(context: RequestContext) -> bool:
    """The rule that holds where no policy says otherwise."""
    return "admin" in context.roles
