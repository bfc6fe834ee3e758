"""How a client reaches its cluster: a `Transport` makes the messenger and knows the monitors' addresses.

The loopback transport serves client and store in one process; TCP comes as another one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from ..messenger import LoopbackMessenger, LoopbackNetwork, Messenger
from ..wire.types import EntityName, EntityType


class Transport(Protocol):
    """What `Rados` needs to connect."""

    @property
    def mon_addresses(self) -> Sequence[str]:
        """Where monitors listen, in the order in which to try them."""

    def create_messenger(self) -> Messenger:
        """A messenger for one client session."""


class LoopbackTransport:
    """To a store in the same process and event loop."""

    def __init__(self, network: LoopbackNetwork, mon_addresses: Sequence[str] = ("mon.0",)) -> None:
        self.network = network
        self.mon_addresses = tuple(mon_addresses)

    def create_messenger(self) -> Messenger:
        """Each session gets a number of its own: OSDs tell repeated requests by (client number, tid), also of
        clients that ran before the last restart."""
        return LoopbackMessenger(self.network, EntityName(EntityType.CLIENT, secrets.randbits(62)))
