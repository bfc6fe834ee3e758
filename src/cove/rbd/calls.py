"""Class calls by their declarations: packing inputs into operation vectors, unpacking outputs.

Everything in `cove.rbd` that talks to an object class goes through here.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, TypeVar

from ..rados.errors import Error as RadosError
from ..rados.errors import make_error
from ..rados.operations import OpVector, ReadOp, WriteOp
from ..wire.errors import PeerError
from ..wire.structure import ClassMethod

if TYPE_CHECKING:
    from ..rados import IoCtx
    from ..rados.results import OpResult

I = TypeVar("I")  # noqa: E741 - I for input, O for output
O = TypeVar("O")  # noqa: E741
Op = TypeVar("Op", bound=OpVector)


def add_call(op: Op, method: ClassMethod[I, Any], value: I) -> Op:
    """Append a call of `method` to a vector."""
    op.exec(method.cls, method.name, method.input.pack(value))
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


async def read_call(ioctx: IoCtx, oid: str, method: ClassMethod[I, O], value: I) -> O:
    """Call a method that only reads. Raises rados errors."""
    result = await ioctx.operate(oid, add_call(ReadOp(), method, value))
    return output(result, 0, method)


async def write_call(ioctx: IoCtx, oid: str, method: ClassMethod[I, Any], value: I) -> None:
    """Call a method that changes the object. Raises rados errors."""
    await ioctx.operate(oid, add_call(WriteOp(), method, value))


async def read_call_or(ioctx: IoCtx, oid: str, method: ClassMethod[I, O], value: I, default: O, *codes: int) -> O:
    """As read_call; one of `codes` (positive errnos) gives `default`."""
    try:
        return await read_call(ioctx, oid, method, value)
    except RadosError as error:
        if error.errno in codes:
            return default
        raise


async def exists(ioctx: IoCtx, oid: str) -> bool:
    """Whether there is such an object: one `stat`."""
    try:
        await ioctx.operate(oid, ReadOp().stat())
    except RadosError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


async def remove_object(ioctx: IoCtx, oid: str, *, flags: int = 0) -> bool:
    """Delete an object; one that is not there is no error. True if it was there."""
    op = WriteOp().remove()
    op.flags |= flags
    try:
        await ioctx.operate(oid, op)
    except RadosError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True
