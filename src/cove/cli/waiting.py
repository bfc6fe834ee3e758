"""Waiting for the server to get somewhere: look again and again, up to a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import CoveError

T = TypeVar("T")
POLL_S = 0.1


def wait_for(look: Callable[[], T | None], timeout_s: float, problem: str) -> T:
    """What `look` gives as soon as it is not None. Raises CoveError with `problem` after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise CoveError(problem)
        time.sleep(POLL_S)
    return found
