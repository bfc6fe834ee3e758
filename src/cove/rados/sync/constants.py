"""The constants of Ceph's Python module `rados`, with its names and values.

Source: Ceph's include/rados/librados.h, pybind/rados.
"""

from __future__ import annotations

from typing import Final, Union

from ...wire.osd_ops import RequestFlag

LIBRADOS_OP_FLAG_EXCL: Final = 0x1
LIBRADOS_OP_FLAG_FAILOK: Final = 0x2
LIBRADOS_OP_FLAG_FADVISE_RANDOM: Final = 0x4
LIBRADOS_OP_FLAG_FADVISE_SEQUENTIAL: Final = 0x8
LIBRADOS_OP_FLAG_FADVISE_WILLNEED: Final = 0x10
LIBRADOS_OP_FLAG_FADVISE_DONTNEED: Final = 0x20
LIBRADOS_OP_FLAG_FADVISE_NOCACHE: Final = 0x40
LIBRADOS_OP_FLAG_FADVISE_FUA: Final = 0x80

LIBRADOS_CMPXATTR_OP_EQ: Final = 1
LIBRADOS_CMPXATTR_OP_NE: Final = 2
LIBRADOS_CMPXATTR_OP_GT: Final = 3
LIBRADOS_CMPXATTR_OP_GTE: Final = 4
LIBRADOS_CMPXATTR_OP_LT: Final = 5
LIBRADOS_CMPXATTR_OP_LTE: Final = 6

LIBRADOS_SNAP_HEAD: Final = 2**64 - 2

LIBRADOS_OPERATION_NOFLAG: Final = 0
LIBRADOS_OPERATION_BALANCE_READS: Final = 1
LIBRADOS_OPERATION_LOCALIZE_READS: Final = 2
LIBRADOS_OPERATION_ORDER_READS_WRITES: Final = 4
LIBRADOS_OPERATION_IGNORE_CACHE: Final = 8
LIBRADOS_OPERATION_SKIPRWLOCKS: Final = 16
LIBRADOS_OPERATION_IGNORE_OVERLAY: Final = 32
LIBRADOS_OPERATION_FULL_TRY: Final = 64
LIBRADOS_OPERATION_FULL_FORCE: Final = 128
LIBRADOS_OPERATION_IGNORE_REDIRECT: Final = 256
LIBRADOS_OPERATION_ORDERSNAP: Final = 512
LIBRADOS_OPERATION_RETURNVEC: Final = 1024

LIBRADOS_ALL_NSPACES: Final = "\x01"

LIBRADOS_CREATE_EXCLUSIVE: Final = 1
LIBRADOS_CREATE_IDEMPOTENT: Final = 0

MAX_ERRNO: Final = 4095
"""Results below its negative are places where a comparison of bytes failed."""

ANONYMOUS_AUID: Final = 0xFFFFFFFFFFFFFFFF
ADMIN_AUID: Final = 0

MONITOR_LEVELS: Final = ["debug", "info", "warn", "warning", "err", "error", "sec"]
"""What `monitor_log` takes, the most talkative first."""

OMAP_KEY_TYPE = Union[str, bytes]  # noqa: UP007 - as Ceph's module has it
"""What keys of object maps may be."""

VERSION: Final = (3, 0, 0)
"""The version of librados' interface that this module offers."""

REQUEST_FLAGS: Final = {
    LIBRADOS_OPERATION_BALANCE_READS: RequestFlag.BALANCE_READS,
    LIBRADOS_OPERATION_LOCALIZE_READS: RequestFlag.LOCALIZE_READS,
    LIBRADOS_OPERATION_ORDER_READS_WRITES: RequestFlag.RWORDERED,
    LIBRADOS_OPERATION_IGNORE_CACHE: RequestFlag.IGNORE_CACHE,
    LIBRADOS_OPERATION_SKIPRWLOCKS: RequestFlag.SKIPRWLOCKS,
    LIBRADOS_OPERATION_IGNORE_OVERLAY: RequestFlag.IGNORE_OVERLAY,
    LIBRADOS_OPERATION_FULL_TRY: RequestFlag.FULL_TRY,
    LIBRADOS_OPERATION_FULL_FORCE: RequestFlag.FULL_FORCE,
    LIBRADOS_OPERATION_IGNORE_REDIRECT: RequestFlag.IGNORE_REDIRECT,
    LIBRADOS_OPERATION_ORDERSNAP: RequestFlag.ORDERSNAP,
    LIBRADOS_OPERATION_RETURNVEC: RequestFlag.RETURNVEC,
}
"""Flag of an operation of librados → flag of the request on the wire."""


def request_flags(flags: int) -> int:
    """What the flags of a whole operation are on the wire; unknown ones are ignored, as librados does."""
    if not flags:
        return 0
    return sum(wire for flag, wire in REQUEST_FLAGS.items() if flags & flag)
