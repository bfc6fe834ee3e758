"""Routes generated from the registry: collection and member paths of Networking v2.0, for each resource.

    GET POST /v2.0/<collection>     GET PUT DELETE /v2.0/<collection>/<id>

each also with .json, as old clients say, with a slash at the end, and with "_" for "-" in the collection (Neutron).
One look-up by the path's second segment finds the resource, however many there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from cove.api.responses import json_body, json_response
from cove.network import RequestContext, errors
from cove.network.controller import Controller

PREFIX = "/v2.0"

Endpoint = Callable[[Request], Awaitable[Response]]


def context_of(request: Request) -> RequestContext:
    """Who asks, as authentication found out."""
    context = request.scope["cove.context"]
    assert isinstance(context, RequestContext)
    return context


class ResourceRoutes(BaseRoute):
    """All paths of all resources."""

    def __init__(self, controllers: Iterable[Controller]) -> None:
        self._collections: Mapping[str, tuple[Mapping[str, Endpoint], Mapping[str, Endpoint]]] = {
            controller.table.collection.replace("_", "-"): (_of_collection(controller), _of_member(controller))
            for controller in controllers
        }

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path is a resource's."""
        if scope["type"] != "http":
            return Match.NONE, {}
        prefix, _, rest = scope["path"][1:].partition("/")
        if prefix != PREFIX[1:]:
            return Match.NONE, {}
        collection, _, item_id = rest.removesuffix("/").removesuffix(".json").partition("/")
        methods = self._collections.get(collection) or self._collections.get(collection.replace("_", "-"))
        if methods is None or "/" in item_id:
            return Match.NONE, {}
        return Match.FULL, {"path_params": {"id": item_id}, "cove.methods": methods[1] if item_id else methods[0]}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the endpoint of the request's method. Raises HTTPException (405)."""
        methods: Mapping[str, Endpoint] = scope["cove.methods"]
        endpoint = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if endpoint is None:
            raise HTTPException(405, headers={"allow": ", ".join(sorted([*methods, "HEAD"]))})
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        """Nothing is looked up by name."""
        raise NoMatchFound(name, path_params)


def _of_collection(controller: Controller) -> Mapping[str, Endpoint]:
    collection = controller.table.collection

    async def find(request: Request) -> Response:
        page = await controller.find(context_of(request), request.query_params.multi_items())
        answer: dict[str, Any] = {collection: page.items}
        links = [
            {"rel": rel, "href": f"{str(request.url).partition('?')[0]}?{urlencode(query)}"}
            for rel, query in (("next", page.next), ("previous", page.previous))
            if query is not None
        ]
        if links:
            answer[f"{collection}_links"] = links
        return json_response(answer)

    async def create(request: Request) -> Response:
        body = await json_body(request)
        return json_response(await controller.create(context_of(request), body), 201)

    return {"GET": find} | ({"POST": create} if controller.resource.create is not None else {})


def _of_member(controller: Controller) -> Mapping[str, Endpoint]:
    async def show(request: Request) -> Response:
        arguments = request.query_params.multi_items()
        return json_response(await controller.get(context_of(request), request.path_params["id"], arguments))

    async def update(request: Request) -> Response:
        body = await json_body(request)
        item_id, if_match = request.path_params["id"], request.headers.getlist("if-match")
        return json_response(await controller.update(context_of(request), item_id, body, if_match))

    async def delete(request: Request) -> Response:
        if await request.body():
            raise errors.HTTPBadRequest("a DELETE takes no body")
        item_id, if_match = request.path_params["id"], request.headers.getlist("if-match")
        await controller.delete(context_of(request), item_id, if_match)
        return Response(status_code=204)

    methods: dict[str, Endpoint] = {"GET": show}
    if controller.resource.update is not None:
        methods["PUT"] = update
    if controller.resource.delete is not None:
        methods["DELETE"] = delete
    return methods
