"""What every transport offers: a `Messenger` that opens connections, and `Connection`s that carry messages.

The loopback in `loopback.py` is the first transport; TCP speaks the same interface, so that the Objecter, the
monitor client and the embedded store never know which one they use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..wire.messages import Message
from ..wire.types import EntityName
from .dispatch import Dispatcher, DispatchQueue


class Connection(ABC):
    """One side of a session with a peer. Messages arrive whole and in order, or the connection is reset."""

    peer_name: EntityName
    """Who the peer is, as far as its authentication says."""
    peer_address: str

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """False once either side has closed it; a closed connection never opens again."""

    @abstractmethod
    def send_message(self, message: Message) -> None:
        """Queue a message for the peer. On a closed connection it is dropped, as the reset has already told."""

    @abstractmethod
    def mark_down(self) -> None:
        """Close at once. What is queued is dropped; our own dispatchers are not told."""


class Messenger(ABC):
    """The endpoint of one entity: it owns connections, and hands what they bring to its dispatchers."""

    def __init__(self, name: EntityName) -> None:
        self.name = name
        self.dispatch_queue = DispatchQueue()

    def add_dispatcher_head(self, dispatcher: Dispatcher) -> None:
        """Let `dispatcher` see messages before the others."""
        self.dispatch_queue.add_head(dispatcher)

    def add_dispatcher_tail(self, dispatcher: Dispatcher) -> None:
        """Let `dispatcher` see messages after the others."""
        self.dispatch_queue.add_tail(dispatcher)

    @abstractmethod
    def connect_to(self, address: str) -> Connection:
        """A connection to the peer at `address`, usable at once: what is sent before it is up is queued.

        Whether the peer is there shows later, by `ms_handle_connect` or `ms_handle_refused`.
        """

    @abstractmethod
    async def shutdown(self) -> None:
        """Close all connections. Peers see a reset."""
