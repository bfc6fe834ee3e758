"""Frames with segments of megabytes: put together while they arrive, without twice their memory."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from cove.wire.errors import PeerError
from cove.wire.frames import Frame, FrameReader, FrameWriter, Tag

from .test_frames import MODES, pair, wire

MIB = 1 << 20
HEADER = bytes(41)
READ_BYTES = 256 << 10


def sent(*sizes: int) -> list[bytes]:
    """Segments of these sizes, no two pages of which are equal."""
    source = random.Random(1)
    return [HEADER, *(source.randbytes(size) for size in sizes)]


def feed(reader: FrameReader, stream: bytes, cut: int) -> list[Frame]:
    found = []
    for pos in range(0, len(stream), cut):
        reader.feed(stream[pos : pos + cut])
        while (frame := reader.next_frame()) is not None:
            found.append(frame)
    return found


@MODES
@pytest.mark.parametrize("cut", [4095, 64 << 10, READ_BYTES + 1, MIB, 64 * MIB])
@pytest.mark.parametrize("sizes", [(100, 0, 3 * MIB), (2 * MIB, MIB + 1, MIB - 1), (MIB,), (0, 0, MIB + 5)])
def test_large_segments_in_any_cut(secure: bool, cut: int, sizes: tuple[int, ...]) -> None:
    writer, reader = pair(secure)
    messages = [sent(*sizes), [HEADER, b"small"], sent(*sizes)]
    stream = b"".join(wire(writer.frame(Tag.MESSAGE, segments)) for segments in messages)
    assert feed(reader, stream, cut) == [Frame(Tag.MESSAGE, segments) for segments in messages]
    assert reader.buffered_bytes == 0


@MODES
def test_one_byte_changed_is_noticed(secure: bool) -> None:
    writer, reader = pair(secure)
    stream = bytearray(wire(writer.frame(Tag.MESSAGE, sent(10, 0, 2 * MIB))))
    stream[MIB] ^= 1
    with pytest.raises(PeerError):
        feed(reader, bytes(stream), READ_BYTES)


def test_what_is_promised_takes_no_memory() -> None:
    stream = wire(FrameWriter().frame(Tag.MESSAGE, [HEADER, b"", b"", bytes(64 * MIB)]))[:1000]
    reader = FrameReader()
    tracemalloc.start()
    try:
        assert feed(reader, stream, 100) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_large_segment_is_held_once() -> None:
    stream = wire(FrameWriter().frame(Tag.MESSAGE, [HEADER, b"", b"", bytes(8 * MIB)]))
    reader = FrameReader()
    tracemalloc.start()
    try:
        (frame,) = feed(reader, stream, READ_BYTES)
        assert len(frame.segments[3]) == 8 * MIB
        assert tracemalloc.get_traced_memory()[1] < 10 * MIB
    finally:
        tracemalloc.stop()


def test_what_has_arrived_of_a_large_segment_is_counted() -> None:
    stream = wire(FrameWriter().frame(Tag.MESSAGE, [HEADER, b"", b"", bytes(4 * MIB)]))
    reader = FrameReader()
    assert feed(reader, stream[: 2 * MIB], READ_BYTES) == []
    assert reader.buffered_bytes == 2 * MIB - 32  # all but the preamble
