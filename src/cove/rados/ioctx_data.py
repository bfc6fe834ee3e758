"""Data, attributes, object maps and class calls of one object: one method for each vector of a single operation.

Source: Ceph's librados IoCtx.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import cast

from ..wire.encoding import Buffer
from .ioctx_base import IoCtxBase
from .operations import OMAP_PAGE_MAX, OpVector, ReadOp, WriteOp
from .results import ObjectStat, OmapKeys, OmapValues

READ_ALL = 0
OMAP_ENTRIES_MAX = 1 << 24


class DataMethods(IoCtxBase):
    """What is done to the contents of objects."""

    # data

    async def write(self, oid: str, data: Buffer, offset: int = 0) -> None:
        """Write at `offset` (bytes), creating or growing the object as needed."""
        await self.operate(oid, WriteOp().write(data, offset))

    async def write_full(self, oid: str, data: Buffer) -> None:
        """Replace the object's data."""
        await self.operate(oid, WriteOp().write_full(data))

    async def append(self, oid: str, data: Buffer) -> None:
        """Write at the object's end."""
        await self.operate(oid, WriteOp().append(data))

    async def read(self, oid: str, length: int = READ_ALL, offset: int = 0) -> bytes:
        """Bytes from `offset` on, short at the object's end; `length` 0 is all. Raises ObjectNotFound."""
        return (await self.operate(oid, ReadOp().read(length, offset))).data(0)

    async def stat(self, oid: str) -> ObjectStat:
        """Size and modification time. Raises ObjectNotFound."""
        return cast("ObjectStat", (await self.operate(oid, ReadOp().stat())).value(0))

    async def remove(self, oid: str) -> None:
        """Delete the object. Raises ObjectNotFound."""
        await self.operate(oid, WriteOp().remove())

    async def truncate(self, oid: str, size: int) -> None:
        """Cut or extend the object to `size` bytes."""
        await self.operate(oid, WriteOp().truncate(size))

    async def zero(self, oid: str, offset: int, length: int) -> None:
        """Make a range read as zeros."""
        await self.operate(oid, WriteOp().zero(offset, length))

    # attributes

    async def setxattr(self, oid: str, name: str, value: Buffer) -> None:
        """Set an attribute."""
        await self.operate(oid, WriteOp().setxattr(name, value))

    async def getxattr(self, oid: str, name: str) -> bytes:
        """An attribute's value. Raises NoData if there is none."""
        return (await self.operate(oid, ReadOp().getxattr(name))).data(0)

    async def getxattrs(self, oid: str) -> dict[str, bytes]:
        """All attributes."""
        return cast("dict[str, bytes]", (await self.operate(oid, ReadOp().getxattrs())).value(0))

    async def rmxattr(self, oid: str, name: str) -> None:
        """Remove an attribute."""
        await self.operate(oid, WriteOp().rmxattr(name))

    # omap

    async def omap_set(self, oid: str, values: Mapping[str, Buffer]) -> None:
        """Set keys of the object map."""
        await self.operate(oid, WriteOp().omap_set(values))

    async def omap_rm_keys(self, oid: str, keys: Iterable[str]) -> None:
        """Remove keys of the object map."""
        await self.operate(oid, WriteOp().omap_rm_keys(keys))

    async def omap_clear(self, oid: str) -> None:
        """Remove all keys and the header."""
        await self.operate(oid, WriteOp().omap_clear())

    async def omap_set_header(self, oid: str, data: Buffer) -> None:
        """Set the header of the object map."""
        await self.operate(oid, WriteOp().omap_set_header(data))

    async def omap_get_header(self, oid: str) -> bytes:
        """The header of the object map."""
        return (await self.operate(oid, ReadOp().omap_get_header())).data(0)

    async def omap_get_vals_by_keys(self, oid: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Those of the keys that exist, with their values."""
        return cast("dict[str, bytes]", (await self.operate(oid, ReadOp().omap_get_vals_by_keys(keys))).value(0))

    async def omap_get_keys(self, oid: str, start_after: str = "", max_return: int = OMAP_PAGE_MAX) -> OmapKeys:
        """One page of keys."""
        return cast("OmapKeys", (await self.operate(oid, ReadOp().omap_get_keys(start_after, max_return))).value(0))

    async def omap_get_vals(
        self, oid: str, start_after: str = "", prefix: str = "", max_return: int = OMAP_PAGE_MAX
    ) -> OmapValues:
        """One page of keys and values."""
        op = ReadOp().omap_get_vals(start_after, prefix, max_return)
        return cast("OmapValues", (await self.operate(oid, op)).value(0))

    async def omap_items(self, oid: str, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """All keys and values with that prefix, in the order of the keys, page by page."""
        start_after = ""
        for _ in range(OMAP_ENTRIES_MAX):
            page = await self.omap_get_vals(oid, start_after, prefix)
            for item in page.values.items():
                yield item
            if not page.more or not page.values:
                return
            start_after = next(reversed(page.values))

    # classes

    async def execute(self, oid: str, cls: str, method: str, data: Buffer = b"", *, write: bool = True) -> bytes:
        """Run a method of an object class and return its output.

        `write=False` submits it as a read: needed where the output of a read-only method is wanted in a context
        that reads at a snapshot, allowed only for methods that don't write.
        """
        op: OpVector = (WriteOp() if write else ReadOp()).exec(cls, method, data)
        return (await self.operate(oid, op)).data(0)
