"""Building vectors: codes, parameters, inputs, budget; and decoding outputs."""

from __future__ import annotations

import array
import errno
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.rados import InOutError, InvalidArgument, ObjectNotFound, OpResult, ReadOp, WriteOp
from cove.rados.operations import OpVector
from cove.rados.results import decode_omap_keys, decode_omap_values, decode_sparse_read
from cove.wire.encoding import Decoder, Encoder
from cove.wire.errors import PeerError
from cove.wire.osd_ops import AllocHint, AssertVer, CmpMode, CmpOp, Extent, OpCode, OpFlag, OSDOp, RequestFlag, Xattr
from cove.wire.types import ObjectLocator

BUILDERS: list[tuple[Callable[[], OpVector], OpCode, object, bytes, int]] = [
    (lambda: WriteOp().create(), OpCode.CREATE, None, b"", 0),
    (lambda: WriteOp().write(b"abc", 5), OpCode.WRITE, Extent(5, 3), b"abc", 3),
    (lambda: WriteOp().write_full(b"abc"), OpCode.WRITEFULL, Extent(0, 3), b"abc", 3),
    (lambda: WriteOp().append(b"abc"), OpCode.APPEND, Extent(0, 3), b"abc", 3),
    (lambda: WriteOp().zero(4, 8), OpCode.ZERO, Extent(4, 8), b"", 0),
    (lambda: WriteOp().truncate(9), OpCode.TRUNCATE, Extent(9, 0), b"", 0),
    (lambda: WriteOp().remove(), OpCode.DELETE, None, b"", 0),
    (lambda: WriteOp().assert_exists(), OpCode.STAT, None, b"", 0),
    (lambda: WriteOp().assert_version(3), OpCode.ASSERT_VER, AssertVer(3), b"", 0),
    (lambda: WriteOp().setxattr("né", b"v"), OpCode.SETXATTR, Xattr(3, 1), "né".encode() + b"v", 4),
    (lambda: WriteOp().rmxattr("n"), OpCode.RMXATTR, Xattr(1, 0), b"n", 1),
    (
        lambda: WriteOp().cmpxattr("n", b"v", CmpOp.GT),
        OpCode.CMPXATTR,
        Xattr(1, 1, CmpOp.GT, CmpMode.STRING),
        b"nv",
        2,
    ),
    (
        lambda: ReadOp().cmpxattr("n", 7),
        OpCode.CMPXATTR,
        Xattr(1, 8, CmpOp.EQ, CmpMode.U64),
        b"n\x07\0\0\0\0\0\0\0",
        9,
    ),
    (lambda: ReadOp().cmpext(b"zz", 6), OpCode.CMPEXT, Extent(6, 2), b"zz", 2),
    (lambda: WriteOp().omap_clear(), OpCode.OMAP_CLEAR, None, b"", 0),
    (lambda: WriteOp().omap_set_header(b"h"), OpCode.OMAP_SET_HEADER, None, b"h", 1),
    (
        lambda: WriteOp().omap_set({"b": b"2", "a": b""}),
        OpCode.OMAP_SET_VALS,
        None,
        bytes.fromhex("02000000 01000000 61 00000000 01000000 62 01000000 32"),
        23,
    ),
    (
        lambda: WriteOp().omap_rm_keys(["b", "a"]),
        OpCode.OMAP_RM_KEYS,
        None,
        bytes.fromhex("02000000 01000000 61 01000000 62"),
        14,
    ),
    (
        lambda: WriteOp().omap_rm_range("a", "b"),
        OpCode.OMAP_RM_KEY_RANGE,
        None,
        bytes.fromhex("01000000 61 01000000 62"),
        10,
    ),
    (
        lambda: ReadOp().omap_cmp({"k": (b"v", CmpOp.LT)}),
        OpCode.OMAP_CMP,
        None,
        bytes.fromhex("01000000 01000000 6b 01000000 76 05000000"),
        18,
    ),
    (lambda: WriteOp().set_alloc_hint(4 << 20, 4096, 4), OpCode.SET_ALLOC_HINT, AllocHint(4 << 20, 4096, 4), b"", 0),
    (lambda: ReadOp().read(10, 4), OpCode.READ, Extent(4, 10), b"", 10),
    (lambda: ReadOp().sparse_read(10, 4), OpCode.SPARSE_READ, Extent(4, 10), b"", 10),
    (lambda: ReadOp().stat(), OpCode.STAT, None, b"", 0),
    (lambda: ReadOp().getxattr("n"), OpCode.GETXATTR, Xattr(1, 0), b"n", 1),
    (lambda: ReadOp().getxattrs(), OpCode.GETXATTRS, None, b"", 0),
    (
        lambda: ReadOp().omap_get_vals("a", "p", 2),
        OpCode.OMAP_GET_VALS,
        None,
        bytes.fromhex("01000000 61 0200000000000000 01000000 70"),
        0,
    ),
    (
        lambda: ReadOp().omap_get_keys("a", 2),
        OpCode.OMAP_GET_KEYS,
        None,
        bytes.fromhex("01000000 61 0200000000000000"),
        0,
    ),
    (lambda: ReadOp().omap_get_header(), OpCode.OMAP_GET_HEADER, None, b"", 0),
]


@pytest.mark.parametrize(("build", "code", "params", "indata", "budget"), BUILDERS)
def test_builder(build: Callable[[], OpVector], code: OpCode, params: object, indata: bytes, budget: int) -> None:
    vector = build()
    (op,) = vector.ops
    assert op.code == code
    assert op.params == params
    assert bytes(op.indata) == indata
    assert vector.budget_bytes == budget


def test_chain_keeps_the_order_and_the_flags() -> None:
    op = WriteOp().create(exclusive=True).exec("rbd", "set_id", b"id").setxattr("a", b"b").failok()
    assert [entry.code for entry in op.ops] == [OpCode.CREATE, OpCode.CALL, OpCode.SETXATTR]
    assert [entry.flags for entry in op.ops] == [OpFlag.EXCL, 0, OpFlag.FAILOK]
    assert op.ops[1].call_parts() == ("rbd", "set_id", b"id")
    assert op.name == "create, exec rbd.set_id, setxattr"
    assert op.with_flags(RequestFlag.RETURNVEC).flags == RequestFlag.RETURNVEC


def test_write_data_is_not_copied() -> None:
    data = bytearray(b"0123456789")
    view = memoryview(data)[2:6]
    op = WriteOp().write(view, 0)
    data[2] = ord("x")
    assert bytes(op.ops[0].indata) == b"x345"
    assert WriteOp().write(data).ops[0].indata is data


def test_buffers_of_wider_items_count_in_bytes() -> None:
    numbers = array.array("I", [1, 2, 3])
    op = WriteOp().append(memoryview(numbers))
    assert op.budget_bytes == 3 * numbers.itemsize
    assert op.ops[0].params == Extent(0, 3 * numbers.itemsize)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: WriteOp().write(cast("bytes", "text")), "encode text first"),
        (lambda: WriteOp().write(memoryview(b"abcdef")[::2]), "contiguous"),
        (lambda: WriteOp().write(b"", -1), "offset=-1"),
        (lambda: ReadOp().read(-1), "length=-1"),
        (lambda: WriteOp().truncate(-5), "-5"),
        (lambda: WriteOp().assert_version(0), "version=0"),
        (lambda: WriteOp().cmpxattr("a", -1), "64 bits"),
        (lambda: WriteOp().writesame(b"abc", 7), "multiple"),
        (lambda: WriteOp().failok(), "no operation"),
        (lambda: WriteOp().handler(lambda rval, data: None), "no operation"),
    ],
)
def test_bad_arguments(build: Callable[[], object], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        build()


def test_a_submitted_vector_is_frozen_but_can_be_submitted_again() -> None:
    op = WriteOp().write(b"abc")
    first = op.take_ops()
    first[0].rval = -5
    first[0].outdata = b"out"
    second = op.take_ops()
    assert second[0] is not first[0]
    assert (second[0].rval, second[0].outdata) == (0, b"")
    assert second[0].indata is first[0].indata
    with pytest.raises(InvalidArgument, match="submitted"):
        op.write(b"more")
    with pytest.raises(InvalidArgument, match="submitted"):
        op.failok()


def _answered(code: OpCode, outdata: bytes, rval: int = 0) -> OpResult:
    op = OSDOp(code)
    op.outdata, op.rval = outdata, rval
    return OpResult(0, 1, [op])


def test_decoded_values() -> None:
    stat = _answered(OpCode.STAT, bytes.fromhex("0a00000000000000 01000000 02000000")).value()
    assert (stat.size, stat.mtime_ns) == (10, 1_000_000_002)
    assert stat.mtime == pytest.approx(1.000000002)
    sparse = _answered(
        OpCode.SPARSE_READ,
        bytes.fromhex("02000000 0000000000000000 0200000000000000 0800000000000000 0100000000000000 03000000 616263"),
    ).value()
    assert [(offset, bytes(data)) for offset, data in sparse.chunks()] == [(0, b"ab"), (8, b"c")]
    assert _answered(OpCode.READ, b"raw").value() == b"raw"
    assert _answered(OpCode.CALL, b"raw").ops == [(0, b"raw")]


def test_undecodable_output_is_eio_and_a_failed_operation_its_own_error() -> None:
    with pytest.raises(InOutError):
        _answered(OpCode.STAT, b"").value()
    with pytest.raises(ObjectNotFound):
        _answered(OpCode.STAT, b"", -2).value()


@given(st.dictionaries(st.text(max_size=8), st.binary(max_size=16), max_size=8), st.booleans())
def test_omap_values_round_trip(values: dict[str, bytes], more: bool) -> None:
    encoder = Encoder()
    encoder.map(values, encoder.str, encoder.blob)
    encoder.bool(more)
    page = decode_omap_values(encoder.bytes())
    assert page == (values, more)
    sent = WriteOp().omap_set(values).ops[0].indata
    decoder = Decoder(sent)
    assert decoder.map(decoder.str, decoder.blob) == values


@pytest.mark.parametrize("decode", [decode_omap_keys, decode_omap_values, decode_sparse_read])
@given(data=st.binary(max_size=64))
def test_any_bytes_give_a_value_or_a_peer_error(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except PeerError:
        pass


def test_the_name_of_a_long_vector_is_short() -> None:
    op = WriteOp().create()
    assert op.name == "create"
    for _ in range(10_000):
        op.append(b"x")
    assert op.name == "create, " + "append, " * 7 + "and 9993 more"


NO_TEXT = "\ud800"
"""Half of a pair: no bytes can have been decoded to it."""


@pytest.mark.parametrize(
    "build",
    [
        lambda: ReadOp().exec(NO_TEXT, "method"),
        lambda: ReadOp().exec("class", NO_TEXT),
        lambda: ReadOp().getxattr(NO_TEXT),
        lambda: WriteOp().setxattr(NO_TEXT, b""),
        lambda: WriteOp().rmxattr(NO_TEXT),
        lambda: ReadOp().cmpxattr(NO_TEXT, b""),
        lambda: WriteOp().omap_set({NO_TEXT: b""}),
        lambda: WriteOp().omap_rm_keys([NO_TEXT]),
        lambda: WriteOp().omap_rm_range("", NO_TEXT),
        lambda: ReadOp().omap_get_keys(NO_TEXT),
        lambda: ReadOp().omap_get_vals(NO_TEXT),
        lambda: ReadOp().omap_get_vals("", NO_TEXT),
        lambda: ReadOp().omap_get_vals_by_keys([NO_TEXT]),
        lambda: ReadOp().omap_get_vals_by_keys(b"bytes"),  # type: ignore[arg-type]
        lambda: ReadOp().omap_cmp({NO_TEXT: (b"", CmpOp.EQ)}),
        lambda: ReadOp().omap_cmp({"k": (b"", cast("CmpOp", 1 << 31))}),
        lambda: WriteOp().copy_from(NO_TEXT, ObjectLocator(1)),
        lambda: WriteOp().copy_from("a", ObjectLocator(1, NO_TEXT)),
        lambda: WriteOp().assert_locked(NO_TEXT, "cookie"),
        lambda: WriteOp().assert_locked("lock", "cookie", type=256),
    ],
)
def test_what_cannot_be_encoded(build: Callable[[], OpVector]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        build()
    assert refused.value.errno == errno.EINVAL


def test_names_that_are_no_utf8_are_bytes_as_in_fsdecode() -> None:
    op = ReadOp().getxattr("\udcff").exec("\udcfe", "\udcfd")
    assert op.ops[0].indata == b"\xff"
    assert op.ops[1].indata == b"\xfe\xfd"
    assert op.name == "getxattr, exec \udcfe.\udcfd"
