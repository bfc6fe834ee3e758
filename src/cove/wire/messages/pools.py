"""Messages with a monitor about pools: making and removing them and their snapshot ids, and how full they are.

Source: Ceph's messages/MPoolOp.h, MPoolOpReply.h, MStatfs.h, MStatfsReply.h, MGetPoolStats.h, MGetPoolStatsReply.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar
from uuid import UUID

from ..encoding import Decoder, Encoder
from ..names import FSID
from ..pool_stats import PoolStat
from ..structure import BOOL, I32, I64, STR, U8, U32, U64, Codec, list_of, map_of, optional
from .base import PAXOS, PRIO_HIGH, Field, Message, filler


class PoolOpCode(IntEnum):
    """What an MPoolOp asks for."""

    CREATE = 0x01
    DELETE = 0x02
    CREATE_SNAP = 0x11
    DELETE_SNAP = 0x12
    CREATE_UNMANAGED_SNAP = 0x21
    DELETE_UNMANAGED_SNAP = 0x22


DEFAULT_CRUSH_RULE = -1


def _decode_pool_op(decoder: Decoder) -> int:
    """One of the codes, or a number that the monitor refuses."""
    code = decoder.u32()
    try:
        return PoolOpCode(code)
    except ValueError:
        return code


def _decode_rule(decoder: Decoder) -> int:
    rule = decoder.u16()
    return rule - 0x10000 if rule & 0x8000 else rule


def _encode_response(encoder: Encoder, data: bytes) -> None:
    encoder.bool(data)
    if data:
        encoder.blob(data)


def _decode_response(decoder: Decoder) -> bytes:
    return decoder.blob() if decoder.bool() else b""


@dataclass(slots=True, kw_only=True)
class MPoolOp(Message):
    """Create or delete a pool or a snapshot id of a pool.

    `name` is the new pool's or snapshot's name; to delete a pool it is the word `delete`. `crush_rule` -1 is the
    default one.
    """

    TYPE = 49
    HEAD_VERSION = 4
    COMPAT_VERSION = 2
    OLDEST_VERSION = 4
    FRONT: ClassVar = (
        *PAXOS,
        Field("fsid", FSID),
        Field("pool", U32),
        Field("op", Codec(Encoder.u32, _decode_pool_op)),
        filler(U64, 0),
        Field("snapid", U64),
        Field("name", STR),
        filler(U8, 0),
        Field("crush_rule", Codec(lambda encoder, rule: encoder.u16(rule & 0xFFFF), _decode_rule)),
    )

    fsid: UUID
    pool: int
    op: int
    name: str = ""
    snapid: int = 0
    crush_rule: int = DEFAULT_CRUSH_RULE
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MPoolOpReply(Message):
    """The code (negative errno), and the map epoch in which the change is.

    `response_data` is the new id (u64) of a snapshot that the client manages, else empty.
    """

    TYPE = 48
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (
        *PAXOS,
        Field("fsid", FSID),
        Field("reply_code", I32),
        Field("epoch", U32),
        Field("response_data", Codec(_encode_response, _decode_response)),
    )

    fsid: UUID
    reply_code: int
    epoch: int
    response_data: bytes = b""
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MStatfs(Message):
    """How full is the cluster, or one pool of it?"""

    TYPE = 13
    HEAD_VERSION = 2
    FRONT: ClassVar = (*PAXOS, Field("fsid", FSID), Field("data_pool", optional(I64), since=2))

    fsid: UUID
    data_pool: int | None = None
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MStatfsReply(Message):
    """Sizes in KiB, and the number of objects; `version` is that of the statistics."""

    TYPE = 14
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (
        Field("fsid", FSID),
        Field("version", U64),
        Field("kb", U64),
        Field("kb_used", U64),
        Field("kb_avail", U64),
        Field("num_objects", U64),
    )

    fsid: UUID
    kb: int
    kb_used: int
    kb_avail: int
    num_objects: int
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MGetPoolStats(Message):
    """How full are these pools? Names that are not known are left out of the answer."""

    TYPE = 58
    FRONT: ClassVar = (*PAXOS, Field("fsid", FSID), Field("pools", list_of(STR)))

    fsid: UUID
    pools: list[str]
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MGetPoolStatsReply(Message):
    """Statistics by pool name. Without `per_pool` the stores can't tell pools apart: only the counters are true."""

    TYPE = 59
    HEAD_VERSION = 2
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (
        *PAXOS,
        Field("fsid", FSID),
        Field("stats", map_of(STR, PoolStat.codec())),
        Field("per_pool", BOOL, since=2),
    )

    fsid: UUID
    stats: dict[str, PoolStat] = field(default_factory=dict)
    per_pool: bool = False
    version: int = 0
