"""Objects of a dump into a pool; of a dump that Ceph's own `rados export` made, too.

Look a file through first (`check_dump`): one that is damaged changes nothing then. What comes through a pipe is written
object by object, each once all of it has arrived: what is before the damage is imported then, and the object that is
cut short is left as it was.

Source: Ceph's tools/rados/RadosImport.cc.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from ...errors import CoveError
from ...wire.errors import PeerError
from ...wire.rados_dump import NO_SHARD, DumpParser, ObjectBegin, ObjectEnd, PgBegin, PgMetadata, Section
from ..errors import ObjectNotFound
from ..ioctx import IoCtx
from .contents import Existing, ObjectContents, Written, at, write_object
from .parallel import in_order
from .threads import in_thread

CHUNK = 1 << 20
INTERNAL_NAMESPACE = ".ceph-internal"
"""What cache pools keep for themselves."""


class DamagedDump(CoveError):
    """The dump is not what it should be; the text begins with the position."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an object of the dump."""

    what: str
    begin: ObjectBegin
    size: int


@dataclass(slots=True)
class Imported:
    """How far it came."""

    size_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.counts[outcome.what] += 1
        if outcome.what not in ("kept", "passed over"):
            self.size_bytes += outcome.size


class _Source:
    """Exact counts of bytes from a file or pipe, without keeping the event loop waiting."""

    def __init__(self, file: BinaryIO) -> None:
        self._read = getattr(file, "read1", file.read)
        self._buffer = bytearray()

    async def read(self, count: int) -> bytes:
        """So many bytes, fewer at the end. Raises OSError."""
        while len(self._buffer) < count:
            piece = await in_thread(self._read, max(CHUNK, count - len(self._buffer)))
            if not piece:
                break
            self._buffer += piece
        data = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return data


async def _sections(source: _Source) -> AsyncIterator[Section]:
    """The dump's sections. Raises DamagedDump, OSError."""
    parser = DumpParser()
    try:
        while not parser.done:
            section = parser.feed(await source.read(parser.need))
            if section is not None:
                yield section
    except PeerError as problem:
        raise DamagedDump(str(problem)) from None


async def _objects(found: AsyncIterator[Section], moved: Callable[[int], None]) -> AsyncIterator[ObjectContents]:
    """The dump's objects, each complete. Raises DamagedDump, OSError."""
    contents: ObjectContents | None = None
    try:
        async for section in found:
            if isinstance(section, PgBegin) and section.shard != NO_SHARD:
                raise CoveError(
                    f"a dump of one shard of an erasure-coded placement group ({section.pool}.{section.seed:x}) can't "
                    "be imported: export the pool instead"
                )
            if isinstance(section, ObjectBegin):
                contents = ObjectContents(section)
            elif isinstance(section, ObjectEnd) and contents is not None:
                complete, contents = contents, None
                moved(complete.size)
                yield complete
            elif contents is not None and not isinstance(section, PgMetadata):
                contents.add(section)
    except DamagedDump as problem:
        if contents is not None:
            problem.add_note(f"object {contents.begin.name!r} is not complete: it was left as it was")
        raise
    finally:
        if contents is not None:
            contents.close()


def check_dump(file: BinaryIO) -> int:
    """Look a file through, without its data, and go back to where it was; how many objects there are.

    Raises DamagedDump, OSError.
    """
    parser = DumpParser(skim=True)
    count = 0
    start = file.tell()
    try:
        while not parser.done:
            count += isinstance(parser.feed(file.read(parser.need)), ObjectBegin)
            if parser.skip:
                file.seek(parser.skip, 1)
                parser.skipped()
    except PeerError as problem:
        raise DamagedDump(str(problem)) from None
    file.seek(start)
    return count


class _Import:
    """Brings the objects of a dump into a pool."""

    def __init__(self, ioctx: IoCtx, existing: Existing, dry_run: bool) -> None:
        self._ioctx = ioctx
        self._existing = existing
        self._dry_run = dry_run

    async def one(self, contents: ObjectContents) -> Outcome:
        """One object. Raises rados errors."""
        begin = contents.begin
        try:
            return Outcome(await self._one(contents), begin, contents.size)
        finally:
            contents.close()

    async def _one(self, contents: ObjectContents) -> str:
        begin = contents.begin
        if not begin.is_head or begin.nspace == INTERNAL_NAMESPACE:
            return "passed over"
        if self._dry_run or self._existing is Existing.REPLACE:
            try:
                await at(self._ioctx, begin).stat(begin.name)
            except ObjectNotFound:
                what = "written"
            else:
                what = "overwritten" if self._existing is Existing.REPLACE else "kept"
            if self._dry_run:
                return what
        else:
            what = "written"
        written = await write_object(self._ioctx, contents, self._existing)
        return {Written.WHOLE: what, Written.KEPT: "kept", Written.WITHOUT_OMAP: f"{what} without omap"}[written]


def _nobody(_what: object) -> None:
    """Of whom nobody asked how far it came."""


async def import_pool(
    ioctx: IoCtx,
    source: BinaryIO,
    existing: Existing = Existing.REPLACE,
    *,
    dry_run: bool = False,
    moved: Callable[[int], None] = _nobody,
    outcome: Callable[[Outcome], None] = _nobody,
) -> Imported:
    """Bring the objects of a dump into the pool; with `dry_run`, only look what would become of each.

    `source.read` is called on threads. `moved` is told the bytes of each object that was read, `outcome` what became of
    each. Raises DamagedDump, rados errors, OSError; what is before the damage is imported then.
    """
    imported = Imported()
    work = _Import(ioctx, existing, dry_run)
    async with in_order(_objects(_sections(_Source(source)), moved), work.one) as outcomes:
        async for found in outcomes:
            imported.add(found)
            outcome(found)
    return imported
