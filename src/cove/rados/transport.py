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
from .dns_srv import monitors_by_dns
from .errors import NotConnected
from .monauth import ClusterAuth
from .monclient import MonClientConf, Monitor
from .monhosts import MonHost

LOOKUP_TIMEOUT_S = 8.0
"""For one host name of mon_host, all being looked up at once: a dead name server must not hide the other monitors."""


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
        """Those of mon_host; host names are looked up, and stand for all of their addresses. Without it, those that
        DNS has for the service `mon_dns_srv_name`.

        A name that takes too long is left out. Raises NotConnected if no name could be resolved, InvalidArgument if
        neither the configuration nor DNS has any monitor.
        """
        if not self.cluster.mon_hosts:
            return await monitors_by_dns(self.cluster.mon_dns_srv_name, self.cluster.source)
        failures: list[str] = []
        answers = await asyncio.gather(*(_addresses_of(host, failures) for host in self.cluster.mon_hosts))
        found = [
            Monitor(address, host.name)
            for host, addresses in zip(self.cluster.mon_hosts, answers, strict=True)
            for address in addresses
        ]
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


async def _addresses_of(host: MonHost, failures: list[str]) -> list[str]:
    """A monitor's addresses; if its name can't be resolved, none, and why in `failures`."""
    if host.address is not None:
        return [str(host.address)]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            answers = await loop.getaddrinfo(host.host, host.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        failures.append(f"{host.host}: no answer within {LOOKUP_TIMEOUT_S:g} s")
        return []
    except (OSError, UnicodeError) as problem:  # UnicodeError: no name of a host
        failures.append(f"{host.host}: {getattr(problem, 'strerror', None) or problem}")
        return []
    return list(dict.fromkeys(str(host.resolved(str(answer[4][0]))) for answer in answers))
