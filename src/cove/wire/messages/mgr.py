"""Messages with a manager, and commands for a single daemon (an OSD, or a monitor that is told something in person).

Source: Ceph's messages/MMgrMap.h, MMgrOpen.h, MMgrConfigure.h, MMgrClose.h, MMgrCommand.h, MMgrCommandReply.h,
MCommand.h, MCommandReply.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

from ..names import FSID
from ..structure import BLOB, I32, RAW, STR, U32, Structure, optional
from .base import PRIO_HIGH, STR_TO_STR, STRINGS, Field, Message


@dataclass(slots=True, kw_only=True)
class MCommand(Message):
    """A command for one daemon: one JSON text in `cmd`, and its input."""

    TYPE = 97
    FRONT: ClassVar = (Field("fsid", FSID), Field("cmd", STRINGS))
    DATA = "indata"

    fsid: UUID
    cmd: list[str]
    indata: bytes = b""


@dataclass(slots=True, kw_only=True)
class MCommandReply(Message):
    """Its result (negative errno), a text for people, and its output."""

    TYPE = 98
    FRONT: ClassVar = (Field("result", I32), Field("status", STR))
    DATA = "outdata"

    result: int
    status: str = ""
    outdata: bytes = b""


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


@dataclass(slots=True, kw_only=True)
class MMgrClose(Message):
    """Good-bye; the manager answers with the same."""

    TYPE = 0x708
    FRONT: ClassVar = (Field("daemon_name", STR), Field("service_name", STR))

    daemon_name: str
    service_name: str = ""
