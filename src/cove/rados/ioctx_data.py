"""Data, attributes, object maps and class calls of one object: one method for each vector of a single operation.

All of them wait for the answer and raise its error: those named below, and those that any operation can have:
TimedOut and OutcomeUnknown (the client's `osd_op_timeout_s`), PermissionDenied, Blocklisted, NotConnected, ReadOnly (a
write while reading at a snapshot), NameTooLong, TooLarge, NoSpace. Offsets, lengths and sizes are in bytes.

Source: Ceph's librados IoCtx.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import cast

from ..wire.encoding import Buffer
from ..wire.osd_ops import ChecksumType, CmpOp
from .ioctx_base import IoCtxBase
from .operations import OMAP_PAGE_MAX, OpVector, ReadOp, WriteOp
from .results import ObjectStat, OmapKeys, OmapValues, SparseRead

READ_ALL = 0
OMAP_PAGES_MAX = 1 << 24


class DataMethods(IoCtxBase):
    """What is done to the contents of objects."""

    # existence

    async def create(self, oid: str, exclusive: bool = True) -> None:
        """Create an empty object. Raises ObjectExists if it is there, unless `exclusive` is False."""
        await self.operate(oid, WriteOp().create(exclusive))

    async def remove(self, oid: str) -> None:
        """Delete the object; its snapshots stay. Raises ObjectNotFound."""
        await self.operate(oid, WriteOp().remove())

    async def stat(self, oid: str) -> ObjectStat:
        """Size and modification time. Raises ObjectNotFound."""
        return cast("ObjectStat", (await self.operate(oid, ReadOp().stat())).value(0))

    # data

    async def write(self, oid: str, data: Buffer, offset: int = 0) -> None:
        """Write at `offset`, creating or growing the object as needed. Raises TooLarge beyond 128 MiB."""
        await self.operate(oid, WriteOp().write(data, offset))

    async def write_full(self, oid: str, data: Buffer) -> None:
        """Replace the object's data; attributes and omap stay."""
        await self.operate(oid, WriteOp().write_full(data))

    async def append(self, oid: str, data: Buffer) -> None:
        """Write at the object's end."""
        await self.operate(oid, WriteOp().append(data))

    async def writesame(self, oid: str, data: Buffer, write_length: int, offset: int = 0) -> None:
        """Write `data` over and over, `write_length` bytes in all. Raises InvalidArgument unless that is a multiple
        of its size."""
        await self.operate(oid, WriteOp().writesame(data, write_length, offset))

    async def read(self, oid: str, length: int = READ_ALL, offset: int = 0) -> bytes:
        """Bytes from `offset` on, short at the object's end; `length` 0 is all. Raises ObjectNotFound."""
        return (await self.operate(oid, ReadOp().read(length, offset))).data(0)

    async def sparse_read(self, oid: str, length: int, offset: int = 0) -> SparseRead:
        """The extents of a range that hold data, and their bytes. Raises ObjectNotFound."""
        return cast("SparseRead", (await self.operate(oid, ReadOp().sparse_read(length, offset))).value(0))

    async def mapext(self, oid: str, length: int, offset: int = 0) -> list[tuple[int, int]]:
        """Offset and length of the extents of a range that hold data. Raises ObjectNotFound."""
        return cast("list[tuple[int, int]]", (await self.operate(oid, ReadOp().mapext(length, offset))).value(0))

    async def checksum(
        self,
        oid: str,
        kind: int = ChecksumType.CRC32C,
        init_value: int = 0xFFFFFFFF,
        offset: int = 0,
        length: int = 0,
        chunk_size: int = 0,
    ) -> list[int]:
        """Checksums of a range, one for each `chunk_size` bytes (0: one for all); without offset and length of the
        whole object. Raises ObjectNotFound, InvalidArgument (`length`, or what of it is within the object, is no
        multiple of `chunk_size`, or 0 with one)."""
        op = ReadOp().checksum(kind, init_value, offset, length, chunk_size)
        return cast("list[int]", (await self.operate(oid, op)).value(0))

    async def cmpext(self, oid: str, data: Buffer, offset: int = 0) -> None:
        """Raises CompareMismatch (its `offset`: index of the first byte that differs) unless the object's bytes at
        `offset` are these; beyond its end there are zeros. Raises ObjectNotFound."""
        await self.operate(oid, ReadOp().cmpext(data, offset))

    async def truncate(self, oid: str, size: int) -> None:
        """Cut or extend the object to `size` bytes; does nothing if there is none. Raises TooLarge beyond 128 MiB."""
        await self.operate(oid, WriteOp().truncate(size))

    async def zero(self, oid: str, offset: int, length: int) -> None:
        """Make a range read as zeros; as far as it reaches the end, the object shrinks."""
        await self.operate(oid, WriteOp().zero(offset, length))

    async def copy_from(self, oid: str, src_oid: str, source: IoCtxBase | None = None, *, src_version: int = 0) -> None:
        """Replace the object by a copy of another one: data, attributes and omap. The OSDs copy among themselves.

        `source`: the io context of the source (this one if None), whose namespace, locator key and snapshot to read
        at count; of the same cluster. `src_version`: the user version that it must have (0: any). Raises
        ObjectNotFound (no source), InvalidArgument (source and copy are the same), OutOfRange (the source is newer),
        Overflow (it is older).
        """
        origin = self if source is None else source
        op = WriteOp().copy_from(src_oid, origin.locator, src_snapid=origin.snap_read, src_version=src_version)
        await self.operate(oid, op)

    async def set_alloc_hint(
        self, oid: str, expected_object_size: int, expected_write_size: int, flags: int = 0
    ) -> None:
        """Tell which sizes to expect of the object and its writes, and its use (AllocHintFlag). Creates the object."""
        await self.operate(oid, WriteOp().set_alloc_hint(expected_object_size, expected_write_size, flags))

    # attributes

    async def setxattr(self, oid: str, name: str, value: Buffer) -> None:
        """Set an attribute. Creates the object if there is none. Raises NameTooLong beyond 100 bytes."""
        await self.operate(oid, WriteOp().setxattr(name, value))

    async def getxattr(self, oid: str, name: str) -> bytes:
        """An attribute's value. Raises NoData if there is none, ObjectNotFound."""
        return (await self.operate(oid, ReadOp().getxattr(name))).data(0)

    async def getxattrs(self, oid: str) -> dict[str, bytes]:
        """All attributes. Raises ObjectNotFound."""
        return cast("dict[str, bytes]", (await self.operate(oid, ReadOp().getxattrs())).value(0))

    async def rmxattr(self, oid: str, name: str) -> None:
        """Remove an attribute; one that is not there is no error. Raises ObjectNotFound."""
        await self.operate(oid, WriteOp().rmxattr(name))

    async def cmpxattr(self, oid: str, name: str, value: Buffer | int, op: CmpOp = CmpOp.EQ) -> None:
        """Raises Cancelled unless `value op stored` holds (`ReadOp.cmpxattr`); ObjectNotFound."""
        await self.operate(oid, ReadOp().cmpxattr(name, value, op))

    # omap

    async def omap_set(self, oid: str, values: Mapping[str, Buffer]) -> None:
        """Set keys of the object map. Creates the object if there is none."""
        await self.operate(oid, WriteOp().omap_set(values))

    async def omap_rm_keys(self, oid: str, keys: Iterable[str]) -> None:
        """Remove keys of the object map; those not there are ignored. Raises ObjectNotFound."""
        await self.operate(oid, WriteOp().omap_rm_keys(keys))

    async def omap_rm_range(self, oid: str, begin: str, end: str) -> None:
        """Remove the keys from `begin` up to but without `end`. Raises ObjectNotFound."""
        await self.operate(oid, WriteOp().omap_rm_range(begin, end))

    async def omap_clear(self, oid: str) -> None:
        """Remove all keys and the header. Raises ObjectNotFound."""
        await self.operate(oid, WriteOp().omap_clear())

    async def omap_set_header(self, oid: str, data: Buffer) -> None:
        """Set the header of the object map. Creates the object if there is none."""
        await self.operate(oid, WriteOp().omap_set_header(data))

    async def omap_get_header(self, oid: str) -> bytes:
        """The header of the object map, empty if there is none. Raises ObjectNotFound."""
        return (await self.operate(oid, ReadOp().omap_get_header())).data(0)

    async def omap_get_vals_by_keys(self, oid: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Those of the keys that exist, with their values. Raises ObjectNotFound."""
        return cast("dict[str, bytes]", (await self.operate(oid, ReadOp().omap_get_vals_by_keys(keys))).value(0))

    async def omap_get_keys(self, oid: str, start_after: str = "", max_return: int = OMAP_PAGE_MAX) -> OmapKeys:
        """One page of keys. Raises ObjectNotFound."""
        return cast("OmapKeys", (await self.operate(oid, ReadOp().omap_get_keys(start_after, max_return))).value(0))

    async def omap_get_vals(
        self, oid: str, start_after: str = "", prefix: str = "", max_return: int = OMAP_PAGE_MAX
    ) -> OmapValues:
        """One page of keys and values. Raises ObjectNotFound."""
        op = ReadOp().omap_get_vals(start_after, prefix, max_return)
        return cast("OmapValues", (await self.operate(oid, op)).value(0))

    async def omap_items(self, oid: str, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """All keys and values with that prefix, in the order of the keys, page by page. Raises ObjectNotFound."""
        start_after = ""
        for _ in range(OMAP_PAGES_MAX):
            page = await self.omap_get_vals(oid, start_after, prefix)
            for item in page.values.items():
                yield item
            if not page.more or not page.values:
                return
            start_after = next(reversed(page.values))

    async def omap_cmp(self, oid: str, comparisons: Mapping[str, tuple[Buffer, CmpOp]]) -> None:
        """Raises Cancelled unless `stored op value` holds for each key (EQ, LT, GT); ObjectNotFound."""
        await self.operate(oid, ReadOp().omap_cmp(comparisons))

    # classes

    async def execute(self, oid: str, cls: str, method: str, data: Buffer = b"", *, write: bool = True) -> bytes:
        """Run a method of an object class and return its output.

        `write=False` submits it as a read: needed where the output of a read-only method is wanted in a context
        that reads at a snapshot, allowed only for methods that don't write. Raises NotSupported (no such class or
        method), and what the method answers.
        """
        op: OpVector = (WriteOp() if write else ReadOp()).exec(cls, method, data)
        return (await self.operate(oid, op)).data(0)
