"""What a client reads to find its way: versions, extensions, agents, health."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import cove
from cove.api.responses import json_response
from cove.api.routes import PREFIX
from cove.network import NetworkService, errors

EXTENSIONS_UPDATED = "2026-11-21T00:00:00-00:00"

EXTENSIONS = {
    "agent": ("agent", "The agents of the service and when they were last heard of"),
    "allowed-address-pairs": ("Allowed Address Pairs", "Further addresses that a port may send from"),
    "binding": ("Port Binding", "The host that a port is on, and how it is plugged in there"),
    "dhcp_agent_scheduler": ("DHCP Agent Scheduler", "Networks are given to DHCP agents"),
    "dns-integration": ("DNS Integration", "Ports have names that the DHCP servers' DNS knows"),
    "empty-string-filtering": ("Empty String Filtering", "Lists can be filtered by an empty value"),
    "external-net": ("Neutron external network", "Networks may be marked as leading outside"),
    "extra_dhcp_opt": ("Neutron Extra DHCP options", "DHCP options of a port's own"),
    "filter-validation": ("Filter parameters validation", "Unknown filters of a list are refused"),
    "ip-substring-filtering": ("IP address substring filtering", "Ports by a part of their address"),
    "net-mtu": ("Network MTU", "Networks tell their MTU"),
    "net-mtu-writable": ("Network MTU (writable)", "A network's MTU can be set"),
    "pagination": ("Pagination support", "Lists come in pages"),
    "port-security": ("Port Security", "Whether a port's addresses are guarded"),
    "project-id": ("project_id field enabled", "tenant_id is also called project_id"),
    "sorting": ("Sorting support", "Lists can be sorted"),
    "standard-attr-description": ("standard-attr-description", "Objects have a description"),
    "standard-attr-revisions": ("Resource revision numbers", "Objects count their changes"),
    "standard-attr-timestamp": ("Resource timestamps", "Objects know when they were made and changed"),
}
"""Alias → name and description of each extension of Networking v2.0 that is there."""


def discovery_routes(network: NetworkService) -> list[BaseRoute]:
    """The routes of this module."""

    async def versions(request: Request) -> Response:
        link = {"rel": "self", "href": f"{_base(request)}{PREFIX}/"}
        return json_response({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})

    async def resources(request: Request) -> Response:
        collections = [controller.table.collection for controller in network.controllers.values()]
        return json_response(
            {
                "resources": [
                    {
                        "name": collection[:-1],
                        "collection": collection,
                        "links": [{"rel": "self", "href": f"{_base(request)}{PREFIX}/{collection}"}],
                    }
                    for collection in collections
                ]
            }
        )

    async def extensions(_request: Request) -> Response:
        return json_response({"extensions": [_extension(alias) for alias in EXTENSIONS]})

    async def extension(request: Request) -> Response:
        alias = request.path_params["alias"]
        if alias not in EXTENSIONS:
            raise errors.HTTPNotFound(f"there is no extension {alias!r}")
        return json_response({"extension": _extension(alias)})

    async def agents(_request: Request) -> Response:
        return json_response({"agents": await network.plugin.list_agents()})

    async def health(_request: Request) -> Response:
        await network.plugin.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
        return json_response({"status": "ok", "version": cove.__version__})

    return [
        Route("/", versions, methods=["GET"]),
        Route("/healthz", health, methods=["GET"]),
        Route(PREFIX, resources, methods=["GET"]),
        Route(f"{PREFIX}/", resources, methods=["GET"]),
        Route(f"{PREFIX}/extensions", extensions, methods=["GET"]),
        Route(f"{PREFIX}/extensions.json", extensions, methods=["GET"]),
        Route(f"{PREFIX}/extensions/{{alias}}", extension, methods=["GET"]),
        Route(f"{PREFIX}/agents", agents, methods=["GET"]),
        Route(f"{PREFIX}/agents.json", agents, methods=["GET"]),
    ]


def _extension(alias: str) -> dict[str, Any]:
    name, description = EXTENSIONS[alias]
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "updated": EXTENSIONS_UPDATED,
        "links": [],
    }


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"
