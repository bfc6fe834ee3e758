"""Several scripted monitors and managers on the loopback network, and a MonClient among them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import cast
from uuid import UUID

from cove.messenger import Connection, Dispatcher, LoopbackConnection, LoopbackMessenger, LoopbackNetwork
from cove.rados.mgrclient import MgrClient
from cove.rados.monauth import ClusterAuth
from cove.rados.monclient import MonClient, MonClientConf, Monitor
from cove.rados.monhunt import HuntConf
from cove.wire.address import EntityAddr
from cove.wire.auth import AuthError
from cove.wire.messages import (
    MCommand,
    MConfig,
    Message,
    MMgrCommandReply,
    MMgrMap,
    MMonCommand,
    MMonCommandAck,
    MMonGetVersion,
    MMonGetVersionReply,
    MMonMap,
    MMonSubscribe,
)
from cove.wire.mgrmap import MgrMap, encode_mgrmap
from cove.wire.monmap import MonInfo, MonMap, encode_monmap
from cove.wire.types import EntityName, EntityType

FSID = UUID("00000000-0000-4000-8000-000000000001")
QUICK = MonClientConf(ping_timeout_s=0.0, hunt=HuntConf(interval_s=5.0, pause_s_min=0.001, pause_s_max=0.002))
"""Ticks are made by the tests; the third unanswered keep-alive is the end of a session."""


def mon_address(name: str) -> str:
    return f"v2:127.0.0.{ord(name) - ord('a') + 1}:3300/0"


def monmap_of(names: str, epoch: int = 1) -> MonMap:
    infos = {name: MonInfo(name, (EntityAddr.parse(mon_address(name)),)) for name in names}
    return MonMap(fsid=FSID, epoch=epoch, mon_info=infos, ranks=tuple(names))


class ScriptedMon(Dispatcher):
    """Records all; answers unless told to be silent."""

    def __init__(self, network: LoopbackNetwork, name: str, monmap: MonMap | None) -> None:
        self.name = name
        self.address = mon_address(name)
        self.messenger = LoopbackMessenger(network, EntityName(EntityType.MON, ord(name) - ord("a")))
        self.messenger.add_dispatcher_tail(self)
        self.messenger.bind(self.address)
        self.monmap = monmap
        self.mgrmap = MgrMap()
        self.version = 7
        self.received: list[Message] = []
        self.silent: set[type[Message]] = set()

    def of_type(self, kind: type) -> list:
        return [message for message in self.received if type(message) is kind]

    @property
    def sessions(self) -> list[LoopbackConnection]:
        return list(self.messenger.connections)

    def cut(self) -> None:
        """Lose all connections."""
        for connection in self.sessions:
            connection.cut()

    def tell(self, message: Message) -> None:
        """Send to all clients."""
        for connection in self.sessions:
            connection.send_message(message)

    def tell_monmap(self, monmap: MonMap) -> None:
        self.monmap = monmap
        self.tell(MMonMap(monmap=encode_monmap(monmap)))

    def tell_mgrmap(self, mgrmap: MgrMap) -> None:
        self.mgrmap = mgrmap
        self.tell(MMgrMap(mgrmap=encode_mgrmap(mgrmap)))

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        self.received.append(message)
        if type(message) in self.silent:
            return True
        if isinstance(message, MMonSubscribe):
            if "config" in message.what:
                connection.send_message(MConfig(config={"debug_rados": "0/5"}))
            if "monmap" in message.what and self.monmap and message.what["monmap"].start <= self.monmap.epoch:
                connection.send_message(MMonMap(monmap=encode_monmap(self.monmap)))
            if "mgrmap" in message.what and message.what["mgrmap"].start <= self.mgrmap.epoch:
                connection.send_message(MMgrMap(mgrmap=encode_mgrmap(self.mgrmap)))
        elif isinstance(message, MMonGetVersion):
            connection.send_message(
                MMonGetVersionReply(tid=message.tid, handle=message.handle, version=self.version, oldest_version=1)
            )
        elif isinstance(message, MMonCommand):
            known = "status" in message.cmd[0]
            connection.send_message(
                MMonCommandAck(
                    tid=message.tid,
                    result=0 if known else -22,
                    status="" if known else "command not known",
                    cmd=message.cmd,
                    outdata=b'{"by": "%s"}' % self.name.encode(),
                )
            )
        return True


class ScriptedMgr(Dispatcher):
    """A manager that answers each command with its name, unless it is silent."""

    def __init__(self, network: LoopbackNetwork, name: str, port: int) -> None:
        self.name = name
        self.messenger = LoopbackMessenger(network, EntityName(EntityType.MGR, port))
        self.messenger.add_dispatcher_tail(self)
        self.addr = EntityAddr.of("127.0.0.1", port, port)
        self.messenger.bind(str(self.addr))
        self.received: list[MCommand] = []
        self.silent = False

    def active(self, epoch: int) -> MgrMap:
        """The map in which this one is active."""
        return MgrMap(epoch=epoch, active_addrs=(self.addr,), active_gid=1, available=True, active_name=self.name)

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        assert isinstance(message, MCommand)  # or MMgrCommand, which is one
        self.received.append(message)
        if not self.silent:
            connection.send_message(MMgrCommandReply(tid=message.tid, result=0, outdata=self.name.encode()))
        return True


class Gatekeeper(LoopbackMessenger):
    """A client's messenger on a network where some addresses refuse its logins."""

    def __init__(self, network: LoopbackNetwork) -> None:
        super().__init__(network, EntityName(EntityType.CLIENT, 4242))
        self.denied: set[str] = set()
        self.denials = 0

    def connect_to(self, address: str, peer_type: EntityType) -> Connection:
        if address not in self.denied:
            return super().connect_to(address, peer_type)
        self.denials += 1
        refused = LoopbackConnection(self, EntityName(peer_type, -1), address)
        refused._connected = False
        refused.refused_because = AuthError(f"{address} refuses us with EACCES")
        asyncio.get_running_loop().call_soon(self.dispatch_queue.refused, refused)
        return refused


class Mons:
    """The monitors `names`, of which the client knows `known`."""

    def __init__(
        self, names: str, known: str, conf: MonClientConf, auth: ClusterAuth | None, monmap: MonMap | None
    ) -> None:
        self.network = LoopbackNetwork()
        self.mons = {name: ScriptedMon(self.network, name, monmap) for name in names}
        self.messenger = Gatekeeper(self.network)
        monitors = [Monitor(mon_address(name)) for name in known]
        self.client = MonClient(self.messenger, monitors, auth, conf, Random(1))
        self.mgrclient = MgrClient(self.messenger, self.client)
        self.messenger.add_dispatcher_tail(self.client)
        self.messenger.add_dispatcher_tail(self.mgrclient)

    @property
    def ours(self) -> ScriptedMon:
        """The monitor of the session."""
        assert self.client.connection is not None
        address = self.client.connection.peer_address
        return next(mon for mon in self.mons.values() if mon.address == address)

    @property
    def connection(self) -> LoopbackConnection:
        return cast("LoopbackConnection", self.client.connection)


@asynccontextmanager
async def running_mons(
    names: str = "abc",
    known: str | None = None,
    *,
    conf: MonClientConf = QUICK,
    auth: ClusterAuth | None = None,
    monmap: MonMap | None = None,
    denied: str = "",
) -> AsyncIterator[Mons]:
    """`denied`: the monitors that refuse us."""
    mons = Mons(names, known or names, conf, auth, monmap)
    mons.messenger.denied = {mon_address(name) for name in denied}
    mons.client.start()
    try:
        yield mons
    finally:
        mons.mgrclient.shutdown()
        mons.client.shutdown()
        await mons.messenger.shutdown()
        for mon in mons.mons.values():
            await mon.messenger.shutdown()
