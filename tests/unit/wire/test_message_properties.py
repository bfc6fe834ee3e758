# mypy: allow-untyped-calls
"""Every message comes back; cut, stretched and random bytes are a PeerError or a value, and cost no memory."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from cove.wire.errors import PeerError, UsageError
from cove.wire.features import SERVER_SQUID, SUPPORTED
from cove.wire.message_codec import MessageHeader, MessageParts, decode_message, encode_message
from cove.wire.messages import (
    MESSAGES,
    BackoffOp,
    MAuth,
    MLogAck,
    MMgrConfigure,
    MMgrMap,
    MOSDBackoff,
    MOSDOp,
    MOSDOpReply,
    MPing,
    MPoolOp,
    MStatfs,
    PoolOpCode,
)
from cove.wire.op_codec import VIEW_BYTES_MIN
from cove.wire.osd_ops import Extent, OpCode, OSDOp
from cove.wire.types import ObjectLocator, PgId
from tests.fuzz.fuzz_messages import NEWEST, content, one_input, seeds
from tests.unit.wire.strategies import MESSAGE_STRATEGIES

CLASSES = pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
PEAK_BYTES_MAX = 2_000_000
FSID = UUID(int=5)
OPTIONAL_TAILS = {MAuth, MLogAck, MMgrConfigure, MMgrMap, MPing}
"""Their last field may be absent, or be whatever is left."""


def header_of(parts: MessageParts) -> MessageHeader:
    return MessageHeader(tid=parts.tid, type=parts.type, version=parts.version, compat_version=parts.compat_version)


@CLASSES
@FEW
@given(st.data())
def test_what_is_encoded_is_decoded(cls, data):
    message = data.draw(MESSAGE_STRATEGIES[cls])
    parts = encode_message(message, NEWEST)
    segment = b"".join(parts.data)
    again = decode_message(header_of(parts), parts.front, b"", segment)
    assert content(again) == content(message)
    # what follows the last field that is known is of a version to come
    later = decode_message(header_of(parts), bytes(parts.front) + b"\7", b"", segment)
    assert type(later) is cls


@CLASSES
@settings(FEW, max_examples=4, phases=[Phase.generate])
@given(st.data())
def test_cut_and_stretched_fronts_are_refused_or_values(cls, data):
    parts = encode_message(data.draw(MESSAGE_STRATEGIES[cls]), NEWEST)
    front, segment, header = bytes(parts.front), b"".join(parts.data), header_of(parts)
    for length in range(len(front)):
        try:
            decode_message(header, front[:length], b"", segment)
        except PeerError:
            continue
        assert cls in OPTIONAL_TAILS, "fronts without optional fields need all of their bytes"
    tracemalloc.start()
    try:
        for at in range(max(0, len(front) - 3)):
            for count in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x00"):
                try:
                    decode_message(header, front[:at] + count + front[at + 4 :], b"", segment)
                except PeerError:
                    pass
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES_MAX
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300))
@settings(max_examples=300)
@example(b"")
def test_random_bytes_are_refused_or_values(data):
    one_input(data)


def test_seeds_of_the_fuzzer_are_messages():
    for seed in seeds():
        length = int.from_bytes(seed[2:4], "little")
        header = MessageHeader(type=MESSAGES[seed[0]].TYPE, version=seed[1])
        decode_message(header, seed[4 : 4 + length], b"", seed[4 + length :])
        one_input(seed)


@pytest.mark.parametrize(
    "message",
    [
        MAuth(protocol=2, payload=b"x", monmap_epoch=7),
        MLogAck(fsid=FSID, last=3, channel="audit"),
    ],
    ids=["MAuth", "MLogAck"],
)
def test_last_fields_may_be_absent(message):
    parts = encode_message(message, SUPPORTED)
    last = 4 if isinstance(message, MAuth) else 4 + len("audit")
    again = decode_message(header_of(parts), parts.front[:-last], b"", b"")
    assert again == replace(message, **({"monmap_epoch": 0} if isinstance(message, MAuth) else {"channel": ""}))


def test_older_layouts_lack_their_last_fields():
    parts = encode_message(MStatfs(fsid=FSID), SUPPORTED)
    old = header_of(parts)._replace(version=1)
    assert decode_message(old, parts.front[:-1], b"", b"").data_pool is None  # type: ignore[attr-defined]


def test_unknown_pool_operations_stay_numbers():
    for code in (0x21, 0x77):
        parts = encode_message(MPoolOp(fsid=FSID, pool=1, op=code), SUPPORTED)
        op = decode_message(header_of(parts), parts.front, b"", b"").op  # type: ignore[attr-defined]
        assert op == code
        assert isinstance(op, PoolOpCode) == (code == 0x21)


def write_of(data, **changes) -> MOSDOp:
    fields: dict[str, Any] = {
        "tid": 5,
        "pg": PgId(1, 6),
        "raw_hash": 0x11223346,
        "epoch": 9,
        "flags": 0x400024,
        "oid": "o",
        "locator": ObjectLocator(1),
        "ops": [OSDOp(OpCode.STAT), OSDOp(OpCode.WRITE, Extent(0, len(data)), data)],
    }
    return MOSDOp(**(fields | changes))


def test_the_layout_of_a_request_follows_the_peer():
    old, new = (encode_message(write_of(b"x"), SUPPORTED | bits) for bits in (0, SERVER_SQUID))
    assert (old.version, old.compat_version, new.version, new.compat_version) == (8, 3, 9, 3)
    early = 24 + 12 + 27 + 24
    trace = bytes.fromhex("01010100000000")
    assert new.front == bytes(old.front)[:early] + trace + bytes(old.front)[early:]
    with pytest.raises(PeerError, match="older than 8"):
        encode_message(write_of(b"x"), 0)
    with pytest.raises(PeerError, match="older than 8"):
        encode_message(MOSDOpReply(oid="", pg=PgId(1, 1), flags=0, result=0, epoch=1, ops=[]), 0)


def test_a_trace_of_a_peer_is_skipped():
    parts = encode_message(write_of(b"x"), NEWEST)
    early = 24 + 12 + 27 + 24
    trace = b"\1\1" + struct.pack("<I", 26) + b"\1" + bytes(25)
    front = bytes(parts.front)[:early] + trace + bytes(parts.front)[early + 7 :]
    assert content(decode_message(header_of(parts), front, b"", b"x")) == content(write_of(b"x"))


def test_newer_structures_inside_a_request_are_read():
    """Which are as long as their own lengths say."""
    parts = encode_message(write_of(b"x"), SUPPORTED)
    front = bytes(parts.front)
    longer_pg = b"\2\1" + struct.pack("<I", 19) + front[6:24] + b"?"
    longer_reqid = b"\3\2" + struct.pack("<I", 23) + front[42:63] + b"??"
    longer_locator = b"\7\3" + struct.pack("<I", 29) + front[105:133] + b"?"
    for changed in (
        longer_pg + front[24:],
        front[:36] + longer_reqid + front[63:],
        front[:99] + longer_locator + front[133:],
    ):
        assert content(decode_message(header_of(parts), changed, b"", b"x")) == content(write_of(b"x"))


def test_large_payloads_are_not_copied():
    payload = bytearray(VIEW_BYTES_MIN)
    parts = encode_message(write_of(payload), SUPPORTED)
    assert len(parts.data) == 1
    assert parts.data[0] is payload
    received = memoryview(bytearray(payload))
    write = decode_message(header_of(parts), parts.front, b"", received).ops[1]  # type: ignore[attr-defined]
    assert isinstance(write.indata, memoryview)
    assert write.indata.obj is received.obj
    small = encode_message(write_of(b"abc"), SUPPORTED)
    write = decode_message(header_of(small), small.front, b"", memoryview(b"abc")).ops[1]  # type: ignore[attr-defined]
    assert type(write.indata) is bytes


def answer_of(*outputs: bytes) -> MOSDOpReply:
    ops = []
    for output in outputs:
        op = OSDOp(OpCode.READ, Extent(0x12345, len(output)))
        op.outdata = output
        ops.append(op)
    return MOSDOpReply(tid=5, oid="o", pg=PgId(1, 6), flags=5, result=0, epoch=9, ops=ops)


def test_what_was_read_is_copied_once_at_most():
    payload = bytes(VIEW_BYTES_MIN)
    parts = encode_message(answer_of(payload), SUPPORTED)
    assert parts.data[0] is payload
    assert parts.data_off == 0x2345
    (read,) = decode_message(header_of(parts), parts.front, b"", payload).ops  # type: ignore[attr-defined]
    assert read.outdata is payload
    (read,) = decode_message(header_of(parts), parts.front, b"", memoryview(payload)).ops  # type: ignore[attr-defined]
    assert type(read.outdata) is bytes
    parts = encode_message(answer_of(b"ab", b"", b"cde"), SUPPORTED)
    ops = decode_message(header_of(parts), parts.front, b"", b"abcde").ops  # type: ignore[attr-defined]
    assert [op.outdata for op in ops] == [b"ab", b"", b"cde"]


@pytest.mark.parametrize("segment", [b"", b"abcd", b"abcdef"])
def test_data_that_does_not_add_up_is_refused(segment):
    for message in (answer_of(b"ab", b"cde"), write_of(b"abcde")):
        parts = encode_message(message, SUPPORTED)
        with pytest.raises(PeerError, match="with 5 bytes"):
            decode_message(header_of(parts), parts.front, b"", segment)


@pytest.mark.parametrize(
    "message",
    [
        write_of(b"", epoch=2**32),
        write_of(b"", mtime_ns=-1),
        write_of(b"", ops=[OSDOp(OpCode.READ, Extent(-1, 0))]),
        write_of(b"", ops=[OSDOp(OpCode.READ, "no parameters")]),  # type: ignore[arg-type]
        write_of(b"", ops=[OSDOp(OpCode.STAT)] * 65536),
        MOSDOpReply(oid="", pg=PgId(1, 1), flags=0, result=2**31, epoch=1, ops=[]),
        MOSDBackoff(pg=PgId(1, 1), epoch=-1, op=1, id=1),
    ],
)
def test_what_does_not_fit_is_our_error(message):
    with pytest.raises(UsageError):
        encode_message(message, SUPPORTED)


def test_acknowledged_backoffs_stay_behind_requests():
    block = MOSDBackoff(pg=PgId(1, 1), epoch=3, op=BackoffOp.BLOCK, id=1)
    ack = replace(block, op=BackoffOp.ACK_BLOCK)
    request = encode_message(write_of(b""), SUPPORTED)
    assert encode_message(ack, SUPPORTED).priority == request.priority == 63
    assert encode_message(block, SUPPORTED).priority == 127
