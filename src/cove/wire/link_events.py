"""What a link tells its owner: the events that come out of received bytes.

`Link.receive` returns them in the order in which they happened.
"""

from __future__ import annotations

from typing import NamedTuple

from .encoding import Buffer
from .message_codec import MessageHeader


class LinkReady(NamedTuple):
    """The session is up: messages may be sent."""

    resumed: bool
    """It is the session of an earlier connection; nothing was lost."""
    replaces: object | None = None
    """(Acceptor) the link that this one has taken the session from: close its TCP connection."""


class MessageIn(NamedTuple):
    """A message, not decoded yet."""

    header: MessageHeader
    front: Buffer
    middle: Buffer
    data: Buffer


class KeepaliveAck(NamedTuple):
    """The peer is alive: it answers the keep-alive that was sent with this stamp."""

    stamp_ns: int


class SessionReset(NamedTuple):
    """(Connector) the peer has lost our session. `full`: what we had queued is dropped."""

    full: bool


class LinkWait(NamedTuple):
    """(Connector) the peer is dialling us: close, and wait for its connection before dialling again."""


Event = LinkReady | MessageIn | KeepaliveAck | SessionReset | LinkWait
