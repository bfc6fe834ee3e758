"""Messages with a manager, and commands for a single daemon (an OSD, or a monitor that is told something in person).

Source: Ceph's messages/MMgrMap.h, MMgrOpen.h, MMgrConfigure.h, MMgrClose.h, MMgrCommand.h, MMgrCommandReply.h,
MMgrReport.h, MCommand.h, MCommandReply.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

from ..encoding import Decoder
from ..errors import PeerError
from ..names import FSID
from ..structure import BLOB, I32, RAW, STR, U32, Codec, Structure, optional
from .base import PRIO_HIGH, STR_TO_STR, STRINGS, Field, Message


@dataclass(slots=True, kw_only=True)
class MCommand(Message):
    """A command for one daemon: one JSON text in `cmd`, and its input."""

    TYPE = 97
    FRONT: ClassVar = (Field("fsid", FSID), Field("cmd", STRINGS))
    DATA = "indata"

    fsid: UUID
    cmd: list[str] = field(repr=False)  # there may be keys in it
    indata: bytes = field(default=b"", repr=False)


@dataclass(slots=True, kw_only=True)
class MCommandReply(Message):
    """Its result (negative errno), a text for people, and its output."""

    TYPE = 98
    FRONT: ClassVar = (Field("result", I32), Field("status", STR))
    DATA = "outdata"

    result: int
    status: str = ""
    outdata: bytes = field(default=b"", repr=False)


@dataclass(slots=True, kw_only=True)
class MMgrCommand(MCommand):
    """A command for the active manager."""

    TYPE = 0x709


@dataclass(slots=True, kw_only=True)
class MMgrCommandReply(MCommandReply):
    """Its result, text and output."""

    TYPE = 0x70A


@dataclass(slots=True, kw_only=True)
class MMgrMap(Message):
    """Who the active manager is: an encoded manager map, without a length of its own."""

    TYPE = 0x704
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (Field("mgrmap", RAW),)

    mgrmap: bytes


@dataclass(frozen=True, slots=True)
class ServiceDaemon(Structure):
    """What a daemon of a service (a gateway, a mirror) tells of itself."""

    metadata: dict[str, str] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)

    FIELDS: ClassVar = (("metadata", STR_TO_STR), ("status", STR_TO_STR))


@dataclass(slots=True, kw_only=True)
class MMgrOpen(Message):
    """A daemon introduces itself. Plain clients need not. `config` and `config_defaults` are encoded options."""

    TYPE = 0x700
    HEAD_VERSION = 3
    OLDEST_VERSION = 3
    FRONT: ClassVar = (
        Field("daemon_name", STR),
        Field("service_name", STR),
        Field("service", optional(ServiceDaemon.codec())),
        Field("config", BLOB),
        Field("config_defaults", BLOB),
    )

    daemon_name: str
    service_name: str = ""
    service: ServiceDaemon | None = None
    config: bytes = b""
    config_defaults: bytes = b""


NO_QUERIES = bytes(5)
"""An empty map of performance queries, and no metric configuration."""


@dataclass(slots=True, kw_only=True)
class MMgrConfigure(Message):
    """How often (seconds) to report, and from which importance on. `queries` are for OSDs and kept as they come."""

    TYPE = 0x701
    HEAD_VERSION = 4
    FRONT: ClassVar = (Field("period", U32), Field("threshold", U32, since=2), Field("queries", RAW, since=3))

    period: int
    threshold: int = 0
    queries: bytes = NO_QUERIES


NO_COUNTERS = bytes((1, 1, 0, 0, 0, 0))
"""Performance counters of a daemon that has none: a versioned structure without a body."""


def _refuse_any(decoder: Decoder) -> None:
    count = decoder.u32()
    if count:
        raise PeerError(f"a report with {count} counters, metrics or queries: only Ceph's own daemons have them")


def _refuse_present(decoder: Decoder) -> None:
    if decoder.bool():
        raise PeerError("a report with metrics: only Ceph's own daemons have them")


_NO_LIST = Field("", Codec(lambda encoder, _: encoder.u32(0), _refuse_any))
_NOT_PRESENT = Field("", Codec(lambda encoder, _: encoder.bool(False), _refuse_present))


@dataclass(slots=True, kw_only=True)
class MMgrReport(Message):
    """What a service daemon tells its manager each period; `daemon_status` and `task_status` if they have changed.

    Those of Ceph's own daemons also declare performance counters, health metrics and more: they are refused.
    """

    TYPE = 0x702
    HEAD_VERSION = 9
    OLDEST_VERSION = 9
    FRONT: ClassVar = (
        Field("daemon_name", STR),
        _NO_LIST,  # counters declared
        Field("counters", BLOB),
        Field("undeclared", STRINGS),
        Field("service_name", STR),
        Field("daemon_status", optional(STR_TO_STR)),
        _NO_LIST,  # health metrics
        Field("config", BLOB),
        _NO_LIST,  # results of queries
        Field("task_status", optional(STR_TO_STR)),
        _NOT_PRESENT,  # metrics
    )

    daemon_name: str
    service_name: str = ""
    daemon_status: dict[str, str] | None = None
    task_status: dict[str, str] | None = None
    counters: bytes = NO_COUNTERS
    undeclared: list[str] = field(default_factory=list)
    config: bytes = b""


@dataclass(slots=True, kw_only=True)
class MMgrClose(Message):
    """Good-bye; the manager answers with the same."""

    TYPE = 0x708
    FRONT: ClassVar = (Field("daemon_name", STR), Field("service_name", STR))

    daemon_name: str
    service_name: str = ""
