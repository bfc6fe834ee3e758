"""OSD operations: their codes, and `OSDOp`, one operation of a request's vector with its input and its result.

A request (`MOSDOp`) carries an ordered vector of these; the OSD applies it whole or not at all. What the
operations mean is the business of `cove.store.osd`; how they are made, of `cove.rados.operations`.

Source: Ceph's include/rados.h (op codes, `ceph_osd_op`) and doc/dev/osd_internals.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from .encoding import Buffer, encode_text
from .errors import PeerError

MODE_RD = 0x1000
MODE_WR = 0x2000
MODE_CACHE = 0x8000
TYPE_PG = 0x500
TYPE_MASK = 0x0F00


class OpCode(IntEnum):
    """Mode bits, type bits and number of an operation."""

    READ = 0x1201
    STAT = 0x1202
    MAPEXT = 0x1203
    SPARSE_READ = 0x1205
    NOTIFY = 0x1206
    NOTIFY_ACK = 0x1207
    ASSERT_VER = 0x1208
    LIST_WATCHERS = 0x1209
    LIST_SNAPS = 0x120A
    SYNC_READ = 0x120B
    OMAP_GET_KEYS = 0x1211
    OMAP_GET_VALS = 0x1212
    OMAP_GET_HEADER = 0x1213
    OMAP_GET_VALS_BY_KEYS = 0x1214
    OMAP_CMP = 0x1219
    ISDIRTY = 0x121D
    COPY_GET = 0x121E
    CHECKSUM = 0x121F
    CMPEXT = 0x1220
    WRITE = 0x2201
    WRITEFULL = 0x2202
    TRUNCATE = 0x2203
    ZERO = 0x2204
    DELETE = 0x2205
    APPEND = 0x2206
    TRIMTRUNC = 0x2209
    CREATE = 0x220D
    ROLLBACK = 0x220E
    WATCH = 0x220F
    OMAP_SET_VALS = 0x2215
    OMAP_SET_HEADER = 0x2216
    OMAP_CLEAR = 0x2217
    OMAP_RM_KEYS = 0x2218
    COPY_FROM = 0x221A
    UNDIRTY = 0x221C
    SET_ALLOC_HINT = 0x2223
    CACHE_PIN = 0x2224
    CACHE_UNPIN = 0x2225
    WRITESAME = 0x2226
    OMAP_RM_KEY_RANGE = 0x222C
    COPY_FROM2 = 0x222D
    CACHE_FLUSH = 0x821F
    CACHE_EVICT = 0x8220
    CACHE_TRY_FLUSH = 0x8221
    GETXATTR = 0x1301
    GETXATTRS = 0x1302
    CMPXATTR = 0x1303
    SETXATTR = 0x2301
    RMXATTR = 0x2304
    CALL = 0x1401
    PGNLS = 0x1505
    PGNLS_FILTER = 0x1506


class OpFlag(IntFlag):
    """Flags of one operation."""

    EXCL = 1
    FAILOK = 2
    FADVISE_RANDOM = 4
    FADVISE_SEQUENTIAL = 8
    FADVISE_WILLNEED = 0x10
    FADVISE_DONTNEED = 0x20
    FADVISE_NOCACHE = 0x40
    WITH_REFERENCE = 0x80
    BYPASS_CLEAN_CACHE = 0x100


class RequestFlag(IntFlag):
    """Flags of a whole request, and of its reply."""

    ACK = 0x1
    ONNVRAM = 0x2
    ONDISK = 0x4
    RETRY = 0x8
    READ = 0x10
    WRITE = 0x20
    ORDERSNAP = 0x40
    PEERSTAT_OLD = 0x80
    BALANCE_READS = 0x100
    PARALLELEXEC = 0x200
    PGOP = 0x400
    EXEC = 0x800
    LOCALIZE_READS = 0x2000
    RWORDERED = 0x4000
    IGNORE_CACHE = 0x8000
    SKIPRWLOCKS = 0x10000
    IGNORE_OVERLAY = 0x20000
    FLUSH = 0x40000
    MAP_SNAP_CLONE = 0x80000
    ENFORCE_SNAPC = 0x100000
    REDIRECTED = 0x200000
    KNOWN_REDIR = 0x400000
    FULL_TRY = 0x800000
    FULL_FORCE = 0x1000000
    IGNORE_REDIRECT = 0x2000000
    RETURNVEC = 0x4000000
    SUPPORTSPOOLEIO = 0x8000000


class CmpOp(IntEnum):
    """Comparisons of cmpxattr and omap_cmp."""

    EQ = 1
    NE = 2
    GT = 3
    GTE = 4
    LT = 5
    LTE = 6


class CmpMode(IntEnum):
    """How cmpxattr reads the two values."""

    STRING = 1
    U64 = 2


class ChecksumType(IntEnum):
    """Kinds of checksums. A crc32c is not inverted at the end."""

    XXHASH32 = 0
    XXHASH64 = 1
    CRC32C = 2


class AllocHintFlag(IntFlag):
    """How an object is going to be used."""

    SEQUENTIAL_WRITE = 1
    RANDOM_WRITE = 2
    SEQUENTIAL_READ = 4
    RANDOM_READ = 8
    APPEND_ONLY = 16
    IMMUTABLE = 32
    SHORTLIVED = 64
    LONGLIVED = 128
    COMPRESSIBLE = 256
    INCOMPRESSIBLE = 512
    LOG = 1024


CMPEXT_MISMATCH = -4095
"""Result of a cmpext that differs at index i: CMPEXT_MISMATCH - i."""


@dataclass(slots=True)
class Extent:
    """Parameters of the operations on a byte range. For truncate, `offset` is the new size (bytes)."""

    offset: int = 0
    length: int = 0
    truncate_size: int = 0
    truncate_seq: int = 0


@dataclass(slots=True)
class Xattr:
    """Parameters of the xattr operations; the input is the name, then the value."""

    name_len: int
    value_len: int = 0
    cmp_op: int = 0
    cmp_mode: int = 0


@dataclass(slots=True)
class ClassCall:
    """Parameters of a class call; the input is class name, method name and the method's input."""

    class_len: int
    method_len: int
    indata_len: int


@dataclass(slots=True)
class PgList:
    """Parameters of a listing: the most entries to return, and the map epoch at which the listing began."""

    count: int
    start_epoch: int = 0


@dataclass(slots=True)
class AssertVer:
    """The user version that the object must have."""

    ver: int


@dataclass(slots=True)
class SnapId:
    """The snapshot to roll back to."""

    snapid: int


@dataclass(slots=True)
class Watch:
    """Parameters of watch, unwatch, reconnect and ping (`sub_op`)."""

    cookie: int
    sub_op: int
    gen: int = 0
    timeout: int = 0
    ver: int = 0


@dataclass(slots=True)
class Notify:
    """The notifier's own cookie (of a notify_ack: unused, its input tells)."""

    cookie: int


@dataclass(slots=True)
class AllocHint:
    """What sizes (bytes) the object and its writes are expected to have."""

    expected_object_size: int
    expected_write_size: int
    flags: int = 0


@dataclass(slots=True)
class WriteSame:
    """A pattern of `data_length` bytes, repeated over `length` bytes."""

    offset: int
    length: int
    data_length: int


@dataclass(slots=True)
class Checksum:
    """Range, chunk size (bytes; 0 is one chunk) and kind (ChecksumType)."""

    offset: int
    length: int
    chunk_size: int
    type: int


@dataclass(slots=True)
class CopyGet:
    """The most bytes to return."""

    max: int


@dataclass(slots=True)
class CopyFrom:
    """Which version of the source to copy (0: any), and how; the input names the source."""

    snapid: int
    src_version: int = 0
    flags: int = 0
    src_fadvise_flags: int = 0


@dataclass(slots=True)
class RawParams:
    """Parameters as they came: of an operation that is not known here, and of every operation of a reply."""

    union: bytes


OpParams = (
    Extent
    | Xattr
    | ClassCall
    | PgList
    | AssertVer
    | SnapId
    | Watch
    | Notify
    | AllocHint
    | WriteSame
    | Checksum
    | CopyGet
    | CopyFrom
    | RawParams
    | None
)


class OSDOp:
    """One operation: code, flags, parameters and input; in a reply, `rval` and `outdata`.

    `indata` of a write is the caller's buffer itself, not a copy.
    """

    __slots__ = ("code", "flags", "indata", "outdata", "params", "rval")

    def __init__(self, code: int, params: OpParams = None, indata: Buffer = b"", flags: int = 0) -> None:
        self.code = code
        self.flags = flags
        self.params = params
        self.indata = indata
        self.rval = 0
        self.outdata: bytes = b""

    def is_read(self) -> bool:
        """Whether the code alone says that it reads (a class call depends on its method)."""
        return bool(self.code & MODE_RD) and self.code != OpCode.CALL

    def is_modification(self) -> bool:
        """Whether the code alone says that it changes the object (a class call depends on its method)."""
        return bool(self.code & MODE_WR)

    def is_pg_op(self) -> bool:
        """Whether it addresses a placement group instead of an object."""
        return (self.code & TYPE_MASK) == TYPE_PG

    @property
    def name(self) -> str:
        """The operation's name for people, e.g. `omap_set_vals`."""
        try:
            return OpCode(self.code).name.lower()
        except ValueError:
            return f"op {self.code:#x}"

    def xattr_parts(self) -> tuple[bytes, bytes]:
        """Name and value of an xattr operation's input. Raises PeerError when the lengths don't fit."""
        params = self.params
        if not isinstance(params, Xattr) or params.name_len + params.value_len > len(self.indata):
            raise PeerError(f"{self.name}: name and value are longer than the input of {len(self.indata)} bytes")
        data = bytes(self.indata)
        return data[: params.name_len], data[params.name_len : params.name_len + params.value_len]

    def call_parts(self) -> tuple[str, str, bytes]:
        """Class, method and input of a class call. Raises PeerError when the lengths don't fit."""
        params = self.params
        if not isinstance(params, ClassCall):
            raise PeerError(f"{self.name}: no class call")
        head = params.class_len + params.method_len
        if head + params.indata_len > len(self.indata):
            raise PeerError(f"{self.name}: names and input are longer than {len(self.indata)} bytes")
        data = bytes(self.indata)
        return (
            data[: params.class_len].decode("utf-8", "surrogateescape"),
            data[params.class_len : head].decode("utf-8", "surrogateescape"),
            data[head : head + params.indata_len],
        )

    def __repr__(self) -> str:
        return f"<{self.name} {self.params} {len(self.indata)} bytes>"


def xattr_op(
    code: OpCode, name: str, value: Buffer = b"", *, cmp_op: int = 0, cmp_mode: int = 0, flags: int = 0
) -> OSDOp:
    """An xattr operation on attribute `name`. Raises UsageError for a name that can't be encoded."""
    raw = encode_text(name)
    return OSDOp(code, Xattr(len(raw), len(value), cmp_op, cmp_mode), raw + bytes(value), flags)


def call_op(cls: str, method: str, indata: Buffer = b"", flags: int = 0) -> OSDOp:
    """A call of `method` of object class `cls`. Raises UsageError for names that can't be encoded."""
    c, m = encode_text(cls), encode_text(method)
    return OSDOp(OpCode.CALL, ClassCall(len(c), len(m), len(indata)), c + m + bytes(indata), flags)
