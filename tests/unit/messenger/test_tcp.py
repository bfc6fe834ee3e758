"""TCP between two messengers of ours: messages, who is told what, refusals, limits."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from cove.messenger import Connection
from cove.messenger.limits import TcpLimits
from cove.messenger.tcp import TcpMessenger
from cove.messenger.tcp_connection import IDLE_CHECKS, SendQueueFull
from cove.messenger.tcp_stream import TcpFault, TcpStream
from cove.wire.address import EntityAddr
from cove.wire.auth import AuthError, ConnectionMode, ServerAuth
from cove.wire.errors import PeerError, UsageError
from cove.wire.message_codec import MessageParts
from cove.wire.messages import Message
from cove.wire.types import EntityName, EntityType

from .proxy import Proxy
from .tcp_peers import (
    GLOBAL_ID,
    WAIT_S,
    NobodySource,
    NoneServer,
    NoneSource,
    PasswordServer,
    PasswordSource,
    Peers,
    Recorder,
    bulk,
    make,
)

pytestmark = [
    pytest.mark.parametrize("loop_kind", ["asyncio", "uvloop"]),
    pytest.mark.timeout(30),
]

MODES: dict[str, tuple[Any, Callable[[], ServerAuth], ConnectionMode]] = {
    "none": (NoneSource(), NoneServer, ConnectionMode.CRC),
    "password, crc": (PasswordSource(modes=(ConnectionMode.CRC,)), PasswordServer, ConnectionMode.CRC),
    "password, secure": (PasswordSource(), PasswordServer, ConnectionMode.SECURE),
}


def peers_of(kind: str, **options: Any) -> Peers:
    source, server, _ = MODES[kind]
    return Peers(source=source, server_auth=server, **options)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# messages


@pytest.mark.parametrize("kind", MODES)
async def test_both_ends_know_each_other_once_it_is_up(kind: str) -> None:
    async with peers_of(kind) as peers:
        ours, theirs = await peers.connected()
        assert (peers.at_client.names, peers.at_server.names) == (["connect"], ["accept"])
        assert ours.peer_name == EntityName(EntityType.OSD, 3)
        assert ours.peer_address == str(peers.address)
        assert ours.global_id == theirs.global_id == GLOBAL_ID
        assert ours.mode == theirs.mode == MODES[kind][2]
        assert theirs.peer_type == theirs.peer_name.type == EntityType.CLIENT
        assert ours.features == theirs.features != 0
        assert peers.address in ours.peer_addrs
        assert theirs.peer_addrs == peers.client.my_addrs
        assert ours.is_connected
        assert theirs.is_connected
        assert ours.refused_because is None


@pytest.mark.parametrize("kind", MODES)
async def test_messages_arrive_in_order_and_intact_both_ways(kind: str) -> None:
    sizes = [0, 1, 47, 48, 49, 4096, 70_000, 4 << 20, 5, 1 << 20]
    async with peers_of(kind) as peers:
        peers.at_server.answer = lambda connection, message: connection.send_message(message)
        ours = peers.connect()
        for tid, size in enumerate(sizes):
            ours.send_message(make(tid, bulk(size, tid), words=["x" * tid]))
        for recorder in (peers.at_server, peers.at_client):
            messages = await recorder.received(len(sizes))
            assert [message.tid for message in messages] == list(range(len(sizes)))
            for tid, (message, size) in enumerate(zip(messages, sizes, strict=True)):
                assert bytes(message.indata) == bulk(size, tid)
                assert message.cmd == ["x" * tid]


async def test_many_small_messages_in_one_turn_leave_in_few_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peers() as peers:
        ours, _ = await peers.connected()
        writes: list[int] = []
        flush = TcpStream.flush

        def counted(stream: TcpStream) -> None:
            writes.append(1)
            flush(stream)

        monkeypatch.setattr(TcpStream, "flush", counted)
        for tid in range(1000):
            ours.send_message(make(tid))
        assert len(writes) <= 1, "after the first it is not written before the caller gives way"
        await peers.at_server.received(1000)
        assert peers.at_server.tids == list(range(1000))
        assert len(writes) < 30


async def test_a_burst_lets_other_tasks_run() -> None:
    limits = TcpLimits(messages_per_turn=16)
    async with Peers(server_limits=limits) as peers:
        ours, _ = await peers.connected()
        for tid in range(500):
            ours.send_message(make(tid))
        seen = set()
        while len(peers.at_server.messages) < 500:
            await asyncio.sleep(0)
            seen.add(len(peers.at_server.messages))
        assert len(seen) >= 500 // 16
        assert peers.at_server.tids == list(range(500))


async def test_messages_before_the_end_are_delivered_though_they_wait_for_their_turn() -> None:
    async with Peers(server_limits=TcpLimits(messages_per_turn=1)) as peers:
        ours, _ = await peers.connected()
        for tid in range(100):
            ours.send_message(make(tid))
        await turns(2)
        ours.mark_down()
        await peers.at_server.event("reset")
        tids = peers.at_server.tids
        assert tids == list(range(len(tids)))


async def test_sending_to_oneself_in_dispatch_keeps_the_order() -> None:
    async with Peers() as peers:

        def twice(connection: Connection, message: Message) -> None:
            connection.send_message(make(message.tid * 2))
            connection.send_message(make(message.tid * 2 + 1))

        peers.at_server.answer = twice
        ours, _ = await peers.connected()
        for tid in range(50):
            ours.send_message(make(tid))
        await peers.at_client.received(100)
        assert peers.at_client.tids == list(range(100))


async def test_a_message_that_does_not_decode_is_a_fault_that_names_it() -> None:
    with structlog.testing.capture_logs() as logs:
        async with Peers() as peers:
            ours, _ = await peers.connected()
            assert ours._link is not None
            assert ours._stream is not None
            ours._link.send_message(MessageParts(60_001, 1, 127, 1, 1, 0, b"??", b"", ()))
            ours._stream.send()
            await peers.at_server.event("reset")
            await peers.at_client.event("reset")
            assert not ours.is_connected
    assert [entry["event"] for entry in logs] == ["connection_lost", "connection_lost"], "once at each end"
    assert "60001" in logs[0]["reason"]
    assert logs[1]["reason"] == "the peer closed the connection"


async def test_a_message_that_cannot_be_encoded_is_the_callers_error() -> None:
    async with Peers() as peers:
        ours, _ = await peers.connected()
        with pytest.raises(UsageError):
            ours.send_message(make(1, bytes((128 << 20) + 1)))
        ours.send_message(make(1))
        await peers.at_server.received(1)


# refusals


async def test_nobody_listens() -> None:
    async with Peers() as peers:
        await peers.server.shutdown()
        ours = peers.connect()
        ours.send_message(make(1))
        assert await peers.at_client.event("refused") is ours
        assert isinstance(ours.refused_because, OSError)
        assert ours.refused_because.errno == errno.ECONNREFUSED
        assert not ours.is_connected
        ours.send_message(make(2))
        assert peers.at_client.names == ["refused"]


@pytest.mark.parametrize("address", ["", "mon.0", "v1:127.0.0.1:1/0", "v2:127.0.0.1:99999/0", "v2:host.invalid:1/0"])
async def test_an_address_that_makes_no_sense_is_refused(address: str) -> None:
    async with Peers() as peers:
        ours = peers.client.connect_to(address, EntityType.OSD)
        assert peers.at_client.names == [], "nobody is told before connect_to has returned"
        await peers.at_client.event("refused")
        assert isinstance(ours.refused_because, UsageError | PeerError)


async def test_another_incarnation_at_the_port_is_refused() -> None:
    async with Peers() as peers:
        ours = peers.client.connect_to(str(peers.address._replace(nonce=peers.address.nonce ^ 1)), EntityType.OSD)
        await peers.at_client.event("refused")
        assert ours.refused_because is not None
        assert peers.at_server.events == []


async def test_another_kind_of_peer_is_refused() -> None:
    async with Peers() as peers:
        ours = peers.client.connect_to(str(peers.address), EntityType.MON)
        await peers.at_client.event("refused")
        assert isinstance(ours.refused_because, PeerError)


async def test_a_wrong_password_is_told_with_its_result() -> None:
    async with Peers(source=PasswordSource(b"wrong"), server_auth=PasswordServer) as peers:
        ours = peers.connect()
        await peers.at_client.event("refused")
        assert isinstance(ours.refused_because, AuthError)
        assert ours.refused_because.result == -errno.EACCES


async def test_a_method_that_the_peer_does_not_take_is_told() -> None:
    async with Peers(source=NoneSource(), server_auth=PasswordServer) as peers:
        ours = peers.connect()
        await peers.at_client.event("refused")
        assert isinstance(ours.refused_because, AuthError)
        assert ours.refused_because.result == -errno.EOPNOTSUPP


@pytest.mark.parametrize("source", [None, NobodySource()])
async def test_without_a_way_to_authenticate_nothing_is_dialled(source: Any) -> None:
    async with Peers() as peers:
        peers.client.auth_source = source
        ours = peers.connect()
        await peers.at_client.event("refused")
        assert isinstance(ours.refused_because, AuthError)


async def test_a_source_that_raises_is_told() -> None:
    class NoTicket:
        def client_auths(self, connection: Connection) -> Any:
            raise AuthError("no ticket for the OSDs")

    async with Peers(source=NoTicket()) as peers:
        ours = peers.connect()
        await peers.at_client.event("refused")
        assert str(ours.refused_because) == "no ticket for the OSDs"


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with Peers(limits=TcpLimits(handshake_timeout_s=0.05)) as peers:
        peers.via = server.sockets[0].getsockname()
        ours = peers.connect()
        await peers.at_client.event("refused")
        assert "0.05 s" in str(ours.refused_because)
    server.close()


@pytest.mark.parametrize("said", [b"", b"ceph v2\n\x10\x00" + bytes(16), b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_client_that_stops_in_its_handshake_is_closed(said: bytes) -> None:
    async with Peers(server_limits=TcpLimits(handshake_timeout_s=0.05)) as peers:
        reader, writer = await asyncio.open_connection("127.0.0.1", peers.address.port)
        writer.write(said)
        async with asyncio.timeout(WAIT_S):
            try:
                while await reader.read(65536):
                    pass
            except ConnectionResetError:
                pass
        writer.close()
        assert peers.at_server.events == []
        await turns()
        assert not peers.server.streams


# limits


async def test_what_waits_for_the_connection_is_bounded_in_number() -> None:
    async with Peers(limits=TcpLimits(queued_messages_max=3)) as peers:
        ours = peers.connect()
        for tid in range(3):
            ours.send_message(make(tid))
        with pytest.raises(SendQueueFull, match="3 messages"):
            ours.send_message(make(3))
        await peers.at_server.received(3)
        ours.send_message(make(4))
        await peers.at_server.received(4)
        assert peers.at_server.tids == [0, 1, 2, 4]


async def test_what_waits_for_the_connection_is_bounded_in_bytes() -> None:
    async with Peers(limits=TcpLimits(queued_bytes_max=1000)) as peers:
        ours = peers.connect()
        ours.send_message(make(1, bytes(900)))
        with pytest.raises(SendQueueFull, match="900 bytes"):
            ours.send_message(make(2, bytes(101)))
        ours.send_message(make(3, bytes(100)))
        await peers.at_server.received(2)


async def test_a_peer_that_does_not_read_costs_bounded_memory() -> None:
    limits = TcpLimits(held_bytes_max=8 << 20, transport_bytes_high=1 << 20)
    async with Peers(limits=limits) as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        ours, _ = await peers.connected()
        proxy.to_server.stall()
        block = bulk(1 << 20)
        most = 0
        for tid in range(200):
            ours.send_message(make(tid, block))
            await turns(2)
            most = max(most, ours.unsent_bytes)
            if not ours.is_connected:
                break
        assert peers.at_client.names == ["connect", "reset"]
        assert most <= (8 + 1 + 2) << 20
        assert ours.unsent_bytes == 0


async def test_a_peer_that_reads_late_gets_everything() -> None:
    limits = TcpLimits(held_bytes_max=256 << 20, transport_bytes_high=1 << 16)
    async with Peers(limits=limits) as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        ours, _ = await peers.connected()
        proxy.to_server.stall()
        block = bulk(1 << 20)
        for tid in range(30):
            ours.send_message(make(tid, block))
            ours.send_message(make(1000 + tid))
            await turns(2)
        assert ours.unsent_bytes > 8 << 20
        proxy.to_server.go()
        messages = await peers.at_server.received(60)
        assert [message.tid for message in messages[::2]] == list(range(30))
        assert [message.tid for message in messages[1::2]] == list(range(1000, 1030))
        assert all(bytes(message.indata) == block for message in messages[::2])
        assert ours.unsent_bytes == 0


async def test_more_connections_than_allowed_are_closed() -> None:
    async with Peers(server_limits=TcpLimits(accepted_max=2)) as peers:
        first, _ = await peers.connected()
        await peers.connected()
        third = peers.connect()
        await peers.at_client.event("refused")
        assert not third.is_connected
        assert first.is_connected
        first.mark_down()
        await peers.at_server.event("reset")
        await turns()
        await peers.connected()


# keep-alive and idle


async def test_a_keepalive_is_answered() -> None:
    async with Peers() as peers:
        ours, theirs = await peers.connected()
        for one, other in ((ours, theirs), (theirs, ours)):
            assert one.last_keepalive_ack_s == 0
            before_s = asyncio.get_running_loop().time()
            one.send_keepalive()
            async with asyncio.timeout(WAIT_S):
                while not one.last_keepalive_ack_s:
                    await asyncio.sleep(0)
            assert before_s <= one.last_keepalive_ack_s <= asyncio.get_running_loop().time()
            assert other.is_connected


async def test_a_keepalive_before_it_is_up_or_after_it_is_closed_does_nothing() -> None:
    async with Peers() as peers:
        ours = peers.connect()
        ours.send_keepalive()
        await peers.at_client.event("connect")
        ours.mark_down()
        ours.send_keepalive()


async def test_a_silent_peer_is_given_up() -> None:
    async with Peers(limits=TcpLimits(idle_timeout_s=0.1), server_limits=TcpLimits()) as peers:
        ours, _ = await peers.connected()
        await peers.at_client.event("reset")
        assert not ours.is_connected


async def test_a_peer_that_speaks_is_not_silent() -> None:
    async with Peers(limits=TcpLimits(idle_timeout_s=1000.0)) as peers:
        ours, theirs = await peers.connected()

        def check() -> None:  # what the timer does four times in 1000 s
            ours._stop_timer()
            ours._check_idle()

        for tid in range(3 * IDLE_CHECKS):
            theirs.send_message(make(tid))
            await peers.at_client.received(tid + 1)
            check()
            assert ours.is_connected
        for _ in range(IDLE_CHECKS - 1):
            check()
        assert ours.is_connected
        check()
        assert not ours.is_connected
        assert peers.at_client.names == ["connect", "reset"]


# binding


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with Peers() as peers:
        other = TcpMessenger(EntityName(EntityType.OSD, 4))
        with pytest.raises(OSError):
            await other.bind(EntityAddr.of("127.0.0.1", peers.address.port), NoneServer, lambda peer: peers._policy)
        await other.shutdown()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
async def test_an_address_that_cannot_be_dialled_is_an_error(host: str) -> None:
    async with Peers() as peers:
        with pytest.raises(UsageError):
            await peers.server.bind(EntityAddr.of(host, 0), NoneServer, lambda peer: peers._policy)


async def test_ipv6() -> None:
    async with Peers() as peers:
        try:
            address = await peers.server.bind(EntityAddr.of("::1", 0), NoneServer, lambda peer: peers._policy)
        except OSError:
            pytest.skip("no IPv6 here")
        ours = peers.client.connect_to(str(address), EntityType.OSD)
        ours.send_message(make(1))
        await peers.at_server.received(1)


async def test_nothing_is_opened_after_shutdown() -> None:
    async with Peers() as peers:
        await peers.client.shutdown()
        with pytest.raises(UsageError):
            peers.connect()
        await peers.client.shutdown()


# closing


async def test_closing_tells_the_peer_and_not_ourselves() -> None:
    async with Peers() as peers:
        ours, theirs = await peers.connected()
        ours.mark_down()
        assert not ours.is_connected
        assert await peers.at_server.event("reset") is theirs
        assert not theirs.is_connected
        theirs.send_message(make(1))
        ours.mark_down()
        await turns()
        assert peers.at_client.names == ["connect"]
        assert peers.at_server.names == ["accept", "reset"]


async def test_a_dispatcher_may_close_the_connection_of_its_message() -> None:
    async with Peers() as peers:
        peers.at_server.answer = lambda connection, message: connection.mark_down()
        ours, _ = await peers.connected()
        for tid in range(10):
            ours.send_message(make(tid))
        await peers.at_client.event("reset")
        assert peers.at_server.tids == [0], "what came after the close is not delivered"


async def test_a_dispatcher_may_close_a_connection_that_has_just_come_up() -> None:
    async with Peers() as peers:

        class Closer(Recorder):
            def ms_handle_connect(self, connection: Connection) -> None:
                connection.mark_down()

        peers.client.add_dispatcher_head(Closer())
        ours = peers.connect()
        ours.send_message(make(1))
        await peers.at_server.event("accept")
        await peers.at_server.event("reset")
        assert not ours.is_connected


STEPS = [0, 1, 8, 26, 60, 98, 100, 140, 180, 240, 280, 340, 420, 500, 620]


@pytest.mark.parametrize("end", ["mark_down", "shutdown"])
@pytest.mark.parametrize("forwarded", [*STEPS, None])
async def test_ending_in_any_phase_is_quiet_and_leaves_nothing(end: str, forwarded: int | None) -> None:
    before = len(os.listdir("/proc/self/fd"))
    tasks = len(asyncio.all_tasks())
    async with Peers() as peers, Proxy("127.0.0.1", peers.address.port) as proxy:
        peers.via = "127.0.0.1", proxy.port
        proxy.to_server.stall_at = proxy.to_client.stall_at = forwarded
        ours = peers.connect()
        ours.send_message(make(1))
        if forwarded is None:
            await peers.at_server.received(1)
        elif forwarded:
            # either way may be the first that has so many bytes
            ways = [asyncio.ensure_future(way.reached(forwarded)) for way in (proxy.to_server, proxy.to_client)]
            await asyncio.wait(ways, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        known = list(peers.at_client.names)
        if end == "mark_down":
            ours.mark_down()
        else:
            async with asyncio.timeout(WAIT_S):
                await peers.client.shutdown()
            assert not peers.client.streams
        assert not ours.is_connected
        await turns()
        assert peers.at_client.names == known
        assert not peers.client.connections
    await turns()
    assert len(asyncio.all_tasks()) == tasks
    assert len(os.listdir("/proc/self/fd")) <= before + 3, "an event loop's own descriptors at most"


async def test_ending_at_once_before_the_dial_begins() -> None:
    async with Peers() as peers:
        peers.connect().mark_down()
        await turns()
        assert peers.at_client.events == []
        assert not peers.client.streams


async def test_faults_are_peer_errors() -> None:
    assert issubclass(TcpFault, PeerError)


async def test_a_server_ends_what_is_in_its_handshake() -> None:
    async with Peers() as peers:
        reader, writer = await asyncio.open_connection("127.0.0.1", peers.address.port)
        assert await reader.readexactly(8) == b"ceph v2\n"
        async with asyncio.timeout(WAIT_S):
            await peers.server.shutdown()
            assert not peers.server.streams
            await reader.read()
        writer.close()


async def test_the_time_for_the_handshake_ends_with_it() -> None:
    async with Peers(limits=TcpLimits(idle_timeout_s=0)) as peers:
        ours, theirs = await peers.connected()
        assert ours._timer is None
        assert theirs._timer is None
        assert not peers.server._listeners[0]._timers


async def test_a_backlog_stops_the_reading() -> None:
    async with Peers(server_limits=TcpLimits(messages_per_turn=1)) as peers:
        ours, theirs = await peers.connected()
        block = bulk(1 << 16)
        for tid in range(200):
            ours.send_message(make(tid, block))
        assert theirs._stream is not None
        most = 0
        while len(peers.at_server.messages) < 200:
            await asyncio.sleep(0)
            most = max(most, len(theirs._stream._backlog))
        assert 1 <= most <= 16, "what one or two reads bring"


async def test_a_fault_before_the_dial_has_returned_closes_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    made = TcpStream.connection_made

    def slowly(stream: TcpStream, transport: asyncio.BaseTransport) -> None:
        made(stream, transport)
        accepted, _ = listening.accept()
        accepted.sendall(b"GET / HTTP/1.1\r\n\r\n")  # there before the event loop looks
        accepted.close()

    monkeypatch.setattr(TcpStream, "connection_made", slowly)
    async with Peers() as peers:
        peers.via = listening.getsockname()
        ours = peers.connect()
        await peers.at_client.event("refused")
        assert isinstance(ours.refused_because, PeerError)
        async with asyncio.timeout(WAIT_S):
            await peers.client.shutdown()
        assert not peers.client.streams
    listening.close()
