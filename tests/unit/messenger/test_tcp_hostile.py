"""TCP with peers that mean harm, and with dispatchers that do the unexpected at the worst time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cove.messenger import Connection
from cove.messenger.limits import TcpLimits
from cove.messenger.tcp import TcpMessenger
from cove.messenger.tcp_connection import TcpConnection
from cove.messenger.tcp_stream import TcpFault, TcpStream
from cove.wire import control
from cove.wire.address import EntityAddr
from cove.wire.errors import UsageError
from cove.wire.frames import FrameWriter, Tag
from cove.wire.handshake import BANNER
from cove.wire.message_codec import decode_message
from cove.wire.messages import Message
from cove.wire.session import LOSSLESS_CLIENT, STATEFUL_SERVER
from cove.wire.types import EntityName, EntityType

from .tcp_peers import WAIT_S, Peers, bulk, make

pytestmark = pytest.mark.timeout(60)
both_loops = pytest.mark.parametrize("loop_kind", ["asyncio", "uvloop"])

ONE_A_TURN = TcpLimits(messages_per_turn=1, reconnect_s_min=0.001, reconnect_s_max=0.01)


def stream_of(connection: TcpConnection) -> TcpStream:
    assert connection._stream is not None
    return connection._stream


async def end_of(reader: asyncio.StreamReader) -> int:
    """Read until the peer closes; how many bytes there were."""
    total = 0
    async with asyncio.timeout(WAIT_S):
        try:
            while data := await reader.read(1 << 16):
                total += len(data)
        except ConnectionResetError:
            pass
    return total


# before anybody has proved who they are


@both_loops
async def test_strangers_do_not_keep_others_out(loop_kind: str) -> None:
    """Those who take the longest over their handshake make room for who comes."""
    limits = TcpLimits(handshakes_max=3, accepted_max=8, handshake_timeout_s=WAIT_S)
    async with Peers(server_limits=limits) as peers:
        idle = [await asyncio.open_connection("127.0.0.1", peers.address.port) for _ in range(3)]
        for reader, _ in idle:
            assert await reader.readexactly(8) == b"ceph v2\n"
        await peers.connected()
        await end_of(idle[0][0])
        assert len(peers.server.streams) == 3
        for _, writer in idle:
            writer.close()
        await peers.connected()


@both_loops
async def test_a_stranger_costs_little_memory(loop_kind: str) -> None:
    """A signature covers all that was received, so all of it is kept: that is not to be much."""
    limits = TcpLimits(handshake_bytes_max=1 << 17, handshake_timeout_s=WAIT_S)
    async with Peers(server_limits=limits) as peers:
        reader, writer = await asyncio.open_connection("127.0.0.1", peers.address.port)
        assert await reader.readexactly(8) == b"ceph v2\n"
        (stream,) = peers.server.streams
        assert stream.link is not None
        frames = stream.link._channel.reader
        hello = control.Hello(EntityType.CLIENT, peers.address)
        request = control.AuthRequest(99, [1], bytes(60000))
        writer.write(BANNER + b"".join(FrameWriter().frame(Tag.HELLO, (hello.to_bytes(),))))
        try:
            for _ in range(32):
                writer.writelines(FrameWriter().frame(Tag.AUTH_REQUEST, (request.to_bytes(),)))
                await writer.drain()
        except ConnectionError:
            pass
        await end_of(reader)
        writer.close()
        assert stream.is_closed
        assert frames.transcript is not None
        assert 0 < len(frames.transcript) <= (1 << 17) + (1 << 18), "what is allowed, and one read"


async def test_who_connects_during_the_shutdown_is_closed() -> None:
    async with Peers() as peers:
        (listener,) = peers.server._listeners
        other = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        await peers.server.shutdown()
        # what the event loop had accepted before the listening socket was closed
        await asyncio.get_running_loop().create_connection(listener._accept, *other.sockets[0].getsockname())
        assert not listener._timers
        async with asyncio.timeout(WAIT_S):
            while peers.server.streams:
                await asyncio.sleep(0)
        other.close()


async def test_listening_that_begins_during_the_shutdown_ends() -> None:
    messenger = TcpMessenger(EntityName(EntityType.OSD, 1))
    listening = asyncio.ensure_future(
        messenger.bind(EntityAddr.of("127.0.0.1", 0), lambda: None, lambda _: STATEFUL_SERVER)  # type: ignore[arg-type, return-value]
    )
    while not messenger._listeners and not listening.done():
        await asyncio.sleep(0)
        messenger._stopped = True
    with pytest.raises(UsageError, match="shut down"):
        await listening
    assert not messenger._listeners


# nothing is lost


COUNT = 500


async def abandon(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> TcpConnection:
    """COUNT messages are sent and the socket is given up, of which the server does not hear, nor do its turns come."""
    ours, theirs = await peers.connected(policy=LOSSLESS_CLIENT)
    first = stream_of(theirs)
    for name in ("_read_on", "eof_received", "connection_lost"):
        usual = getattr(TcpStream, name)

        def unless_first(stream: TcpStream, *args: Any, usual: Callable[..., Any] = usual) -> Any:
            return None if stream is first else usual(stream, *args)

        monkeypatch.setattr(TcpStream, name, unless_first)
    for tid in range(COUNT):
        ours.send_message(make(tid))
    await peers.at_server.received(1)
    assert first._backlog
    stream_of(ours).fault(TcpFault("for the test"))
    # for the shutdown's sake, which waits for sockets
    peers.server.streams.discard(first)
    return theirs


async def test_what_an_abandoned_socket_brought_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer comes back on another socket while messages of the first, counted as received, wait for their turn."""
    async with Peers(policy=STATEFUL_SERVER, limits=ONE_A_TURN, server_limits=ONE_A_TURN) as peers:
        theirs = await abandon(peers, monkeypatch)
        await peers.at_server.received(COUNT)
        assert peers.at_server.tids == list(range(COUNT))
        assert peers.at_server.names == ["accept"]
        assert theirs.is_connected


@pytest.mark.parametrize("how", ["now", "soon"])
async def test_a_fault_of_ours_does_not_lose_what_was_received(how: str) -> None:
    async with Peers(policy=STATEFUL_SERVER, limits=ONE_A_TURN, server_limits=ONE_A_TURN) as peers:
        ours, theirs = await peers.connected(policy=LOSSLESS_CLIENT)
        peers.at_server.answer = lambda connection, message: connection.send_message(message)
        first = stream_of(theirs)
        count = 600
        for tid in range(count):
            ours.send_message(make(tid))
        await peers.at_server.received(1)
        assert first._backlog
        (first.fault if how == "now" else first.fault_soon)(TcpFault("the peer does not read"))
        await peers.at_client.received(count)
        assert peers.at_server.tids == list(range(count))
        assert peers.at_client.tids == list(range(count))


async def test_a_dispatcher_may_close_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the rest of the old socket is delivered, the dispatcher has enough: the new socket is closed, too."""
    async with Peers(policy=STATEFUL_SERVER, limits=ONE_A_TURN, server_limits=ONE_A_TURN) as peers:

        def enough(connection: Connection, message: Message) -> None:
            if message.tid == 1:
                connection.mark_down()

        peers.at_server.answer = enough
        theirs = await abandon(peers, monkeypatch)
        await peers.at_client.event("reset")  # there is no such session any more: the client begins anew
        assert peers.at_server.tids == [0, 1]
        assert not theirs.is_connected
        assert await peers.at_server.event("accept", 2) is not theirs


# one bad message, one bad dispatcher


async def test_a_queued_message_that_cannot_be_encoded_harms_no_other() -> None:
    async with Peers() as peers:
        ours = peers.connect()
        for tid in (1, -1, 2):
            ours.send_message(make(tid))
        await peers.at_server.received(2)
        assert peers.at_server.tids == [1, 2]
        assert peers.at_client.names == ["connect"]


@both_loops
@pytest.mark.parametrize("turn", [0, 40])
async def test_a_bug_in_a_decoder_is_a_reset_and_not_a_hang(
    turn: int, loop_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = decode_message

    def sometimes(header: Any, *segments: Any) -> Any:
        if header.tid == turn:
            raise ZeroDivisionError("for the test")
        return decode(header, *segments)

    async with Peers(server_limits=ONE_A_TURN) as peers:
        ours, theirs = await peers.connected()
        monkeypatch.setattr("cove.messenger.tcp_stream.decode_message", sometimes)
        for tid in range(50):
            ours.send_message(make(tid, bulk(100)))
        assert await peers.at_server.event("reset") is theirs
        assert await peers.at_client.event("reset") is ours
        assert peers.at_server.tids == list(range(turn))
