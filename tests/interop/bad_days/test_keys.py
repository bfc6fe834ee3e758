"""Keys and tickets: they expire under load and are renewed; a key is revoked, or wrong.

On a cluster of its own, whose tickets last for seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cove.rados import NotConnected, OutcomeUnknown, PermissionDenied, Rados
from cove.wire.cephx.client import CephxClient
from cove.wire.types import EntityType

from ..ceph_cluster import CephCluster, keyring, new_key
from ..conftest import POOL
from .detour import detour
from .storm import Storm, until

TTL_S = 3
OSDS = 3
REFUSED_S = 5
"""How long the longest operation may wait for refusals, on a busy machine; a hang is 60 s, the default time-out."""


@pytest.fixture(scope="module")
def brief(ceph_is_installed: None) -> Iterator[CephCluster]:
    options = {"auth_service_ticket_ttl": str(TTL_S), "auth_mon_ticket_ttl": str(TTL_S + 1)}
    with CephCluster(osds=OSDS, options=options) as cluster:
        cluster.peer().mon("osd pool set", pool=POOL, var="min_size", val="2")
        yield cluster


def has_another(cephx: CephxClient, ticket: object) -> bool:
    """Whether the ticket for OSDs is a new one."""
    return cephx.tickets[EntityType.OSD] is not ticket


async def test_tickets_expire_under_load(brief: CephCluster) -> None:
    """Longer than any ticket lasts, with new connections to OSDs and a new session with a monitor, which want valid
    ones."""
    await asyncio.to_thread(brief.wait_clean)
    async with detour(brief) as way:
        client = way.client
        cephx = client.monclient.auth.cephx  # type: ignore[union-attr]
        assert cephx is not None
        async with Storm(client, way.ioctx, "tickets") as storm:
            began, before = time.monotonic(), storm.resent
            while time.monotonic() - began < 2 * TTL_S:
                await until(partial(has_another, cephx, cephx.tickets[EntityType.OSD]), "a new ticket")
                await storm.progress(2)
                accepted = sum(way.accepted)
                way.cut()
                await storm.progress()
                assert sum(way.accepted) > accepted
            assert storm.resent > before
            brief.mon.kill()
            brief.mon.start()
            (await client.mon_command({"prefix": "osd stat"})).check()
            await storm.progress()
        storm.compare(brief.peer(), POOL)


async def test_a_key_is_revoked_under_load(brief: CephCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is connected goes on; then tickets are no longer renewed, and every operation ends with an error in time."""
    monkeypatch.setattr("cove.rados.monclient.DENIALS_MAX", 3)  # refusals in a row that are believed; usually some more
    monkeypatch.setattr("cove.rados.objecter.DENIALS_MAX", 5)
    await asyncio.to_thread(brief.wait_clean)
    name = "client.revoked"
    keys = brief.add_user(name, {"mon": "allow r", "osd": f"allow * pool={POOL}"})
    async with (
        Rados(brief.conf_path) as admin,
        admin.open_ioctx(POOL) as last,
        detour(brief, name=name, keyring=keys) as way,
    ):
        client = way.client
        async with Storm(client, way.ioctx, "revoked", allowed=(PermissionDenied, OutcomeUnknown)) as storm:
            brief.peer().mon("auth rm", entity=name)
            await storm.progress()
            assert not storm.errors
            with pytest.raises(PermissionDenied):
                await Rados(brief.client_conf("revoked", keyring=str(keys)), name=name).connect(5)
            cephx = client.monclient.auth.cephx  # type: ignore[union-attr]
            assert cephx is not None
            await until(lambda: not client.monclient.is_open, "the session with the monitor is lost")
            await until(lambda: not cephx.has_ticket(EntityType.OSD), "there are no tickets any more")
            way.cut()
            await until(lambda: storm.errors[PermissionDenied] > 24, "everybody is told")
            assert storm.slowest_s < REFUSED_S
            storm.hand_over(admin, last)
            storm.stop_soon()
        storm.compare(brief.peer(), POOL)


async def test_a_wrong_key(brief: CephCluster, tmp_path: Path) -> None:
    """It is told at once, whoever waits for the connection."""
    path = tmp_path / "keyring"
    path.write_text(keyring("client.admin", new_key()))
    cluster = Rados(brief.client_conf("wrong-key", keyring=str(path)))
    began = time.monotonic()
    with pytest.raises(PermissionDenied, match=r"client\.admin"):
        await cluster.connect(10)
    assert time.monotonic() - began < 5
    with pytest.raises(NotConnected):
        _ = cluster.objecter
