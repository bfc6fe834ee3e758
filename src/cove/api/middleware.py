"""What every request passes before it is routed: request id, token, size of the body. Plain ASGI, no framework."""

from __future__ import annotations

import hmac
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cove.api.responses import MEDIA_TYPE, too_large_body, unauthorized_body

BODY_BYTES_MAX = 1 << 20
OPEN_PATHS = frozenset({"/", "/healthz"})
"""Paths that need no token: what versions there are, and whether the service lives."""


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


class TokenCheck:
    """Refuses requests without the token, in the identity service's form. The comparison takes constant time."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        if not token:
            raise ValueError("the API needs a token that is not empty")
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-auth-token"), b"")
        if hmac.compare_digest(given, self._token):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await answer(send, 401, unauthorized_body(), (b"www-authenticate", b'Keystone uri="/"'))
        else:
            await send({"type": "websocket.close", "code": 1008})


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
