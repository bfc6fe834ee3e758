"""The cluster's log: daemons send lines, the monitors acknowledge them. Clients need neither.

Source: Ceph's messages/MLog.h, MLogAck.h, common/LogEntry.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple
from uuid import UUID

from ..address import ADDRVEC, AddrVec
from ..encoding import Encoder
from ..names import ENTITY, FSID
from ..structure import STR, U16, U64, UTIME, Codec, Structure, list_of, trailing
from ..types import EntityName, EntityType
from .base import PAXOS, PRIO_HIGH, Field, Message


class LogSource(NamedTuple):
    """A name as it is configured: kind of peer, and text (`osd`, `3`)."""

    type: int
    id: str


def _encode_source(encoder: Encoder, source: LogSource) -> None:
    encoder.u32(source.type)
    encoder.str(source.id)


@dataclass(frozen=True, slots=True)
class LogEntry(Structure):
    """One line. `priority`: 0 debug, 1 info, 2 security, 3 warning, 4 error."""

    source: LogSource
    rank: EntityName = EntityName(EntityType.UNSET, 0)
    addrs: AddrVec = ()
    stamp_ns: int = 0
    seq: int = 0
    priority: int = 1
    text: str = ""
    channel: str = "cluster"

    FRAME: ClassVar = (5, 5)
    FIELDS: ClassVar = (
        ("source", Codec(_encode_source, lambda decoder: LogSource(decoder.u32(), decoder.str()))),
        ("rank", ENTITY),
        ("addrs", ADDRVEC),
        ("stamp_ns", UTIME),
        ("seq", U64),
        ("priority", U16),
        ("text", STR),
        ("channel", STR),
    )


@dataclass(slots=True, kw_only=True)
class MLog(Message):
    """Lines for the cluster's log."""

    TYPE = 52
    FRONT: ClassVar = (*PAXOS, Field("fsid", FSID), Field("entries", list_of(LogEntry.codec())))

    fsid: UUID
    entries: list[LogEntry] = field(default_factory=list)
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MLogAck(Message):
    """Lines up to number `last` of a channel have been taken."""

    TYPE = 53
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (Field("fsid", FSID), Field("last", U64), Field("channel", trailing(STR, "")))

    fsid: UUID
    last: int
    channel: str = ""
