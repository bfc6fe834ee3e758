"""Assembly of the HTTP application.

uvicorn → RequestId → TokenCheck → BodyLimit → routes → Controller (cove.network.controller)
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from cove.api.discovery import discovery_routes
from cove.api.middleware import BodyLimit, RequestId, TokenCheck
from cove.api.responses import EXCEPTION_HANDLERS
from cove.api.routes import resource_routes
from cove.config import Settings
from cove.network import NetworkService


def create_app(settings: Settings, network: NetworkService, extra_routes: Sequence[BaseRoute], token: str) -> Starlette:
    """The application: Networking v2.0 and the routes given, behind one token.

    `network` is started and stopped by the caller, not by the application's lifespan. `extra_routes` may handle their
    own errors; those of `cove.network` get Networking v2.0's form. Raises ValueError for an empty token.
    """
    if not token:
        raise ValueError("the API needs a token that is not empty")
    # Ports first: routes are tried in order, and ports are what is asked for most.
    controllers = sorted(network.controllers.values(), key=lambda controller: controller.table.resource != "port")
    return Starlette(
        routes=[*resource_routes(controllers), *discovery_routes(network), *extra_routes],
        middleware=[Middleware(RequestId), Middleware(TokenCheck, token=token), Middleware(BodyLimit)],
        exception_handlers=EXCEPTION_HANDLERS,
    )
