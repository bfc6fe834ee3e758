"""Tasks are cancelled at random points, while connections break as well: nothing leaks, and the rest goes on."""

from __future__ import annotations

from tests.linearizability import Status

from ..conftest import POOL
from ..peer import Librados
from .conftest import BadDays
from .detour import detour
from .storm import Storm, until


async def test_tasks_are_cancelled_at_random_points(cluster: BadDays, librados: Librados) -> None:
    await cluster.until_healthy()
    async with detour(cluster) as way:
        async with Storm(way.client, way.ioctx, "cancelled", cancel=0.3, tasks=4) as storm:
            before = storm.resent
            for _ in range(6):
                await until(lambda: storm.in_flight > 8, "operations are in flight")
                way.cut()
                await storm.progress(8)
            assert storm.resent > before
        storm.compare(librados, POOL)
    history = storm.history
    assert storm.cancelled > 50
    assert history.count(Status.UNKNOWN), "some had been sent"
    assert history.count(Status.FAILED), "some had not, or only read"
