"""The 38 bytes of one operation: u16 code, u32 flags, 28 bytes that the code gives a meaning, u32 payload length.

In a request the payload is the operation's input, in a reply its output; both travel in the data segment, one
operation's after the other's. `LAYOUTS` says for each kind of parameters how it fills the 28 bytes, `PARAMS_OF` which
operations have which kind.

Source: Ceph's include/rados.h (`ceph_osd_op`), osd/osd_types.cc (how data is split among operations).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

from .encoding import Buffer
from .errors import PeerError, UsageError
from .osd_ops import (
    AllocHint,
    AssertVer,
    Checksum,
    ClassCall,
    CopyFrom,
    CopyGet,
    Extent,
    Notify,
    OpCode,
    OSDOp,
    PgList,
    RawParams,
    SnapId,
    Watch,
    WriteSame,
    Xattr,
)

OP_BYTES: Final = 38
UNION_BYTES: Final = 28
OPS_MAX: Final = 0xFFFF
"""Most operations of a message: a request counts them in 16 bits."""
VIEW_BYTES_MIN: Final = 4096
"""Shorter pieces of a data segment are copied: a view costs more, and keeps the whole segment alive."""

LAYOUTS: Final[dict[type, tuple[str, tuple[str, ...]]]] = {
    Extent: ("QQQI", ("offset", "length", "truncate_size", "truncate_seq")),
    Xattr: ("IIBB", ("name_len", "value_len", "cmp_op", "cmp_mode")),
    ClassCall: ("BBxI", ("class_len", "method_len", "indata_len")),
    PgList: ("QI", ("count", "start_epoch")),
    SnapId: ("Q", ("snapid",)),
    Watch: ("QQBII", ("cookie", "ver", "sub_op", "gen", "timeout")),
    Notify: ("Q", ("cookie",)),
    AssertVer: ("8xQ", ("ver",)),
    CopyGet: ("Q", ("max",)),
    CopyFrom: ("QQBI", ("snapid", "src_version", "flags", "src_fadvise_flags")),
    AllocHint: ("QQI", ("expected_object_size", "expected_write_size", "flags")),
    WriteSame: ("QQQ", ("offset", "length", "data_length")),
    Checksum: ("QQIB", ("offset", "length", "chunk_size", "type")),
    RawParams: ("28s", ("union",)),
}
"""Kind of parameters → what it fills the start of the 28 bytes with; the rest is zero."""

PARAMS_OF: Final[dict[int, type | None]] = {
    **dict.fromkeys(
        (
            OpCode.READ,
            OpCode.SPARSE_READ,
            OpCode.SYNC_READ,
            OpCode.MAPEXT,
            OpCode.CMPEXT,
            OpCode.WRITE,
            OpCode.WRITEFULL,
            OpCode.APPEND,
            OpCode.ZERO,
            OpCode.TRUNCATE,
            OpCode.TRIMTRUNC,
        ),
        Extent,
    ),
    **dict.fromkeys((OpCode.GETXATTR, OpCode.CMPXATTR, OpCode.SETXATTR, OpCode.RMXATTR), Xattr),
    OpCode.CALL: ClassCall,
    **dict.fromkeys((OpCode.PGNLS, OpCode.PGNLS_FILTER), PgList),
    OpCode.ROLLBACK: SnapId,
    OpCode.WATCH: Watch,
    **dict.fromkeys((OpCode.NOTIFY, OpCode.NOTIFY_ACK), Notify),
    OpCode.ASSERT_VER: AssertVer,
    OpCode.COPY_GET: CopyGet,
    **dict.fromkeys((OpCode.COPY_FROM, OpCode.COPY_FROM2), CopyFrom),
    OpCode.SET_ALLOC_HINT: AllocHint,
    OpCode.WRITESAME: WriteSame,
    OpCode.CHECKSUM: Checksum,
    **dict.fromkeys(
        (
            OpCode.STAT,
            OpCode.DELETE,
            OpCode.CREATE,
            OpCode.GETXATTRS,
            OpCode.LIST_WATCHERS,
            OpCode.LIST_SNAPS,
            OpCode.ISDIRTY,
            OpCode.UNDIRTY,
            OpCode.CACHE_PIN,
            OpCode.CACHE_UNPIN,
            OpCode.CACHE_FLUSH,
            OpCode.CACHE_EVICT,
            OpCode.CACHE_TRY_FLUSH,
            OpCode.OMAP_GET_KEYS,
            OpCode.OMAP_GET_VALS,
            OpCode.OMAP_GET_HEADER,
            OpCode.OMAP_GET_VALS_BY_KEYS,
            OpCode.OMAP_CMP,
            OpCode.OMAP_SET_VALS,
            OpCode.OMAP_SET_HEADER,
            OpCode.OMAP_CLEAR,
            OpCode.OMAP_RM_KEYS,
            OpCode.OMAP_RM_KEY_RANGE,
        ),
        None,
    ),
}
"""Operation → its kind of parameters. What is not listed keeps its 28 bytes as they are."""

_OMAP_WITH_INPUT: Final = frozenset(
    code for code in PARAMS_OF if OpCode(code).name.startswith("OMAP_") and code != OpCode.OMAP_CLEAR
)
"""Clients put the input's length where an extent has its own; nobody reads it."""


def _values_getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """The attributes of those names, as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    name = names[0]
    return lambda params: (getattr(params, name),)


def _op_struct(layout: str) -> struct.Struct:
    padding = UNION_BYTES - struct.calcsize("<" + layout)
    return struct.Struct(f"<HI{layout}{padding}xI")


def _watch(cookie: int, ver: int, sub_op: int, gen: int, timeout: int) -> Watch:
    return Watch(cookie, sub_op, gen, timeout, ver)


_PLAIN: Final = _op_struct("")
_EXTENT: Final = _op_struct(LAYOUTS[Extent][0])
_pack_plain, _pack_extent = _PLAIN.pack, _EXTENT.pack
_ENCODE: Final = {kind: (_op_struct(layout).pack, _values_getter(names)) for kind, (layout, names) in LAYOUTS.items()}
_MAKE: Final[dict[type, Callable[..., Any]]] = {kind: kind for kind in LAYOUTS} | {Watch: _watch}
_DECODE: Final = {
    int(code): (_PLAIN, None) if kind is None else (_op_struct(LAYOUTS[kind][0]), _MAKE[kind])
    for code, kind in PARAMS_OF.items()
}
_DECODE_RAW: Final = (_op_struct(LAYOUTS[RawParams][0]), RawParams)


def encode_op(op: OSDOp, payload_length: int) -> bytes:
    """The 38 bytes. Raises struct.error if a value does not fit, UsageError for parameters that are none."""
    params = op.params
    if type(params) is Extent:
        return _pack_extent(
            op.code,
            op.flags,
            params.offset,
            params.length,
            params.truncate_size,
            params.truncate_seq,
            payload_length,
        )
    if params is None:
        if op.code in _OMAP_WITH_INPUT:
            return _pack_extent(op.code, op.flags, 0, len(op.indata), 0, 0, payload_length)
        return _pack_plain(op.code, op.flags, payload_length)
    try:
        pack, values = _ENCODE[type(params)]
    except KeyError:
        raise UsageError(f"{params!r} are no parameters of an operation") from None
    return pack(op.code, op.flags, *values(params), payload_length)


def decode_op(front: Buffer, offset: int) -> tuple[OSDOp, int]:
    """The operation at `offset`, typed, without its input; and its payload length. Raises struct.error if too short."""
    code = front[offset] | front[offset + 1] << 8
    layout, make = _DECODE.get(code, _DECODE_RAW)
    _, flags, *values, payload_length = layout.unpack_from(front, offset)
    return OSDOp(code, None if make is None else make(*values), b"", flags), payload_length


def split_inputs(ops: Sequence[OSDOp], lengths: Sequence[int], data: Buffer) -> None:
    """Give each operation its part of a request's data segment as its input. Raises PeerError if they don't add up.

    Long parts are views of the segment, which therefore must not change any more.
    """
    total = len(data)
    if sum(lengths) != total:
        raise PeerError(f"operations with {sum(lengths)} bytes of input, but {total} bytes of data")
    if not total:
        return
    view, start = memoryview(data), 0
    for op, length in zip(ops, lengths, strict=True):
        if length == total and type(data) is bytes:
            op.indata = data
        elif length:
            part = view[start : start + length]
            op.indata = part if length >= VIEW_BYTES_MIN else bytes(part)
        start += length


def split_outputs(ops: Sequence[OSDOp], lengths: Sequence[int], data: Buffer) -> None:
    """Give each operation its part of a reply's data segment as its output. Raises PeerError if they don't add up.

    Outputs are `bytes`: a segment that is `bytes` and belongs to one operation is not copied at all, others once.
    """
    total = len(data)
    if sum(lengths) != total:
        raise PeerError(f"operations with {sum(lengths)} bytes of output, but {total} bytes of data")
    if not total:
        return
    view, start = memoryview(data), 0
    for op, length in zip(ops, lengths, strict=True):
        if length == total and type(data) is bytes:
            op.outdata = data
        elif length:
            op.outdata = bytes(view[start : start + length])
        start += length
