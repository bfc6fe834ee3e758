"""dnsmasq's lease file, and the leases that are out as far as the agent knows: pure.

An IPv4 line is `<expiry> <mac> <ip> <name or *> <client id or *>`. IPv6 leases follow after a line `duid <server's>`:
`<expiry> <iaid, T before it for a temporary address> <ip> <name or *> <client's DUID>`. dnsmasq rewrites the file in
place, so that a reader may see it torn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DUID = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){2,129}")
_IAID_MAX = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Lease:
    """An IPv4 address given to a MAC. `expires_at` is in seconds since the epoch, 0 is never."""

    expires_at: int
    mac_address: str
    ip_address: str


@dataclass(frozen=True, slots=True)
class Lease6:
    """An IPv6 address given to a client: its DUID, and the identity association (IAID) that the address is in."""

    expires_at: int
    duid: str
    iaid: int
    ip_address: str
    temporary: bool = False


def parse_line(line: str) -> Lease | Lease6 | None:
    """The lease of a line; None if the line is not (or not wholly) one."""
    fields = line.split()
    if len(fields) != 5 or not _is_number(fields[0]):
        return None
    expires_at, owner = int(fields[0]), fields[1].lower()
    try:
        if _MAC.fullmatch(owner):
            return Lease(expires_at, owner, str(IPv4Address(fields[2])))
        duid, iaid = fields[4].lower(), owner.removeprefix("t")
        if not _is_number(iaid) or int(iaid) > _IAID_MAX or not _DUID.fullmatch(duid):
            return None
        return Lease6(expires_at, duid, int(iaid), str(IPv6Address(fields[2])), temporary=owner != iaid)
    except AddressValueError:
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


def parse(text: str) -> list[Lease | Lease6]:
    """The leases of a whole file; what is no lease is left out, and so is a last line without its end."""
    whole = text[: text.rfind("\n") + 1]
    return [lease for line in whole.splitlines() if (lease := parse_line(line)) is not None]


def server_duid(text: str) -> str | None:
    """The server's own DUID, which it has from its first IPv6 client on; None if there is none (yet)."""
    for line in text.splitlines():
        if line.startswith("duid "):
            duid = line[5:].strip().lower()
            return duid if _DUID.fullmatch(duid) else None
    return None


def keep(text: str, wanted: Callable[[Lease | Lease6], bool]) -> str:
    """The file without the leases that are not wanted; other lines stay as they are."""
    lines = []
    for line in text.splitlines():
        lease = parse_line(line)
        if lease is None or wanted(lease):
            lines.append(f"{line}\n")
    return "".join(lines)


class LeaseTable:
    """(mac, ip) pairs that are leased, of both IP versions: read from the file once, then followed through the log."""

    def __init__(self, leases: Iterable[tuple[str, str]] = ()) -> None:
        self._mac_by_ip = {ip_address: mac_address for mac_address, ip_address in leases}

    def __len__(self) -> int:
        return len(self._mac_by_ip)

    def holder(self, ip_address: str) -> str | None:
        """The MAC that has the address leased."""
        return self._mac_by_ip.get(ip_address)

    def holds(self, mac_address: str, ip_address: str) -> bool:
        """Whether the MAC has the address leased."""
        return self._mac_by_ip.get(ip_address) == mac_address

    def acknowledged(self, mac_address: str, ip_address: str) -> None:
        """The address was given to the MAC."""
        self._mac_by_ip[ip_address] = mac_address

    def released(self, mac_address: str, ip_address: str) -> None:
        """The MAC gave the address back."""
        if self.holds(mac_address, ip_address):
            del self._mac_by_ip[ip_address]
