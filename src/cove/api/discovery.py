"""What a client reads to find its way: versions, collections, extensions, health."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import cove
from cove.api.responses import json_response
from cove.api.routes import PREFIX
from cove.network import NetworkService, errors
from cove.network.attributes import AttributeTable
from cove.network.context import service_context
from cove.network.extensions import EXTENSIONS
from cove.network.registry import RESOURCES
from cove.network.tables.views import AVAILABILITY_ZONE, NETWORK_IP_AVAILABILITY, SERVICE_PROVIDER

TABLES: tuple[AttributeTable, ...] = (
    *(resource.attributes for resource in RESOURCES.values()),
    AVAILABILITY_ZONE,
    NETWORK_IP_AVAILABILITY,
    SERVICE_PROVIDER,
)
"""Every collection of Networking v2.0 that is listed."""


def path_of(table: AttributeTable) -> str:
    """The collection's part of a path: with dashes, but for the one that was named before that was the rule."""
    return table.collection if table is AVAILABILITY_ZONE else table.collection.replace("_", "-")


def discovery_routes(network: NetworkService) -> list[BaseRoute]:
    """The routes of this module."""

    async def versions(request: Request) -> Response:
        link = {"rel": "self", "href": f"{_base(request)}{PREFIX}/"}
        return json_response({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})

    async def collections(request: Request) -> Response:
        return json_response({"resources": [_collection(table, _base(request)) for table in TABLES]})

    async def extensions(_request: Request) -> Response:
        return json_response({"extensions": [extension.to_json() for extension in EXTENSIONS.values()]})

    async def extension(request: Request) -> Response:
        found = EXTENSIONS.get(request.path_params["alias"])
        if found is None:
            raise errors.HTTPNotFound(f"there is no extension {request.path_params['alias']!r}")
        return json_response({"extension": found.to_json()})

    async def health(_request: Request) -> Response:
        await network.plugin.read(service_context(), lambda reading: reading.connection.exec_driver_sql("SELECT 1"))
        return json_response({"status": "ok", "version": cove.__version__})

    return [
        Route("/", versions, methods=["GET"]),
        Route("/healthz", health, methods=["GET"]),
        Route(PREFIX, collections, methods=["GET"]),
        Route(f"{PREFIX}/", collections, methods=["GET"]),
        Route(f"{PREFIX}/extensions", extensions, methods=["GET"]),
        Route(f"{PREFIX}/extensions.json", extensions, methods=["GET"]),
        Route(f"{PREFIX}/extensions/{{alias}}.json", extension, methods=["GET"]),
        Route(f"{PREFIX}/extensions/{{alias}}", extension, methods=["GET"]),
    ]


def _collection(table: AttributeTable, base: str) -> dict[str, Any]:
    link = {"rel": "self", "href": f"{base}{PREFIX}/{path_of(table)}"}
    return {"name": table.resource, "collection": table.collection, "links": [link]}


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"
