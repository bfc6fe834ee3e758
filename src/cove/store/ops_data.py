"""Operations on the data of an object: read, write, truncate, compare, and those on the object as a whole.

A handler takes the context and the operation, sets `op.outdata`, and returns the operation's result (>= 0), or None
to leave the vector's result as it is. It leaves the parameters alone, as the vector may have to run again. Errors are
raised as `OpError`; input that does not decode as `PeerError`.

Source: Ceph's PrimaryLogPG::do_osd_ops; doc/rados operations.
"""

from __future__ import annotations

import errno
from typing import TypeVar

from ..wire.crc import ceph_crc32c
from ..wire.encoding import Encoder
from ..wire.errors import PeerError
from ..wire.osd_ops import CMPEXT_MISMATCH, AssertVer, Checksum, Extent, OpFlag, OSDOp, WriteSame
from .context import OBJECT_SIZE_MAX, ObjectContext
from .errors import OpError

P = TypeVar("P")
_TRUNCATE_NEVER = (1, (1 << 64) - 1)


class CompareMismatch(OpError):
    """A cmpext found a difference: the code tells where."""

    def __init__(self, index: int) -> None:
        super().__init__(0)
        self.code = CMPEXT_MISMATCH - index


def params_of(op: OSDOp, kind: type[P]) -> P:
    """The operation's parameters. Raises PeerError if they are of another kind."""
    if not isinstance(op.params, kind):
        raise PeerError(f"{op.name} came without its parameters")
    return op.params


def extent_of(op: OSDOp) -> Extent:
    """A byte range. The truncation fields are CephFS's: refused, unless they say nothing."""
    extent = params_of(op, Extent)
    if extent.truncate_seq and (extent.truncate_seq, extent.truncate_size) != _TRUNCATE_NEVER:
        raise OpError(errno.EOPNOTSUPP)
    return extent


def _check_size(extent: Extent) -> None:
    offset, length = extent.offset, extent.length
    if offset >= OBJECT_SIZE_MAX or length > OBJECT_SIZE_MAX or offset + length > OBJECT_SIZE_MAX:
        raise OpError(errno.EFBIG)


def _input_of_length(op: OSDOp, length: int) -> None:
    if length != len(op.indata):
        raise OpError(errno.EINVAL)


def read(ctx: ObjectContext, op: OSDOp) -> int:
    """Length 0 reads to the end."""
    ctx.require()
    extent = extent_of(op)
    op.outdata = ctx.read(extent.offset, extent.length or ctx.size)
    return 0


def sparse_read(ctx: ObjectContext, op: OSDOp) -> int:
    """A map of the extents that hold data, and their bytes one after the other."""
    ctx.require()
    extent = extent_of(op)
    found = _extents(ctx, extent)
    encoder = Encoder()
    encoder.map(dict(found), encoder.u64, encoder.u64)
    encoder.blob(b"".join(ctx.read(offset, length) for offset, length in found))
    op.outdata = encoder.bytes()
    return 0


def mapext(ctx: ObjectContext, op: OSDOp) -> int:
    """A map of the extents that hold data."""
    ctx.require()
    encoder = Encoder()
    encoder.map(dict(_extents(ctx, extent_of(op))), encoder.u64, encoder.u64)
    op.outdata = encoder.bytes()
    return 0


def _extents(ctx: ObjectContext, extent: Extent) -> list[tuple[int, int]]:
    length = min(extent.length, ctx.size - extent.offset)
    if length <= 0 or not ctx.was_there:
        return []
    return ctx.stored.extents(extent.offset, length)


def stat(ctx: ObjectContext, op: OSDOp) -> int:
    """u64 size, utime mtime. Within a write vector this is assert_exists."""
    ctx.require()
    info = ctx.stored.info
    encoder = Encoder()
    encoder.u64(ctx.size)
    encoder.utime(info.mtime_ns if info is not None else ctx.mtime_ns)
    op.outdata = encoder.bytes()
    return 0


def checksum(ctx: ObjectContext, op: OSDOp) -> int:
    """crc32c of each chunk of a range, from an initial value. The xxhash kinds are not offered."""
    ctx.require()
    params = params_of(op, Checksum)
    if params.type > 2:
        raise OpError(errno.EINVAL)
    if params.type != 2:
        raise OpError(errno.EOPNOTSUPP)
    if len(op.indata) < 4:
        raise OpError(errno.EINVAL)
    seed = int.from_bytes(bytes(op.indata[:4]), "little")
    offset, length, chunk = params.offset, params.length, params.chunk_size
    if chunk and (not length or length % chunk):
        raise OpError(errno.EINVAL)
    if not length and not offset:
        length = ctx.size
    if offset >= ctx.size:
        return 0
    length = min(length, ctx.size - offset)
    if chunk and length % chunk:
        raise OpError(errno.EINVAL)
    data = memoryview(ctx.read(offset, length))
    chunk = chunk or max(len(data), 1)
    encoder = Encoder()
    encoder.list([ceph_crc32c(seed, data[at : at + chunk]) for at in range(0, len(data), chunk)], encoder.u32)
    op.outdata = encoder.bytes()
    return 0


def cmpext(ctx: ObjectContext, op: OSDOp) -> int:
    """Compare with the input; beyond the end there are zeros. A difference at index i: -4095 - i."""
    extent = extent_of(op)
    _input_of_length(op, extent.length)
    have = ctx.read(extent.offset, extent.length) if ctx.was_there else b""
    want = bytes(op.indata)
    have += bytes(len(want) - len(have))
    if have != want:
        raise CompareMismatch(next(i for i, (a, b) in enumerate(zip(have, want, strict=True)) if a != b))
    return 0


def assert_ver(ctx: ObjectContext, op: OSDOp) -> None:
    """The object's user version must be that one."""
    wanted = params_of(op, AssertVer).ver
    if wanted == 0:
        raise OpError(errno.EINVAL)
    if wanted < ctx.user_version:
        raise OpError(errno.ERANGE)
    if wanted > ctx.user_version:
        raise OpError(errno.EOVERFLOW)


def isdirty(ctx: ObjectContext, op: OSDOp) -> int:
    """A flag of cache tiers, of which there are none: always false."""
    ctx.require()
    op.outdata = b"\0"
    return 0


def write(ctx: ObjectContext, op: OSDOp) -> int:
    """Write the input at an offset."""
    extent = extent_of(op)
    _input_of_length(op, extent.length)
    _check_size(extent)
    ctx.write(extent.offset, op.indata)
    return 0


def writefull(ctx: ObjectContext, op: OSDOp) -> int:
    """Replace the data by the input."""
    extent = extent_of(op)
    _input_of_length(op, extent.length)
    _check_size(Extent(0, extent.length))
    ctx.write_full(op.indata)
    return 0


def append(ctx: ObjectContext, op: OSDOp) -> int:
    """Write the input at the present end, which earlier operations of the vector may have moved."""
    extent = extent_of(op)
    _input_of_length(op, extent.length)
    _check_size(Extent(ctx.size, extent.length))
    ctx.write(ctx.size, op.indata)
    return 0


def writesame(ctx: ObjectContext, op: OSDOp) -> int:
    """Write the input again and again over a range."""
    params = params_of(op, WriteSame)
    if params.length == 0:
        return 0
    if params.data_length == 0 or params.length % params.data_length or params.data_length != len(op.indata):
        raise OpError(errno.EINVAL)
    _check_size(Extent(params.offset, params.length))
    ctx.write(params.offset, bytes(op.indata) * (params.length // params.data_length))
    return 0


def zero(ctx: ObjectContext, op: OSDOp) -> int:
    """Make a range zeros. One that reaches the end cuts the object off there; beyond the end nothing happens."""
    extent = extent_of(op)
    _check_size(extent)
    if not ctx.exists or not extent.length or extent.offset >= ctx.size:
        return 0
    if extent.offset + extent.length >= ctx.size:
        ctx.truncate(extent.offset)
    else:
        ctx.zero(extent.offset, extent.length)
    return 0


def truncate(ctx: ObjectContext, op: OSDOp) -> int:
    """Cut off or grow with zeros. An absent object stays absent."""
    extent = extent_of(op)
    if ctx.exists:
        _check_size(extent)
        ctx.truncate(extent.offset)
    return 0


def delete(ctx: ObjectContext, op: OSDOp) -> int:
    """Remove the object."""
    ctx.delete()
    return 0


def create(ctx: ObjectContext, op: OSDOp) -> int:
    """Bring the object into being; with the flag EXCL it must be absent."""
    if ctx.exists:
        if op.flags & OpFlag.EXCL:
            raise OpError(errno.EEXIST)
        return 0
    ctx.create()
    return 0


def set_alloc_hint(ctx: ObjectContext, op: OSDOp) -> int:
    """The hint itself is not used, but it creates the object."""
    ctx.create()
    return 0


def undirty(ctx: ObjectContext, op: OSDOp) -> int:
    """A flag of cache tiers: nothing to do."""
    ctx.require()
    return 0
