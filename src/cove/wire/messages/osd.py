"""What OSDs send besides answers: maps (monitors send them as well), orders to hold requests back, and notifications.

Source: Ceph's messages/MOSDMap.h, MOSDBackoff.h, MWatchNotify.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar
from uuid import UUID

from ..encoding import Decoder, Encoder
from ..hobject import HObjectRange, decode_hobject, encode_hobject
from ..names import FSID, NO_SHARD, decode_spg, encode_spg
from ..structure import BLOB, I32, U8, U32, U64, map_of
from ..types import HOBJECT_MAX, HOBJECT_MIN, HObject, PgId
from .base import PRIO_DEFAULT, PRIO_HIGH, PRIO_OSD_OP, Field, Message, filler


@dataclass(slots=True, kw_only=True)
class MOSDMap(Message):
    """Maps by epoch, each encoded: changes on top of the epoch before, and whole maps.

    `oldest` is the oldest epoch that can be had, `newest` the newest there is.
    """

    TYPE = 41
    HEAD_VERSION = 4
    COMPAT_VERSION = 3
    OLDEST_VERSION = 3
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (
        Field("fsid", FSID),
        Field("incrementals", map_of(U32, BLOB)),
        Field("fulls", map_of(U32, BLOB)),
        Field("oldest", U32),
        Field("newest", U32),
        filler(U32, 0, since=4),
    )

    fsid: UUID
    incrementals: dict[int, bytes] = field(default_factory=dict)
    fulls: dict[int, bytes] = field(default_factory=dict)
    oldest: int = 0
    newest: int = 0


class BackoffOp(IntEnum):
    """What an MOSDBackoff says."""

    BLOCK = 1
    ACK_BLOCK = 2
    UNBLOCK = 3


@dataclass(slots=True, kw_only=True)
class MOSDBackoff(Message):
    """Hold back (or send again) requests for the objects [begin, end) of a placement group; begin = end is one object.

    `id` is unique in the session, and chosen by the OSD. The client acknowledges a block, repeating all the rest.
    """

    TYPE = 61

    pg: PgId
    shard: int = NO_SHARD
    epoch: int
    op: int
    id: int
    begin: HObject = HOBJECT_MIN
    end: HObject = HOBJECT_MAX

    @property
    def range(self) -> HObjectRange:
        """The names that it is about."""
        return HObjectRange(self.begin, self.end)

    def priority(self) -> int:
        """Acknowledgements must not overtake the requests that were sent before them."""
        return PRIO_OSD_OP if self.op == BackoffOp.ACK_BLOCK else PRIO_DEFAULT

    def encode_front(self, encoder: Encoder) -> None:
        """Append the fields."""
        encode_spg(encoder, self.pg, self.shard)
        encoder.u32(self.epoch)
        encoder.u8(self.op)
        encoder.u64(self.id)
        encode_hobject(encoder, self.begin)
        encode_hobject(encoder, self.end)

    @classmethod
    def decode_front(cls, decoder: Decoder, version: int) -> dict[str, Any]:
        """The fields by name."""
        pg, shard = decode_spg(decoder)
        return {
            "pg": pg,
            "shard": shard,
            "epoch": decoder.u32(),
            "op": decoder.u8(),
            "id": decoder.u64(),
            "begin": decode_hobject(decoder),
            "end": decode_hobject(decoder),
        }


class NotifyCode(IntEnum):
    """What an MWatchNotify says."""

    NOTIFY = 1
    COMPLETE = 2
    DISCONNECT = 3


@dataclass(slots=True, kw_only=True)
class MWatchNotify(Message):
    """To a watcher: somebody notifies, or its watch is gone. To who notified: all have answered, or time is up.

    `cookie` is the watch's, or that of the notify operation. `payload` is what was said, `data` the answers
    (`watches.NotifyReplies`), `return_code` 0 or -ETIMEDOUT, `notifier` the global id of who notified.
    """

    TYPE = 44
    HEAD_VERSION = 3
    FRONT: ClassVar = (
        filler(U8, 1),
        Field("opcode", U8),
        Field("cookie", U64),
        Field("ver", U64),
        Field("notify_id", U64),
        Field("payload", BLOB),
        Field("return_code", I32, since=2),
        Field("notifier", U64, since=3),
    )
    DATA = "data"

    opcode: int
    cookie: int
    ver: int = 0
    notify_id: int = 0
    payload: bytes = b""
    return_code: int = 0
    notifier: int = 0
    data: bytes = b""
