"""TCP on a bad network: bytes one by one, changed, cut and stalled at any place; sessions that survive it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from cove.messenger import Connection
from cove.messenger.limits import TcpLimits
from cove.messenger.tcp import TcpMessenger
from cove.wire.auth import ConnectionMode
from cove.wire.messages import Message
from cove.wire.session import LOSSLESS_CLIENT, STATEFUL_SERVER, STATELESS_REGISTERED_SERVER
from cove.wire.types import EntityName, EntityType

from .proxy import Proxy
from .tcp_peers import WAIT_S, PasswordServer, PasswordSource, Peers, bulk, make

pytestmark = pytest.mark.timeout(60)
both_loops = pytest.mark.parametrize("loop_kind", ["asyncio", "uvloop"])
both_modes = pytest.mark.parametrize("mode", [ConnectionMode.CRC, ConnectionMode.SECURE])

QUICK = TcpLimits(handshake_timeout_s=2.0, reconnect_s_min=0.001, reconnect_s_max=0.01)


def secured(mode: ConnectionMode, **options: Any) -> Peers:
    return Peers(source=PasswordSource(modes=(mode,)), server_auth=PasswordServer, **options)


async def outcome(peers: Peers) -> str:
    """How the client's first connection ended, or that both messages came through."""
    async with asyncio.timeout(WAIT_S):
        at_client = peers.at_client
        await at_client.until(
            lambda: "refused" in at_client.names or "reset" in at_client.names or len(at_client.messages) == 2
        )
    return next((name for name in at_client.names if name in ("refused", "reset")), "done")


def echo(connection: Connection, message: Message) -> None:
    connection.send_message(message)


@both_loops
@both_modes
async def test_bytes_that_come_one_by_one(mode: ConnectionMode, loop_kind: str) -> None:
    async with secured(mode) as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        proxy.to_server.chunk_bytes = proxy.to_client.chunk_bytes = 1
        peers.at_server.answer = echo
        ours = peers.connect()
        for tid in range(5):
            ours.send_message(make(tid, bulk(tid * 100, tid)))
        messages = await peers.at_client.received(5)
        assert [bytes(message.indata) for message in messages] == [bulk(tid * 100, tid) for tid in range(5)]


async def exchange_bytes(mode: ConnectionMode) -> tuple[int, int]:
    """How many bytes go each way when two messages are sent and answered."""
    async with secured(mode) as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        peers.at_server.answer = echo
        ours = peers.connect()
        ours.send_message(make(1, bulk(100)))
        ours.send_message(make(2, bulk(200)))
        await peers.at_client.received(2)
        return proxy.to_server.forwarded, proxy.to_client.forwarded


@both_modes
@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_cut_at_any_byte_is_told_once(mode: ConnectionMode, way: str) -> None:
    total = (await exchange_bytes(mode))[way == "to_client"]
    seen = set()
    for offset in range(0, total, 13):
        async with secured(mode) as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
            peers.via = "127.0.0.1", proxy.port
            getattr(proxy, way).cut_at = offset
            peers.at_server.answer = echo
            ours = peers.connect()
            ours.send_message(make(1, bulk(100)))
            ours.send_message(make(2, bulk(200)))
            result = await outcome(peers)
            seen.add(result)
            assert not ours.is_connected
            assert peers.at_client.names in (["refused"], ["connect", "reset"]), offset
            assert (ours.refused_because is not None) == (result == "refused")
            assert peers.at_client.tids in ([], [1])
            assert peers.at_server.tids in ([], [1], [1, 2])
    assert seen == {"refused", "reset"}


@both_modes
@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_changed_byte_never_becomes_a_message(mode: ConnectionMode, way: str) -> None:
    total = (await exchange_bytes(mode))[way == "to_client"]
    limits = TcpLimits(handshake_timeout_s=0.1)  # a changed length may leave both waiting for more
    for offset in range(0, total, 29):
        async with secured(mode, limits=limits) as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
            peers.via = "127.0.0.1", proxy.port
            getattr(proxy, way).flip_at = offset
            peers.at_server.answer = echo
            ours = peers.connect()
            ours.send_message(make(1, bulk(100)))
            ours.send_message(make(2, bulk(200)))
            await outcome(peers)
            for recorder in (peers.at_server, peers.at_client):
                for message in recorder.messages:
                    assert bytes(message.indata) == bulk(100 * message.tid), offset


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_stall_at_any_step_of_the_handshake_is_a_refusal(way: str) -> None:
    limits = TcpLimits(handshake_timeout_s=0.03)
    for offset in (0, 5, 26, 60, 98, 120, 200, 300):
        peers = secured(ConnectionMode.SECURE, limits=limits)
        async with peers, Proxy("127.0.0.1", peers.address.port) as proxy:
            peers.via = "127.0.0.1", proxy.port
            getattr(proxy, way).stall_at = offset
            ours = peers.connect()
            await peers.at_client.event("refused")
            assert ours.refused_because is not None
            assert not ours.is_connected


# lossless sessions


def lossless_peers(mode: ConnectionMode = ConnectionMode.SECURE, **options: Any) -> Peers:
    return secured(mode, policy=STATEFUL_SERVER, limits=QUICK, server_limits=QUICK, **options)


@both_loops
async def test_a_session_survives_cuts_without_loss_or_repetition(loop_kind: str) -> None:
    count = 400
    chance = random.Random(7)
    async with lossless_peers() as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        peers.at_server.answer = echo
        ours, _ = await peers.connected(policy=LOSSLESS_CLIENT)
        for tid in range(count):
            ours.send_message(make(tid, bulk(tid, tid)))
            if tid % 40 == 20:
                way = chance.choice((proxy.to_server, proxy.to_client))
                await way.reached(way.forwarded + chance.randrange(1, 100))
                proxy.cut()
        await peers.at_client.received(count)
        assert peers.at_server.tids == list(range(count))
        assert peers.at_client.tids == list(range(count))
        assert [bytes(m.indata) for m in peers.at_client.messages] == [bulk(tid, tid) for tid in range(count)]
        assert proxy.accepted > 3
        assert "reset" not in peers.at_client.names + peers.at_server.names
        assert peers.at_server.names == ["accept"], "the peer comes back to its connection"


@pytest.mark.parametrize("what", ["cut_at", "flip_at"])
@pytest.mark.parametrize("mode", [ConnectionMode.CRC, ConnectionMode.SECURE])
@pytest.mark.parametrize("offset", range(500, 3000, 179))
async def test_a_session_survives_harm_at_any_byte_of_its_connections(
    what: str, mode: ConnectionMode, offset: int
) -> None:
    """Each TCP connection is cut or corrupted after so many bytes either way, until all has come through."""
    async with lossless_peers(mode) as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        peers.at_server.answer = echo
        ours, _ = await peers.connected(policy=LOSSLESS_CLIENT)
        for way in (proxy.to_client, proxy.to_server):
            setattr(way, what, offset)

        def enough() -> bool:
            if proxy.accepted > 8:  # offsets within the handshake, and the first ones of the session, never get far
                for way in (proxy.to_client, proxy.to_server):
                    setattr(way, what, None)
            return len(peers.at_client.messages) >= 30

        for tid in range(30):
            ours.send_message(make(tid, bulk(10 * tid, tid)))
        while not enough():
            await asyncio.sleep(0.001)
        for recorder in (peers.at_server, peers.at_client):
            assert recorder.tids == list(range(30))
            assert [bytes(m.indata) for m in recorder.messages] == [bulk(10 * tid, tid) for tid in range(30)]
        assert peers.at_client.names == ["connect"]
        assert peers.at_server.names == ["accept"]
        assert proxy.accepted > 1


async def test_messages_of_the_time_without_a_connection_are_sent_later() -> None:
    async with lossless_peers() as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        ours, theirs = await peers.connected(policy=LOSSLESS_CLIENT)
        proxy.cut()
        async with asyncio.timeout(WAIT_S):
            while ours.is_ready or theirs.is_ready:
                await asyncio.sleep(0)
        assert ours.is_connected
        assert theirs.is_connected
        ours.send_message(make(1))
        theirs.send_message(make(2))
        await peers.at_server.received(1)
        await peers.at_client.received(1)
        assert ours.peer_address == str(peers.address)


async def test_a_server_that_forgot_the_session_resets_it() -> None:
    async with lossless_peers() as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        ours, theirs = await peers.connected(policy=LOSSLESS_CLIENT)
        theirs.mark_down()
        assert await peers.at_client.event("reset") is ours
        await peers.at_client.event("connect", 2)
        assert ours.is_connected
        ours.send_message(make(5))
        await peers.at_server.received(1)
        assert peers.at_server.names == ["accept", "accept"]


async def test_a_session_is_given_up_after_its_time() -> None:
    limits = TcpLimits(reconnect_s_min=0.001, reconnect_s_max=0.01, session_timeout_s=0.05)
    async with secured(ConnectionMode.CRC, policy=STATEFUL_SERVER, limits=limits) as peers:
        ours, theirs = await peers.connected(policy=LOSSLESS_CLIENT)
        for listener in peers.server._listeners:
            listener.close()
        assert theirs._stream is not None
        theirs._stream.fault(ConnectionResetError("for the test"))
        assert await peers.at_client.event("reset") is ours
        assert await peers.at_server.event("reset") is theirs
        assert not ours.is_connected
        assert not theirs.is_connected
        assert not peers.client.connections
        assert not peers.server.connections


async def test_a_lossless_connection_that_never_came_up_is_refused() -> None:
    async with lossless_peers() as peers:
        for listener in peers.server._listeners:
            listener.close()
            await listener.wait_closed()
        ours = peers.connect(policy=LOSSLESS_CLIENT)
        await peers.at_client.event("refused")
        assert isinstance(ours.refused_because, OSError)


async def test_closing_while_it_is_away_stops_the_reconnects() -> None:
    async with lossless_peers() as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        ours, _ = await peers.connected(policy=LOSSLESS_CLIENT)
        proxy.cut()
        async with asyncio.timeout(WAIT_S):
            while ours.is_ready:
                await asyncio.sleep(0)
        ours.mark_down()
        accepted = proxy.accepted
        await asyncio.sleep(0.05)
        assert proxy.accepted == accepted
        assert peers.at_client.names == ["connect"]


async def test_a_peer_that_was_restarted_gets_a_new_connection() -> None:
    """It has another cookie at the same address: what was meant for the old one is told as lost."""
    async with lossless_peers() as peers:
        _, first = await peers.connected(policy=LOSSLESS_CLIENT)
        again = TcpMessenger(
            EntityName(EntityType.CLIENT, -1),
            peers.client.auth_source,
            nonce=peers.client.nonce,
            limits=QUICK,
        )
        again.global_seqs.value = 100
        again.connect_to(str(peers.address), EntityType.OSD, policy=LOSSLESS_CLIENT)
        second = await peers.at_server.event("accept", 2)
        assert peers.at_server.events[1:] == [("reset", first), ("accept", second)]
        assert not first.is_connected
        assert second.is_connected
        await again.shutdown()


async def test_a_registered_client_has_one_connection() -> None:
    async with secured(ConnectionMode.CRC, policy=STATELESS_REGISTERED_SERVER) as peers:
        ours, first = await peers.connected()
        newer, second = await peers.connected()
        assert await peers.at_client.event("reset") is ours
        assert peers.at_server.events == [("accept", first), ("reset", first), ("accept", second)]
        newer.send_message(make(1))
        await peers.at_server.received(1)
        newer.mark_down()
        await peers.at_server.event("reset", 2)
        assert len(peers.server.sessions) == 0
