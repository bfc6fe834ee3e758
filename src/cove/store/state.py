"""What the store's objects are at this moment: the layers that are not durable yet, on top of LMDB.

`State` looks things up; `LayeredObject` is one object, read through it; `apply_log` puts the changes of a vector that
has succeeded into the layer that is being filled. All of it runs on the event loop; only `Engine.commit` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from ..wire.encoding import Buffer
from . import omap_table
from .context import Step, StoredObject
from .engine import Engine
from .info import ObjectFlag, ObjectInfo, PgInfo
from .keys import chunk_key, number_prefix, omap_header_key, parse_chunk_key, pg_key, xattr_key
from .layer import Layer, OmapChanges
from .mapping import SLOW_S, address_of
from .space import PAGES_PER_CHUNK

_ATTR_NAME_AT = 9
_CHUNK_LAST = (1 << 32) - 1


class State:
    """Layers (newest last) over the engine. `layers[-1]` is the one being filled."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.chunk_size = engine.chunk_size
        self._reader: Any = None
        self._layer_number = 0
        self.next_number = engine.next_number
        self.pgs = engine.load_pgs()
        self.layers: list[Layer] = [self.new_layer()]

    def new_layer(self) -> Layer:
        """An empty layer with the next number."""
        self._layer_number += 1
        return Layer(self._layer_number)

    def reader(self) -> Any:
        """A read transaction of what is durable; good until `drop_reader`."""
        if self._reader is None:
            self._reader = self.engine.begin()
        return self._reader

    def drop_reader(self) -> None:
        """Forget the read transaction: something newer has become durable, and its pages should be free for reuse."""
        if self._reader is not None:
            self._reader.abort()
            self._reader = None

    def reset(self) -> None:
        """Forget all that is not durable."""
        self.drop_reader()
        self.next_number = max(self.next_number, self.engine.next_number)  # numbers may be skipped, never repeated
        self.pgs = self.engine.load_pgs()
        self.layers = [self.new_layer()]

    def pg(self, pool: int, seed: int) -> PgInfo:
        """Counters of a placement group; made if it has none yet."""
        info = self.pgs.get((pool, seed))
        if info is None:
            info = self.pgs[(pool, seed)] = PgInfo()
        return info

    def close_layer(self) -> Layer:
        """The layer that was being filled, ready to be committed; a new one takes its place."""
        layer = self.layers[-1]
        layer.pgs = {pg_key(*pg): self.pgs[pg].pack() for pg in layer.dirty_pgs}
        self.layers.append(self.new_layer())
        return layer

    def pending_layer(self, key: bytes) -> Layer | None:
        """The newest layer that changes the object; None if all of it is durable."""
        for layer in reversed(self.layers):
            if key in layer.objects:
                return layer
        return None

    def info(self, key: bytes) -> ObjectInfo | None:
        """The object's record; not to be changed."""
        for layer in reversed(self.layers):
            if key in layer.objects:
                return layer.objects[key]
        record = self.reader().get(key, db=self.engine.objects)
        return ObjectInfo.unpack(record) if record is not None else None

    def object(self, key: bytes) -> LayeredObject:
        """The object as it is now, pending changes included."""
        return LayeredObject(self, self.reader(), tuple(reversed(self.layers)), self.info(key))

    def durable_object(self, info: ObjectInfo) -> tuple[LayeredObject, Any]:
        """An object without pending changes, on a read transaction of its own, for use in another thread.

        The caller aborts the transaction.
        """
        txn = self.engine.begin()
        return LayeredObject(self, txn, (), info), txn


class LayeredObject(StoredObject):
    """One object, read through layers and a read transaction."""

    __slots__ = ("_chunk_size", "_engine", "_layers", "_number", "_txn", "info")

    def __init__(self, state: State, txn: Any, layers: tuple[Layer, ...], info: ObjectInfo | None) -> None:
        self.info = info
        self._number = info.number if info is not None else 0
        self._engine = state.engine
        self._chunk_size = state.chunk_size
        self._layers = layers
        self._txn = txn

    def chunk(self, index: int) -> Buffer | None:
        """One chunk, perhaps shorter than a whole one; None if it is all zeros."""
        key = chunk_key(self._number, index)
        for layer in self._layers:
            if key in layer.data:
                return layer.data[key]
        chunk: Buffer | None = self._txn.get(key, db=self._engine.data)
        return chunk

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, at most up to the end of the object."""
        assert self.info is not None
        end = min(offset + length, self.info.size)
        if end <= offset:
            return b""
        size = self._chunk_size
        pieces: list[Buffer] = []
        index, skip = divmod(offset, size)
        position = offset
        fetched = range(0)
        while position < end:
            want = min(size - skip, end - position)
            began = perf_counter()
            chunk = self.chunk(index)
            if perf_counter() - began > SLOW_S and type(chunk) is memoryview and end - position > want:
                # it came from the disk: the next ones, which lie behind it most likely, should come all together
                address = address_of(chunk)
                if address not in fetched:
                    fetched = range(address, address + int(PAGES_PER_CHUNK * (end - position + size)))
                    self._engine.mapping.will_need(address, len(fetched))
            have = 0
            if chunk is not None and len(chunk) > skip:
                piece = chunk if not skip and len(chunk) <= want else memoryview(chunk)[skip : skip + want]
                have = len(piece)
                pieces.append(piece)
            if have < want:
                pieces.append(bytes(want - have))
            position += want
            index += 1
            skip = 0
        return b"".join(pieces)

    def extents(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Where there are chunks in that range; neighbours are joined."""
        assert self.info is not None
        end = min(offset + length, self.info.size)
        found: list[tuple[int, int]] = []
        for index in self.chunk_indexes(offset // self._chunk_size, -(-end // self._chunk_size)):
            chunk = self.chunk(index)
            start = index * self._chunk_size
            stop = min(start + (len(chunk) if chunk is not None else 0), end)
            start = max(start, offset)
            if stop <= start:
                continue
            if found and found[-1][0] + found[-1][1] == start:
                found[-1] = (found[-1][0], stop - found[-1][0])
            else:
                found.append((start, stop - start))
        return found

    def chunk_indexes(self, first: int, end: int) -> list[int]:
        """Numbers of the chunks of [first, end) that are there, ascending."""
        if end <= first:
            return []
        numbers: set[int] = set()
        cursor = self._txn.cursor(self._engine.data)
        prefix = number_prefix(self._number)
        if cursor.set_range(chunk_key(self._number, first)):
            for key in cursor.iternext(keys=True, values=False):
                if bytes(key[:8]) != prefix:
                    break
                index = parse_chunk_key(key)[1]
                if index >= end:
                    break
                numbers.add(index)
        for layer in reversed(self._layers):
            for index in range(first, end) if end - first <= len(layer.data) else _indexes(layer, self._number):
                if not first <= index < end:
                    continue
                change = layer.data.get(chunk_key(self._number, index), _ABSENT)
                if change is None:
                    numbers.discard(index)
                elif change is not _ABSENT:
                    numbers.add(index)
        return sorted(numbers)

    def _attr(self, key: bytes) -> bytes | None:
        for layer in self._layers:
            if key in layer.attrs:
                return layer.attrs[key]
        value = self._txn.get(key, db=self._engine.attrs)
        return bytes(value) if value is not None else None

    def xattr(self, name: bytes) -> bytes | None:
        """Value of an xattr."""
        return self._attr(xattr_key(self._number, name))

    def xattrs(self) -> dict[bytes, bytes]:
        """All xattrs, ascending by name."""
        prefix = xattr_key(self._number, b"")
        found: dict[bytes, bytes] = {}
        cursor = self._txn.cursor(self._engine.attrs)
        if cursor.set_range(prefix):
            for key, value in cursor.iternext(keys=True, values=True):
                name = bytes(key)
                if not name.startswith(prefix):
                    break
                found[name[_ATTR_NAME_AT:]] = bytes(value)
        for layer in reversed(self._layers):
            for name, change in layer.attrs.items():
                if not name.startswith(prefix):
                    continue
                if change is None:
                    found.pop(name[_ATTR_NAME_AT:], None)
                else:
                    found[name[_ATTR_NAME_AT:]] = change
        return dict(sorted(found.items()))

    def omap_header(self) -> bytes:
        """The omap header; empty if there is none."""
        return self._attr(omap_header_key(self._number)) or b""

    def omap_value(self, key: bytes) -> bytes | None:
        """Value of an omap key."""
        for layer in self._layers:
            changes = layer.omap.get(self._number)
            if changes is None:
                continue
            if key in changes.keys:
                return changes.keys[key]
            if changes.cleared:
                return None
        return omap_table.get(self._txn, self._engine.omap, self._number, key)

    def omap_items(self, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Omap keys and values from `start` (inclusive) on, in order."""
        pending: dict[bytes, bytes | None] = {}
        stored: Iterator[tuple[bytes, bytes]] | None = None
        for layer in self._layers:
            changes = layer.omap.get(self._number)
            if changes is None:
                continue
            pending = {**changes.keys, **pending}
            if changes.cleared:
                stored = iter(())
                break
        if stored is None:
            stored = omap_table.iterate(self._txn, self._engine.omap, self._number, start)
        if not pending:
            return stored
        return _merge(stored, sorted((key, value) for key, value in pending.items() if key >= start))


_ABSENT: Any = object()


def _indexes(layer: Layer, number: int) -> list[int]:
    prefix = number_prefix(number)
    return [parse_chunk_key(key)[1] for key in layer.data if key.startswith(prefix)]


def _merge(
    stored: Iterator[tuple[bytes, bytes]], pending: list[tuple[bytes, bytes | None]]
) -> Iterator[tuple[bytes, bytes]]:
    """Stored entries with the pending changes worked in; both ascend."""
    at = 0
    for key, value in stored:
        while at < len(pending) and pending[at][0] < key:
            name, change = pending[at]
            at += 1
            if change is not None:
                yield name, change
        if at < len(pending) and pending[at][0] == key:
            change = pending[at][1]
            at += 1
            if change is not None:
                yield key, change
            continue
        yield key, value
    for name, change in pending[at:]:
        if change is not None:
            yield name, change


class LogWriter:
    """Applies the steps of a vector's log to the layer that is being filled."""

    __slots__ = ("_chunk_size", "_full_key", "_layer", "_number", "_state", "_view", "info", "written")

    def __init__(self, state: State, stored: LayeredObject, full_key: bytes) -> None:
        self._state = state
        self._layer = state.layers[-1]
        self._chunk_size = state.chunk_size
        self._view = stored
        self._full_key = full_key
        self.info = stored.info.copy() if stored.info is not None else None
        self._number = stored.info.number if stored.info is not None else 0
        self.written = 0

    def apply(self, log: list[Step]) -> ObjectInfo | None:
        """Run all steps; the object's new record, None if it is deleted. Its versions are left to the caller."""
        steps = _STEPS
        for step in log:
            steps[step[0]](self, *step[1:])
        self._layer.bytes += self.written
        return self.info

    def create(self) -> None:
        """A new object, with a number that none had before."""
        self._number = self._state.next_number
        self._state.next_number += 1
        self.info = ObjectInfo(self._number, full_key=self._full_key)
        self._view = LayeredObject(self._state, self._state.reader(), tuple(reversed(self._state.layers)), self.info)

    def touch(self) -> None:
        """Nothing but new versions."""

    def write(self, offset: int, data: Buffer) -> None:
        """Cut the data into chunks; those that are not covered whole are read, changed and written."""
        assert self.info is not None
        size, changes, number = self._chunk_size, self._layer.data, self._number
        view = memoryview(data)
        end = offset + len(view)
        index, skip = divmod(offset, size)
        at = 0
        while at < len(view):
            want = min(size - skip, len(view) - at)
            piece = view[at : at + want]
            key = chunk_key(number, index)
            if want == size:
                changes[key] = piece
            else:
                self._patch(changes, key, index, skip, piece)
            at += want
            index += 1
            skip = 0
        self.info.size = max(self.info.size, end)
        self.written += len(view)

    def _patch(self, changes: dict[bytes, Buffer | None], key: bytes, index: int, skip: int, piece: Buffer) -> None:
        chunk = changes.get(key)
        if type(chunk) is not bytearray:
            old = self._view.chunk(index)
            chunk = bytearray(old) if old is not None else bytearray()
            changes[key] = chunk
        if len(chunk) < skip:
            chunk.extend(bytes(skip - len(chunk)))
        chunk[skip : skip + len(piece)] = piece

    def resize(self, size: int) -> None:
        """Cut off what lies beyond the new end; growth needs no data."""
        assert self.info is not None
        if size < self.info.size:
            keep, rest = divmod(size, self._chunk_size)
            for index in self._view.chunk_indexes(keep, _CHUNK_LAST):
                key = chunk_key(self._number, index)
                chunk = self._view.chunk(index) if rest and index == keep else None
                # a bytearray in the layer may be patched later on, so the cut piece must be one of its own
                self._layer.data[key] = bytearray(memoryview(chunk)[:rest]) if chunk is not None else None
        self.info.size = size

    def zero(self, offset: int, length: int) -> None:
        """Whole chunks go; the outer ones are patched if they are there."""
        size = self._chunk_size
        end = offset + length
        for index in self._view.chunk_indexes(offset // size, -(-end // size)):
            start, stop = max(offset - index * size, 0), min(end - index * size, size)
            chunk = self._view.chunk(index)
            if chunk is None:
                continue
            key = chunk_key(self._number, index)
            stop = min(stop, len(chunk))
            if start == 0 and stop == len(chunk):
                self._layer.data[key] = None
            elif start < stop:
                changed = bytearray(chunk)
                changed[start:stop] = bytes(stop - start)
                self._layer.data[key] = changed

    def delete(self) -> None:
        """All entries of the number go; pending ones at once, so that the purge need not know of them."""
        layer, number = self._layer, self._number
        layer.purged.append(number)
        layer.omap.pop(number, None)
        prefix = number_prefix(number)
        for table in (layer.data, layer.attrs):
            for key in [key for key in table if key.startswith(prefix)]:
                del table[key]
        self.info = None

    def set_xattr(self, name: bytes, value: bytes) -> None:
        """Set an xattr."""
        assert self.info is not None
        self._layer.attrs[xattr_key(self._number, name)] = value
        self.info.flags |= ObjectFlag.XATTRS
        self.written += len(value)

    def remove_xattr(self, name: bytes) -> None:
        """Remove an xattr."""
        self._layer.attrs[xattr_key(self._number, name)] = None

    def _omap(self) -> OmapChanges:
        assert self.info is not None
        self.info.flags |= ObjectFlag.OMAP
        changes = self._layer.omap.get(self._number)
        if changes is None:
            changes = self._layer.omap[self._number] = OmapChanges()
        return changes

    def omap_set(self, items: dict[bytes, bytes]) -> None:
        """Set omap keys."""
        self._omap().keys.update(items)
        self.written += sum(len(key) + len(value) for key, value in items.items())

    def omap_set_header(self, header: bytes) -> None:
        """Set the omap header."""
        self._omap()
        self._layer.attrs[omap_header_key(self._number)] = header
        self.written += len(header)

    def omap_remove(self, keys: list[bytes]) -> None:
        """Remove omap keys."""
        changes = self._omap()
        for key in keys:
            changes.keys[key] = None

    def omap_remove_range(self, begin: bytes, end: bytes) -> None:
        """Remove the omap keys of [begin, end)."""
        found = []
        for key, _ in self._view.omap_items(begin):
            if key >= end:
                break
            found.append(key)
        self.omap_remove(found)

    def omap_clear(self) -> None:
        """Remove all omap keys and the header."""
        changes = self._omap()
        changes.cleared = True
        changes.keys.clear()
        self._layer.attrs[omap_header_key(self._number)] = None


_STEPS: dict[object, Callable[..., None]] = {
    name: getattr(LogWriter, name)
    for name in (
        "create",
        "touch",
        "write",
        "resize",
        "zero",
        "delete",
        "set_xattr",
        "remove_xattr",
        "omap_set",
        "omap_set_header",
        "omap_remove",
        "omap_remove_range",
        "omap_clear",
    )
}
