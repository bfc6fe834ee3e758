"""Who has which lease of a network's dnsmasq, and taking leases back: the agent's side of the lease file.

An IPv4 lease is given back by a packet that names MAC and address. An IPv6 lease belongs to a DUID and an IAID, which
only the lease file tells; that a MAC is behind them is known from the reservation under which the address was given
or, after a restart, from a DUID that was made from the MAC. Where that cannot be told the lease is given up: a client
that renews it is then given the same address anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address as parse_address
from ipaddress import ip_interface
from pathlib import Path

import structlog

from cove.dhcp.drivers import leases
from cove.dhcp.drivers.base import Exchange, ServedNetwork
from cove.dhcp.drivers.dnsmasq_log import mac_of_duid
from cove.dhcp.drivers.leases import Lease, Lease6, LeaseTable
from cove.dhcp.drivers.release import Releaser
from cove.dhcp.drivers.release6 import Releaser6
from cove.dhcp.models import is_ipv4
from cove.linux import files

log = structlog.get_logger(__name__)

RELEASE_TRIES = 3
READ_TRIES = 5
READ_PAUSE_S = 0.002

OwnerOf = Callable[[str], str | None]
"""The MAC for which an address is reserved, if it is."""


class LeaseKeeper:
    """The leases in one lease file. `open` before anything is released, `close` in the end."""

    def __init__(self, path: Path, *, mode: int) -> None:
        self._path = path
        self._mode = mode
        self._table = LeaseTable()
        self._releaser: Releaser | None = None
        self._releaser_6: Releaser6 | None = None
        self._servers: tuple[str, ...] = ()
        self._unconfirmed: set[str] = set()  # IPv6 addresses whose release was sent, and not seen in the file yet

    def __len__(self) -> int:
        return len(self._table)

    async def open(self, network: ServedNetwork) -> None:
        """Get ready to release in the network's namespace. Raises NamespaceError."""
        self.close()
        self._servers = network.server_addresses
        self._releaser = await asyncio.to_thread(Releaser, network.namespace)
        if any(not is_ipv4(address) for address in network.server_addresses):
            try:
                self._releaser_6 = await asyncio.to_thread(Releaser6, network.namespace, network.interface)
            except OSError as error:
                log.warning("IPv6 leases cannot be released", network_id=network.network_id, error=str(error))

    def close(self) -> None:
        """Close the sockets."""
        for releaser in (self._releaser, self._releaser_6):
            if releaser is not None:
                releaser.close()
        self._releaser = self._releaser_6 = None

    # -- what is told --------------------------------------------------------------------------------------------

    def follow(self, exchange: Exchange, owner_of: OwnerOf) -> None:
        """A message between the server and a client."""
        address = exchange.ip_address
        if address is None:
            return
        if exchange.gives_lease:
            mac_address = exchange.mac_address if is_ipv4(address) else owner_of(address)
            if mac_address:
                self._table.acknowledged(mac_address, address)
                self._unconfirmed.discard(address)
        elif exchange.kind == "DHCPRELEASE":
            self._table.released(exchange.mac_address, address)

    def prune(self, owner_of: OwnerOf) -> None:
        """While nobody serves: drop the leases that are nobody's any more. Blocking."""
        text = files.read_text(self._path)
        kept = "" if text is None else leases.keep(text, lambda lease: self._is_owned(lease, owner_of))
        if text is not None and kept != text:
            files.write_atomic(self._path, kept, mode=self._mode)
        self._take(leases.parse(kept), owner_of)

    async def meet(self, owner_of: OwnerOf) -> None:
        """Take over the leases of a server that runs, and release those that are nobody's any more."""
        text = await asyncio.to_thread(self._read)
        found = leases.parse(text)
        self._take([lease for lease in found if self._is_owned(lease, owner_of)], owner_of)
        self._send([lease for lease in found if not self._is_owned(lease, owner_of)], leases.server_duid(text))

    def _take(self, found: Iterable[Lease | Lease6], owner_of: OwnerOf) -> None:
        owners = ((owner_of(lease.ip_address), lease.ip_address) for lease in found)
        self._table = LeaseTable((mac_address, address) for mac_address, address in owners if mac_address)
        self._unconfirmed.clear()

    def _is_owned(self, lease: Lease | Lease6, owner_of: OwnerOf) -> bool:
        owner = owner_of(lease.ip_address)
        if owner is None:
            return False
        if isinstance(lease, Lease):
            return lease.mac_address == owner
        return mac_of_duid(lease.duid) == owner or self._table.holds(owner, lease.ip_address)

    # -- giving back ---------------------------------------------------------------------------------------------

    async def release(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give up the leases that these (mac, ip) have, if they have."""
        held = [(mac_address, address) for mac_address, address in pairs if self._table.holds(mac_address, address)]
        plain = [Lease(0, mac_address, address) for mac_address, address in held if is_ipv4(address)]
        self._send(plain, None)
        six = {address for _, address in held if not is_ipv4(address)}
        for mac_address, address in held:
            if address in six:
                self._table.released(mac_address, address)
        await self._release_6(six)

    async def ensure_released(self, taken: Mapping[str, str], barrier: Callable[[], Awaitable[None]]) -> None:
        """An address that changes hands (to the MAC given) must not be held by its old lease: a release is a datagram,
        so look. `barrier` returns when the server has dealt with what came before.
        """
        for _ in range(RELEASE_TRIES):
            held = [(holder, address) for address in taken if (holder := self._holder(address, taken)) is not None]
            unconfirmed = self._unconfirmed & taken.keys()
            if unconfirmed:
                found = leases.parse(await asyncio.to_thread(self._read))
                self._unconfirmed -= unconfirmed - {lease.ip_address for lease in found}
                unconfirmed &= self._unconfirmed
            if not held and not unconfirmed:
                return
            await self.release(held)
            await self._release_6(unconfirmed)
            await barrier()
        log.warning("dnsmasq keeps leases that were released", leases=str(self._path), addresses=[*taken])

    def _holder(self, address: str, taken: Mapping[str, str]) -> str | None:
        holder = self._table.holder(address)
        return holder if holder != taken[address] else None

    async def _release_6(self, addresses: set[str]) -> None:
        if addresses:
            self._unconfirmed |= addresses
            text = await asyncio.to_thread(self._read)
            found = [lease for lease in leases.parse(text) if lease.ip_address in addresses]
            self._send(found, leases.server_duid(text))

    def _send(self, found: Iterable[Lease | Lease6], server_duid: str | None) -> None:
        for lease in found:
            try:
                if isinstance(lease, Lease):
                    server = self._server_of(lease.ip_address)
                    if server is not None and self._releaser is not None:
                        self._releaser.release(lease.mac_address, lease.ip_address, server)
                elif server_duid is not None and self._releaser_6 is not None:
                    self._unconfirmed.add(lease.ip_address)
                    self._releaser_6.release(lease, server_duid)
            except (OSError, ValueError) as error:
                log.warning("lease not released", ip_address=lease.ip_address, error=str(error))

    def _server_of(self, address: str) -> str | None:
        wanted = parse_address(address)
        interfaces = (ip_interface(server) for server in self._servers)
        return next((str(interface.ip) for interface in interfaces if wanted in interface.network), None)

    def _read(self) -> str:
        """The file of a dnsmasq that runs. It rewrites the file in place, so read until two readings agree.

        Blocking, for some milliseconds. An empty file is one that is being written, or one in which nothing ever was.
        """
        text = files.read_text(self._path)
        for _ in range(READ_TRIES):
            time.sleep(READ_PAUSE_S)
            again = files.read_text(self._path)
            if again == text and again:
                break
            text = again
        return text or ""
