"""The instance's end of the network on this host: its tap in the network's bridge, and what may come out of it.

Names are those of Neutron's Linux bridge agent, so that they tell an operator what they belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cove.compute.firewall_sync import GuestPort
from cove.compute.spoofguard import GuestRules, SpoofGuard
from cove.linux import links

ID_CHARACTERS = 11  # of an id in a device's name, which may have 15 in all


def bridge_name(network_id: str) -> str:
    """The network's bridge on this host."""
    return f"brq{network_id[:ID_CHARACTERS]}"


def tap_name(port_id: str) -> str:
    """The port's tap device."""
    return f"tap{port_id[:ID_CHARACTERS]}"


class Wiring(Protocol):
    """What the boot flow asks of the host's network; Linux below, a fake in tests."""

    async def plug(self, tap: str, bridge: str, mtu: int) -> None:
        """Make the tap be there, in the bridge."""
        ...

    async def unplug(self, tap: str, bridge: str) -> None:
        """Remove the tap, and the bridge with the last device in it."""
        ...

    async def guard(self, rules: GuestRules) -> None:
        """Drop what comes out of the tap and is not the guest's own."""
        ...

    async def unguard(self, tap: str) -> None:
        """Forget the tap's rules."""
        ...

    async def reset_guards(self, rules: Sequence[GuestRules]) -> None:
        """Have exactly these guards."""
        ...

    async def check_guards(self) -> None:
        """See whether somebody has taken guards away; if so, have them again."""
        ...

    async def remove_guards(self) -> None:
        """Leave nothing of the guards behind."""
        ...


class GuestFirewall(Protocol):
    """What the boot flow asks of security groups; FirewallSync, or nobody where they are not kept."""

    async def start(self, guests: Sequence[GuestPort]) -> None:
        """Protect exactly these guests, and follow changes from now on."""
        ...

    async def close(self) -> None:
        """Follow changes no more; what is in force stays so."""
        ...

    async def destroy(self) -> None:
        """Leave nothing behind."""
        ...

    async def protect(self, guest: GuestPort) -> None:
        """Put the rules for a guest in force, before it starts."""
        ...

    async def unprotect(self, tap: str) -> None:
        """Forget a guest; one that is not known is no error."""
        ...


class LinuxWiring:
    """Taps and bridges by netlink, guards by nftables."""

    def __init__(self, state_dir: Path) -> None:
        self._guard = SpoofGuard(state_dir)

    async def plug(self, tap: str, bridge: str, mtu: int) -> None:
        """Make the tap be there, up, in the bridge, which is made where there is none."""
        await links.ensure_tap(tap, bridge=bridge, mtu=mtu)

    async def unplug(self, tap: str, bridge: str) -> None:
        """Remove the tap, and the bridge with the last device in it."""
        await links.delete(tap)
        await links.delete_bridge_if_unused(bridge)

    async def guard(self, rules: GuestRules) -> None:
        """Drop what comes out of the tap and is not the guest's own."""
        await self._guard.add(rules)

    async def unguard(self, tap: str) -> None:
        """Forget the tap's rules."""
        await self._guard.remove(tap)

    async def reset_guards(self, rules: Sequence[GuestRules]) -> None:
        """Have exactly these guards."""
        await self._guard.reset(rules)

    async def check_guards(self) -> None:
        """See whether somebody has taken guards away; if so, have them again."""
        await self._guard.check()

    async def remove_guards(self) -> None:
        """Leave nothing of the guards behind."""
        await self._guard.destroy()
