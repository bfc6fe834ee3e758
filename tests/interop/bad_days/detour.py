"""Detour: a client whose connections to OSDs go through proxies that misbehave on command.

async with detour(cluster) as way:
    way.proxies[0].cut()                    # to osd.0
    await way.client...                     # connected
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from cove.messenger import Messenger
from cove.messenger.tcp import TcpMessenger, direct
from cove.rados import IoCtx, Rados, RadosConf
from cove.rados.cephconf import load_conf
from cove.rados.monauth import ClusterAuth
from cove.rados.transport import CephTransport
from cove.wire.address import EntityAddr
from tests.unit.messenger.proxy import Proxy

from ..ceph_cluster import CephCluster
from ..conftest import POOL

Address = tuple[str, int]


class DetourTransport(CephTransport):
    """A CephTransport that dials a proxy where there is one."""

    def __init__(
        self, conf: Path, proxies: dict[Address, Proxy], name: str = "client.admin", keyring: Path | None = None
    ):
        super().__init__(load_conf(conf, name=name, keyring=keyring))
        self._proxies = proxies

    def create_messenger(self, auth: ClusterAuth | None) -> Messenger:
        messenger = super().create_messenger(auth)
        assert isinstance(messenger, TcpMessenger)
        messenger.route = self._route
        return messenger

    def _route(self, target: EntityAddr) -> Address:
        proxy = self._proxies.get((target.host, target.port))
        return direct(target) if proxy is None else ("127.0.0.1", proxy.port)


class Way:
    """The client, an io context of it, and the proxies, by OSD."""

    def __init__(self, client: Rados, ioctx: IoCtx, proxies: list[Proxy]) -> None:
        self.client = client
        self.ioctx = ioctx
        self.proxies = proxies

    @property
    def accepted(self) -> list[int]:
        """How many connections each OSD's proxy has seen."""
        return [proxy.accepted for proxy in self.proxies]

    def cut(self) -> None:
        """Cut all connections to OSDs."""
        for proxy in self.proxies:
            proxy.cut()


@asynccontextmanager
async def detour(
    cluster: CephCluster,
    *,
    options: dict[str, str] | None = None,
    conf: RadosConf | None = None,
    name: str = "client.admin",
    keyring: Path | None = None,
) -> AsyncIterator[Way]:
    """A client with a proxy before each OSD. `options`: of its ceph.conf. OSDs that restart move away from it."""
    addresses: list[Address] = []
    dump = await asyncio.to_thread(cluster.peer().mon, "osd dump")
    for osd in dump["osds"]:
        host, _, port = osd["public_addrs"]["addrvec"][0]["addr"].rpartition(":")
        addresses.append((host, int(port)))
    path = cluster.client_conf(f"detour-{name}", **(options or {}))
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Proxy(*address)) for address in addresses]
        transport = DetourTransport(path, dict(zip(addresses, proxies, strict=True)), name, keyring)
        client = await stack.enter_async_context(Rados(transport, conf=conf))
        ioctx = await stack.enter_async_context(client.open_ioctx(POOL))
        yield Way(client, ioctx, proxies)
