"""Creating, listing, renaming, removing: errnos, objects, and what a failure at each step leaves behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cove import rbd
from cove.rados import Error, IoCtx, OutcomeUnknown, WriteOp
from cove.rados.operations import OpVector
from cove.rbd.create import STEPS, init_pool, new_image_id
from cove.wire import cls_rbd

from .conftest import Died, object_names

MIB = 1 << 20
POOL_OBJECTS = {"rbd_info", "rbd_directory"}
UNDONE = POOL_OBJECTS


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    return {"name": "a", "size_bytes": MIB} | given


async def test_objects_of_an_image(ioctx: IoCtx) -> None:
    first = await rbd.create(ioctx, "first", 256 * MIB)
    assert first.operations == 11  # with the pool's validation
    created = await rbd.create(ioctx, "vm1-disk", 256 * MIB)
    assert created.operations == 9
    assert created.features == 61
    assert len(created.id) <= 14
    assert created.id.isalnum()
    assert await object_names(ioctx) == POOL_OBJECTS | {
        oid
        for image in (first, created)
        for oid in (f"rbd_id.{image.name}", f"rbd_header.{image.id}", f"rbd_object_map.{image.id}")
    }
    assert await ioctx.read("rbd_info") == b"overwrite validated"
    assert await ioctx.read("rbd_id.vm1-disk") == len(created.id).to_bytes(4, "little") + created.id.encode()
    assert await rbd.list_entries(ioctx) == {"first": first.id, "vm1-disk": created.id}
    header = {key: value async for key, value in ioctx.omap_items(f"rbd_header.{created.id}")}
    assert header["size"] == (256 * MIB).to_bytes(8, "little")
    assert header["order"] == b"\x16"
    assert header["features"] == (61).to_bytes(8, "little")


async def test_a_pool_that_was_initialised(ioctx: IoCtx) -> None:
    for _ in range(2):
        await init_pool(ioctx)
        assert await ioctx.read("rbd_info") == b"overwrite validated"
    assert (await rbd.create(ioctx, "a", MIB)).operations == 9


async def test_half_validated_pool(ioctx: IoCtx) -> None:
    await ioctx.operate("rbd_info", WriteOp().write(b"validate"))
    assert (await rbd.create(ioctx, "a", MIB)).operations == 10
    assert await ioctx.read("rbd_info") == b"overwrite validated"
    await ioctx.write_full("rbd_info", b"validate")
    await init_pool(ioctx)
    assert await ioctx.read("rbd_info") == b"overwrite validated"


async def test_steps_in_the_order_of_librbd(ioctx: IoCtx, faulty: Callable[..., Any]) -> None:
    await init_pool(ioctx)
    spy = faulty(-1, "")
    created = await rbd.create(spy, "a", MIB)
    assert spy.log == [
        ("a.rbd", "stat"),
        ("rbd_id.a", "stat"),
        ("rbd_info", "exec rbd.metadata_list"),
        ("rbd_info", "read"),
        ("rbd_directory", "exec rbd.dir_add_image"),
        ("rbd_id.a", "create, exec rbd.set_id"),
        ("rbd_directory", "exec rbd.get_all_features"),
        (f"rbd_header.{created.id}", "create, exec rbd.create"),
        (f"rbd_object_map.{created.id}", "exec rbd.object_map_resize"),
    ]


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        ({"order": 11}, 33),
        ({"order": 26}, 33),
        ({"features": 8}, 22),
        ({"features": 1 << 12}, 38),
        ({"features": 64 + 4}, 38),
        ({"stripe_unit": 4096}, 22),
        ({"stripe_count": 2}, 22),
        ({"stripe_unit": 256, "stripe_count": 2}, 22),
        ({"stripe_unit": 3000, "stripe_count": 2}, 22),
        ({"size_bytes": -1}, 22),
        ({"size_bytes": 1 << 62, "order": 12}, 22),
        ({"name": ""}, 22),
        ({"name": "a\0b"}, 22),
        ({"name": "a" * 2000}, 22),
    ],
)
async def test_refused(ioctx: IoCtx, arguments: dict[str, Any], number: int) -> None:
    with pytest.raises(rbd.Error) as caught:
        await rbd.create(ioctx, **_arguments(arguments))
    assert caught.value.errno == number
    assert await object_names(ioctx) == set()


@pytest.mark.parametrize(
    ("asked", "got"), [(0, 0), (1, 1), (4 + 8, 4 + 8 + 16), (4 + 16, 4), (1 + 256 + 512, 1), (61, 61), (None, 61)]
)
async def test_features(ioctx: IoCtx, asked: int | None, got: int) -> None:
    assert (await rbd.create(ioctx, "a", MIB, features=asked)).features == got
    async with await rbd.Image.open(ioctx, "a") as image:
        assert image.stat().features == got
        await image.write(0, b"x")
    await rbd.remove(ioctx, "a")
    assert await object_names(ioctx) == POOL_OBJECTS


async def test_existing_name(ioctx: IoCtx) -> None:
    await rbd.create(ioctx, "a", MIB)
    with pytest.raises(rbd.ImageExists) as caught:
        await rbd.create(ioctx, "a", MIB)
    assert caught.value.errno == 17
    await ioctx.write_full("old.rbd", b"a header of format 1")
    with pytest.raises(rbd.ImageExists):
        await rbd.create(ioctx, "old", MIB)
    with pytest.raises(rbd.FunctionNotSupported):
        await rbd.Image.open(ioctx, "old")


async def test_two_creations_of_one_name_at_a_time(ioctx: IoCtx) -> None:
    outcomes = await asyncio.gather(*(rbd.create(ioctx, "a", MIB) for _ in range(8)), return_exceptions=True)
    made = [outcome for outcome in outcomes if isinstance(outcome, rbd.Created)]
    assert len(made) == 1
    assert all(isinstance(outcome, rbd.ImageExists) for outcome in outcomes if outcome not in made)
    async with await rbd.Image.open(ioctx, "a") as image:
        assert image.id == made[0].id
    assert len(await object_names(ioctx)) == len(POOL_OBJECTS) + 3


@pytest.mark.parametrize("mode", ["error", "unknown", "cancel"])
@pytest.mark.parametrize("striped", [False, True])
async def test_failure_at_each_step_leaves_nothing(
    ioctx: IoCtx, faulty: Callable[..., Any], mode: str, striped: bool
) -> None:
    striping = {"stripe_unit": 4096, "stripe_count": 2} if striped else {}
    expected: type[BaseException] = {"error": Error, "unknown": OutcomeUnknown, "cancel": asyncio.CancelledError}[mode]
    for at in range(len(STEPS) - (not striped)):
        broken = faulty(at, mode)
        (outcome,) = await asyncio.gather(rbd.create(broken, "a", MIB, **striping), return_exceptions=True)
        if not isinstance(outcome, expected):
            assert isinstance(outcome, rbd.Created)
            # the only step whose failure changes nothing is asking for the OSDs' features
            assert broken.log[at] == ("rbd_directory", "exec rbd.get_all_features")
            assert mode == "error"
            await rbd.remove(ioctx, "a")
        assert await object_names(ioctx) <= UNDONE, (at, broken.log)
        assert await rbd.list_images(ioctx) == []
        await ioctx.operate("rbd_info", WriteOp().create().remove())
    await rbd.create(ioctx, "a", MIB, **striping)


async def test_undo_is_in_reverse_order(ioctx: IoCtx, faulty: Callable[..., Any]) -> None:
    await init_pool(ioctx)
    broken = faulty(8, "error")
    with pytest.raises(Error):
        await rbd.create(broken, "a", MIB)
    assert [oid.split(".")[0] for oid, _ in broken.log[9:]] == ["rbd_header", "rbd_id", "rbd_directory"]


async def test_undo_does_not_touch_the_winner(ioctx: IoCtx, faulty: Callable[..., Any]) -> None:
    """Our create of the id object is in doubt, and what is there is another image's."""
    await init_pool(ioctx)
    broken = faulty(5, "unknown")
    doom = broken.doom

    def lose_the_race(oid: str, op: OpVector) -> Any:
        ioctx.aio_operate(oid, WriteOp().write_full(cls_rbd.SET_ID.input.pack("other")))
        return doom(oid, op)

    broken.doom = lose_the_race
    with pytest.raises(OutcomeUnknown):
        await rbd.create(broken, "a", MIB)
    assert await ioctx.read("rbd_id.a") == cls_rbd.SET_ID.input.pack("other")
    assert await rbd.list_images(ioctx) == []


async def test_id_collision_touches_nothing_of_the_other(ioctx: IoCtx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["cove.rbd.create"], "new_image_id", lambda number: "abc123")
    await rbd.create(ioctx, "a", MIB)
    with pytest.raises(Error) as caught:
        await rbd.create(ioctx, "b", MIB)
    assert caught.value.errno == 9
    async with await rbd.Image.open(ioctx, "a") as image:
        await image.write(0, b"fine")
    assert await rbd.list_images(ioctx) == ["a"]


def test_image_id() -> None:
    identity = new_image_id(4113)
    assert identity.startswith("1011")
    assert len(new_image_id(2**62)) == 14


@pytest.mark.parametrize("mode", ["die", "die after"])
async def test_killed_creation_is_repaired(ioctx: IoCtx, faulty: Callable[..., Any], mode: str) -> None:
    for at in range(11):
        with pytest.raises(Died):
            await rbd.create(faulty(at, mode), "a", MIB)
        complete = mode == "die after" and at == 10
        has_header = any(oid.startswith("rbd_header.") for oid in await object_names(ioctx))
        left = "a" in await rbd.list_images(ioctx)
        if has_header:
            # only the object map may be missing: the image works without, and can be removed
            async with await rbd.Image.open(ioctx, "a") as image:
                await image.write(0, b"usable")
                assert await image.read(0, 6) == b"usable"
            assert await rbd.repair(ioctx) == []
            await rbd.remove(ioctx, "a")
        else:
            assert await rbd.repair(ioctx) == (["a"] if left else [])
        assert not complete or has_header
        assert await object_names(ioctx) <= UNDONE
        await ioctx.operate("rbd_info", WriteOp().create().remove())


async def test_half_made_image_can_be_removed_by_name(ioctx: IoCtx, faulty: Callable[..., Any]) -> None:
    await init_pool(ioctx)
    for at in (5, 6, 7):
        with pytest.raises(Died):
            await rbd.create(faulty(at, "die"), "a", MIB)
        with pytest.raises(rbd.ImageNotFound):
            await rbd.Image.open(ioctx, "a")
        await rbd.remove(ioctx, "a")
        assert await object_names(ioctx) == POOL_OBJECTS


@pytest.mark.parametrize("mode", ["error", "die", "die after"])
async def test_removal_can_be_repeated_after_any_step(
    ioctx: IoCtx, faulty: Callable[..., Any], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash: the lock is still there, its owner is not."""
    at = 0
    while True:
        await rbd.create(ioctx, "a", 80 << 10, order=14)
        async with await rbd.Image.open(ioctx, "a") as image:
            for offset in range(0, 80 << 10, 32 << 10):
                await image.write(offset, b"data")
        broken = faulty(at, mode)
        try:
            await rbd.remove(broken, "a")
        except (Died, Error):
            pass
        else:
            if broken.count <= at:
                break
        monkeypatch.setattr("cove.rbd.lock._live_cookies", set())
        try:
            await rbd.remove(ioctx, "a")
        except rbd.ImageNotFound:
            assert (await rbd.list_images(ioctx)) == []
        assert await object_names(ioctx) == POOL_OBJECTS, (at, broken.log)
        at += 1
    assert at > 20


async def test_remove_absent_and_busy(ioctx: IoCtx) -> None:
    with pytest.raises(rbd.ImageNotFound):
        await rbd.remove(ioctx, "a")
    await rbd.create(ioctx, "a", MIB)
    async with await rbd.Image.open(ioctx, "a") as image:
        await image.write(0, b"x")
        with pytest.raises(rbd.ImageBusy):
            await rbd.remove(ioctx, "a")
    progress: list[tuple[int, int]] = []
    await rbd.remove(ioctx, "a", on_progress=lambda done, total: progress.append((done, total)))
    assert progress == [(1, 1)]


async def test_list_many(ioctx: IoCtx) -> None:
    await init_pool(ioctx)
    names = [f"image-{number:04}" for number in range(40)] + ["ä", "z/y@x", "A"]
    await asyncio.gather(*(rbd.create(ioctx, name, MIB) for name in names))
    assert await rbd.list_images(ioctx) == sorted(names, key=lambda name: name.encode())


async def test_listing_pages(ioctx: IoCtx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cove.rbd.listing.PAGE", 3)
    for count in range(8):
        await rbd.create(ioctx, f"i{count}", MIB, features=0)
        assert len(await rbd.list_images(ioctx)) == count + 1


async def test_rename(ioctx: IoCtx) -> None:
    created = await rbd.create(ioctx, "a", MIB)
    await rbd.create(ioctx, "b", MIB)
    async with await rbd.Image.open(ioctx, "a") as image:
        await image.write(5, b"content")
    with pytest.raises(rbd.ImageExists):
        await rbd.rename(ioctx, "a", "b")
    with pytest.raises(rbd.ImageNotFound):
        await rbd.rename(ioctx, "x", "y")
    await rbd.rename(ioctx, "a", "c")
    assert await rbd.list_entries(ioctx) == {"b": (await rbd.list_entries(ioctx))["b"], "c": created.id}
    async with await rbd.Image.open(ioctx, "c", read_only=True) as image:
        assert await image.read(5, 7) == b"content"
    with pytest.raises(rbd.ImageNotFound):
        await rbd.Image.open(ioctx, "a")
