from __future__ import annotations

import asyncio

import pytest

from cove import timeline as module
from cove.timeline import Timeline


async def test_steps_in_order_with_detail() -> None:
    timeline = Timeline()
    timeline.mark("p", "requested")
    timeline.mark("p", "committed", revision=3)
    assert [step.name for step in timeline.steps("p")] == ["requested", "committed"]
    assert timeline.steps("p")[1].detail == {"revision": 3}
    assert timeline.steps("other") == []


async def test_wait_returns_what_has_happened_and_what_will() -> None:
    timeline = Timeline()
    timeline.mark("p", "ready")
    assert (await timeline.wait("p", "ready", 1)).name == "ready"
    waiting = asyncio.ensure_future(timeline.wait("p", "gone", 5))
    await asyncio.sleep(0)
    timeline.mark("p", "other")
    timeline.mark("p", "gone")
    assert (await waiting).name == "gone"


async def test_wait_times_out_and_forgets_its_waiter() -> None:
    timeline = Timeline()
    with pytest.raises(TimeoutError):
        await timeline.wait("p", "never", 0.01)
    assert timeline._waiters == {}


async def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OBJECTS_MAX", 3)
    monkeypatch.setattr(module, "STEPS_PER_OBJECT_MAX", 4)
    timeline = Timeline()
    for number in range(10):
        timeline.mark(f"o{number}", "x")
    assert timeline.steps("o6") == []
    assert timeline.steps("o9")
    for number in range(10):
        timeline.mark("o9", f"s{number}")
    assert [step.name for step in timeline.steps("o9")] == ["x", "s7", "s8", "s9"]
