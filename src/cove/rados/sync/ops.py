"""WriteOp and ReadOp: compound operations, built step by step and sent by `Ioctx.operate_write_op` and its kin.

Sending takes the steps out: the same object can be filled and sent again.

Source: Ceph's pybind/rados (`WriteOp`, `ReadOp`), librados.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from ...wire.osd_ops import CmpOp
from .. import operations
from ..errors import Error as ClientError
from .checks import check_str, integer, unsigned, wrong_type
from .constants import LIBRADOS_CMPXATTR_OP_EQ, LIBRADOS_OPERATION_NOFLAG
from .errors import InvalidArgumentError, make_ex

V = TypeVar("V", bound=operations.OpVector)


def key_text(key: Any, name: str) -> str:
    """A key of an object map, given as str or bytes, as the client has it. Raises TypeError."""
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode("utf-8", "surrogateescape")
    raise TypeError(f"{name} must be a string")


def value_bytes(value: Any, name: str) -> bytes:
    """A value of an object map, given as bytes or str. Raises TypeError."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"{name} must be a string")


def _data(name: str, value: Any) -> bytes:
    if type(value) is not bytes:
        raise wrong_type(name, value, "bytes")
    return value


class OpCtx:
    """`with WriteOpCtx() as op:` makes an operation, and drops what was not sent at the end."""

    def __enter__(self) -> Self:
        created: Self = self.create()  # type: ignore[attr-defined]
        return created

    def __exit__(self, type: object, msg: object, traceback: object) -> None:
        self.release()  # type: ignore[attr-defined]


class _Op(Generic[V]):
    """Steps that are to be sent together."""

    _make: Callable[[], V]

    def __init__(self, *args: Any) -> None:
        """Arguments are allowed and ignored: callers of older releases give the io context."""
        self._vector: V = self._make()

    def create(self) -> Self:
        """Begin with no steps. Returns itself."""
        self._vector = self._make()
        return self

    def release(self) -> None:
        """Drop the steps that were not sent."""
        self._vector = self._make()

    def set_flags(self, flags: int = LIBRADOS_OPERATION_NOFLAG) -> None:
        """Set the flags (LIBRADOS_OP_FLAG_…) of the last step. Raises InvalidArgumentError if there is none."""
        flags = integer(flags)
        if not self._vector.ops:
            raise InvalidArgumentError("set_flags: the operation has no step yet", 22)
        self._vector.ops[-1].flags = flags

    def cmpext(self, cmp_buf: bytes, offset: int = 0) -> None:
        """Fail with ExtendMismatch unless the object's bytes from `offset` on are these."""
        self._vector.cmpext(_data("cmp_buf", cmp_buf), unsigned(offset))

    def _take(self) -> V:
        vector, self._vector = self._vector, self._make()
        return vector


class WriteOp(_Op[operations.WriteOp]):
    """Steps that change one object: applied all, or none."""

    _make = operations.WriteOp

    def new(self, exclusive: int | None = None) -> None:
        """Create the object. LIBRADOS_CREATE_EXCLUSIVE: fail with ObjectExists if it is there."""
        self._vector.create(bool(integer(exclusive)))

    def remove(self) -> None:
        """Delete the object."""
        self._vector.remove()

    def set_xattr(self, xattr_name: str, xattr_value: bytes) -> None:
        """Set an attribute."""
        check_str(xattr_name=xattr_name)
        self._vector.setxattr(xattr_name, _data("xattr_value", xattr_value))

    def rm_xattr(self, xattr_name: str) -> None:
        """Remove an attribute, if it is there."""
        check_str(xattr_name=xattr_name)
        self._vector.rmxattr(xattr_name)

    def append(self, to_write: bytes) -> None:
        """Write at the object's end."""
        self._vector.append(_data("to_write", to_write))

    def write_full(self, to_write: bytes) -> None:
        """Replace the object's data."""
        self._vector.write_full(_data("to_write", to_write))

    def write(self, to_write: bytes, offset: int = 0) -> None:
        """Write at `offset` (bytes)."""
        self._vector.write(_data("to_write", to_write), unsigned(offset))

    def assert_version(self, version: int) -> None:
        """Fail unless the object has this version: errno ERANGE if it is newer, EOVERFLOW if older."""
        try:
            self._vector.assert_version(unsigned(version))
        except ClientError as problem:
            raise make_ex(problem.errno, "assert_version") from problem

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros.

        **As in Ceph's module, the first argument is taken as the length and the second as the offset**, whatever
        their names say: programs that work with it must not destroy other bytes here.
        """
        self._vector.zero(unsigned(length, "size_t"), unsigned(offset))

    def truncate(self, offset: int) -> None:
        """Cut or extend the object to `offset` bytes."""
        self._vector.truncate(unsigned(offset))

    def execute(self, cls: str, method: str, data: bytes) -> None:
        """Run a method of an object class."""
        check_str(cls=cls, method=method)
        self._vector.exec(cls, method, _data("data", data))

    def writesame(self, to_write: bytes, write_len: int, offset: int = 0) -> None:
        """Repeat `to_write` over `write_len` bytes, which must be a multiple of its size."""
        try:
            self._vector.writesame(_data("to_write", to_write), unsigned(write_len, "size_t"), unsigned(offset))
        except ClientError as problem:
            raise make_ex(problem.errno, "writesame") from problem

    def omap_cmp(self, key: str, val: str, cmp_op: int = LIBRADOS_CMPXATTR_OP_EQ) -> None:
        """Fail with errno ECANCELED unless `stored value OP val` holds for the key; EQ, GT and LT."""
        comparison = (value_bytes(val, "val"), CmpOp(integer(cmp_op)))
        self._vector.omap_cmp({key_text(key, "key"): comparison})


class ReadOp(_Op[operations.ReadOp]):
    """Steps that read one object."""

    _make = operations.ReadOp


class WriteOpCtx(WriteOp, OpCtx):
    """A WriteOp for `with`."""


class ReadOpCtx(ReadOp, OpCtx):
    """A ReadOp for `with`."""
