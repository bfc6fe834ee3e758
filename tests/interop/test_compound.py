"""Vectors of operations: atomic, with a result for each; and methods of object classes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable

import pytest

from cove.rados import (
    CompareMismatch,
    IoCtx,
    ObjectBusy,
    ObjectExists,
    ObjectNotFound,
    OutOfRange,
    Overflow,
    ReadOp,
    WriteOp,
)
from cove.rbd.calls import read_call, write_call
from cove.wire import cls_lock
from cove.wire.cls_lock import LockRequest, LockType
from cove.wire.encoding import Decoder, Encoder

from .ceph_cluster import CephCluster
from .conftest import POOL
from .peer import Librados, LibradosError


def encode_string(text: str) -> bytes:
    encoder = Encoder()
    encoder.str(text)
    return encoder.bytes()


async def test_a_vector_of_every_kind(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    op = WriteOp().create(exclusive=True).write(b"0123456789").append(b"abc").zero(2, 2).truncate(12)
    op.setxattr("x", b"1").setxattr("y", b"2").rmxattr("y").omap_set({"k": b"v", "l": b"w"}).omap_rm_keys(["l"])
    await ioctx.operate(oid, op.omap_set_header(b"head").set_alloc_hint(1 << 22, 1 << 16))
    assert librados.read(POOL, oid) == b"01" + bytes(2) + b"456789ab"
    assert librados.ask("xattrs", [POOL], oid) == {"x": b"1"}
    assert librados.ask("omap", [POOL], oid) == [["k", b"v"]]


async def test_librados_writes_a_vector(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    steps = [["new", 1], ["write_full", b"hello"], ["append", b" world"], ["set_omap", ["k"], [b"v"]]]
    librados.ask("write_op", [POOL], oid, [*steps, ["set_xattr", "x", b"1"]])
    op = ReadOp().stat().read().getxattr("x").omap_get_vals().read(5, 6)
    result = await ioctx.operate(oid, op)
    assert result.value(0).size == 11
    assert [result.data(index) for index in (1, 2, 4)] == [b"hello world", b"1", b"world"]
    assert result.value(3) == ({"k": b"v"}, False)
    assert all(out.rval >= 0 for out in result.ops)


@pytest.mark.parametrize("place", [0, 1, 3])
async def test_one_failure_and_nothing_has_happened(ioctx: IoCtx, librados: Librados, oid: str, place: int) -> None:
    """Wherever in the vector the operation is that fails.

    (It compares less than the whole object: where a vector has written all of it before, an OSD of Ceph 16 takes the
    object for damaged, and answers nobody, librados neither.)
    """
    await ioctx.operate(oid, WriteOp().write_full(b"before").setxattr("x", b"old").omap_set({"k": b"old"}))
    steps: list[Callable[[WriteOp], WriteOp]] = [
        lambda op: op.write_full(b"after"),
        lambda op: op.setxattr("x", b"new").setxattr("z", b"more"),
        lambda op: op.omap_set({"k": b"new", "m": b"more"}),
    ]
    steps.insert(place, lambda op: op.cmpext(b"not", 0))
    op = WriteOp()
    for step in steps:
        op = step(op)
    with pytest.raises(CompareMismatch):
        await ioctx.operate(oid, op)
    assert librados.read(POOL, oid) == b"before"
    assert librados.ask("xattrs", [POOL], oid) == {"x": b"old"}
    assert librados.ask("omap", [POOL], oid) == [["k", b"old"]]


async def test_a_failed_vector_creates_no_object(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    with pytest.raises(ObjectNotFound):
        await ioctx.operate(oid, WriteOp().assert_exists().write_full(b"x"))
    completion = ioctx.aio_operate(oid, WriteOp().write_full(b"x").exec("lock", "unlock", b"garbage"))
    await completion.wait_for_complete(10)
    assert completion.get_return_value() < 0
    assert [oid, "", ""] not in librados.ask("listing", [POOL, ""])


async def test_exclusive_create(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.operate(oid, WriteOp().create(exclusive=True))
    with pytest.raises(ObjectExists):
        await ioctx.operate(oid, WriteOp().create(exclusive=True).write_full(b"x"))
    with pytest.raises(LibradosError) as theirs:
        librados.ask("write_op", [POOL], oid, [["new", 1]])
    assert theirs.value.result == -errno.EEXIST
    await ioctx.operate(oid, WriteOp().create())


async def test_results_of_a_vector_that_failed_halfway(ioctx: IoCtx, oid: str) -> None:
    """The OSD stops at the first failure: later operations have neither result nor output."""
    await ioctx.write_full(oid, b"data")
    op = ReadOp().stat().getxattr("missing").read()
    completion = ioctx.aio_operate(oid, op)
    await completion.wait_for_complete(10)
    assert completion.get_return_value() == -errno.ENODATA
    outputs = completion.outputs()
    assert outputs.rval(1) == -errno.ENODATA
    assert outputs.data(2) == b""


async def test_operations_that_may_fail(ioctx: IoCtx, oid: str) -> None:
    await ioctx.write_full(oid, b"data")
    result = await ioctx.operate(oid, ReadOp().getxattr("missing").failok().read())
    assert result.rval(0) == -errno.ENODATA
    assert result.data(1) == b"data"


async def test_handlers_see_each_output(ioctx: IoCtx, oid: str) -> None:
    await ioctx.write_full(oid, b"data")
    seen: list[tuple[int, bytes]] = []
    op = ReadOp().read(2).handler(lambda rval, data: seen.append((rval, data)))
    op.read(2, 2).handler(lambda rval, data: seen.append((rval, data)))
    await ioctx.operate(oid, op)
    assert [data for _, data in seen] == [b"da", b"ta"]


async def test_a_write_sees_the_version_it_asserts(ioctx: IoCtx, oid: str) -> None:
    await ioctx.write_full(oid, b"1")
    version = ioctx.get_last_version()
    await ioctx.operate(oid, WriteOp().assert_version(version).write_full(b"2"))
    with pytest.raises(OutOfRange):
        await ioctx.operate(oid, WriteOp().assert_version(version).write_full(b"3"))
    with pytest.raises(Overflow):
        await ioctx.operate(oid, WriteOp().assert_version(version + 10_000_000).write_full(b"3"))
    assert await ioctx.read(oid) == b"2"


# object classes


async def test_the_program_of_the_readme(one_osd: CephCluster, ioctx: IoCtx) -> None:
    """create + rbd.set_id, as `rbd create` begins; `rbd` then finds the id."""
    op = WriteOp().create(exclusive=True).exec("rbd", "set_id", encode_string("abc"))
    done = ioctx.aio_operate("rbd_id.vm1", op)
    await done
    assert Decoder(await ioctx.execute("rbd_id.vm1", "rbd", "get_id", write=False)).str() == "abc"
    got = one_osd.peer().call(POOL, "execute", "rbd_id.vm1", "rbd", "get_id", b"")
    assert got[1] == encode_string("abc")
    with pytest.raises(ObjectExists):
        await ioctx.operate("rbd_id.vm1", WriteOp().exec("rbd", "set_id", encode_string("abc")))


async def test_exec_output_of_many_bytes(ioctx: IoCtx, oid: str) -> None:
    """rbd.dir_list of a directory of several hundred images."""
    for number in range(200):
        data = encode_string(f"image{number:04d}") + encode_string(f"id{number:04d}")
        ioctx.aio_operate(oid, WriteOp().exec("rbd", "dir_add_image", data))
    await ioctx.aio_flush(30)
    request = encode_string("") + (1000).to_bytes(8, "little")
    decoder = Decoder(await ioctx.execute(oid, "rbd", "dir_list", request, write=False))
    found = decoder.map(decoder.str, decoder.str)
    assert found == {f"image{n:04d}": f"id{n:04d}" for n in range(200)}


async def test_locks_that_librados_took(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    librados.call(POOL, "lock_exclusive", oid, "mylock", "cookie 1", "by librados")
    info = await read_call(ioctx, oid, cls_lock.GET_INFO, cls_lock.InfoRequest("mylock"))
    ((locker, about),) = info.lockers.items()
    assert (info.type, locker.cookie, about.description) == (LockType.EXCLUSIVE, "cookie 1", "by librados")
    assert str(locker.entity).startswith("client.")
    with pytest.raises(ObjectBusy):
        await write_call(ioctx, oid, cls_lock.LOCK, LockRequest("mylock", LockType.EXCLUSIVE, "ours"))


async def test_locks_that_we_took(one_osd: CephCluster, ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await write_call(ioctx, oid, cls_lock.LOCK, LockRequest("mylock", LockType.EXCLUSIVE, "ours", "", "by cove"))
    with pytest.raises(LibradosError) as refused:
        librados.call(POOL, "lock_exclusive", oid, "mylock", "theirs")
    assert refused.value.result == -errno.EBUSY
    shown = json.loads(one_osd.rados("-p", POOL, "lock", "info", oid, "mylock", "--format", "json"))
    (locker,) = shown["lockers"]
    assert (shown["type"], locker["cookie"], locker["description"]) == ("exclusive", "ours", "by cove")
    await write_call(ioctx, oid, cls_lock.UNLOCK, cls_lock.UnlockRequest("mylock", "ours"))
    librados.call(POOL, "lock_exclusive", oid, "mylock", "theirs")


async def test_large_vectors(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    """The most operations that a vector has in practice, and data in many of them."""
    pieces = [os.urandom(10_000) for _ in range(100)]
    op = WriteOp()
    for number, piece in enumerate(pieces):
        op.write(piece, number * 10_000)
    await ioctx.operate(oid, op)
    assert librados.read(POOL, oid) == b"".join(pieces)
    read = ReadOp()
    for number in range(100):
        read.read(10_000, number * 10_000)
    result = await ioctx.operate(oid, read)
    assert [result.data(number) for number in range(100)] == pieces
