"""Class calls by their declarations: packing inputs into operation vectors, unpacking outputs.

A `ClassMethod` (wire/cls_*.py) says what goes in and what comes out; here it meets a vector or an io context. Locks
(`ioctx_locks.py`) and all of `cove.rbd` go through here.

Source: Ceph's librados ObjectOperation::exec, and the clients of its object classes (`cls_lock_client`).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, TypeVar

from ..wire.errors import PeerError
from ..wire.structure import ClassMethod
from .errors import make_error
from .op_vector import encode_call
from .operations import OpVector, ReadOp, WriteOp

if TYPE_CHECKING:
    from .ioctx_base import IoCtxBase
    from .results import OpResult

I = TypeVar("I")  # noqa: E741 - I for input, O for output
O = TypeVar("O")  # noqa: E741
Op = TypeVar("Op", bound=OpVector)


def add_call(op: Op, method: ClassMethod[I, Any], value: I) -> Op:
    """Append a call of `method` to a vector. Raises InvalidArgument for what can't be encoded."""
    op.exec(method.cls, method.name, encode_call(method, value))
    return op


def output(result: OpResult, index: int, method: ClassMethod[Any, O]) -> O:
    """The output of the call at `index`. Raises that call's error, or EIO if the output makes no sense."""
    rval = result.rval(index)
    name = f"exec {method.cls}.{method.name}"
    if rval < 0:
        raise make_error(rval, operation=name)
    try:
        return method.output.unpack(result.data(index))
    except PeerError as problem:
        raise make_error(-errno.EIO, operation=name, detail=str(problem)) from problem


async def read_call(ioctx: IoCtxBase, oid: str, method: ClassMethod[I, O], value: I) -> O:
    """Call a method that only reads. Raises rados errors."""
    result = await ioctx.operate(oid, add_call(ReadOp(), method, value))
    return output(result, 0, method)


async def write_call(ioctx: IoCtxBase, oid: str, method: ClassMethod[I, Any], value: I) -> None:
    """Call a method that changes the object. Raises rados errors."""
    await ioctx.operate(oid, add_call(WriteOp(), method, value))
