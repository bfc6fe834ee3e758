"""Which files must change, and whether dnsmasq has to reload, for a change of ports: the mirror of its memory. Pure.

dnsmasq takes a new file in a `--dhcp-hostsdir` at once, but never forgets a line before a SIGHUP: a removed or
replaced reservation lives on, refuses another line with the same address ("duplicate dhcp-host IP address") and may
shadow another line with the same MAC. So the table keeps, beside the lines that are wanted, those that are wanted no
more but still in dnsmasq's memory (*stale*): whatever touches one of those needs a reload before it counts as in
force; every other addition does not, and a mere removal can wait for the next reload.

There is one file per address, so that files never contradict each other and their number is bounded by the subnet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from cove.dhcp.drivers.hostfiles import HostEntry


class Reload(Enum):
    """When dnsmasq must read everything again."""

    NO = "no"
    LATER = "later, together with others"
    NOW = "before the change counts as in force"


@dataclass(slots=True)
class Plan:
    """Files to write (name to text) and to remove, by directory. `released` are (mac, ip) given up."""

    hosts: dict[str, str | None] = field(default_factory=dict)
    names: dict[str, str | None] = field(default_factory=dict)
    options: dict[str, str | None] = field(default_factory=dict)
    released: list[tuple[str, str]] = field(default_factory=list)
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
        self._options: dict[str, str] = {}
        self._stale_macs: set[str] = set()
        self._stale_ips: set[str] = set()
        self._stale_options: set[str] = set()

    def __len__(self) -> int:
        return len(self._wanted)

    def entries(self) -> list[HostEntry]:
        """The reservations wanted."""
        return list(self._wanted.values())

    def options(self) -> dict[str, str]:
        """The port options wanted: text by file name."""
        return dict(self._options)

    def get(self, ip_address: str) -> HostEntry | None:
        """The reservation of an address, or None."""
        return self._wanted.get(ip_address)

    def has_stale(self) -> bool:
        """Whether dnsmasq remembers something that is wanted no more."""
        return bool(self._stale_ips or self._stale_macs or self._stale_options)

    def reloaded(self) -> None:
        """dnsmasq has forgotten everything and read the files: nothing is stale any more."""
        self._stale_ips.clear()
        self._stale_macs.clear()
        self._stale_options.clear()

    def change(
        self,
        remove: Iterable[HostEntry],
        add: Iterable[HostEntry],
        *,
        options: dict[str, str | None] | None = None,
    ) -> Plan:
        """Replace reservations (of one port or of many) and port options (None: none), and say what that takes.

        An entry in `remove` counts only if it is still the one wanted for its address: in the meantime the address
        may have been given to another port.
        """
        plan = Plan()
        added = {entry.ip_address: entry for entry in add}
        for entry in remove:
            if self._wanted.get(entry.ip_address) == entry and added.get(entry.ip_address) != entry:
                self._remove(plan, entry)
        for entry in added.values():
            self._add(plan, entry)
        for name, text in (options or {}).items():
            self._set_options(plan, name, text)
        return plan

    def replace(self, entries: Iterable[HostEntry], options: dict[str, str]) -> Plan:
        """Want exactly these; the plan has what differs from what was wanted before."""
        new = {entry.ip_address: entry for entry in entries}
        old = [entry for key, entry in self._wanted.items() if new.get(key) != entry]
        gone: dict[str, str | None] = dict.fromkeys(self._options.keys() - options.keys())
        return self.change(old, new.values(), options={**gone, **options})

    def _remove(self, plan: Plan, entry: HostEntry) -> None:
        del self._wanted[entry.ip_address]
        self._stale_ips.add(entry.ip_address)
        self._stale_macs.add(entry.mac_address)
        plan.hosts[entry.ip_address] = None
        plan.names[entry.ip_address] = None
        plan.released.append((entry.mac_address, entry.ip_address))
        plan.need(Reload.LATER)

    def _add(self, plan: Plan, entry: HostEntry) -> None:
        before = self._wanted.get(entry.ip_address)
        if before == entry:
            return
        if before is not None:
            if before.mac_address != entry.mac_address:
                plan.released.append((before.mac_address, before.ip_address))
            if before.reservation != entry.reservation:
                plan.need(Reload.NOW)
                self._stale_macs.add(before.mac_address)
        if entry.ip_address in self._stale_ips or entry.mac_address in self._stale_macs:
            plan.need(Reload.NOW)
        self._wanted[entry.ip_address] = entry
        if before is None or before.reservation != entry.reservation:
            plan.hosts[entry.ip_address] = entry.reservation + "\n"
        plan.names[entry.ip_address] = entry.names_line + "\n"
        released = (entry.mac_address, entry.ip_address)
        if released in plan.released:  # the same MAC keeps the address: nothing was given up
            plan.released.remove(released)

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
