"""dnsmasq's lease file, and the leases that are out as far as the agent knows: pure.

A line is `<expiry> <mac> <ip> <name or *> <client id or *>`; the file is rewritten in place by dnsmasq, so that a
reader may see it torn. IPv6 leases follow after a `duid` line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Lease:
    """An address given to a MAC. `expires_at` is in seconds since the epoch, 0 is never."""

    expires_at: int
    mac_address: str
    ip_address: str


def parse_line(line: str) -> Lease | None:
    """The lease of a line; None if the line is not (or not wholly) an IPv4 lease."""
    fields = line.split()
    if len(fields) != 5 or not fields[0].isdigit() or not _MAC.fullmatch(fields[1].lower()):
        return None
    try:
        return Lease(int(fields[0]), fields[1].lower(), str(IPv4Address(fields[2])))
    except AddressValueError:
        return None


def parse(text: str) -> list[Lease]:
    """The leases of a whole file; what is no lease is left out."""
    return [lease for line in text.splitlines() if (lease := parse_line(line)) is not None]


def keep(text: str, wanted: Callable[[str, str], bool]) -> str:
    """The file without the leases whose (mac, ip) is not wanted; other lines stay as they are."""
    lines = []
    for line in text.splitlines():
        lease = parse_line(line)
        if lease is None or wanted(lease.mac_address, lease.ip_address):
            lines.append(f"{line}\n")
    return "".join(lines)


class LeaseTable:
    """(mac, ip) pairs that are leased: read from the file once, then followed through the log."""

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self._mac_by_ip = {lease.ip_address: lease.mac_address for lease in leases}

    def __len__(self) -> int:
        return len(self._mac_by_ip)

    def holds(self, mac_address: str, ip_address: str) -> bool:
        """Whether the MAC has the address leased."""
        return self._mac_by_ip.get(ip_address) == mac_address

    def pairs(self) -> list[tuple[str, str]]:
        """All (mac, ip)."""
        return [(mac_address, ip_address) for ip_address, mac_address in self._mac_by_ip.items()]

    def acknowledged(self, mac_address: str, ip_address: str) -> None:
        """A DHCPACK was sent."""
        self._mac_by_ip[ip_address] = mac_address

    def released(self, mac_address: str, ip_address: str) -> None:
        """A DHCPRELEASE came."""
        if self.holds(mac_address, ip_address):
            del self._mac_by_ip[ip_address]
