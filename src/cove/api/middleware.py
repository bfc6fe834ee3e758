"""What every request passes before it is routed: request id, who asks, size of the body. Plain ASGI, no framework."""

from __future__ import annotations

import re
import uuid
from collections.abc import Container, Sequence
from dataclasses import replace

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cove.api.auth import Authenticator, IdentityUnavailable, IsAdmin, LocalToken, Unauthorized, admin_by_role
from cove.api.responses import (
    MEDIA_TYPE,
    bad_request_body,
    forbidden_body,
    too_large_body,
    unauthorized_body,
    unavailable_body,
)
from cove.network.context import RequestContext

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 1 << 20
ONCE = frozenset(
    (b"host", b"x-auth-token", b"x-subject-token", b"x-project-id", b"content-length", b"transfer-encoding")
)
"""Headers of which a second one would leave it to chance who reads which."""
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._~-]{1,64})?\])(?::[0-9]{1,5})?\Z")
OPEN_REQUESTS = frozenset((method, path) for method in ("GET", "HEAD") for path in ("/", "/healthz"))
"""Method and path of what needs no token: what versions there are, and whether the service lives."""

GUARDS: tuple[str, ...] = ("/cove/",)
"""Beginnings of paths that know no projects: the machine's own (disks, imports, shutdown)."""


class RequestId:
    """Gives each request an id, in scope["cove.request_id"] and in the answer's x-openstack-request-id.

    And tells caches to keep nothing: answers differ by token, and by the address under which they were asked for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["cove.request_id"] = f"req-{uuid.uuid4()}"

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-openstack-request-id"] = request_id
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_id)


class WellFormed:
    """Refuses with 400 what two readers of the same request could understand differently.

    And sees to the address that links begin with: the setting `api_public_url` where there is one, so that nobody's
    Host gets into an answer; else a Host that is one.
    """

    def __init__(self, app: ASGIApp, public_url: str = "") -> None:
        self._app = app
        scheme, _, host = public_url.partition("://")
        self._scheme, self._host = scheme, host.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wrong = _wrong_with(scope)
        if wrong:
            await answer(send, 400, bad_request_body(wrong), (b"connection", b"close"))
            return
        if self._host:
            scope["scheme"] = self._scheme
            scope["headers"] = [header for header in scope["headers"] if header[0] != b"host"] + [(b"host", self._host)]
        await self._app(scope, receive, send)


def _wrong_with(scope: Scope) -> str:
    """What makes the request ambiguous; empty if nothing."""
    seen: set[bytes] = set()
    for name, value in scope["headers"]:
        if name not in ONCE:
            continue
        if name in seen:
            return f"the header {name.decode()} is there more than once"
        seen.add(name)
        if name == b"host" and not _HOST.match(value):
            return "the header host is not a name or an address, with a port or without"
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            return "the only transfer-encoding is chunked"
    if b"host" not in seen and scope["http_version"] != "1.0":
        return "the header host is missing"
    return "" if scope["path"].startswith("/") else "the path does not begin with a slash"


class Authenticate:
    """Finds out who asks, and puts it as a RequestContext in scope["cove.context"]; refuses everybody else.

    The machine's own token comes first; with it, and only with it, X-Project-Id may choose the project. All others are
    the `authenticator`'s. What is in `open_requests` (method and path) needs no token, and has no context.
    """

    def __init__(
        self,
        app: ASGIApp,
        local: LocalToken,
        authenticator: Authenticator | None = None,
        is_admin: IsAdmin = admin_by_role,
        open_requests: Container[tuple[str, str]] = OPEN_REQUESTS,
        identity_url: str = "",
    ) -> None:
        self._app = app
        self._local = local
        self._authenticator = authenticator
        self._is_admin = is_admin
        self._open_requests = open_requests
        self._identity_url = identity_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        if (scope["method"], scope["path"]) in self._open_requests:
            await self._app(scope, receive, send)
            return
        given = _header(scope, b"x-auth-token")
        try:
            if self._local.matches(given):
                scope["cove.local"] = True
                scope["cove.context"] = self._local_context(scope)
            else:
                scope["cove.context"] = await self._authenticated(given, scope["cove.request_id"])
        except Unauthorized:
            await answer(send, 401, unauthorized_body(), (b"www-authenticate", self._where(scope)))
        except IdentityUnavailable as error:
            log.warning("authentication_unavailable", request_id=scope["cove.request_id"], why=str(error))
            await answer(send, 503, unavailable_body(), (b"retry-after", b"1"))
        except _BadProject as error:
            await answer(send, 400, bad_request_body(str(error)))
        else:
            await self._app(scope, receive, send)

    def _local_context(self, scope: Scope) -> RequestContext:
        try:
            return self._local.context(_header(scope, b"x-project-id").decode("latin-1"), scope["cove.request_id"])
        except ValueError as error:
            raise _BadProject(str(error)) from None

    def _where(self, scope: Scope) -> bytes:
        """Where to log in, for WWW-Authenticate."""
        if self._identity_url:
            return f'Keystone uri="{self._identity_url}"'.encode()
        host = _header(scope, b"host").replace(b'"', b"")
        return b'Keystone uri="%s://%s/v3"' % (scope.get("scheme", "http").encode(), host)

    async def _authenticated(self, given: bytes, request_id: str) -> RequestContext:
        if self._authenticator is None or not given:
            raise Unauthorized("there is no token")
        try:
            token = given.decode("ascii")
        except UnicodeDecodeError:
            raise Unauthorized("the token is not valid") from None
        context = replace(await self._authenticator.authenticate(token), request_id=request_id)
        return replace(context, is_admin=True) if self._is_admin(context) else context


class Guards:
    """Keeps from all but the machine's own user what is not made for several projects: paths that begin so."""

    def __init__(self, app: ASGIApp, guards: Sequence[str] = GUARDS) -> None:
        self._app = app
        self._guards = tuple(guards)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and not scope.get("cove.local") and scope["path"].startswith(self._guards):
            await answer(send, 403, forbidden_body(scope["path"]))
            return
        await self._app(scope, receive, send)


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


class _BadProject(Exception):
    """X-Project-Id is not a project's id."""


class BodyLimit:
    """Refuses bodies over the limit with 413: by their announced length, or while they arrive."""

    def __init__(self, app: ASGIApp, limit_bytes: int = BODY_BYTES_MAX) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = _header(scope, b"content-length")
        if not announced and scope["method"] in ("GET", "HEAD") and not _header(scope, b"transfer-encoding"):
            await self._app(scope, receive, send)  # has no body
            return
        if announced and (not announced.isdigit() or len(announced) > 18 or int(announced) > self._limit_bytes):
            await answer(send, 413, too_large_body(self._limit_bytes))
            return
        received = 0
        started = False

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit_bytes:
                    raise _TooLarge
            return message

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, limited_receive, noting_send)
        except _TooLarge:
            if started:
                raise
            await answer(send, 413, too_large_body(self._limit_bytes))
        except ClientDisconnect:  # it has gone before its body was whole: no fault of ours, and nobody to tell
            if not started:
                await answer(send, 400, bad_request_body("the request body is not whole"))


class _TooLarge(BaseException):
    """Passes through the handlers of ordinary exceptions on its way from `receive` to BodyLimit."""


async def answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole JSON answer."""
    standard = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*standard, *headers]})
    await send({"type": "http.response.body", "body": body})
