"""The NBD session without I/O: fed whole and byte by byte, every refusal, and any bytes at all."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cove.rbd.nbd.constants import REQUEST_SIZE_BYTES_MAX, Command, ErrorCode, Option, Reply
from cove.rbd.nbd.payload import LARGE_PAYLOAD_BYTES, RECEIVE_AT_ONCE_BYTES
from cove.rbd.nbd.protocol import (
    RECEIVE_BYTES,
    Event,
    ExportInfo,
    ExportWanted,
    Finished,
    ProtocolError,
    Request,
    ServerConnection,
    State,
)

from .nbd_client import FIXED_NO_ZEROES, Chunk, Reader, contexts, go, option, request, string

SIZE = 1 << 20


class Peer:
    """Feeds a connection in pieces and answers every export with the same info."""

    def __init__(
        self, piece: int = 1 << 30, *, names: tuple[str, ...] = ("disk",), size: int = SIZE, read_only: bool = False
    ) -> None:
        self.connection = ServerConnection(lambda: names)
        self.piece = piece
        self.info = ExportInfo("disk", size, read_only, "a disk")
        self.events: list[Event] = []
        self.on_event: Callable[[Event], None] = self.answer

    def answer(self, event: Event) -> None:
        if isinstance(event, ExportWanted):
            if self.connection.resolve(event.name) is None:
                self.connection.refuse_export(Reply.ERR_UNKNOWN, "no such export")
            else:
                self.connection.accept_export(self.info)

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view) and self.connection.state is not State.CLOSED:
            buffer = self.connection.get_buffer()
            assert len(buffer) > 0
            count = min(len(buffer), len(view), self.piece)
            buffer[:count] = view[:count]
            view = view[count:]
            self.connection.buffer_updated(count)
            while (event := self.connection.next_event()) is not None:
                self.events.append(event)
                self.on_event(event)

    def output(self) -> bytes:
        return b"".join(self.connection.data_to_send())

    def reader(self) -> Reader:
        reader = Reader(self.output())
        reader.greeting()
        return reader

    def begin(self, *, structured: bool = True, context: bool = True) -> None:
        """Through the handshake, with its output dropped."""
        data = FIXED_NO_ZEROES
        if structured:
            data += option(8)
            if context:
                data += contexts("disk", "base:allocation")
        self.feed(data + go("disk"))
        assert self.connection.state is State.REQUEST
        self.output()
        self.events.clear()


def only(peer: Peer) -> Chunk:
    reader = Reader(peer.output())
    chunk = reader.reply()
    assert not reader.left
    return chunk


SESSION = (
    FIXED_NO_ZEROES
    + option(3)
    + option(8)
    + contexts("disk", number=9)
    + contexts("disk", "base:allocation")
    + go("disk", 1, 2, 3, number=6)
    + go("disk", 3)
    + request(0, 1, 0, 4096)
    + request(1, 2, 512, 70_000, data=bytes(range(250)) * 280)
    + request(1, 3, 0, 0)
    + request(3, 4)
    + request(4, 5, 0, 8192, flags=1)
    + request(6, 6, 0, 8192, flags=2)
    + request(7, 7, 0, 8192, flags=8)
    + request(5, 8, 0, 10)
    + request(2, 9)
)


def play(piece: int) -> tuple[list[Event], bytes]:
    peer = Peer(piece)
    peer.feed(SESSION)
    return peer.events, peer.output()


def test_session_whole_and_byte_by_byte() -> None:
    whole = play(1 << 30)
    assert play(1) == whole
    assert play(7) == whole
    events = whole[0]
    assert [type(event) for event in events] == [ExportWanted, ExportWanted] + [Request] * 8 + [Finished]
    requests = [event for event in events if isinstance(event, Request)]
    assert [r.command for r in requests] == [
        Command.READ,
        Command.WRITE,
        Command.WRITE,
        Command.FLUSH,
        Command.TRIM,
        Command.WRITE_ZEROES,
        Command.BLOCK_STATUS,
        Command.CACHE,
    ]
    assert bytes(requests[1].payload or b"") == bytes(range(250)) * 280
    reader = Reader(whole[1])
    reader.greeting()
    assert reader.option_reply() == (3, 2, string("disk"))
    assert reader.option_reply() == (3, 1, b"")
    assert reader.option_reply() == (8, 1, b"")
    assert reader.option_reply() == (9, 4, struct.pack(">I", 0) + b"base:allocation")
    assert reader.option_reply() == (9, 1, b"")
    assert reader.option_reply() == (10, 4, struct.pack(">I", 1) + b"base:allocation")
    assert reader.option_reply() == (10, 1, b"")
    infos = [reader.option_reply() for _ in range(5)]
    assert infos == [
        (6, 3, struct.pack(">HQH", 0, SIZE, 1 | 4 | 8 | 32 | 64 | 128 | 1024)),
        (6, 3, struct.pack(">H", 1) + b"disk"),
        (6, 3, struct.pack(">H", 2) + b"a disk"),
        (6, 3, struct.pack(">HIII", 3, 1, 4096, 32 << 20)),
        (6, 1, b""),
    ]
    assert reader.option_reply()[2][:2] == struct.pack(">H", 0)
    assert reader.option_reply()[2][:2] == struct.pack(">H", 3)
    assert reader.option_reply() == (7, 1, b"")
    assert not reader.left


def test_export_name() -> None:
    peer = Peer()
    peer.feed(FIXED_NO_ZEROES + option(1, b"disk"))
    assert peer.reader().data[18:] == struct.pack(">QH", SIZE, 1 | 4 | 8 | 32 | 64 | 1024)
    peer = Peer()
    peer.feed(struct.pack(">I", 1) + option(1, b""))
    assert len(peer.reader().data) == 18 + 10 + 124
    with pytest.raises(ProtocolError):
        Peer().feed(FIXED_NO_ZEROES + option(1, b"other"))


def test_read_only_flags() -> None:
    peer = Peer(read_only=True)
    peer.feed(FIXED_NO_ZEROES + go("disk"))
    reader = peer.reader()
    assert struct.unpack(">HQH", reader.option_reply()[2]) == (0, SIZE, 1 | 2 | 4 | 8 | 256 | 1024)


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (option(5), Reply.ERR_UNSUP),
        (option(11), Reply.ERR_UNSUP),
        (option(77, b"x" * 100), Reply.ERR_UNSUP),
        (option(3, b"x"), Reply.ERR_INVALID),
        (option(8, b"x"), Reply.ERR_INVALID),
        (option(7), Reply.ERR_INVALID),
        (option(7, string("disk")), Reply.ERR_INVALID),
        (option(7, string("disk") + b"\0\2\0\0"), Reply.ERR_INVALID),
        (go("disk")[:-2] + b"\0\0", None),
        (option(7, string("disk") + b"\0\0x"), Reply.ERR_INVALID),
        (option(7, struct.pack(">I", 5000) + b"x" * 5002), Reply.ERR_TOO_BIG),
        (option(7, struct.pack(">I", 1 << 31)), Reply.ERR_TOO_BIG),
        (option(7, struct.pack(">I", 2) + b"\xff\xfe\0\0"), Reply.ERR_INVALID),
        (option(7, struct.pack(">I", 2) + b"a\0\0\0"), Reply.ERR_INVALID),
        (go("other"), Reply.ERR_UNKNOWN),
        (option(6, b"x" * 17_000), Reply.ERR_TOO_BIG),
        (contexts("disk", "base:allocation"), Reply.ERR_INVALID),
        (option(8) + contexts("other", "base:allocation"), Reply.ERR_UNKNOWN),
        (option(8) + contexts("disk", *["x"] * 65), Reply.ERR_TOO_BIG),
        (option(8) + option(10, string("disk") + struct.pack(">I", 1 << 30)), Reply.ERR_TOO_BIG),
    ],
)
@pytest.mark.parametrize("piece", [1 << 30, 1])
def test_refused_options(sent: bytes, reply: Reply | None, piece: int) -> None:
    peer = Peer(piece)
    peer.feed(FIXED_NO_ZEROES + sent)
    reader = peer.reader()
    last = 0
    while reader.left:
        last = reader.option_reply()[1]
    assert last == (reply or Reply.ACK)
    if reply is not None:
        # the session goes on
        peer.feed(go("disk"))
        assert peer.connection.state is State.REQUEST


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">I", 4),
        FIXED_NO_ZEROES + b"IHAVEOPX" + bytes(8),
        FIXED_NO_ZEROES + option(1, b"x" * 4097)[:16],
        FIXED_NO_ZEROES + b"IHAVEOPT" + struct.pack(">II", 3, (1 << 20) + 1),
        bytes(4) + option(3),
        FIXED_NO_ZEROES + option(3) * 257,
        FIXED_NO_ZEROES + go("disk") + bytes(28),
    ],
)
def test_broken_protocol(sent: bytes) -> None:
    peer = Peer()
    with pytest.raises(ProtocolError):
        peer.feed(sent)
    assert peer.connection.state is State.CLOSED


def test_abort() -> None:
    peer = Peer()
    peer.feed(FIXED_NO_ZEROES + option(2))
    assert peer.reader().option_reply() == (2, 1, b"")
    assert peer.events == [Finished()]


def test_context_of_another_export_is_forgotten() -> None:
    peer = Peer(names=("disk", "two"))
    peer.feed(FIXED_NO_ZEROES + option(8) + contexts("two", "base:allocation") + go("disk"))
    peer.output()
    peer.feed(request(7, 1, 0, 100))
    assert only(peer).error == ErrorCode.EINVAL


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (request(0, 5, SIZE, 1), ErrorCode.EINVAL),
        (request(0, 5, SIZE - 1, 2), ErrorCode.EINVAL),
        (request(0, 5, 2**64 - 1, 1), ErrorCode.EINVAL),
        (request(0, 5, 0, REQUEST_SIZE_BYTES_MAX + 1), ErrorCode.EINVAL),
        (request(1, 5, SIZE - 1, 2, data=b"ab"), ErrorCode.ENOSPC),
        (request(1, 5, 0, 4, flags=2, data=b"abcd"), ErrorCode.EINVAL),
        (request(4, 5, SIZE, 1), ErrorCode.EINVAL),
        (request(6, 5, SIZE, 1), ErrorCode.ENOSPC),
        (request(6, 5, 0, 1, flags=16), ErrorCode.EINVAL),
        (request(7, 5, SIZE, 1), ErrorCode.EINVAL),
        (request(7, 5, 0, 0), ErrorCode.EINVAL),
        (request(8, 5, 0, 1), ErrorCode.EINVAL),
        (request(5, 5, SIZE, 1), ErrorCode.EINVAL),
    ],
)
@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("piece", [1 << 30, 1])
def test_refused_requests(sent: bytes, code: ErrorCode, structured: bool, piece: int) -> None:
    peer = Peer(piece)
    peer.begin(structured=structured)
    peer.feed(sent)
    chunk = only(peer)
    assert (chunk.cookie, chunk.error) == (5, code)
    assert bool(chunk.message) == structured
    peer.feed(request(0, 6, 0, 1))
    assert isinstance(peer.events[-1], Request)


def test_read_only_refuses_changes() -> None:
    peer = Peer(read_only=True)
    peer.begin()
    peer.feed(request(1, 1, 0, 3, data=b"abc") + request(4, 2, 0, 1) + request(6, 3, 0, 1))
    reader = Reader(peer.output())
    assert [reader.reply().error for _ in range(3)] == [ErrorCode.EPERM] * 3


def test_oversized_write_is_skipped_without_memory() -> None:
    peer = Peer()
    peer.begin()
    length = REQUEST_SIZE_BYTES_MAX + 1
    peer.feed(request(1, 9, 0, length) + bytes(length))
    assert only(peer).error == ErrorCode.EINVAL
    with pytest.raises(ProtocolError):
        peer.feed(request(1, 9, 0, 0xFFFFFFFF))


def test_read_replies() -> None:
    peer = Peer()
    peer.begin()
    peer.feed(request(0, 1, 100, 30) + request(0, 2, 100, 30, flags=4))
    read, whole = (event for event in peer.events if isinstance(event, Request))
    segments = [(10, b"a" * 10), (10, None), (10, b"b" * 10)]
    peer.connection.reply_read(read, segments)
    reader = Reader(peer.output())
    first, hole, last = reader.reply(), reader.reply(), reader.reply()
    assert (first.offset, first.data, first.done) == (100, b"a" * 10, False)
    assert (hole.offset, hole.hole, hole.done) == (110, 10, False)
    assert (last.offset, last.data, last.done) == (120, b"b" * 10, True)
    peer.connection.reply_read(whole, segments)
    chunk = only(peer)
    assert (chunk.offset, chunk.data, chunk.done) == (100, b"a" * 10 + bytes(10) + b"b" * 10, True)
    peer.connection.reply_read(read, [])
    assert only(peer).done


def test_simple_read_reply() -> None:
    peer = Peer()
    peer.begin(structured=False)
    peer.feed(request(0, 1, 0, 20) + request(0, 2, 0, 20, flags=4))
    (read,) = (event for event in peer.events if isinstance(event, Request))
    assert only(peer).error == ErrorCode.EINVAL  # DF without structured replies
    peer.connection.reply_read(read, [(10, None), (10, b"b" * 10)])
    reader = Reader(peer.output())
    assert reader.reply(20).data == bytes(10) + b"b" * 10


def test_status_replies() -> None:
    peer = Peer()
    peer.begin()
    peer.feed(request(7, 1, 0, 40) + request(7, 2, 0, 40, flags=8))
    every, one = (event for event in peer.events if isinstance(event, Request))
    extents = [(10, True), (10, True), (10, False), (10, True)]
    peer.connection.reply_status(every, extents)
    assert only(peer).extents == [(20, 0), (10, 3), (10, 0)]
    peer.connection.reply_status(one, extents)
    assert only(peer).extents == [(20, 0)]


class Bounded(Peer):
    """Answers everything, and looks at the memory held."""

    read_bytes = 0

    def answer(self, event: Event) -> None:
        super().answer(event)
        if isinstance(event, Request):
            if event.command is Command.READ:
                self.read_bytes += event.length
                self.connection.reply_read(event, [(event.length, None)] if event.length else [])
            elif event.command is Command.BLOCK_STATUS:
                self.connection.reply_status(event, [(event.length, True)])
            else:
                self.connection.reply_done(event)

    def feed(self, data: bytes) -> None:
        super().feed(data)
        held = len(self.connection._receive) + len(self.connection._payload)
        assert held <= RECEIVE_BYTES + REQUEST_SIZE_BYTES_MAX


def check_any_bytes(peer: Bounded, data: bytes) -> None:
    try:
        peer.feed(data)
    except ProtocolError:
        assert peer.connection.state is State.CLOSED
    assert len(peer.output()) - peer.read_bytes < 200 * (len(data) + 1000)


@given(st.binary(max_size=300), st.integers(1, 400))
@example(FIXED_NO_ZEROES, 1)
def test_any_bytes_from_the_start(data: bytes, piece: int) -> None:
    check_any_bytes(Bounded(piece), data)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(option, st.integers(0, 12), st.binary(max_size=40)),
            st.builds(go, st.sampled_from(["disk", "", "x"]), st.integers(0, 5), number=st.sampled_from([6, 7])),
            st.builds(contexts, st.sampled_from(["disk", ""]), st.text(max_size=9), number=st.sampled_from([9, 10])),
        ),
        max_size=8,
    ),
    st.integers(1, 100),
)
def test_any_options(parts: list[bytes], piece: int) -> None:
    check_any_bytes(Bounded(piece), FIXED_NO_ZEROES + b"".join(parts))


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=28),
            st.builds(
                request,
                st.integers(0, 9),
                st.integers(0, 2**64 - 1),
                st.sampled_from([0, 1, SIZE - 1, SIZE, 2**64 - 1]),
                st.sampled_from([0, 1, 100, SIZE, REQUEST_SIZE_BYTES_MAX + 1, 2**32 - 1]),
                st.integers(0, 65535),
                st.binary(max_size=100),
            ),
        ),
        max_size=8,
    ),
    st.integers(1, 100),
    st.booleans(),
)
def test_any_requests(parts: list[bytes], piece: int, structured: bool) -> None:
    peer = Bounded(piece)
    peer.begin(structured=structured)
    check_any_bytes(peer, b"".join(parts))


@given(st.integers(0, len(SESSION)), st.integers(0, 255))
def test_damaged_session(position: int, byte: int) -> None:
    damaged = bytearray(SESSION)
    damaged[position:position] = bytes([byte])
    check_any_bytes(Bounded(), bytes(damaged[:2000]))


def test_option_names() -> None:
    assert [int(option) for option in Option] == list(range(1, 12))
    assert {int(r) for r in Reply if r > 1 << 31} == set(range(0x80000001, 0x8000000A))


@pytest.mark.parametrize("length", [4096, LARGE_PAYLOAD_BYTES, 32 << 20])
def test_payloads_are_received_in_pieces_that_leave_others_their_turn(length: int) -> None:
    peer = Peer(size=64 << 20)
    peer.begin()
    connection = peer.connection
    peer.feed(request(Command.WRITE, 1, 0, length))
    pattern = bytes(range(256)) * 1024
    filled, event = 0, None
    while connection.state is State.PAYLOAD:
        buffer = connection.get_buffer()
        assert 0 < len(buffer) <= RECEIVE_AT_ONCE_BYTES
        buffer[:] = pattern[: len(buffer)]
        connection.buffer_updated(len(buffer))
        filled += len(buffer)
        event = connection.next_event()
    assert filled == length
    assert isinstance(event, Request)
    assert event.payload is not None
    assert len(event.payload) == length
    assert event.payload[:4096] == pattern[:4096]
