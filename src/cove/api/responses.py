"""JSON in and out, and errors in the forms that OpenStack's clients read."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from cove.network import errors

log = structlog.get_logger(__name__)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

MEDIA_TYPE = "application/json"

NESTING_MAX = 32
"""Levels of a body: what is kept of it is encoded again inside other structures, and that must always be possible."""


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(_encode(value), status, media_type=MEDIA_TYPE)


def error_response(error: errors.NetworkingError) -> Response:
    """An error of the Networking API: {"NeutronError": {...}}."""
    return json_response(error.to_json(), error.code)


async def json_body(request: Request) -> Any:
    """The decoded body of a request. Raises MalformedRequestBody."""
    body = await request.body()
    if not body:
        raise errors.HTTPBadRequest("the request needs a JSON body")
    try:
        value = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise errors.MalformedRequestBody(reason=str(error) or type(error).__name__) from None
    if body.count(b"[") + body.count(b"{") > NESTING_MAX and _nesting_exceeds(value, NESTING_MAX):
        raise errors.MalformedRequestBody(reason=f"more than {NESTING_MAX} levels of lists and objects")
    return value


def _nesting_exceeds(value: Any, levels_max: int) -> bool:
    """Whether lists and objects lie in one another more than `levels_max` deep. No recursion."""
    level = [value]
    for _ in range(levels_max + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return False
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    return True


def unauthorized_body() -> bytes:
    """The identity service's form of 401."""
    message = "The request you have made requires authentication."
    return _encode(
        {"error": {"code": 401, "title": "Unauthorized", "message": f"{message} Give a valid X-Auth-Token."}}
    )


def unavailable_body() -> bytes:
    """503, in the identity service's form: the token could not be checked."""
    message = "The token can't be checked now: the identity service is not available. Try again later."
    return _encode({"error": {"code": 503, "title": "Service Unavailable", "message": message}})


def forbidden_body(path: str) -> bytes:
    """403 for paths that are the machine's own."""
    message = f"{path} needs the token of this machine's own user."
    return _encode({"error": {"code": 403, "title": "Forbidden", "message": message}})


def bad_request_body(message: str) -> bytes:
    """400 for a header that can't be."""
    return _encode({"NeutronError": {"type": "HTTPBadRequest", "message": message, "detail": ""}})


def too_large_body(limit_bytes: int) -> bytes:
    """413 for a body over the limit."""
    message = f"the request body is larger than {limit_bytes} bytes"
    return _encode({"NeutronError": {"type": "HTTPRequestEntityTooLarge", "message": message, "detail": ""}})


async def on_networking_error(_request: Request, error: Exception) -> Response:
    """Starlette's handler for the errors of cove.network."""
    assert isinstance(error, errors.NetworkingError)
    return error_response(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's handler for what routing refuses: no such path, wrong method."""
    assert isinstance(error, HTTPException)
    kind = {404: "HTTPNotFound", 405: "HTTPMethodNotAllowed"}.get(error.status_code, "HTTPException")
    message = {
        404: f"the resource could not be found: {request.url.path}",
        405: f"method {request.method} is not allowed for {request.url.path}",
    }.get(error.status_code, str(error.detail))
    response = json_response({"NeutronError": {"type": kind, "message": message, "detail": ""}}, error.status_code)
    response.headers.update(error.headers or {})
    if error.status_code == 405 and "allow" not in response.headers:
        response.headers["allow"] = ", ".join(_methods_of(request))
    return response


def _methods_of(request: Request) -> list[str]:
    """All methods of the path; the router itself tells those of the first route only."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)


async def on_any_error(request: Request, error: Exception) -> Response:
    """Anything else is our fault; the log has it, the answer does not."""
    request_id = request.scope.get("cove.request_id", "")
    log.error("request failed", path=request.url.path, request_id=request_id, exc_info=error)
    message = f"the request failed because of an internal error; the log has the details under {request_id}"
    return json_response({"NeutronError": {"type": "HTTPInternalServerError", "message": message, "detail": ""}}, 500)


EXCEPTION_HANDLERS: dict[Any, Any] = {
    errors.NetworkingError: on_networking_error,
    HTTPException: on_http_exception,
    Exception: on_any_error,
}
