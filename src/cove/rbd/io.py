"""Reading and writing an image: from a range of the image to operations on its data objects, many at a time.

A write waits for the object map where it must, submits all its operations in one go, then waits for them. Read
results are the OSD's own buffers, joined only if there are several. Absent objects are holes.

Source: Ceph's librbd io::ObjectRequest and io::ImageRequest (operations, discard rules, errnos).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..rados.completion import AioCompletion
from ..rados.errors import CompareMismatch as RadosCompareMismatch
from ..rados.errors import Error as RadosError
from ..rados.operations import OpVector, ReadOp, WriteOp
from ..rados.results import OpResult, SparseRead
from ..wire.encoding import Buffer
from ..wire.object_map import ObjectMap, ObjectState
from .errors import CompareMismatch, InvalidArgument
from .layout import ObjectExtent

if TYPE_CHECKING:
    from .image import Image

Segment = tuple[int, Buffer | None]
"""A piece of a read: its length, and its bytes or None for a hole."""

DISCARD_GRANULARITY = 64 << 10
"""`rbd_discard_granularity_bytes`: discards are shrunk to whole blocks of this many bytes."""
WINDOW_OBJECTS = 32
"""Object operations of one call that are in flight together."""
DISCARD_UNITS = 4096
"""Stripe units that a discard works on at a time: its arithmetic must not hold up the event loop."""
ZEROS = bytes(4 << 20)


def clip(image: Image, offset: int, length: int) -> int:
    """The part of `length` that is inside the image. Raises InvalidArgument."""
    if offset < 0 or length < 0:
        raise InvalidArgument(f"offset={offset}, length={length}: neither may be negative")
    if length and offset >= image.size:
        raise InvalidArgument(f"offset={offset}: at or beyond the image's end, its size is {image.size}")
    return min(length, image.size - offset)


def _windows(extents: list[ObjectExtent]) -> Iterator[list[ObjectExtent]]:
    for first in range(0, len(extents), WINDOW_OBJECTS):
        yield extents[first : first + WINDOW_OBJECTS]


async def _finish(completions: Sequence[AioCompletion], *, absent_is_fine: bool = False) -> list[OpResult | None]:
    """Wait for all; raises the first error after the last answer. With `absent_is_fine`, ENOENT gives None."""
    results: list[OpResult | None] = []
    failure: RadosError | None = None
    try:
        for completion in completions:
            try:
                results.append(await completion)
            except RadosError as error:
                if not (absent_is_fine and error.errno == errno.ENOENT):
                    failure = failure or error
                results.append(None)
    except asyncio.CancelledError:
        for completion in completions:
            completion.cancel()
        raise
    if failure is not None:
        raise failure
    return results


def _submit(image: Image, prepared: Sequence[tuple[int, OpVector]]) -> list[AioCompletion]:
    """Send one operation to each data object. If one can't be sent, those before it are given up."""
    submitted: list[AioCompletion] = []
    try:
        for number, op in prepared:
            submitted.append(image.ioctx.aio_operate(image.data_oid(number), op))
    except BaseException:
        for completion in submitted:
            completion.cancel()
        raise
    return submitted


# reading --------------------------------------------------------------------------------------------------------


async def read(image: Image, offset: int, length: int) -> bytes:
    """The bytes of a range; not copied if one object has them all."""
    segments = await read_segments(image, offset, length)
    if len(segments) == 1:
        data = segments[0][1]
        return bytes(segments[0][0]) if data is None else bytes(data)
    return b"".join(bytes(size) if data is None else data for size, data in segments)


async def read_segments(image: Image, offset: int, length: int) -> list[Segment]:
    """The consecutive pieces of a range, holes included; neighbouring holes are one."""
    image.check_open()
    length = clip(image, offset, length)
    image.note_read()
    segments: list[Segment] = []
    for window in _windows(image.layout.extents(offset, length)):
        wanted = [extent for extent in window if image.object_map.may_exist(extent.object_no)]
        completions = _submit(image, [(extent.object_no, _read_op(image, extent)) for extent in wanted])
        replies = iter(await _finish(completions, absent_is_fine=True))
        pieces = []
        pending = {id(extent) for extent in wanted}
        for extent in window:
            result = next(replies) if id(extent) in pending else None
            pieces.append(_pieces(extent, result))
        if image.layout.is_default:
            for piece in pieces:
                _extend(segments, piece)
        else:
            _extend(segments, _unstripe(window, pieces))
    return segments


def _read_op(image: Image, extent: ObjectExtent) -> ReadOp:
    if extent.length >= image.layout.object_size:
        return ReadOp().sparse_read(extent.length, extent.offset)
    return ReadOp().read(extent.length, extent.offset)


def _pieces(extent: ObjectExtent, result: OpResult | None) -> list[Segment]:
    """One object extent's answer as pieces that cover it."""
    if result is None:
        return [(extent.length, None)]
    value = result.value(0)
    if not isinstance(value, SparseRead):
        rest = extent.length - len(value)
        pieces: list[Segment] = [(len(value), value)] if value else []
        return [*pieces, (rest, None)] if rest else pieces
    pieces = []
    position = extent.offset
    for at, data in value.chunks():
        if at > position:
            pieces.append((at - position, None))
        pieces.append((len(data), data))
        position = at + len(data)
    if position < extent.end:
        pieces.append((extent.end - position, None))
    if len(pieces) == 1 and value.data:
        return [(extent.length, value.data)]
    return pieces


def _extend(segments: list[Segment], pieces: Sequence[Segment]) -> None:
    for length, data in pieces:
        if data is None and segments and segments[-1][1] is None:
            segments[-1] = (segments[-1][0] + length, None)
        else:
            segments.append((length, data))


def _unstripe(extents: Sequence[ObjectExtent], pieces: Sequence[list[Segment]]) -> list[Segment]:
    """The pieces of object extents, put into the order of the image."""
    found: list[tuple[int, Segment]] = []
    for extent, parts in zip(extents, pieces, strict=True):
        remaining = iter(parts)
        left, data = next(remaining)
        used = 0
        for position, length in extent.buffer_extents:
            while length:
                if used == left:
                    (left, data), used = next(remaining), 0
                size = min(length, left - used)
                found.append((position, (size, None if data is None else memoryview(data)[used : used + size])))
                position, length, used = position + size, length - size, used + size
    found.sort(key=lambda item: item[0])
    return [segment for _, segment in found]


def block_status(image: Image, states: ObjectMap | None, offset: int, length: int) -> list[tuple[int, bool]]:
    """Extents of a range, by an object map (None: everything may hold data)."""
    length = clip(image, offset, length)
    if states is None:
        return [(length, True)] if length else []
    found: list[tuple[int, bool]] = []
    for number, _, piece in image.layout.units(offset, length):
        allocated = number >= states.count or states[number] != ObjectState.NONEXISTENT
        if found and found[-1][1] == allocated:
            found[-1] = (found[-1][0] + piece, allocated)
        else:
            found.append((piece, allocated))
    return found


# writing --------------------------------------------------------------------------------------------------------


async def write(image: Image, offset: int, data: Buffer) -> int:
    """See Image.write."""
    image.check_writable()
    view = memoryview(data)
    if view.itemsize != 1 or view.ndim != 1:
        view = view.cast("B")
    sequence = await image.gate.enter()
    try:
        length = clip(image, offset, len(view))
        await image.ensure_lock()
        image.note_write()
        await _write_data(image, offset, view[:length])
    finally:
        image.gate.leave(sequence)
    return length


async def _write_data(image: Image, offset: int, view: memoryview) -> None:
    object_size = image.layout.object_size
    for window in _windows(image.layout.extents(offset, len(view))):
        fresh = await _prepare(image, window)
        prepared: list[tuple[int, OpVector]] = []
        for extent in window:
            op = WriteOp()
            if extent.object_no in fresh:
                op.set_alloc_hint(object_size, object_size)
            payload = _gather(view, extent)
            if extent.length == object_size:
                op.write_full(payload)
            else:
                op.write(payload, extent.offset)
            prepared.append((extent.object_no, op))
        await _finish(_submit(image, prepared))


async def _prepare(image: Image, extents: Sequence[ObjectExtent]) -> set[int]:
    """Let the object map know; returns the objects that may be new. Writes must be submitted at once afterwards."""
    numbers = sorted({extent.object_no for extent in extents})
    object_map = image.object_map
    if object_map.is_writable(numbers):
        return set() if object_map.states is not None else set(numbers)
    return await object_map.ensure_exists(numbers)


def _gather(view: memoryview, extent: ObjectExtent) -> Buffer:
    if len(extent.buffer_extents) == 1:
        position, length = extent.buffer_extents[0]
        return view[position : position + length]
    return b"".join(view[position : position + length] for position, length in extent.buffer_extents)


async def discard(image: Image, offset: int, length: int, granularity: int) -> int:
    """See Image.discard. `granularity` 0: exactly the range, all of which then reads as zeros."""
    image.check_writable()
    sequence = await image.gate.enter()
    try:
        length = clip(image, offset, length)
        await image.ensure_lock()
        image.note_write()
        for start, size in _sets(image, offset, length):
            extents = image.layout.extents(start, size)
            shrunk = [piece for extent in extents if (piece := _shrink(image, extent, granularity)) is not None]
            await discard_extents(image, shrunk)
    finally:
        image.gate.leave(sequence)
    return length


def _sets(image: Image, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """A range cut where sets of objects end, into parts of not too many stripe units."""
    layout = image.layout
    step = max(1, DISCARD_UNITS * layout.stripe_unit // layout.period) * layout.period
    end = offset + length
    while offset < end:
        size = min(step - offset % step, end - offset)
        yield offset, size
        offset += size


def _shrink(image: Image, extent: ObjectExtent, granularity: int) -> ObjectExtent | None:
    """The part of an extent that consists of whole blocks, None if there is none."""
    object_size = image.layout.object_size
    block = min(granularity, object_size)
    if block <= 1 or (block == object_size and extent.end == object_size):
        return extent
    start = -(-extent.offset // block) * block
    end = extent.end // block * block
    return ObjectExtent(extent.object_no, start, end - start, []) if start < end else None


async def discard_extents(image: Image, extents: Sequence[ObjectExtent]) -> None:
    """Delete, truncate or zero, whichever fits each extent."""
    object_size = image.layout.object_size
    whole = sorted(extent.object_no for extent in extents if extent.length == object_size)
    partial = [extent for extent in extents if extent.length < object_size]
    for first in range(0, len(whole), WINDOW_OBJECTS * 8):
        await delete_objects(image, whole[first : first + WINDOW_OBJECTS * 8])
    for window in _windows(partial):
        existing = [extent for extent in window if image.object_map.may_exist(extent.object_no)]
        if not existing:
            continue
        await _prepare(image, existing)
        prepared: list[tuple[int, OpVector]] = []
        for extent in existing:
            if extent.end == object_size:
                prepared.append((extent.object_no, WriteOp().truncate(extent.offset)))
            else:
                prepared.append((extent.object_no, WriteOp().zero(extent.offset, extent.length)))
        await _finish(_submit(image, prepared))


async def delete_objects(image: Image, numbers: Sequence[int], *, flags: int = 0) -> None:
    """Delete whole objects (ascending numbers): map to pending, delete, map to absent. Absent ones cost nothing."""
    object_map = image.object_map
    existing = [number for number in numbers if object_map.may_exist(number)]
    if not existing:
        return
    async with object_map.claim(existing):
        existing = [number for number in existing if object_map.may_exist(number)]
        await object_map.set_states(existing, ObjectState.PENDING)
        for first in range(0, len(existing), WINDOW_OBJECTS):
            ops: list[tuple[int, OpVector]] = []
            for number in existing[first : first + WINDOW_OBJECTS]:
                op = WriteOp().remove()
                op.flags |= flags
                ops.append((number, op))
            await _finish(_submit(image, ops), absent_is_fine=True)
        await object_map.set_states(existing, ObjectState.NONEXISTENT, ObjectState.PENDING)


async def write_zeroes(image: Image, offset: int, length: int, *, thick: bool) -> int:
    """See Image.write_zeroes."""
    if not thick:
        return await discard(image, offset, length, 0)
    image.check_writable()
    length = clip(image, offset, length)
    for start in range(0, length, len(ZEROS)):
        await write(image, offset + start, memoryview(ZEROS)[: min(len(ZEROS), length - start)])
    return length


async def write_same(image: Image, offset: int, length: int, pattern: Buffer) -> int:
    """See Image.write_same."""
    raw = bytes(pattern)
    if not raw or length % len(raw):
        raise InvalidArgument(f"length={length}: give a multiple of the pattern's {len(raw)} bytes (not 0)")
    if not raw.strip(b"\0"):
        return await write_zeroes(image, offset, length, thick=False)
    image.check_writable()
    length = clip(image, offset, length)
    block = raw * max(1, len(ZEROS) // len(raw))
    for start in range(0, length, len(block)):
        await write(image, offset + start, memoryview(block)[: min(len(block), length - start)])
    return length


async def compare_and_write(image: Image, offset: int, compare: Buffer, data: Buffer) -> int:
    """See Image.compare_and_write."""
    image.check_writable()
    expected, new = memoryview(compare).cast("B"), memoryview(data).cast("B")
    length = len(new)
    if len(expected) != length:
        raise InvalidArgument(f"compare has {len(expected)} bytes and data {length}: give the same number")
    unit = image.layout.stripe_unit
    if offset % unit + length > unit:
        raise InvalidArgument(f"offset={offset}, length={length}: must be within one stripe unit of {unit} bytes")
    sequence = await image.gate.enter()
    try:
        if clip(image, offset, length) < length:
            raise InvalidArgument(f"offset={offset}, length={length}: reaches beyond the image's size {image.size}")
        if not length:
            return 0
        await image.ensure_lock()
        image.note_write()
        (extent,) = image.layout.extents(offset, length)
        await _prepare(image, [extent])
        op = WriteOp().cmpext(expected, extent.offset).write(new, extent.offset)
        try:
            await _finish(_submit(image, [(extent.object_no, op)]))
        except RadosCompareMismatch as error:
            found = offset + error.offset
            raise CompareMismatch(f"image {image.name!r} holds other bytes at offset {found}", offset=found) from error
    finally:
        image.gate.leave(sequence)
    return length
