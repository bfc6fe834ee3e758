"""The loopback transport: client and store in one process, messages passed as objects.

It spares the bytes and nothing else: messages arrive asynchronously and in order, a connection can be refused, cut
or closed, and both sides see it as they would over TCP. All messengers of one network share one event loop.

A message belongs to its receiver once it is sent: the sender must not change it any more.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..wire.messages import Message
from ..wire.types import EntityName, EntityType
from .messenger import Connection, Messenger

QUEUE_MESSAGES_MAX = 65536
"""Far above what the throttles of clients let through; reaching it is a bug, not load."""
DELIVERIES_PER_TURN = 256
"""Messages handed over before other tasks of the event loop get their turn."""


class LoopbackConnection(Connection):
    """One end of a pair. Created by `LoopbackMessenger.connect_to`."""

    def __init__(self, messenger: LoopbackMessenger, peer_name: EntityName, peer_address: str) -> None:
        self.messenger = messenger
        self.peer_name = peer_name
        self.peer_type = peer_name.type
        self.peer_address = peer_address
        self._peer: LoopbackConnection | None = None
        self._inbox: deque[Message] = deque()
        self._connected = True
        self._scheduled = False
        self._loop = asyncio.get_running_loop()

    @property
    def is_connected(self) -> bool:
        """False once either side has closed it."""
        return self._connected

    def send_message(self, message: Message) -> None:
        """Queue a message for the peer."""
        peer = self._peer
        if not self._connected or peer is None:
            return
        if len(peer._inbox) >= QUEUE_MESSAGES_MAX:
            raise RuntimeError(f"{QUEUE_MESSAGES_MAX} messages wait on the loopback to {self.peer_address}")
        peer._inbox.append(message)
        if not peer._scheduled:
            peer._scheduled = True
            self._loop.call_soon(peer._deliver)

    def send_keepalive(self) -> None:
        """A peer in the same process is alive as long as it has not closed."""
        if self._connected:
            self.last_keepalive_ack_s = self._loop.time()

    def _deliver(self) -> None:
        inbox, deliver = self._inbox, self.messenger.dispatch_queue.deliver
        for _ in range(DELIVERIES_PER_TURN):
            if not inbox:
                break
            deliver(self, inbox.popleft())
        self._scheduled = bool(inbox)
        if self._scheduled:
            self._loop.call_soon(self._deliver)

    def mark_down(self) -> None:
        """Close at once; the peer's dispatchers see a reset."""
        peer, self._peer = self._peer, None
        self._close()
        if peer is not None and peer._connected:
            peer._peer = None
            peer._close()
            self._loop.call_soon(peer.messenger.dispatch_queue.reset, peer)

    def _close(self) -> None:
        self._connected = False
        self._inbox.clear()
        self.messenger.connections.discard(self)

    def cut(self) -> None:
        """Lose the connection as a broken network would: both sides see a reset (for tests)."""
        self.mark_down()
        self._loop.call_soon(self.messenger.dispatch_queue.reset, self)


def _come_up(ours: LoopbackConnection, theirs: LoopbackConnection) -> None:
    """Tell both sides, unless one has closed it already."""
    if theirs.is_connected:
        theirs.messenger.dispatch_queue.accepted(theirs)
    if ours.is_connected:
        ours.messenger.dispatch_queue.connected(ours)


class LoopbackNetwork:
    """The addresses that messengers of this process listen on."""

    def __init__(self) -> None:
        self.listeners: dict[str, LoopbackMessenger] = {}


class LoopbackMessenger(Messenger):
    """An endpoint on a `LoopbackNetwork`."""

    def __init__(self, network: LoopbackNetwork, name: EntityName) -> None:
        super().__init__(name)
        self.network = network
        self.connections: set[LoopbackConnection] = set()
        self._addresses: list[str] = []

    def bind(self, address: str) -> None:
        """Listen on an address. Raises ValueError if it is taken."""
        if address in self.network.listeners:
            raise ValueError(f"loopback address {address} is taken")
        self.network.listeners[address] = self
        self._addresses.append(address)

    def connect_to(self, address: str, peer_type: EntityType) -> Connection:
        """Open a connection pair to the listener at `address`."""
        loop = asyncio.get_running_loop()
        peer = self.network.listeners.get(address)
        if peer is None:
            refused = LoopbackConnection(self, EntityName(peer_type, -1), address)
            refused._connected = False
            loop.call_soon(self.dispatch_queue.refused, refused)
            return refused
        ours = LoopbackConnection(self, peer.name, address)
        theirs = LoopbackConnection(peer, self.name, f"loopback:{self.name}")
        ours._peer, theirs._peer = theirs, ours
        self.connections.add(ours)
        peer.connections.add(theirs)
        loop.call_soon(_come_up, ours, theirs)
        return ours

    async def shutdown(self) -> None:
        """Stop listening and close all connections."""
        for address in self._addresses:
            self.network.listeners.pop(address, None)
        self._addresses.clear()
        for connection in list(self.connections):
            connection.mark_down()
