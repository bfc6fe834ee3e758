"""The bounds and times of TCP connections, in one place: how much is queued, how long is waited.

Source: our own; the times are the defaults of Ceph (`ms_connection_ready_timeout`, `ms_initial_backoff`,
`ms_max_backoff`, `ms_connection_idle_timeout`).
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """Of one messenger; they count for each of its connections alone."""

    handshake_timeout_s: float = 10.0
    """From the start of an attempt (or from the accept) until the connection is ready."""
    idle_timeout_s: float = 900.0
    """Without a byte from the peer the connection is taken for dead. 0: never."""
    queued_messages_max: int = 16384
    """Waiting for the connection to become ready."""
    queued_bytes_max: int = 256 * MIB
    """Payload of the messages that wait for the connection to become ready."""
    transport_bytes_high: int = 2 * MIB
    """Unsent bytes in the event loop's transport from which on more is held back here."""
    held_bytes_max: int = 256 * MIB
    """Held back while the peer does not read; beyond it the connection is given up."""
    held_parts_max: int = 1 << 18
    """The same in buffers, as tiny ones cost more than their bytes."""
    messages_per_turn: int = 256
    """Messages handed to the dispatchers before other tasks of the event loop get their turn."""
    accepted_max: int = 4096
    """Connections of peers, those in their handshake included."""
    handshakes_max: int = 512
    """Peers in their handshake; beyond it the one that has taken the longest is closed, so that strangers who say
    nothing don't keep the others out."""
    handshake_bytes_max: int = 1 << 17
    """Received before the connection is ready, apart from the last read; all of it is kept for the signatures. Real
    handshakes have some 2000."""
    reconnect_s_min: float = 0.2
    reconnect_s_max: float = 15.0
    session_timeout_s: float = 900.0
    """A lossless session is given up when its connection has been away for so long."""
    shutdown_timeout_s: float = 5.0
    """How long a shutdown waits for sockets to be closed."""
