"""Data of objects: what our client writes is what librados reads, and the other way round."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cove.rados import IoCtx, ReadOp, WriteOp
from cove.wire.crc import ceph_crc32c

from .ceph_cluster import CephCluster
from .conftest import POOL
from .peer import Librados

MIB = 1 << 20


async def test_write_full_then_librados_reads(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    data = os.urandom(5000)
    await ioctx.write_full(oid, data)
    assert librados.read(POOL, oid) == data
    await ioctx.write_full(oid, b"shorter")
    assert librados.read(POOL, oid) == b"shorter"


async def test_librados_writes_then_we_read(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    data = os.urandom(100_000)
    librados.call(POOL, "write_full", oid, data)
    assert await ioctx.read(oid) == data
    assert await ioctx.read(oid, 1000, 5) == data[5:1005]
    assert await ioctx.read(oid, 1000, 99_900) == data[-100:]
    assert await ioctx.read(oid, 10, 100_000) == b""
    assert await ioctx.read(oid, 10, 1 << 40) == b""


async def test_write_at_offsets_leaves_zeros_between(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write(oid, b"one", 10)
    await ioctx.write(oid, b"two", 100)
    librados.call(POOL, "write", oid, b"THREE", 11)
    wanted = bytearray(103)
    wanted[10:13], wanted[100:103], wanted[11:16] = b"one", b"two", b"THREE"
    assert librados.read(POOL, oid) == await ioctx.read(oid) == bytes(wanted)


async def test_append_truncate_zero(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.append(oid, b"a" * 100)
    await ioctx.append(oid, b"b" * 100)
    assert librados.read(POOL, oid) == b"a" * 100 + b"b" * 100
    await ioctx.zero(oid, 50, 100)
    assert librados.read(POOL, oid) == b"a" * 50 + bytes(100) + b"b" * 50
    await ioctx.truncate(oid, 60)
    assert librados.read(POOL, oid) == b"a" * 50 + bytes(10)
    await ioctx.truncate(oid, 70)
    assert librados.read(POOL, oid) == b"a" * 50 + bytes(20)
    librados.call(POOL, "trunc", oid, 5)
    assert await ioctx.read(oid) == b"aaaaa"
    await ioctx.zero(oid, 3, 100)
    assert await ioctx.read(oid) == librados.read(POOL, oid)


async def test_write_same(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.operate(oid, WriteOp().writesame(b"abcd", 64, 4))
    assert librados.read(POOL, oid) == bytes(4) + b"abcd" * 16


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
async def test_buffers_of_any_kind(ioctx: IoCtx, librados: Librados, oid: str, wrap: type) -> None:
    data = os.urandom(70_000)
    await ioctx.write(oid, wrap(data), 3)
    assert librados.read(POOL, oid) == bytes(3) + data


async def test_empty_writes(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write_full(oid, b"")
    assert librados.call(POOL, "stat", oid) == [0]
    assert await ioctx.read(oid) == b""


async def test_stat(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    before = time.time()
    librados.call(POOL, "write_full", oid, b"x" * 12345)
    stat = await ioctx.stat(oid)
    assert stat.size == 12345
    assert before - 1 <= stat.mtime <= time.time() + 1
    await ioctx.operate(oid, WriteOp().write(b"y", 12345).set_mtime(1_000_000_000_123_456_789))
    assert await ioctx.stat(oid) == (12346, 1_000_000_000_123_456_789)
    assert librados.call(POOL, "stat", oid) == [12346]


async def test_remove(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write_full(oid, b"here")
    await ioctx.remove(oid)
    assert [oid, "", ""] not in librados.ask("listing", [POOL, ""])
    librados.call(POOL, "write_full", oid, b"again")
    await ioctx.remove(oid)
    assert [oid, "", ""] not in librados.ask("listing", [POOL, ""])


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 65536, 1 * MIB + 1, 4 * MIB, 8 * MIB])
async def test_sizes(ioctx: IoCtx, librados: Librados, oid: str, size: int) -> None:
    data = os.urandom(size)
    await ioctx.write_full(oid, data)
    assert librados.read(POOL, oid) == data
    assert await ioctx.read(oid) == data
    await ioctx.remove(oid)
    librados.call(POOL, "write_full", oid, data)
    assert await ioctx.read(oid) == data
    assert await ioctx.read(oid, size, 0) == data
    await ioctx.remove(oid)


async def test_the_rados_tool_both_ways(one_osd: CephCluster, ioctx: IoCtx, oid: str, tmp_path: Path) -> None:
    data = os.urandom(5 * MIB)  # the tool writes it in two pieces
    await ioctx.write_full(oid, data)
    one_osd.rados("-p", POOL, "get", oid, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data
    (tmp_path / "put").write_bytes(data[::-1])
    one_osd.rados("-p", POOL, "put", oid, tmp_path / "put")
    assert await ioctx.read(oid) == data[::-1]
    assert f"size {len(data)}" in one_osd.rados("-p", POOL, "stat", oid).decode()
    one_osd.rados("-p", POOL, "rm", oid)
    assert oid not in one_osd.rados("-p", POOL, "ls").decode().splitlines()


async def test_many_at_once_come_back_each_in_its_place(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    count = 500
    writes = [ioctx.aio_operate(f"{oid}.{n}", WriteOp().write_full(b"%d" % n * (n + 1))) for n in range(count)]
    for write in writes:
        await write
    reads = [ioctx.aio_operate(f"{oid}.{n}", ReadOp().read()) for n in range(count)]
    for number, read in enumerate(reads):
        assert (await read).data(0) == b"%d" % number * (number + 1)
    for number in range(0, count, 50):
        assert librados.read(POOL, f"{oid}.{number}") == b"%d" % number * (number + 1)


async def test_operations_on_one_object_happen_in_order(ioctx: IoCtx, oid: str) -> None:
    appends = [ioctx.aio_operate(oid, WriteOp().append(b"%04d" % number)) for number in range(300)]
    await ioctx.aio_flush(30)
    assert all(append.get_return_value() >= 0 for append in appends)
    assert await ioctx.read(oid) == b"".join(b"%04d" % number for number in range(300))
    versions = [append.get_version() for append in appends]
    assert versions == sorted(set(versions))


async def test_versions(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.write_full(oid, b"1")
    first = ioctx.get_last_version()
    librados.call(POOL, "write_full", oid, b"2")
    assert ioctx.get_last_version() == first
    await ioctx.read(oid)
    assert ioctx.get_last_version() > first
    assert ioctx.get_last_version() == librados.call(POOL, "get_last_version")


async def test_sparse_reads(no_auth_ioctx: IoCtx, oid: str) -> None:
    """On BlueStore, as MemStore knows no holes."""
    await no_auth_ioctx.write(oid, b"a" * 65536, 0)
    await no_auth_ioctx.write(oid, b"b" * 65536, 1 * MIB)
    found = (await no_auth_ioctx.operate(oid, ReadOp().sparse_read(2 * MIB).mapext(2 * MIB))).value(0)
    assert [(offset, bytes(data)) for offset, data in found.chunks()] == [(0, b"a" * 65536), (1 * MIB, b"b" * 65536)]
    extents = (await no_auth_ioctx.operate(oid, ReadOp().mapext(2 * MIB))).value(0)
    assert extents == [(0, 65536), (1 * MIB, 65536)]


async def test_checksums(ioctx: IoCtx, oid: str) -> None:
    data = os.urandom(8192)
    await ioctx.write_full(oid, data)
    output = (await ioctx.operate(oid, ReadOp().checksum(2, 0xFFFFFFFF, 0, 8192, 4096))).data(0)
    assert output[:4] == (2).to_bytes(4, "little")
    sums = [ceph_crc32c(0xFFFFFFFF, data[:4096]), ceph_crc32c(0xFFFFFFFF, data[4096:])]
    assert output[4:] == b"".join(value.to_bytes(4, "little") for value in sums)
