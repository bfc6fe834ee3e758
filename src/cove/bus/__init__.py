"""The message bus between the API server and its agents: call, cast, fanout and notifications.

`connect(url)` gives the bus that a URL names. The server (cove.network) and the agents (cove.dhcp) see only
the `Bus` protocol, so that the in-process bus and RabbitMQ are exchanged by a URL.
"""

from __future__ import annotations

from cove.bus.base import (
    Bus,
    BusClosed,
    BusError,
    CallTimeout,
    Handler,
    NotificationCallback,
    QueueFull,
    RemoteError,
    Subscription,
    Target,
    UnsupportedBus,
)
from cove.bus.connect import connect
from cove.bus.local import LocalBus

__all__ = [
    "Bus",
    "BusClosed",
    "BusError",
    "CallTimeout",
    "Handler",
    "LocalBus",
    "NotificationCallback",
    "QueueFull",
    "RemoteError",
    "Subscription",
    "Target",
    "UnsupportedBus",
    "connect",
]
