"""Calls of object classes and objects' existence, as the image layer uses them.

Everything in `cove.rbd` that talks to an object class goes through here.

Source: Ceph's cls_rbd_client.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeVar

from ..rados.class_calls import add_call, output, read_call, write_call
from ..rados.errors import Error as RadosError
from ..rados.operations import ReadOp, WriteOp
from ..wire.structure import ClassMethod

if TYPE_CHECKING:
    from ..rados import IoCtx

__all__ = ["add_call", "exists", "output", "read_call", "read_call_or", "remove_object", "write_call"]

I = TypeVar("I")  # noqa: E741 - I for input, O for output
O = TypeVar("O")  # noqa: E741


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
