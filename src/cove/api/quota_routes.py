"""The quota paths: limits and usages of projects (extensions quotas, quota_details, quota-check-limit).

A project may always see its own; the rest is decided by get_quota, update_quota and delete_quota.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cove.api.responses import json_body, json_response
from cove.network import RequestContext, errors, quotas
from cove.network.plugin import CorePlugin
from cove.network.tables.quota import PROJECT
from cove.network.transaction import Reading

PATH = "/v2.0/quotas"

Endpoint = Callable[[Request], Awaitable[Response]]
Show = Callable[[Reading, str], Any]


def quota_routes(plugin: CorePlugin) -> list[BaseRoute]:
    """All routes below /v2.0/quotas; each also with the ending .json that old clients add."""
    endpoints: tuple[tuple[str, str, Endpoint], ...] = (
        ("GET", "", _list(plugin)),
        ("GET", "/tenant", _own("tenant")),
        ("GET", "/project", _own("project")),
        ("GET", "/{project}/default", _show(plugin, lambda reading, _project: quotas.defaults(reading))),
        ("GET", "/{project}/details", _show(plugin, quotas.details, refusal=errors.AdminRequired)),
        ("GET", "/{project}", _show(plugin, quotas.limits)),
        ("PUT", "/{project}", _update(plugin)),
        ("DELETE", "/{project}", _delete(plugin)),
    )
    return [
        Route(f"{PATH}{path}{ending}", endpoint, methods=[method])
        for method, path, endpoint in endpoints
        # The longer form first: an id may contain anything.
        for ending in (".json", "")
    ]


def _context(request: Request) -> RequestContext:
    context: RequestContext = request.scope["cove.context"]
    return context


def _project(request: Request) -> str:
    try:
        project: str = PROJECT(request.path_params["project"])
    except ValueError as error:
        raise errors.HTTPBadRequest(f"invalid project in the path: {error}") from None
    return project


def _list(plugin: CorePlugin) -> Endpoint:
    async def list_(request: Request) -> Response:
        context = _context(request)
        # Of no project in particular: only who may see all of them may see the list.
        plugin.config.policy.check("get_quota", context, {})
        return json_response({"quotas": await plugin.read(context, quotas.all_limits)})

    return list_


def _show(
    plugin: CorePlugin, show: Show, *, refusal: type[errors.NotAuthorized] = errors.PolicyNotAuthorized
) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        context, project = _context(request), _project(request)
        if project != context.project_id and not plugin.config.policy.allows("get_quota", context, _target(project)):
            raise refusal(action="get_quota")
        return json_response({"quota": await plugin.read(context, lambda reading: show(reading, project))})

    return endpoint


def _own(name: str) -> Endpoint:
    """Which project the token is for: clients of old ask it before they ask for its quota."""

    async def own(request: Request) -> Response:
        project_id = _context(request).project_id
        if not project_id:
            raise errors.QuotaMissingTenant
        return json_response({name: {f"{name}_id": project_id}})

    return own


def _update(plugin: CorePlugin) -> Endpoint:
    async def update(request: Request) -> Response:
        context, project = _context(request), _project(request)
        plugin.config.policy.check("update_quota", context, _target(project))
        wanted, force = quotas.checked(await json_body(request), tuple(plugin.config.quotas))
        limits = await plugin.write(context, lambda tx: quotas.set_limits(tx, project, wanted, force=force))
        return json_response({"quota": limits})

    return update


def _delete(plugin: CorePlugin) -> Endpoint:
    async def delete(request: Request) -> Response:
        context, project = _context(request), _project(request)
        plugin.config.policy.check("delete_quota", context, _target(project))
        await plugin.write(context, lambda tx: quotas.reset(tx, project))
        return Response(status_code=204)

    return delete


def _target(project_id: str) -> dict[str, str]:
    return {"project_id": project_id, "tenant_id": project_id}
