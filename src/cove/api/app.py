"""Assembly of the HTTP application.

uvicorn → RequestId → WellFormed → Authenticate → Guards → BodyLimit → routes → Controller (cove.network.controller), or
a handler of cove.identity
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from cove.api.auth import Authenticator, EmbeddedIdentity, IsAdmin, LocalToken, admin_by_role
from cove.api.middleware import OPEN_REQUESTS, Authenticate, BodyLimit, Guards, RequestId, WellFormed
from cove.api.networking import networking_routes
from cove.api.responses import EXCEPTION_HANDLERS
from cove.config import Settings
from cove.identity import IdentityService
from cove.identity import routes as identity_routes
from cove.network import NetworkService


def create_app(
    settings: Settings,
    network: NetworkService,
    extra_routes: Sequence[BaseRoute],
    token: str,
    *,
    identity: IdentityService | None = None,
    authenticator: Authenticator | None = None,
    is_admin: IsAdmin = admin_by_role,
) -> Starlette:
    """The application: Networking v2.0, Identity v3 if `identity` is there, and the routes given.

    `token` is that of the machine's own user. Others come with tokens of `identity`, or with such as `authenticator`
    knows; with neither, nobody else gets in. `network` and `identity` are started and stopped by the caller, not by the
    application's lifespan. `extra_routes` may handle their own errors; those of `cove.network` get Networking v2.0's
    form. Raises ValueError for an empty token.
    """
    routes: list[BaseRoute] = [*networking_routes(network), *extra_routes]
    open_requests = OPEN_REQUESTS
    if identity is not None:
        authenticator = authenticator or EmbeddedIdentity(identity)
        open_requests = OPEN_REQUESTS | identity_routes.OPEN_REQUESTS
        routes += identity_routes.identity_routes(identity)
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(RequestId),
            Middleware(WellFormed, public_url=settings.api_public_url),
            Middleware(
                Authenticate,
                local=LocalToken(token),
                authenticator=authenticator,
                is_admin=is_admin,
                open_requests=open_requests,
                identity_url=settings.identity,
            ),
            Middleware(Guards),
            Middleware(BodyLimit),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
