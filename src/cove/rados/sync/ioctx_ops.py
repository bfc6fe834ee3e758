"""Compound operations and object maps.

Source: Ceph's pybind/rados (`Ioctx.operate_write_op`, `set_omap`, `get_omap_vals`, …), librados.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import operations
from ..results import decode_blob_map, decode_omap_keys, decode_omap_values
from .checks import check, check_str, integer
from .completion import Completion
from .constants import LIBRADOS_OPERATION_NOFLAG, OMAP_KEY_TYPE, request_flags
from .errors import Error
from .ioctx_base import IoctxBase, failed
from .iterators import OmapIterator
from .ops import ReadOp, WriteOp, key_text, value_bytes

Callback = Callable[[Completion], None]
Entries = list[tuple[str, bytes | None]]


class OperationMethods(IoctxBase):
    """What sends WriteOp and ReadOp, and what adds steps for object maps to them."""

    def create_write_op(self) -> WriteOp:
        """A WriteOp without steps."""
        return WriteOp().create()

    def create_read_op(self) -> ReadOp:
        """A ReadOp without steps."""
        return ReadOp().create()

    def release_write_op(self, write_op: WriteOp) -> None:
        """Drop the steps that were not sent."""
        write_op.release()

    def release_read_op(self, read_op: ReadOp) -> None:
        """Drop the steps that were not sent."""
        read_op.release()

    def operate_write_op(
        self, write_op: WriteOp, oid: str, mtime: int = 0, flags: int = LIBRADOS_OPERATION_NOFLAG
    ) -> None:
        """Do the steps, all or none. `mtime`: the modification time to set, in seconds since the epoch (0: now).

        `flags`: LIBRADOS_OPERATION_… for the whole. Raises the error of the step that failed.
        """
        check_str(oid=oid)
        call = self._operate(oid, _write_vector(write_op, mtime, flags))
        if call.ret < 0:
            raise failed(call.ret, f"Failed to operate write op for oid {oid}", call.cause)

    def operate_aio_write_op(
        self,
        write_op: WriteOp,
        oid: str,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
        mtime: int = 0,
        flags: int = LIBRADOS_OPERATION_NOFLAG,
    ) -> Completion:
        """The same without waiting."""
        check_str(oid=oid)
        return self._aio(oid, _write_vector(write_op, mtime, flags), oncomplete, onsafe)

    def operate_read_op(self, read_op: ReadOp, oid: str, flag: int = LIBRADOS_OPERATION_NOFLAG) -> None:
        """Do the steps; the iterators that they were made with have their results then."""
        check_str(oid=oid)
        call = self._operate(oid, _read_vector(read_op, flag))
        if call.ret < 0:
            raise failed(call.ret, f"Failed to operate read op for oid {oid}", call.cause)

    def operate_aio_read_op(
        self,
        read_op: ReadOp,
        oid: str,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
        flag: int = LIBRADOS_OPERATION_NOFLAG,
    ) -> Completion:
        """The same without waiting."""
        check_str(oid=oid)
        return self._aio(oid, _read_vector(read_op, flag), oncomplete, onsafe)

    # steps for object maps

    def set_omap(self, write_op: WriteOp, keys: Sequence[OMAP_KEY_TYPE], values: Sequence[bytes]) -> None:
        """Add a step that sets keys to values. Raises Error unless there are as many of each."""
        check("write_op", write_op, WriteOp)
        if len(keys) != len(values):
            raise Error("Rados(): keys and values must have the same number of items")
        names = [key_text(key, "keys") for key in keys]
        write_op._vector.omap_set(dict(zip(names, (value_bytes(value, "values") for value in values), strict=True)))

    def remove_omap_keys(self, write_op: WriteOp, keys: Sequence[OMAP_KEY_TYPE]) -> None:
        """Add a step that removes keys."""
        check("write_op", write_op, WriteOp)
        write_op._vector.omap_rm_keys([key_text(key, "keys") for key in keys])

    def remove_omap_range2(self, write_op: WriteOp, key_begin: OMAP_KEY_TYPE, key_end: OMAP_KEY_TYPE) -> None:
        """Add a step that removes the keys from `key_begin` up to, and without, `key_end`."""
        check("write_op", write_op, WriteOp)
        write_op._vector.omap_rm_range(key_text(key_begin, "key_begin"), key_text(key_end, "key_end"))

    def clear_omap(self, write_op: WriteOp) -> None:
        """Add a step that removes all keys and the header."""
        check("write_op", write_op, WriteOp)
        write_op._vector.omap_clear()

    def get_omap_vals(
        self,
        read_op: ReadOp,
        start_after: OMAP_KEY_TYPE,
        filter_prefix: OMAP_KEY_TYPE,
        max_return: int,
        omap_key_type: Callable[[bytes], Any] = bytes.decode,
    ) -> tuple[OmapIterator, int]:
        """Add a step that gets up to `max_return` keys and values, of those behind `start_after` with that prefix.

        Returns the iterator over them, and 0. `omap_key_type` makes each key of its bytes. OSDs give 1024 at most.
        """
        check("read_op", read_op, ReadOp)
        after, prefix = key_text(start_after or "", "start_after"), key_text(filter_prefix or "", "filter_prefix")
        read_op._vector.omap_get_vals(after, prefix, integer(max_return))
        return self._iterator(read_op, omap_key_type, lambda data: _pairs(decode_omap_values(data).values)), 0

    def get_omap_keys(
        self,
        read_op: ReadOp,
        start_after: OMAP_KEY_TYPE,
        max_return: int,
        omap_key_type: Callable[[bytes], Any] = bytes.decode,
    ) -> tuple[OmapIterator, int]:
        """The same without the values, which are None."""
        check("read_op", read_op, ReadOp)
        read_op._vector.omap_get_keys(key_text(start_after or "", "start_after"), integer(max_return))
        return self._iterator(read_op, omap_key_type, lambda data: [(k, None) for k in decode_omap_keys(data).keys]), 0

    def get_omap_vals_by_keys(
        self,
        read_op: ReadOp,
        keys: Sequence[OMAP_KEY_TYPE],
        omap_key_type: Callable[[bytes], Any] = bytes.decode,
    ) -> tuple[OmapIterator, int]:
        """Add a step that gets those of the keys that exist. Returns the iterator over them, and 0."""
        check("read_op", read_op, ReadOp)
        read_op._vector.omap_get_vals_by_keys([key_text(key, "keys") for key in keys])
        return self._iterator(read_op, omap_key_type, lambda data: _pairs(decode_blob_map(data))), 0

    def _iterator(
        self, read_op: ReadOp, omap_key_type: Callable[[bytes], Any], decode: Callable[[bytes], Entries]
    ) -> OmapIterator:
        iterator = OmapIterator(self, omap_key_type)  # type: ignore[arg-type]

        def fill(rval: int, data: bytes) -> None:
            if rval >= 0 and data:
                iterator._fill(decode(data))

        read_op._vector.handler(fill)
        return iterator


def _pairs(values: dict[str, bytes]) -> Entries:
    return [(key, bytes(value) or None) for key, value in values.items()]


def _write_vector(write_op: WriteOp, mtime: int, flags: int) -> operations.WriteOp:
    check("write_op", write_op, WriteOp)
    vector = write_op._take()
    vector.flags |= request_flags(integer(flags))
    if mtime:
        vector.set_mtime(integer(mtime) * 10**9)
    return vector


def _read_vector(read_op: ReadOp, flags: int) -> operations.ReadOp:
    check("read_op", read_op, ReadOp)
    vector = read_op._take()
    vector.flags |= request_flags(integer(flags))
    return vector
