"""Which event loop a test runs on: asyncio's own, or what its parameter `loop_kind` says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import uvloop

LOOPS = {"asyncio": asyncio.DefaultEventLoopPolicy, "uvloop": uvloop.EventLoopPolicy}


@pytest.fixture
def loop_kind() -> str:
    return "asyncio"


@pytest.fixture
def event_loop_policy(loop_kind: str) -> Any:
    return LOOPS[loop_kind]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings('ignore:Overriding the "event_loop_policy" fixture'))
