"""The messages that clients, monitors and OSDs exchange, each a typed class.

Every class names its type number, the versions of its layout and its priority. Byte layouts are added beside the
fields; the loopback connection passes the objects themselves.

Source: Ceph's messages/*.h, msg/Message.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import ClassVar
from uuid import UUID

from .osd_ops import OSDOp
from .osdmap import OSDMap
from .types import NOSNAP, EVersion, ObjectLocator, PgId, ReqId, SnapContext

PRIO_LOW = 64
PRIO_OSD_OP = 63
PRIO_DEFAULT = 127
PRIO_HIGH = 196


@dataclass(slots=True, kw_only=True)
class Message:
    """What all messages share. `tid` ties a reply to its request; 0 where there is none."""

    TYPE: ClassVar[int] = 0
    HEAD_VERSION: ClassVar[int] = 1
    COMPAT_VERSION: ClassVar[int] = 1
    PRIORITY: ClassVar[int] = PRIO_DEFAULT

    tid: int = 0


@dataclass(slots=True, kw_only=True)
class MOSDOp(Message):
    """A client's request to an OSD: a vector of operations on one object (or on a placement group)."""

    TYPE = 42
    HEAD_VERSION = 8
    COMPAT_VERSION = 3
    PRIORITY = PRIO_OSD_OP

    pg: PgId
    raw_hash: int
    epoch: int
    flags: int
    oid: str
    locator: ObjectLocator
    ops: list[OSDOp]
    snapid: int = NOSNAP
    snapc: SnapContext = field(default_factory=SnapContext)
    mtime_ns: int = 0
    retry_attempt: int = 0
    reqid: ReqId | None = None
    client_inc: int = 0


@dataclass(slots=True, kw_only=True)
class MOSDOpReply(Message):
    """An OSD's answer: the overall result, each operation's result and output, and the versions after it."""

    TYPE = 43
    HEAD_VERSION = 8
    COMPAT_VERSION = 2

    oid: str
    pg: PgId
    flags: int
    result: int
    epoch: int
    ops: list[OSDOp]
    retry_attempt: int = -1
    bad_replay_version: EVersion = EVersion(0, 0)
    replay_version: EVersion = EVersion(0, 0)
    user_version: int = 0


@dataclass(slots=True, kw_only=True)
class MOSDMap(Message):
    """Maps by epoch. A thin slice: full maps only."""

    TYPE = 41
    HEAD_VERSION = 4
    COMPAT_VERSION = 3

    fsid: UUID
    maps: dict[int, OSDMap]
    oldest: int = 0
    newest: int = 0


class SubscribeFlag(IntFlag):
    """How long a subscription lasts."""

    ONETIME = 1


@dataclass(frozen=True, slots=True)
class Subscription:
    """First epoch wanted (0: the newest full one), and flags."""

    start: int
    flags: SubscribeFlag = SubscribeFlag(0)


@dataclass(slots=True, kw_only=True)
class MMonSubscribe(Message):
    """What a client wants to be told by its monitor, and from which epoch on."""

    TYPE = 15
    HEAD_VERSION = 3

    what: dict[str, Subscription]
    hostname: str = ""


@dataclass(slots=True, kw_only=True)
class MMonGetVersion(Message):
    """Which epoch of a map is the newest?"""

    TYPE = 19

    handle: int
    what: str


@dataclass(slots=True, kw_only=True)
class MMonGetVersionReply(Message):
    """Newest and oldest epoch of a map."""

    TYPE = 20
    HEAD_VERSION = 2
    COMPAT_VERSION = 2

    handle: int
    version: int
    oldest_version: int = 0


class PoolOpCode(IntEnum):
    """What an MPoolOp asks for."""

    CREATE = 0x01
    DELETE = 0x02
    CREATE_SNAP = 0x11
    DELETE_SNAP = 0x12
    CREATE_UNMANAGED_SNAP = 0x21
    DELETE_UNMANAGED_SNAP = 0x22


@dataclass(slots=True, kw_only=True)
class MPoolOp(Message):
    """Create or delete a pool or a snapshot id of a pool."""

    TYPE = 49
    HEAD_VERSION = 4
    COMPAT_VERSION = 2

    fsid: UUID
    pool: int
    op: PoolOpCode
    name: str = ""
    snapid: int = 0


@dataclass(slots=True, kw_only=True)
class MPoolOpReply(Message):
    """The code (negative errno), and the map epoch in which the change is."""

    TYPE = 48

    fsid: UUID
    reply_code: int
    epoch: int
    response_data: bytes = b""


@dataclass(slots=True, kw_only=True)
class MStatfs(Message):
    """How full is the cluster?"""

    TYPE = 13
    HEAD_VERSION = 2

    fsid: UUID
    data_pool: int | None = None


@dataclass(slots=True, kw_only=True)
class MStatfsReply(Message):
    """Sizes in KiB, and the number of objects."""

    TYPE = 14

    fsid: UUID
    kb: int
    kb_used: int
    kb_avail: int
    num_objects: int
