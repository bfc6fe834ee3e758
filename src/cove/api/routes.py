"""Routes generated from the resource tables: collection and member paths of Networking v2.0, for each resource."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cove.api.responses import json_body, json_response
from cove.network import DEMO_PROJECT_ID, RequestContext, errors
from cove.network.controller import Controller

PREFIX = "/v2.0"
_PROJECT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,255}\Z")

Endpoint = Callable[[Request], Awaitable[Response]]


def context_of(request: Request) -> RequestContext:
    """Who asks. The one token is an admin's; its project is X-Project-Id, or the default one. Raises HTTPBadRequest."""
    project_id = request.headers.get("x-project-id") or DEMO_PROJECT_ID
    if not _PROJECT_ID.match(project_id):
        raise errors.HTTPBadRequest(f"X-Project-Id {project_id!r} is not a project's id")
    return RequestContext(project_id, is_admin=True, request_id=request.scope.get("cove.request_id", ""))


def resource_routes(controllers: Iterable[Controller]) -> list[BaseRoute]:
    """Ten routes for each resource: five operations, each also with the .json ending that old clients add."""
    routes: list[BaseRoute] = []
    for controller in controllers:
        collection = f"{PREFIX}/{controller.table.collection}"
        for suffix in ("", ".json"):
            routes += [
                Route(f"{collection}{suffix}", _list(controller), methods=["GET"]),
                Route(f"{collection}{suffix}", _create(controller), methods=["POST"]),
            ]
        for suffix in (".json", ""):  # the longer form first: an id may contain anything
            routes += [
                Route(f"{collection}/{{id}}{suffix}", _show(controller), methods=["GET"]),
                Route(f"{collection}/{{id}}{suffix}", _update(controller), methods=["PUT"]),
                Route(f"{collection}/{{id}}{suffix}", _delete(controller), methods=["DELETE"]),
            ]
    return routes


def _create(controller: Controller) -> Endpoint:
    async def create(request: Request) -> Response:
        body = await json_body(request)
        return json_response(await controller.create(context_of(request), body), 201)

    return create


def _list(controller: Controller) -> Endpoint:
    collection = controller.table.collection

    async def list_(request: Request) -> Response:
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

    return list_


def _show(controller: Controller) -> Endpoint:
    async def show(request: Request) -> Response:
        fields = [field for field in request.query_params.getlist("fields") if field]
        return json_response(await controller.get(context_of(request), request.path_params["id"], fields))

    return show


def _update(controller: Controller) -> Endpoint:
    async def update(request: Request) -> Response:
        body = await json_body(request)
        return json_response(await controller.update(context_of(request), request.path_params["id"], body))

    return update


def _delete(controller: Controller) -> Endpoint:
    async def delete(request: Request) -> Response:
        await controller.delete(context_of(request), request.path_params["id"])
        return Response(status_code=204)

    return delete
