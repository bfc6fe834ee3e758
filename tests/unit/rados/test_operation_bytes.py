"""The operations that we build are, byte for byte, those that librados sent for the same request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cove.rados import InvalidArgument
from cove.rados.ioctx_listing import PgListOp
from cove.rados.operations import OpVector, ReadOp, WriteOp
from cove.wire.encoding import Decoder
from cove.wire.errors import PeerError
from cove.wire.hobject import decode_hobject
from cove.wire.message_codec import MessageHeader, decode_message
from cove.wire.messages import MOSDOp
from cove.wire.names import decode_locator
from cove.wire.op_codec import encode_op
from cove.wire.osd_ops import CmpMode, CmpOp, OpCode, OSDOp
from tests.golden import recorder

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "messages"


def golden_messages(directory: Path, entries: list[dict[str, Any]]) -> Iterator[MOSDOp]:
    for entry in entries:
        if entry["file"].startswith("MOSDOp-"):
            data = entry.get("data_file")
            header = MessageHeader(type=MOSDOp.TYPE, version=8, compat_version=3)
            front = (directory / entry["file"]).read_bytes()
            message = decode_message(header, front, b"", (directory / data).read_bytes() if data else b"")
            assert isinstance(message, MOSDOp)
            yield message


def golden_ops() -> list[OSDOp]:
    messages = list(golden_messages(recorder.MESSAGES_DIR, recorder.load_index(recorder.MESSAGES_DIR)))
    if VECTORS.is_dir():
        messages += golden_messages(VECTORS, json.loads((VECTORS / "index.json").read_text())["vectors"])
    return [op for message in messages for op in message.ops]


OPS = golden_ops()


def texts(data: Any) -> list[str]:
    decoder = Decoder(data)
    return decoder.list(decoder.str)


def blobs(data: Any) -> dict[str, bytes]:
    decoder = Decoder(data)
    return decoder.map(decoder.str, decoder.blob)


def name_of(op: OSDOp) -> str:
    return op.xattr_parts()[0].decode("utf-8", "surrogateescape")


def cmpxattr(op: OSDOp) -> OpVector:
    value: Any = op.xattr_parts()[1]
    params: Any = op.params
    if params.cmp_mode == CmpMode.U64:
        value = int.from_bytes(value, "little")
    return ReadOp().cmpxattr(name_of(op), value, params.cmp_op)


def omap_cmp(op: OSDOp) -> OpVector:
    decoder = Decoder(op.indata)
    return ReadOp().omap_cmp(decoder.map(decoder.str, lambda: (decoder.blob(), CmpOp(decoder.i32()))))


def omap_vals(op: OSDOp) -> OpVector:
    decoder = Decoder(op.indata)
    start_after, count = decoder.str(), decoder.u64()
    return ReadOp().omap_get_vals(start_after, decoder.str(), count)


def omap_keys(op: OSDOp) -> OpVector:
    decoder = Decoder(op.indata)
    return ReadOp().omap_get_keys(decoder.str(), decoder.u64())


def rm_range(op: OSDOp) -> OpVector:
    decoder = Decoder(op.indata)
    return WriteOp().omap_rm_range(decoder.str(), decoder.str())


def copy_from(op: OSDOp) -> OpVector:
    decoder, params = Decoder(op.indata), op.params
    source, locator = decoder.str(), decode_locator(decoder)
    assert params is not None
    return WriteOp().copy_from(
        source,
        locator,
        src_snapid=params.snapid,  # type: ignore[union-attr]
        src_version=params.src_version,  # type: ignore[union-attr]
        src_fadvise_flags=params.src_fadvise_flags,  # type: ignore[union-attr]
    )


def page(op: OSDOp) -> OpVector:
    params: Any = op.params
    return PgListOp(decode_hobject(Decoder(op.indata)), params.count, params.start_epoch)


REBUILD: dict[int, Callable[[OSDOp, Any], OpVector]] = {
    OpCode.READ: lambda op, p: ReadOp().read(p.length, p.offset),
    OpCode.STAT: lambda op, p: ReadOp().stat(),
    OpCode.SPARSE_READ: lambda op, p: ReadOp().sparse_read(p.length, p.offset),
    OpCode.MAPEXT: lambda op, p: ReadOp().mapext(p.length, p.offset),
    OpCode.CHECKSUM: lambda op, p: ReadOp().checksum(
        p.type, int.from_bytes(op.indata, "little"), p.offset, p.length, p.chunk_size
    ),
    OpCode.CMPEXT: lambda op, p: ReadOp().cmpext(op.indata, p.offset),
    OpCode.ASSERT_VER: lambda op, p: ReadOp().assert_version(p.ver),
    OpCode.LIST_WATCHERS: lambda op, p: ReadOp().list_watchers(),
    OpCode.LIST_SNAPS: lambda op, p: ReadOp().list_snaps(),
    OpCode.ISDIRTY: lambda op, p: ReadOp().is_dirty(),
    OpCode.GETXATTR: lambda op, p: ReadOp().getxattr(name_of(op)),
    OpCode.GETXATTRS: lambda op, p: ReadOp().getxattrs(),
    OpCode.CMPXATTR: lambda op, p: cmpxattr(op),
    OpCode.OMAP_GET_KEYS: lambda op, p: omap_keys(op),
    OpCode.OMAP_GET_VALS: lambda op, p: omap_vals(op),
    OpCode.OMAP_GET_VALS_BY_KEYS: lambda op, p: ReadOp().omap_get_vals_by_keys(texts(op.indata)),
    OpCode.OMAP_GET_HEADER: lambda op, p: ReadOp().omap_get_header(),
    OpCode.OMAP_CMP: lambda op, p: omap_cmp(op),
    OpCode.CALL: lambda op, p: WriteOp().exec(*op.call_parts()),
    OpCode.CREATE: lambda op, p: WriteOp().create(bool(op.flags & 1)),
    OpCode.DELETE: lambda op, p: WriteOp().remove(),
    OpCode.WRITE: lambda op, p: WriteOp().write(op.indata, p.offset),
    OpCode.WRITEFULL: lambda op, p: WriteOp().write_full(op.indata),
    OpCode.APPEND: lambda op, p: WriteOp().append(op.indata),
    OpCode.WRITESAME: lambda op, p: WriteOp().writesame(op.indata, p.length, p.offset),
    OpCode.ZERO: lambda op, p: WriteOp().zero(p.offset, p.length),
    OpCode.TRUNCATE: lambda op, p: WriteOp().truncate(p.offset),
    OpCode.SETXATTR: lambda op, p: WriteOp().setxattr(name_of(op), op.xattr_parts()[1]),
    OpCode.RMXATTR: lambda op, p: WriteOp().rmxattr(name_of(op)),
    OpCode.OMAP_SET_VALS: lambda op, p: WriteOp().omap_set(blobs(op.indata)),
    OpCode.OMAP_SET_HEADER: lambda op, p: WriteOp().omap_set_header(op.indata),
    OpCode.OMAP_RM_KEYS: lambda op, p: WriteOp().omap_rm_keys(texts(op.indata)),
    OpCode.OMAP_RM_KEY_RANGE: lambda op, p: rm_range(op),
    OpCode.OMAP_CLEAR: lambda op, p: WriteOp().omap_clear(),
    OpCode.SET_ALLOC_HINT: lambda op, p: WriteOp().set_alloc_hint(
        p.expected_object_size, p.expected_write_size, p.flags
    ),
    OpCode.ROLLBACK: lambda op, p: WriteOp().rollback(p.snapid),
    OpCode.UNDIRTY: lambda op, p: WriteOp().undirty(),
    OpCode.COPY_FROM2: lambda op, p: copy_from(op),
    OpCode.PGNLS: lambda op, p: page(op),
}


WITH_LENGTH = (OpCode.WRITE, OpCode.WRITEFULL, OpCode.APPEND, OpCode.CMPEXT)


@pytest.mark.parametrize("code", sorted({op.code for op in OPS} & REBUILD.keys()), ids=lambda code: OpCode(code).name)
def test_the_same_bytes(code: int) -> None:
    theirs = [op for op in OPS if op.code == code]
    same = 0
    for op in theirs:
        try:
            (ours,) = REBUILD[code](op, op.params).ops
        except (InvalidArgument, PeerError):
            continue  # a request made to be refused: ours are refused before they are sent
        if code in WITH_LENGTH and op.params.length != len(op.indata):  # type: ignore[union-attr]
            continue  # likewise
        if code != OpCode.SET_ALLOC_HINT:
            ours.flags |= op.flags  # FAILOK and advice, as the request had them
        assert encode_op(ours, len(ours.indata)) == encode_op(op, len(op.indata))
        assert bytes(ours.indata) == bytes(op.indata)
        same += 1
    assert same, "no request was compared"
