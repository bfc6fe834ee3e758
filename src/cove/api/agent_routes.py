"""The networks of a DHCP agent, and the agents of a network (extension dhcp_agent_scheduler); agents are a resource."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cove.api.responses import json_body, json_response
from cove.api.routes import PREFIX, context_of
from cove.network import NetworkService, agents, errors, networks
from cove.network.resource import Object, Resource


def agent_routes(network: NetworkService) -> list[BaseRoute]:
    """The routes of this module. Who may use them is asked first: to all others no agent or network is there."""
    plugin, policy = network.plugin, network.policy

    def shown(request: Request, resource: Resource, items: list[Object]) -> list[Object]:
        context = context_of(request)
        return [
            resource.attributes.strip(item, policy.hidden(context, resource.name, item))
            for item in items
            if policy.may_get(context, resource.name, item)
        ]

    async def networks_of(request: Request) -> Response:
        context, agent_id = context_of(request), request.path_params["agent_id"]
        policy.check("get_dhcp-networks", context, {})
        found = await plugin.read(context, lambda reading: agents.networks_of(reading, agent_id))
        return json_response({"networks": shown(request, networks.RESOURCE, found)})

    async def agents_of(request: Request) -> Response:
        context, network_id = context_of(request), request.path_params["network_id"]
        policy.check("get_dhcp-agents", context, {})
        found = await plugin.read(context, lambda reading: agents.agents_of(reading, network_id))
        return json_response({"agents": shown(request, agents.RESOURCE, found)})

    async def add(request: Request) -> Response:
        context, agent_id = context_of(request), request.path_params["agent_id"]
        policy.check("create_dhcp-network", context, {})
        body = await json_body(request)
        network_id = body.get("network_id") if isinstance(body, dict) else None
        if not isinstance(network_id, str):
            raise errors.HTTPBadRequest('the body must be {"network_id": ID}')
        await plugin.write(context, lambda tx: agents.add_network(tx, agent_id, network_id))
        return json_response(None, 201)

    async def remove(request: Request) -> Response:
        context, agent_id = context_of(request), request.path_params["agent_id"]
        network_id = request.path_params["network_id"]
        policy.check("delete_dhcp-network", context, {})
        await plugin.write(context, lambda tx: agents.remove_network(tx, agent_id, network_id))
        return Response(status_code=204)

    routes: list[BaseRoute] = []
    for suffix in (".json", ""):  # the longer form first: an id may contain anything
        hosted = f"{PREFIX}/agents/{{agent_id}}/dhcp-networks"
        routes += [
            Route(f"{hosted}{suffix}", networks_of, methods=["GET"]),
            Route(f"{hosted}{suffix}", add, methods=["POST"]),
            Route(f"{hosted}/{{network_id}}{suffix}", remove, methods=["DELETE"]),
            Route(f"{PREFIX}/networks/{{network_id}}/dhcp-agents{suffix}", agents_of, methods=["GET"]),
        ]
    return routes
