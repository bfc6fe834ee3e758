"""FirewallSync: keeps the firewall in step with the Networking API, for the guests on this host.

    bus notification ─▶ notice ─▶ worker ─▶ what changed? ─▶ Firewall.change        within milliseconds
    every CHECK_INTERVAL_S      ─▶ everything from the API, compared ─▶ Firewall.reset, if they differ

Notifications are hints that say where to look: a rule was made or removed (its group is asked for again), a port came,
changed or went (its addresses go into, or leave, the sets of the groups that rules name; its own guest changes with
it), a subnet came or went in which hosts make their addresses themselves (so all ports on its network may have changed,
of which no notification tells). They may be lost, doubled or late: revision numbers order those of a port, and the
periodic comparison finds the rest. A guest is protected before it starts, from what the API says then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from cove import tasks
from cove.bus import Bus, Subscription
from cove.compute.firewall import Firewall
from cove.compute.firewall_api import FirewallApi, Shown
from cove.compute.firewall_rules import FirewallError, Guest, Rule, addresses_of, rule_of
from cove.compute.firewall_table import FirewallTable
from cove.compute.network_api import NetworkApiError
from cove.errors import CoveError

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 60.0
RETRY_S = 1.0
RETRY_S_MAX = 30.0
EVENTS_MAX = 10_000
"""Notifications that wait; with more, everything is compared instead."""
GONE_MAX = 1000
"""Ports that are remembered as deleted: what is said of them later is old."""


@dataclass(frozen=True, slots=True)
class GuestPort:
    """The port of a guest on this host, and its tap and bridge here."""

    port_id: str
    tap: str
    bridge: str


@dataclass(frozen=True, slots=True)
class _Member:
    """A port that is in remote groups, as it was last seen."""

    revision: int
    groups: frozenset[str]
    addresses: tuple[str, ...]


@dataclass(slots=True)
class _Fetched:
    """What the API says: of groups, by id, and of the ports that are in newly named remote groups."""

    rules: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    stateful: dict[str, bool] = field(default_factory=dict)
    members: dict[str, Shown] = field(default_factory=dict)


class FirewallSync:
    """Start it, `protect` guests before they run, `unprotect` them after; `close` leaves the rules in force."""

    def __init__(self, firewall: Firewall, api: FirewallApi, bus: Bus | None = None) -> None:
        self._firewall = firewall
        self._api = api
        self._bus = bus
        self._guests: dict[str, GuestPort] = {}
        self._members: dict[str, _Member] = {}
        self._stateful: dict[str, bool] = {}
        self._remotes: set[str] = set()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._events: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._overflow = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._lock = asyncio.Lock()
        self._subscription: Subscription | None = None
        self._worker: asyncio.Task[None] | None = None

    # --- the life of it ----------------------------------------------------------------------------------------------

    async def start(self, guests: Sequence[GuestPort]) -> None:
        """Protect exactly these guests, and listen from now on. Raises FirewallError; it listens and tries on then."""
        if self._bus is not None:
            self._subscription = self._bus.subscribe_notifications(self.notice)
        self._worker = asyncio.create_task(self._work(), name="firewall")
        self._guests = {guest.tap: guest for guest in guests}
        if not guests:
            await self._firewall.destroy()
            return
        try:
            await self.compare()
        except Exception as error:
            self._overflow = True
            self._idle.clear()
            self._wake.set()
            if isinstance(error, FirewallError):
                raise
            raise FirewallError(f"security groups are not known: {error!r}") from error

    async def close(self) -> None:
        """Stop following changes. What is in force stays so."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
        worker, self._worker = self._worker, None
        await tasks.end([worker])

    async def destroy(self) -> None:
        """Stop, and leave nothing behind: no guest runs any more. Raises FirewallError."""
        await self.close()
        self._guests.clear()
        await self._firewall.destroy()

    async def protect(self, guest: GuestPort) -> None:
        """Put the rules for a guest in force, before it starts (again, if they are already). Raises FirewallError."""
        async with self._lock:
            before = self._guests.get(guest.tap)
            self._guests[guest.tap] = guest
            try:
                await self._update({guest.tap})
            except BaseException:
                if before is None:
                    del self._guests[guest.tap]
                raise

    async def unprotect(self, tap: str) -> None:
        """A guest has ended; one that is not known is no error. Raises FirewallError."""
        async with self._lock:
            if self._guests.pop(tap, None) is None and self._firewall.table is None:
                return

            def drop(table: FirewallTable) -> list[str]:
                lines = table.drop_guest(tap)
                self._forget_unused(table)
                return lines

            await self._firewall.change(drop)

    # --- changes -----------------------------------------------------------------------------------------------------

    def notice(self, event_type: str, payload: Mapping[str, Any]) -> None:
        """A notification of the bus. Returns at once."""
        if event_type not in _EVENTS or not self._guests:
            return
        if len(self._events) >= EVENTS_MAX:
            self._events.clear()
            self._overflow = True
        else:
            self._events.append((event_type, payload))
        self._idle.clear()
        self._wake.set()

    async def settled(self, timeout_s: float = 30.0) -> None:
        """Wait until what has been noticed is in force. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._idle.wait()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        next_check = loop.time() + CHECK_INTERVAL_S
        pause_s = RETRY_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_check):
                    await self._wake.wait()
            try:
                if self._overflow or loop.time() >= next_check:
                    self._overflow = False
                    next_check = loop.time() + CHECK_INTERVAL_S
                    await self.compare()
                await self._follow()
            except Exception as error:
                log.error("firewall.sync", error=str(error), exc_info=not isinstance(error, CoveError))
                self._overflow = True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_S_MAX)
            else:
                pause_s = RETRY_S
            if not self._events and not self._overflow:
                self._wake.clear()
                self._idle.set()

    async def _follow(self) -> None:
        """Work off the notifications that wait."""
        async with self._lock:
            events = list(self._events)
            self._events.clear()
            table = self._firewall.table
            if not events or table is None:
                return
            groups: set[str] = set()
            networks: set[str] = set()
            ports: dict[str, Shown | None] = {}
            for event_type, payload in events:
                resource, _, rest = event_type.partition(".")
                for item in _objects(resource, payload):
                    if resource == "port":
                        self._see_port(ports, item, gone=rest.startswith("delete"))
                    elif resource == "security_group_rule" and item.get("security_group_id") in table.groups:
                        groups.add(item["security_group_id"])
                    elif resource == "security_group":
                        groups |= {g for g in table.groups if any(r.remote_group == item["id"] for r in table.rules(g))}
                    elif resource == "subnet" and _is_automatic(item):
                        networks.add(item["network_id"])
            for network_id in sorted(networks):
                for port in await self._ask_network(network_id):
                    self._see_port(ports, port, gone=False)
            by_port = {guest.port_id: tap for tap, guest in self._guests.items()}
            taps = {by_port[port_id] for port_id in ports if port_id in by_port}
            if ports:
                await self._move(ports)
            if groups or taps:
                await self._update(taps, groups)

    async def _ask_network(self, network_id: str) -> list[Shown]:
        try:
            return await self._api.on_network(network_id)
        except NetworkApiError as error:
            raise FirewallError(f"the ports on network {network_id} are not known: {error}") from error

    def _see_port(self, ports: dict[str, Shown | None], port: Shown, *, gone: bool) -> None:
        """Keep the newest that is said of a port."""
        port_id = port["id"]
        if gone:
            ports[port_id] = None
            self._gone[port_id] = None
            if len(self._gone) > GONE_MAX:
                self._gone.popitem(last=False)
            return
        if port_id in self._gone:
            return
        known, seen = ports.get(port_id), self._members.get(port_id)
        revision = port["revision_number"]
        if known is not None and known["revision_number"] >= revision:
            return
        if seen is None or seen.revision < revision:
            ports[port_id] = port

    async def _move(self, ports: Mapping[str, Shown | None]) -> None:
        """Ports came, changed or went: so do their addresses in the sets of remote groups."""
        if any(port_id in self._members for port_id in ports) or self._remote_groups_of(ports.values()):
            await self._firewall.change(lambda table: self._take_members(table, ports))

    def _remote_groups_of(self, ports: Iterable[Shown | None]) -> bool:
        table = self._firewall.table
        remotes = table.remotes if table is not None else set()
        return any(not remotes.isdisjoint(port["security_groups"]) for port in ports if port is not None)

    def _take_members(self, table: FirewallTable, ports: Mapping[str, Shown | None]) -> list[str]:
        """Bring the remote groups' sets along with ports as they are now; None for one that is gone."""
        plus: dict[str, list[str]] = {}
        minus: dict[str, list[str]] = {}
        for port_id, port in ports.items():
            old = self._members.pop(port_id, None)
            new = None if port is None else _member(port, table.remotes)
            if new is not None:
                self._members[port_id] = new
            for member, change in ((old, minus), (new, plus)):
                if member is not None:
                    for group_id in member.groups:
                        change.setdefault(group_id, []).extend(member.addresses)
        lines: list[str] = []
        for group_id in sorted(plus.keys() | minus.keys()):
            lines += table.change_members(group_id, plus.get(group_id, ()), minus.get(group_id, ()))
        return lines

    async def _update(self, taps: Collection[str], groups: Collection[str] = ()) -> None:
        """Ask the API about guests and groups, and put in force what it says of them. The lock is held."""
        table = self._firewall.table
        wanted = {tap: self._guests[tap] for tap in taps if tap in self._guests}
        try:
            ports = await self._api.ports({guest.port_id for guest in wanted.values()}) if wanted else {}
            new = _groups_of(ports.values()) - (table.groups if table is not None else set())
            fetched = await self._fetch(new | set(groups), table.remotes if table is not None else ())
        except NetworkApiError as error:
            raise FirewallError(f"security groups are not known: {error}") from error
        await self._firewall.change(lambda table: self._take(table, wanted, ports, fetched))

    def _take(
        self, table: FirewallTable, guests: Mapping[str, GuestPort], ports: Mapping[str, Shown], fetched: _Fetched
    ) -> list[str]:
        """Put what the API said into a table."""
        self._stateful |= fetched.stateful
        lines: list[str] = []
        for tap, place in guests.items():
            port = ports.get(place.port_id)
            if port is None:
                # Its port is gone, and it still runs: nothing but what passes always.
                lines += table.put_guest(Guest(tap, place.bridge))
            elif not port["port_security_enabled"]:
                lines += table.drop_guest(tap)
            else:
                groups = tuple(sorted(port["security_groups"]))
                stateful = all(self._stateful.get(group_id, True) for group_id in groups)
                lines += table.put_guest(Guest(tap, place.bridge, addresses_of(port), groups, stateful))
        for group_id, rules in fetched.rules.items():
            lines += table.put_rules(group_id, rules)
        lines += self._take_members(table, fetched.members)
        self._forget_unused(table)
        return lines

    async def _fetch(self, groups: Collection[str], known_remotes: Collection[str]) -> _Fetched:
        """The rules of groups, and the members of those that they name and that are not known yet."""
        fetched = _Fetched()
        shown = await self._api.groups(groups) if groups else {}
        named: set[str] = set()
        for group_id in groups:
            group = shown.get(group_id)
            rules = fetched.rules[group_id] = () if group is None else _rules(group)
            named |= {rule.remote_group for rule in rules if rule.remote_group is not None}
            if group is not None:
                fetched.stateful[group_id] = group["stateful"]
        for group_id in sorted(named - set(known_remotes)):
            fetched.members |= {port["id"]: port for port in await self._api.members(group_id)}
        return fetched

    # --- everything --------------------------------------------------------------------------------------------------

    async def compare(self) -> bool:
        """Ask the API about everything, and put it in force if it is not; whether it was. Raises FirewallError."""
        async with self._lock:
            if not self._guests:
                return True
            table = await self._firewall.new_table()
            try:
                ports = await self._api.ports({guest.port_id for guest in self._guests.values()})
                fetched = await self._fetch(_groups_of(ports.values()), ())
            except NetworkApiError as error:
                raise FirewallError(f"security groups are not known: {error}") from error
            self._members.clear()
            self._take(table, self._guests, ports, fetched)
            current = self._firewall.table
            if current is not None and current.same_as(table):
                return await self._firewall.check()
            await self._firewall.reset(table)
            if current is not None:
                log.warning("firewall.compare", what="the rules had fallen behind the API")
            return False

    def _forget_unused(self, table: FirewallTable) -> None:
        """Members of groups that no rule names any more, and groups that no guest is in."""
        before, self._remotes = self._remotes, table.remotes
        for port_id, member in list(self._members.items()) if before - self._remotes else ():
            left = member.groups & self._remotes
            if not left:
                del self._members[port_id]
            elif left != member.groups:
                self._members[port_id] = _Member(member.revision, left, member.addresses)
        for group_id in self._stateful.keys() - table.groups:
            del self._stateful[group_id]


_EVENTS = frozenset(
    {
        "port.create.end",
        "port.update.end",
        "port.delete.end",
        "security_group_rule.create.end",
        "security_group_rule.delete.end",
        "security_group.delete.end",
        "subnet.create.end",
        "subnet.delete.end",
    }
)
_AUTOMATIC_MODES = frozenset({"slaac", "dhcpv6-stateless"})


def _is_automatic(subnet: Mapping[str, Any]) -> bool:
    """Whether hosts in the subnet make their addresses from their MAC address, so that it gives and takes them."""
    return not _AUTOMATIC_MODES.isdisjoint((subnet.get("ipv6_address_mode"), subnet.get("ipv6_ra_mode")))


def _objects(resource: str, payload: Mapping[str, Any]) -> list[Shown]:
    """The objects of a notification, which is about one or about many."""
    items = payload.get(f"{resource}s", [payload.get(resource)])
    return [item for item in items if isinstance(item, Mapping) and "id" in item]


def _member(port: Shown, remotes: Collection[str]) -> _Member | None:
    groups = frozenset(group_id for group_id in port["security_groups"] if group_id in remotes)
    return _Member(port["revision_number"], groups, addresses_of(port)) if groups else None


def _groups_of(ports: Iterable[Shown]) -> set[str]:
    """The groups that matter: those of ports with port security."""
    return {group_id for port in ports if port["port_security_enabled"] for group_id in port["security_groups"]}


def _rules(group: Shown) -> tuple[Rule, ...]:
    """The rules of a group, each once, in an order that does not change with the API's."""
    rules = set()
    for shown in group["security_group_rules"]:
        try:
            rule = rule_of(shown)
        except (KeyError, TypeError, ValueError) as error:
            # One rule of one project is no reason to let all others wait; what it would let pass does not.
            log.error("firewall.rule", rule=shown.get("id"), error=f"makes no sense: {error!r}")
            continue
        if rule is not None:
            rules.add(rule)
    return tuple(sorted(rules, key=repr))
