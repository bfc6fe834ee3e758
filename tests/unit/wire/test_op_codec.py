# mypy: allow-untyped-calls
from __future__ import annotations

import struct

import pytest
from hypothesis import given

from cove.wire.errors import PeerError, UsageError
from cove.wire.op_codec import LAYOUTS, OP_BYTES, PARAMS_OF, UNION_BYTES, decode_op, encode_op, split_inputs
from cove.wire.osd_ops import (
    AssertVer,
    ClassCall,
    CopyFrom,
    Extent,
    Notify,
    OpCode,
    OSDOp,
    RawParams,
    Watch,
    Xattr,
    call_op,
    xattr_op,
)
from tests.unit.wire.strategies import OPS


@given(OPS)
def test_operations_come_back(op):
    encoded = encode_op(op, 77)
    assert len(encoded) == OP_BYTES
    again, length = decode_op(b"??" + encoded, 2)
    assert (again.code, again.flags, again.params, length) == (op.code, op.flags, op.params, 77)


def test_every_operation_has_a_kind():
    assert PARAMS_OF.keys() == set(OpCode)
    for layout, _ in LAYOUTS.values():
        assert struct.calcsize("<" + layout) <= UNION_BYTES


@pytest.mark.parametrize(
    ("op", "union"),
    [
        (OSDOp(OpCode.READ, Extent(1, 2, 3, 4)), struct.pack("<QQQI", 1, 2, 3, 4)),
        (xattr_op(OpCode.CMPXATTR, "ab", b"c", cmp_op=3, cmp_mode=2), struct.pack("<IIBB", 2, 1, 3, 2)),
        (call_op("lock", "get", b"12345"), struct.pack("<BBBI", 4, 3, 0, 5)),
        (OSDOp(OpCode.WATCH, Watch(1, 7, gen=2, timeout=3)), struct.pack("<QQBII", 1, 0, 7, 2, 3)),
        (OSDOp(OpCode.ASSERT_VER, AssertVer(9)), struct.pack("<QQ", 0, 9)),
        (OSDOp(OpCode.NOTIFY, Notify(9)), struct.pack("<Q", 9)),
        (OSDOp(OpCode.COPY_FROM2, CopyFrom(1, 2, 3, 4)), struct.pack("<QQBI", 1, 2, 3, 4)),
        (OSDOp(OpCode.OMAP_SET_VALS, None, b"12345"), struct.pack("<QQ", 0, 5)),
        (OSDOp(OpCode.OMAP_CLEAR), b""),
        (OSDOp(0x9999, RawParams(bytes(range(28)))), bytes(range(28))),
        (OSDOp(OpCode.READ), b""),
    ],
)
def test_fields_are_where_they_belong(op, union):
    encoded = encode_op(op, len(op.indata))
    assert encoded[6:34] == union.ljust(UNION_BYTES, b"\0")
    assert struct.unpack("<HI", encoded[:6]) == (op.code, op.flags)
    assert struct.unpack("<I", encoded[34:]) == (len(op.indata),)


def test_what_the_union_holds_besides_is_ignored():
    encoded = struct.pack("<HI", OpCode.SETXATTR, 0) + struct.pack("<IIBB", 1, 2, 0, 0) + b"\xff" * 18 + bytes(4)
    op, _ = decode_op(encoded, 0)
    assert op.params == Xattr(1, 2)
    plain, _ = decode_op(struct.pack("<HI", OpCode.STAT, 0) + b"\xff" * 28 + bytes(4), 0)
    assert plain.params is None


def test_parameters_of_no_kind_are_our_error():
    with pytest.raises(UsageError):
        encode_op(OSDOp(OpCode.CALL, (1, 2)), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("params", [ClassCall(256, 1, 0), Extent(2**64), Watch(-1, 3)])
def test_values_that_do_not_fit_are_told(params):
    with pytest.raises(struct.error):
        encode_op(OSDOp(OpCode.CALL, params), 0)


def test_inputs_are_split():
    ops = [OSDOp(OpCode.STAT), OSDOp(OpCode.APPEND), OSDOp(OpCode.STAT), OSDOp(OpCode.WRITE)]
    split_inputs(ops, [0, 2, 0, 3], b"abcde")
    assert [op.indata for op in ops] == [b"", b"ab", b"", b"cde"]
    with pytest.raises(PeerError):
        split_inputs(ops, [0, 2**32 - 1, 2**32 - 1, 3], b"abcde")
