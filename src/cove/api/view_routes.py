"""What is only looked at: availability zones, the use of addresses, and providers of services (there are none)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cove.api.responses import json_response
from cove.api.routes import PREFIX, context_of
from cove.network import NetworkService, availability_zones, errors, ip_availability
from cove.network.attributes import AttributeTable
from cove.network.controller import LIMIT_MAX, LIST_ARGUMENTS
from cove.network.resource import Object
from cove.network.tables.views import AVAILABILITY_ZONE, NETWORK_IP_AVAILABILITY, SERVICE_PROVIDER
from cove.network.transaction import Reading

INTEGER_BITS_MAX = 63
"""What the JSON encoder takes; longer numbers are written by us."""


def view_routes(network: NetworkService) -> list[BaseRoute]:
    """The routes of this module."""

    async def zones(request: Request) -> Response:
        filters = AVAILABILITY_ZONE.filters(request.query_params.multi_items(), LIST_ARGUMENTS)
        return await listed(request, AVAILABILITY_ZONE, lambda reading: availability_zones.find(reading, filters))

    async def providers(request: Request) -> Response:
        SERVICE_PROVIDER.filters(request.query_params.multi_items(), LIST_ARGUMENTS)
        return await listed(request, SERVICE_PROVIDER, lambda _reading: [])

    async def availabilities(request: Request) -> Response:
        query = _query(request)
        return await listed(request, NETWORK_IP_AVAILABILITY, lambda reading: ip_availability.find(reading, query))

    async def availability(request: Request) -> Response:
        network_id = request.path_params["id"]
        item = await network.plugin.read(context_of(request), lambda reading: ip_availability.get(reading, network_id))
        return json_response({NETWORK_IP_AVAILABILITY.resource: _shown(NETWORK_IP_AVAILABILITY, item, request)})

    async def listed(request: Request, table: AttributeTable, find: Callable[[Reading], Sequence[Object]]) -> Response:
        context, action = context_of(request), f"get_{table.resource}"
        found = await network.plugin.read(context, find)
        shown = [_shown(table, item, request) for item in found if network.policy.allows(action, context, item)]
        return json_response({table.collection: shown})

    paths = {"availability_zones": zones, "service-providers": providers, "network-ip-availabilities": availabilities}
    routes: list[BaseRoute] = []
    for suffix in ("", ".json"):
        routes += [Route(f"{PREFIX}/{path}{suffix}", endpoint, methods=["GET"]) for path, endpoint in paths.items()]
    for suffix in (".json", ""):  # the longer form first: an id may contain anything
        path = f"{PREFIX}/network-ip-availabilities/{{id}}{suffix}"
        routes.append(Route(path, availability, methods=["GET"]))
    return routes


def _query(request: Request) -> ip_availability.Query:
    """Filters and paging of a list of availabilities; it can be sorted by network_id. Raises HTTPBadRequest."""
    arguments = request.query_params
    limit, keys = arguments.get("limit", "0"), arguments.getlist("sort_key")
    if not limit.isascii() or not limit.isdigit():
        raise errors.HTTPBadRequest(f"limit {limit!r} is not a number of objects")
    if any(key != "network_id" for key in keys):
        raise errors.HTTPBadRequest(f"sort_key {keys[-1]!r} is not network_id, the one key to sort these by")
    descending = (arguments.get("sort_dir") == "desc") != (arguments.get("page_reverse", "").lower() == "true")
    return ip_availability.Query(
        filters=NETWORK_IP_AVAILABILITY.filters(arguments.multi_items(), LIST_ARGUMENTS),
        descending=descending,
        limit=min(int(limit.lstrip("0")[:6] or 0), LIMIT_MAX) or None,
        marker=arguments.get("marker"),
    )


def _shown(table: AttributeTable, item: Object, request: Request) -> Any:
    fields = [field for field in request.query_params.getlist("fields") if field]
    return _encodable(table.strip(item, (), fields))


def _encodable(value: Any) -> Any:
    """The value with its very long integers as JSON already."""
    if isinstance(value, dict):
        return {name: _encodable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_encodable(inner) for inner in value]
    if isinstance(value, int) and value.bit_length() > INTEGER_BITS_MAX:
        return msgspec.Raw(str(value).encode())
    return value
