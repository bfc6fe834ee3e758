"""Reading and writing images: the operations sent, the exclusive lock, the object map, sizes, copies."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cove import rbd
from cove.rados import Error, IoCtx, NoSpace, WriteOp
from cove.rbd import Image, lock
from cove.rbd.calls import read_call, write_call
from cove.wire import cls_lock, cls_rbd
from cove.wire.object_map import ObjectMap, ObjectState

from .conftest import Died, RefusingIoCtx, object_names, open_pool

MIB = 1 << 20
KIB = 1 << 10
OBJECT = 4 * MIB


async def stored_map(ioctx: IoCtx, image: Image) -> ObjectMap:
    return await read_call(ioctx, f"rbd_object_map.{image.id}", cls_rbd.OBJECT_MAP_LOAD, None)


async def present(ioctx: IoCtx, image: Image) -> set[int]:
    prefix = image.object_prefix + "."
    return {int(name.removeprefix(prefix), 16) for name in await object_names(ioctx) if name.startswith(prefix)}


async def make(ioctx: IoCtx, size: int = 64 * MIB, **arguments: Any) -> Image:
    await rbd.create(ioctx, "a", size, **arguments)
    return await Image.open(ioctx, "a")


async def test_operations_of_an_open_in_the_order_of_librbd(ioctx: IoCtx, faulty: Callable[..., Any]) -> None:
    created = await rbd.create(ioctx, "a", 64 * MIB)
    spy = faulty(-1, "")
    image = await Image.open(spy, "a")
    header, info = f"rbd_header.{created.id}", "rbd_info"
    assert spy.log == [
        ("rbd_id.a", "stat"),
        ("rbd_id.a", "exec rbd.get_id"),
        (header, "exec rbd.get_size, exec rbd.get_object_prefix, exec rbd.get_features"),
        (header, "exec rbd.get_create_timestamp"),
        (header, "exec rbd.get_access_timestamp, exec rbd.get_modify_timestamp"),
        (header, "exec rbd.get_data_pool"),
        (
            header,
            "exec rbd.get_size, exec rbd.get_features, exec rbd.get_flags, exec rbd.get_snapcontext, "
            "exec lock.get_info",
        ),
        (header, "exec rbd.parent_get, exec rbd.parent_overlap_get"),
        (header, "exec rbd.metadata_list"),
        (info, "exec rbd.metadata_list"),
        (header, "exec rbd.image_group_get"),
    ]
    await image.close()


async def test_operations_of_writes(ioctx: IoCtx, faulty: Callable[..., Any]) -> None:
    created = await rbd.create(ioctx, "a", 64 * MIB)
    spy = faulty(-1, "")
    image = await Image.open(spy, "a")
    header, object_map = f"rbd_header.{created.id}", f"rbd_object_map.{created.id}"
    data = f"rbd_data.{created.id}.{0:016x}"
    spy.log.clear()
    await image.write(0, b"x" * 4096)
    taking = [
        entry for entry in spy.log if entry[1] in ("exec lock.get_info", "exec lock.lock", "exec rbd.object_map_load")
    ]
    assert taking == [
        (header, "exec lock.get_info"),
        (header, "exec lock.lock"),
        (object_map, "exec lock.lock"),
        (object_map, "exec rbd.object_map_load"),
    ]
    assert spy.log[-2:] == [
        (object_map, "exec lock.assert_locked, exec rbd.object_map_update"),
        (data, "set_alloc_hint, write"),
    ]
    spy.log.clear()
    await image.write(4096, b"y" * 4096)
    assert spy.log == [(data, "write")]
    spy.log.clear()
    await image.write(0, bytes(OBJECT))
    assert spy.log == [(data, "writefull")]
    spy.log.clear()
    assert await image.read(8 * MIB, 4096) == bytes(4096)
    assert spy.log == []  # the object map knows that there is nothing
    await image.read(0, 4096)
    await image.read(0, OBJECT)
    assert [name for _, name in spy.log] == ["read", "sparse_read"]
    spy.log.clear()
    await image.discard(0, OBJECT)
    update = (object_map, "exec lock.assert_locked, exec rbd.object_map_update")
    assert spy.log == [update, (data, "delete"), update]
    spy.log.clear()
    await image.discard(0, OBJECT)
    assert spy.log == []
    await image.close()
    assert spy.log == [(object_map, "exec lock.unlock"), (header, "exec lock.unlock")]


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, OBJECT, "delete"),
        (128 * KIB, OBJECT - 128 * KIB, "truncate"),
        (128 * KIB + 1, OBJECT - 128 * KIB - 1, "truncate"),
        (0, 64 * KIB, "zero"),
        (1, 64 * KIB, None),
        (1, 127 * KIB, None),
        (1, 128 * KIB, "zero"),
        (OBJECT - 64 * KIB, 64 * KIB, "truncate"),
        (OBJECT - 100, 100, None),
    ],
)
async def test_discard_rules(
    ioctx: IoCtx, faulty: Callable[..., Any], offset: int, length: int, expected: str | None
) -> None:
    await rbd.create(ioctx, "a", 64 * MIB)
    spy = faulty(-1, "")
    async with await Image.open(spy, "a") as image:
        await image.write(0, b"\xff" * OBJECT)
        spy.log.clear()
        await image.discard(offset, length)
        assert [name for oid, name in spy.log if "data" in oid] == ([expected] if expected else [])
        now = await image.read(0, OBJECT)
        assert now[:offset] == b"\xff" * offset
        assert now[offset + length :] == b"\xff" * (OBJECT - offset - length)
        assert set(now[offset : offset + length]) <= {0, 255}
        await image.write_zeroes(offset, length)
        assert not any(await image.read(offset, length))


async def test_ends_and_clipping(ioctx: IoCtx) -> None:
    async with await make(ioctx, 10 * MIB + 100) as image:
        size = image.size
        assert await image.write(size - 50, b"e" * 100) == 50
        assert await image.read(size - 60, 1000) == bytes(10) + b"e" * 50
        assert await image.discard(size - 10, 1000) == 10
        assert await image.write_zeroes(size - 10, 1000) == 10
        assert await image.read(size - 60, 100) == bytes(10) + b"e" * 40 + bytes(10)
        for offset in (size, size + 1):
            for call in (
                image.read(offset, 1),
                image.write(offset, b"x"),
                image.discard(offset, 1),
                image.write_zeroes(offset, 1),
            ):
                with pytest.raises(rbd.InvalidArgument):
                    await call
        with pytest.raises(rbd.InvalidArgument):
            await image.read(-1, 5)
        assert await image.read(0, 0) == b""
        assert await image.write(0, b"") == 0


async def test_write_same_and_compare_and_write(ioctx: IoCtx) -> None:
    async with await make(ioctx) as image:
        assert await image.write_same(100, 9_000_000, b"abcdef" * 3) == 9_000_000
        assert await image.read(100, 9_000_000) == b"abcdef" * 1_500_000
        await image.write_same(100, 9_000_000, bytes(6))
        assert not any(await image.read(0, 10 * MIB))
        with pytest.raises(rbd.InvalidArgument):
            await image.write_same(0, 10, b"abc")
        await image.write(512, b"before--")
        assert await image.compare_and_write(512, b"before--", b"after---") == 8
        with pytest.raises(rbd.CompareMismatch) as caught:
            await image.compare_and_write(512, b"afteX---", b"nothing-")
        assert (caught.value.errno, caught.value.offset) == (84, 516)
        assert await image.read(512, 8) == b"after---"
        assert await image.compare_and_write(20 * MIB, bytes(4), b"new!") == 4
        for offset, compare, data in (
            (OBJECT - 2, b"1234", b"5678"),
            (0, b"12", b"123"),
            (image.size - 1, b"12", b"34"),
        ):
            with pytest.raises(rbd.InvalidArgument):
                await image.compare_and_write(offset, compare, data)


async def test_thick_zeroes_stay_allocated(ioctx: IoCtx) -> None:
    async with await make(ioctx) as image:
        await image.write_zeroes(0, 9 * MIB, thick=True)
        assert await present(ioctx, image) == {0, 1, 2}
        assert await image.block_status(0, image.size) == [(12 * MIB, True), (52 * MIB, False)]
        assert not any(await image.read(0, 9 * MIB))


async def test_read_only(ioctx: IoCtx) -> None:
    async with await make(ioctx) as image:
        await image.write(0, b"data")
    names = await object_names(ioctx)
    async with await Image.open(ioctx, "a", read_only=True) as image:
        assert await image.read(0, 6) == b"data\0\0"
        assert await image.block_status(0, image.size) == [(OBJECT, True), (60 * MIB, False)]
        for call in (
            image.write(0, b"x"),
            image.discard(0, OBJECT),
            image.write_zeroes(0, 5),
            image.write_zeroes(0, 5, thick=True),
            image.compare_and_write(0, b"d", b"x"),
            image.resize(1),
        ):
            with pytest.raises(rbd.ReadOnlyImage) as caught:
                await call
            assert caught.value.errno == 30
        assert not image.lock.held
    assert await object_names(ioctx) == names


async def test_closed(ioctx: IoCtx) -> None:
    image = await make(ioctx)
    await image.write(0, b"x")
    await image.close()
    await image.close()
    for call in (image.read(0, 1), image.write(0, b"x"), image.flush(), image.refresh()):
        with pytest.raises(rbd.ImageClosed):
            await call


async def test_lock_is_taken_at_the_first_write_and_given_back(ioctx: IoCtx) -> None:
    image = await make(ioctx)
    await image.read(0, 100)
    info = cls_lock.InfoRequest("rbd_lock")
    assert not (await read_call(ioctx, image.header_oid, cls_lock.GET_INFO, info)).lockers
    await asyncio.gather(*(image.write(number * OBJECT, b"x") for number in range(8)))
    held = await read_call(ioctx, image.header_oid, cls_lock.GET_INFO, info)
    (owner,) = held.lockers
    assert (owner.cookie, held.tag, held.type) == (image.lock.cookie, "internal", 1)
    assert owner.cookie.startswith("auto ")
    assert owner.entity.number == ioctx.cluster.objecter.messenger.name.number
    async with await Image.open(ioctx, "a") as other:
        assert await other.read(0, 1) == b"x"
        with pytest.raises(rbd.ImageBusy):
            await other.write(0, b"y")
        await image.close()
        await other.write(0, b"y")
    assert not (await read_call(ioctx, image.header_oid, cls_lock.GET_INFO, info)).lockers
    assert image.lock.cookie not in lock._live_cookies


async def test_lock_of_a_dead_owner_is_broken_at_open(ioctx: IoCtx, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = await make(ioctx)
    await dead.write(0, b"committed")
    monkeypatch.setattr(lock, "_live_cookies", set())
    info = cls_lock.InfoRequest("rbd_lock")
    async with await Image.open(ioctx, "a", read_only=True):
        assert (await read_call(ioctx, dead.header_oid, cls_lock.GET_INFO, info)).lockers
    async with await Image.open(ioctx, "a") as image:
        assert not (await read_call(ioctx, dead.header_oid, cls_lock.GET_INFO, info)).lockers
        await image.write(9, b" and more")
        assert await image.read(0, 18) == b"committed and more"
    with pytest.raises(rbd.ReadOnlyImage):
        await dead.write(5 * OBJECT, b"needs the map, whose lock is gone")


async def test_manual_lock_stays(ioctx: IoCtx) -> None:
    image = await make(ioctx)
    by_hand = cls_lock.LockRequest("rbd_lock", 1, "mine", "tag")
    await write_call(ioctx, image.header_oid, cls_lock.LOCK, by_hand)
    async with await Image.open(ioctx, "a") as other:
        with pytest.raises(rbd.ImageBusy, match="by hand"):
            await other.write(0, b"x")
    await image.close()


async def test_map_is_updated_before_data(ioctx: IoCtx, faulty: Callable[..., Any]) -> None:
    """Killed at any operation, no object is there that the map does not know."""
    await rbd.create(ioctx, "a", 64 * MIB)
    for mode in ("die", "die after"):
        for at in range(30):
            lock._live_cookies.clear()
            broken = faulty(at, mode)
            try:
                image = await Image.open(broken, "a")
                await image.write(0, b"x")
                await image.write(OBJECT - 1, b"two objects")
                await image.discard(0, 8 * MIB)
                await image.write(OBJECT, b"again")
            except Died:
                pass
            async with await Image.open(ioctx, "a", read_only=True) as check:
                states = await stored_map(ioctx, check)
                for number in await present(ioctx, check):
                    assert states[number] != ObjectState.NONEXISTENT, (mode, at, broken.log)


@pytest.mark.parametrize("damage", ["crc", "absent", "short", "garbage"])
async def test_damaged_map(ioctx: IoCtx, damage: str) -> None:
    image = await make(ioctx)
    await image.write(0, b"x")
    await image.close()
    oid = image.object_map.oid
    if damage == "crc":
        await ioctx.write(oid, b"\xff", 18)
    elif damage == "absent":
        await ioctx.remove(oid)
    elif damage == "short":
        await ioctx.write_full(oid, ObjectMap(3).to_body())
    else:
        await ioctx.write_full(oid, b"garbage")
    async with await Image.open(ioctx, "a") as again:
        await again.write(OBJECT, b"y")
        assert await again.read(0, 1) == b"x"
        assert await again.read(OBJECT, 1) == b"y"
        assert await again.read(2 * OBJECT, 1) == b"\0"
        assert await again.block_status(0, OBJECT * 3) == [(OBJECT * 3, True)]
        await again.refresh()
        assert again.stat().flags == 3
        await again.resize(2 * MIB)
    async with await Image.open(ioctx, "a", read_only=True) as last:
        assert await last.read(0, 1) == b"x"
        assert last.size == 2 * MIB
        assert await present(ioctx, last) == {0}
    await rbd.remove(ioctx, "a")


async def test_failing_map_update_invalidates(ioctx: IoCtx, faulty: Callable[..., Any]) -> None:
    await rbd.create(ioctx, "a", 64 * MIB)
    broken = faulty(1, "unknown", only=lambda op: "object_map_update" in op.name)
    async with await Image.open(broken, "a") as image:
        await image.write(0, b"one")
        await image.write(OBJECT, b"two")
        assert image.object_map.states is None
        await image.write(2 * OBJECT, b"three")
        assert await image.read(2 * OBJECT, 5) == b"three"
        await image.refresh()
        assert image.state.flags == 3


async def test_nothing_is_written_past_a_failed_map_before_that_is_marked(ioctx: IoCtx) -> None:
    await rbd.create(ioctx, "a", 64 * MIB)
    failing: Any = RefusingIoCtx(ioctx, errno.EIO)
    image = await Image.open(failing, "a")
    await image.write(0, b"one")
    failing.refused += ["object_map_update", "set_flags"]
    for _ in range(2):
        with pytest.raises(Error):
            await image.write(OBJECT, b"two")
        with pytest.raises(Error):
            await image.write_zeroes(OBJECT, 100)
    assert await present(ioctx, image) == {0}
    # what died here would leave a map that tells the truth
    async with await Image.open(ioctx, "a", read_only=True) as other:
        assert [part for _, part in await other.block_status(0, 2 * OBJECT)] == [True, False]
    failing.refused.clear()
    await image.write(OBJECT, b"two")
    async with await Image.open(ioctx, "a", read_only=True) as other:
        assert other.state.flags == 3
        assert await other.read(OBJECT, 3) == b"two"
        assert await other.block_status(0, 2 * OBJECT) == [(2 * OBJECT, True)]
    await image.close()


async def test_a_full_store_fails_the_write_and_keeps_the_map(ioctx: IoCtx) -> None:
    await rbd.create(ioctx, "a", 64 * MIB)
    failing: Any = RefusingIoCtx(ioctx, errno.ENOSPC)
    async with await Image.open(failing, "a") as image:
        await image.write(0, b"one")
        failing.refused += ["object_map", "set_flags"]
        with pytest.raises(NoSpace):
            await image.write(OBJECT, b"two")
        with pytest.raises(NoSpace):
            await image.resize(128 * MIB)
        failing.refused.clear()
        await image.write(OBJECT, b"two")
        assert image.object_map.states == await stored_map(ioctx, image)
        assert await present(ioctx, image) == {0, 1}
        await image.refresh()
        assert (image.state.flags, image.size) == (0, 64 * MIB)


async def test_a_reader_does_not_trust_a_map_that_was_marked_after_it_opened(ioctx: IoCtx) -> None:
    async with await make(ioctx) as image, await Image.open(ioctx, "a", read_only=True) as reader:
        await image.write(0, b"one")
        assert await reader.block_status(0, 2 * OBJECT) == [(OBJECT, True), (OBJECT, False)]
        await image.object_map.invalidate()
        await image.write(OBJECT, b"two")
        assert await reader.block_status(0, 2 * OBJECT) == [(2 * OBJECT, True)]


async def test_close_waits_for_a_resize(ioctx: IoCtx) -> None:
    image = await make(ioctx)
    await image.write(0, b"x" * 16 * MIB)
    shrinking = asyncio.create_task(image.resize(OBJECT))
    while image.gate._open.is_set():
        await asyncio.sleep(0)
    await image.close()
    assert shrinking.done()
    async with await Image.open(ioctx, "a") as again:
        assert again.size == OBJECT
        assert await present(ioctx, again) == {0}
        assert (await stored_map(ioctx, again)).count == 1
    with pytest.raises(rbd.ImageClosed):
        await image.resize(0)


async def test_resize(ioctx: IoCtx) -> None:
    async with await make(ioctx, 10 * MIB) as image:
        await image.write(0, b"\xff" * 10 * MIB)
        with pytest.raises(rbd.InvalidArgument):
            await image.resize(MIB, allow_shrink=False)
        await image.resize(5 * MIB)
        assert await present(ioctx, image) == {0, 1}
        await image.resize(40 * MIB)
        assert await image.read(0, 40 * MIB) == b"\xff" * 5 * MIB + bytes(35 * MIB)
        await image.write(39 * MIB, b"end")
        await image.resize(0)
        assert await present(ioctx, image) == set()
        assert (await stored_map(ioctx, image)).count == 0
        await image.resize(4 * MIB)
        assert not any(await image.read(0, 4 * MIB))
    async with await Image.open(ioctx, "a", read_only=True) as image:
        assert image.size == 4 * MIB


async def test_resize_waits_for_writes_and_holds_new_ones(ioctx: IoCtx) -> None:
    async with await make(ioctx, 64 * MIB) as image:
        writes = [asyncio.create_task(image.write(number * 2 * MIB, b"w" * MIB)) for number in range(32)]
        await asyncio.sleep(0)
        await image.resize(32 * MIB)
        late = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(outcome, (int, rbd.InvalidArgument)) for outcome in late)
        assert await present(ioctx, image) <= set(range(8))


async def test_flush_waits_for_earlier_writes_only(ioctx: IoCtx) -> None:
    async with await make(ioctx) as image:
        first = await image.gate.enter()
        flush = asyncio.create_task(image.flush())
        await asyncio.sleep(0)
        second = await image.gate.enter()
        await asyncio.sleep(0)
        assert not flush.done()
        image.gate.leave(first)
        async with asyncio.timeout(1):
            await flush
        image.gate.leave(second)


async def test_concurrent_writes_and_discards_of_the_same_objects(ioctx: IoCtx) -> None:
    async with await make(ioctx, 16 * MIB) as image:
        for _ in range(10):
            await asyncio.gather(
                *(image.write(number * MIB + 7, b"n" * 100) for number in range(16)),
                *(image.discard(number * OBJECT, OBJECT) for number in range(4)),
                image.discard(0, 16 * MIB),
                *(image.write(number * MIB + 7, b"m" * 100) for number in range(16)),
            )
            states = await stored_map(ioctx, image)
            assert {n for n in range(4) if states[n]} == await present(ioctx, image)
            for number in range(16):
                assert await image.read(number * MIB + 7, 100) in (b"m" * 100, bytes(100))


async def test_cancelled_write_leaves_a_working_image(ioctx: IoCtx) -> None:
    async with await make(ioctx, 64 * MIB) as image:
        for turns in range(12):
            task = asyncio.create_task(image.write(turns * OBJECT, b"c" * 100))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await image.flush()
            await image.write(turns * OBJECT, b"d" * 100)
            assert await image.read(turns * OBJECT, 100) == b"d" * 100
        states = await stored_map(ioctx, image)
        assert {n for n in range(16) if states[n]} >= await present(ioctx, image)


@pytest.mark.parametrize(
    ("key", "value", "read", "write"),
    [
        ("features", 61 | 2048, False, False),
        ("features", 61 | 128, False, False),
        ("features", 61 | 1 << 20, True, False),
        ("features", 61 | 64, True, False),
        ("features", 61 | 1024, True, False),
        ("features", 61 | 512, False, False),
        ("parent", None, False, False),
    ],
)
async def test_features_at_open(ioctx: IoCtx, key: str, value: int | None, read: bool, write: bool) -> None:
    image = await make(ioctx)
    await image.close()
    raw = cls_rbd.Parent(1, "", "abc", 4, 10).to_bytes() if value is None else value.to_bytes(8, "little")
    await ioctx.omap_set(image.header_oid, {key: raw})
    if not read:
        with pytest.raises(rbd.FunctionNotSupported) as caught:
            await Image.open(ioctx, "a")
        assert caught.value.errno == 38
        return
    async with await Image.open(ioctx, "a") as opened:
        assert not any(await opened.read(0, 100))
        with pytest.raises(rbd.ReadOnlyImage):
            await opened.write(0, b"x")
    with pytest.raises(rbd.ReadOnlyImage):
        await rbd.remove(ioctx, "a")


async def test_snapshots_make_it_read_only(ioctx: IoCtx) -> None:
    image = await make(ioctx)
    await image.close()
    await ioctx.omap_set(image.header_oid, {"snap_seq": (4).to_bytes(8, "little")})
    async with await Image.open(ioctx, "a") as opened:
        assert opened.state.snapc.seq == 4
        assert opened.access.writable


async def test_copy_between_pools(ioctx: IoCtx) -> None:
    data = os.urandom(3 * MIB)
    async with ioctx.cluster.open_ioctx("images") as images:
        await rbd.create(images, "base", 40 * MIB)
        async with await Image.open(images, "base") as base:
            await base.write(MIB, data)
            await base.write_zeroes(20 * MIB, OBJECT, thick=True)
        progress: list[tuple[int, int]] = []
        copied = await rbd.create_from_image(
            images, "base", ioctx, "disk", 64 * MIB, on_progress=lambda done, total: progress.append((done, total))
        )
        assert copied <= 8 * MIB
        assert progress[-1] == (40 * MIB, 40 * MIB)
        async with await Image.open(ioctx, "disk", read_only=True) as disk:
            assert disk.size == 64 * MIB
            assert await disk.read(0, 64 * MIB) == bytes(MIB) + data + bytes(60 * MIB)
            assert await present(ioctx, disk) == {0}
        with pytest.raises(rbd.InvalidArgument):
            await rbd.create_from_image(images, "base", ioctx, "small", MIB)
        assert await rbd.list_images(ioctx) == ["disk"]


async def test_import_of_a_file(ioctx: IoCtx, tmp_path: Path) -> None:
    path = tmp_path / "raw"
    data = os.urandom(200_000)
    with path.open("wb") as file:
        file.truncate(30 * MIB + 5)
        file.seek(9 * MIB)
        file.write(data)
    assert await rbd.create_from_file(ioctx, "a", path) < MIB
    async with await Image.open(ioctx, "a") as image:
        assert image.size == 30 * MIB + 512
        assert await image.read(9 * MIB, len(data)) == data
        assert await present(ioctx, image) == {2}
        assert (await image.read(0, image.size)).count(0) >= image.size - len(data)

        async def stream() -> Any:
            yield b"s" * 100
            yield bytes(MIB)
            yield b"t" * 100

        assert await rbd.import_stream(image, stream()) == MIB + 200
        assert await image.read(MIB + 100, 100) == b"t" * 100
    with pytest.raises(FileNotFoundError):
        await rbd.create_from_file(ioctx, "b", tmp_path / "absent")
    assert await rbd.list_images(ioctx) == ["a"]


async def test_failed_copy_leaves_no_image(ioctx: IoCtx, tmp_path: Path, faulty: Callable[..., Any]) -> None:
    path = tmp_path / "raw"
    path.write_bytes(os.urandom(9 * MIB))
    broken = faulty(2, "error", only=lambda op: "set_alloc_hint" in op.name)
    # one of the writes fails: what was made is removed through the same io context
    with pytest.raises(Error):
        await rbd.create_from_file(broken, "a", path)
    with pytest.raises(Error):
        await rbd.create_from_file(faulty(0, "error", only=lambda op: op.name == "set_alloc_hint, write"), "b", path)
    assert await rbd.list_images(ioctx) == []
    assert not [name for name in await object_names(ioctx) if "data" in name]


async def test_content_survives_the_store(tmp_path: Path) -> None:
    data = os.urandom(5 * MIB)
    async with open_pool(tmp_path / "store") as ioctx, await make(ioctx) as image:
        await image.write(3 * MIB, data)
    async with open_pool(tmp_path / "store") as ioctx, await Image.open(ioctx, "a") as image:
        assert await image.read(3 * MIB, 5 * MIB) == data
        await image.write(0, b"again")


async def test_old_timestamps_are_renewed(ioctx: IoCtx) -> None:
    image = await make(ioctx)
    created = image.stat().create_time_ns
    await image.close()
    old = cls_rbd.GET_MODIFY_TIMESTAMP.output.pack(created - 10**12)
    keys = ("create_timestamp", "modify_timestamp", "access_timestamp")
    await ioctx.operate(image.header_oid, WriteOp().omap_set(dict.fromkeys(keys, old)))
    async with await Image.open(ioctx, "a") as again:
        await again.write(0, b"x")
        await again.read(0, 1)
        async with asyncio.timeout(5):
            while again._tasks:
                await asyncio.sleep(0.001)
    async with await Image.open(ioctx, "a", read_only=True) as last:
        assert last.stat().modify_time_ns >= created
        assert last.stat().access_time_ns >= created
        assert last.stat().create_time_ns == created - 10**12
