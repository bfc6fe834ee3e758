"""What every transport offers: a `Messenger` that opens connections, and `Connection`s that carry messages.

The loopback in `loopback.py` is one transport, TCP in `tcp.py` the other; the Objecter, the monitor client and the
embedded store never know which one they use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from ..wire.auth import ClientAuth
from ..wire.features import SUPPORTED
from ..wire.messages import Message
from ..wire.types import EntityName, EntityType
from .dispatch import Dispatcher, DispatchQueue


class Connection(ABC):
    """One side of a session with a peer. Messages arrive whole and in order, or the connection is reset."""

    peer_type: EntityType
    peer_name: EntityName
    """Who the peer is, as far as its authentication says; number -1 until it has identified itself."""
    peer_address: str
    """As it was dialled, e.g. `v2:127.0.0.1:6800/4242`."""
    features: int = SUPPORTED
    """What both sides can do; encodings are chosen by it. Valid once the connection is up."""
    global_id: int = 0
    """The client's number, as the monitor at the other end gave it; 0 where the transport has none."""
    refused_because: Exception | None = None
    """Why it never came up: AuthError, PeerError or OSError; None: nobody listens there."""
    last_keepalive_ack_s: float = 0.0
    """When the peer last answered a keep-alive, by the clock of the event loop; 0: never."""

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """False once either side has closed it; a closed connection never opens again."""

    @abstractmethod
    def send_message(self, message: Message) -> None:
        """Queue a message for the peer. On a closed connection it is dropped, as the reset has already told."""

    def send_keepalive(self) -> None:  # noqa: B027 - a transport without a network has nothing to ask
        """Ask the peer for a sign of life; it shows in `last_keepalive_ack_s`."""

    @abstractmethod
    def mark_down(self) -> None:
        """Close at once. What is queued is dropped; our own dispatchers are not told."""


class AuthSource(Protocol):
    """Who provides the connecting side of the authentication, for each attempt anew."""

    def client_auths(self, connection: Connection) -> Sequence[ClientAuth]:
        """Methods to try with that connection's peer, the best first. Empty: we can't authenticate there (yet)."""


class Messenger(ABC):
    """The endpoint of one entity: it owns connections, and hands what they bring to its dispatchers."""

    def __init__(self, name: EntityName) -> None:
        self.name = name
        """A client's number is -1 until a monitor has given it its global id."""
        self.dispatch_queue = DispatchQueue()

    def add_dispatcher_head(self, dispatcher: Dispatcher) -> None:
        """Let `dispatcher` see messages before the others."""
        self.dispatch_queue.add_head(dispatcher)

    def add_dispatcher_tail(self, dispatcher: Dispatcher) -> None:
        """Let `dispatcher` see messages after the others."""
        self.dispatch_queue.add_tail(dispatcher)

    @abstractmethod
    def connect_to(self, address: str, peer_type: EntityType) -> Connection:
        """A connection to the peer at `address`, usable at once: what is sent before it is up is queued.

        Whether the peer is there shows later, by `ms_handle_connect`, `ms_handle_refused` (nothing was delivered:
        nobody listens, the address is not the peer's, or it refuses us) or `ms_handle_reset`.
        """

    def filenos(self) -> Sequence[int]:
        """The numbers of its open sockets, for a process that has inherited copies of them."""
        return ()

    @abstractmethod
    async def shutdown(self) -> None:
        """Close all connections. Peers see a reset."""
