"""Ready links: messages, acknowledgements, keep-alives; lossless sessions over any number of broken connections."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.wire import control
from cove.wire.errors import PeerError, UsageError
from cove.wire.frames import FrameWriter, Tag
from cove.wire.handshake import FRAMES_MAX, State
from cove.wire.link import HEADER, AfterFault, KeepaliveAck, Link, LinkReady, LinkWait, MessageIn, SessionReset
from cove.wire.session import (
    LOSSLESS_CLIENT,
    LOSSLESS_PEER,
    STATEFUL_SERVER,
    STATELESS_REGISTERED_SERVER,
    GlobalSequence,
    Policy,
    Session,
    SessionRegistry,
    SessionState,
)

from .links import CLIENT, CRC, SECURE, Ends, RoundsClientAuth, RoundsServerAuth, parts

METHODS = pytest.mark.parametrize("mode", [None, CRC, SECURE], ids=["none", "crc", "secure"])


def ready(mode: object = None, **arguments: object) -> Ends:
    if mode is not None:
        arguments |= {"client_auths": [RoundsClientAuth((mode,))], "server_auth": RoundsServerAuth()}  # type: ignore[arg-type]
    ends = Ends(**arguments).run()  # type: ignore[arg-type]
    ends.client_events.clear()
    ends.server_events.clear()
    return ends


def message(seq: int, front: bytes = b"front") -> bytes:
    header = HEADER.pack(seq, 1, 42, 127, 1, 0, 0, 0, 3, 1, 0)
    return b"".join(FrameWriter().frame(Tag.MESSAGE, [header, front]))


def tids(events: list) -> list[int]:
    return [event.header.tid for event in events if isinstance(event, MessageIn)]


@METHODS
@pytest.mark.parametrize("step", [1, 1 << 30])
def test_messages_arrive_whole_and_in_order(mode: object, step: int) -> None:
    ends = ready(mode, step=step)
    ends.client.send_message(parts(1, b"", type=5))
    ends.client.send_message(parts(2, b"front", b"middle", [b"da", b"", memoryview(b"ta")]))  # type: ignore[list-item]
    ends.client.send_message(parts(3, b"", b"", [b"x" * 50000]))
    ends.server.send_message(parts(9, b"x" * 49))
    ends.run()
    fields = [(*event.header[:3], event.front, event.middle, event.data) for event in ends.server_events]  # type: ignore[union-attr]
    assert fields == [
        (1, 1, 5, b"", b"", b""),
        (2, 2, 42, b"front", b"middle", b"data"),
        (3, 3, 42, b"", b"", b"x" * 50000),
    ]
    (back,) = ends.client_events
    assert isinstance(back, MessageIn)
    assert (back.header.seq, back.header.tid, back.front) == (1, 9, b"x" * 49)


def test_header_is_carried_exactly() -> None:
    ends = ready()
    sent = parts(2**64 - 1)._replace(type=4711, priority=196, version=8, compat_version=3, data_off=0xFFFF)
    ends.client.send_message(sent)
    ends.run()
    (event,) = ends.server_events
    assert isinstance(event, MessageIn)
    assert event.header._asdict() == {
        "seq": 1,
        "tid": 2**64 - 1,
        "type": 4711,
        "priority": 196,
        "version": 8,
        "data_off": 0xFFFF,
        "ack_seq": 0,
        "flags": 3,
        "compat_version": 3,
    }


def test_a_compat_version_of_0_means_the_version() -> None:
    ends = ready()
    ends.client.send_message(parts(1)._replace(version=8, compat_version=0))
    ends.run()
    (event,) = ends.server_events
    assert isinstance(event, MessageIn)
    assert event.header.compat_version == 8


def test_getmap_has_the_size_of_a_real_one() -> None:
    for mode, size in ((None, 77), (SECURE, 96)):
        ends = ready(mode)
        ends.client.send_message(parts(0, b"", type=5))
        assert len(ends.client_output()) == size


def test_large_data_is_handed_on_without_a_copy() -> None:
    data = bytes(1 << 20)
    ends = ready()
    ends.client.send_message(parts(1, data=[data]))
    assert any(piece is data for piece in ends.client.take_output())


def test_numbers_that_have_been_are_dropped_gaps_are_taken() -> None:
    ends = ready()
    for seq, taken in ((1, True), (1, False), (0, False), (5, True), (4, False), (2**64 - 1, True)):
        events = ends.server.receive(message(seq))
        assert bool(events) is taken, seq
    assert ends.server.session is not None
    assert ends.server.session.in_seq == 2**64 - 1
    # the acknowledgement of the highest number there is fits, too
    ends.server.send_message(parts(1))
    ends.run()
    assert tids(ends.client_events) == [1]


@pytest.mark.parametrize("size", [0, 1, 40])
def test_a_short_header_is_a_fault(size: int) -> None:
    with pytest.raises(PeerError, match=f"header of {size} bytes"):
        ready().server.receive(b"".join(FrameWriter().frame(Tag.MESSAGE, [bytes(size)])))


def test_a_longer_header_is_taken() -> None:
    data = b"".join(FrameWriter().frame(Tag.MESSAGE, [struct.pack("<Q", 1) + bytes(40), b"x"]))
    assert tids(ready().server.receive(data)) == [0]


def test_nothing_is_sent_before_the_session_is_ready_or_after_a_fault() -> None:
    ends = Ends()
    for link in (ends.client, ends.server):
        with pytest.raises(UsageError, match="before the link is ready"):
            link.send_message(parts(1))
        with pytest.raises(UsageError, match="before the link is ready"):
            link.send_keepalive(1)
    ends.run()
    with pytest.raises(PeerError):
        ends.client.receive(bytes(32))
    with pytest.raises(UsageError):
        ends.client.send_message(parts(1))


@pytest.mark.parametrize("policy", [STATEFUL_SERVER, None])
def test_a_message_that_does_not_fit_changes_nothing(policy: Policy | None) -> None:
    ends = ready(**({"session": Session(LOSSLESS_CLIENT, (CLIENT,)), "policy": policy} if policy else {}))
    for wrong in (parts(-1), parts(1 << 64), parts(1, bytes((64 << 20) + 1))):
        with pytest.raises(UsageError):
            ends.client.send_message(wrong)
    assert ends.session.out_seq == ends.session.unacked_messages == 0
    ends.client.send_message(parts(1))
    ends.run()
    assert tids(ends.server_events) == [1]


@METHODS
def test_keepalives_are_answered_at_once_with_their_stamp(mode: object) -> None:
    ends = ready(mode)
    ends.client.send_keepalive(1_700_000_000_123_456_789)
    ends.server.send_keepalive(5)
    ends.run()
    assert ends.client_events == [KeepaliveAck(1_700_000_000_123_456_789)]
    assert ends.server_events == [KeepaliveAck(5)]


def test_a_stamp_that_is_no_time_comes_back_as_it_was() -> None:
    ends = ready()
    ends.server.receive(b"".join(FrameWriter().frame(Tag.KEEPALIVE2, [b"\xff" * 8 + b"more"])))
    assert ends.server_output() == b"".join(FrameWriter().frame(Tag.KEEPALIVE2_ACK, [b"\xff" * 8]))


def test_what_came_before_a_fault_is_not_lost() -> None:
    ends = ready()
    with pytest.raises(PeerError, match="preamble"):
        ends.server.receive(message(1) + message(2) + b"\1" * 32)
    assert [event.header.seq for event in ends.server.take_events() if isinstance(event, MessageIn)] == [1, 2]
    assert ends.server.take_events() == []


def test_messages_behind_the_ident_are_taken_in_the_same_read() -> None:
    """A connector may send as soon as it has SERVER_IDENT, an acceptor directly behind it."""
    ends = Ends()
    for _ in range(20):
        ends.to_server(ends.client_output())
        if ends.server.is_ready:
            break
        ends.to_client(ends.server_output())
    ends.server.send_message(parts(7))
    ends.to_client(ends.server_output())
    assert isinstance(ends.client_events[0], LinkReady)
    assert tids(ends.client_events) == [7]


def test_lossy_sessions_exchange_no_acks_and_ignore_them() -> None:
    ends = ready()
    ends.client.send_message(parts(1))
    ends.to_server(ends.client_output())
    assert ends.server_output() == b""
    assert ends.server.receive(b"".join(FrameWriter().frame(Tag.ACK, [bytes(8)]))) == []
    assert ends.session.unacked_messages == 0


def test_a_lossy_session_ends_with_its_connection() -> None:
    ends = ready()
    assert ends.client.connection_lost() is ends.server.connection_lost() is AfterFault.CLOSE
    assert ends.session.state is SessionState.CLOSED
    assert not ends.client.is_ready


# --- lossless sessions -----------------------------------------------------------------------------------------------


def lossless(**arguments: object) -> Ends:
    session = Session(LOSSLESS_CLIENT, (CLIENT,))
    return ready(**({"session": session, "policy": STATEFUL_SERVER} | arguments))


def again(ends: Ends, **arguments: object) -> Ends:
    """The next connection of the same session."""
    return Ends(**({"session": ends.session, "registry": ends.registry, "policy": STATEFUL_SERVER} | arguments))  # type: ignore[arg-type]


def test_cookies_are_made_and_kept() -> None:
    ends = lossless()
    assert ends.session.client_cookie
    assert ends.session.server_cookie
    assert not ends.session.lossy
    server = ends.server.session
    assert server is not None
    assert (server.client_cookie, server.server_cookie) == (ends.session.client_cookie, ends.session.server_cookie)
    assert ends.registry.find((CLIENT,)) is server


def test_a_lossy_acceptor_makes_the_session_lossy() -> None:
    session = Session(LOSSLESS_CLIENT, (CLIENT,))
    ready(session=session)
    assert session.lossy
    assert session.server_cookie == 0
    assert session.client_cookie != 0


def test_messages_are_acknowledged_by_the_next_one_or_by_an_ack() -> None:
    ends = lossless()
    for tid in range(3):
        ends.client.send_message(parts(tid))
    assert ends.session.unacked_messages == 3
    ends.to_server(ends.client_output())
    ends.server.send_message(parts(9))
    carrying = ends.server_output()
    assert carrying.count(bytes((Tag.MESSAGE, 2))) == 1
    assert bytes((Tag.ACK, 1)) + bytes((8, 0, 0, 0)) not in carrying
    ends.to_client(carrying)
    assert ends.session.unacked_messages == 0
    # the client has nothing to say: it acknowledges by a frame
    ack = ends.client_output()
    assert ack == b"".join(FrameWriter().frame(Tag.ACK, [(1).to_bytes(8, "little")]))
    ends.to_server(ack)
    server = ends.server.session
    assert server is not None
    assert server.unacked_messages == 0
    assert ends.client_output() == ends.server_output() == b""


@METHODS
@pytest.mark.parametrize("lost", range(6))
@pytest.mark.parametrize("step", [1, 1 << 30])
def test_a_resumed_session_sends_again_what_was_lost(mode: object, lost: int, step: int) -> None:
    auth = {} if mode is None else {"server_auth": RoundsServerAuth(), "client_auths": [RoundsClientAuth((mode,))]}  # type: ignore[arg-type]
    ends = lossless(step=step, **auth)
    wire = []
    for tid in range(5):
        ends.client.send_message(parts(tid, data=[b"x" * 100]))
        wire.append(ends.client_output())
    for data in wire[: 5 - lost]:
        ends.to_server(data)
    assert ends.client.connection_lost() is AfterFault.DIAL
    assert ends.server.connection_lost() is AfterFault.STANDBY
    if mode is not None:
        auth = {"server_auth": RoundsServerAuth(), "client_auths": [RoundsClientAuth((mode,))]}  # type: ignore[arg-type]
    following = again(ends, step=step, **auth).run()
    assert following.client_events[0] == LinkReady(resumed=True)
    assert following.server_events[0] == LinkReady(resumed=True)
    assert tids(ends.server_events + following.server_events) == list(range(5))
    numbers = [event.header.seq for event in following.server_events if isinstance(event, MessageIn)]
    assert numbers == [tid + 1 for tid in range(5)][5 - lost :]
    assert ends.session.unacked_messages == 0


def test_a_session_is_taken_from_a_connection_that_still_seems_alive() -> None:
    ends = lossless()
    ends.server.send_message(parts(1))
    stale = ends.client_output()
    assert not stale
    ends.client.connection_lost()
    following = again(ends).run()
    assert following.server_events[0] == LinkReady(resumed=True, replaces=ends.server)
    assert tids(following.client_events) == [1]
    # nothing that arrives late on the old connection touches the session any more
    with pytest.raises(PeerError):
        ends.server.receive(message(5))
    assert ends.server.take_events() == []
    assert ends.server.connection_lost() is AfterFault.CLOSE
    assert following.server.is_ready
    session = following.server.session
    assert session is not None
    assert session.state is SessionState.READY


def test_events_are_told_once() -> None:
    ends = lossless()
    assert tids(ends.server.receive(message(1))) == [1]
    assert ends.server.take_events() == []
    ends.client.connection_lost()
    again(ends).run()  # takes the session away from the old link
    with pytest.raises(PeerError):
        ends.server.receive(message(2))
    assert ends.server.take_events() == []


def test_numbers_of_attempts_rise() -> None:
    ends = lossless()
    first = ends.session.global_seq
    ends.client.connection_lost()
    following = again(ends).run()
    assert ends.session.global_seq > first
    assert ends.session.connect_seq == 1
    assert following.server.session is not None
    assert following.server.session.connect_seq == 1


def test_an_acceptor_that_forgot_resets_and_the_session_begins_anew() -> None:
    ends = lossless()
    ends.client.send_message(parts(1))
    ends.client.connection_lost()
    following = again(ends, registry=SessionRegistry()).run()
    assert following.client_events == [SessionReset(full=True), LinkReady(resumed=False)]
    assert following.server_events == [LinkReady(resumed=False)]
    assert ends.session.out_seq == ends.session.unacked_messages == 0
    assert ends.session.client_cookie != 0
    following.client.send_message(parts(2))
    following.run()
    assert tids(following.server_events) == [2]


def test_a_reset_in_half_keeps_the_queue() -> None:
    ends = lossless()
    ends.client.send_message(parts(1))
    server = ends.server.session
    assert server is not None
    server.server_cookie = 0
    ends.client.connection_lost()
    following = again(ends).run()
    assert following.client_events[:2] == [SessionReset(full=False), LinkReady(resumed=False)]
    assert tids(following.server_events) == [1]


def test_retry_and_retry_global_on_the_same_connection() -> None:
    ends = lossless()
    ends.client.send_message(parts(1))
    server = ends.server.session
    assert server is not None
    server.connect_seq = 40
    server.peer_global_seq = 1000
    ends.client.connection_lost()
    following = again(ends).run()
    assert following.client_events[0] == LinkReady(resumed=True)
    assert ends.session.connect_seq == 41
    assert ends.session.global_seq == 1001
    assert tids(following.server_events) == [1]


def test_wait_closes_the_link() -> None:
    registry = SessionRegistry()
    ours = Session(LOSSLESS_PEER, ())
    ours.entity, ours.client_cookie = "client.admin", 1
    registry.add((CLIENT,), ours)
    # the server dials that address itself, and has the lower one
    ends = Ends(session=Session(LOSSLESS_PEER, (CLIENT,)), registry=registry, policy=LOSSLESS_PEER).run()
    assert ends.client_events == [LinkWait()]
    assert ends.client.state is ends.server.state is State.CLOSED
    for link in (ends.client, ends.server):
        assert link.receive(b"whatever comes now is not looked at") == []
        assert link._channel.reader.buffered_bytes == 0
    assert not ends.client.is_ready
    assert ends.client.connection_lost() is AfterFault.STANDBY


def test_absurd_numbers_are_a_fault() -> None:
    for answer in (control.SessionRetry(2**64 - 1), control.SessionRetryGlobal(2**64 - 1)):
        ends = lossless()
        ends.client.connection_lost()
        following = again(ends)
        while following.client.state is not State.RECONNECT:
            following.to_server(following.client_output())
            following.client_events += following.client.receive(following.server_output())
        with pytest.raises(PeerError, match=answer.TAG.name if answer.TAG is Tag.SESSION_RETRY else "global_seq"):
            following.client.receive(b"".join(FrameWriter().frame(answer.TAG, [answer.to_bytes()])))


def test_an_acceptor_that_never_has_enough_is_given_up() -> None:
    ends = lossless()
    ends.client.connection_lost()
    following = again(ends)
    while following.client.state is not State.RECONNECT:
        following.to_server(following.client_output())
        following.client_events += following.client.receive(following.server_output())
    retry = control.SessionRetry(7)
    data = b"".join(FrameWriter().frame(retry.TAG, [retry.to_bytes()])) * FRAMES_MAX
    with pytest.raises(PeerError, match=f"more than {FRAMES_MAX}"):
        following.client.receive(data)


def test_registered_connections_replace_each_other() -> None:
    registry, seqs = SessionRegistry(), GlobalSequence()
    policy = STATELESS_REGISTERED_SERVER

    def connect() -> Ends:
        session = Session(LOSSLESS_CLIENT._replace(lossy=True), (CLIENT,), global_seqs=seqs)
        return Ends(session=session, registry=registry, policy=policy).run()

    first, second = connect(), connect()
    assert second.server_events == [LinkReady(resumed=False, replaces=first.server)]
    assert first.server.connection_lost() is AfterFault.CLOSE
    assert len(registry) == 1
    assert second.server.connection_lost() is AfterFault.CLOSE
    assert len(registry) == 0


def test_unacknowledged_messages_survive_a_failed_attempt() -> None:
    ends = lossless()
    ends.client.send_message(parts(1))
    ends.client.connection_lost()
    ends.server.connection_lost()
    failed = again(ends)
    failed.to_server(failed.client_output())
    assert failed.client.connection_lost() is AfterFault.DIAL
    assert failed.server.connection_lost() is AfterFault.CLOSE
    assert tids(again(ends).run().server_events) == [1]


class Line:
    """A lossless session over connections that break at random bytes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.session = Session(LOSSLESS_CLIENT, (CLIENT,))
        self.registry = SessionRegistry()
        self.ends = self.dial()
        self.got_by_server: list[int] = []
        self.got_by_client: list[int] = []

    def dial(self) -> Ends:
        return Ends(session=self.session, registry=self.registry, policy=STATEFUL_SERVER)

    def deliver(self, link: Link, data: bytes, broken_at: int | None, got: list[int]) -> bool:
        """True if the connection broke on the way."""
        part = data if broken_at is None else data[:broken_at]
        got += tids(link.receive(part))
        return broken_at is not None and broken_at < len(data)

    def turn(self, may_break: bool) -> None:
        ends = self.ends
        if self.random.random() < 0.5:
            pairs = [(ends.server, ends.client_output(), self.got_by_server)]
        else:
            pairs = [(ends.client, ends.server_output(), self.got_by_client)]
        for link, data, got in pairs:
            at = self.random.randrange(len(data) + 1) if may_break and self.random.random() < 0.1 else None
            if self.deliver(link, data, at, got):
                order = [ends.client, ends.server]
                self.random.shuffle(order)
                # the server may learn of it only when the client is back
                for end in order[: self.random.choice((1, 2))] if order[0] is ends.client else order:
                    end.connection_lost()
                self.ends = self.dial()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_nothing_is_lost_doubled_or_reordered_over_broken_connections(seed: int) -> None:
    line = Line(seed)
    sent_by_client = sent_by_server = 0
    for _ in range(120):
        if line.ends.client.is_ready and line.random.random() < 0.5:
            line.ends.client.send_message(parts(sent_by_client, data=[bytes(line.random.randrange(200))]))
            sent_by_client += 1
        if line.ends.server.is_ready and line.random.random() < 0.5:
            line.ends.server.send_message(parts(sent_by_server))
            sent_by_server += 1
        line.turn(may_break=True)
    for _ in range(100):
        line.turn(may_break=False)
    assert line.got_by_server == list(range(sent_by_client))
    assert line.got_by_client == list(range(sent_by_server))
    assert line.session.unacked_messages == 0


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), lossy=st.booleans(), server=st.booleans())
def test_any_bytes_on_a_ready_link_give_events_or_a_peer_error(data: bytes, lossy: bool, server: bool) -> None:
    ends = ready() if lossy else lossless()
    try:
        (ends.server if server else ends.client).receive(data)
    except PeerError:
        pass
