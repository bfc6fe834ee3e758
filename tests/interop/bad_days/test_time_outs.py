"""The cluster is away, at connect and in mid-flight: an error within the time asked for, never a hang."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cove.rados import Cancelled, NotConnected, OutcomeUnknown, Rados, RadosConf, TimedOut
from tests.linearizability import Status

from ..conftest import POOL
from ..peer import Librados
from .conftest import BadDays, DefaultConnect
from .storm import Storm, until

OP_TIMEOUT_S = 1.0
SLACK_S = 1.0
"""For a busy machine; a hang is longer."""


@contextmanager
def stopped(cluster: BadDays, *, monitors: bool) -> Iterator[None]:
    """The daemons keep their connections and say nothing."""
    daemons = [*cluster.osds, *(cluster.mons.values() if monitors else ())]
    for daemon in daemons:
        daemon.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for daemon in daemons:
            daemon.signal(signal.SIGCONT)


@contextmanager
def killed(cluster: BadDays) -> Iterator[None]:
    """All OSDs at once, so that nobody is left to tell the monitors."""
    for osd in cluster.osds:
        osd.kill()
    try:
        yield
    finally:
        for osd in cluster.osds:
            osd.start()


@pytest.mark.parametrize("how", ["silent", "killed"])
async def test_the_cluster_is_away_in_mid_flight(cluster: BadDays, librados: Librados, how: str) -> None:
    """Each operation ends in time: plainly if it only read or was never sent. When the cluster is back all goes on."""
    await cluster.until_healthy()
    conf = RadosConf(osd_op_timeout_s=OP_TIMEOUT_S)
    async with Rados(cluster.conf_path, conf=conf) as client, client.open_ioctx(POOL) as ioctx:
        async with Storm(client, ioctx, f"away-{how}", allowed=(TimedOut, OutcomeUnknown)) as storm:
            await until(lambda: storm.in_flight > 8, "operations are in flight")
            with stopped(cluster, monitors=True) if how == "silent" else killed(cluster):
                await until(lambda: storm.errors[TimedOut] > 24, "what can't be answered ends")
            assert storm.errors[OutcomeUnknown]
            await storm.progress()
            assert storm.slowest_s < OP_TIMEOUT_S + SLACK_S
        storm.compare(librados, POOL)


async def test_shut_down_in_mid_flight(cluster: BadDays, client: Rados, librados: Librados) -> None:
    """Everything in flight ends at once."""
    allowed = (OutcomeUnknown, Cancelled, NotConnected)
    async with Rados(cluster.conf_path) as other, other.open_ioctx(POOL) as ioctx, client.open_ioctx(POOL) as last:
        async with Storm(other, ioctx, "shut-down", allowed=allowed) as storm:
            await until(lambda: storm.in_flight > 8, "operations are in flight")
            pending = [operation for operation in storm.history.operations if operation.status is Status.PENDING]
            await other.shutdown()
            await until(lambda: all(op.status is not Status.PENDING for op in pending), "all ended", timeout_s=SLACK_S)
            await until(lambda: storm.errors[NotConnected] > 24, "no more can be submitted")
            storm.hand_over(client, last)
            storm.stop_soon()
        assert storm.errors[OutcomeUnknown]
        storm.compare(librados, POOL)


async def test_connecting_to_silent_monitors(cluster: BadDays) -> None:
    with stopped(cluster, monitors=True):
        began = time.monotonic()
        with pytest.raises(TimedOut) as told:
            await Rados(cluster.conf_path).connect(0.7)
        assert time.monotonic() - began < 0.7 + SLACK_S
    for name in cluster.mons:
        assert cluster.address_of(name).removesuffix("/0") in str(told.value)
    async with Rados(cluster.conf_path):
        pass


async def test_the_default_time_out_is_30_s(default_connect: DefaultConnect) -> None:
    """It has begun with the first test of this package."""
    await asyncio.to_thread(default_connect.thread.join, 40)
    assert isinstance(default_connect.problem, TimedOut)
    assert "30 s" in str(default_connect.problem)
    assert 29.9 < default_connect.took_s < 30 + SLACK_S
