"""Connections, and the chain of dispatchers that incoming messages go through: the asyncio shell around `wire/`."""

from .dispatch import Dispatcher, DispatchQueue
from .limits import TcpLimits
from .loopback import LoopbackConnection, LoopbackMessenger, LoopbackNetwork
from .messenger import Connection, Messenger
from .tcp import TcpMessenger
from .tcp_connection import TcpConnection

__all__ = [
    "Connection",
    "DispatchQueue",
    "Dispatcher",
    "LoopbackConnection",
    "LoopbackMessenger",
    "LoopbackNetwork",
    "Messenger",
    "TcpConnection",
    "TcpLimits",
    "TcpMessenger",
]
