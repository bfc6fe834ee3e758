from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.network.fakes import Cloud, cloud


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cloud]:
    """A service with one living agent on node1."""
    async with cloud(tmp_path) as made:
        await made.report()
        yield made
