"""Data and attributes of objects, by blocking calls.

Source: Ceph's pybind/rados (`Ioctx`), librados.
"""

from __future__ import annotations

import errno
import time
from typing import Any

from ..errors import Error as ClientError
from ..operations import ReadOp, WriteOp
from .checks import check_str, check_write, unsigned, wrong_type
from .constants import MAX_ERRNO
from .errors import Error
from .ioctx_base import IoctxBase, OperationCall, failed
from .iterators import XattrIterator


class DataMethods(IoctxBase):
    """What is done to the contents of objects. All may raise `Error`, IoctxStateError, TypeError."""

    def _failure(self, call: OperationCall, message: str) -> Error:
        return failed(call.ret, message, call.cause)

    def write(self, key: str, data: bytes, offset: int = 0) -> int:
        """Write `data` at `offset` (bytes), creating or growing the object as needed. Returns 0."""
        check_write(key, data)
        call = self._operate(key, WriteOp().write(data, unsigned(offset)))
        if call.ret < 0:
            raise self._failure(call, f"Ioctx.write({self.name}): failed to write {key}")
        return 0

    def write_full(self, key: str, data: bytes) -> int:
        """Replace the object's data. Returns 0."""
        check_write(key, data)
        call = self._operate(key, WriteOp().write_full(data))
        if call.ret < 0:
            raise self._failure(call, f"Ioctx.write_full({self.name}): failed to write {key}")
        return 0

    def writesame(self, key: str, data: bytes, write_len: int, offset: int = 0) -> None:
        """Repeat `data` over `write_len` bytes from `offset` on; its size has to divide `write_len`."""
        self.require_ioctx_open()
        check_write(key, data)
        message = f"Ioctx.writesame({self.name}): failed to write {key}"
        try:
            op = WriteOp().writesame(data, unsigned(write_len, "size_t"), unsigned(offset))
        except ClientError as problem:
            raise failed(problem.errno, message, problem) from problem
        call = self._operate(key, op)
        if call.ret < 0:
            raise self._failure(call, message)

    def append(self, key: str, data: bytes) -> int:
        """Write at the object's end. Returns 0."""
        check_write(key, data)
        call = self._operate(key, WriteOp().append(data))
        if call.ret < 0:
            raise self._failure(call, f"Ioctx.append({self.name}): failed to append {key}")
        return 0

    def read(self, key: str, length: int = 8192, offset: int = 0) -> bytes:
        """Up to `length` bytes from `offset` on; fewer at the object's end. Raises ObjectNotFound."""
        if not isinstance(key, str):
            raise wrong_type("key", key, "str")
        length = unsigned(length, "size_t")
        call = self._operate(key, ReadOp().read(length, unsigned(offset)))
        if call.ret < 0:
            raise self._failure(call, f"Ioctx.read({self.name}): failed to read {key}")
        data = call.data()
        if len(data) > length:  # 0 asks for all, which then does not fit
            raise failed(-errno.ERANGE, f"Ioctx.read({self.name}): failed to read {key}", None)
        return data

    def execute(self, key: str, cls: str, method: str, data: bytes, length: int = 8192) -> tuple[int, bytes]:
        """Run a method of an object class with `data`. Returns the output's size and the output.

        `length` is the most that it may have: OSError with ERANGE if it is more.
        """
        self.require_ioctx_open()
        check_str(key=key, cls=cls, method=method)
        if type(data) is not bytes:
            raise wrong_type("data", data, "bytes")
        length = unsigned(length, "size_t")
        call = self._operate(key, ReadOp().exec(cls, method, data))
        # the text is that of read, as callers of Ceph's module know it
        if call.ret < 0:
            raise self._failure(call, f"Ioctx.read({self.name}): failed to read {key}")
        output = call.data()
        if len(output) > length:
            raise failed(-errno.ERANGE, f"Ioctx.read({self.name}): failed to read {key}", None)
        return len(output), output

    def remove_object(self, key: str) -> bool:
        """Delete the object; its snapshots stay. Returns True. Raises ObjectNotFound."""
        self.require_ioctx_open()
        check_str(key=key)
        call = self._operate(key, WriteOp().remove())
        if call.ret < 0:
            raise self._failure(call, f"Failed to remove '{key}'")
        return True

    def trunc(self, key: str, size: int) -> int:
        """Cut or extend the object to `size` bytes. Returns 0."""
        self.require_ioctx_open()
        check_str(key=key)
        call = self._operate(key, WriteOp().truncate(unsigned(size)))
        if call.ret < 0:
            raise self._failure(call, f"Ioctx.trunc({self.name}): failed to truncate {key}")
        return 0

    def cmpext(self, key: str, cmp_buf: bytes, offset: int = 0) -> int:
        """Compare the object's bytes from `offset` on with `cmp_buf`.

        Returns 0, or -MAX_ERRNO - N when byte N of it is the first that differs. Raises AssertionError for all else,
        as Ceph's module does.
        """
        self.require_ioctx_open()
        check_str(key=key)
        if type(cmp_buf) is not bytes:
            raise wrong_type("cmp_buf", cmp_buf, "bytes")
        call = self._operate(key, ReadOp().cmpext(cmp_buf, unsigned(offset)))
        if -MAX_ERRNO < call.ret < 0:
            raise AssertionError(f"Ioctx.cmpext({self.name}): failed to compare {key}") from call.cause
        return min(call.ret, 0)

    def stat(self, key: str) -> tuple[int, time.struct_time]:
        """Size in bytes and time of the last modification, in local time. Raises ObjectNotFound."""
        self.require_ioctx_open()
        check_str(key=key)
        call = self._operate(key, ReadOp().stat())
        if call.ret < 0:
            raise self._failure(call, f"Failed to stat {key!r}")
        found = call.value()
        return found.size, time.localtime(found.mtime_ns // 10**9)

    # attributes

    def get_xattr(self, key: str, xattr_name: str) -> bytes:
        """An attribute's value. Raises NoData if there is none, ObjectNotFound."""
        self.require_ioctx_open()
        check_str(key=key, xattr_name=xattr_name)
        call = self._operate(key, ReadOp().getxattr(xattr_name))
        if call.ret < 0:
            raise self._failure(call, f"Failed to get xattr {xattr_name!r}")
        return call.data()

    def get_xattrs(self, oid: str) -> XattrIterator:
        """All attributes, as pairs of name and value. Raises ObjectNotFound."""
        self.require_ioctx_open()
        return XattrIterator(self, oid)

    def _xattrs(self, oid: str) -> dict[str, bytes]:
        call = self._operate(oid, ReadOp().getxattrs())
        if call.ret < 0:
            raise self._failure(call, f"Failed to get rados xattrs for object {oid!r}")
        values: dict[str, Any] = call.value()
        return {name: bytes(value) for name, value in sorted(values.items())}

    def set_xattr(self, key: str, xattr_name: str, xattr_value: bytes) -> bool:
        """Set an attribute. Returns True."""
        self.require_ioctx_open()
        check_str(key=key, xattr_name=xattr_name)
        if type(xattr_value) is not bytes:
            raise wrong_type("xattr_value", xattr_value, "bytes")
        call = self._operate(key, WriteOp().setxattr(xattr_name, xattr_value))
        if call.ret < 0:
            raise self._failure(call, f"Failed to set xattr {xattr_name!r}")
        return True

    def rm_xattr(self, key: str, xattr_name: str) -> bool:
        """Remove an attribute, if it is there. Returns True. Raises ObjectNotFound."""
        self.require_ioctx_open()
        check_str(key=key, xattr_name=xattr_name)
        call = self._operate(key, WriteOp().rmxattr(xattr_name))
        if call.ret < 0:
            raise self._failure(call, f"Failed to delete key {key!r} xattr {xattr_name!r}")
        return True
