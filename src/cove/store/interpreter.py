"""Runs a vector of operations on an `ObjectContext`. Pure: a table of operations, and the rules for results.

Source: Ceph's PrimaryLogPG (do_op, do_osd_ops, prepare_transaction).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..wire.errors import WireError
from ..wire.osd_ops import MODE_RD, MODE_WR, TYPE_MASK, TYPE_PG, OpCode, OpFlag, OSDOp, RequestFlag
from . import ops_attrs, ops_data
from .classes import find_method
from .classes.context import ClassContext
from .context import ObjectContext
from .errors import OpError

RETURNVEC_OUTPUT_MAX = 64
"""Bytes of output of an operation in a write vector with RETURNVEC. Ceph: osd_max_write_op_reply_len."""

Handler = Callable[[ObjectContext, OSDOp], int | None]

# plain integers: operations on enum members take a microsecond each
_CALL = int(OpCode.CALL)
_FAILOK = int(OpFlag.FAILOK)
_RETURNVEC = int(RequestFlag.RETURNVEC)


def call(ctx: ObjectContext, op: OSDOp) -> int:
    """Run a method of an object class."""
    cls, name, data = op.call_parts()
    method = find_method(cls, name)
    if method is None:
        raise OpError(errno.EOPNOTSUPP)
    result = ClassContext(ctx, method)
    op.outdata = method.run(result, data)
    return result.result


HANDLERS: dict[int, Handler] = {
    OpCode.READ: ops_data.read,
    OpCode.SYNC_READ: ops_data.read,
    OpCode.SPARSE_READ: ops_data.sparse_read,
    OpCode.MAPEXT: ops_data.mapext,
    OpCode.STAT: ops_data.stat,
    OpCode.CHECKSUM: ops_data.checksum,
    OpCode.CMPEXT: ops_data.cmpext,
    OpCode.ASSERT_VER: ops_data.assert_ver,
    OpCode.ISDIRTY: ops_data.isdirty,
    OpCode.WRITE: ops_data.write,
    OpCode.WRITEFULL: ops_data.writefull,
    OpCode.APPEND: ops_data.append,
    OpCode.WRITESAME: ops_data.writesame,
    OpCode.ZERO: ops_data.zero,
    OpCode.TRUNCATE: ops_data.truncate,
    OpCode.DELETE: ops_data.delete,
    OpCode.CREATE: ops_data.create,
    OpCode.SET_ALLOC_HINT: ops_data.set_alloc_hint,
    OpCode.UNDIRTY: ops_data.undirty,
    OpCode.GETXATTR: ops_attrs.getxattr,
    OpCode.GETXATTRS: ops_attrs.getxattrs,
    OpCode.CMPXATTR: ops_attrs.cmpxattr,
    OpCode.SETXATTR: ops_attrs.setxattr,
    OpCode.RMXATTR: ops_attrs.rmxattr,
    OpCode.OMAP_GET_KEYS: ops_attrs.omap_get_keys,
    OpCode.OMAP_GET_VALS: ops_attrs.omap_get_vals,
    OpCode.OMAP_GET_HEADER: ops_attrs.omap_get_header,
    OpCode.OMAP_GET_VALS_BY_KEYS: ops_attrs.omap_get_vals_by_keys,
    OpCode.OMAP_CMP: ops_attrs.omap_cmp,
    OpCode.OMAP_SET_VALS: ops_attrs.omap_set_vals,
    OpCode.OMAP_SET_HEADER: ops_attrs.omap_set_header,
    OpCode.OMAP_CLEAR: ops_attrs.omap_clear,
    OpCode.OMAP_RM_KEYS: ops_attrs.omap_rm_keys,
    OpCode.OMAP_RM_KEY_RANGE: ops_attrs.omap_rm_key_range,
    OpCode.CALL: call,
}
"""What an operation does. Whether it reads or changes is in the code itself, for a call in the method's flags.

Snapshots (rollback, list_snaps), watch and notify, copy_from and the cache tier's operations are not here: -95.
"""


@dataclass(slots=True)
class Access:
    """What a vector does, as far as its codes and class methods tell."""

    reads: bool
    writes: bool
    lists: bool = False
    """It addresses a placement group."""
    input_bytes: int = 0


class UnknownMethod(Exception):
    """A vector calls a class or method that is not there."""


def access_of(ops: Sequence[OSDOp]) -> Access:
    """Whether the vector reads and changes. Raises UnknownMethod; PeerError when a call does not decode."""
    reads = writes = lists = False
    size = 0
    for op in ops:
        code = op.code
        size += len(op.indata)
        if code == _CALL:
            cls, name, _ = op.call_parts()
            method = find_method(cls, name)
            if method is None:
                raise UnknownMethod(f"{cls}.{name}")
            reads = reads or method.reads
            writes = writes or method.writes
        else:
            if code & MODE_RD:
                reads = True
            if code & MODE_WR:
                writes = True
            if code & TYPE_MASK == TYPE_PG:
                lists = True
    return Access(reads, writes, lists, size)


def run_vector(ctx: ObjectContext, ops: Sequence[OSDOp]) -> int:
    """Run the operations in order; each gets its `rval` and `outdata`. The result of the last, or the first error.

    Changes are in `ctx.log` afterwards, and only to be applied if the result is not negative.
    """
    result = 0
    for op in ops:
        op.rval = 0
        op.outdata = b""
    for op in ops:
        handler = HANDLERS.get(op.code)
        mark = len(ctx.log), ctx.exists, ctx.size
        try:
            if handler is None:
                raise OpError(errno.EOPNOTSUPP)
            value = handler(ctx, op)
        except OpError as error:
            op.rval = error.code
        except WireError:
            op.rval = -errno.EINVAL
        else:
            if value is not None:
                result = value
            op.rval = result
        if op.rval < 0:
            if not op.flags & _FAILOK:
                return op.rval
            # an operation that may fail leaves nothing behind
            del ctx.log[mark[0] :]
            ctx.exists, ctx.size = mark[1:]
            result = 0
    return result


def shape_reply(ops: Sequence[OSDOp], result: int, *, changed: bool, flags: int) -> int:
    """Apply the rules for the result and the outputs of a write vector; returns the request's result.

    A vector that changed something returns 0 and no outputs, unless RETURNVEC is set; then each output must be short,
    or else the vector fails with EOVERFLOW (the caller drops its changes).
    """
    if result < 0 or not changed:
        return result
    if flags & _RETURNVEC:
        for op in ops:
            if len(op.outdata) > RETURNVEC_OUTPUT_MAX:
                op.rval = -errno.EOVERFLOW
                op.outdata = b""
                return -errno.EOVERFLOW
        return result
    for op in ops:
        op.outdata = b""
    return 0
