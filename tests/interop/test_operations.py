"""Every operation in every situation: the same result as librados' C functions give, and the same object afterwards."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from cove.rados import (
    AllocHintFlag,
    Cancelled,
    ChecksumType,
    CmpOp,
    CompareMismatch,
    Error,
    InOutError,
    InvalidArgument,
    IoCtx,
    NoData,
    NoSpace,
    NotSupported,
    ObjectNotFound,
    Overflow,
    Rados,
    ReadOp,
    RequestFlag,
    WriteOp,
)
from cove.rados.operations import OpVector
from cove.wire.crc import ceph_crc32c
from cove.wire.pool import PoolFlag

from .ceph_cluster import CephCluster
from .conftest import POOL
from .peer import Librados

HUGE = 1 << 40
DATA = b"0123456789abcdef"
RETURNVEC = 1024
"""As a flag of librados."""


class Case(NamedTuple):
    """A vector in both languages; `theirs` are steps of `librados_c.CApi.operate`."""

    ours: Callable[[], OpVector]
    theirs: list[list[Any]]


W, R = WriteOp, ReadOp
CASES: dict[str, Case] = {
    "create": Case(lambda: W().create(), [["create", 0]]),
    "create exclusive": Case(lambda: W().create(exclusive=True), [["create", 1]]),
    "remove": Case(lambda: W().remove(), [["remove"]]),
    "write": Case(lambda: W().write(b"xyz", 14), [["write", b"xyz", 14]]),
    "write nothing far away": Case(lambda: W().write(b"", 100), [["write", b"", 100]]),
    "write too far": Case(lambda: W().write(b"x", HUGE), [["write", b"x", HUGE]]),
    "write_full": Case(lambda: W().write_full(b"xyz"), [["write_full", b"xyz"]]),
    "write_full of nothing": Case(lambda: W().write_full(b""), [["write_full", b""]]),
    "append": Case(lambda: W().append(b"xyz"), [["append", b"xyz"]]),
    "append twice": Case(lambda: W().append(b"x").append(b"y"), [["append", b"x"], ["append", b"y"]]),
    "writesame": Case(lambda: W().writesame(b"ab", 6, 3), [["writesame", b"ab", 6, 3]]),
    "writesame of nothing": Case(lambda: W().writesame(b"ab", 0, 3), [["writesame", b"ab", 0, 3]]),
    "zero inside": Case(lambda: W().zero(2, 4), [["zero", 2, 4]]),
    "zero over the end": Case(lambda: W().zero(10, 100), [["zero", 10, 100]]),
    "zero beyond the end": Case(lambda: W().zero(50, 100), [["zero", 50, 100]]),
    "zero too far": Case(lambda: W().zero(HUGE, 1), [["zero", HUGE, 1]]),
    "truncate": Case(lambda: W().truncate(4), [["truncate", 4]]),
    "truncate to more": Case(lambda: W().truncate(40), [["truncate", 40]]),
    "truncate too far": Case(lambda: W().truncate(HUGE), [["truncate", HUGE]]),
    "setxattr": Case(lambda: W().setxattr("x", b"new"), [["setxattr", "x", b"new"]]),
    "setxattr long name": Case(lambda: W().setxattr("n" * 300, b""), [["setxattr", "n" * 300, b""]]),
    "rmxattr": Case(lambda: W().rmxattr("x"), [["rmxattr", "x"]]),
    "rmxattr missing": Case(lambda: W().rmxattr("nope"), [["rmxattr", "nope"]]),
    "omap_set": Case(lambda: W().omap_set({"n": b"1", "k": b""}), [["omap_set2", {"n": b"1", "k": b""}]]),
    "omap_rm_keys": Case(lambda: W().omap_rm_keys(["k", "zz"]), [["omap_rm_keys2", ["k", "zz"]]]),
    "omap_rm_range": Case(lambda: W().omap_rm_range("k", "m"), [["omap_rm_range2", b"k", b"m"]]),
    "omap_clear": Case(lambda: W().omap_clear(), [["omap_clear"]]),
    "set_alloc_hint": Case(
        lambda: W().set_alloc_hint(1 << 22, 4096, AllocHintFlag.IMMUTABLE), [["set_alloc_hint2", 1 << 22, 4096, 32]]
    ),
    "exec that writes": Case(
        lambda: W().exec("hello", "record_hello", b"you"), [["exec", "hello", "record_hello", b"you"]]
    ),
    "exec with a result": Case(
        lambda: W().exec("hello", "write_return_data"), [["exec", "hello", "write_return_data", b""]]
    ),
    "exec of no class": Case(lambda: W().exec("nope", "nope"), [["exec", "nope", "nope", b""]]),
    "exec of no method": Case(lambda: W().exec("rbd", "nope").create(), [["exec", "rbd", "nope", b""], ["create", 0]]),
    "write assert_exists": Case(lambda: W().assert_exists().append(b"z"), [["assert_exists"], ["append", b"z"]]),
    "write assert_version 1": Case(
        lambda: W().assert_version(1).append(b"z"), [["assert_version", 1], ["append", b"z"]]
    ),
    "write assert_version far": Case(
        lambda: W().assert_version(1 << 50).append(b"z"), [["assert_version", 1 << 50], ["append", b"z"]]
    ),
    "write cmpext same": Case(
        lambda: W().cmpext(b"234", 2).setxattr("y", b"1"), [["cmpext", b"234", 2], ["setxattr", "y", b"1"]]
    ),
    "write cmpext other": Case(
        lambda: W().cmpext(b"2345xx", 2).setxattr("y", b"1"), [["cmpext", b"2345xx", 2], ["setxattr", "y", b"1"]]
    ),
    "write cmpext zeros": Case(
        lambda: W().cmpext(bytes(5), 100).setxattr("y", b"1"), [["cmpext", bytes(5), 100], ["setxattr", "y", b"1"]]
    ),
    "write cmpxattr": Case(
        lambda: W().cmpxattr("x", b"1").append(b"z"), [["cmpxattr", "x", CmpOp.EQ, b"1"], ["append", b"z"]]
    ),
    "write omap_cmp": Case(
        lambda: W().omap_cmp({"k": (b"v", CmpOp.EQ)}).append(b"z"),
        [["omap_cmp2", "k", CmpOp.EQ, b"v", 1, 1], ["append", b"z"]],
    ),
    "create after a failure that may be": Case(
        lambda: W().exec("hello", "write_too_much_return_data").failok().append(b"z"),
        [["exec", "hello", "write_too_much_return_data", b""], ["set_flags", 2], ["append", b"z"]],
    ),
    "read": Case(lambda: R().read(4, 2), [["read", 4, 2]]),
    "read behind the end": Case(lambda: R().read(4, 1 << 50), [["read", 1 << 50, 4]]),
    "stat": Case(lambda: R().stat(), [["stat"]]),
    "getxattrs": Case(lambda: R().getxattrs(), [["getxattrs"]]),
    "omap_get_vals": Case(lambda: R().omap_get_vals("", "k", 2), [["omap_get_vals2", "", "k", 2]]),
    "omap_get_keys": Case(lambda: R().omap_get_keys("k", 2), [["omap_get_keys2", "k", 2]]),
    "checksum": Case(lambda: R().checksum(2, 0, 0, 16, 8), [["checksum", 2, bytes(4), 0, 16, 8, 64]]),
    "checksum of an odd length": Case(lambda: R().checksum(2, 0, 0, 15, 8), [["checksum", 2, bytes(4), 0, 15, 8, 64]]),
    "checksum clipped": Case(lambda: R().checksum(2, 0, 4, 16, 8), [["checksum", 2, bytes(4), 4, 16, 8, 64]]),
    "checksum of no kind": Case(lambda: R().checksum(9, 0, 0, 16, 8), [["checksum", 9, bytes(4), 0, 16, 8, 64]]),
    "read exec": Case(lambda: R().exec("hello", "say_hello"), [["exec", "hello", "say_hello", b""]]),
    "read exec of a writer": Case(lambda: R().exec("hello", "record_hello"), [["exec", "hello", "record_hello", b""]]),
    "read exec of garbage": Case(
        lambda: R().exec("lock", "get_info", b"\xff"), [["exec", "lock", "get_info", b"\xff"]]
    ),
    "read assert_exists": Case(lambda: R().assert_exists(), [["assert_exists"]]),
    "read assert_version": Case(lambda: R().assert_version(1).stat(), [["assert_version", 1], ["stat"]]),
    "cmpext": Case(lambda: R().cmpext(b"abX", 10), [["cmpext", b"abX", 10]]),
    **{
        f"cmpxattr {op.name} {value!r}": Case(
            lambda op=op, value=value: R().cmpxattr("x", value, op),  # type: ignore[misc]
            [["cmpxattr", "x", op, value]],
        )
        for op in CmpOp
        for value in (b"0", b"1", b"2")
    },
    **{
        f"omap_cmp {op.name} {value!r}": Case(
            lambda op=op, value=value: R().omap_cmp({"k": (value, op)}),  # type: ignore[misc]
            [["omap_cmp2", "k", op, value, 1, 1]],
        )
        for op in CmpOp
        for value in (b"u", b"v", b"w")
    },
}


async def absent(ioctx: IoCtx, oid: str) -> None:
    """No object."""


async def empty(ioctx: IoCtx, oid: str) -> None:
    await ioctx.create(oid)


async def full(ioctx: IoCtx, oid: str) -> None:
    """Written in two pieces: of what was written in one, an OSD of Ceph 16 keeps a checksum of all data, and forgets
    about it when a write of nothing extends the object; whoever reads it then gets no answer."""
    await ioctx.operate(oid, WriteOp().write_full(DATA))
    op = WriteOp().write(DATA[2:4], 2).setxattr("x", b"1").omap_set(dict.fromkeys(("a", "k", "l", "m"), b"v"))
    await ioctx.operate(oid, op.omap_set_header(b"header"))


SITUATIONS: dict[str, Callable[[IoCtx, str], Awaitable[None]]] = {"absent": absent, "empty": empty, "full": full}


async def state(ioctx: IoCtx, oid: str) -> Any:
    """Everything about an object, None if there is none."""
    try:
        data, xattrs, omap, header = (
            await ioctx.operate(oid, ReadOp().read().getxattrs().omap_get_vals().omap_get_header())
        ).values()
    except ObjectNotFound:
        return None
    # who said hello is the client's own name
    return data, {name: value for name, value in xattrs.items() if name != "said_by"}, omap, header


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_the_same_results(ioctx: IoCtx, librados: Librados, oid: str, situation: str) -> None:
    differ: list[str] = []
    for number, (name, case) in enumerate(CASES.items()):
        mine, theirs = f"{oid}.{number}", f"{oid}.{number}.theirs"
        for target in (mine, theirs):
            await SITUATIONS[situation](ioctx, target)
        vector = case.ours()
        completion = ioctx.aio_operate(mine, vector)
        await completion.wait_for_complete(20)
        kind = "write" if vector.is_write else "read"
        wanted = librados.ask("c", "operate", [POOL], theirs, kind, case.theirs)
        if completion.get_return_value() != wanted:
            differ.append(f"{name}: ours {completion.get_return_value()}, librados' {wanted}")
        states = await state(ioctx, mine), await state(ioctx, theirs)
        if states[0] != states[1]:
            differ.append(f"{name}: ours leaves {states[0]}, librados' {states[1]}")
    assert not differ, "\n".join(differ)


async def test_outputs_of_writes(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    """With RETURNVEC; and what is too long for it."""
    call = WriteOp().exec("hello", "write_return_data").returnvec()
    result = await ioctx.operate(oid, call)
    assert (result.result, result.rval(0)) == (42, 42)
    assert result.data(0)
    theirs = [["exec", "hello", "write_return_data", b""]]
    assert librados.ask("c", "operate", [POOL], oid, "write", theirs, RETURNVEC) == 42
    without = await ioctx.operate(oid, WriteOp().exec("hello", "write_return_data"))
    assert (without.result, without.data(0)) == (0, b"")
    with pytest.raises(Overflow):
        await ioctx.operate(oid, WriteOp().exec("hello", "write_too_much_return_data").returnvec())


async def test_what_an_error_tells(ioctx: IoCtx, oid: str) -> None:
    await full(ioctx, oid)
    with pytest.raises(NoData, match="number 3 of 4 operations failed, getxattr") as refused:
        await ioctx.operate(oid, ReadOp().getxattr("nope").failok().read(4).getxattr("none").read())
    error = refused.value
    assert error.op_index == 2
    assert error.outputs is not None
    assert error.outputs.rvals == [-errno.ENODATA, 0, -errno.ENODATA, 0]
    assert error.outputs.value(1) == DATA[:4]
    with pytest.raises(CompareMismatch) as differs:
        await ioctx.operate(oid, WriteOp().setxattr("y", b"").cmpext(b"01234x"))
    assert (differs.value.op_index, differs.value.offset) == (1, 5)
    with pytest.raises(ObjectNotFound) as absent:
        await ioctx.operate(oid + ".none", ReadOp().stat().read())
    assert absent.value.op_index is None


async def test_checksums_against_librados(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    data = os.urandom(10_000)
    await ioctx.write_full(oid, data)
    for kind in ChecksumType:
        size = 8 if kind is ChecksumType.XXHASH64 else 4
        init = bytes(range(1, size + 1))
        for length, offset, chunk in ((8192, 0, 4096), (100, 7, 0), (9000, 1000, 1000)):
            sums = await ioctx.checksum(oid, kind, int.from_bytes(init, "little"), offset, length, chunk)
            raw = librados.ask("c", "checksum", [POOL], oid, kind, init, length, offset, chunk)
            assert raw == len(sums).to_bytes(4, "little") + b"".join(one.to_bytes(size, "little") for one in sums)
    assert await ioctx.checksum(oid) == [ceph_crc32c(0xFFFFFFFF, data)]
    assert await ioctx.checksum(oid, offset=20_000, length=10) == []
    with pytest.raises(InvalidArgument):
        await ioctx.checksum(oid, length=100, chunk_size=64)


async def test_copies(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await full(ioctx, oid)
    version = ioctx.get_last_version()
    await ioctx.copy_from(f"{oid}.copy", oid, src_version=version)
    assert await state(ioctx, f"{oid}.copy") == await state(ioctx, oid)
    assert ioctx.get_last_version() == version
    assert librados.read(POOL, f"{oid}.copy") == DATA
    other = ioctx.duplicate()
    other.set_namespace("elsewhere")
    other.set_locator_key("key")
    await other.copy_from(oid, oid, ioctx)
    assert await state(other, oid) == await state(ioctx, oid)
    assert librados.call(POOL, "read", oid, 100, 0, nspace="elsewhere", locator="key") == DATA
    for problem, source, number in (
        (errno.ENOENT, f"{oid}.none", 0),
        (errno.EINVAL, f"{oid}.copy", 0),
        (errno.ERANGE, oid, 1),
        (errno.EOVERFLOW, oid, version + 1000),
    ):
        with pytest.raises(Error) as refused:
            await ioctx.copy_from(f"{oid}.copy", source, src_version=number)
        assert refused.value.errno == problem


async def test_conveniences(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.create(oid)
    await ioctx.writesame(oid, b"ab", 8, 2)
    await ioctx.zero(oid, 4, 2)
    assert librados.read(POOL, oid) == bytes(2) + b"ab" + bytes(2) + b"abab"
    assert (await ioctx.sparse_read(oid, 100)).data == librados.read(POOL, oid)
    assert await ioctx.mapext(oid, 100)
    await ioctx.set_alloc_hint(oid, 1 << 20, 4096, AllocHintFlag.COMPRESSIBLE)
    await ioctx.setxattr(oid, "n", b"17")
    await ioctx.cmpxattr(oid, "n", 17)
    await ioctx.cmpxattr(oid, "n", 18, CmpOp.GT)
    with pytest.raises(Cancelled):
        await ioctx.cmpxattr(oid, "n", 17, CmpOp.NE)
    await ioctx.omap_set(oid, {"a": b"1", "b": b"2", "c": b"3"})
    await ioctx.omap_rm_range(oid, "b", "c")
    assert librados.ask("omap", [POOL], oid) == [["a", b"1"], ["c", b"3"]]
    await ioctx.omap_cmp(oid, {"a": (b"1", CmpOp.EQ), "c": (b"1", CmpOp.GT)})
    with pytest.raises(Cancelled):
        await ioctx.omap_cmp(oid, {"a": (b"1", CmpOp.LT)})
    await ioctx.cmpext(oid, b"abab", 6)
    with pytest.raises(CompareMismatch) as differs:
        await ioctx.cmpext(oid, b"abXb", 6)
    assert differs.value.offset == 2
    await ioctx.remove(oid)
    with pytest.raises(ObjectNotFound):
        await ioctx.stat(oid)


async def test_caches(ioctx: IoCtx, oid: str) -> None:
    """A pool without a cache tier."""
    await ioctx.write_full(oid, b"x")
    assert (await ioctx.operate(oid, ReadOp().is_dirty())).value(0) in (True, False)
    await ioctx.operate(oid, WriteOp().undirty())
    vectors: list[OpVector] = [WriteOp().cache_pin(), WriteOp().cache_unpin()]
    for op in (*vectors, ReadOp().cache_flush(), ReadOp().cache_try_flush(), ReadOp().cache_evict()):
        with pytest.raises(InvalidArgument):
            await ioctx.operate(oid, op)


async def test_watchers_in_a_vector(ioctx: IoCtx, oid: str) -> None:
    await ioctx.create(oid)
    assert (await ioctx.operate(oid, ReadOp().list_watchers().stat())).value(0) == []


async def test_watching_an_object_whose_name_is_no_text(ioctx: IoCtx, oid: str) -> None:
    name = f"{oid}\udcff"
    await ioctx.create(name)
    async with await ioctx.watch(name, lambda notification: b"seen") as watch:
        assert [item.cookie for item in await ioctx.list_watchers(name)] == [watch.cookie]
        assert list((await ioctx.notify(name)).answers.values()) == [b"seen"]


async def test_the_time_of_modification(ioctx: IoCtx, librados: Librados, oid: str) -> None:
    await ioctx.operate(oid, WriteOp().create().set_mtime(1_500_000_000_123_456_789))
    assert (await ioctx.stat(oid)).mtime_ns == 1_500_000_000_123_456_789
    await ioctx.operate(oid, WriteOp().append(b"x").set_mtime(0))
    assert (await ioctx.stat(oid)).mtime_ns == 1_500_000_000_123_456_789


@pytest.mark.parametrize("flag", [RequestFlag.FULL_TRY, RequestFlag.RWORDERED, RequestFlag.BALANCE_READS])
async def test_flags_of_the_request(ioctx: IoCtx, oid: str, flag: RequestFlag) -> None:
    await ioctx.write_full(oid, b"x")
    assert (await ioctx.operate(oid, ReadOp().read().with_flags(flag))).data() == b"x"


async def test_writes_to_a_full_pool(client: Rados, one_osd: CephCluster, librados: Librados) -> None:
    """They wait, or fail at once if the context says so; what frees space is done in any case."""
    number = one_osd.create_pool("full", pg_num=1)
    await client.wait_for_latest_map()
    async with client.open_ioctx("full") as ioctx:
        await ioctx.write_full("a", b"0123456789")
        librados.mon("osd pool set-quota", pool="full", field="max_objects", val="1")
        async with asyncio.timeout(60):
            while not client.osdmap.pools[number].flags & PoolFlag.FULL:
                await asyncio.sleep(0.2)
                await client.wait_for_latest_map()
        waiting = ioctx.aio_operate("b", WriteOp().write_full(b"x"), timeout_s=0)
        trying = ioctx.duplicate()
        trying.set_osdmap_full_try()
        with pytest.raises(NoSpace) as refused:
            await trying.write_full("c", b"x")
        assert refused.value.errno == errno.EDQUOT
        assert await trying.read("a") == b"0123456789"
        await trying.remove("a")
        await ioctx.operate("d", WriteOp().write_full(b"x").with_flags(RequestFlag.FULL_FORCE))
        assert not waiting.is_complete()
        librados.mon("osd pool set-quota", pool="full", field="max_objects", val="0")
        async with asyncio.timeout(60):
            await waiting


async def bare(ioctx: IoCtx, oid: str) -> None:
    """As far as `full` can be had without an object map."""
    await ioctx.operate(oid, WriteOp().write_full(DATA).setxattr("x", b"1"))


async def state_or_error(ioctx: IoCtx, oid: str) -> Any:
    """As state; an OSD of Ceph 16 can't read what a write of nothing has extended, nor can librados then."""
    try:
        return await state(ioctx, oid)
    except InOutError as problem:
        return problem.result


async def test_erasure_coded_pools(ceph_is_installed: None) -> None:
    """The same results as librados', with and without overwrites; what such pools refuse is told by name."""
    comparisons = [name for name in CASES if name.startswith(("cmpxattr", "omap_cmp"))]
    cases = {name: case for name, case in CASES.items() if name not in comparisons[1:]}
    with CephCluster(osds=3, store="bluestore") as cluster:
        cluster.ceph("osd", "erasure-code-profile", "set", "two", "k=2", "m=1", "crush-failure-domain=osd")
        peer = cluster.peer()
        cluster.create_pool("ec", 8, pool_type="erasure", erasure_code_profile="two")
        async with Rados(cluster.conf_path) as client, client.open_ioctx("ec") as ioctx:
            for overwrites in (False, True):
                if overwrites:
                    cluster.ceph("osd", "pool", "set", "ec", "allow_ec_overwrites", "true")
                    await client.wait_for_latest_map()
                differ: list[str] = []
                for number, (name, case) in enumerate(cases.items()):
                    mine, theirs = f"{overwrites} {number}", f"{overwrites} {number} theirs"
                    await asyncio.gather(bare(ioctx, mine), bare(ioctx, theirs))
                    vector = case.ours()
                    completion = ioctx.aio_operate(mine, vector)
                    await completion.wait_for_complete(20)
                    kind = "write" if vector.is_write else "read"
                    results = completion.get_return_value(), peer.ask("c", "operate", ["ec"], theirs, kind, case.theirs)
                    states = await asyncio.gather(state_or_error(ioctx, mine), state_or_error(ioctx, theirs))
                    if results[0] != results[1] or states[0] != states[1]:
                        differ.append(f"{name}: {results} {states}")
                assert not differ, "\n".join(differ)
                with pytest.raises(NotSupported, match="has no object maps"):
                    await ioctx.omap_set("a", {"k": b"v"})
                await ioctx.write_full("a", b"0123")
                if overwrites:
                    await ioctx.write("a", b"x", 2)
                else:
                    with pytest.raises(NotSupported, match="whole stripes"):
                        await ioctx.write("a", b"x", 2)
                await ioctx.lock_exclusive("a", "l", "c")
                await ioctx.copy_from("b", "a")
                assert await ioctx.read("b") == (b"01x3" if overwrites else b"0123")
                assert (await ioctx.sparse_read("b", 3, 1)).data == (b"1x3" if overwrites else b"123")
                assert await ioctx.omap_get_vals("b") == ({}, False)
                await ioctx.unlock("a", "l", "c")
