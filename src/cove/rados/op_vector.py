"""OpVector: what WriteOp and ReadOp share: the list of operations, flags, handlers, comparisons and class calls.

A vector is built here and in `operations.py`, submitted by `ioctx_base.py`, and taken by the Objecter (`take_ops`),
which writes the answer's results where `results.py` finds them.

Source: Ceph's librados ObjectOperation; operation codes and parameters: include/rados.h.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar

from ..wire import cls_lock
from ..wire.cls_lock import AssertRequest, LockType
from ..wire.encoding import Buffer, Encoder, encode_text
from ..wire.errors import UsageError
from ..wire.osd_ops import (
    AssertVer,
    CmpMode,
    CmpOp,
    Extent,
    OpCode,
    OpFlag,
    OSDOp,
    RequestFlag,
    call_op,
    xattr_op,
)
from ..wire.structure import ClassMethod
from .errors import InvalidArgument
from .trace import OpTrace

OP_BYTES_MAX = 2**31 - 1
"""Most bytes that one vector may count for (as librados has it); beyond: E2BIG, without asking anybody."""
OMAP_PAGE_MAX = 1024
"""Most entries of an object map that an OSD returns at a time (its default)."""
U64_MAX = 2**64 - 1
NAMED_MAX = 8
"""So many operations of a vector does an error name."""

I = TypeVar("I")  # noqa: E741 - I for input
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


def invalid(field: str, value: object, wanted: str) -> InvalidArgument:
    """The error of an argument that can't be."""
    return InvalidArgument(f"{field}={value!r}: {wanted}", errno=errno.EINVAL)


def check_range(offset: int, length: int) -> None:
    """Raises InvalidArgument for an offset or a length that 64 bits don't hold."""
    if not 0 <= offset <= U64_MAX:
        raise invalid("offset", offset, "give an offset in bytes, 0 or more, of 64 bits")
    if not 0 <= length <= U64_MAX:
        raise invalid("length", length, "give a length in bytes, 0 or more, of 64 bits")


def check_number(field: str, value: int, bits: int = 64) -> int:
    """The number itself. Raises InvalidArgument if it does not fit into so many bits without sign."""
    if not 0 <= value < 1 << bits:
        raise invalid(field, value, f"give a number of {bits} bits without sign")
    return value


def not_encodable(problem: UsageError) -> InvalidArgument:
    """The error of an argument that can't be put on the wire."""
    return InvalidArgument(str(problem), errno=errno.EINVAL)


def encoded(fill: Callable[[Encoder], None]) -> bytes:
    """What `fill` encodes. Raises InvalidArgument for what can't be encoded."""
    encoder = Encoder()
    try:
        fill(encoder)
    except UsageError as problem:
        raise not_encodable(problem) from None
    return encoder.bytes()


def encode_strings(items: Iterable[str]) -> bytes:
    """A set of strings, sorted by their bytes. Raises InvalidArgument for a single string: it is no set."""
    if isinstance(items, str | bytes):
        raise invalid("keys", items, "give a collection of keys, not one string")
    return encoded(lambda encoder: encoder.list(sorted(items, key=encode_text), encoder.str))


def encode_call(method: ClassMethod[I, Any], value: I) -> bytes:
    """The input of a class method. Raises InvalidArgument for what can't be encoded."""
    try:
        return method.input.pack(value)
    except UsageError as problem:
        raise not_encodable(problem) from None


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
        """The operations' names for people, e.g. `create, exec rbd.set_id`; of many, the first ones."""
        names = [_describe(op) for op in self.ops[:NAMED_MAX]]
        if len(self.ops) > NAMED_MAX:
            names.append(f"and {len(self.ops) - NAMED_MAX} more")
        return ", ".join(names) or "empty operation"

    def _add(self, op: OSDOp, budget_bytes: int = 0) -> Self:
        if self.submitted:
            raise InvalidArgument("this operation has been submitted; build a new one instead of adding to it")
        self.ops.append(op)
        self.budget_bytes += budget_bytes
        return self

    def _add_xattr(self, code: OpCode, name: str, value: Buffer = b"", cmp_op: int = 0, cmp_mode: int = 0) -> Self:
        try:
            op = xattr_op(code, name, value, cmp_op=cmp_op, cmp_mode=cmp_mode)
        except UsageError as problem:
            raise not_encodable(problem) from None
        return self._add(op, len(op.indata))

    def take_ops(self) -> list[OSDOp]:
        """The vector for one request. The first taker gets the operations themselves, later ones fresh copies:
        results are written into them by whoever answers."""
        if not self.submitted:
            self.submitted = True
            return self.ops
        return fresh_ops(self.ops)

    def with_flags(self, flags: RequestFlag) -> Self:
        """Add flags to the whole request.

        FULL_TRY: answer EDQUOT or ENOSPC instead of waiting while pool or cluster is full. FULL_FORCE: write even so
        (the client's capabilities must allow it). RWORDERED: a read waits for writes before it on any path.
        BALANCE_READS, LOCALIZE_READS: any replica may answer. ORDERSNAP: refuse (EOLDSNAPC) a snapshot context that
        is older than what the object has seen. RETURNVEC: see `returnvec`.
        """
        self.flags |= flags
        return self

    def returnvec(self) -> Self:
        """Have the operations of a write answer with their outputs and positive return values, too.

        An output of more than 64 bytes (`osd_max_write_op_reply_len`) then makes the vector fail with EOVERFLOW.
        """
        return self.with_flags(RequestFlag.RETURNVEC)

    def op_flags(self, flags: int) -> Self:
        """Add flags (OpFlag: FAILOK, EXCL for create, FADVISE_...) to the operation that was appended last.

        Raises InvalidArgument on an empty vector, and on one that has been submitted.
        """
        if not self.ops:
            raise InvalidArgument("there is no operation to set flags on; append one first")
        if self.submitted:
            raise InvalidArgument("this operation has been submitted; build a new one instead of changing it")
        self.ops[-1].flags |= flags
        return self

    def failok(self) -> Self:
        """Let the operation appended last fail without failing the vector; its return value tells."""
        return self.op_flags(OpFlag.FAILOK)

    def handler(self, function: Handler) -> Self:
        """Have `function(rval, data)` called for the operation appended last, before the completion's callbacks.

        Not where there is no answer (a time-out, say). Raises InvalidArgument on an empty vector.
        """
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
        """Fail with ENOENT unless the object exists. (A read of an object that does not fails so in any case.)"""
        return self._add(OSDOp(OpCode.STAT))

    def assert_version(self, version: int) -> Self:
        """Fail unless the object's user version (`OpResult.version`) is this one: ERANGE if the object is newer,
        EOVERFLOW if it is older. Raises InvalidArgument for versions below 1, which no object has."""
        if version < 1:
            raise invalid("version", version, "give a user version, 1 or more")
        return self._add(OSDOp(OpCode.ASSERT_VER, AssertVer(check_number("version", version))))

    def assert_locked(self, name: str, cookie: str, *, tag: str = "", type: int = LockType.EXCLUSIVE) -> Self:
        """Fail with EBUSY unless this client holds the lock `name` with that cookie, type and tag."""
        method = cls_lock.ASSERT_LOCKED
        return self.exec(method.cls, method.name, encode_call(method, AssertRequest(name, type, cookie, tag)))

    def cmpxattr(self, name: str, value: Buffer | int, op: CmpOp = CmpOp.EQ) -> Self:
        """Fail with ECANCELED unless `value op stored` holds, e.g. GT: `value` is greater than what is stored.

        Bytes compare with the attribute's bytes; an int (64 bits) with an attribute that holds a decimal number as
        text. An attribute that is not there counts as empty, and as 0. The OSD compares what was stored before the
        vector began. Where it holds, the operation's return value is 1.
        """
        if isinstance(value, int):
            raw: Buffer = check_number("value", value).to_bytes(8, "little")
            mode = CmpMode.U64
        else:
            raw, mode = as_buffer(value, "value"), CmpMode.STRING
        return self._add_xattr(OpCode.CMPXATTR, name, raw, op, mode)

    def cmpext(self, data: Buffer, offset: int = 0) -> Self:
        """Fail unless the object's bytes at `offset` equal `data`: CompareMismatch, whose `offset` is the index of
        the first byte that differs. Beyond the object's end there are zeros. The OSD compares what was stored before
        the vector began."""
        check_range(offset, 0)
        buffer = as_buffer(data)
        return self._add(OSDOp(OpCode.CMPEXT, Extent(offset, len(buffer)), buffer), len(buffer))

    def omap_cmp(self, comparisons: Mapping[str, tuple[Buffer, CmpOp]]) -> Self:
        """Fail with ECANCELED unless `stored op value` holds for each key (the other way round than cmpxattr).

        Only EQ, LT and GT (others: EINVAL). A key that is not there has an empty value.
        """

        def fill(encoder: Encoder) -> None:
            def value(item: tuple[Buffer, CmpOp]) -> None:
                encoder.blob(as_buffer(item[0], "value"))
                encoder.i32(item[1])

            encoder.map(comparisons, encoder.str, value)

        data = encoded(fill)
        return self._add(OSDOp(OpCode.OMAP_CMP, None, data), len(data))

    def exec(self, cls: str, method: str, data: Buffer = b"", *, flags: int = 0) -> Self:
        """Run `method` of object class `cls` where the object is, with `data` as its input.

        EOPNOTSUPP for a class or method that the OSD does not have; else what the method answers. In a ReadOp only
        methods that don't write; of a WriteOp the output is dropped unless the vector asks for it (`returnvec`).
        """
        try:
            op = call_op(cls, method, as_buffer(data), flags)
        except UsageError as problem:
            raise not_encodable(problem) from None
        return self._add(op, len(op.indata))


def _describe(op: OSDOp) -> str:
    if op.code == OpCode.CALL:
        cls, method, _ = op.call_parts()
        return f"exec {cls}.{method}"
    return op.name


def fresh_ops(ops: list[OSDOp]) -> list[OSDOp]:
    """The same operations without results, for another request: a sent message belongs to its receiver."""
    return [OSDOp(op.code, op.params, op.indata, op.flags) for op in ops]
