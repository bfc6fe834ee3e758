"""Random operations on an image against a bytearray, with several layouts; the object map agrees with what is there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove import rbd
from cove.rados import Error, IoCtx
from cove.rbd import Image, lock
from cove.rbd.calls import read_call
from cove.wire import cls_rbd

from .conftest import Died, FaultyIoCtx, object_names, open_pool, store_directory

SIZE_MAX = 80_000
KINDS = ("write", "read", "discard", "zero", "thick", "same", "compare", "resize", "reopen", "together")


@dataclass(frozen=True)
class Step:
    kind: str
    offset: int
    length: int
    byte: int


STEPS = st.lists(
    st.builds(Step, st.sampled_from(KINDS), st.integers(0, SIZE_MAX), st.integers(1, 20_000), st.integers(1, 255)),
    max_size=14,
)
LAYOUTS = st.sampled_from(
    [
        {"order": 12},
        {"order": 14},
        {"order": 13, "stripe_unit": 512, "stripe_count": 3},
        {"order": 12, "stripe_unit": 4096, "stripe_count": 4},
        {"order": 12, "features": 0},
        {"order": 12, "features": 4},
    ]
)


class Model:
    """Does each step to the image and to a bytearray."""

    def __init__(self, ioctx: IoCtx, image: Image) -> None:
        self.ioctx, self.image = ioctx, image
        self.data = bytearray(image.size)
        self.exact_map = True

    async def step(self, step: Step) -> None:
        if step.kind == "resize":
            size = (step.offset + step.length) % SIZE_MAX
            await self.image.resize(size)
            self.data = self.data[:size] + bytes(max(0, size - len(self.data)))
            return
        if step.kind == "reopen":
            await self.image.close()
            self.image = await Image.open(self.ioctx, "a")
            return
        if step.offset >= len(self.data):
            with pytest.raises(rbd.InvalidArgument):
                await self.image.read(step.offset, step.length)
            return
        end = min(step.offset + step.length, len(self.data))
        await getattr(self, f"do_{step.kind}")(step, step.offset, end)

    async def do_write(self, step: Step, start: int, end: int) -> None:
        payload = bytes((step.byte + index) % 251 for index in range(step.length))
        assert await self.image.write(start, payload) == end - start
        self.data[start:end] = payload[: end - start]

    async def do_read(self, step: Step, start: int, end: int) -> None:
        assert await self.image.read(start, step.length) == self.data[start:end]

    async def do_discard(self, step: Step, start: int, end: int) -> None:
        await self.image.discard(start, step.length)
        now = await self.image.read(start, end - start)
        assert all(new in (0, old) for new, old in zip(now, self.data[start:end], strict=True))
        self.data[start:end] = now

    async def do_zero(self, step: Step, start: int, end: int) -> None:
        await self.image.write_zeroes(start, step.length)
        self.data[start:end] = bytes(end - start)

    async def do_thick(self, step: Step, start: int, end: int) -> None:
        await self.image.write_zeroes(start, step.length, thick=True)
        self.data[start:end] = bytes(end - start)

    async def do_same(self, step: Step, start: int, end: int) -> None:
        length = step.length // 4 * 4
        await self.image.write_same(start, length, bytes([step.byte, 1, 2, 3]))
        end = min(start + length, end)
        self.data[start:end] = (bytes([step.byte, 1, 2, 3]) * (length // 4))[: end - start]

    async def do_compare(self, step: Step, start: int, end: int) -> None:
        unit = self.image.layout.stripe_unit
        end = min(end, start // unit * unit + unit)
        old = bytes(self.data[start:end])
        if step.byte % 2:
            await self.image.compare_and_write(start, old, bytes([step.byte]) * (end - start))
            self.data[start:end] = bytes([step.byte]) * (end - start)
            return
        at = step.byte % (end - start)
        wrong = old[:at] + bytes([old[at] ^ 1]) + old[at + 1 :]
        with pytest.raises(rbd.CompareMismatch) as caught:
            await self.image.compare_and_write(start, wrong, b"!" * (end - start))
        assert caught.value.offset == start + at
        self.exact_map = False  # the map was told that the object would exist

    async def do_together(self, step: Step, start: int, end: int) -> None:
        """Pieces that don't overlap, all at once, discards of other objects among them."""
        pieces = [(at, min(at + 700, end)) for at in range(start, end, 700)]
        ended = await asyncio.gather(
            *(
                self.image.write(a, bytes([step.byte]) * (b - a)) if index % 3 else self.image.write_zeroes(a, b - a)
                for index, (a, b) in enumerate(pieces)
            ),
            return_exceptions=True,  # none goes on behind the back of whoever comes next
        )
        for failure in ended:
            if isinstance(failure, BaseException):
                raise failure
        for index, (a, b) in enumerate(pieces):
            self.data[a:b] = (bytes([step.byte]) if index % 3 else b"\0") * (b - a)

    async def check(self) -> None:
        assert self.image.size == len(self.data)
        if self.data:
            assert await self.image.read(0, len(self.data)) == self.data
        prefix = self.image.object_prefix + "."
        names = await object_names(self.ioctx)
        present = {int(name.removeprefix(prefix), 16) for name in names if name.startswith(prefix)}
        assert all(number < self.image.object_count for number in present)
        if not self.image.state.features & cls_rbd.Feature.OBJECT_MAP:
            return
        oid = f"rbd_object_map.{self.image.id}"
        stored = await read_call(self.ioctx, oid, cls_rbd.OBJECT_MAP_LOAD, None)
        assert stored.count == self.image.object_count
        marked = {number for number in range(stored.count) if stored[number]}
        assert present <= marked
        if self.exact_map:
            assert present == marked
        if self.image.object_map.states is not None:
            assert self.image.object_map.states == stored


async def play(ioctx: IoCtx, layout: dict[str, Any], size: int, steps: list[Step]) -> None:
    await rbd.create(ioctx, "a", size, **layout)
    model = Model(ioctx, await Image.open(ioctx, "a"))
    try:
        for step in steps:
            await model.step(step)
        await model.check()
    finally:
        await model.image.close()
        await rbd.remove(ioctx, "a")
    assert not [name for name in await object_names(ioctx) if model.image.id in name]


def test_against_a_bytearray() -> None:
    """One store for all examples."""
    with store_directory() as directory, asyncio.Runner() as runner:
        opened = open_pool(directory)
        ioctx = runner.run(opened.__aenter__())

        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
        @given(LAYOUTS, st.integers(0, SIZE_MAX), STEPS)
        def run(layout: dict[str, Any], size: int, steps: list[Step]) -> None:
            runner.run(play(ioctx, layout, size, steps))

        try:
            run()
        finally:
            runner.run(opened.__aexit__(None, None, None))


CRASHING = st.lists(
    st.builds(
        Step,
        st.sampled_from(("write", "zero", "discard", "resize", "together", "together")),
        st.integers(0, SIZE_MAX),
        st.integers(1, 20_000),
        st.integers(1, 255),
    ),
    min_size=1,
    max_size=8,
)


async def crash(ioctx: IoCtx, size: int, steps: list[Step], at: int, mode: str) -> None:
    """Die at OSD operation number `at`; whoever comes next must find all that was acknowledged, by a map or without."""
    await rbd.create(ioctx, "a", size, order=12)
    faulty: Any = FaultyIoCtx(ioctx, at, mode)
    doubtful = Step("", 0, 0, 0)
    model = None
    try:
        model = Model(ioctx, await Image.open(faulty, "a"))
        for doubtful in steps:
            await model.step(doubtful)
    except Died:
        pass
    except Error:
        assert mode == "unknown"
    acknowledged = bytes(model.data) if model is not None else bytes(size)
    await ioctx.aio_flush()  # what was sent before it died arrives
    lock._live_cookies.clear()  # a new process begins
    start, end = doubtful.offset, doubtful.offset + doubtful.length
    for read_only in (True, False):
        async with await Image.open(ioctx, "a", read_only=read_only) as image:
            shortest = min(image.size, len(acknowledged))
            if doubtful.kind == "resize":
                shortest = min(shortest, (doubtful.offset + doubtful.length) % SIZE_MAX)
                start = end = 0
            if not read_only:
                await image.ensure_lock()
            content = await image.read(0, shortest) if shortest else b""
            expected = acknowledged[:shortest]
            assert content[:start] == expected[:start]
            assert content[end:] == expected[end:]
            holes, position = set(), 0
            for length, data in await image.block_status(0, image.size) if image.size else ():
                if not data:
                    holes |= set(range(position // 4096, (position + length) // 4096))
                position += length
            prefix = image.object_prefix + "."
            names = await object_names(ioctx)
            assert not holes & {int(name.removeprefix(prefix), 16) for name in names if name.startswith(prefix)}


def test_a_crash_never_leaves_data_that_the_map_denies() -> None:
    """The worst that an object map can do: what it calls absent reads as zeros."""
    with store_directory() as directory, asyncio.Runner() as runner:
        opened = open_pool(directory)
        ioctx = runner.run(opened.__aenter__())

        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.integers(0, SIZE_MAX), CRASHING, st.integers(15, 90), st.sampled_from(("die", "die after", "unknown"))
        )
        def run(size: int, steps: list[Step], at: int, mode: str) -> None:
            async def once() -> None:
                try:
                    await crash(ioctx, size, steps, at, mode)
                finally:
                    lock._live_cookies.clear()
                    await rbd.remove(ioctx, "a")

            runner.run(once())

        try:
            run()
        finally:
            runner.run(opened.__aexit__(None, None, None))
