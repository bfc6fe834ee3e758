"""`ObjectInfo`: the fixed record of an object, and `PgInfo`, the counters of a placement group."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag

_LAYOUT = struct.Struct("<BQQQIQQIQI")
_RECORD_VERSION = 1
_PG_LAYOUT = struct.Struct("<QQ")


class ObjectFlag(IntFlag):
    """What an object has or is."""

    WHITEOUT = 1
    """A deleted head that is kept for its clones; snapshots will set it."""
    OMAP = 2
    """It has, or has had, omap keys or an omap header."""
    XATTRS = 4


@dataclass(slots=True)
class ObjectInfo:
    """What is known of an object besides its contents.

    `number` names its contents in all other tables; a deleted and re-created object gets a new one. `version` and
    `epoch` are those of the PG's log entry that changed it last.
    """

    number: int
    size: int = 0
    user_version: int = 0
    version: int = 0
    epoch: int = 0
    mtime_ns: int = 0
    flags: int = 0
    snap_seq: int = 0
    """Place of the snapset: its `seq`. Clones will follow in the record's tail."""
    full_key: bytes = b""
    """The whole sort key, where the one in the table had to be cut."""

    def copy(self) -> ObjectInfo:
        """A copy to change."""
        return ObjectInfo(
            self.number,
            self.size,
            self.user_version,
            self.version,
            self.epoch,
            self.mtime_ns,
            self.flags,
            self.snap_seq,
            self.full_key,
        )

    def pack(self) -> bytes:
        """The record."""
        return (
            _LAYOUT.pack(
                _RECORD_VERSION,
                self.number,
                self.size,
                self.user_version,
                self.epoch,
                self.version,
                self.mtime_ns,
                self.flags,
                self.snap_seq,
                len(self.full_key),
            )
            + self.full_key
        )

    @staticmethod
    def unpack(record: bytes | memoryview) -> ObjectInfo:
        """The reverse of `pack`. Raises ValueError for a record of another version."""
        (kind, number, size, user_version, epoch, version, mtime_ns, flags, snap_seq, key_length) = _LAYOUT.unpack_from(
            record
        )
        if kind != _RECORD_VERSION:
            raise ValueError(f"an object record of version {kind}, {_RECORD_VERSION} was expected")
        full_key = bytes(record[_LAYOUT.size : _LAYOUT.size + key_length]) if key_length else b""
        return ObjectInfo(number, size, user_version, version, epoch, mtime_ns, flags, snap_seq, full_key)


@dataclass(slots=True)
class PgInfo:
    """The counters of a placement group: log entries so far, and the newest user version given out."""

    last_version: int = 0
    last_user_version: int = 0

    def pack(self) -> bytes:
        """The record."""
        return _PG_LAYOUT.pack(self.last_version, self.last_user_version)

    @staticmethod
    def unpack(record: bytes | memoryview) -> PgInfo:
        """The reverse of `pack`."""
        return PgInfo(*_PG_LAYOUT.unpack_from(record))
