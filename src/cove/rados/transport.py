"""How a client reaches its cluster: a `Transport` knows the monitors and who we are, and makes the messenger.

`CephTransport` speaks msgr2 over TCP, with what a ceph.conf and a keyring say; `LoopbackTransport` serves client and
store in one process.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Sequence
from typing import Protocol

from ..messenger import LoopbackMessenger, LoopbackNetwork, Messenger
from ..messenger.tcp import TcpMessenger
from ..wire.types import EntityName, EntityType
from .cephconf import ClusterConf
from .conf import RadosConf
from .errors import NotConnected
from .monauth import ClusterAuth
from .monclient import MonClientConf, Monitor


class Transport(Protocol):
    """What `Rados` needs to connect."""

    name: str
    """Who we are, e.g. `client.admin`."""
    conf: RadosConf
    """Time-outs and limits, as far as they come with the transport."""
    mon_conf: MonClientConf

    async def find_monitors(self) -> Sequence[Monitor]:
        """Where monitors listen. Raises Error if that can't be found out."""

    def create_auth(self) -> ClusterAuth | None:
        """How we show who we are; None where nobody asks."""

    def create_messenger(self, auth: ClusterAuth | None) -> Messenger:
        """A messenger for one client session."""


class LoopbackTransport:
    """To a store in the same process and event loop."""

    def __init__(
        self,
        network: LoopbackNetwork,
        mon_addresses: Sequence[str] = ("mon.0",),
        *,
        name: str = "client.admin",
        mon_conf: MonClientConf | None = None,
    ) -> None:
        self.network = network
        self.mon_addresses = tuple(mon_addresses)
        self.name = name
        self.conf = RadosConf()
        self.mon_conf = mon_conf or MonClientConf()

    async def find_monitors(self) -> Sequence[Monitor]:
        """The given ones."""
        return [Monitor(address) for address in self.mon_addresses]

    def create_auth(self) -> ClusterAuth | None:
        """Nobody asks."""
        return None

    def create_messenger(self, auth: ClusterAuth | None) -> Messenger:
        """Each session gets a number of its own: OSDs tell repeated requests by (client number, tid), also of
        clients that ran before the last restart."""
        return LoopbackMessenger(self.network, EntityName(EntityType.CLIENT, secrets.randbits(62)))


class CephTransport:
    """To a real cluster."""

    def __init__(self, conf: ClusterConf) -> None:
        """Reads the keyring. Raises InvalidArgument, ObjectNotFound (no keyring, and cephx is needed)."""
        self.cluster = conf
        self.name = conf.name
        self.conf = RadosConf.of_cluster(conf)
        self.mon_conf = MonClientConf.from_options(conf.options)
        self._methods, self._key = conf.credentials()

    async def find_monitors(self) -> Sequence[Monitor]:
        """Those of mon_host; host names are looked up, and stand for all of their addresses.

        Raises NotConnected if no name could be resolved.
        """
        found: list[Monitor] = []
        failures: list[str] = []
        loop = asyncio.get_running_loop()
        for host in self.cluster.mon_hosts:
            if host.address is not None:
                found.append(Monitor(str(host.address), host.name))
                continue
            try:
                answers = await loop.getaddrinfo(host.host, host.port, type=socket.SOCK_STREAM)
            except OSError as problem:
                failures.append(f"{host.host}: {problem.strerror or problem}")
                continue
            addresses = dict.fromkeys(str(host.resolved(str(answer[4][0]))) for answer in answers)
            found += [Monitor(address, host.name) for address in addresses]
        if not found:
            raise NotConnected(
                f"no monitor of mon_host has an address ({'; '.join(failures)}); check the names and DNS"
            )
        return found

    def create_auth(self) -> ClusterAuth | None:
        """With the methods, modes and key of the configuration."""
        return ClusterAuth(
            self.name,
            self._key,
            methods=self._methods,
            mon_modes=self.cluster.ms_mon_client_mode,
            service_modes=self.cluster.ms_client_mode,
        )

    def create_messenger(self, auth: ClusterAuth | None) -> Messenger:
        """Our number comes from the monitor."""
        return TcpMessenger(EntityName(EntityType.CLIENT, -1), auth)
