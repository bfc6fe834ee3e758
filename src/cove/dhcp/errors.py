"""The exceptions of the DHCP agent."""

from __future__ import annotations

from cove.errors import CoveError


class DhcpError(CoveError):
    """Root of the DHCP agent's errors."""


class InvalidPayload(DhcpError):
    """What came over the bus cannot be served: names the field, the value and what was expected."""


class DriverError(DhcpError):
    """The DHCP server of a network could not be brought into the wanted state."""


class NoAnswer(DriverError):
    """The DHCP server did not confirm a change in time."""
