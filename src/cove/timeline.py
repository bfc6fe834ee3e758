"""A bounded, in-memory record of what happened to an object, and when: for people who watch, and for those who wait.

The server, the DHCP agent and the compute service mark steps as they pass ("committed", "cast", "host_entry",
"ready"); the command line shows them as `committed +4 ms · cast +5 ms`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Any

import msgspec

OBJECTS_MAX = 4096
STEPS_PER_OBJECT_MAX = 64
WAITERS_PER_OBJECT_MAX = 64


class Step(msgspec.Struct, frozen=True):
    """One step of an object's way: its name, when (seconds since the epoch), and what is worth telling."""

    name: str
    at: float
    detail: dict[str, Any]


class Timeline:
    """Steps by object id; the oldest objects and the oldest steps of an object are forgotten first.

    Not thread-safe: mark and wait on the event loop.
    """

    def __init__(self) -> None:
        self._steps: OrderedDict[str, list[Step]] = OrderedDict()
        self._waiters: dict[str, list[tuple[str, asyncio.Future[Step]]]] = {}

    def mark(self, object_id: str, step: str, **detail: Any) -> None:
        """Record that `step` happened to the object now, and wake whoever waits for it."""
        entry = Step(step, time.time(), detail)
        steps = self._steps.setdefault(object_id, [])
        self._steps.move_to_end(object_id)
        steps.append(entry)
        if len(steps) > STEPS_PER_OBJECT_MAX:
            del steps[1]  # the first step is what the others are measured from
        if len(self._steps) > OBJECTS_MAX:
            self._steps.popitem(last=False)
        for name, waiter in self._waiters.get(object_id, ()):
            if name == step and not waiter.done():
                waiter.set_result(entry)

    def steps(self, object_id: str) -> list[Step]:
        """The steps known of an object, oldest first; empty if there are none."""
        return list(self._steps.get(object_id, ()))

    async def wait(self, object_id: str, step: str, timeout_s: float) -> Step:
        """Wait until the step is marked (or return it if it has been). Raises TimeoutError."""
        for known in self._steps.get(object_id, ()):
            if known.name == step:
                return known
        waiters = self._waiters.setdefault(object_id, [])
        if len(waiters) >= WAITERS_PER_OBJECT_MAX:
            raise RuntimeError(f"more than {WAITERS_PER_OBJECT_MAX} waiters for {object_id}")
        marked: asyncio.Future[Step] = asyncio.get_running_loop().create_future()
        entry = (step, marked)
        waiters.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                return await marked
        finally:
            waiters.remove(entry)
            if not waiters:
                del self._waiters[object_id]
