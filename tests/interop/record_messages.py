"""Records messages of a real cluster, both ways, into `tests/golden/messages`, for the tests that need no cluster.

    .venv/bin/python -m tests.interop.record_messages

It starts clusters made for this, and goes through what the client can do. What is there already stays; remove the
directory first to record it anew. No keys are in it: log-ins are not kept, and no command asks for any.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from unittest import mock

from cove.rados import ALL_NAMESPACES, Error, IoCtx, Rados, ReadOp, WriteOp
from cove.rados.operations import OpVector
from cove.wire import cls_lock
from cove.wire.encoding import Buffer
from cove.wire.link import Event, Link, MessageIn
from cove.wire.message_codec import MessageHeader, MessageParts
from cove.wire.osd_ops import CmpOp
from tests.golden.recorder import MESSAGES_DIR, GoldenRecorder

from .ceph_cluster import CephCluster, missing

TOTAL_BYTES_MAX = 400_000


@contextlib.contextmanager
def listening(recorder: GoldenRecorder) -> Iterator[None]:
    """Have the recorder see every message of every link of this process."""
    receive, send_message = Link.receive, Link.send_message

    def record(event: MessageIn) -> None:
        recorder.record(event.header, event.front, event.middle, event.data, "from server")

    def receive_and_record(link: Link, data: Buffer) -> list[Event]:
        events = receive(link, data)
        for event in events:
            if isinstance(event, MessageIn):
                record(event)
        return events

    def record_and_send(link: Link, parts: MessageParts) -> None:
        header = MessageHeader(
            0, parts.tid, parts.type, parts.priority, parts.version, parts.data_off, 0, 3, parts.compat_version
        )
        recorder.record(header, parts.front, parts.middle, b"".join(map(bytes, parts.data)), "to server")
        send_message(link, parts)

    with (
        mock.patch.object(Link, "receive", receive_and_record),
        mock.patch.object(Link, "send_message", record_and_send),
    ):
        yield


def write_ops() -> list[OpVector]:
    """One of each that changes an object, in an order in which they make sense."""
    lock = cls_lock.LockRequest("lock", cls_lock.LockType.EXCLUSIVE, "cookie", "", "golden").to_bytes()
    return [
        WriteOp().create(exclusive=True),
        WriteOp().create(exclusive=True),  # EEXIST
        WriteOp().write_full(b"golden" * 100),
        WriteOp().write(b"piece", 17),
        WriteOp().append(b"end"),
        WriteOp().writesame(b"ab", 64, 700),
        WriteOp().zero(5, 5).truncate(650),
        WriteOp().setxattr("name", b"value").setxattr("number", b"17").rmxattr("none"),
        WriteOp().omap_set({f"key{n:02}": b"value %d" % n for n in range(20)}).omap_set_header(b"header"),
        WriteOp().omap_rm_keys(["key03"]).omap_rm_range("key10", "key12"),
        WriteOp().omap_cmp({"key01": (b"value 1", CmpOp.EQ)}).set_alloc_hint(1 << 22, 1 << 16),
        WriteOp().cmpext(b"not").setxattr("name", b"other"),  # a mismatch
        WriteOp().cmpxattr("name", b"value").cmpxattr("number", 16, CmpOp.LT).assert_exists(),
        WriteOp().assert_version(1).write_full(b""),  # ERANGE
        WriteOp().exec("lock", "lock", lock),
        WriteOp().exec("rbd", "no such method"),  # EOPNOTSUPP
        WriteOp().set_mtime(1_700_000_000_123_456_789).write(b"x"),
    ]


def read_ops() -> list[OpVector]:
    """One of each that does not."""
    return [
        ReadOp().read(),
        ReadOp().read(100, 50).stat(),
        ReadOp().sparse_read(1000).mapext(1000),
        ReadOp().checksum(2, length=650),
        ReadOp().getxattr("name").getxattrs(),
        ReadOp().getxattr("none"),  # ENODATA
        ReadOp().omap_get_keys(max_return=5).omap_get_vals("key05", "key0", 3).omap_get_header(),
        ReadOp().omap_get_vals_by_keys(["key01", "none"]),
        ReadOp().cmpxattr("name", b"value").read(10),
        ReadOp().exec("lock", "get_info", cls_lock.InfoRequest("lock").to_bytes()),
        ReadOp().getxattr("none").failok().stat(),
    ]


async def run(ioctx: IoCtx, oid: str, ops: Sequence[OpVector]) -> None:
    """Operations one after the other, whatever becomes of them."""
    for op in ops:
        await ioctx.aio_operate(oid, op, timeout_s=20).wait_for_complete()


async def objects(cluster: CephCluster) -> None:
    """Operations, and listings of several namespaces."""
    async with Rados(cluster.conf_path) as rados, rados.open_ioctx("rbd") as ioctx:
        await run(ioctx, "golden", [*write_ops(), *read_ops()])
        ioctx.set_namespace("nspace")
        ioctx.set_locator_key("locator")
        await run(ioctx, "other", [WriteOp().write_full(b"1"), ReadOp().read(), ReadOp().stat()])
        ioctx.set_locator_key("")
        assert [entry async for entry in ioctx.list_objects(ALL_NAMESPACES)]
        ioctx.set_namespace("")
        await run(ioctx, "golden", [WriteOp().remove(), WriteOp().remove(), ReadOp().read()])


async def commands(cluster: CephCluster) -> None:
    """What goes to monitors and managers."""
    async with Rados(cluster.conf_path) as rados:
        await rados.pool_create("golden")
        with contextlib.suppress(Error):
            await rados.pool_create("golden")
        await rados.wait_for_latest_map()
        await rados.cluster_stat()
        await rados.pool_stats()
        for prefix in ("osd stat", "osd tree", "no such command"):
            await rados.mon_command({"prefix": prefix, "format": "json"})
        await rados.mon_command({"prefix": "config-key set", "key": "golden"}, b"input")
        for prefix in ("pg stat", "no such command"):
            await rados.mgr_command({"prefix": prefix, "format": "json"})
        await rados.pool_delete("golden")


async def backoffs(cluster: CephCluster, recorder: GoldenRecorder) -> None:
    """An OSD that comes back holds operations off while its placement groups peer: block, ack, unblock."""
    async with Rados(cluster.conf_path) as rados, rados.open_ioctx("rbd") as ioctx:
        for number in range(60):
            osd = number % 3
            cluster.peer().mon("osd down", ids=[str(osd)])
            while cluster.peer().mon("osd stat")["num_up_osds"] < 3:
                await asyncio.gather(*(ioctx.write_full(f"object {n}", b"during") for n in range(20)))
            if sum(entry["type"] == "MOSDBackoff" for entry in recorder.entries) == 3 * recorder.per_kind:
                return
        raise SystemExit("no OSD has held anything back")


def main() -> None:
    """All of it."""
    absent = missing()
    if absent:
        raise SystemExit(absent)
    with GoldenRecorder() as recorder, listening(recorder):
        with CephCluster(pg_num=4) as cluster:
            asyncio.run(objects(cluster))
            asyncio.run(commands(cluster))
        with CephCluster(osds=3, options={"osd_backoff_on_peering": "true"}) as cluster:
            asyncio.run(backoffs(cluster, recorder))
    total = sum(path.stat().st_size for path in MESSAGES_DIR.iterdir())
    print(f"{len(recorder.entries)} messages, {total} bytes")
    assert total < TOTAL_BYTES_MAX


if __name__ == "__main__":
    main()
