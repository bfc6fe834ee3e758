"""The DHCP agent: keeps one DHCP server per network in step with the database, through the message bus."""

from __future__ import annotations

from cove.dhcp.agent import DhcpAgent

__all__ = ["DhcpAgent"]
