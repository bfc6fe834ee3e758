"""Fixtures: a scripted cluster whose OSDs answer at once (`cluster`), or only when told to (`held`)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .fake import FakeCluster, running_cluster


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with running_cluster() as running:
        yield running


@pytest.fixture
async def held() -> AsyncIterator[FakeCluster]:
    async with running_cluster(auto=False) as running:
        yield running
