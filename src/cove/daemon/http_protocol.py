"""HTTP/1.1 connections with bounds: what a stranger may make the server keep, and for how long.

uvicorn's protocol waits for ever for a request that never ends, and keeps headers of any size. Here

    a head (request line and headers)  has HEAD_BYTES_MAX, HEADERS_MAX, and HEAD_S from its first byte
    a body                             has BODY_S (its size is bounded by cove.api.middleware.BodyLimit)
    an answer that nobody reads        has READ_S without progress
    connections                        are `connections_max`; beyond that one that is idle goes, or else the newest

`ApiServer` calls `sweep` once a second: no timer for each request. Trailers of chunked bodies are dropped: uvicorn's
parser would add them to the headers, behind the back of any proxy that vets those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = structlog.get_logger(__name__)

HEAD_BYTES_MAX = 64 << 10
HEADERS_MAX = 100
HEAD_S = 20.0
BODY_S = 120.0
READ_S = 60.0

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class HeadTooLarge(Exception):
    """More bytes or lines of headers than are taken."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    connections_max = 1024
    """Of the whole server."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head_since = 0.0
        """Since when a head is waited for; of an idle connection, since it last became idle."""
        self._body_since = 0.0
        self._blocked_since: float | None = None
        self._head_bytes = 0
        self._in_head = True

    # --- what arrives ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """asyncio.Protocol."""
        self._head_since = self.loop.time()
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            idle = next(
                (other for other in self.connections if isinstance(other, BoundedProtocol) and other.idle), self
            )
            log.warning("connections_full", connections=self.connections_max, refused=idle is self)
            idle.transport.abort()
            # Its end is told on the loop's next round; until then many more may come.
            self.connections.discard(idle)

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
        if self.idle:
            self._head_since = self.loop.time()
        super().data_received(data)
        if self._in_head and self.cycle_is_over:
            # Of a header that has not ended the parser has not told yet.
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self._refuse()

    def on_message_begin(self) -> None:
        """httptools: the first byte of a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """httptools: a part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header, or trailer."""
        if not self._in_head:
            return
        self._count(len(name) + len(value))
        if len(self.headers) >= HEADERS_MAX:
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """httptools."""
        self._in_head = False
        self._head_bytes = 0
        self._body_since = self.loop.time()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """uvicorn: an answer is written."""
        self._head_since = self.loop.time()
        super().on_response_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            raise HeadTooLarge

    def send_400_response(self, msg: str) -> None:
        """What uvicorn does about a request that can't be parsed."""
        if self._head_bytes > HEAD_BYTES_MAX or (self._in_head and len(self.headers or ()) >= HEADERS_MAX):
            self._refuse()
        elif self.cycle_is_over:
            super().send_400_response(msg)
        else:  # an answer to this request may be under way
            self.transport.close()

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    # --- how long it takes -------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing was received since the last answer: uvicorn's keep-alive time-out is running."""
        return self.timeout_keep_alive_task is not None

    @property
    def cycle_is_over(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def pause_writing(self) -> None:
        """asyncio.Protocol: the client does not read."""
        self._blocked_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """asyncio.Protocol."""
        self._blocked_since = None
        super().resume_writing()

    def overdue(self, now: float) -> str:
        """What this connection has taken too long for, empty if nothing. `now` is the loop's time."""
        if self._blocked_since is not None:
            return "read" if now - self._blocked_since > READ_S else ""
        if self.cycle_is_over:
            return "head" if not self.idle and now - self._head_since > HEAD_S else ""
        waits = self.cycle.more_body and not self.flow.read_paused
        return "body" if waits and now - self._body_since > BODY_S else ""


def sweep(connections: Collection[Any], now: float) -> int:
    """Close the connections that are overdue; how many."""
    closed = 0
    for connection in list(connections):
        if isinstance(connection, BoundedProtocol) and connection.overdue(now):
            connection.transport.abort()
            closed += 1
    return closed
