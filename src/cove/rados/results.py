"""What comes back: the result of a vector, each operation's code and output, and the decoders of the outputs.

The OSD answers a vector with one overall result, and for each operation a return value and output bytes. Which
structure those bytes are follows from the operation's code: see `DECODERS`.

Source: Ceph's osd_types.h and librados' output handlers (undecodable output counts as EIO).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..wire.encoding import Decoder
from ..wire.errors import PeerError
from ..wire.osd_ops import OpCode, OSDOp
from ..wire.snapsets import SnapList
from ..wire.watches import WatchItem, WatchList
from .errors import make_error

CHECKSUM_SIZES = (4, 8)


class OpOut(NamedTuple):
    """One operation of a vector: its return value (negative: errno) and its output."""

    rval: int
    data: bytes


class ObjectStat(NamedTuple):
    """Size in bytes, and time of the last modification in nanoseconds since the epoch."""

    size: int
    mtime_ns: int

    @property
    def mtime(self) -> float:
        """The time in seconds since the epoch."""
        return self.mtime_ns / 1e9


class OmapKeys(NamedTuple):
    """A page of keys in byte order, and whether there are more after it."""

    keys: list[str]
    more: bool


class OmapValues(NamedTuple):
    """A page of keys and values in the order of the keys, and whether there are more after it."""

    values: dict[str, bytes]
    more: bool


class SparseRead(NamedTuple):
    """Extents that hold data, by object offset and length (bytes), and their bytes one after the other."""

    extents: list[tuple[int, int]]
    data: bytes

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """Offset and bytes of each extent, without copying."""
        view, pos = memoryview(self.data), 0
        for offset, length in self.extents:
            yield offset, view[pos : pos + length]
            pos += length


def decode_stat(data: bytes) -> ObjectStat:
    """Output of stat."""
    decoder = Decoder(data)
    return ObjectStat(decoder.u64(), decoder.utime())


def decode_omap_keys(data: bytes) -> OmapKeys:
    """Output of omap_get_keys."""
    decoder = Decoder(data)
    keys = decoder.list(decoder.str)
    return OmapKeys(keys, decoder.bool())


def decode_omap_values(data: bytes) -> OmapValues:
    """Output of omap_get_vals."""
    decoder = Decoder(data)
    values = decoder.map(decoder.str, decoder.blob)
    return OmapValues(values, decoder.bool())


def decode_blob_map(data: bytes) -> dict[str, bytes]:
    """Output of getxattrs and omap_get_vals_by_keys."""
    decoder = Decoder(data)
    return decoder.map(decoder.str, decoder.blob)


def decode_extent_map(data: bytes) -> list[tuple[int, int]]:
    """Output of mapext."""
    decoder = Decoder(data)
    return sorted(decoder.map(decoder.u64, decoder.u64).items())


def decode_sparse_read(data: bytes) -> SparseRead:
    """Output of sparse_read. Raises PeerError when extents and data don't add up."""
    decoder = Decoder(data)
    extents = sorted(decoder.map(decoder.u64, decoder.u64).items())
    payload = decoder.blob()
    if sum(length for _, length in extents) != len(payload):
        raise PeerError(f"sparse read: extents {extents} with {len(payload)} bytes of data")
    return SparseRead(extents, payload)


def decode_checksums(data: bytes) -> list[int]:
    """Output of checksum; empty where the range holds no bytes. Raises PeerError unless all sums are of one size."""
    if not data:
        return []
    decoder = Decoder(data)
    count = decoder.u32()
    size, rest = divmod(decoder.remaining, count) if count else (4, decoder.remaining)
    if rest or size not in CHECKSUM_SIZES:
        raise PeerError(f"{count} checksums in {decoder.remaining} bytes")
    read = decoder.u32 if size == 4 else decoder.u64
    return [read() for _ in range(count)]


def decode_watchers(data: bytes) -> list[WatchItem]:
    """Output of list_watchers."""
    return WatchList.from_bytes(data).entries


def decode_bool(data: bytes) -> bool:
    """Output of is_dirty."""
    return Decoder(data).bool()


DECODERS: dict[int, Callable[[bytes], Any]] = {
    OpCode.STAT: decode_stat,
    OpCode.OMAP_GET_KEYS: decode_omap_keys,
    OpCode.OMAP_GET_VALS: decode_omap_values,
    OpCode.OMAP_GET_VALS_BY_KEYS: decode_blob_map,
    OpCode.GETXATTRS: decode_blob_map,
    OpCode.MAPEXT: decode_extent_map,
    OpCode.SPARSE_READ: decode_sparse_read,
    OpCode.CHECKSUM: decode_checksums,
    OpCode.LIST_WATCHERS: decode_watchers,
    OpCode.LIST_SNAPS: SnapList.from_bytes,
    OpCode.ISDIRTY: decode_bool,
}
"""Operation → decoder of its output. What is missing here (read, getxattr, call, …) answers with plain bytes."""


class OpResult:
    """The answer to a vector. Of one that failed it is the error's `outputs`, or `AioCompletion.outputs()`.

    The OSD stops at the first operation that fails (unless that may: FAILOK); those after it have return value 0 and
    no output. A request that was refused before it ran (a read of an object that is not there, say) has neither
    return values nor outputs. Of a write that succeeded, outputs come back only if it asked for them (RETURNVEC).

    Attributes: result (int: 0 or more, or the negative error number of the whole vector), version (the object's user
    version after the operation; 0 if unknown).
    """

    __slots__ = ("_ops", "result", "version")

    def __init__(self, result: int = 0, version: int = 0, ops: Sequence[OSDOp] = ()) -> None:
        self.result = result
        self.version = version
        self._ops = ops

    @property
    def ops(self) -> list[OpOut]:
        """Return value and output of each operation, in the order of the vector."""
        return [OpOut(op.rval, op.outdata) for op in self._ops]

    @property
    def rvals(self) -> list[int]:
        """Return value of each operation, in the order of the vector."""
        return [op.rval for op in self._ops]

    @property
    def failed_index(self) -> int | None:
        """Index of the operation that made the vector fail; None if none did, or it was refused before it ran."""
        if self.result >= 0:
            return None
        return next((index for index, op in reversed(list(enumerate(self._ops))) if op.rval == self.result), None)

    def name(self, index: int) -> str:
        """What the operation was, e.g. `getxattr`."""
        return self._ops[index].name

    def rval(self, index: int) -> int:
        """Return value of one operation: 0 or more, or a negative error number."""
        return self._ops[index].rval

    def data(self, index: int = 0) -> bytes:
        """Output of one operation as it came, without a copy."""
        return self._ops[index].outdata

    def value(self, index: int = 0) -> Any:
        """Output of one operation, decoded by `DECODERS`.

        Raises the error of that operation if it failed (FAILOK lets a vector succeed nevertheless), and
        InOutError if its output can't be understood, or is not there.
        """
        op = self._ops[index]
        if op.rval < 0:
            raise make_error(op.rval, operation=op.name)
        decode = DECODERS.get(op.code)
        if decode is None:
            return op.outdata
        try:
            return decode(op.outdata)
        except PeerError as problem:
            raise make_error(-errno.EIO, operation=op.name, detail=str(problem)) from problem

    def values(self) -> list[Any]:
        """What `value` gives, of each operation. Raises as it does, for the first that failed."""
        return [self.value(index) for index in range(len(self._ops))]

    def __len__(self) -> int:
        return len(self._ops)

    def __repr__(self) -> str:
        return f"<OpResult {self.result} version {self.version}, {len(self._ops)} operations>"
