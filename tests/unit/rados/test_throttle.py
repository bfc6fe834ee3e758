"""Throttle and timer wheel."""

from __future__ import annotations

import asyncio
import random

import pytest

from cove.rados import InvalidArgument, Overloaded, TimedOut
from cove.rados.throttle import Throttle, TimerWheel

from .fake import eventually, settle


def test_takes_up_to_both_limits() -> None:
    throttle = Throttle(2, 100)
    assert throttle.try_take(60)
    assert not throttle.try_take(41)
    assert throttle.try_take(40)
    assert not throttle.try_take(0)
    throttle.put(60)
    assert throttle.try_take(1)


def test_an_oversized_operation_goes_alone() -> None:
    throttle = Throttle(10, 100)
    assert throttle.try_take(1)
    assert not throttle.try_take(1000)
    throttle.put(1)
    assert throttle.try_take(1000)
    assert not throttle.try_take(1)
    throttle.put(1000)
    assert (throttle.ops, throttle.bytes) == (0, 0)


def test_first_come_first_served_even_if_a_later_one_would_fit() -> None:
    throttle = Throttle(10, 100)
    order: list[str] = []
    assert throttle.try_take(90)
    throttle.wait(50, lambda: order.append("large"))
    assert not throttle.try_take(5), "must not overtake"
    throttle.wait(5, lambda: order.append("small"))
    throttle.put(90)
    assert order == ["large", "small"]
    assert (throttle.ops, throttle.bytes, throttle.waiting) == (2, 55, 0)


def test_a_cancelled_waiter_lets_those_behind_it_go() -> None:
    throttle = Throttle(10, 100)
    order: list[str] = []
    assert throttle.try_take(90)
    large = throttle.wait(50, lambda: order.append("large"))
    throttle.wait(5, lambda: order.append("small"))
    throttle.cancel(large)
    assert order == ["small"]
    assert (throttle.ops, throttle.bytes, throttle.waiting) == (2, 95, 0)


def test_a_granted_callback_may_give_back_and_queue_again() -> None:
    throttle = Throttle(1, 100)
    order: list[int] = []

    def granted(number: int) -> None:
        order.append(number)
        if number < 3:
            assert not throttle.try_take(1)
            throttle.wait(1, lambda: granted(number + 1))
        throttle.put(1)

    assert throttle.try_take(1)
    throttle.wait(1, lambda: granted(0))
    throttle.put(1)
    assert order == [0, 1, 2, 3]
    assert throttle.ops == 0


def test_the_queue_is_bounded() -> None:
    throttle = Throttle(1, 100, waiters_max=1)
    assert throttle.try_take(1)
    throttle.wait(1, lambda: None)
    with pytest.raises(Overloaded):
        throttle.wait(1, lambda: None)


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (1, 1, 0)])
def test_limits_must_be_positive(arguments: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match="at least 1"):
        Throttle(*arguments)


async def test_take_waits_times_out_and_leaks_nothing() -> None:
    throttle = Throttle(1, 100)
    await throttle.take(10, 1)
    with pytest.raises(TimedOut):
        await throttle.take(10, 0.01)
    waiting = asyncio.ensure_future(throttle.take(10, 5))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (throttle.ops, throttle.waiting) == (1, 0)
    throttle.put(10)
    await throttle.take(10, 1)
    throttle.put(10)
    assert (throttle.ops, throttle.bytes) == (0, 0)


async def test_cancelled_in_the_moment_of_the_grant() -> None:
    throttle = Throttle(1, 100)
    await throttle.take(1, 1)
    waiting = asyncio.ensure_future(throttle.take(1, 5))
    await settle()
    throttle.put(1)  # granted, but the task has not run yet
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert throttle.ops == 0


class Item:
    def __init__(self, fired: list[Item]) -> None:
        self.wheel_slot = -1
        self.fired = fired
        self.at = 0.0

    def expire(self) -> None:
        self.at = asyncio.get_running_loop().time()
        self.fired.append(self)


async def test_wheel_fires_in_order_never_early_and_not_what_was_taken_off() -> None:
    wheel = TimerWheel(tick_s=0.005)
    fired: list[Item] = []
    now = asyncio.get_running_loop().time()
    items = [Item(fired) for _ in range(8)]
    for number in random.Random(7).sample(range(8), 8):
        wheel.add(items[number], 0.01 * (number + 1))
    wheel.discard(items[3])
    await eventually(lambda: len(fired) == 7)
    assert fired == [item for item in items if item is not items[3]]
    for number, item in enumerate(items):
        if number != 3:
            assert item.at >= now + 0.01 * (number + 1)
    assert len(wheel) == 0
    assert wheel._timer is None


async def test_wheel_with_nothing_left_stops_its_timer() -> None:
    wheel = TimerWheel(tick_s=0.001)
    fired: list[Item] = []
    items = [Item(fired) for _ in range(100)]
    for item in items:
        wheel.add(item, 0.003)
        wheel.discard(item)
    await eventually(lambda: wheel._timer is None)
    assert not fired
    wheel.add(items[0], 0.001)
    await eventually(lambda: fired)
    wheel.add(items[1], 50)
    wheel.close()
    assert len(wheel) == 0


async def test_an_expiry_may_arm_the_next() -> None:
    wheel = TimerWheel(tick_s=0.001)
    fired: list[Item] = []
    second = Item(fired)

    class First(Item):
        def expire(self) -> None:
            super().expire()
            wheel.add(second, 0.002)

    first = First(fired)
    wheel.add(first, 0.002)
    await eventually(lambda: len(fired) == 2)
    assert fired == [first, second]
