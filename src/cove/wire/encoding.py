"""Ceph's primitive encodings: little-endian integers, length-prefixed strings, lists, maps and versioned structs.

`Encoder` appends to one buffer; `Decoder` walks over one buffer and never reads past its end: whatever is too
short raises `PeerError`. Both serve every structure of `cove.wire` and the object classes of the store.

Source: Ceph developer documentation, "Wire protocol: encoding" (src/include/encoding.h's conventions).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import PeerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

Buffer = bytes | bytearray | memoryview

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_I32 = struct.Struct("<i")
_I64 = struct.Struct("<q")
_FRAME = struct.Struct("<BBI")
NS_PER_S = 1_000_000_000
TIME_MAX_NS = (1 << 32) * NS_PER_S - 1
"""The last time that there is room for."""


def encode_text(text: str) -> bytes:
    """A string's bytes. Raises UsageError for one that no bytes can have been decoded to."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} has characters that can't be encoded") from None


class Encoder:
    """Builds one encoded value. Every method returns nothing and appends."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out = bytearray()

    def bytes(self) -> bytes:
        """What has been encoded so far."""
        return bytes(self._out)

    def __len__(self) -> int:
        return len(self._out)

    def raw(self, data: Buffer) -> None:
        """Bytes as they are, without a length."""
        self._out += data

    def u8(self, value: int) -> None:
        """One byte."""
        try:
            self._out.append(value)
        except ValueError:
            raise UsageError(f"{value} does not fit into a u8") from None

    def bool(self, value: object) -> None:
        """One byte, 0 or 1."""
        self._out.append(1 if value else 0)

    def _pack(self, layout: struct.Struct, value: int) -> None:
        try:
            self._out += layout.pack(value)
        except struct.error:
            raise UsageError(f"{value!r} does not fit into {layout.size * 8} bits") from None

    def u16(self, value: int) -> None:
        """Two bytes."""
        self._pack(_U16, value)

    def u32(self, value: int) -> None:
        """Four bytes."""
        self._pack(_U32, value)

    def u64(self, value: int) -> None:
        """Eight bytes."""
        self._pack(_U64, value)

    def i32(self, value: int) -> None:
        """Four bytes, signed."""
        self._pack(_I32, value)

    def i64(self, value: int) -> None:
        """Eight bytes, signed."""
        self._pack(_I64, value)

    def blob(self, data: Buffer) -> None:
        """u32 length, then the bytes."""
        self._pack(_U32, len(data))
        self._out += data

    def str(self, text: str) -> None:
        """As a blob. Ceph's strings have no charset: bytes that are not UTF-8 travel as surrogate escapes."""
        self.blob(encode_text(text))

    def utime(self, ns: int) -> None:
        """A time in nanoseconds since the epoch: u32 seconds, u32 nanoseconds."""
        self._pack(_U32, ns // NS_PER_S)
        self._pack(_U32, ns % NS_PER_S)

    def list(self, items: Iterable[T], item: Callable[[T], None]) -> None:
        """u32 count, then each item by the method given."""
        entries = items if isinstance(items, (list, tuple)) else list(items)
        self._pack(_U32, len(entries))
        for entry in entries:
            item(entry)

    def map(self, items: Mapping[K, V], key: Callable[[K], None], value: Callable[[V], None]) -> None:
        """u32 count, then keys and values, in ascending order of the encoded key's own ordering."""
        self._pack(_U32, len(items))
        for k in sorted(items, key=_sort_key):
            key(k)
            value(items[k])

    def optional(self, item: T | None, encode: Callable[[T], None]) -> None:
        """u8 0, or u8 1 and the item."""
        self.bool(item is not None)
        if item is not None:
            encode(item)

    @contextmanager
    def versioned(self, version: int, compat: int) -> Iterator[None]:
        """A versioned struct: u8 version, u8 oldest version that can decode it, u32 length of what follows."""
        start = len(self._out)
        self._out += b"\0" * _FRAME.size
        yield
        _FRAME.pack_into(self._out, start, version, compat, len(self._out) - start - _FRAME.size)


def _sort_key(key: Any) -> Any:
    """Strings are ordered by their bytes."""
    return encode_text(key) if isinstance(key, str) else key


class Decoder:
    """Reads encoded values from a buffer, in order. Raises PeerError on anything that does not fit."""

    __slots__ = ("_data", "_end", "_pos")

    def __init__(self, data: Buffer) -> None:
        self._data = memoryview(data)
        self._pos = 0
        self._end = len(data)

    @property
    def remaining(self) -> int:
        """Bytes not read yet (of the innermost versioned struct)."""
        return self._end - self._pos

    def raw(self, length: int) -> bytes:
        """Bytes as they are."""
        end = self._pos + length
        if length < 0 or end > self._end:
            raise PeerError(f"{length} bytes wanted, {self._end - self._pos} left")
        data = bytes(self._data[self._pos : end])
        self._pos = end
        return data

    def window(self) -> tuple[memoryview, int, int]:
        """Buffer, position and end, for readers of long vectors; they finish with `skip_to`."""
        return self._data, self._pos, self._end

    def skip_to(self, position: int) -> None:
        """Go on at a position of the buffer, not before the present one. Raises PeerError beyond the end."""
        if not self._pos <= position <= self._end:
            raise PeerError(f"position {position} is not within {self._pos} to {self._end}")
        self._pos = position

    def rest(self) -> bytes:
        """All that is left."""
        return self.raw(self.remaining)

    def _unpack(self, layout: struct.Struct) -> int:
        end = self._pos + layout.size
        if end > self._end:
            raise PeerError(f"{layout.size} bytes wanted, {self._end - self._pos} left")
        (value,) = layout.unpack_from(self._data, self._pos)
        self._pos = end
        return int(value)

    def u8(self) -> int:
        """One byte."""
        if self._pos >= self._end:
            raise PeerError("1 byte wanted, 0 left")
        value = self._data[self._pos]
        self._pos += 1
        return value

    def bool(self) -> bool:
        """One byte; anything but 0 is true."""
        return self.u8() != 0

    def u16(self) -> int:
        """Two bytes."""
        return self._unpack(_U16)

    def u32(self) -> int:
        """Four bytes."""
        return self._unpack(_U32)

    def u64(self) -> int:
        """Eight bytes."""
        return self._unpack(_U64)

    def i32(self) -> int:
        """Four bytes, signed."""
        return self._unpack(_I32)

    def i64(self) -> int:
        """Eight bytes, signed."""
        return self._unpack(_I64)

    def blob(self) -> bytes:
        """u32 length, then the bytes."""
        return self.raw(self._unpack(_U32))

    def str(self) -> str:
        """As a blob; bytes that are not UTF-8 become surrogate escapes."""
        return self.blob().decode("utf-8", "surrogateescape")

    def utime(self) -> int:
        """A time as nanoseconds since the epoch; what is beyond the last one that can be written is that one."""
        seconds = self._unpack(_U32)
        return min(seconds * NS_PER_S + self._unpack(_U32), TIME_MAX_NS)

    def list(self, item: Callable[[], T]) -> list[T]:
        """u32 count, then the items. The count is believed only as far as there are bytes for it."""
        count = self._unpack(_U32)
        if count > self.remaining:
            raise PeerError(f"a list of {count} items in {self.remaining} bytes")
        return [item() for _ in range(count)]

    def map(self, key: Callable[[], K], value: Callable[[], V]) -> dict[K, V]:
        """u32 count, then keys and values."""
        count = self._unpack(_U32)
        if count > self.remaining:
            raise PeerError(f"a map of {count} entries in {self.remaining} bytes")
        return {key(): value() for _ in range(count)}

    def optional(self, decode: Callable[[], T]) -> T | None:
        """u8 present flag, then the item."""
        return decode() if self.bool() else None

    @contextmanager
    def versioned(self, known: int) -> Iterator[int]:
        """Enter a versioned struct and yield its version; whatever the reader leaves unread is skipped.

        `known` is the newest version the reader understands: a struct that says it needs a newer one is refused.
        """
        version, compat, length = self.u8(), self.u8(), self._unpack(_U32)
        if compat > known:
            raise PeerError(f"a struct needs version {compat}, {known} is known")
        if length > self.remaining:
            raise PeerError(f"a struct of {length} bytes in {self.remaining}")
        outer_end, self._end = self._end, self._pos + length
        try:
            yield version
            self._pos = self._end
        finally:
            self._end = outer_end


def encode_string(text: str | Buffer) -> bytes:
    """A string, or bytes, as the inputs of most class methods want it: u32 length, then the bytes."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)
    return _U32.pack(len(data)) + data
