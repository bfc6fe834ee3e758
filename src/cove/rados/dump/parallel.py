"""Many objects at once: work on each, several under way at a time, results in the order of the objects."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

OBJECTS_MAX = 16
"""Objects under way at once."""


@asynccontextmanager
async def in_order(
    items: AsyncIterable[T], work: Callable[[T], Coroutine[Any, Any, R]], limit: int = OBJECTS_MAX
) -> AsyncIterator[AsyncIterator[R]]:
    """`async with in_order(objects, work) as results: async for result in results`.

    An error of the work is raised where its result would have come. If `items` fails, those before it are finished
    first. At the end of the block what is still under way is cancelled, and waited for.
    """
    under_way: deque[asyncio.Task[R]] = deque()
    results = _results(items, work, limit, under_way)
    try:
        yield results
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await results.aclose()


async def _results(
    items: AsyncIterable[T], work: Callable[[T], Coroutine[Any, Any, R]], limit: int, under_way: deque[asyncio.Task[R]]
) -> AsyncGenerator[R, None]:
    problem: Exception | None = None
    iterator = aiter(items)
    while problem is None:
        try:
            item = await anext(iterator)
        except StopAsyncIteration:
            break
        except Exception as error:
            problem = error
            break
        under_way.append(asyncio.get_running_loop().create_task(work(item)))
        while len(under_way) == limit or (under_way and under_way[0].done()):
            yield await _first(under_way)
    while under_way:
        yield await _first(under_way)
    if problem is not None:
        raise problem


async def _first(under_way: deque[asyncio.Task[R]]) -> R:
    result = await under_way[0]  # it stays in the queue meanwhile, so that it is cancelled with the others
    under_way.popleft()
    return result
