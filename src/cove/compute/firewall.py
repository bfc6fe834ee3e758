"""Firewall: puts a `FirewallTable` in force, one nft transaction a change, and forgets connections that may be no more.

Where a change cannot be made (somebody flushed the rules), the whole tables are made anew; until that succeeds, each
further change tries it again. A guest that loses a rule loses the connections that only this rule allowed.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
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


async def find_tracking(*, namespace: str | None = None) -> Tracking:
    """How this kernel can track connections on bridges. Raises FirewallError if it cannot at all."""
    table = "cove_probe"

    def probe(family: str, device: str) -> list[str]:
        chain = f"{family} {table} probe"
        return [
            f"add table {family} {table}",
            f"add chain {chain} {{ type filter hook prerouting priority 100; }}",
            f'add rule {chain} {device} "br0" ct state established accept',
        ]

    in_bridge = await nft.try_out(probe("bridge", "meta ibrname"), namespace=namespace)
    if not in_bridge:
        return Tracking.BRIDGE
    in_hooks = await nft.try_out(probe("inet", "iifname"), namespace=namespace)
    if not in_hooks and Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        return Tracking.IP_HOOKS
    raise FirewallError(
        "the kernel cannot track connections on bridges, which security groups need: load nf_conntrack_bridge or "
        f"br_netfilter (modprobe br_netfilter); nft says: {in_hooks or in_bridge}"
    )


class Firewall:
    """The tables of one Cove. Names differ between Coves on the same host."""

    def __init__(self, state_dir: Path, *, namespace: str | None = None, tracking: Tracking | None = None) -> None:
        mark = hashlib.sha256(str(state_dir.absolute()).encode()).hexdigest()[:8]
        self._name = f"cove_firewall_{mark}"
        self._namespace = namespace
        self._tracking = tracking
        self._table: FirewallTable | None = None
        self._stale = True
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
        async with self._lock:
            self._table = table
            await self._hand_over(guest.bridge for guest in table.guests.values())
            await self._put_whole(table)
            await self._forget(table.zones())

    async def change(self, change: Change) -> None:
        """Make a change of the table, and put it in force as one transaction. Raises FirewallError."""
        async with self._lock:
            if self._table is None:
                self._table = await self.new_table()
            table = self._table
            bridges = {guest.bridge for guest in table.guests.values()}
            allowed = _Allowed(table)
            lines = change(table)
            await self._hand_over({guest.bridge for guest in table.guests.values()} - bridges)
            if self._stale:
                await self._put_whole(table)
            elif lines:
                try:
                    await nft.apply(lines, namespace=self._namespace)
                except nft.NftError as error:
                    log.info("firewall.change", error=str(error))
                    await self._put_whole(table)
            if allowed.less_in(table):
                await self._forget(table.zones())

    async def check(self) -> bool:
        """Whether what is in force still is; if not (somebody flushed it), it is made anew. Raises FirewallError."""
        async with self._lock:
            if self._table is None:
                return True
            await self._hand_over(guest.bridge for guest in self._table.guests.values())
            if not self._stale and await self._is_there(self._table):
                return True
            log.warning("firewall.check", table=self._name, what="the rules are not as they were made: made anew")
            await self._put_whole(self._table)
            return False

    async def destroy(self) -> None:
        """Remove the tables. Raises FirewallError."""
        async with self._lock:
            self._table = None
            self._stale = True
            try:
                nothing = FirewallTable(self._name, self._tracking or Tracking.IP_HOOKS).nothing()
                await nft.apply(nothing, namespace=self._namespace)
            except nft.NftError as error:
                raise FirewallError(str(error)) from error

    # --- the kernel --------------------------------------------------------------------------------------------------

    async def _put_whole(self, table: FirewallTable) -> None:
        self._stale = True
        try:
            await nft.apply(table.whole(), namespace=self._namespace)
        except nft.NftError as error:
            raise FirewallError(f"security groups are not in force: {error}") from error
        self._stale = False

    async def _is_there(self, table: FirewallTable) -> bool:
        for verdicts in ("from_guests", "to_guests"):
            try:
                shown = await nft.show(["list", "map", "bridge", self._name, verdicts], namespace=self._namespace)
            except nft.NftError:
                return False
            if _keys(shown) != set(table.guests):
                return False
        return True

    async def _hand_over(self, bridges: Iterable[str]) -> None:
        if self._tracking is not Tracking.IP_HOOKS:
            return
        for bridge in set(bridges):
            try:
                await links.hand_over_bridged(bridge, namespace=self._namespace)
            except (CoveError, OSError) as error:
                raise FirewallError(f"bridge {bridge}: its connections cannot be tracked: {error}") from error

    async def _forget(self, zones: set[int]) -> None:
        """End what the rules no longer allow. That this fails is no reason to undo what has been put in force."""
        table = self._table
        if table is None or not zones:
            return
        doomed = functools.partial(_forbidden, _Judge(table))
        work = asyncio.to_thread(conntrack.forget, doomed, zones=zones, namespace=self._namespace)
        try:
            count = await asyncio.wait_for(work, CONNTRACK_TIMEOUT_S)
        except (OSError, CoveError) as error:
            log.error("firewall.forget", error=str(error) or type(error).__name__)
        else:
            log.debug("firewall.forget", connections=count)


# --- which connections may go on -------------------------------------------------------------------------------------


class _Allowed:
    """What a table allows, to be compared with what it allows later: connections are looked at only if it is less."""

    def __init__(self, table: FirewallTable) -> None:
        self._guests = dict(table.guests)
        self._rules = {group_id: table.rules(group_id) for group_id in table.groups}
        self._members = {group_id: table.losses(group_id) for group_id in table.remotes}

    def less_in(self, table: FirewallTable) -> bool:
        """Whether some guest that is still there lost a group, a rule, or a member of a remote group."""
        for tap, guest in table.guests.items():
            before = self._guests.get(tap)
            if before is not None and not set(before.groups) <= set(guest.groups):
                return True
        for group_id in table.groups:
            if not set(self._rules.get(group_id, ())) <= set(table.rules(group_id)):
                return True
        return any(self._members.get(group_id, 0) != table.losses(group_id) for group_id in table.remotes)


class _Judge:
    """A table's guests by zone and address, and all that their rules allow, as it is now."""

    def __init__(self, table: FirewallTable) -> None:
        self.guests: dict[tuple[int, str], tuple[Guest, list[Rule]]] = {}
        for guest in table.guests.values():
            zone = table.zone(guest.bridge)
            if zone is not None and guest.stateful:
                found = (guest, table.rules_of(guest))
                self.guests |= {(zone, address): found for address in guest.addresses}
        self.members: Mapping[str, set[str]] = {group_id: table.members(group_id) for group_id in table.remotes}


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
        found = judge.guests.get((connection.zone, address))
        if found is not None and not permits(found[1], direction, packet, judge.members):
            return True
    return False


def _keys(shown: bytes) -> set[str]:
    """The keys of a map as `nft --json list map` shows it."""
    keys: set[str] = set()
    for item in json.loads(shown).get("nftables", []):
        for element in item.get("map", {}).get("elem", []):
            keys.add(element[0])
    return keys
