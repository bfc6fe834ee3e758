"""One object with all it has, on its way from a pool (or a dump) into a pool (or a dump).

An object travels as the sections of a dump (wire/rados_dump.py). They are kept in memory up to a limit and in a
temporary file beyond it, so that an object of any size can be had complete before the first of it is written
anywhere: what is cut short on its way changes nothing.

A small object is read in one operation and written in one, as it was at one moment. Of a large one each piece is read
on condition that it is still the same version.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from typing import IO, cast

from ...errors import CoveError
from ...wire.rados_dump import (
    Attributes,
    Data,
    DumpParser,
    ObjectBegin,
    ObjectEnd,
    Omap,
    OmapHeader,
    Section,
    section_parts,
)
from ..completion import AioCompletion
from ..errors import Error, ObjectExists, ObjectNotFound, OutOfRange, Overflow
from ..ioctx import IoCtx
from ..operations import ReadOp, WriteOp
from ..results import ObjectStat, OmapValues, OpResult

PIECE = 4 << 20
"""Bytes of one operation."""
PIECES_MAX = 4
"""Pieces of an object under way at once."""
KEYS_MAX = 512
"""Keys of one section."""
MEMORY_MAX = 8 << 20
"""Bytes of one object that are kept in memory."""
VECTOR_BYTES_MAX = 8 << 20
"""Bytes of one operation that writes an object."""
ATTEMPTS = 3
"""How often an object is read that changes meanwhile."""


class Existing(StrEnum):
    """What to do with an object that is there already."""

    REPLACE = "replace"
    KEEP = "keep"


class Written(StrEnum):
    """What became of an object."""

    WHOLE = "whole"
    KEPT = "kept"
    WITHOUT_OMAP = "without omap"


class ObjectChanged(CoveError):
    """An object was written to again and again while it was read."""


class ObjectContents:
    """The sections of one object, in order; a file behind them only if they are many. `close` it."""

    def __init__(self, begin: ObjectBegin) -> None:
        self.begin = begin
        self.size = 0
        """Bytes of data, attributes and omap."""
        self.has_omap = False
        self._kept: list[Section] = []
        self._file: IO[bytes] | None = None

    def add(self, section: Section) -> None:
        """The next section. Raises OSError when the temporary file can't be written."""
        if self._file is None and self.size + weight(section) > MEMORY_MAX:
            self._file = tempfile.TemporaryFile(prefix="cove-rados-")  # noqa: SIM115
        self.size += weight(section)
        self.has_omap |= isinstance(section, (Omap, OmapHeader)) and weight(section) > 0
        if self._file is None:
            self._kept.append(section)
        else:
            self._file.writelines(section_parts(section))

    def __iter__(self) -> Iterator[Section]:
        """The sections after the first and before the last."""
        yield from self._kept
        if self._file is None:
            return
        self._file.seek(0)
        parser = DumpParser.of_object()
        while piece := self._file.read(parser.need):
            section = parser.feed(piece)
            if section is not None:
                yield section

    def sections(self) -> Iterator[Section]:
        """All of them."""
        yield self.begin
        yield from self
        yield ObjectEnd()

    def close(self) -> None:
        """Give the temporary file back."""
        if self._file is not None:
            self._file.close()


def weight(section: Section) -> int:
    """Bytes of a section that count."""
    if isinstance(section, (Data, OmapHeader)):
        return len(section.data)
    if isinstance(section, (Attributes, Omap)):
        return sum(len(name) + len(value) for name, value in section.values.items())
    return 0


def at(ioctx: IoCtx, begin: ObjectBegin) -> IoCtx:
    """A context in which the object is found."""
    context = ioctx.duplicate()
    context.set_namespace(begin.nspace)
    context.set_locator_key(begin.locator_key)
    return context


# reading


async def read_object(ioctx: IoCtx, begin: ObjectBegin) -> ObjectContents:
    """The object with attributes and omap. Raises ObjectChanged, rados errors (ObjectNotFound: it is gone)."""
    context = at(ioctx, begin)
    for attempt in range(ATTEMPTS):
        contents = ObjectContents(begin)
        try:
            await _read(context, contents)
        except (OutOfRange, Overflow):  # of assert_version
            contents.close()
        except ObjectNotFound:
            contents.close()
            if attempt + 1 == ATTEMPTS:
                raise
            await context.stat(begin.name)  # it is gone: so says this
        except BaseException:
            contents.close()
            raise
        else:
            return contents
    raise ObjectChanged(
        f"object {begin.name!r} was written to each time while it was read: take a snapshot of the pool with "
        "create_snap(), and read that"
    )


async def _read(ioctx: IoCtx, contents: ObjectContents) -> None:
    oid = contents.begin.name
    op = ReadOp().stat().read(PIECE).getxattrs().omap_get_header().failok().omap_get_vals("", "", KEYS_MAX).failok()
    found = await ioctx.operate(oid, op)
    size = cast("ObjectStat", found.value(0)).size
    version = found.version
    data = found.data(1)
    if data:
        contents.add(Data(0, data))
    await _read_data(ioctx, contents, len(data), size, version)
    contents.add(Attributes(found.value(2)))
    contents.add(OmapHeader(_or_empty(found, 3)))
    page: OmapValues | None = found.value(4) if found.rval(4) >= 0 else None
    while page is not None and page.values:
        contents.add(Omap(page.values))
        if not page.more:
            return
        start_after = next(reversed(page.values))
        again = _same(version).omap_get_vals(start_after, "", KEYS_MAX)
        page = (await ioctx.operate(oid, again)).value(len(again) - 1)


async def _read_data(ioctx: IoCtx, contents: ObjectContents, offset: int, size: int, version: int) -> None:
    under_way: deque[tuple[int, AioCompletion]] = deque()
    ahead = offset
    try:
        while offset < size:
            while len(under_way) < PIECES_MAX and ahead < size:
                op = _same(version).read(min(PIECE, size - ahead), ahead)
                under_way.append((len(op) - 1, ioctx.aio_operate(contents.begin.name, op)))
                ahead += PIECE
            index, completion = under_way.popleft()
            data = (await completion).data(index)
            contents.add(Data(offset, data))
            offset += PIECE
    finally:
        for _, completion in under_way:
            completion.cancel()


def _same(version: int) -> ReadOp:
    """The beginning of an operation on the object as it was."""
    return ReadOp().assert_version(version) if version else ReadOp()


def _or_empty(found: OpResult, index: int) -> bytes:
    """Erasure-coded pools have no object maps."""
    return found.data(index) if found.rval(index) >= 0 else b""


# writing


async def write_object(ioctx: IoCtx, contents: ObjectContents, existing: Existing) -> Written:
    """Make the object what the contents say: nothing of what was there stays, unless it is to be kept.

    Erasure-coded pools take no object maps: these are left out. Raises rados errors; those of a large object of which
    a part has been written say so.
    """
    name = contents.begin.name
    context = at(ioctx, contents.begin)
    has_omaps = not context.cluster.osdmap.pools[context.pool_id].is_erasure
    under_way: deque[AioCompletion] = deque()
    done = 0
    try:
        for op in vectors(contents, existing, context.alignment() and piece_size(context, PIECE), has_omaps):
            under_way.append(context.aio_operate(name, op))
            if not done or len(under_way) == PIECES_MAX:  # the first alone: what is refused is refused before the rest
                await under_way.popleft()
                done += 1
        while under_way:
            await under_way.popleft()
    except BaseException as problem:
        for completion in under_way:
            completion.cancel()
        if isinstance(problem, ObjectExists) and existing is Existing.KEEP and not done:
            return Written.KEPT
        if isinstance(problem, Error) and done:
            problem.add_note(f"object {name!r} is incomplete: write it again, or remove it")
        raise
    return Written.WHOLE if has_omaps or not contents.has_omap else Written.WITHOUT_OMAP


def piece_size(ioctx: IoCtx, piece: int) -> int:
    """About `piece` bytes, in multiples of which the pool takes writes (only erasure-coded ones are particular)."""
    aligned = ioctx.alignment()
    return max(piece // aligned, 1) * aligned if aligned else piece


def vectors(contents: ObjectContents, existing: Existing, piece: int, has_omaps: bool) -> Iterator[WriteOp]:
    """What writes the object: one operation, or several if it is large; the first removes what is there.

    Data comes in pieces of `piece` bytes; 0: in those that the contents have.
    """
    op = WriteOp()
    if existing is Existing.REPLACE:
        op.remove().failok().create()
    else:
        op.create(exclusive=True)
    for data in _aligned(contents, piece):
        if op.budget_bytes and op.budget_bytes + weight(data) > VECTOR_BYTES_MAX:
            yield op
            op = WriteOp()
        if isinstance(data, Data):
            op.write(data.data, data.offset)
        elif isinstance(data, Attributes):
            for name, value in data.values.items():
                op.setxattr(name, value)
        elif isinstance(data, OmapHeader):
            if data.data and has_omaps:
                op.omap_set_header(data.data)
        elif isinstance(data, Omap) and has_omaps:
            op.omap_set(data.values)
    yield op


def _aligned(contents: ObjectContents, piece: int) -> Iterator[Section]:
    """The sections, with data in pieces of that size (unless it is 0), but the last one and what is before a hole."""
    begin, buffer = 0, bytearray()
    for section in contents:
        if not isinstance(section, Data) or not piece:
            yield section
            continue
        if section.offset != begin + len(buffer):
            if buffer:
                yield Data(begin, bytes(buffer))
            begin, buffer = section.offset, bytearray()
        buffer += section.data
        while len(buffer) >= piece:
            yield Data(begin, bytes(buffer[:piece]))
            del buffer[:piece]
            begin += piece
    if buffer:
        yield Data(begin, bytes(buffer))
