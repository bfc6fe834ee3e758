"""The chain of dispatchers: an incoming message goes to each in turn until one consumes it.

A client's chain is MonClient, then Objecter; some messages (osd_map) are looked at by one and left to the next.

Source: Ceph's msg/Dispatcher.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ..wire.compiled import mypyc_attr
from ..wire.messages import Message

if TYPE_CHECKING:
    from .messenger import Connection

log = structlog.get_logger(__name__)


@mypyc_attr(allow_interpreted_subclasses=True)
class Dispatcher:
    """Something that messages and connection events are handed to. Methods must not block."""

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Look at a message. True: it is consumed; False: let the next dispatcher see it."""
        return False

    def ms_handle_connect(self, connection: Connection) -> None:
        """A connection that we opened is up."""

    def ms_handle_accept(self, connection: Connection) -> None:
        """A peer has opened a connection to us."""

    def ms_handle_reset(self, connection: Connection) -> None:
        """The connection is gone, and with it whatever was not delivered."""

    def ms_handle_refused(self, connection: Connection) -> None:
        """Nobody listens at the peer's address."""


class DispatchQueue:
    """An ordered chain of dispatchers."""

    def __init__(self) -> None:
        self._chain: tuple[Dispatcher, ...] = ()

    def add_head(self, dispatcher: Dispatcher) -> None:
        """First in the chain."""
        self._chain = (dispatcher, *self._chain)

    def add_tail(self, dispatcher: Dispatcher) -> None:
        """Last in the chain."""
        self._chain = (*self._chain, dispatcher)

    def deliver(self, connection: Connection, message: Message) -> None:
        """Hand a message along the chain. One that nobody wants is logged and dropped."""
        for dispatcher in self._chain:
            try:
                if dispatcher.ms_dispatch(connection, message):
                    return
            except Exception:
                # one bad message must not take down the transport, which serves all other requests
                log.exception("dispatch_failed", message=type(message).__name__, peer=str(connection.peer_name))
                return
        log.warning("message_dropped", message=type(message).__name__, peer=str(connection.peer_name))

    def connected(self, connection: Connection) -> None:
        """Tell all that a connection of ours is up."""
        for dispatcher in self._chain:
            dispatcher.ms_handle_connect(connection)

    def accepted(self, connection: Connection) -> None:
        """Tell all that a peer connected."""
        for dispatcher in self._chain:
            dispatcher.ms_handle_accept(connection)

    def reset(self, connection: Connection) -> None:
        """Tell all that a connection is gone."""
        for dispatcher in self._chain:
            dispatcher.ms_handle_reset(connection)

    def refused(self, connection: Connection) -> None:
        """Tell all that nobody listens at the peer's address."""
        for dispatcher in self._chain:
            dispatcher.ms_handle_refused(connection)
