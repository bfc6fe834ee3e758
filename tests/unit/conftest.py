"""What every unit test finds: logging as a program finds it that uses Cove as a library."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging_as_imported() -> Iterator[None]:
    """The command line configures structlog for itself; the next test must not inherit that."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
