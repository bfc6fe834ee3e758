"""All paths of Networking v2.0, in the order in which they are tried: what is asked for most comes first."""

from __future__ import annotations

from starlette.routing import BaseRoute

from cove.api.agent_routes import agent_routes
from cove.api.discovery import discovery_routes
from cove.api.openapi import openapi_routes
from cove.api.quota_routes import quota_routes
from cove.api.routes import ResourceRoutes
from cove.api.subnetpool_routes import subnetpool_routes
from cove.api.tag_routes import tag_routes
from cove.api.view_routes import view_routes
from cove.network import NetworkService
from cove.network.registry import RESOURCES


def networking_routes(network: NetworkService) -> list[BaseRoute]:
    """Resources, what belongs to their objects, and what describes them."""
    return [
        ResourceRoutes(network.controllers.values()),
        *subnetpool_routes(network),
        *tag_routes(network, RESOURCES.values()),
        *agent_routes(network),
        *quota_routes(network.plugin),
        *view_routes(network),
        *openapi_routes(),
        *discovery_routes(network),
    ]
