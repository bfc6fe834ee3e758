from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cove.identity import passwords
from tests.unit.identity.lab import Lab, lab


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost nothing: these tests make many, and one tests what they cost."""
    monkeypatch.setattr(passwords, "ARGON2_MEMORY_KIB", 16)
    monkeypatch.setattr(passwords, "ARGON2_PASSES", 1)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab(tmp_path) as made:
        yield made
