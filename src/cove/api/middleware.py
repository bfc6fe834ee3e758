"""What every request passes before it is routed: request id, who asks, size of the body. Plain ASGI, no framework."""

from __future__ import annotations

import uuid
from collections.abc import Container, Sequence
from dataclasses import replace

import structlog
from starlette.datastructures import MutableHeaders
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
OPEN_REQUESTS = frozenset((method, path) for method in ("GET", "HEAD") for path in ("/", "/healthz"))
"""Method and path of what needs no token: what versions there are, and whether the service lives."""

GUARDS: tuple[str, ...] = ("/cove/",)
"""Beginnings of paths that know no projects: the machine's own (disks, imports, shutdown)."""


class RequestId:
    """Gives each request an id, in scope["cove.request_id"] and in the answer's x-openstack-request-id."""

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
                MutableHeaders(scope=message)["x-openstack-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


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
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced) > self._limit_bytes:
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


class _TooLarge(BaseException):
    """Passes through the handlers of ordinary exceptions on its way from `receive` to BodyLimit."""


async def answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole JSON answer."""
    standard = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*standard, *headers]})
    await send({"type": "http.response.body", "body": body})
