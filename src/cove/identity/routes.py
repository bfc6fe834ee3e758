"""HTTP for the Identity service: one table of routes, and the frame that each of them runs in.

The same routes are at `/v3` and at `/identity/v3`, where many clouds have them. Who calls was settled before
(cove.api.middleware): its context lies in the scope.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from cove import db
from cove.identity import (
    application_credentials,
    assignments,
    auth_routes,
    catalog,
    domains,
    login,
    policy,
    projects,
    roles,
    users,
)
from cove.identity.errors import (
    IdentityError,
    NotFound,
    OutcomeUnknown,
    RequestTooLarge,
    Unauthorized,
    Unavailable,
    ValidationError,
)
from cove.identity.passwords import hash_random, new_secret
from cove.identity.policy import Caller, Target
from cove.identity.service import Handler, IdentityService

log = structlog.get_logger(__name__)

PREFIXES = ("", "/identity")
VERSION = {
    "id": "v3.14",
    "status": "stable",
    "updated": "2020-04-07T00:00:00Z",
    "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
}
LOGIN_BYTES_MAX = 64 << 10
"""Of a login's body: anybody may send one."""
ARGUMENTS_MAX = 100
"""Of a query: each may be a condition, and databases take only so many."""

OPEN_REQUESTS = frozenset(
    (method, f"{prefix}{path}")
    for prefix in PREFIXES
    for method, path in (
        *(("GET", path) for path in ("", "/", "/v3", "/v3/")),
        *(("HEAD", path) for path in ("", "/", "/v3", "/v3/")),
        ("POST", "/v3/auth/tokens"),
    )
    if f"{prefix}{path}"
)
"""Method and path of what needs no token."""

Prepare = Callable[[IdentityService, Request, Caller, Any], Awaitable[Any]]


# --- what is done before the transaction -----------------------------------------------------------------------------


async def _hash_new_password(service: IdentityService, request: Request, caller: Caller, body: Any) -> str | None:
    action = "create_user" if request.method == "POST" else "update_user"
    policy.require(action, caller, Target())  # first: a hash costs time
    password = users.password_of(body)
    return None if password is None else await service.passwords.hash(password)


async def _check_old_password(
    service: IdentityService, request: Request, _caller: Caller, body: Any
) -> tuple[str, str]:
    user_id = request.path_params["user_id"]
    old, new = users.passwords_of_change(body)
    before = await service.authentication.check_password(user_id, old, _address(request))
    return before, await service.passwords.hash(new)


async def _make_secret(service: IdentityService, request: Request, caller: Caller, body: Any) -> tuple[str, str]:
    target = Target(user_id=request.path_params["user_id"])
    policy.require("create_application_credential", caller, target)
    given = application_credentials.secret_of(body)
    if given is not None:
        return given, await service.passwords.hash(given)
    secret = new_secret()
    return secret, hash_random(secret)


async def _subject_token(service: IdentityService, request: Request, caller: Caller, _body: Any) -> Any:
    subject = request.headers.get("x-subject-token", "")
    if not subject:
        raise NotFound("No token in the request (X-Subject-Token)")
    return await service.validate(subject)


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operation:
    """Method and path → handler. A handler that returns None gives 204."""

    method: str
    path: str
    handler: Handler
    status: int = 200
    prepare: Prepare | None = None

    @property
    def writes(self) -> bool:
        """Whether it needs a writing transaction."""
        return self.method not in ("GET", "HEAD")


def _grants(place: str) -> tuple[Operation, ...]:
    base = f"{place}/users/{{user_id}}/roles"
    return (
        Operation("GET", base, assignments.list_grants),
        Operation("GET", f"{base}/{{role_id}}", assignments.check_grant),
        Operation("PUT", f"{base}/{{role_id}}", assignments.grant),
        Operation("DELETE", f"{base}/{{role_id}}", assignments.revoke),
    )


_CREDENTIALS = "/users/{user_id}/application_credentials"
_IMPLIED = "/roles/{role_id}/implies/{implied_role_id}"

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/auth/tokens", auth_routes.show_token, prepare=_subject_token),
    Operation("DELETE", "/auth/tokens", auth_routes.revoke_token, prepare=_subject_token),
    Operation("GET", "/auth/catalog", auth_routes.my_catalog),
    Operation("GET", "/auth/projects", projects.mine),
    Operation("GET", "/auth/domains", auth_routes.my_domains),
    Operation("GET", "/auth/system", auth_routes.my_system),
    Operation("GET", "/domains", domains.list_),
    Operation("POST", "/domains", domains.create, 201),
    Operation("GET", "/domains/{domain_id}", domains.show),
    Operation("PATCH", "/domains/{domain_id}", domains.update),
    Operation("DELETE", "/domains/{domain_id}", domains.delete),
    Operation("GET", "/projects", projects.list_),
    Operation("POST", "/projects", projects.create, 201),
    Operation("GET", "/projects/{project_id}", projects.show),
    Operation("PATCH", "/projects/{project_id}", projects.update),
    Operation("DELETE", "/projects/{project_id}", projects.delete),
    Operation("GET", "/users", users.list_),
    Operation("POST", "/users", users.create, 201, _hash_new_password),
    Operation("GET", "/users/{user_id}", users.show),
    Operation("PATCH", "/users/{user_id}", users.update, prepare=_hash_new_password),
    Operation("DELETE", "/users/{user_id}", users.delete),
    Operation("POST", "/users/{user_id}/password", users.change_password, prepare=_check_old_password),
    Operation("GET", "/users/{user_id}/projects", projects.of_user),
    Operation("GET", "/users/{user_id}/groups", users.groups),
    Operation("GET", "/users/{user_id}/access_rules", users.no_access_rules),
    Operation("GET", _CREDENTIALS, application_credentials.list_),
    Operation("POST", _CREDENTIALS, application_credentials.create, 201, _make_secret),
    Operation("GET", f"{_CREDENTIALS}/{{application_credential_id}}", application_credentials.show),
    Operation("DELETE", f"{_CREDENTIALS}/{{application_credential_id}}", application_credentials.delete),
    Operation("GET", "/groups", users.no_groups),
    Operation("GET", "/roles", roles.list_),
    Operation("POST", "/roles", roles.create, 201),
    Operation("GET", "/roles/{role_id}", roles.show),
    Operation("PATCH", "/roles/{role_id}", roles.update),
    Operation("DELETE", "/roles/{role_id}", roles.delete),
    Operation("GET", "/role_inferences", roles.inferences),
    Operation("GET", "/roles/{role_id}/implies", roles.implied_by),
    Operation("HEAD", _IMPLIED, roles.check_implied),
    Operation("GET", _IMPLIED, roles.show_implied),
    Operation("PUT", _IMPLIED, roles.create_implied, 201),
    Operation("DELETE", _IMPLIED, roles.delete_implied),
    Operation("GET", "/role_assignments", assignments.list_),
    *_grants("/projects/{project_id}"),
    *_grants("/domains/{domain_id}"),
    *_grants("/system"),
    Operation("GET", "/services", catalog.list_services),
    Operation("POST", "/services", catalog.create_service, 201),
    Operation("GET", "/services/{service_id}", catalog.show_service),
    Operation("PATCH", "/services/{service_id}", catalog.update_service),
    Operation("DELETE", "/services/{service_id}", catalog.delete_service),
    Operation("GET", "/endpoints", catalog.list_endpoints),
    Operation("POST", "/endpoints", catalog.create_endpoint, 201),
    Operation("GET", "/endpoints/{endpoint_id}", catalog.show_endpoint),
    Operation("PATCH", "/endpoints/{endpoint_id}", catalog.update_endpoint),
    Operation("DELETE", "/endpoints/{endpoint_id}", catalog.delete_endpoint),
    Operation("GET", "/regions", catalog.list_regions),
    Operation("POST", "/regions", catalog.create_region, 201),
    Operation("GET", "/regions/{region_id}", catalog.show_region),
    Operation("PUT", "/regions/{region_id}", catalog.create_region, 201),
    Operation("PATCH", "/regions/{region_id}", catalog.update_region),
    Operation("DELETE", "/regions/{region_id}", catalog.delete_region),
)


def identity_routes(service: IdentityService) -> list[BaseRoute]:
    """All routes, for both prefixes. Whatever else is below `/v3` answers in this API's form, too."""
    frame = _Frame(service)
    routes: list[BaseRoute] = []
    for prefix in PREFIXES:
        v3 = f"{prefix}/v3"
        if prefix:
            routes += [Route(path, frame.versions, methods=["GET"]) for path in (prefix, f"{prefix}/")]
        routes += [Route(path, frame.version, methods=["GET"]) for path in (v3, f"{v3}/")]
        routes.append(Route(f"{v3}/auth/tokens", frame.log_in, methods=["POST"]))
        known: list[Route] = [
            Route(f"{v3}{operation.path}", frame.endpoint(operation), methods=[operation.method])
            for operation in OPERATIONS
        ]
        routes += known
        routes.append(Route(f"{v3}/{{rest:path}}", frame.nothing(known), methods=list(METHODS)))
    return routes


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def version_entry(v3: str) -> dict[str, Any]:
    """What discovery says of this API."""
    return VERSION | {"links": [{"rel": "self", "href": f"{v3}/"}]}


def error_response(error: IdentityError, v3: str) -> Response:
    """An error in the form of Identity v3."""
    headers = {"vary": "X-Auth-Token"} | error.headers
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = f'Keystone uri="{v3}"'
    return Response(msgspec.json.encode(error.to_json()), error.code, headers, "application/json")


def _json(value: Any, status: int, **headers: str) -> Response:
    content = msgspec.json.encode(value) if value is not None else b""
    return Response(
        content, status if content else 204, {"vary": "X-Auth-Token"} | headers, "application/json" if content else None
    )


class _Frame:
    """What is around each handler: the caller, the body, errors in the API's form."""

    def __init__(self, service: IdentityService) -> None:
        self._service = service

    def base(self, request: Request) -> str:
        """The address of the API as the client wrote it, or as the setting has it."""
        return self._service.settings.api_public_url or f"{request.url.scheme}://{request.url.netloc}"

    def v3(self, request: Request) -> str:
        """The address of this API as the client wrote it."""
        prefix = "/identity" if request.url.path.startswith("/identity") else ""
        return f"{self.base(request)}{prefix}/v3"

    async def version(self, request: Request) -> Response:
        """GET /v3."""
        return _json({"version": version_entry(self.v3(request))}, 200)

    async def versions(self, request: Request) -> Response:
        """GET /identity."""
        return _json({"versions": {"values": [version_entry(self.v3(request))]}}, 300)

    def endpoint(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        """The route's endpoint."""

        async def endpoint(request: Request) -> Response:
            return await self._answered(request, self._run(operation, request))

        return endpoint

    async def _answered(self, request: Request, answering: Awaitable[Response]) -> Response:
        """The answer, or that of the error."""
        try:
            return await answering
        except IdentityError as error:
            return error_response(error, self.v3(request))
        except db.DatabaseBusy as error:
            log.warning("identity.unavailable", request_id=request.scope.get("cove.request_id"), why=str(error))
            return error_response(Unavailable(), self.v3(request))
        except db.OutcomeUnknown as error:
            log.warning("identity.outcome_unknown", request_id=request.scope.get("cove.request_id"), why=str(error))
            return error_response(OutcomeUnknown(), self.v3(request))

    async def _run(self, operation: Operation, request: Request) -> Response:
        if any("\0" in value for value in request.path_params.values()):
            raise NotFound("Could not find what has a NUL character in its id.")
        query = request.query_params.multi_items()
        if len(query) > ARGUMENTS_MAX:
            raise ValidationError(f"More than {ARGUMENTS_MAX} arguments in the query.")
        if any("\0" in value for _, value in query):
            raise ValidationError("A NUL character in the query.")
        body = _decoded(await request.body()) if request.method in ("POST", "PUT", "PATCH") else None
        caller = await self._caller(request)
        prepared = await operation.prepare(self._service, request, caller, body) if operation.prepare else None
        transaction = self._service.write if operation.writes else self._service.read
        answer = await transaction(
            operation.handler,
            caller=caller,
            params=request.path_params,
            query=query,
            body=body,
            base=self.base(request),
            v3=self.v3(request),
            prepared=prepared,
        )
        subject = request.headers.get("x-subject-token", "")
        headers = {"x-subject-token": subject} if operation.path == "/auth/tokens" and answer is not None else {}
        return _json(answer, operation.status, **headers)

    async def _caller(self, request: Request) -> Caller:
        token = await self._service.validate(request.headers.get("x-auth-token", ""))
        if token is not None:
            return token.caller()
        # The token of the machine's own user: no user of the service, but what the middleware says.
        context = request.scope.get("cove.context")
        if context is None or not request.scope.get("cove.local"):
            raise Unauthorized
        return Caller(roles=context.roles, project_id=context.project_id, project_domain_id=domains.DEFAULT_ID)

    async def log_in(self, request: Request) -> Response:
        """POST /auth/tokens."""
        return await self._answered(request, self._log_in(request))

    async def _log_in(self, request: Request) -> Response:
        wanted = login.parse(_decoded(await _limited_body(request)))
        with_catalog = request.query_params.get("nocatalog", "0").lower() in ("0", "false", "no", "off")
        issued = await self._service.authentication.log_in(
            wanted, _address(request), self.base(request), with_catalog=with_catalog
        )
        return _json(issued.body, 201, **{"x-subject-token": issued.text})

    def nothing(self, known: list[Route]) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint for what no route has."""

        async def nothing(request: Request) -> Response:
            methods: set[str] = set()
            for route in known:
                if route.matches(request.scope)[0] is not Match.NONE:
                    methods |= route.methods or set()
            if methods:
                message = f"Method {request.method} is not allowed for {request.url.path}."
                error = {"error": {"code": 405, "title": "Method Not Allowed", "message": message}}
                return Response(
                    msgspec.json.encode(error), 405, {"allow": ", ".join(sorted(methods))}, "application/json"
                )
            return error_response(NotFound(f"Could not find {request.url.path}."), self.v3(request))

        return nothing


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


async def _limited_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LOGIN_BYTES_MAX:
            raise RequestTooLarge(f"the request body is larger than {LOGIN_BYTES_MAX} bytes")
    return bytes(body)


def _decoded(body: bytes) -> Any:
    """The JSON of a body; None if it is empty. Raises ValidationError."""
    if not body:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # Without what the decoder says: it may quote a password.
        raise ValidationError("Expecting to find valid JSON in request body.") from None
