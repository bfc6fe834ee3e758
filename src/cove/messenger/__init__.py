"""Connections, and the chain of dispatchers that incoming messages go through: the asyncio shell around `wire/`."""

from .dispatch import Dispatcher, DispatchQueue
from .loopback import LoopbackConnection, LoopbackMessenger, LoopbackNetwork
from .messenger import Connection, Messenger

__all__ = [
    "Connection",
    "DispatchQueue",
    "Dispatcher",
    "LoopbackConnection",
    "LoopbackMessenger",
    "LoopbackNetwork",
    "Messenger",
]
