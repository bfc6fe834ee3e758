"""One TCP connection below a `TcpConnection`: bytes between an asyncio transport and a `wire.link.Link`.

    send:     TcpConnection.send_message → link.send_message … flush, once a turn of the event loop → one write
              (at once, where the peer's last message came alone: who does one thing at a time gains a turn)
    receive:  data_received → link.receive → decode_message → the connection's dispatchers, synchronously

Nothing here outlives the socket: sessions, queues before the connection is ready and reconnects are the owner's
(`tcp_connection.py`, `accept.py`), who is told by `stream_ready`, `stream_event` and `stream_lost`.

Source: Ceph's doc/dev/msgr2.rst; flow control is our own.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from ..wire.address import EntityAddr
from ..wire.encoding import Buffer
from ..wire.errors import PeerError, UsageError, WireError
from ..wire.link import Event, Link, LinkReady, MessageIn
from ..wire.message_codec import decode_message
from .dispatch import DispatchQueue
from .limits import TcpLimits

if TYPE_CHECKING:
    from .tcp_connection import TcpConnection

log = structlog.get_logger(__name__)

FULL_READ_BYTES = 1 << 17
"""A read of so many bytes probably has more behind it: others get their turn first."""
LARGE_PART_BYTES = 1 << 16
"""From here on a write of its own is cheaper than a copy, where the transport joins what it is given."""
WRITE_BYTES = 1 << 20
"""About how much of what was held back is written at once."""


class TcpFault(PeerError):
    """The connection broke: closed by the peer, out of time, or beyond a limit."""


class UndecodableMessage(PeerError):
    """A message whose type or layout we don't know. It is lost, so a lossless session can't go on after it."""


class StreamOwner(Protocol):
    """Who opened or accepted a stream."""

    def stream_made(self, stream: TcpStream) -> None:
        """The socket is there. Calls `stream.start`, or closes it. May raise WireError."""

    def stream_ready(self, stream: TcpStream, event: LinkReady) -> None:
        """The handshake is done. Sets `stream.connection`, or closes the stream."""

    def stream_event(self, stream: TcpStream, event: Event) -> None:
        """The link tells of something else than a message."""

    def stream_lost(self, stream: TcpStream, problem: Exception) -> None:
        """It is closed, not by us; called once, and never from within a call of ours to send."""


class TcpStream(asyncio.Protocol):
    """A socket with its link. `connection` is set once the link is ready."""

    __slots__ = (
        "_alone",
        "_backlog",
        "_closed",
        "_flush_pending",
        "_gathers",
        "_handshake_bytes",
        "_held",
        "_held_bytes",
        "_limits",
        "_loop",
        "_lost",
        "_paused",
        "_queue",
        "_registry",
        "_transport",
        "connection",
        "is_ready",
        "link",
        "owner",
        "reads",
    )

    def __init__(self, owner: StreamOwner, queue: DispatchQueue, limits: TcpLimits, registry: set[TcpStream]) -> None:
        """`registry` holds it until its socket is closed."""
        self.owner = owner
        self.connection: TcpConnection | None = None
        self.link: Link | None = None
        self.is_ready = False
        self.reads = 0
        """Reads from the socket so far; who looks at it from time to time sees a silent peer."""
        self._registry = registry
        registry.add(self)
        self._queue = queue
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._transport: Any = None  # asyncio.Transport; uvloop's does not derive from it
        self._gathers = False
        self._handshake_bytes = 0
        self._backlog: deque[Event] = deque()
        self._held: deque[Buffer] = deque()
        self._held_bytes = 0
        self._flush_pending = False
        self._alone = False
        self._paused = False
        self._closed = False

    # life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there (asyncio)."""
        self._transport = transport
        transport.set_write_buffer_limits(high=self._limits.transport_bytes_high)  # type: ignore[attr-defined]
        # asyncio's own transport joins the parts of writelines before Python 3.12
        self._gathers = sys.version_info >= (3, 12) or not isinstance(transport, asyncio.Transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._closed:
            transport.abort()  # type: ignore[attr-defined]
            return
        try:
            self.owner.stream_made(self)
        except WireError as problem:
            self.fault_soon(problem)

    def start(self, link: Link) -> None:
        """Begin the handshake."""
        self.link = link
        link.start()
        self.flush()

    @property
    def peer_address(self) -> EntityAddr:
        """The peer's IP address and port on this connection. Raises UsageError if it has none."""
        name = self._transport.get_extra_info("peername")
        if not isinstance(name, tuple):
            raise UsageError("the socket has no peer any more")
        return EntityAddr.of(name[0].partition("%")[0], name[1])

    @property
    def unsent_bytes(self) -> int:
        """What waits for the peer to read: held back here or in the transport."""
        return self._held_bytes + (0 if self._transport is None else self._transport.get_write_buffer_size())

    @property
    def fileno(self) -> int:
        """The socket's number; -1 if there is none, or none any more."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    @property
    def is_made(self) -> bool:
        """Whether there is, or was, a socket."""
        return self._transport is not None

    @property
    def is_closed(self) -> bool:
        """Whether nothing is sent or delivered any more."""
        return self._closed

    def close(self) -> None:
        """Close at once; the owner is not told."""
        if self._closed:
            return
        self._closed = True
        self._backlog.clear()
        self._held.clear()
        self._held_bytes = 0
        if self._transport is None:
            self._finish()
        else:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed; who waits has a time-out."""
        await asyncio.shield(self._lost)

    def fault(self, problem: Exception) -> None:
        """Deliver what came before, close, tell the owner why. Not from within a call to send: see `fault_soon`."""
        self.deliver_rest()
        self._break(problem)

    def _break(self, problem: Exception) -> None:
        if not self._closed:
            self.close()
            self.owner.stream_lost(self, problem)

    def deliver_rest(self) -> None:
        """Before the end: deliver all that was received, as a lossless session counts it as such."""
        if self._backlog and self.connection is not None:
            self.connection.stream_failing()
        while self._backlog:
            self._deliver_backlog()

    def fault_soon(self, problem: Exception) -> None:
        """The same in the next turn, as callers who send don't expect to be told meanwhile."""
        self._loop.call_soon(self.fault, problem)

    def _finish(self) -> None:
        self._registry.discard(self)
        if not self._lost.done():
            self._lost.set_result(None)

    def eof_received(self) -> None:
        """The peer has closed (asyncio)."""
        link = self.link
        during = "" if self.is_ready or link is None else f" during the handshake (state {link.state.value})"
        self.fault(TcpFault(f"the peer closed the connection{during}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed (asyncio)."""
        self._finish()
        self.fault(exc or TcpFault("the connection was closed"))

    # send

    def send(self) -> None:
        """The link has something to send: write it at the end of this turn; now, if nothing else is expected."""
        if self._flush_pending:
            return
        if self._alone and not (self._paused or self._held):
            self._alone = False
            self.flush()
        else:
            self._flush_pending = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what the link has queued, in one call, or hold it back while the peer does not read."""
        self._flush_pending = False
        if self._closed or self.link is None:
            return
        parts = self.link.take_output()
        if not parts:
            return
        if self._paused or self._held:
            self._hold(parts)
        elif self._gathers or len(parts) == 1:
            self._transport.writelines(parts)
        else:
            self._write_joined(parts)

    def _write_joined(self, parts: list[Buffer]) -> None:
        """For a transport that would join everything: join only what is small."""
        small: list[Buffer] = []
        for part in parts:
            if len(part) < LARGE_PART_BYTES:
                small.append(part)
                continue
            if small:
                self._transport.write(b"".join(small))
                small.clear()
            self._transport.write(part)
        if small:
            self._transport.write(b"".join(small))

    def _hold(self, parts: list[Buffer]) -> None:
        self._held.extend(parts)
        self._held_bytes += sum(map(len, parts))
        limits = self._limits
        if self._held_bytes > limits.held_bytes_max or len(self._held) > limits.held_parts_max:
            self.fault(
                TcpFault(f"the peer does not read: {self._held_bytes} bytes in {len(self._held)} buffers wait for it")
            )

    def pause_writing(self) -> None:
        """The transport has enough (asyncio)."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport wants more (asyncio): what was held back comes first."""
        self._paused = False
        held = self._held
        while held and not self._paused and not self._closed:
            batch: list[Buffer] = []
            size = 0
            while held and size < WRITE_BYTES:
                part = held.popleft()
                size += len(part)
                batch.append(part)
            self._held_bytes -= size
            self._transport.writelines(batch)

    # receive

    def data_received(self, data: bytes) -> None:
        """Bytes have come (asyncio): deliver the messages in them, and answer in one write."""
        link = self.link
        if self._closed or link is None:
            return
        self.reads += 1
        self._flush_pending = True  # what dispatchers send meanwhile goes out at the end of this call
        try:
            events = link.receive(data)
        except PeerError as problem:
            self._backlog.extend(link.take_events())
            self.flush()
            self.fault(problem)
            return
        if self._backlog:
            self._backlog.extend(events)
        else:
            limit = self._limits.messages_per_turn
            if len(events) > limit:
                self._backlog.extend(events[limit:])
                events = events[:limit]
            self._process(events)
        if self._closed:
            return
        self.flush()
        self._alone = len(events) == 1
        if not self.is_ready:
            self._handshake_bytes += len(data)
            if self._handshake_bytes > self._limits.handshake_bytes_max:
                self.fault(TcpFault(f"a handshake of more than {self._limits.handshake_bytes_max} bytes"))
        if (self._backlog or len(data) >= FULL_READ_BYTES) and not self._closed:
            self._transport.pause_reading()
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Others have had their turn: deliver more, then read more."""
        if self._closed:
            return
        self._flush_pending = True
        self._deliver_backlog()
        if self._closed:
            return
        self.flush()
        if self._backlog:
            self._loop.call_soon(self._read_on)
        elif not self._closed and not self._transport.is_closing():
            self._transport.resume_reading()

    def _deliver_backlog(self) -> None:
        backlog = self._backlog
        self._process([backlog.popleft() for _ in range(min(len(backlog), self._limits.messages_per_turn))])

    def _process(self, events: list[Event]) -> None:
        connection, deliver = self.connection, self._queue.deliver
        for event in events:
            if type(event) is MessageIn:
                header = event.header
                try:
                    message = decode_message(header, event.front, event.middle, event.data)
                except Exception as problem:
                    if not isinstance(problem, PeerError):
                        log.exception("decoder_failed", type=header.type, version=header.version)
                    what = f"message of type {header.type}, version {header.version}"
                    self._break(UndecodableMessage(f"{what}: {problem}"))
                    return
                assert connection is not None
                deliver(connection, message)
            elif type(event) is LinkReady:
                self.is_ready = True
                self.owner.stream_ready(self, event)
                connection = self.connection
            else:
                self.owner.stream_event(self, event)
            if self._closed:
                return
