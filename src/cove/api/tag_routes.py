"""The tags of an object: /v2.0/<collection>/<id>/tags and /tags/<tag>, for every resource that has tags.

    GET all · PUT exactly these · POST these too · DELETE all          GET whether it is there · PUT · DELETE one

Answers are Networking v2.0's: 200 with the tags for the whole, 204, 201 and 204 for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cove.api.responses import json_body, json_response
from cove.api.routes import PREFIX, context_of
from cove.network import NetworkService, errors, parents, queries, tags
from cove.network.resource import Resource
from cove.network.transaction import Reading, Transaction

Change = Callable[[Transaction, Resource, str], None]


def tag_routes(network: NetworkService, resources: Iterable[Resource]) -> list[BaseRoute]:
    """The routes of this module, for those of the resources that are tagged."""
    plugin = network.plugin
    tagged = {resource.collection.replace("_", "-"): resource for resource in resources if resource.tagged}

    def of(request: Request) -> tuple[Resource, str]:
        resource = tagged.get(request.path_params["collection"])
        if resource is None:
            raise HTTPException(404)
        return resource, request.path_params["id"]

    async def change(request: Request, verb: str, apply: Change) -> None:
        resource, item_id = of(request)

        def run(tx: Transaction) -> None:
            _authorize(tx, resource, item_id, verb)
            apply(tx, resource, item_id)

        await plugin.write(context_of(request), run)

    async def index(request: Request) -> Response:
        resource, item_id = of(request)

        def run(reading: Reading) -> list[str]:
            _authorize(reading, resource, item_id, "get")
            return tags.of(reading, resource.name, [item_id]).get(item_id, [])

        return json_response({"tags": await plugin.read(context_of(request), run)})

    async def show(request: Request) -> Response:
        resource, item_id = of(request)
        tag = tags.check(request.path_params["tag"])

        def run(reading: Reading) -> None:
            _authorize(reading, resource, item_id, "get")
            tags.show(reading, resource, item_id, tag)

        await plugin.read(context_of(request), run)
        return Response(status_code=204)

    async def replace(request: Request) -> Response:
        of(request)
        wanted = tags.check_body(await json_body(request))
        await change(request, "update", partial(tags.replace, wanted=wanted))
        return json_response({"tags": wanted})

    async def extend(request: Request) -> Response:
        of(request)
        more = tags.check_body(await json_body(request))
        await change(request, "create", partial(tags.extend, more=more))
        return json_response({"tags": more})

    async def put(request: Request) -> Response:
        tag = tags.check(request.path_params["tag"], length_min=1)
        await change(request, "update", partial(tags.extend, more=[tag]))
        return json_response(None, 201)

    async def delete(request: Request) -> Response:
        await change(request, "delete", partial(tags.take, tag=tags.check(request.path_params["tag"])))
        return Response(status_code=204)

    async def delete_all(request: Request) -> Response:
        await change(request, "delete", partial(tags.replace, wanted=()))
        return Response(status_code=204)

    whole, one = f"{PREFIX}/{{collection}}/{{id}}/tags", f"{PREFIX}/{{collection}}/{{id}}/tags/{{tag:path}}"
    table = {
        **{
            (whole + ending, method): endpoint
            for method, endpoint in (("GET", index), ("PUT", replace), ("POST", extend), ("DELETE", delete_all))
            for ending in ("", ".json")
        },
        (one, "GET"): show,
        (one, "PUT"): put,
        (one, "DELETE"): delete,
    }
    return [Route(path, endpoint, methods=[method]) for (path, method), endpoint in table.items()]


def _authorize(reading: Reading, resource: Resource, item_id: str, verb: str) -> None:
    """Raises TagResourceNotFound for who may not see the object, PolicyNotAuthorized for who may see it only."""
    policy, context = reading.config.policy, reading.context
    lock = isinstance(reading, Transaction)
    try:
        item = queries.view_one(reading, resource, queries.row(reading, resource, item_id, lock=lock))
    except errors.NotFound:
        raise errors.TagResourceNotFound(resource=resource.name, resource_id=item_id) from None
    target = parents.target(resource, item, parents.facts(reading, resource, [item]))
    if not policy.may_get(context, resource.name, target):
        raise errors.TagResourceNotFound(resource=resource.name, resource_id=item_id)
    policy.check(f"{verb}_{resource.name}:tags", context, target)
