# mypy: allow-untyped-calls
"""Messages of real daemons and clients: what they decode to, and that they encode to the same bytes again."""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cove.wire.encoding import TIME_MAX_NS
from cove.wire.errors import PeerError, UsageError
from cove.wire.features import SUPPORTED
from cove.wire.message_codec import MessageHeader, decode_message, encode_message
from cove.wire.messages import (
    MESSAGES,
    Message,
    MMonGetVersion,
    MOSDMap,
    MOSDOp,
    MOSDOpReply,
    MWatchNotify,
    NotifyCode,
)
from cove.wire.op_codec import LAYOUTS, PARAMS_OF, encode_op
from cove.wire.osd_ops import CopyGet, OpCode, OSDOp, RawParams
from cove.wire.snapsets import SnapList
from cove.wire.types import HObject, ObjectLocator, PgId
from cove.wire.watches import NotifyAck, NotifyReplies, NotifyRequest, WatchList
from tests.fuzz.fuzz_messages import NEWEST
from tests.golden import recorder

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "messages"
ENTRIES: list[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text())["vectors"] if VECTORS.is_dir() else []
with_vectors = pytest.mark.skipif(not ENTRIES, reason="the vectors of a real cluster are not here")


def load(entry: dict[str, Any]) -> tuple[MessageHeader, bytes, bytes]:
    header = MessageHeader(
        tid=entry["header_tid"],
        type=entry["type_number"],
        priority=entry["priority"],
        version=entry["version"],
        data_off=entry["data_off"],
        compat_version=entry["compat_version"],
    )
    data = (VECTORS / entry["data_file"]).read_bytes() if "data_file" in entry else b""
    return header, (VECTORS / entry["file"]).read_bytes(), data


def decoded(entry: dict[str, Any]) -> Message:
    header, front, data = load(entry)
    return decode_message(header, front, b"", data)


def request(entry: dict[str, Any]) -> MOSDOp:
    message = decoded(entry)
    assert isinstance(message, MOSDOp)
    return message


def check_same_bytes(header: MessageHeader, front: bytes, data: bytes) -> None:
    message = decode_message(header, front, b"", data)
    parts = encode_message(message, NEWEST if header.version > 8 else SUPPORTED)
    assert parts.front == front
    assert b"".join(parts.data) == data
    assert not parts.middle
    sent = (parts.type, parts.tid, parts.version, parts.compat_version, parts.data_off)
    assert sent == (header.type, header.tid, header.version, header.compat_version, header.data_off)
    if not isinstance(message, MOSDMap):  # monitors and OSDs send maps with different priorities
        assert parts.priority == header.priority


@with_vectors
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"].removesuffix(".bin"))
def test_the_same_bytes_come_back(entry):
    check_same_bytes(*load(entry))


def name_of(value: HObject) -> dict[str, Any]:
    return {
        "key": value.key,
        "oid": value.oid,
        "snap": value.snap,
        "hash": value.hash,
        "max": int(value.max),
        "ns": value.nspace,
        "pool": value.pool,
    }


def union_of(op: OSDOp) -> str:
    return encode_op(op, 0)[6:34].hex()


def lengths(maps: dict[int, bytes]) -> list[list[int]]:
    return [[epoch, len(encoded)] for epoch, encoded in maps.items()]


def request_values(m: Any) -> dict[str, Any]:
    return {
        "pgid": str(m.pg),
        "hash": m.raw_hash,
        "epoch": m.epoch,
        "flags": m.flags,
        "reqid": ["0.0", 0, 0] if m.reqid is None else m.reqid,
        "client_inc": m.client_inc,
        "mtime": list(divmod(m.mtime_ns, 10**9)),
        "oloc": [m.locator.pool, m.locator.key, m.locator.nspace, m.locator.hash],
        "oid": m.oid,
        "ops": [[op.code, op.flags, len(op.indata), bytes(op.indata).hex(), union_of(op)] for op in m.ops],
        "snap": m.snapid,
        "seq": m.snapc.seq,
        "snaps": list(m.snapc.snaps),
        "retry": m.retry_attempt,
        "features": hex(m.features),
        "shard": m.shard,
    }


def request_wanted(d: dict[str, Any]) -> dict[str, Any]:
    locator = [d["oloc"][name] for name in ("pool", "key", "ns", "hash")]
    ops = [[op["op"], op["flags"], op["plen"], op["in"], op["union_hex"]] for op in d["ops"]]
    wanted = {**d, "oloc": locator, "ops": ops, "shard": -1}
    del wanted["trace"]
    return wanted


def reply_values(m: Any) -> dict[str, Any]:
    return {
        "oid": m.oid,
        "pgid": str(m.pg),
        "flags": m.flags,
        "result": m.result,
        "badver": list(m.bad_replay_version),
        "epoch": m.epoch,
        "ops": [[op.code, op.flags, op.rval, op.outdata.hex(), op.params.union.hex()] for op in m.ops],
        "retry": m.retry_attempt,
        "replay": list(m.replay_version),
        "uv": m.user_version,
        "redir": int(m.redirect is not None),
    }


def reply_wanted(d: dict[str, Any]) -> dict[str, Any]:
    ops = [[op["op"], op["flags"], op["rval"], op["out"], op["union_hex"]] for op in d["ops"]]
    wanted = {**d, "ops": ops}
    del wanted["trace"]
    return wanted


def subscriptions(m: Any) -> list[Any]:
    return [[what, [wanted.start, int(wanted.flags)]] for what, wanted in m.what.items()]


def same(d: dict[str, Any]) -> dict[str, Any]:
    """What is listed, without the fields that have a constant in their place."""
    return {key: value for key, value in d.items() if key not in ("mon", "mtid", "auid", "pad", "mv", "gap", "q")}


COMPARED: dict[str, Any] = {
    "MOSDOp": (request_values, request_wanted),
    "MOSDOpReply": (reply_values, reply_wanted),
    "MPing": (lambda m: {}, same),
    "MMonGetMap": (lambda m: {}, same),
    "MMonMap": (lambda m: {"len": len(m.monmap)}, same),
    "MConfig": (lambda m: {"cfg": list(m.config)}, same),
    "MMonSubscribe": (lambda m: {"what": subscriptions(m), "host": m.hostname}, same),
    "MMonGetVersion": (lambda m: {"handle": m.handle, "what": m.what}, same),
    "MMonGetVersionReply": (
        lambda m: {"handle": m.handle, "version": m.version, "oldest": m.oldest_version},
        same,
    ),
    "MMonCommand": (
        lambda m: {"version": m.version, "fsid": m.fsid.hex, "cmd": m.cmd, "data": m.indata.hex()},
        same,
    ),
    "MMonCommandAck": (
        lambda m: {"version": m.version, "r": m.result, "rs": m.status, "cmd": m.cmd, "data": len(m.outdata)},
        same,
    ),
    **dict.fromkeys(
        ("MCommand", "MMgrCommand"),
        (lambda m: {"fsid": m.fsid.hex, "cmd": m.cmd, "data": m.indata.hex()}, same),
    ),
    **dict.fromkeys(
        ("MCommandReply", "MMgrCommandReply"),
        (lambda m: {"r": m.result, "rs": m.status, "data": len(m.outdata)}, same),
    ),
    "MMgrConfigure": (
        lambda m: {"period": m.period, "thr": m.threshold, "metric": m.queries[-1]},
        same,
    ),
    "MMgrClose": (lambda m: {"n": m.daemon_name, "svc": m.service_name}, same),
    "MOSDMap": (
        lambda m: {
            "fsid": m.fsid.hex,
            "inc": lengths(m.incrementals),
            "full": lengths(m.fulls),
            "trim": m.oldest,
            "newest": m.newest,
        },
        same,
    ),
    "MPoolOp": (
        lambda m: {
            "version": m.version,
            "fsid": m.fsid.hex,
            "pool": m.pool,
            "op": hex(m.op),
            "snapid": m.snapid,
            "name": m.name,
            "rule": m.crush_rule,
        },
        same,
    ),
    "MPoolOpReply": (
        lambda m: (
            {
                "version": m.version,
                "fsid": m.fsid.hex,
                "code": m.reply_code,
                "epoch": m.epoch,
                "has": int(bool(m.response_data)),
            }
            | ({"data": m.response_data.hex()} if m.response_data else {})
        ),
        same,
    ),
    "MStatfs": (
        lambda m: {
            "version": m.version,
            "fsid": m.fsid.hex,
            "has": int(m.data_pool is not None),
            "pool": m.data_pool,
        },
        same,
    ),
    "MStatfsReply": (
        lambda m: {
            "fsid": m.fsid.hex,
            "version": m.version,
            "kb": m.kb,
            "used": m.kb_used,
            "avail": m.kb_avail,
            "objs": m.num_objects,
        },
        same,
    ),
    "MGetPoolStats": (lambda m: {"version": m.version, "fsid": m.fsid.hex, "pools": m.pools}, same),
    "MGetPoolStatsReply": (
        lambda m: {
            "version": m.version,
            "fsid": m.fsid.hex,
            "stats": [
                [name, s.log_size, s.ondisk_log_size, s.up, s.acting, s.num_store_stats] for name, s in m.stats.items()
            ],
            "per_pool": int(m.per_pool),
        },
        lambda d: (
            same(d) | {"stats": [[n, s["log"], s["ondisk"], s["up"], s["acting"], s["n"]] for n, s in d["stats"]]}
        ),
    ),
    "MOSDBackoff": (
        lambda m: {
            "pgid": str(m.pg),
            "epoch": m.epoch,
            "op": m.op,
            "id": m.id,
            "begin": name_of(m.begin),
            "end": name_of(m.end),
        },
        same,
    ),
    "MWatchNotify": (
        lambda m: {
            "opcode": m.opcode,
            "cookie": m.cookie,
            "ver": m.ver,
            "nid": m.notify_id,
            "bl": m.payload.hex(),
            "rc": m.return_code,
            "gid": m.notifier,
            "data": m.data.hex(),
        },
        same,
    ),
}


@with_vectors
@pytest.mark.parametrize("name", sorted({entry["type"] for entry in ENTRIES}))
def test_the_listed_values_are_found(name):
    values, wanted = COMPARED[name]
    for entry in ENTRIES:
        if entry["type"] == name:
            assert values(decoded(entry)) == wanted(entry["decoded"]), entry["file"]


@with_vectors
def test_counters_of_a_pool_have_their_names():
    (entry,) = [entry for entry in ENTRIES if entry["type"] == "MGetPoolStatsReply"]
    message: Any = decoded(entry)
    counters = {name: value for name, value in message.stats["rbd"].counters.items() if value}
    assert counters == {
        "num_bytes": 19,
        "num_objects": 1,
        "num_object_copies": 1,
        "num_wr": 2,
        "num_wr_kb": 2,
        "num_objects_dirty": 1,
    }


@with_vectors
def test_the_vectors_have_nearly_every_kind_of_parameters():
    kinds = {type(op.params) for entry in ENTRIES if entry["type"] == "MOSDOp" for op in request(entry).ops}
    assert kinds == (set(LAYOUTS) | {type(None)}) - {CopyGet}


@with_vectors
def test_our_own_operations_are_packed_as_clients_do():
    """Typed parameters, made anew from those that were decoded: nothing of the 28 bytes is lost."""
    for entry in ENTRIES:
        if entry["type"] == "MOSDOp":
            for op, listed in zip(request(entry).ops, entry["decoded"]["ops"], strict=True):
                assert (isinstance(op.params, RawParams)) == (op.code not in PARAMS_OF)
                assert union_of(OSDOp(op.code, op.params, op.indata)) == listed["union_hex"]


INPUTS: dict[int, Any] = {OpCode.NOTIFY: NotifyRequest, OpCode.NOTIFY_ACK: NotifyAck}
OUTPUTS: dict[int, Any] = {OpCode.LIST_SNAPS: SnapList, OpCode.LIST_WATCHERS: WatchList}


@with_vectors
def test_inputs_and_outputs_of_operations_come_back():
    seen = Counter[type]()
    for entry in ENTRIES:
        message: Any = decoded(entry)
        payloads: list[tuple[Any, bytes]] = []
        if isinstance(message, MOSDOp):
            payloads = [(INPUTS.get(op.code), bytes(op.indata)) for op in message.ops]
        elif isinstance(message, MOSDOpReply):
            payloads = [(OUTPUTS.get(op.code), op.outdata) for op in message.ops if not op.rval]
        elif isinstance(message, MWatchNotify) and message.opcode == NotifyCode.COMPLETE:
            payloads = [(NotifyReplies, message.data)]
        for cls, payload in payloads:
            if cls is not None and payload:
                assert cls.from_bytes(payload).to_bytes() == payload, entry["file"]
                seen[cls] += 1
    assert seen.keys() == {*INPUTS.values(), *OUTPUTS.values(), NotifyReplies}


def test_every_type_has_its_number():
    assert len({cls.TYPE for cls in MESSAGES}) == len(MESSAGES)
    assert all(cls.TYPE and cls.OLDEST_VERSION <= cls.HEAD_VERSION for cls in MESSAGES)
    assert all(cls.COMPAT_VERSION <= cls.HEAD_VERSION for cls in MESSAGES)


def test_an_unknown_type_is_named():
    with pytest.raises(PeerError, match="0x3e7"):
        decode_message(MessageHeader(type=999), b"", b"", b"")


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_versions_out_of_reach_are_refused(cls):
    newer = MessageHeader(type=cls.TYPE, version=cls.HEAD_VERSION + 1, compat_version=cls.HEAD_VERSION + 1)
    with pytest.raises(PeerError, match=f"{cls.__name__} version {newer.version}"):
        decode_message(newer, b"", b"", b"")
    if cls.OLDEST_VERSION == 1:
        return
    older = MessageHeader(type=cls.TYPE, version=cls.OLDEST_VERSION - 1, compat_version=1)
    with pytest.raises(PeerError, match=f"{cls.__name__} version {older.version}"):
        decode_message(older, b"", b"", b"")


def test_no_version_is_the_first():
    """Linux's client leaves it 0 where there is only one."""
    for version in (0, 1):
        header = MessageHeader(type=MMonGetVersion.TYPE, version=version, compat_version=0)
        message = decode_message(header, bytes(8) + b"\6\0\0\0osdmap", b"", b"")
        assert message == MMonGetVersion(handle=0, what="osdmap")


def test_text_that_has_no_bytes_is_our_error():
    request = MOSDOp(pg=PgId(1, 2), raw_hash=2, epoch=3, flags=4, oid="\ud800", locator=ObjectLocator(1), ops=[])
    with pytest.raises(UsageError):
        encode_message(request, NEWEST)
    answer = MOSDOpReply(oid="\ud800", pg=PgId(1, 2), flags=0, result=0, epoch=1, ops=[])
    with pytest.raises(UsageError):
        encode_message(answer, NEWEST)


def test_a_time_beyond_all_times_can_be_written_again():
    request = MOSDOp(
        pg=PgId(1, 2), raw_hash=2, epoch=3, flags=4, oid="o", locator=ObjectLocator(1), ops=[], mtime_ns=TIME_MAX_NS
    )
    parts = encode_message(request, NEWEST)
    header = MessageHeader(type=parts.type, version=parts.version, compat_version=parts.compat_version)
    front = bytes(parts.front)
    last = struct.pack("<II", 2**32 - 1, 999_999_999)
    assert front.count(last) == 1
    absurd = decode_message(header, front.replace(last, b"\xff" * 8), b"", b"")
    assert isinstance(absurd, MOSDOp)
    assert absurd.mtime_ns == TIME_MAX_NS


GOLDEN = recorder.load_index()


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["file"].removesuffix(".bin"))
def test_recorded_messages_come_back(entry):
    check_same_bytes(*recorder.load(entry))


def test_the_recorder_keeps_a_few_of_each_kind(tmp_path):
    ping = MessageHeader(type=2)
    config = MessageHeader(type=62, priority=196)
    with recorder.GoldenRecorder(tmp_path, per_kind=2) as store:
        assert store.record(ping, b"", b"", b"", "to server") == tmp_path / "MPing-01.bin"
        assert store.record(ping, b"", b"", b"", "to server") is None  # the same once more
        for value in range(5):
            front = b"\1\0\0\0\1\0\0\0k\1\0\0\0" + bytes([0x30 + value])
            assert (store.record(config, front, b"", b"", "from server") is not None) == (value < 2)
        assert store.record(MessageHeader(type=17), b"secret", b"", b"", "to server") is None
        assert store.record(ping, bytes(recorder.BYTES_MAX + 1), b"", b"", "to server") is None
        assert store.record(MessageHeader(type=999), b"?", b"", b"d", "from server") is not None
    entries = recorder.load_index(tmp_path)
    assert [entry["kind"] for entry in entries] == ["MPing 1", "MConfig 1", "MConfig 1", "type-999 1 undecodable"]
    check_same_bytes(*recorder.load(entries[1], tmp_path))
    assert recorder.load(entries[3], tmp_path) == (MessageHeader(type=999), b"?", b"d")
    with recorder.GoldenRecorder(tmp_path, per_kind=2) as store:
        assert store.record(config, b"\0\0\0\0", b"", b"", "from server") is None
