"""WriteOp and ReadOp: ordered vectors of operations on one object. Building one sends nothing.

Each method appends one operation and returns the vector, so that they can be chained. `IoCtx.aio_operate` sends a
vector; the OSD applies a WriteOp atomically: all of it, or none and the code of the operation that failed.

The data of writes is the caller's own buffer (bytes, bytearray, memoryview, …), **not a copy**: it must not change
until the operation's completion is done. A vector may be submitted several times, but not changed after the first.

Source: Ceph's librados ObjectOperation; operation codes and parameters: include/rados.h.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from ..wire.encoding import Buffer, Encoder
from ..wire.osd_ops import (
    AllocHint,
    AssertVer,
    Checksum,
    CmpMode,
    CmpOp,
    Extent,
    OpCode,
    OpFlag,
    OSDOp,
    RequestFlag,
    SnapId,
    WriteSame,
    call_op,
    xattr_op,
)
from .errors import InvalidArgument
from .trace import OpTrace

OP_BYTES_MAX = 2**31 - 1
OMAP_PAGE_MAX = 1024

Handler = Callable[[int, bytes], None]
"""Called with an operation's return value and output, before the completion's callbacks."""


def as_buffer(data: Any, field: str = "data") -> Buffer:
    """The caller's buffer as bytes-like of items of one byte, without copying. Raises InvalidArgument."""
    if type(data) is bytes or type(data) is bytearray:
        return data
    try:
        view = memoryview(data)
    except TypeError:
        raise InvalidArgument(f"{field} must be bytes-like, not {type(data).__name__}; encode text first") from None
    if not view.c_contiguous:
        raise InvalidArgument(f"{field} must be one contiguous buffer; copy it with bytes(...) first")
    return view if view.itemsize == 1 and view.ndim == 1 else view.cast("B")


def _invalid(field: str, value: object, wanted: str) -> InvalidArgument:
    return InvalidArgument(f"{field}={value!r}: {wanted}", errno=errno.EINVAL)


def _check_range(offset: int, length: int) -> None:
    if offset < 0:
        raise _invalid("offset", offset, "give an offset in bytes, 0 or more")
    if length < 0:
        raise _invalid("length", length, "give a length in bytes, 0 or more")


def _strings(items: Iterable[str]) -> bytes:
    encoder = Encoder()
    encoder.list(sorted(items, key=lambda text: text.encode("utf-8", "surrogateescape")), encoder.str)
    return encoder.bytes()


class OpVector:
    """What WriteOp and ReadOp share: the vector, its flags, and the operations that both may contain.

    Attributes: ops; budget_bytes (what it counts for in the byte throttle); flags (RequestFlag, for the whole
    vector); mtime_ns (modification time to set; None: now); handlers (operation index → handler).
    """

    __slots__ = ("budget_bytes", "flags", "handlers", "mtime_ns", "ops", "submitted", "trace")

    is_write = False

    def __init__(self) -> None:
        self.ops: list[OSDOp] = []
        self.flags = 0
        self.budget_bytes = 0
        self.mtime_ns: int | None = None
        self.handlers: dict[int, Handler] | None = None
        self.submitted = False
        self.trace: OpTrace | None = None

    def __len__(self) -> int:
        return len(self.ops)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ops}>"

    @property
    def name(self) -> str:
        """The operations' names for people, e.g. `create, call rbd.set_id`."""
        return ", ".join(_describe(op) for op in self.ops) or "empty operation"

    def _add(self, op: OSDOp, budget_bytes: int = 0) -> Self:
        if self.submitted:
            raise InvalidArgument("this operation has been submitted; build a new one instead of adding to it")
        self.ops.append(op)
        self.budget_bytes += budget_bytes
        return self

    def take_ops(self) -> list[OSDOp]:
        """The vector for one request. The first taker gets the operations themselves, later ones fresh copies:
        results are written into them by whoever answers."""
        if not self.submitted:
            self.submitted = True
            return self.ops
        return fresh_ops(self.ops)

    def with_flags(self, flags: RequestFlag) -> Self:
        """Add flags to the whole request, e.g. `RequestFlag.FULL_TRY`, `RWORDERED`, `RETURNVEC`, `BALANCE_READS`."""
        self.flags |= flags
        return self

    def op_flags(self, flags: int) -> Self:
        """Add flags to the operation that was appended last. Raises InvalidArgument on an empty vector."""
        if not self.ops:
            raise InvalidArgument("there is no operation to set flags on; append one first")
        if self.submitted:
            raise InvalidArgument("this operation has been submitted; build a new one instead of changing it")
        self.ops[-1].flags |= flags
        return self

    def failok(self) -> Self:
        """Let the operation appended last fail without failing the vector; its rval tells."""
        return self.op_flags(OpFlag.FAILOK)

    def handler(self, function: Handler) -> Self:
        """Have `function(rval, data)` called for the operation appended last, before the completion's callbacks."""
        if not self.ops:
            raise InvalidArgument("there is no operation to handle; append one first")
        if self.handlers is None:
            self.handlers = {}
        self.handlers[len(self.ops) - 1] = function
        return self

    def traced(self, trace: OpTrace) -> Self:
        """Have the way of the vector's next submission recorded; a trace serves for one."""
        self.trace = trace
        return self

    # comparisons and calls, allowed in both kinds

    def assert_exists(self) -> Self:
        """Fail with ENOENT unless the object exists."""
        return self._add(OSDOp(OpCode.STAT))

    def assert_version(self, version: int) -> Self:
        """Fail unless the object's user version is `version`: ERANGE if it is newer, EOVERFLOW if older."""
        if version < 1:
            raise _invalid("version", version, "give a user version, 1 or more")
        return self._add(OSDOp(OpCode.ASSERT_VER, AssertVer(version)))

    def cmpxattr(self, name: str, value: Buffer | int, op: CmpOp = CmpOp.EQ) -> Self:
        """Fail with ECANCELED unless `value op stored` holds; an int compares with a decimal text attribute."""
        if isinstance(value, int):
            if not 0 <= value < 2**64:
                raise _invalid("value", value, "give a number of 64 bits without sign")
            raw: Buffer = value.to_bytes(8, "little")
            mode = CmpMode.U64
        else:
            raw, mode = as_buffer(value, "value"), CmpMode.STRING
        vector_op = xattr_op(OpCode.CMPXATTR, name, raw, cmp_op=op, cmp_mode=mode)
        return self._add(vector_op, len(vector_op.indata))

    def cmpext(self, data: Buffer, offset: int = 0) -> Self:
        """Fail unless the object's bytes at `offset` equal `data` (CompareMismatch.offset tells where they differ)."""
        _check_range(offset, 0)
        buffer = as_buffer(data)
        return self._add(OSDOp(OpCode.CMPEXT, Extent(offset, len(buffer)), buffer), len(buffer))

    def omap_cmp(self, comparisons: Mapping[str, tuple[Buffer, CmpOp]]) -> Self:
        """Fail with ECANCELED unless `stored op value` holds for each key; EQ, LT and GT only."""
        encoder = Encoder()

        def value(item: tuple[Buffer, CmpOp]) -> None:
            encoder.blob(as_buffer(item[0], "value"))
            encoder.i32(item[1])

        encoder.map(comparisons, encoder.str, value)
        data = encoder.bytes()
        return self._add(OSDOp(OpCode.OMAP_CMP, None, data), len(data))

    def exec(self, cls: str, method: str, data: Buffer = b"", *, flags: int = 0) -> Self:
        """Run `method` of object class `cls` where the object is, with `data` as its input."""
        op = call_op(cls, method, as_buffer(data), flags)
        return self._add(op, len(op.indata))


class WriteOp(OpVector):
    """A vector that changes an object: applied whole, or not at all."""

    __slots__ = ()

    is_write = True

    def create(self, exclusive: bool = False) -> Self:
        """Create the object; `exclusive`: fail with EEXIST if it is there."""
        return self._add(OSDOp(OpCode.CREATE, None, b"", OpFlag.EXCL if exclusive else 0))

    def write(self, data: Buffer, offset: int = 0, *, flags: int = 0) -> Self:
        """Write at `offset` (bytes), growing the object as needed."""
        if offset < 0:
            raise _invalid("offset", offset, "give an offset in bytes, 0 or more")
        buffer = data if type(data) is bytes else as_buffer(data)
        length = len(buffer)
        return self._add(OSDOp(OpCode.WRITE, Extent(offset, length), buffer, flags), length)

    def write_full(self, data: Buffer, *, flags: int = 0) -> Self:
        """Replace the object's data; attributes and omap stay."""
        buffer = as_buffer(data)
        length = len(buffer)
        return self._add(OSDOp(OpCode.WRITEFULL, Extent(0, length), buffer, flags), length)

    def append(self, data: Buffer, *, flags: int = 0) -> Self:
        """Write at the object's end."""
        buffer = as_buffer(data)
        length = len(buffer)
        return self._add(OSDOp(OpCode.APPEND, Extent(0, length), buffer, flags), length)

    def write_same(self, data: Buffer, length: int, offset: int = 0) -> Self:
        """Repeat `data` over `length` bytes, which must be a multiple of its size."""
        _check_range(offset, length)
        buffer = as_buffer(data)
        if not len(buffer) or length % len(buffer):
            raise _invalid("length", length, f"give a multiple of the pattern's {len(buffer)} bytes")
        op = OSDOp(OpCode.WRITESAME, WriteSame(offset, length, len(buffer)), buffer)
        return self._add(op, len(buffer))

    def zero(self, offset: int, length: int) -> Self:
        """Make a range read as zeros. As far as it reaches the end, the object shrinks."""
        _check_range(offset, length)
        return self._add(OSDOp(OpCode.ZERO, Extent(offset, length)))

    def truncate(self, size: int) -> Self:
        """Cut or extend the object to `size` bytes; nothing happens if there is no object."""
        _check_range(size, 0)
        return self._add(OSDOp(OpCode.TRUNCATE, Extent(size, 0)))

    def remove(self) -> Self:
        """Delete the object with all it has; ENOENT if it is not there."""
        return self._add(OSDOp(OpCode.DELETE))

    def setxattr(self, name: str, value: Buffer) -> Self:
        """Set an attribute."""
        op = xattr_op(OpCode.SETXATTR, name, as_buffer(value, "value"))
        return self._add(op, len(op.indata))

    def rmxattr(self, name: str) -> Self:
        """Remove an attribute; one that is not there is no error."""
        op = xattr_op(OpCode.RMXATTR, name)
        return self._add(op, len(op.indata))

    def omap_set(self, values: Mapping[str, Buffer]) -> Self:
        """Set keys of the object map."""
        encoder = Encoder()
        encoder.map(values, encoder.str, lambda value: encoder.blob(as_buffer(value, "value")))
        data = encoder.bytes()
        return self._add(OSDOp(OpCode.OMAP_SET_VALS, None, data), len(data))

    def omap_rm_keys(self, keys: Iterable[str]) -> Self:
        """Remove keys; those not there are ignored."""
        data = _strings(keys)
        return self._add(OSDOp(OpCode.OMAP_RM_KEYS, None, data), len(data))

    def omap_rm_range(self, begin: str, end: str) -> Self:
        """Remove the keys from `begin` up to but without `end`."""
        encoder = Encoder()
        encoder.str(begin)
        encoder.str(end)
        data = encoder.bytes()
        return self._add(OSDOp(OpCode.OMAP_RM_KEY_RANGE, None, data), len(data))

    def omap_clear(self) -> Self:
        """Remove all keys and the header."""
        return self._add(OSDOp(OpCode.OMAP_CLEAR))

    def omap_set_header(self, data: Buffer) -> Self:
        """Set the object map's header."""
        buffer = as_buffer(data)
        return self._add(OSDOp(OpCode.OMAP_SET_HEADER, None, buffer), len(buffer))

    def set_alloc_hint(self, expected_object_size: int, expected_write_size: int, flags: int = 0) -> Self:
        """Tell which sizes (bytes) to expect. Creates the object; never fails the vector."""
        hint = AllocHint(expected_object_size, expected_write_size, flags)
        return self._add(OSDOp(OpCode.SET_ALLOC_HINT, hint, b"", OpFlag.FAILOK))

    def rollback(self, snapid: int) -> Self:
        """Make the head what it was at the snapshot."""
        return self._add(OSDOp(OpCode.ROLLBACK, SnapId(snapid)))

    def set_mtime(self, mtime_ns: int) -> Self:
        """Set the modification time (nanoseconds since the epoch) instead of now."""
        self.mtime_ns = mtime_ns
        return self


class ReadOp(OpVector):
    """A vector that only reads."""

    __slots__ = ()

    def read(self, length: int = 0, offset: int = 0, *, flags: int = 0) -> Self:
        """Bytes from `offset` on; `length` 0 is up to the end. Short at the object's end."""
        _check_range(offset, length)
        return self._add(OSDOp(OpCode.READ, Extent(offset, length), b"", flags), length)

    def sparse_read(self, length: int, offset: int = 0) -> Self:
        """The extents of a range that hold data (results.SparseRead)."""
        _check_range(offset, length)
        return self._add(OSDOp(OpCode.SPARSE_READ, Extent(offset, length)), length)

    def mapext(self, length: int, offset: int = 0) -> Self:
        """Which extents of a range hold data: list of (offset, length)."""
        _check_range(offset, length)
        return self._add(OSDOp(OpCode.MAPEXT, Extent(offset, length)))

    def checksum(
        self, kind: int, init_value: int = 0xFFFFFFFF, offset: int = 0, length: int = 0, chunk_size: int = 0
    ) -> Self:
        """Checksums of a range: `kind` 0 xxhash32, 1 xxhash64, 2 crc32c; `chunk_size` bytes each (0: one)."""
        _check_range(offset, length)
        init = init_value.to_bytes(8 if kind == 1 else 4, "little")
        return self._add(OSDOp(OpCode.CHECKSUM, Checksum(offset, length, chunk_size, kind), init))

    def stat(self) -> Self:
        """Size and modification time (results.ObjectStat)."""
        return self._add(OSDOp(OpCode.STAT))

    def getxattr(self, name: str) -> Self:
        """The value of an attribute; ENODATA if there is none."""
        op = xattr_op(OpCode.GETXATTR, name)
        return self._add(op, len(op.indata))

    def getxattrs(self) -> Self:
        """All attributes: dict of name → value."""
        return self._add(OSDOp(OpCode.GETXATTRS))

    def omap_get_keys(self, start_after: str = "", max_return: int = OMAP_PAGE_MAX) -> Self:
        """Keys after `start_after` (results.OmapKeys); the OSD caps a page at 1024."""
        encoder = Encoder()
        encoder.str(start_after)
        encoder.u64(max_return)
        return self._add(OSDOp(OpCode.OMAP_GET_KEYS, None, encoder.bytes()))

    def omap_get_vals(self, start_after: str = "", prefix: str = "", max_return: int = OMAP_PAGE_MAX) -> Self:
        """Keys and values after `start_after` that begin with `prefix` (results.OmapValues)."""
        encoder = Encoder()
        encoder.str(start_after)
        encoder.u64(max_return)
        encoder.str(prefix)
        return self._add(OSDOp(OpCode.OMAP_GET_VALS, None, encoder.bytes()))

    def omap_get_vals_by_keys(self, keys: Iterable[str]) -> Self:
        """Those of the keys that exist, with their values: dict."""
        return self._add(OSDOp(OpCode.OMAP_GET_VALS_BY_KEYS, None, _strings(keys)))

    def omap_get_header(self) -> Self:
        """The object map's header: bytes."""
        return self._add(OSDOp(OpCode.OMAP_GET_HEADER))

    def list_snaps(self) -> Self:
        """The object's clones; needs an io context that reads at SNAPDIR."""
        return self._add(OSDOp(OpCode.LIST_SNAPS))


def _describe(op: OSDOp) -> str:
    if op.code == OpCode.CALL:
        cls, method, _ = op.call_parts()
        return f"exec {cls}.{method}"
    return op.name


def fresh_ops(ops: list[OSDOp]) -> list[OSDOp]:
    """The same operations without results, for another request: a sent message belongs to its receiver."""
    return [OSDOp(op.code, op.params, op.indata, op.flags) for op in ops]
