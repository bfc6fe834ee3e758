"""Ending tasks. Whoever waits with a time-out does so by `async with asyncio.timeout(...)`: Python 3.11's `wait_for`
forgets a cancellation that comes in the turn in which what it waits for ends, and a loop then goes on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

CANCEL_AGAIN_S = 1.0


async def end(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel tasks, and return when all have ended, however that was: each second those that go on are told again.

    For tasks that tidy up in less than that, and whose failures are told elsewhere; of None nothing is done.
    """
    pending = {task for task in tasks if task is not None and task is not asyncio.current_task()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
