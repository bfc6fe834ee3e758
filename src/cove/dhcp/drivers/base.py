"""The interface between the agent and whatever answers DHCP for a network.

Nothing above it knows of files, signals or processes; a driver knows nothing of the bus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cove.dhcp.models import PortInfo, SubnetInfo


@dataclass(frozen=True, slots=True)
class ServedNetwork:
    """What a driver is to serve, and where.

    `ports` is a live view of the network's ports by id. `interface` is in `namespace` and has `server_addresses`
    ("1.1.1.2/24"), one for each of `subnets` (those with DHCP, by id, of both IP versions).
    """

    network_id: str
    mtu: int
    subnets: tuple[SubnetInfo, ...]
    ports: Mapping[str, PortInfo]
    namespace: str
    interface: str
    server_addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PortChange:
    """One port that was added (no `before`), updated, or removed (no `after`)."""

    before: PortInfo | None
    after: PortInfo | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message that the server got or sent: `kind` is "DHCPDISCOVER", "DHCPREPLY", "RTR-SOLICIT", ...

    A client of DHCPv6 is known by its DUID ("00:03:00:01:fa:16:3e:00:00:01"); `mac_address` is then the one in the
    DUID, or empty.
    """

    kind: str
    mac_address: str
    ip_address: str | None
    note: str
    duid: str = ""

    @property
    def gives_lease(self) -> bool:
        """Whether the client has a lease of the address from now on."""
        if self.ip_address is None:
            return False
        # Behind the address of a DHCPREPLY stands a name, or words that say why it is refused.
        return self.kind == "DHCPACK" or (self.kind == "DHCPREPLY" and " " not in self.note)


@dataclass(frozen=True, slots=True)
class Served:
    """What is served now: for people, metrics and tests."""

    pid: int | None
    reservations: int
    leases: int


class DhcpDriver(Protocol):
    """The DHCP server of one network. Not to be called concurrently but for served() and close()."""

    async def enable(self, network: ServedNetwork) -> None:
        """Serve exactly this; what runs already and is as wanted is kept. Returns when it is in force.

        Raises DriverError.
        """

    async def disable(self) -> None:
        """Serve nothing, and forget all state, leases included. No error if nothing is served."""

    async def restart(self, network: ServedNetwork) -> None:
        """Stop and serve this. Raises DriverError."""

    async def reload_allocations(self, network: ServedNetwork, changes: Sequence[PortChange] | None) -> None:
        """Bring the changes of ports (None: everything) in force; returns when they are.

        An address that a port gave up can be leased to another MAC from then on. Raises DriverError.
        """

    async def shutdown(self) -> None:
        """Stop serving, but keep the leases for the next start."""

    async def close(self) -> None:
        """Let go: the server runs on, and `enable` of a later agent takes it over."""

    def refused_addresses(self) -> frozenset[str]:
        """Addresses whose reservation the server did not take: it will not answer for them."""

    def served(self) -> Served:
        """What is served now."""


ExchangeCallback = Callable[[Exchange], None]
"""Told of each DHCP message, on the event loop."""

ExitCallback = Callable[[], None]
"""Told when the server ended by itself, on the event loop."""
