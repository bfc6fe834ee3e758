"""Frames in both modes: published bytes, any cut, any damage, limits."""

from __future__ import annotations

import hashlib
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.crc import ceph_crc32c
from cove.wire.encoding import Buffer
from cove.wire.errors import PeerError, UsageError
from cove.wire.frame_crypto import DirectionCipher, secure_keys
from cove.wire.frames import (
    CONTROL_BYTES_MAX,
    DATA_BYTES_MAX,
    FRONT_MIDDLE_BYTES_MAX,
    HEADER_BYTES_MAX,
    Frame,
    FrameReader,
    FrameWriter,
    Tag,
)

KEY = bytes(range(16))
NONCE = bytes(range(0x10, 0x1C))
HEADER = struct.pack("<QQHHHIHQBHH", 1, 0, 5, 127, 1, 0, 0, 0, 0, 1, 0)
MODES = pytest.mark.parametrize("secure", [False, True], ids=["crc", "secure"])


def pair(secure: bool) -> tuple[FrameWriter, FrameReader]:
    writer, reader = FrameWriter(), FrameReader()
    if secure:
        writer.switch_to_secure(KEY, NONCE)
        reader.switch_to_secure(KEY, NONCE)
    return writer, reader


def read_all(reader: FrameReader) -> list[Frame]:
    frames = []
    while (frame := reader.next_frame()) is not None:
        frames.append(Frame(frame.tag, [bytes(segment) for segment in frame.segments]))
    return frames


def wire(parts: list) -> bytes:
    return b"".join(parts)


def trimmed(segments: list[bytes]) -> list[bytes]:
    """Without the empty ones at the end, which are not sent."""
    segments = list(segments)
    while len(segments) > 1 and not segments[-1]:
        segments.pop()
    return segments


CRC_VECTORS = {
    "wait": (
        Tag.WAIT,
        [b""],
        "10010000000008000000000000000000000000000000000000000000c8e3aab0",
    ),
    "ack": (
        Tag.ACK,
        [(5).to_bytes(8, "little")],
        "140108000000080000000000000000000000000000000000000000007374bc5b05000000000000003fb2f61b",
    ),
    "header only": (
        Tag.MESSAGE,
        [HEADER],
        "11012900000008000000000000000000000000000000000000000000af9604f0" + HEADER.hex() + "f38bd608",
    ),
}


@pytest.mark.parametrize("name", CRC_VECTORS)
def test_crc_vectors(name: str) -> None:
    tag, segments, expected = CRC_VECTORS[name]
    writer, reader = pair(secure=False)
    assert wire(writer.frame(tag, segments)).hex() == expected
    reader.feed(bytes.fromhex(expected))
    assert read_all(reader) == [Frame(tag, segments)]


def test_crc_vector_of_a_whole_message() -> None:
    data = wire(FrameWriter().frame(Tag.MESSAGE, [HEADER, b"A" * 20, b"", b"B" * 5]))
    assert len(data) == 115
    assert data[-13:].hex() == "0e512f4323ffffffff2f092719"
    assert hashlib.sha256(data).hexdigest() == "d91be09a78f7dc17971a9788648ecf8ad0919e07d0f8ea1d7df7dddbf29f28d0"


def test_secure_vectors() -> None:
    writer, reader = pair(secure=True)
    first = wire(writer.frame(Tag.WAIT, [b""]))
    second = wire(writer.frame(Tag.ACK, [(5).to_bytes(8, "little")]))
    assert first.hex() == (
        "d42f03af0f4fbeef17dd5df5c727eb3e3abc748736f46bbf85cb2911afe6bb1dd2d9213f81a6fb1ce3a0d5c8dad0511b"
        "89b8f12bf9c3bbe86b152db6879046985e5812a422977d9bce807a40ada1ac21b1c73fdfcb7d829b0058415d6a5888c7"
    )
    assert second.hex() == (
        "2d365fada5fdbfbcf24edf1bb5f6c7d0325509add46001f7bd9e51f2d222f04c2d813043e1680a42f95de5cb28eb3ead"
        "8153f92683d13b6fec0cbd118d94ebdd3078c8cb975c8b04150204e6607ab75d160d2f91b57692af5aad19f2800c153e"
    )
    reader.feed(first + second)
    assert read_all(reader) == [Frame(Tag.WAIT, [b""]), Frame(Tag.ACK, [(5).to_bytes(8, "little")])]


def test_secure_vector_of_a_whole_message() -> None:
    writer, _ = pair(secure=True)
    data = wire(writer.frame(Tag.MESSAGE, [HEADER, b"A" * 20, b"", b"B" * 5]))
    assert len(data) == 176
    assert data.hex().startswith("d52a2aaf0f4fbeef03dd5df5cf27eb3e")
    assert hashlib.sha256(data).hexdigest() == "67ab02d0c6d451721b27fff12edd9434f064881e19e17834208bbf1d93b2f94d"


segment = st.one_of(
    st.binary(max_size=100), st.integers(0, 5000).map(lambda size: bytes(size % 251 for _ in range(1)) * size)
)
frames = st.one_of(
    st.tuples(st.just(Tag.MESSAGE), st.lists(segment, min_size=1, max_size=4)),
    st.tuples(st.sampled_from([tag for tag in Tag if tag != Tag.MESSAGE]), st.lists(segment, min_size=1, max_size=1)),
)


@MODES
@given(sent=st.lists(frames, max_size=5), cuts=st.lists(st.integers(1, 3000), max_size=30))
def test_round_trip_in_any_cut(secure: bool, sent: list, cuts: list[int]) -> None:
    writer, reader = pair(secure)
    stream = b"".join(wire(writer.frame(tag, segments)) for tag, segments in sent)
    received: list[Frame] = []
    pos = 0
    for cut in [*cuts, len(stream)]:
        reader.feed(memoryview(bytearray(stream[pos : pos + cut])))
        received += read_all(reader)
        pos += cut
    assert received == [Frame(tag, trimmed(segments)) for tag, segments in sent]
    assert reader.buffered_bytes == 0


EXAMPLES = [
    (Tag.MESSAGE, [HEADER, b"front" * 30, b"middle", b"data" * 1000]),
    (Tag.ACK, [(7).to_bytes(8, "little")]),
    (Tag.MESSAGE, [HEADER]),
    (Tag.MESSAGE, [HEADER * 3, b"", b"", b"x"]),
    (Tag.WAIT, [b""]),
    (Tag.MESSAGE, [HEADER, b"only a front"]),
]


@MODES
@pytest.mark.parametrize("step", [1, 2, 7, 33, 4097])
def test_same_frames_in_steps(secure: bool, step: int) -> None:
    writer, reader = pair(secure)
    stream = b"".join(wire(writer.frame(tag, segments)) for tag, segments in EXAMPLES)
    received = []
    for pos in range(0, len(stream), step):
        reader.feed(stream[pos : pos + step])
        received += read_all(reader)
    assert received == [Frame(*example) for example in EXAMPLES]


@MODES
def test_cut_at_every_byte(secure: bool) -> None:
    stream = wire(pair(secure)[0].frame(*EXAMPLES[0]))
    for cut in range(len(stream)):
        _, reader = pair(secure)
        reader.feed(stream[:cut])
        assert reader.next_frame() is None
        reader.feed(stream[cut:])
        assert read_all(reader) == [Frame(*EXAMPLES[0])]


@MODES
def test_buffer_may_be_used_again(secure: bool) -> None:
    writer, reader = pair(secure)
    stream = wire(writer.frame(*EXAMPLES[0]))
    scratch = bytearray(100)
    for pos in range(0, len(stream), 100):
        piece = stream[pos : pos + 100]
        scratch[: len(piece)] = piece
        reader.feed(memoryview(scratch)[: len(piece)])
        scratch[:] = b"\xff" * 100
    assert read_all(reader) == [Frame(*EXAMPLES[0])]


@MODES
def test_data_in_pieces_equals_data_joined(secure: bool) -> None:
    pieces: list[Buffer] = [b"a" * 40000, memoryview(b"b" * 3), bytearray(b"c" * 5)]
    in_pieces = wire(pair(secure)[0].message(HEADER, b"front", b"", pieces))
    assert in_pieces == wire(pair(secure)[0].frame(Tag.MESSAGE, [HEADER, b"front", b"", b"".join(pieces)]))


def test_large_data_is_not_copied_by_the_writer() -> None:
    data = bytes(1 << 20)
    assert any(part is data for part in FrameWriter().message(HEADER, b"front", b"", [data]))


# --- damage ---------------------------------------------------------------------------------------------------------


@MODES
def test_every_flipped_byte_is_found_or_without_effect(secure: bool) -> None:
    example = (Tag.MESSAGE, [HEADER, b"front" * 10, b"", b"data" * 9])
    stream = wire(pair(secure)[0].frame(*example))
    harmless = 0
    for pos in range(len(stream)):
        damaged = bytearray(stream)
        damaged[pos] ^= 0x40
        _, reader = pair(secure)
        reader.feed(bytes(damaged))
        try:
            assert read_all(reader) in ([], [Frame(*example)])
            harmless += 1
        except PeerError:
            pass
    # in crc mode: the reserved nibble of the late status. (Lengths are covered by the preamble's crc.)
    assert harmless == (0 if secure else 1)


@pytest.mark.parametrize(
    ("at", "named"),
    [
        (0, "crc of a preamble"),
        (40, r"segment 1 \(header\) of MESSAGE"),
        (32 + 41 + 4 + 3, r"segment 2 \(front\) of MESSAGE"),
        (32 + 41 + 4 + 20 + 1, r"segment 3 \(middle\) of MESSAGE"),
        (32 + 41 + 4 + 20 + 5 + 1, r"segment 4 \(data\) of MESSAGE is 0x[0-9a-f]{8}, it says 0x[0-9a-f]{8}"),
    ],
)
def test_damage_is_named(at: int, named: str) -> None:
    stream = bytearray(wire(FrameWriter().frame(Tag.MESSAGE, [HEADER, b"A" * 20, b"CCCCC", b"B" * 5])))
    stream[at] ^= 1
    reader = FrameReader()
    reader.feed(bytes(stream))
    with pytest.raises(PeerError, match=named):
        reader.next_frame()


@pytest.mark.parametrize(("at", "named"), [(5, "unit A"), (100, "unit B"), (-1, "unit C")])
def test_damage_of_a_sealed_unit_is_named(at: int, named: str) -> None:
    stream = bytearray(wire(pair(secure=True)[0].frame(Tag.MESSAGE, [HEADER * 2, b"A" * 20])))
    stream[at] ^= 1
    _, reader = pair(secure=True)
    reader.feed(bytes(stream))
    with pytest.raises(PeerError, match=f"GCM tag of {named}"):
        reader.next_frame()


def test_a_repeated_sealed_frame_is_refused() -> None:
    stream = wire(pair(secure=True)[0].frame(Tag.WAIT, [b""]))
    _, reader = pair(secure=True)
    reader.feed(stream * 2)
    assert reader.next_frame() == Frame(Tag.WAIT, [b""])
    with pytest.raises(PeerError, match="GCM tag"):
        reader.next_frame()


def preamble(tag: int, count: int, lengths: list[int], flags: int = 0, reserved: int = 0, alignment: int = 8) -> bytes:
    lengths = (lengths + [0] * 4)[:4]
    head = struct.pack("<BB", tag, count)
    head += b"".join(struct.pack("<IH", length, alignment) for length in lengths) + bytes((flags, reserved))
    return head + struct.pack("<I", ceph_crc32c(0, head))


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (preamble(0, 1, [0]), "unknown tag 0"),
        (preamble(23, 1, [0]), "unknown tag 23"),
        (preamble(255, 1, [0]), "unknown tag 255"),
        (preamble(Tag.MESSAGE, 0, [41]), "0 segments"),
        (preamble(Tag.MESSAGE, 5, [41]), "5 segments"),
        (preamble(Tag.MESSAGE, 2, [41, 0]), "last segment of 2"),
        (preamble(Tag.MESSAGE, 4, [41, 1, 1, 0]), "last segment of 4"),
        (preamble(Tag.ACK, 2, [8, 8]), "2 segments"),
        (preamble(Tag.ACK, 1, [8], flags=1), "compressed"),
        (preamble(Tag.ACK, 1, [CONTROL_BYTES_MAX + 1]), "limit"),
        (preamble(Tag.HELLO, 1, [0xFFFFFFFF]), "limit"),
        (preamble(Tag.MESSAGE, 1, [HEADER_BYTES_MAX + 1]), "limit"),
        (preamble(Tag.MESSAGE, 2, [41, FRONT_MIDDLE_BYTES_MAX + 1]), "limit"),
        (preamble(Tag.MESSAGE, 3, [41, FRONT_MIDDLE_BYTES_MAX, 1]), "limit"),
        (preamble(Tag.MESSAGE, 4, [41, 1, 1, DATA_BYTES_MAX + 1]), "limit"),
        (preamble(Tag.MESSAGE, 4, [41, 1, 1, 0xFFFFFFFF]), "limit"),
    ],
)
@MODES
def test_bad_preambles_are_refused_before_anything_is_stored(secure: bool, head: bytes, named: str) -> None:
    _, reader = pair(secure)
    reader.feed(DirectionCipher(KEY, NONCE).seal(head + bytes(48)) if secure else head)
    with pytest.raises(PeerError, match=named):
        reader.next_frame()


def test_what_receivers_ignore() -> None:
    reader = FrameReader()
    reader.feed(preamble(Tag.WAIT, 1, [0], flags=0xFE, reserved=9, alignment=3))
    assert reader.next_frame() == Frame(Tag.WAIT, [b""])


def test_messages_can_be_forbidden() -> None:
    reader = FrameReader()
    reader.messages_allowed = False
    reader.feed(preamble(Tag.MESSAGE, 4, [41, 1, 1, 1]))
    with pytest.raises(PeerError, match="before the session is ready"):
        reader.next_frame()


def with_late_status(status: int, secure: bool) -> bytes:
    if not secure:
        data = bytearray(wire(FrameWriter().frame(Tag.MESSAGE, [HEADER, b"A" * 16])))
        data[-13] = status
        return bytes(data)
    cipher = DirectionCipher(KEY, NONCE)
    unit_a = cipher.seal(preamble(Tag.MESSAGE, 2, [41, 16]) + HEADER + bytes(7))
    return unit_a + cipher.seal(b"A" * 16 + bytes((status,)) + b"\xaa" * 15)


@MODES
@pytest.mark.parametrize("status", range(256))
def test_late_status(secure: bool, status: int) -> None:
    _, reader = pair(secure)
    reader.feed(with_late_status(status, secure))
    if status & 15 == 0xE:
        assert read_all(reader) == [Frame(Tag.MESSAGE, [HEADER, b"A" * 16])]
    elif status & 15 == 1:
        assert read_all(reader) == []
    else:
        with pytest.raises(PeerError, match="late status"):
            reader.next_frame()


def test_frames_after_an_aborted_one_are_read() -> None:
    reader = FrameReader()
    reader.feed(with_late_status(1, secure=False) + wire(FrameWriter().frame(Tag.WAIT, [b""])))
    assert read_all(reader) == [Frame(Tag.WAIT, [b""])]


def test_crcs_of_an_aborted_frame_must_match() -> None:
    data = bytearray(with_late_status(1, secure=False))
    data[32 + 41 + 4] ^= 1
    reader = FrameReader()
    reader.feed(bytes(data))
    with pytest.raises(PeerError, match="segment 2"):
        reader.next_frame()


@MODES
@given(data=st.binary(max_size=300))
def test_any_bytes_give_frames_or_a_peer_error(secure: bool, data: bytes) -> None:
    _, reader = pair(secure)
    reader.feed(data)
    try:
        read_all(reader)
    except PeerError:
        pass


# --- the cipher, the writer, cost ------------------------------------------------------------------------------------


def test_nonces_never_repeat() -> None:
    cipher = DirectionCipher(KEY, bytes(4) + b"\xff" * 8)
    cipher.seal(b"last counter value")
    cipher.seal(b"wrapped to zero")
    cipher._counter = cipher._start
    with pytest.raises(PeerError, match="nonces"):
        cipher.seal(b"all round")


def test_counter_wraps_without_touching_the_fixed_part() -> None:
    writer, reader = FrameWriter(), FrameReader()
    nonce = b"\xff" * 12
    writer.switch_to_secure(KEY, nonce)
    reader.switch_to_secure(KEY, nonce)
    for _ in range(3):
        reader.feed(wire(writer.frame(Tag.MESSAGE, [HEADER, b"x"])))
    assert len(read_all(reader)) == 3


def test_secret_is_cut_as_specified_and_not_shown() -> None:
    keys = secure_keys(bytes(range(64)))
    assert (keys.key, keys.to_connector, keys.to_acceptor) == (
        bytes(range(16)),
        bytes(range(16, 28)),
        bytes(range(28, 40)),
    )
    assert "\\x01" not in repr(keys)
    with pytest.raises(PeerError, match="39 bytes"):
        secure_keys(bytes(39))


def test_writer_refuses_what_no_reader_takes() -> None:
    with pytest.raises(UsageError, match="5 segments"):
        FrameWriter().frame(Tag.MESSAGE, [b""] * 5)
    with pytest.raises(UsageError, match="MESSAGE with segments"):
        FrameWriter().frame(Tag.MESSAGE, [bytes(HEADER_BYTES_MAX + 1)])


def test_pieces_of_a_large_frame_cost_linear_time() -> None:
    data = bytes(8 << 20)
    stream = wire(FrameWriter().frame(Tag.MESSAGE, [HEADER, b"front", b"", data]))

    def seconds(step: int) -> float:
        reader = FrameReader()
        begin = time.process_time()
        for pos in range(0, len(stream), step):
            reader.feed(stream[pos : pos + step])
            frame = reader.next_frame()
        assert frame is not None
        assert len(frame.segments[3]) == len(data)
        return time.process_time() - begin

    # quadratic behaviour would take minutes
    assert seconds(64) < 3
    assert seconds(64 << 10) < 1


def test_single_bytes_are_not_kept_as_objects() -> None:
    reader = FrameReader()
    stream = wire(FrameWriter().frame(Tag.MESSAGE, [HEADER, b"front", b"", bytes(300_000)]))
    for pos in range(0, len(stream) - 1, 3):
        reader.feed(stream[pos : pos + 3])
    assert len(reader._chunks) < 10
