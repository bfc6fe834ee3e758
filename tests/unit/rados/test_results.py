"""What is made of the answers: decoded outputs, and which operation of a vector failed."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.rados import AioCompletion, CompareMismatch, InOutError, NoData, ReadOp, WriteOp
from cove.rados.results import DECODERS, OpResult, decode_checksums
from cove.wire.errors import PeerError
from cove.wire.osd_ops import OpCode, OSDOp
from cove.wire.snapsets import CloneInfo, Interval, SnapList
from cove.wire.watches import WatchItem, WatchList


def answered(rvals: Sequence[int], result: int, outputs: Sequence[bytes] = ()) -> OpResult:
    ops = [OSDOp(OpCode.GETXATTR) for _ in rvals]
    for op, rval, output in zip(ops, rvals, [*outputs, *[b""] * len(rvals)], strict=False):
        op.rval, op.outdata = rval, output
    return OpResult(result, 9, ops)


@pytest.mark.parametrize(
    ("rvals", "result", "index"),
    [
        ([0, -61, 0], -61, 1),
        ([-61, 5, -61, 0], -61, 2),
        ([-61, 5], 5, None),
        ([0, 0], -2, None),
        ([], -2, None),
        ([0, -4097], -4097, 1),
    ],
)
def test_which_failed(rvals: list[int], result: int, index: int | None) -> None:
    """The OSD stops there, so it is the last; those before it with the same code were allowed to fail."""
    found = answered(rvals, result)
    assert found.failed_index == index
    assert found.rvals == rvals


def test_errors_tell_which_failed() -> None:
    vector = ReadOp().stat().getxattr("a").read()
    completion = AioCompletion(vector, "oid")
    ops = vector.take_ops()
    ops[1].rval, ops[0].outdata = -errno.ENODATA, bytes(16)
    completion.complete(-errno.ENODATA, 3, ops)
    with pytest.raises(NoData, match="number 2 of 3 operations failed, getxattr") as refused:
        completion.result()
    error = refused.value
    assert error.op_index == 1
    assert error.outputs is not None
    assert error.outputs.value(0).size == 0
    assert error.outputs.rvals == completion.outputs().rvals == [0, -errno.ENODATA, 0]
    with pytest.raises(NoData):
        error.outputs.values()


def test_errors_of_single_operations_and_refusals() -> None:
    vector = WriteOp().cmpext(b"abc")
    completion = AioCompletion(vector, "oid")
    vector.ops[0].rval = -4096
    completion.complete(-4096, 0, vector.ops)
    error = completion.error()
    assert isinstance(error, CompareMismatch)
    assert (error.op_index, error.offset) == (0, 1)
    assert "number" not in str(error)
    refused = AioCompletion(ReadOp().read(), "oid")
    refused.complete(-errno.ETIMEDOUT)
    problem = refused.error()
    assert problem is not None
    assert (problem.outputs, problem.op_index) == (None, None)


@given(st.sampled_from([4, 8]), st.lists(st.integers(0, 2**32 - 1), max_size=5))
def test_checksums(size: int, sums: list[int]) -> None:
    data = len(sums).to_bytes(4, "little") + b"".join(one.to_bytes(size, "little") for one in sums)
    assert decode_checksums(data) == sums
    for length in range(1, len(data)):
        if sums and length == 4 + 4 * len(sums) and size == 8:
            continue  # so many sums of the other size
        with pytest.raises(PeerError):
            decode_checksums(data[:length])
    assert decode_checksums(b"") == []


def test_decoded_outputs() -> None:
    snaps = SnapList([CloneInfo(2, [2], [Interval(0, 2)], 10), CloneInfo(size=10)], 2)
    for code, data, wanted in (
        (OpCode.LIST_SNAPS, snaps.to_bytes(), snaps),
        (OpCode.LIST_WATCHERS, WatchList([WatchItem(cookie=7)]).to_bytes(), [WatchItem(cookie=7)]),
        (OpCode.ISDIRTY, b"\x01", True),
    ):
        op = OSDOp(code)
        op.outdata = data
        assert OpResult(0, 1, [op]).value() == wanted
        op.outdata = data[:-1]
        with pytest.raises(InOutError):
            OpResult(0, 1, [op]).value()


@pytest.mark.parametrize("code", DECODERS)
@given(data=st.binary(max_size=80))
def test_any_output_gives_a_value_or_a_peer_error(code: int, data: bytes) -> None:
    try:
        DECODERS[code](data)
    except PeerError:
        pass
