"""WriteOp and ReadOp: ordered vectors of operations on one object. Building one sends nothing.

Each method appends one operation and returns the vector, so that they can be chained. `IoCtx.aio_operate` sends a
vector; the OSD applies a WriteOp atomically: all of it, or none and the code of the operation that failed. The
operations run in order, but comparisons and reads of attributes and data see what was stored before the vector began;
only the object's existence and size are as earlier operations left them.

The data of writes is the caller's own buffer (bytes, bytearray, memoryview, …), **not a copy**: it must not change
until the operation's completion is done. A vector may be submitted several times, but not changed after the first.

What the methods raise at once is InvalidArgument, for arguments that can't be; what is said below about errors is how
the vector fails on the OSD. Offsets, lengths and sizes are in bytes.

Source: Ceph's librados ObjectOperation; operation codes and parameters: include/rados.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from ..wire.encoding import Buffer, Encoder
from ..wire.errors import UsageError
from ..wire.names import encode_locator
from ..wire.osd_ops import (
    AllocHint,
    Checksum,
    ChecksumType,
    CopyFrom,
    Extent,
    OpCode,
    OpFlag,
    OSDOp,
    SnapId,
    WriteSame,
)
from ..wire.types import NOSNAP, ObjectLocator
from .op_vector import (
    OMAP_PAGE_MAX,
    OP_BYTES_MAX,
    U64_MAX,
    Handler,
    OpVector,
    as_buffer,
    check_number,
    check_range,
    encode_strings,
    encoded,
    fresh_ops,
    invalid,
    not_encodable,
)

__all__ = [
    "OMAP_PAGE_MAX",
    "OP_BYTES_MAX",
    "Handler",
    "OpVector",
    "ReadOp",
    "WriteOp",
    "as_buffer",
    "fresh_ops",
]

CHECKSUM_BYTES: dict[int, int] = {ChecksumType.XXHASH32: 4, ChecksumType.XXHASH64: 8, ChecksumType.CRC32C: 4}
"""Kind of checksum → bytes of its initial value, and of each sum."""
TIME_NS_MAX = (1 << 32) * 1_000_000_000 - 1


class WriteOp(OpVector):
    """A vector that changes an object: applied whole, or not at all.

    Unless said otherwise, an operation creates the object if there is none.
    """

    __slots__ = ()

    is_write = True

    # existence

    def create(self, exclusive: bool = False) -> Self:
        """Create the object; `exclusive`: fail with EEXIST if it is there."""
        return self._add(OSDOp(OpCode.CREATE, None, b"", OpFlag.EXCL if exclusive else 0))

    def remove(self) -> Self:
        """Delete the object with all it has; ENOENT if it is not there. Its snapshots stay, its watches end."""
        return self._add(OSDOp(OpCode.DELETE))

    # data

    def write(self, data: Buffer, offset: int = 0, *, flags: int = 0) -> Self:
        """Write at `offset`, growing the object as needed, with zeros in between. EFBIG from 128 MiB on
        (`osd_max_object_size`). `flags`: OpFlag.FADVISE_..."""
        if not 0 <= offset <= U64_MAX:
            check_range(offset, 0)
        buffer = data if type(data) is bytes else as_buffer(data)
        length = len(buffer)
        return self._add(OSDOp(OpCode.WRITE, Extent(offset, length), buffer, flags), length)

    def write_full(self, data: Buffer, *, flags: int = 0) -> Self:
        """Replace the object's data; attributes and omap stay. EFBIG beyond 128 MiB."""
        buffer = as_buffer(data)
        length = len(buffer)
        return self._add(OSDOp(OpCode.WRITEFULL, Extent(0, length), buffer, flags), length)

    def append(self, data: Buffer, *, flags: int = 0) -> Self:
        """Write at the object's end, as operations before it in the vector have left it."""
        buffer = as_buffer(data)
        length = len(buffer)
        return self._add(OSDOp(OpCode.APPEND, Extent(0, length), buffer, flags), length)

    def writesame(self, data: Buffer, write_length: int, offset: int = 0, *, flags: int = 0) -> Self:
        """Write `data` over and over, `write_length` bytes in all: a multiple of its size. Only `data` is sent."""
        check_range(offset, write_length)
        buffer = as_buffer(data)
        if not len(buffer) or write_length % len(buffer):
            raise invalid("write_length", write_length, f"give a multiple of the pattern's {len(buffer)} bytes")
        op = OSDOp(OpCode.WRITESAME, WriteSame(offset, write_length, len(buffer)), buffer, flags)
        return self._add(op, len(buffer))

    def zero(self, offset: int, length: int) -> Self:
        """Make a range read as zeros. A range that reaches the object's end or further cuts the object off at
        `offset`; one beyond the end, or without an object, does nothing. EFBIG beyond 128 MiB."""
        check_range(offset, length)
        return self._add(OSDOp(OpCode.ZERO, Extent(offset, length)))

    def truncate(self, size: int) -> Self:
        """Cut the object to `size` bytes, or extend it with zeros; nothing happens if there is no object.
        EFBIG beyond 128 MiB."""
        check_range(size, 0)
        return self._add(OSDOp(OpCode.TRUNCATE, Extent(size, 0)))

    def copy_from(
        self,
        src_oid: str,
        src_locator: ObjectLocator,
        *,
        src_snapid: int = NOSNAP,
        src_version: int = 0,
        src_fadvise_flags: int = 0,
    ) -> Self:
        """Replace the object by a copy of another one: data, attributes, omap and user version. The OSDs copy among
        themselves. `src_locator`: pool, locator key and namespace of the source (`IoCtx.locator`).

        ENOENT without a source; EINVAL if it is the object itself; ERANGE or EOVERFLOW unless `src_version` (0: any)
        is its user version.
        """

        def fill(encoder: Encoder) -> None:
            encoder.str(src_oid)
            encode_locator(encoder, src_locator)
            # which truncation CephFS wants; read only with a flag that is not set here, but always sent
            encoder.u32(0)
            encoder.u64(0)

        params = CopyFrom(
            check_number("src_snapid", src_snapid),
            check_number("src_version", src_version),
            0,
            check_number("src_fadvise_flags", src_fadvise_flags, 32),
        )
        data = encoded(fill)
        return self._add(OSDOp(OpCode.COPY_FROM2, params, data), len(data))

    # attributes

    def setxattr(self, name: str, value: Buffer) -> Self:
        """Set an attribute. ENAMETOOLONG for a name of more than 100 bytes."""
        return self._add_xattr(OpCode.SETXATTR, name, as_buffer(value, "value"))

    def rmxattr(self, name: str) -> Self:
        """Remove an attribute; one that is not there is no error. ENOENT without an object."""
        return self._add_xattr(OpCode.RMXATTR, name)

    # omap (not in erasure-coded pools: EOPNOTSUPP)

    def omap_set(self, values: Mapping[str, Buffer]) -> Self:
        """Set keys of the object map."""
        encoder = Encoder()
        blob = encoder.blob
        try:
            encoder.map(
                values, encoder.str, lambda value: blob(value if type(value) is bytes else as_buffer(value, "value"))
            )
        except UsageError as problem:
            raise not_encodable(problem) from None
        data = encoder.bytes()
        return self._add(OSDOp(OpCode.OMAP_SET_VALS, None, data), len(data))

    def omap_rm_keys(self, keys: Iterable[str]) -> Self:
        """Remove keys; those not there are ignored. ENOENT without an object."""
        data = encode_strings(keys)
        return self._add(OSDOp(OpCode.OMAP_RM_KEYS, None, data), len(data))

    def omap_rm_range(self, begin: str, end: str) -> Self:
        """Remove the keys from `begin` up to but without `end`. ENOENT without an object. Never give them the wrong
        way round: an OSD of Ceph 16 with MemStore ends over it."""

        def fill(encoder: Encoder) -> None:
            encoder.str(begin)
            encoder.str(end)

        data = encoded(fill)
        return self._add(OSDOp(OpCode.OMAP_RM_KEY_RANGE, None, data), len(data))

    def omap_clear(self) -> Self:
        """Remove all keys and the header. ENOENT without an object."""
        return self._add(OSDOp(OpCode.OMAP_CLEAR))

    def omap_set_header(self, data: Buffer) -> Self:
        """Set the object map's header: bytes that stand beside the keys."""
        buffer = as_buffer(data)
        return self._add(OSDOp(OpCode.OMAP_SET_HEADER, None, buffer), len(buffer))

    # hints, snapshots, caches, time

    def set_alloc_hint(self, expected_object_size: int, expected_write_size: int, flags: int = 0) -> Self:
        """Tell which sizes (bytes) to expect of the object and its writes, and how it will be used
        (AllocHintFlag). Never fails the vector: OSDs that can't use hints ignore them."""
        hint = AllocHint(
            check_number("expected_object_size", expected_object_size),
            check_number("expected_write_size", expected_write_size),
            check_number("flags", flags, 32),
        )
        return self._add(OSDOp(OpCode.SET_ALLOC_HINT, hint, b"", OpFlag.FAILOK))

    def rollback(self, snapid: int) -> Self:
        """Make the head what it was at the snapshot. If the object did not exist then, or the snapshot is unknown,
        the head is removed (EBUSY if it is watched)."""
        return self._add(OSDOp(OpCode.ROLLBACK, SnapId(check_number("snapid", snapid))))

    def undirty(self) -> Self:
        """Mark the object of a cache tier as clean. Succeeds without effect elsewhere."""
        return self._add(OSDOp(OpCode.UNDIRTY))

    def cache_pin(self) -> Self:
        """Keep the object in its cache tier. EINVAL in a pool that is no cache tier."""
        return self._add(OSDOp(OpCode.CACHE_PIN))

    def cache_unpin(self) -> Self:
        """Let the object leave its cache tier again. EINVAL in a pool that is no cache tier."""
        return self._add(OSDOp(OpCode.CACHE_UNPIN))

    def set_mtime(self, mtime_ns: int) -> Self:
        """Set the modification time (nanoseconds since the epoch, up to the year 2106) instead of now. 0 leaves the
        object's time as it is."""
        if not 0 <= mtime_ns <= TIME_NS_MAX:
            raise invalid("mtime_ns", mtime_ns, "give nanoseconds since 1970, before 2106")
        self.mtime_ns = mtime_ns
        return self


class ReadOp(OpVector):
    """A vector that only reads. On an object that does not exist it fails with ENOENT before anything runs.

    What each operation answers is decoded by `OpResult.value(index)`; the types are those of `results.py`.
    """

    __slots__ = ()

    # data

    def read(self, length: int = 0, offset: int = 0, *, flags: int = 0) -> Self:
        """Bytes from `offset` on; `length` 0 is up to the end. Short, or empty, at the object's end."""
        check_range(offset, length)
        return self._add(OSDOp(OpCode.READ, Extent(offset, length), b"", flags), length)

    def sparse_read(self, length: int, offset: int = 0, *, flags: int = 0) -> Self:
        """The extents of a range that hold data (SparseRead). Clipped at the object's end; `length` 0 is nothing.
        An OSD whose store does not know of holes answers with one extent."""
        check_range(offset, length)
        return self._add(OSDOp(OpCode.SPARSE_READ, Extent(offset, length), b"", flags), length)

    def mapext(self, length: int, offset: int = 0) -> Self:
        """Which extents of a range hold data: list of (offset, length)."""
        check_range(offset, length)
        return self._add(OSDOp(OpCode.MAPEXT, Extent(offset, length)))

    def checksum(
        self,
        kind: int = ChecksumType.CRC32C,
        init_value: int = 0xFFFFFFFF,
        offset: int = 0,
        length: int = 0,
        chunk_size: int = 0,
    ) -> Self:
        """Checksums of a range: list of int, one for each `chunk_size` bytes (0: one for all).

        `kind`: ChecksumType. `init_value` is the start of each sum. `offset` and `length` 0 are the whole object.
        A range beyond the end is clipped, and has no sums at all if nothing is left. With a `chunk_size`, `length` must
        be given, and be a multiple of it, also as clipped: else EINVAL.
        """
        check_range(offset, length)
        size = CHECKSUM_BYTES.get(kind, 4)
        init = check_number("init_value", init_value, 8 * size).to_bytes(size, "little")
        params = Checksum(offset, length, check_number("chunk_size", chunk_size, 32), check_number("kind", kind, 8))
        return self._add(OSDOp(OpCode.CHECKSUM, params, init))

    def stat(self) -> Self:
        """Size and modification time (ObjectStat)."""
        return self._add(OSDOp(OpCode.STAT))

    # attributes

    def getxattr(self, name: str) -> Self:
        """The value of an attribute: bytes. ENODATA if there is none."""
        return self._add_xattr(OpCode.GETXATTR, name)

    def getxattrs(self) -> Self:
        """All attributes: dict of name → value."""
        return self._add(OSDOp(OpCode.GETXATTRS))

    # omap

    def omap_get_keys(self, start_after: str = "", max_return: int = OMAP_PAGE_MAX) -> Self:
        """Keys after `start_after` (OmapKeys); the OSD caps a page at 1024 (`osd_max_omap_entries_per_request`)."""

        def fill(encoder: Encoder) -> None:
            encoder.str(start_after)
            encoder.u64(max_return)

        return self._add(OSDOp(OpCode.OMAP_GET_KEYS, None, encoded(fill)))

    def omap_get_vals(self, start_after: str = "", prefix: str = "", max_return: int = OMAP_PAGE_MAX) -> Self:
        """Keys and values after `start_after` that begin with `prefix` (OmapValues); at most 1024 a page."""

        def fill(encoder: Encoder) -> None:
            encoder.str(start_after)
            encoder.u64(max_return)
            encoder.str(prefix)

        return self._add(OSDOp(OpCode.OMAP_GET_VALS, None, encoded(fill)))

    def omap_get_vals_by_keys(self, keys: Iterable[str]) -> Self:
        """Those of the keys that exist, with their values: dict."""
        return self._add(OSDOp(OpCode.OMAP_GET_VALS_BY_KEYS, None, encode_strings(keys)))

    def omap_get_header(self) -> Self:
        """The object map's header: bytes, empty if there is none."""
        return self._add(OSDOp(OpCode.OMAP_GET_HEADER))

    # what the cluster keeps of the object

    def list_watchers(self) -> Self:
        """Who watches the object: list of WatchItem."""
        return self._add(OSDOp(OpCode.LIST_WATCHERS))

    def list_snaps(self) -> Self:
        """The object's clones (SnapList). Only in an io context that reads at SNAPDIR, alone in the vector: EINVAL
        elsewhere. `IoCtx.object_snaps` sees to that."""
        return self._add(OSDOp(OpCode.LIST_SNAPS))

    def is_dirty(self) -> Self:
        """Whether the object has been changed since it was marked clean (`WriteOp.undirty`): bool."""
        return self._add(OSDOp(OpCode.ISDIRTY))

    def cache_flush(self) -> Self:
        """Write the object back from a cache tier. EINVAL in a pool that is no cache tier."""
        return self._add(OSDOp(OpCode.CACHE_FLUSH))

    def cache_try_flush(self) -> Self:
        """As cache_flush, but EBUSY instead of waiting for others. EINVAL in a pool that is no cache tier."""
        return self._add(OSDOp(OpCode.CACHE_TRY_FLUSH))

    def cache_evict(self) -> Self:
        """Drop a clean object from a cache tier. EINVAL in a pool that is no cache tier."""
        return self._add(OSDOp(OpCode.CACHE_EVICT))
