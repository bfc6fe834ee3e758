"""Logins and tickets: a MonClient and a monitor of ours, over TCP, with cephx and a clock that the test moves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cove.messenger import Connection, Dispatcher
from cove.messenger.tcp import TcpMessenger
from cove.rados import PermissionDenied
from cove.rados.monauth import ClusterAuth
from cove.rados.monclient import MonClient, MonClientConf, Monitor
from cove.rados.monhunt import HuntConf
from cove.wire.address import EntityAddr
from cove.wire.auth import AuthError, AuthMethod, ConnectionMode, NoneClientAuth
from cove.wire.cephx.keys import CryptoKey, KeyType
from cove.wire.cephx.login import Ticket
from cove.wire.cephx.monitor import MonitorAuth
from cove.wire.cephx.server import CephxServer, CephxSettings, Entity
from cove.wire.cephx.service import CephxService
from cove.wire.messages import MAuth, MAuthReply, Message, MMonSubscribe
from cove.wire.session import STATELESS_SERVER
from cove.wire.types import EntityName, EntityType

from .fake import eventually
from .test_monhunt import Dialled

S = 1_000_000_000
CONF = MonClientConf(hunt=HuntConf(pause_s_min=0.001, pause_s_max=0.002))


class Clock:
    """A time that moves only when told."""

    def __init__(self) -> None:
        self.now_ns = 1_800_000_000 * S

    def __call__(self) -> int:
        return self.now_ns


class CephxMon(Dispatcher):
    """A monitor that knows nothing but who may log in."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        settings = CephxSettings(auth_ttl_ns=400 * S, service_ttl_ns=100 * S)
        self.server = CephxServer(clock, os.urandom, settings=settings)
        self.key = CryptoKey.generate(KeyType.AES, os.urandom)
        self.server.put_entity(Entity("client.a", self.key, {"mon": "allow r", "osd": "allow *"}))
        self.server.tick()
        self.logins: list[MonitorAuth] = []
        self.received: list[Message] = []
        self.result: int | None = None
        self.messenger: TcpMessenger

    async def listen(self, address: str = "v2:127.0.0.1:0/0") -> str:
        self.messenger = TcpMessenger(EntityName(EntityType.MON, 0))
        self.messenger.add_dispatcher_tail(self)
        bound = await self.messenger.bind(EntityAddr.parse(address), self._accept, lambda _: STATELESS_SERVER)
        return str(bound)

    def _accept(self) -> MonitorAuth:
        self.logins.append(MonitorAuth(self.server))
        return self.logins[-1]

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        self.received.append(message)
        if isinstance(message, MAuth):
            answer = self.logins[-1].handle_mauth(bytes(message.payload))
            result = answer.result if self.result is None else self.result
            connection.send_message(
                MAuthReply(protocol=2, result=result, global_id=answer.global_id, payload=answer.payload)
            )
        return True

    def renewals(self) -> int:
        return sum(isinstance(message, MAuth) for message in self.received)


class Running:
    """A monitor and a client that is logged in there."""

    def __init__(self, mon: CephxMon, client: MonClient, auth: ClusterAuth, messenger: TcpMessenger) -> None:
        self.mon = mon
        self.client = client
        self.auth = auth
        self.messenger = messenger

    def tickets(self) -> dict[int, Ticket]:
        assert self.auth.cephx is not None
        return dict(self.auth.cephx.tickets)


@asynccontextmanager
async def logged_in(key: CryptoKey | None = None) -> AsyncIterator[Running]:
    mon = CephxMon(Clock())
    address = await mon.listen()
    auth = ClusterAuth("client.a", key or mon.key, methods=(AuthMethod.CEPHX,), now_ns=mon.clock)
    messenger = TcpMessenger(EntityName(EntityType.CLIENT, -1), auth)
    client = MonClient(messenger, [Monitor(address)], auth, CONF)
    messenger.add_dispatcher_tail(client)
    client.start()
    try:
        await client.authenticate(10)
        yield Running(mon, client, auth, messenger)
    finally:
        client.shutdown()
        await messenger.shutdown()
        await mon.messenger.shutdown()


async def test_login_gives_a_number_and_tickets() -> None:
    async with logged_in() as running:
        assert running.auth.global_id == running.mon.logins[-1].global_id
        assert running.messenger.name == EntityName(EntityType.CLIENT, running.auth.global_id)
        assert set(running.tickets()) == {EntityType.AUTH, EntityType.MON, EntityType.OSD, EntityType.MGR}
        await eventually(lambda: any(isinstance(message, MMonSubscribe) for message in running.mon.received))


async def test_a_wrong_key_ends_at_once() -> None:
    with pytest.raises(PermissionDenied, match=r"client\.a was refused .* wrong key or unknown user"):
        async with logged_in(CryptoKey.generate(KeyType.AES, os.urandom)):
            pass


async def test_tickets_are_renewed_before_they_expire() -> None:
    async with logged_in() as running:
        clock, before = running.mon.clock, running.tickets()
        running.client.tick()
        assert 74 < running.auth.renewal_due_in_s() <= 75
        clock.now_ns += 74 * S
        running.client.tick()
        clock.now_ns += 2 * S
        assert running.mon.renewals() == 0
        running.client.tick()
        await eventually(lambda: running.auth.renewal_due_in_s() > 0 and running.mon.renewals())
        after = running.tickets()
        assert running.mon.renewals() == 1
        assert after[EntityType.OSD] != before[EntityType.OSD]
        assert after[EntityType.AUTH] == before[EntityType.AUTH]

        clock.now_ns += 230 * S  # the ticket that opens the others is due as well
        running.client.tick()
        await eventually(lambda: running.tickets()[EntityType.AUTH] != before[EntityType.AUTH])
        await eventually(lambda: running.tickets()[EntityType.OSD] != after[EntityType.OSD])
        assert len(running.mon.logins) == 1, "all on the open session"


async def test_a_refused_renewal_leads_to_a_new_login_with_the_same_number() -> None:
    async with logged_in() as running:
        number = running.auth.global_id
        running.mon.result = -13
        running.mon.clock.now_ns += 80 * S
        running.client.tick()
        await eventually(lambda: len(running.mon.logins) == 2 and running.client.is_open)
        assert running.auth.global_id == number
        assert running.auth.renewal_due_in_s() > 0


async def test_a_refused_ticket_is_renewed_once() -> None:
    async with logged_in() as running:
        osd = Dialled("v2:127.0.0.1:6800/1")
        osd.peer_type = EntityType.OSD
        osd.refused_because = AuthError("unknown secret")
        before = running.tickets()
        for _ in range(3):
            running.client.ms_handle_refused(osd)
        old_key = before[EntityType.OSD].session_key
        await eventually(lambda: running.tickets()[EntityType.OSD].session_key != old_key)
        assert running.mon.renewals() == 1
        osd.peer_type = EntityType.MDS
        running.client.ms_handle_refused(osd)
        assert running.mon.renewals() == 1


async def test_a_monitor_that_has_lost_its_secrets_gets_a_new_client() -> None:
    async with logged_in() as running:
        first = running.auth.global_id
        mon = running.mon
        mon.server = CephxServer(mon.clock, os.urandom)
        mon.server.put_entity(Entity("client.a", mon.key, {"mon": "allow r"}))
        mon.server.tick()
        for _ in range(50):
            mon.server.new_global_id()
        for connection in list(mon.messenger.connections):
            connection.mark_down()
        await eventually(lambda: running.client.is_open and running.auth.global_id != first)
        assert running.messenger.name.number == running.auth.global_id
        assert len(mon.logins) > 8


async def test_authorizers() -> None:
    async with logged_in() as running:
        secrets = running.mon.server.rotating_secrets
        osd = TcpMessenger(EntityName(EntityType.OSD, 0))
        service = CephxService(EntityType.OSD, lambda: secrets(EntityType.OSD), os.urandom)
        addr = await osd.bind(EntityAddr.parse("v2:127.0.0.1:0/0"), service.accept, lambda _: STATELESS_SERVER)
        connection = running.messenger.connect_to(str(addr), EntityType.OSD)
        await eventually(lambda: connection.is_ready)
        assert connection.mode == ConnectionMode.CRC
        (accepted,) = osd.connections
        assert accepted.peer_name == EntityName(EntityType.CLIENT, running.auth.global_id)
        await osd.shutdown()
        connection.peer_type = EntityType.MDS
        with pytest.raises(AuthError, match="no ticket for service mds"):
            running.auth.client_auths(connection)


def test_methods_without_a_key_and_with_none() -> None:
    mon, osd = Dialled("v2:127.0.0.1:3300/0"), Dialled("v2:127.0.0.1:6800/1")
    osd.peer_type = EntityType.OSD
    auth = ClusterAuth("client.a", None)
    (method,) = auth.client_auths(mon)
    assert isinstance(method, NoneClientAuth)
    mon.global_id = 4711
    auth.adopt(mon)
    assert auth.global_id == 4711
    (method,) = auth.client_auths(osd)
    assert isinstance(method, NoneClientAuth)
    assert method.global_id == 4711
    assert auth.renewal_due_in_s() == float("inf")
    assert auth.renewal_request(1) is None
    key = CryptoKey.generate(KeyType.AES, os.urandom)
    both = ClusterAuth("client.a", key)
    assert [method.method for method in both.client_auths(mon)] == [AuthMethod.CEPHX, AuthMethod.NONE]
    assert [method.method for method in both.client_auths(osd)] == [AuthMethod.NONE], "no ticket: the login was by none"
    assert "hidden" in repr(both.cephx.key if both.cephx else "")


async def test_logins_that_came_to_nothing_are_dropped() -> None:
    auth = ClusterAuth("client.a", CryptoKey.generate(KeyType.AES, os.urandom))
    for number in range(10):
        connection = Dialled(f"v2:127.0.0.1:{number}/0")
        auth.client_auths(connection)
        connection.mark_down()
    assert len(auth._logins) == 1
    auth.forget(connection)
    assert not auth._logins
    await asyncio.sleep(0)
