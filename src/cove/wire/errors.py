"""The two ways in which an exchange of bytes can go wrong: the peer broke the protocol, or we did."""

from __future__ import annotations


class WireError(Exception):
    """Root of the errors of `cove.wire`."""


class PeerError(WireError):
    """The other side sent something that the protocol does not allow."""


class UsageError(WireError):
    """Our own caller asked for something that can't be put on the wire."""
