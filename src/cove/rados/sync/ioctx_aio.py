"""Asynchronous calls: each returns a Completion at once; callbacks run on the client's callback thread.

Source: Ceph's pybind/rados (`Ioctx.aio_…`), librados.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from ..completion import AioCompletion
from ..errors import Error as ClientError
from ..operations import ReadOp, WriteOp
from .checks import check_str, unsigned, wrong_type
from .completion import Completion, Decode
from .ioctx_base import IoctxBase, failed

Callback = Callable[[Completion], None]


def _data(name: str, value: Any) -> bytes:
    if type(value) is not bytes:
        raise wrong_type(name, value, "bytes")
    return value


def _bytes_up_to(length: int) -> Decode:
    """Reads: the result is the number of bytes; callbacks get them, None after an error."""

    def decode(result: int, answer: AioCompletion) -> tuple[int, tuple[Any, ...]]:
        if result < 0:
            return result, (None,)
        data = answer.outputs().data(0)
        if len(data) > length:
            return -errno.ERANGE, (None,)
        return len(data), (data if type(data) is bytes else bytes(data),)

    return decode


def _all_bytes(result: int, answer: AioCompletion) -> tuple[int, tuple[Any, ...]]:
    """Calls of classes: the same, however long it is."""
    if result < 0:
        return result, (None,)
    data = answer.outputs().data(0)
    return len(data), (data if type(data) is bytes else bytes(data),)


def _size_and_time(result: int, answer: AioCompletion) -> tuple[int, tuple[Any, ...]]:
    if result < 0:
        return result, (None, None)
    found = answer.outputs().value(0)
    return 0, (found.size, time.localtime(found.mtime_ns // 10**9))


def _plain(result: int, answer: AioCompletion) -> tuple[int, tuple[Any, ...]]:
    return result if result < 0 else 0, ()


class AioMethods(IoctxBase):
    """What returns a Completion. All raise IoctxStateError, TypeError; other errors are the completion's result."""

    def aio_stat(
        self, object_name: str, oncomplete: Callable[[Completion, int | None, time.struct_time | None], None]
    ) -> Completion:
        """Size and time of the last modification: `oncomplete(completion, size, mtime)`; None, None after an error."""
        check_str(object_name=object_name)
        return self._aio(object_name, ReadOp().stat(), oncomplete, None, _size_and_time)

    def aio_write(
        self,
        object_name: str,
        to_write: bytes,
        offset: int = 0,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
    ) -> Completion:
        """Write at `offset` (bytes)."""
        check_str(object_name=object_name)
        op = WriteOp().write(_data("to_write", to_write), unsigned(offset))
        return self._aio(object_name, op, oncomplete, onsafe)

    def aio_write_full(
        self,
        object_name: str,
        to_write: bytes,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
    ) -> Completion:
        """Replace the object's data."""
        check_str(object_name=object_name)
        return self._aio(object_name, WriteOp().write_full(_data("to_write", to_write)), oncomplete, onsafe)

    def aio_writesame(
        self,
        object_name: str,
        to_write: bytes,
        write_len: int,
        offset: int = 0,
        oncomplete: Callback | None = None,
    ) -> Completion:
        """Repeat `to_write` over `write_len` bytes. Raises InvalidArgumentError unless it is a multiple of its size."""
        check_str(object_name=object_name)
        try:
            op = WriteOp().writesame(_data("to_write", to_write), unsigned(write_len, "size_t"), unsigned(offset))
        except ClientError as problem:
            raise failed(problem.errno, f"error writing object {object_name}", problem) from problem
        return self._aio(object_name, op, oncomplete)

    def aio_append(
        self,
        object_name: str,
        to_append: bytes,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
    ) -> Completion:
        """Write at the object's end."""
        check_str(object_name=object_name)
        return self._aio(object_name, WriteOp().append(_data("to_append", to_append)), oncomplete, onsafe)

    def aio_remove(
        self, object_name: str, oncomplete: Callback | None = None, onsafe: Callback | None = None
    ) -> Completion:
        """Delete the object."""
        check_str(object_name=object_name)
        return self._aio(object_name, WriteOp().remove(), oncomplete, onsafe)

    def aio_read(
        self,
        object_name: str,
        length: int,
        offset: int,
        oncomplete: Callable[[Completion, bytes | None], None] | None = None,
    ) -> Completion:
        """Read up to `length` bytes; the result is their number. `oncomplete(completion, data)` (None: an error)."""
        check_str(object_name=object_name)
        length = unsigned(length, "size_t")
        op = ReadOp().read(length, unsigned(offset))
        return self._aio(object_name, op, oncomplete, None, _bytes_up_to(length))

    def aio_execute(
        self,
        object_name: str,
        cls: str,
        method: str,
        data: bytes,
        length: int = 8192,
        oncomplete: Callable[[Completion, bytes | None], None] | None = None,
        onsafe: Callable[[Completion, bytes | None], None] | None = None,
    ) -> Completion:
        """Run a method of an object class: callbacks get its output, None after an error.

        `length` is what is expected, not a limit: as with Ceph's module, longer outputs arrive whole.
        """
        check_str(object_name=object_name, cls=cls, method=method)
        unsigned(length, "size_t")
        op = ReadOp().exec(cls, method, _data("data", data))
        return self._aio(object_name, op, oncomplete, onsafe, _all_bytes)

    def aio_setxattr(
        self, object_name: str, xattr_name: str, xattr_value: bytes, oncomplete: Callback | None = None
    ) -> Completion:
        """Set an attribute."""
        check_str(object_name=object_name, xattr_name=xattr_name)
        op = WriteOp().setxattr(xattr_name, _data("xattr_value", xattr_value))
        return self._aio(object_name, op, oncomplete)

    def aio_rmxattr(self, object_name: str, xattr_name: str, oncomplete: Callback | None = None) -> Completion:
        """Remove an attribute, if it is there."""
        check_str(object_name=object_name, xattr_name=xattr_name)
        return self._aio(object_name, WriteOp().rmxattr(xattr_name), oncomplete)

    def aio_cmpext(
        self, object_name: str, cmp_buf: bytes, offset: int = 0, oncomplete: Callback | None = None
    ) -> Completion:
        """Compare bytes; the result is 0, or -MAX_ERRNO - N when byte N is the first that differs."""
        check_str(object_name=object_name)
        op = ReadOp().cmpext(_data("cmp_buf", cmp_buf), unsigned(offset))
        return self._aio(object_name, op, oncomplete, None, _plain)
