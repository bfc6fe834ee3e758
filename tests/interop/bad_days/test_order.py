"""Many operations in flight on each object stay in order, whatever happens."""

from __future__ import annotations

import asyncio

from cove.rados import AioCompletion, Error, Rados, WriteOp

from ..peer import Librados
from .conftest import OSDS, BadDays
from .storm import until

DEPTH = 8


async def test_many_in_flight_on_each_object_stay_in_order(cluster: BadDays, client: Rados, librados: Librados) -> None:
    """Appends that do not wait for one another, while connections break, OSDs go and come, and groups are split."""
    cluster.create_pool("pipelined", pg_num=8)
    cluster.make_pool_safe("pipelined")
    submitted: dict[str, int] = {f"pipelined.{number}": 0 for number in range(12)}
    acknowledged: dict[str, list[int]] = {oid: [] for oid in submitted}
    errors: list[Error] = []
    running = True
    async with client.open_ioctx("pipelined") as ioctx:

        def submit(oid: str) -> None:
            number = submitted[oid]
            submitted[oid] += 1

            def done(completion: AioCompletion) -> None:
                error = completion.error()
                if error is not None:
                    errors.append(error)
                    return
                acknowledged[oid].append(number)
                if running:
                    submit(oid)

            ioctx.aio_operate(oid, WriteOp().append(b"%08d" % number), done)

        for oid in submitted:
            for _ in range(DEPTH):
                submit(oid)
        for osd in range(OSDS):
            if osd == 0:
                cluster.osds[osd].kill()
            await cluster.command("osd down", ids=[str(osd)])
            await cluster.command("osd pool set", pool="pipelined", var="pg_num", val=str(16 << osd))
            if osd == 0:
                await until(lambda: not client.osdmap.is_up(0), "the client knows")
                cluster.osds[osd].start()
            # the others come back by themselves
            await asyncio.to_thread(cluster.wait_up)
        running = False
        await ioctx.aio_flush(60)
    assert not errors
    for oid, count in submitted.items():
        assert acknowledged[oid] == list(range(count))
        assert librados.read("pipelined", oid) == b"".join(b"%08d" % number for number in range(count))
    await client.pool_delete("pipelined")
