"""Operations on a subnet pool: PUT /v2.0/subnetpools/{id}/{add_prefixes,remove_prefixes,onboard_network_subnets}."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cove.api.responses import json_body, json_response
from cove.api.routes import PREFIX, context_of
from cove.network import NetworkService, errors, queries, subnetpools
from cove.network.subnetpool_operations import OPERATIONS
from cove.network.transaction import Transaction


def subnetpool_routes(network: NetworkService) -> list[BaseRoute]:
    """The routes of this module."""

    def route(name: str) -> Route:
        operation = OPERATIONS[name]

        async def endpoint(request: Request) -> Response:
            item_id, body = request.path_params["id"], await json_body(request)

            def run(tx: Transaction) -> Any:
                row = queries.row(tx, subnetpools.RESOURCE, item_id, lock=True)
                target = queries.view_one(tx, subnetpools.RESOURCE, row)
                policy, context = tx.config.policy, tx.context
                if not policy.may_get(context, "subnetpool", target):
                    raise errors.not_found("subnetpool", item_id)
                policy.check_update(context, "subnetpool", target, {})
                return operation(tx, row, body)

            return json_response(await network.plugin.write(context_of(request), run))

        return Route(f"{PREFIX}/subnetpools/{{id}}/{name}", endpoint, methods=["PUT"])

    return [route(name) for name in OPERATIONS]
