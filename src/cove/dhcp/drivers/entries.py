"""Which files must change, and whether dnsmasq has to reload, for a change of ports: the mirror of its memory. Pure.

dnsmasq takes a new file in a `--dhcp-hostsdir` at once, but never forgets a line before a SIGHUP: a removed or
replaced reservation lives on, refuses another line with the same address ("duplicate dhcp-host IP address") and may
shadow another line with the same MAC. So the table keeps, beside the lines that are wanted, those that are wanted no
more but still in dnsmasq's memory (*stale*): whatever touches one of those needs a reload before it counts as in
force; every other addition does not, and a mere removal can wait for the next reload.

There is one file per IPv4 address, and one per port for its IPv6 addresses. No address is in two files, so that files
never contradict each other: who is given another's address takes it from there, whatever order the news come in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from cove.dhcp.drivers.hostfiles import HostEntry, PortEntries


class Reload(Enum):
    """When dnsmasq must read everything again."""

    NO = "no"
    LATER = "later, together with others"
    NOW = "before the change counts as in force"


@dataclass(slots=True)
class Plan:
    """Files to write (name to text) and to remove, by directory. `released` are (mac, ip) given up; `reserved` are the
    addresses that were reserved, and for which MAC.
    """

    hosts: dict[str, str | None] = field(default_factory=dict)
    names: dict[str, str | None] = field(default_factory=dict)
    options: dict[str, str | None] = field(default_factory=dict)
    released: list[tuple[str, str]] = field(default_factory=list)
    reserved: dict[str, str] = field(default_factory=dict)
    reload: Reload = Reload.NO

    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.hosts or self.names or self.options or self.released) and self.reload is Reload.NO

    def need(self, reload: Reload) -> None:
        """Ask for a reload that is at least this urgent."""
        order = [Reload.NO, Reload.LATER, Reload.NOW]
        self.reload = max(self.reload, reload, key=order.index)


class EntryTable:
    """The reservations and port options wanted, and what dnsmasq still remembers besides."""

    def __init__(self) -> None:
        self._wanted: dict[str, HostEntry] = {}
        self._key_by_ip: dict[str, str] = {}
        self._names: dict[str, tuple[str, str]] = {}  # address → MAC, line
        self._options: dict[str, str] = {}
        self._stale_clients: set[tuple[str, bool]] = set()
        self._stale_ips: set[str] = set()
        self._stale_options: set[str] = set()

    def __len__(self) -> int:
        return len(self._wanted)

    def entries(self) -> list[HostEntry]:
        """The reservations wanted."""
        return list(self._wanted.values())

    def names(self) -> dict[str, str]:
        """The line of names for each address."""
        return {address: line for address, (_, line) in self._names.items()}

    def options(self) -> dict[str, str]:
        """The port options wanted: text by file name."""
        return dict(self._options)

    def by_key(self, key: str) -> HostEntry | None:
        """The reservation in a file, or None."""
        return self._wanted.get(key)

    def owner(self, ip_address: str) -> str | None:
        """The MAC for which an address is reserved, or None."""
        key = self._key_by_ip.get(ip_address)
        return self._wanted[key].mac_address if key is not None else None

    def has_stale(self) -> bool:
        """Whether dnsmasq remembers something that is wanted no more."""
        return bool(self._stale_ips or self._stale_clients or self._stale_options)

    def reloaded(self) -> None:
        """dnsmasq has forgotten everything and read the files: nothing is stale any more."""
        self._stale_ips.clear()
        self._stale_clients.clear()
        self._stale_options.clear()

    def change(
        self,
        remove: Iterable[PortEntries],
        add: Iterable[PortEntries],
        *,
        options: dict[str, str | None] | None = None,
    ) -> Plan:
        """Replace what one port or many have, and port options (None: none), and say what that takes.

        A reservation in `remove` counts only if it is still the one wanted: in the meantime the address may have been
        given to another port. The same holds for names.
        """
        plan = Plan()
        removed, added = list(remove), list(add)
        hosts = {entry.key: entry for port in added for entry in port.hosts}
        names = {address: (port.mac_address, line) for port in added for address, line in port.names.items()}
        for port in removed:
            for entry in port.hosts:
                if self._wanted.get(entry.key) == entry and entry.key not in hosts:
                    self._remove(plan, entry)
            for address, line in port.names.items():
                if self._names.get(address) == (port.mac_address, line) and address not in names:
                    del self._names[address]
                    plan.names[address] = None
        for entry in hosts.values():
            self._add(plan, entry)
        for address, (mac_address, line) in names.items():
            before = self._names.get(address)
            self._names[address] = (mac_address, line)
            if before is None or before[1] != line:
                plan.names[address] = line + "\n"
        for name, text in (options or {}).items():
            self._set_options(plan, name, text)
        return plan

    def replace(self, ports: Iterable[PortEntries], options: dict[str, str]) -> Plan:
        """Want exactly these; the plan has what differs from what was wanted before."""
        old = [PortEntries(hosts=tuple(self._wanted.values()))]
        old += [PortEntries(mac, names={address: line}) for address, (mac, line) in self._names.items()]
        gone: dict[str, str | None] = dict.fromkeys(self._options.keys() - options.keys())
        return self.change(old, ports, options={**gone, **options})

    def _remove(self, plan: Plan, entry: HostEntry) -> None:
        del self._wanted[entry.key]
        plan.hosts[entry.key] = None
        self._stale_clients.add(entry.client)
        for address in entry.ip_addresses:
            self._give_up(plan, entry, address)
        plan.need(Reload.LATER)

    def _give_up(self, plan: Plan, entry: HostEntry, address: str) -> None:
        del self._key_by_ip[address]
        self._stale_ips.add(address)
        plan.released.append((entry.mac_address, address))

    def _add(self, plan: Plan, entry: HostEntry) -> None:
        before = self._wanted.get(entry.key)
        if before == entry:
            return
        for address in entry.ip_addresses:
            key = self._key_by_ip.get(address, entry.key)
            if key != entry.key:  # another port's, of whose loss the news are still to come
                self._remove(plan, self._wanted[key])
        if before is not None:
            for address in before.ip_addresses:
                if address not in entry.ip_addresses or before.mac_address != entry.mac_address:
                    self._give_up(plan, before, address)
            if before.reservation != entry.reservation:
                plan.need(Reload.NOW)
                self._stale_clients.add(before.client)
        if entry.client in self._stale_clients or not self._stale_ips.isdisjoint(entry.ip_addresses):
            plan.need(Reload.NOW)
        self._wanted[entry.key] = entry
        if before is None or before.reservation != entry.reservation:
            plan.hosts[entry.key] = entry.reservation + "\n"
        for address in entry.ip_addresses:
            self._key_by_ip[address] = entry.key
            plan.reserved[address] = entry.mac_address
            kept = (entry.mac_address, address)
            if kept in plan.released:  # the same MAC keeps the address: nothing was given up
                plan.released.remove(kept)

    def _set_options(self, plan: Plan, name: str, text: str | None) -> None:
        before = self._options.get(name)
        if before == text:
            return
        if before is not None:
            self._stale_options.add(name)
        if text is None:
            del self._options[name]
            plan.need(Reload.LATER)
        else:
            self._options[name] = text
            if name in self._stale_options:
                plan.need(Reload.NOW)
        plan.options[name] = text
