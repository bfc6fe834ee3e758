"""When a network is tried again."""

from __future__ import annotations

import itertools

from cove.dhcp.resync import DELAY_FIRST_S, DELAY_MAX_S, QUIET_S, ResyncSchedule


def delays(schedule: ResyncSchedule, key: str, count: int) -> list[float]:
    """Ask again as soon as each attempt was made, so often."""
    now, result = 0.0, []
    for _ in range(count):
        schedule.want(key, now)
        wait_s = schedule.wait_s(now)
        assert wait_s is not None
        result.append(wait_s)
        now += wait_s
        assert key in schedule.take(now)
    return result


def test_each_failure_in_a_row_waits_twice_as_long_up_to_a_limit():
    waits = delays(ResyncSchedule(), "a", 12)
    assert waits[:4] == [DELAY_FIRST_S, 2 * DELAY_FIRST_S, 4 * DELAY_FIRST_S, 8 * DELAY_FIRST_S]
    assert waits[-1] == DELAY_MAX_S
    assert all(later >= earlier for earlier, later in itertools.pairwise(waits))


def test_one_network_that_keeps_failing_does_not_delay_another():
    schedule = ResyncSchedule()
    now = sum(delays(schedule, "a", 12))
    schedule.want("a", now)
    schedule.want("b", now)
    assert schedule.wait_s(now) == DELAY_FIRST_S
    assert schedule.take(now + DELAY_FIRST_S) == ["b"]


def test_after_a_quiet_time_it_is_quick_again_and_forgotten():
    schedule = ResyncSchedule()
    delays(schedule, "a", 12)
    later = 10_000.0 + DELAY_MAX_S + QUIET_S
    schedule.want("a", later)
    assert schedule.wait_s(later) == DELAY_FIRST_S
    schedule.take(later + DELAY_FIRST_S)
    schedule.take(later + 1000)
    assert schedule._last == {}


def test_asking_twice_is_asking_once_and_everything_comes_first():
    schedule = ResyncSchedule()
    schedule.want("a", 0.0)
    schedule.want("a", 0.4)
    assert schedule.wait_s(0.4) == DELAY_FIRST_S - 0.4
    schedule.want(None, 0.4, at_once=True)
    assert schedule.wait_s(0.4) == 0.0
    assert schedule.take(1.0) == [None, "a"]
    assert schedule.wait_s(1.0) is None
    assert schedule.take(1.0) == []
