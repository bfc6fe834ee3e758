"""Operations in flight, and the sessions that hold them: one for each OSD with work, and one for the homeless.

Source: Ceph's Objecter::Op and Objecter::OSDSession.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ..messenger import Connection
from ..wire.compiled import mypyc_attr
from ..wire.hobject import HObjectRange
from ..wire.osd_ops import OSDOp, RequestFlag
from ..wire.types import NOSNAP, ObjectLocator, PgId, SnapContext
from .keepalive import KeepAlive
from .target import ObjectKey, PgTarget

if TYPE_CHECKING:
    from .completion import AioCompletion
    from .objecter import Objecter
    from .operations import OpVector
    from .throttle import ThrottleWaiter

HOMELESS = -1
BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 5.0
NO_SNAPS = SnapContext()

_READ_FLAGS = int(RequestFlag.READ | RequestFlag.KNOWN_REDIR | RequestFlag.SUPPORTSPOOLEIO | RequestFlag.ONDISK)
_WRITE_FLAGS = int(RequestFlag.WRITE | RequestFlag.KNOWN_REDIR | RequestFlag.SUPPORTSPOOLEIO | RequestFlag.ONDISK)


class Outcome:
    """How an operation ended, while it waits for earlier operations on the same object to be told first."""

    __slots__ = ("ops", "result", "unknown", "version")

    def __init__(self, result: int, version: int, ops: Sequence[OSDOp], unknown: bool) -> None:
        self.result = result
        self.version = version
        self.ops = ops
        self.unknown = unknown


@mypyc_attr(allow_interpreted_subclasses=True)
class Placed:
    """Something that has a place in the cluster by the present map: an operation, or a linger (`linger.py`)."""

    __slots__ = ("flags", "key", "locator", "paused", "pool_ever_existed", "target", "target_epoch")

    key: ObjectKey
    locator: ObjectLocator
    flags: int
    """RequestFlag: they decide what it has to wait for."""
    target: PgTarget | None
    target_epoch: int
    paused: bool
    pool_ever_existed: bool


@mypyc_attr(allow_interpreted_subclasses=True)
class Op(Placed):
    """One request on its way: from submission until its completion has been told.

    `before` and `after` chain the operations on one object in submission order; `chain` is the chain's key, None
    where the operation is in none.
    """

    __slots__ = (
        "after",
        "attempts",
        "before",
        "budget_bytes",
        "chain",
        "completion",
        "eagain",
        "has_budget",
        "is_write",
        "map_dne_bound",
        "mtime_ns",
        "objecter",
        "ops",
        "outcome",
        "retry_timer",
        "session",
        "snapc",
        "snapid",
        "tid",
        "trace",
        "vector",
        "waiter",
        "wheel_slot",
    )

    repeatable: ClassVar[bool] = True
    """Whether it is sent again when its connection or its OSD is lost; otherwise its owner makes another one."""

    def __init__(
        self,
        objecter: Objecter,
        key: ObjectKey,
        locator: ObjectLocator,
        vector: OpVector,
        completion: AioCompletion,
        snapid: int = NOSNAP,
        snapc: SnapContext = NO_SNAPS,
    ) -> None:
        self.objecter = objecter
        self.key = key
        self.locator = locator
        self.vector = vector
        self.ops = vector.take_ops()
        self.completion = completion
        self.snapid = snapid
        self.snapc = snapc
        self.budget_bytes = vector.budget_bytes
        is_write = self.is_write = vector.is_write
        if is_write:
            self.flags = vector.flags | _WRITE_FLAGS
            self.mtime_ns = time.time_ns() if vector.mtime_ns is None else vector.mtime_ns
        else:
            self.flags = vector.flags | _READ_FLAGS
            self.mtime_ns = 0
        self.tid = 0
        self.attempts = 0
        self.eagain = 0
        self.target = None
        self.target_epoch = 0
        self.paused = False
        self.pool_ever_existed = False
        self.map_dne_bound = 0
        self.session: OSDSession | None = None
        self.has_budget = False
        self.waiter: ThrottleWaiter | None = None
        self.wheel_slot = -1
        self.retry_timer: asyncio.TimerHandle | None = None
        self.outcome: Outcome | None = None
        self.before: Op | None = None
        self.after: Op | None = None
        self.chain: ObjectKey | None = None
        self.trace = vector.trace
        if self.trace is not None:
            self.trace.submitted(self)

    @property
    def may_have_happened(self) -> bool:
        """Whether some OSD may have got the request."""
        return self.attempts > 0

    @property
    def is_held(self) -> bool:
        """Whether it waits here for another map, which may take for ever: paused, or without an OSD to go to."""
        session = self.session
        return session is not None and (self.paused or session.is_homeless)

    def granted(self) -> None:
        """The throttle has given this operation its budget (called by the throttle)."""
        self.waiter = None
        self.has_budget = True
        if not self.objecter.stopped:  # else it is about to be cancelled, and must not go out before
            self.objecter._op_submit(self)

    def expire(self) -> None:
        """Its time is over (called by the timer wheel)."""
        self.objecter.op_cancel(self, -errno.ETIMEDOUT)

    def cancel(self) -> None:
        """Its user has given it up (called by the completion)."""
        self.objecter.op_cancel(self, -errno.ECANCELED)

    def __repr__(self) -> str:
        return f"<Op {self.tid} {self.vector.name} on {self.key[1]!r} attempts {self.attempts}>"


class OSDSession:
    """The connection to one OSD, and what is in flight there, by tid. The homeless session has no OSD."""

    __slots__ = ("address", "backoffs", "connection", "failures", "keepalive", "ops", "osd", "reopen_timer", "up")

    def __init__(self, osd: int, address: str = "") -> None:
        self.osd = osd
        self.address = address
        self.connection: Connection | None = None
        self.up: Connection | None = None
        """The connection, once it is up. Nothing is given to it before, so that what was not sent is known."""
        self.keepalive = KeepAlive()
        self.ops: dict[int, Op] = {}
        self.failures = 0
        self.backoffs: dict[PgId, dict[int, HObjectRange]] = {}
        """What the OSD does not want now: ranges of objects by placement group and number (`backoff.py`)."""
        self.reopen_timer: asyncio.TimerHandle | None = None

    @property
    def is_homeless(self) -> bool:
        """Whether this session holds the operations that have no OSD to go to."""
        return self.osd == HOMELESS

    def in_tid_order(self) -> list[Op]:
        """The operations in the order of their submission."""
        return [self.ops[tid] for tid in sorted(self.ops)]

    def backoff_s(self) -> float:
        """How long to wait before connecting again: nothing the first time, then longer and longer."""
        if self.failures <= 1:
            return 0.0 if not self.failures else BACKOFF_S_MIN
        return min(BACKOFF_S_MIN * 2.0 ** min(self.failures - 1, 16), BACKOFF_S_MAX)

    def disconnect(self) -> Connection | None:
        """Forget the connection, and what was agreed on it; returns it, if there was one."""
        connection, self.connection, self.up = self.connection, None, None
        self.backoffs.clear()
        self.keepalive = KeepAlive()
        return connection

    def stop_timer(self) -> None:
        """Don't reconnect by itself any more."""
        if self.reopen_timer is not None:
            self.reopen_timer.cancel()
            self.reopen_timer = None
