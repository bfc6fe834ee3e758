"""Connections to OSDs are cut, corrupted, broken off in the middle of a frame, and slow: the client hides all of it."""

from __future__ import annotations

import pytest

from cove.rados import OutcomeUnknown, WriteOp
from tests.unit.messenger.proxy import Proxy
from tests.unit.messenger.proxy import Way as Direction

from ..conftest import POOL
from ..peer import Librados
from .conftest import BadDays
from .detour import Way, detour
from .storm import Storm, until

DATA = bytes(range(100))
SOON_S = 5.0
"""Much sooner than a connection is taken for lost by its silence."""
LARGE = (20_000, 60_000)
HUGE = (150_000, 400_000)


def directions(way: Way, name: str) -> list[Direction]:
    """What goes "to_server" or "to_client", by OSD."""
    return [getattr(proxy, name) for proxy in way.proxies]


async def broken_again_and_again(way: Way, storm: Storm, times: int = 3) -> None:
    """Wait until the connections to each OSD in use broke so many times, with operations in flight."""
    way.cut()  # what is set counts from a connection's first byte
    start, sent = way.accepted, storm.resent
    busy = sorted(set(storm.primaries().values()))
    await until(lambda: all(way.accepted[osd] > start[osd] + times for osd in busy), "the connections broke")
    assert storm.resent > sent


async def test_connections_are_cut(cluster: BadDays, librados: Librados) -> None:
    await cluster.until_healthy()
    async with detour(cluster) as way:
        async with Storm(way.client, way.ioctx, "cut") as storm:
            before = storm.resent
            for _ in range(10):
                await until(lambda: all(storm.at(osd) for osd in set(storm.primaries().values())), "all are busy")
                accepted = sum(way.accepted)
                way.cut()
                await storm.progress(3)
                assert sum(way.accepted) > accepted
            assert storm.resent > before + 10  # not each time: answers may be there already
        storm.compare(librados, POOL)


@pytest.mark.parametrize("name", ["to_server", "to_client"])
@pytest.mark.parametrize("mode", ["crc", "secure"])
async def test_a_byte_is_flipped(cluster: BadDays, librados: Librados, mode: str, name: str) -> None:
    """It is noticed, by checksum or by cipher, and nothing of that frame counts. (Each byte: see below.)"""
    await cluster.until_healthy()
    async with detour(cluster, options={"ms_client_mode": mode}) as way:
        async with Storm(way.client, way.ioctx, f"flipped-{mode}-{name}", sizes=LARGE) as storm:
            for direction in directions(way, name):
                direction.flip_at = 9_000
            await broken_again_and_again(way, storm)
            for direction in directions(way, name):
                direction.flip_at = None
            await storm.progress()
        storm.compare(librados, POOL)


@pytest.mark.parametrize("name", ["to_server", "to_client"])
async def test_half_a_frame(cluster: BadDays, librados: Librados, name: str) -> None:
    """The frames are so large that each cut goes through one."""
    await cluster.until_healthy()
    async with detour(cluster) as way:
        async with Storm(way.client, way.ioctx, f"half-{name}", sizes=LARGE) as storm:
            for direction in directions(way, name):
                direction.cut_at = 19_000
            await broken_again_and_again(way, storm)
            for direction in directions(way, name):
                direction.cut_at = None
            await storm.progress()
        storm.compare(librados, POOL)


@pytest.mark.parametrize("name", ["to_server", "to_client"])
async def test_slow_readers(cluster: BadDays, librados: Librados, name: str) -> None:
    """An OSD that reads nothing for a while, or a path that brings us nothing; then one that goes drop by drop.

    No connection is given up for that, and nothing is sent twice.
    """
    await cluster.until_healthy()
    async with detour(cluster) as way:
        async with Storm(way.client, way.ioctx, f"slow-{name}", objects=6, sizes=HUGE) as storm:
            before, accepted = storm.resent, way.accepted
            for direction in directions(way, name):
                direction.stall()
            await until(lambda: storm.in_flight == storm.workers, "everything waits")
            sent = sum(proxy.to_server.forwarded for proxy in way.proxies)
            for direction in directions(way, name):
                direction.chunk_bytes = 4_000
                direction.go()
            await storm.progress(3)
            assert sum(proxy.to_server.forwarded for proxy in way.proxies) > sent
            assert (storm.resent, way.accepted) == (before, accepted)
            for proxy in way.proxies:
                _at_full_speed(proxy)
            await storm.progress(3)
        storm.compare(librados, POOL)


def _at_full_speed(proxy: Proxy) -> None:
    for direction in (proxy.to_server, proxy.to_client):
        direction.chunk_bytes = 1 << 16


PREAMBLE_BYTES = 32
EPILOGUE_BYTES = 13
COMPLETE, ABORTED = 0x0E, 0x01


async def test_each_byte_around_the_segments(cluster: BadDays, oid: str) -> None:
    """Whichever byte of a frame's preamble or epilogue is changed, an OSD closes the connection, and the client sends
    the request again at once: also for the byte that no checksum covers in the mode crc, the "late status" at the
    epilogue's beginning.

    Only if that one byte comes to say "aborted" (four bits must change for that) the OSD drops the frame without a
    word, as the protocol demands, and answers keep-alives: then a time-out ends the operation, here as with librados.
    """
    await cluster.until_healthy()
    async with detour(cluster) as way:
        await way.ioctx.append(oid, b"-")
        (osd,) = way.client.objecter.sessions
        proxy = way.proxies[osd]
        before = proxy.to_server.forwarded
        await way.ioctx.append(oid, DATA)
        frame_bytes = proxy.to_server.forwarded - before
        late_status = frame_bytes - EPILOGUE_BYTES
        changes = [(at, 1) for at in (*range(PREAMBLE_BYTES), *range(late_status, frame_bytes))]
        for at, bits in changes:
            accepted = proxy.accepted
            proxy.to_server.flip_next(at, bits)
            await way.ioctx.operate(oid, WriteOp().append(DATA), timeout_s=SOON_S)
            assert proxy.accepted == accepted + 1, f"byte {at} was changed, and nobody noticed"
        accepted = proxy.accepted
        proxy.to_server.flip_next(late_status, COMPLETE ^ ABORTED)
        with pytest.raises(OutcomeUnknown):
            await way.ioctx.operate(oid, WriteOp().append(b"lost" * (len(DATA) // 4)), timeout_s=0.5)
        assert proxy.accepted == accepted
        assert await way.ioctx.read(oid) == b"-" + DATA * (1 + len(changes))
