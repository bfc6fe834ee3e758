"""Cancellations that are not lost, and tasks that end though one was."""

from __future__ import annotations

import ast
import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from cove import tasks
from cove.linux import links

SOURCE = Path(__file__).resolve().parents[2] / "src" / "cove"


async def test_a_task_that_missed_its_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.01)
    missed = 0

    async def deaf() -> None:
        nonlocal missed
        while missed < 3:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            missed += 1

    async def failing() -> None:
        raise ValueError("told elsewhere")

    made = [asyncio.create_task(work()) for work in (deaf, failing)]
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.end([*made, None]), 10)
    assert missed == 3
    assert all(task.done() for task in made)
    assert made[1].exception() is not None
    await tasks.end([])


async def test_a_cancellation_in_the_turn_in_which_a_request_ends_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio.wait_for of Python 3.11 would return the answer, and the task go on."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()

    def run_in_executor(*_: Any) -> asyncio.Future[None]:
        return answer

    monkeypatch.setattr(loop, "run_in_executor", run_in_executor)
    task = asyncio.create_task(links.exists("br0"))
    await asyncio.sleep(0)
    answer.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("package", ["compute", "dhcp", "linux"])
def test_loops_that_must_end_do_not_use_what_loses_cancellations(package: str) -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in sorted((SOURCE / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "wait_for"
    ]
    assert found == []
