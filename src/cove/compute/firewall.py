"""Firewall: puts a `FirewallTable` in force, one nft transaction a change, and forgets connections that may be no more.

Where a change cannot be made (somebody flushed the rules), the whole tables are made anew; until that succeeds, each
further change tries it again. A guest that loses a rule loses the connections that only this rule allowed; a guest that
comes to an address is not the one that its former owner's connections were for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import structlog

from cove.compute import nft
from cove.compute.firewall_rules import EGRESS, INGRESS, FirewallError, Guest, Packet, Rule, permits
from cove.compute.firewall_table import FirewallTable, Tracking
from cove.errors import CoveError
from cove.linux import conntrack, links

log = structlog.get_logger(__name__)

CONNTRACK_TIMEOUT_S = 30.0
Change = Callable[[FirewallTable], list[str]]
"""Changes a table; returns the commands that bring the kernel along."""
_UNKNOWN = -1

Found = tuple[Guest, list[Rule]]


async def find_tracking(*, namespace: str | None = None) -> Tracking:
    """How this kernel can track connections on bridges. Raises FirewallError if it cannot at all."""
    complaints: dict[Tracking, str] = {}
    for tracking in Tracking:
        probe = FirewallTable("cove_probe", tracking)
        probe.put_guest(Guest("tap0", "br0", (), ("group",)))
        complaints[tracking] = await nft.try_out(probe.whole(), namespace=namespace)
    if not complaints[Tracking.BRIDGE]:
        return Tracking.BRIDGE
    if not complaints[Tracking.IP_HOOKS] and Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        return Tracking.IP_HOOKS
    complaint = complaints[Tracking.IP_HOOKS] or complaints[Tracking.BRIDGE]
    raise FirewallError(
        "the kernel cannot track connections on bridges, which security groups need: load nf_conntrack_bridge or "
        f"br_netfilter (modprobe br_netfilter); nft says: {complaint}"
    )


class Firewall:
    """The tables of one Cove. Names differ between Coves on the same host."""

    def __init__(self, state_dir: Path, *, namespace: str | None = None, tracking: Tracking | None = None) -> None:
        mark = hashlib.sha256(str(state_dir.absolute()).encode()).hexdigest()[:8]
        self._name = f"cove_firewall_{mark}"
        self._namespace = namespace
        self._tracking = tracking
        self._table: FirewallTable | None = None
        self._kept = nft.Kept(namespace)
        self._losses = 0
        self._lock = asyncio.Lock()

    @property
    def table(self) -> FirewallTable | None:
        """What is in force, or about to be; None before the first change. To be looked at only."""
        return self._table

    async def new_table(self) -> FirewallTable:
        """An empty table, for `reset`. Raises FirewallError where the kernel cannot have it."""
        if self._tracking is None:
            try:
                self._tracking = await find_tracking(namespace=self._namespace)
            except nft.NftError as error:
                raise FirewallError(str(error)) from error
        return FirewallTable(self._name, self._tracking)

    async def reset(self, table: FirewallTable) -> None:
        """Have exactly this in force. Raises FirewallError."""
        async with self._holding():
            self._table = table
            self._losses = _UNKNOWN
            self._kept.doubt()
            await self._hand_over_again(table)
            await self._kept.put(table.whole())
            await self._forget(table)

    async def change(self, change: Change) -> None:
        """Make a change of the table, and put it in force as one transaction. Raises FirewallError."""
        async with self._holding():
            if self._table is None:
                self._table = await self.new_table()
                self._losses = 0
            table, bridges = self._table, self._table.bridges
            try:
                lines = change(table)
                for bridge in table.bridges - bridges:
                    await self._hand_over(bridge)
            except BaseException:
                self._kept.doubt()
                raise
            await self._kept.change(lines, table.whole)
            if table.losses != self._losses:
                await self._forget(table)

    async def check(self) -> bool:
        """Whether what is in force still is; if not (somebody flushed it), it is made anew. Raises FirewallError."""
        async with self._holding():
            if self._table is None:
                return True
            await self._hand_over_again(self._table)
            fine = await self._kept.check(self._table.elements(), self._table.whole)
            if not fine:
                log.warning("firewall.check", table=self._name, what="the rules were not as they were made: made anew")
            return fine

    async def destroy(self) -> None:
        """Remove the tables. Raises FirewallError."""
        async with self._holding():
            self._table = None
            self._kept.doubt()
            nothing = FirewallTable(self._name, self._tracking or Tracking.IP_HOOKS).nothing()
            await nft.apply(nothing, namespace=self._namespace)

    # --- the kernel --------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _holding(self) -> AsyncIterator[None]:
        """One change at a time, with errors of our own."""
        async with self._lock:
            try:
                yield
            except nft.NftError as error:
                raise FirewallError(f"security groups are not in force: {error}") from error

    async def _hand_over(self, bridge: str) -> None:
        if self._tracking is not Tracking.IP_HOOKS:
            return
        try:
            await links.hand_over_bridged(bridge, namespace=self._namespace)
        except (CoveError, OSError) as error:
            raise FirewallError(f"bridge {bridge}: its connections cannot be tracked: {error}") from error

    async def _hand_over_again(self, table: FirewallTable) -> None:
        """A bridge that cannot be had keeps no other from being protected; on it, answers are dropped."""
        for bridge in table.bridges:
            try:
                await self._hand_over(bridge)
            except FirewallError as error:
                log.error("firewall.hand_over", bridge=bridge, error=str(error))

    async def _forget(self, table: FirewallTable) -> None:
        """End what the rules no longer allow. That this fails is no reason to undo what has been put in force."""
        losses, zones = table.losses, table.zones()
        if zones:
            doomed = functools.partial(_forbidden, _Judge(table))
            try:
                async with asyncio.timeout(CONNTRACK_TIMEOUT_S):
                    count = await asyncio.to_thread(conntrack.forget, doomed, zones=zones, namespace=self._namespace)
            except (OSError, CoveError) as error:
                log.error("firewall.forget", error=str(error) or type(error).__name__)
            else:
                log.debug("firewall.forget", connections=count)
        self._losses = losses


# --- which connections may go on -------------------------------------------------------------------------------------


class _Judge:
    """A table's guests by zone and address, and all that their rules allow, as it is now."""

    def __init__(self, table: FirewallTable) -> None:
        self._by_address: dict[tuple[int, str], Found] = {}
        self._by_network: dict[int, list[tuple[IPv4Network | IPv6Network, Found]]] = {}
        for guest in table.guests.values():
            zone = table.zone(guest.bridge)
            if zone is None or not guest.stateful:
                continue
            found = (guest, table.rules_of(guest))
            for address in guest.addresses:
                if "/" in address:
                    self._by_network.setdefault(zone, []).append((ip_network(address), found))
                else:
                    self._by_address[zone, address] = found
        self.members: Mapping[str, set[str]] = {group_id: table.members(group_id) for group_id in table.remotes}

    def find(self, zone: int, address: str) -> Found | None:
        """The guest with that address and its rules; one with the address itself before one with a network of it."""
        found = self._by_address.get((zone, address))
        networks = self._by_network.get(zone)
        if found is None and networks:
            ip = ip_address(address)
            return next((found for network, found in networks if ip in network), None)
        return found


def _forbidden(judge: _Judge, connection: conntrack.Connection) -> bool:
    """Whether a connection could not begin now: one of its ends is a guest whose rules don't allow it."""
    packet = Packet(
        connection.version,
        connection.protocol,
        connection.source,
        connection.destination,
        connection.port,
        connection.icmp_type,
        connection.icmp_code,
    )
    for address, direction in ((connection.source, EGRESS), (connection.destination, INGRESS)):
        found = judge.find(connection.zone, address)
        if found is not None and not permits(found[1], direction, packet, judge.members):
            return True
    return False
