"""The loopback transport: order, refusal, cuts, closing, and the chain of dispatchers."""

from __future__ import annotations

import asyncio

import pytest

from cove.messenger import Connection, Dispatcher, LoopbackConnection, LoopbackMessenger, LoopbackNetwork
from cove.messenger import loopback as loopback_module
from cove.wire.messages import Message
from cove.wire.types import EntityName, EntityType


class Recorder(Dispatcher):
    """Writes down all that it is told; consumes messages if it is greedy."""

    def __init__(self, *, greedy: bool = True) -> None:
        self.events: list[tuple[str, Connection]] = []
        self.tids: list[int] = []
        self.greedy = greedy

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        self.tids.append(message.tid)
        return self.greedy

    def ms_handle_connect(self, connection: Connection) -> None:
        self.events.append(("connect", connection))

    def ms_handle_accept(self, connection: Connection) -> None:
        self.events.append(("accept", connection))

    def ms_handle_reset(self, connection: Connection) -> None:
        self.events.append(("reset", connection))

    def ms_handle_refused(self, connection: Connection) -> None:
        self.events.append(("refused", connection))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class Pair:
    """A server that listens, and a client that does not."""

    def __init__(self) -> None:
        self.network = LoopbackNetwork()
        self.server = LoopbackMessenger(self.network, EntityName(EntityType.OSD, 3))
        self.client = LoopbackMessenger(self.network, EntityName(EntityType.CLIENT, 7))
        self.at_server, self.at_client = Recorder(), Recorder()
        self.server.add_dispatcher_tail(self.at_server)
        self.client.add_dispatcher_tail(self.at_client)
        self.server.bind("osd.3")

    def connect(self) -> LoopbackConnection:
        connection = self.client.connect_to("osd.3", EntityType.OSD)
        assert isinstance(connection, LoopbackConnection)
        return connection

    @property
    def accepted(self) -> LoopbackConnection:
        connection = next(c for name, c in self.at_server.events if name == "accept")
        assert isinstance(connection, LoopbackConnection)
        return connection


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_names_and_events_of_a_connection() -> None:
    pair = Pair()
    connection = pair.connect()
    assert pair.at_client.events == [], "nothing happens before the caller gives way"
    await settle()
    assert pair.at_client.names == ["connect"]
    assert pair.at_server.names == ["accept"]
    assert connection.peer_name == EntityName(EntityType.OSD, 3)
    assert connection.peer_address == "osd.3"
    assert pair.accepted.peer_name == EntityName(EntityType.CLIENT, 7)
    assert connection.is_connected
    assert pair.accepted.is_connected


async def test_messages_arrive_in_order_both_ways_and_never_at_once() -> None:
    pair = Pair()
    connection = pair.connect()
    for tid in range(1000):
        connection.send_message(Message(tid=tid))
    assert pair.at_server.tids == []
    await settle()
    assert pair.at_server.tids == list(range(1000))
    for tid in range(10):
        pair.accepted.send_message(Message(tid=tid))
    await settle()
    assert pair.at_client.tids == list(range(10))


async def test_a_long_queue_lets_other_tasks_run() -> None:
    pair = Pair()
    connection = pair.connect()
    for tid in range(loopback_module.DELIVERIES_PER_TURN * 3):
        connection.send_message(Message(tid=tid))
    seen: list[int] = []
    for _ in range(10):
        await asyncio.sleep(0)
        seen.append(len(pair.at_server.tids))
    assert loopback_module.DELIVERIES_PER_TURN in seen
    assert seen[-1] == loopback_module.DELIVERIES_PER_TURN * 3


async def test_messages_sent_from_within_a_dispatch_keep_their_order() -> None:
    pair = Pair()

    class Echo(Dispatcher):
        def ms_dispatch(self, connection: Connection, message: Message) -> bool:
            connection.send_message(message)
            return True

    pair.server.add_dispatcher_head(Echo())
    connection = pair.connect()
    for tid in range(5):
        connection.send_message(Message(tid=tid))
    await settle()
    assert pair.at_client.tids == [0, 1, 2, 3, 4]
    assert pair.at_server.tids == []


async def test_refused_where_nobody_listens() -> None:
    pair = Pair()
    connection = pair.client.connect_to("osd.9", EntityType.OSD)
    assert not connection.is_connected
    connection.send_message(Message(tid=1))
    await settle()
    assert pair.at_client.events == [("refused", connection)]
    assert not pair.client.connections


async def test_mark_down_tells_the_peer_only_and_drops_what_is_queued() -> None:
    pair = Pair()
    connection = pair.connect()
    await settle()
    accepted = pair.accepted
    connection.send_message(Message(tid=1))
    accepted.send_message(Message(tid=2))
    connection.mark_down()
    assert not connection.is_connected
    assert not accepted.is_connected
    await settle()
    assert pair.at_client.names == ["connect"]
    assert pair.at_server.names == ["accept", "reset"]
    assert pair.at_server.tids == pair.at_client.tids == []
    connection.send_message(Message(tid=3))
    accepted.send_message(Message(tid=4))
    connection.mark_down()
    accepted.mark_down()
    await settle()
    assert pair.at_server.names == ["accept", "reset"]
    assert not pair.client.connections
    assert not pair.server.connections


async def test_a_cut_is_seen_by_both_sides() -> None:
    pair = Pair()
    connection = pair.connect()
    await settle()
    accepted = pair.accepted
    accepted.cut()
    await settle()
    assert pair.at_client.events[-1] == ("reset", connection)
    assert pair.at_server.events[-1] == ("reset", accepted)


async def test_cut_before_it_was_up() -> None:
    pair = Pair()
    connection = pair.connect()
    connection.send_message(Message(tid=1))
    connection.cut()
    await settle()
    assert pair.at_client.names[-1] == "reset"
    assert pair.at_server.tids == []


async def test_shutdown_closes_and_frees_the_address() -> None:
    pair = Pair()
    pair.connect()
    second = pair.connect()
    await settle()
    await pair.server.shutdown()
    await settle()
    assert pair.at_client.names.count("reset") == 2
    assert not second.is_connected
    assert not pair.network.listeners
    again = LoopbackMessenger(pair.network, EntityName(EntityType.OSD, 3))
    again.bind("osd.3")
    with pytest.raises(ValueError, match=r"osd\.3 is taken"):
        LoopbackMessenger(pair.network, EntityName(EntityType.OSD, 4)).bind("osd.3")


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback_module, "QUEUE_MESSAGES_MAX", 2)
    pair = Pair()
    connection = pair.connect()
    connection.send_message(Message(tid=1))
    connection.send_message(Message(tid=2))
    with pytest.raises(RuntimeError, match="2 messages wait"):
        connection.send_message(Message(tid=3))
    await settle()
    connection.send_message(Message(tid=4))
    await settle()
    assert pair.at_server.tids == [1, 2, 4]


async def test_the_chain_ends_with_the_first_that_consumes() -> None:
    pair = Pair()
    looks, last = Recorder(greedy=False), Recorder()
    pair.server.add_dispatcher_head(looks)
    pair.server.add_dispatcher_tail(last)
    pair.connect().send_message(Message(tid=1))
    await settle()
    assert looks.tids == pair.at_server.tids == [1]
    assert last.tids == []
    assert looks.names == pair.at_server.names == last.names == ["accept"], "events go to all"


async def test_a_dispatcher_that_fails_does_not_stop_the_connection() -> None:
    pair = Pair()

    class Broken(Dispatcher):
        def ms_dispatch(self, connection: Connection, message: Message) -> bool:
            if message.tid == 1:
                raise RuntimeError("broken")
            return False

    pair.server.add_dispatcher_head(Broken())
    connection = pair.connect()
    for tid in range(3):
        connection.send_message(Message(tid=tid))
    await settle()
    assert pair.at_server.tids == [0, 2]


async def test_a_message_that_nobody_wants_is_dropped() -> None:
    pair = Pair()
    pair.at_server.greedy = False
    connection = pair.connect()
    connection.send_message(Message(tid=1))
    connection.send_message(Message(tid=2))
    await settle()
    assert pair.at_server.tids == [1, 2]
