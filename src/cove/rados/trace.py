"""OpTrace: one operation's way, for people who ask where the time goes.

    trace = OpTrace()
    await ioctx.operate("greeting", ReadOp().read().traced(trace))
    for event in trace.events: ...

The Objecter marks each stage that a traced operation passes; one that is not traced costs a comparison at each stage.
An operation that has to go again (its OSD was lost, a map moved it) passes some stages several times.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .session import Op

EVENTS_MAX = 256
"""More than that is an operation that goes round in circles; the first ones tell why."""


class Stage(StrEnum):
    """What an operation has passed, in the order of an undisturbed one."""

    SUBMITTED = "submitted"
    ADMITTED = "admitted"
    """The throttle has let it through."""
    TARGETED = "targeted"
    """Its placement group and OSD are known."""
    CONNECTED = "connected"
    """The connection that it waited for is there: TCP, authentication, identification."""
    SENT = "sent"
    """Its message has been handed to the connection."""
    ANSWERED = "answered"
    """The OSD's reply has been decoded."""
    DELIVERED = "delivered"
    """It was its turn among the operations on its object; what follows is the caller's completion."""


class Event(NamedTuple):
    """A stage, and when it was passed, in nanoseconds since the submission."""

    stage: Stage
    at_ns: int


class Place(NamedTuple):
    """Where an operation went, by the map of that epoch; `osd` -1 is nowhere."""

    epoch: int
    raw_hash: int
    pg: str
    up: tuple[int, ...]
    acting: tuple[int, ...]
    osd: int
    address: str


class OpTrace:
    """Events and places of one operation, oldest first; `throttle_*` as they were at its submission."""

    __slots__ = ("_began_ns", "attempts", "bytes_in", "bytes_out", "events", "places", "throttle_bytes", "throttle_ops")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.places: list[Place] = []
        self.attempts = 0
        self.bytes_out = 0
        """Data of the request's operations."""
        self.bytes_in = 0
        """Data of the reply's."""
        self.throttle_ops = 0
        self.throttle_bytes = 0
        self._began_ns = 0

    def mark(self, stage: Stage) -> None:
        """The operation has passed a stage now."""
        now = time.perf_counter_ns()
        if not self.events:
            self._began_ns = now
        if len(self.events) < EVENTS_MAX:
            self.events.append(Event(stage, now - self._began_ns))

    def submitted(self, op: Op) -> None:
        """It begins."""
        self.mark(Stage.SUBMITTED)
        throttle = op.objecter.throttle
        self.throttle_ops, self.throttle_bytes = throttle.ops, throttle.bytes
        self.bytes_out = sum(len(item.indata) for item in op.ops)

    def targeted(self, op: Op) -> None:
        """Its target is known, or that there is none yet."""
        self.mark(Stage.TARGETED)
        self._note_place(op)

    def sent(self, op: Op) -> None:
        """Its message is on the way."""
        self.mark(Stage.SENT)
        self.attempts = op.attempts
        self._note_place(op)

    def _note_place(self, op: Op) -> None:
        targets, target = op.objecter.targets, op.target
        if targets is None or target is None or len(self.places) >= EVENTS_MAX:
            return
        mapping = targets.osdmap.pg_to_osds(target.pg)
        address = targets.osdmap.address_of(target.osd)
        seed, pg = target.raw_hash, str(target.pg)
        place = Place(op.target_epoch, seed, pg, mapping.up, mapping.acting, target.osd, address)
        if not self.places or self.places[-1] != place:
            self.places.append(place)

    def delivered(self, op: Op) -> None:
        """Its outcome is told now."""
        outcome = op.outcome
        self.bytes_in = 0 if outcome is None else sum(len(item.outdata) for item in outcome.ops)
        self.mark(Stage.DELIVERED)

    def first_ns(self, stage: str) -> int | None:
        """When a stage was passed first (ns since the submission), None if it was not."""
        return next((event.at_ns for event in self.events if event.stage == stage), None)
