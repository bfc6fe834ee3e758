"""A connection over TCP, as dispatchers see it: it may be dialled, come up, break, and, if lossless, come up again.

A lossy connection lives as long as its one socket. A lossless one keeps its `Session` over several: what the peer has
not acknowledged is sent again by the link, what was sent while there was no socket waits here.

Source: Ceph's msg/async/AsyncConnection and ProtocolV2 (what each policy does after a fault).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from ..wire.address import AddrType, AddrVec, EntityAddr
from ..wire.auth import AuthError, ClientAuth, ConnectionMode
from ..wire.errors import PeerError, UsageError, WireError
from ..wire.link import AfterFault, Event, KeepaliveAck, Link, LinkReady, LinkWait, SessionReset
from ..wire.message_codec import encode_message
from ..wire.messages import Message, MOSDOp, MOSDOpReply
from ..wire.session import Session
from ..wire.types import EntityName
from .messenger import Connection
from .tcp_stream import TcpFault, TcpStream, UndecodableMessage

if TYPE_CHECKING:
    from .tcp import TcpMessenger

log = structlog.get_logger(__name__)

IDLE_CHECKS = 4
"""How often in an idle time-out it is looked whether the peer has sent anything."""


class SendQueueFull(RuntimeError):
    """More is sent on a connection that is not up yet than its limits allow."""


class TcpConnection(Connection):
    """Made by `TcpMessenger.connect_to`, or by its listeners for a peer that has authenticated."""

    def __init__(
        self, messenger: TcpMessenger, peer_name: EntityName, address: str, session: Session, *, dials: bool
    ) -> None:
        self.messenger = messenger
        self.session = session
        self.peer_name = peer_name
        self.peer_type = peer_name.type
        self.peer_address = address
        self.peer_addrs: AddrVec = ()
        self.global_id = 0
        self.mode: ConnectionMode | None = None
        """How frames are protected, once the connection is up."""
        self.refused_because: Exception | None = None
        """Why it never came up: AuthError, PeerError, OSError, or UsageError for an address that makes no sense."""
        self.last_keepalive_ack_s = 0.0
        """When the peer last answered `send_keepalive`, in the event loop's time. 0: not yet."""
        self.client_cookie = session.client_cookie
        """Of the peer that an accepted session began with; another one is that of a peer that was restarted."""
        self._dials = dials
        self._loop = asyncio.get_running_loop()
        self._stream: TcpStream | None = None
        self._link: Link | None = None  # set only while it is ready
        self._connected = True
        self._was_ready = False
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._auths: Sequence[ClientAuth] = ()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None  # handshake, reconnect or idle: one at a time
        self._give_up_timer: asyncio.TimerHandle | None = None
        self._delay_s = messenger.limits.reconnect_s_min
        self._reads_seen = -1
        self._silent_checks = 0

    def __repr__(self) -> str:
        state = "ready" if self._link is not None else "connecting" if self._connected else "closed"
        return f"<TcpConnection {self.peer_name} {self.peer_address} {state}>"

    # state

    @property
    def is_connected(self) -> bool:
        """False once either side has closed it; a lossless one stays connected while it reconnects."""
        return self._connected

    @property
    def is_ready(self) -> bool:
        """Whether messages go out at once."""
        return self._link is not None

    @property
    def unsent_bytes(self) -> int:
        """What waits for the peer to read, as far as it has been encoded."""
        return 0 if self._stream is None else self._stream.unsent_bytes

    # send

    def send_message(self, message: Message) -> None:
        """Queue a message for the peer. Raises UsageError if it can't be encoded, SendQueueFull before it is up."""
        link = self._link
        if link is not None:
            stream = self._stream
            assert stream is not None
            try:
                link.send_message(encode_message(message, self.features))
            except PeerError as problem:  # it is too old for this message
                stream.fault_soon(problem)
            stream.send()
        elif self._connected:
            self._enqueue(message)

    def _enqueue(self, message: Message) -> None:
        limits = self.messenger.limits
        size = _payload_bytes(message)
        if len(self._queue) >= limits.queued_messages_max or self._queued_bytes + size > limits.queued_bytes_max:
            raise SendQueueFull(
                f"{len(self._queue)} messages with {self._queued_bytes} bytes wait for {self.peer_address} "
                "to come up; no more are taken"
            )
        self._queue.append(message)
        self._queued_bytes += size
        if self._dials and self._stream is None and self._timer is None:
            self.dial()  # a session on standby has a reason to come back

    def send_keepalive(self) -> None:
        """Ask for a sign of life; the answer sets `last_keepalive_ack_s`. Nothing happens before it is up."""
        if self._link is not None and self._stream is not None:
            self._link.send_keepalive(time.time_ns())
            self._stream.send()

    # dial

    def dial(self) -> None:
        """Open a socket and begin the handshake, in a task of our own."""
        limits = self.messenger.limits
        self._stop_timer()
        stream = self._stream = TcpStream(self, self.messenger.dispatch_queue, limits, self.messenger.streams)
        self._timer = self._loop.call_later(limits.handshake_timeout_s, self._handshake_timeout, stream)
        self._task = self.messenger.run(self._dial(stream), f"dial {self.peer_address}")

    def _handshake_timeout(self, stream: TcpStream) -> None:
        limit_s = self.messenger.limits.handshake_timeout_s
        stream.fault(TcpFault(f"not ready within {limit_s} s"))

    async def _dial(self, stream: TcpStream) -> None:
        messenger = self.messenger
        try:
            target = EntityAddr.parse(self.peer_address)
            if target.type not in (AddrType.MSGR2, AddrType.ANY):
                raise TcpFault(f"{self.peer_address} does not speak msgr2")
            self._auths = () if messenger.auth_source is None else messenger.auth_source.client_auths(self)
            if not self._auths:
                raise AuthError("no way to authenticate there")
            host, port = messenger.route(target)
            await self._loop.create_connection(lambda: stream, host, port)
        except (OSError, WireError) as problem:
            stream.fault(problem)
        except Exception as problem:
            log.exception("dial_failed", address=self.peer_address)
            stream.fault(problem)

    # what the stream tells

    def stream_made(self, stream: TcpStream) -> None:
        """The socket is there: begin the handshake."""
        messenger = self.messenger
        self.session.my_addrs = messenger.my_addrs
        stream.start(
            Link.connector(
                session=self.session,
                peer_type=self.peer_type,
                target=EntityAddr.parse(self.peer_address),
                my_type=messenger.name.type,
                auths=self._auths,
                random_bytes=os.urandom,
            )
        )

    def stream_ready(self, stream: TcpStream, event: LinkReady) -> None:
        """The handshake is done. A session that goes on where it was is no news."""
        self.messenger.learn_addresses(self.session.my_addrs)
        self.attach(stream)
        if not event.resumed:
            self.messenger.dispatch_queue.connected(self)

    def attach(self, stream: TcpStream) -> None:
        """From now on messages go by this stream; what has waited goes first."""
        link = stream.link
        assert link is not None
        if self._stream is not stream and self._stream is not None:
            # The peer takes for received what still waits for its turn there.
            self._stream.deliver_rest()
            if not self._connected:  # a dispatcher had enough
                stream.close()
                return
            self._stream.close()
        self._stop_timer()
        if self._give_up_timer is not None:
            self._give_up_timer.cancel()
            self._give_up_timer = None
        self._stream, self._link = stream, link if link.is_ready else None  # the same read may have broken it
        stream.connection = self
        stream.owner = self
        self.peer_name = link.peer_name
        self.peer_addrs = link.peer_addrs
        self.features = link.features
        self.global_id = link.global_id
        self.mode = link.mode
        self._was_ready = True
        self._delay_s = self.messenger.limits.reconnect_s_min
        self._watch_idle()
        if self._link is not None:
            queue, self._queue, self._queued_bytes = self._queue, deque(), 0
            for message in queue:
                try:
                    self.send_message(message)
                except UsageError as problem:
                    # Who sent it can't be told any more; all others are not to suffer from it.
                    log.error("message_not_sent", message=type(message).__name__, reason=str(problem))
            stream.send()

    def stream_failing(self) -> None:
        """The link is broken, and what it brought before is about to be delivered: send nothing by it."""
        self._link = None

    def stream_event(self, stream: TcpStream, event: Event) -> None:
        """The link tells of something else than a message."""
        if type(event) is KeepaliveAck:
            self.last_keepalive_ack_s = self._loop.time()
        elif type(event) is SessionReset:
            log.info("session_reset", peer=str(self.peer_name), address=self.peer_address, full=event.full)
            if event.full:
                self._queue.clear()
                self._queued_bytes = 0
                self.messenger.dispatch_queue.reset(self)
        elif type(event) is LinkWait:
            self._delay_s = self.messenger.limits.reconnect_s_max
            stream.fault(TcpFault("the peer wants to connect to us instead"))

    def stream_lost(self, stream: TcpStream, problem: Exception) -> None:
        """The socket is gone. Lossless: come back, or wait until there is a reason to; lossy: that was it."""
        after = AfterFault.CLOSE if stream.link is None else stream.link.connection_lost()
        if stream is not self._stream or not self._connected:
            return
        self._stop_timer()
        self._cancel_task()
        self._link = self._stream = None
        keeps = self._was_ready and not self.session.lossy and not isinstance(problem, UndecodableMessage)
        log.info(
            "connection_lost" if stream.is_ready else "connection_refused",
            peer=str(self.peer_name),
            address=self.peer_address,
            reason=str(problem) or type(problem).__name__,
            kept=keeps,
        )
        if not keeps:
            self._end(problem)
            return
        if self._give_up_timer is None:
            limit_s = self.messenger.limits.session_timeout_s
            self._give_up_timer = self._loop.call_later(limit_s, self._give_up)
        if self._dials and (after is not AfterFault.STANDBY or self._queue):
            self._timer = self._loop.call_later(self._delay_s, self.dial)
            self._delay_s = min(self._delay_s * 2, self.messenger.limits.reconnect_s_max)

    def replaced(self) -> None:
        """The peer has begun a new session in place of this one."""
        if self._connected:
            self._end(TcpFault("the peer was restarted"), keep_session=True)

    def _end(self, problem: Exception, *, keep_session: bool = False) -> None:
        """It is over, and not by us: tell."""
        self._close(keep_session=keep_session)
        if self._was_ready:
            self.messenger.dispatch_queue.reset(self)
        else:
            self.refused_because = problem
            self.messenger.dispatch_queue.refused(self)

    def _give_up(self) -> None:
        self._give_up_timer = None
        log.warning("session_given_up", peer=str(self.peer_name), address=self.peer_address)
        self._end(TcpFault("the peer did not come back"))

    # idle

    def _watch_idle(self) -> None:
        timeout_s = self.messenger.limits.idle_timeout_s
        if timeout_s:
            self._reads_seen, self._silent_checks = -1, 0
            self._timer = self._loop.call_later(timeout_s / IDLE_CHECKS, self._check_idle)

    def _check_idle(self) -> None:
        stream = self._stream
        if stream is None:
            return
        timeout_s = self.messenger.limits.idle_timeout_s
        self._silent_checks = self._silent_checks + 1 if stream.reads == self._reads_seen else 0
        self._reads_seen = stream.reads
        if self._silent_checks >= IDLE_CHECKS:
            stream.fault(TcpFault(f"nothing heard for {timeout_s} s"))
        else:
            self._timer = self._loop.call_later(timeout_s / IDLE_CHECKS, self._check_idle)

    # close

    def mark_down(self) -> None:
        """Close at once. What is queued is dropped; our own dispatchers are not told."""
        if self._connected:
            self._close()

    def _close(self, *, keep_session: bool = False) -> None:
        self._connected = False
        self._link = None
        self._queue.clear()
        self._queued_bytes = 0
        self._stop_timer()
        self._cancel_task()
        if self._give_up_timer is not None:
            self._give_up_timer.cancel()
            self._give_up_timer = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if not keep_session:
            self.messenger.sessions.drop(self.session)
        self.messenger.forget(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_task(self) -> None:
        """Stop dialling. Once the socket is there the task is about to end by itself: uvloop would then close the
        socket below its transport, and never say so."""
        task, self._task = self._task, None
        dialling = self._stream is not None and not self._stream.is_made
        if task is not None and dialling and task is not asyncio.current_task():
            task.cancel()


def _payload_bytes(message: Message) -> int:
    """The bulk of a message that is not encoded yet."""
    size = len(getattr(message, "indata", b""))
    if isinstance(message, MOSDOp | MOSDOpReply):
        size += sum(len(op.indata) + len(op.outdata) for op in message.ops)
    return size
