"""Blocking calls on threads that nobody waits for: a pipe may keep them for as long as it likes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """`await asyncio.to_thread(...)`, but nobody waits for the thread once the await is cancelled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(method: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            method(outcome)

    def work() -> None:
        try:
            outcome, method = function(*args), future.set_result
        except Exception as problem:
            outcome, method = problem, future.set_exception  # type: ignore[assignment]
        try:
            loop.call_soon_threadsafe(settle, method, outcome)
        except RuntimeError:  # the loop is closed: nobody wants to know
            pass

    threading.Thread(target=work, daemon=True).start()
    return await future
