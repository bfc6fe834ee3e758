"""Fixtures of the integration tests: they need root, and clean up after themselves, also on failure."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cove_instance import CoveInstance


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if "integration" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def guest_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro guest, built once for all tests."""
    from cove.compute.guest import build_guest

    directory = tmp_path_factory.mktemp("guest") / "guest"
    asyncio.run(build_guest(directory, progress=lambda _text: None))
    return directory


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that unprivileged processes (dnsmasq, QEMU) can enter; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="cove-test-", dir="/var/tmp", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def cove(open_directory: Path) -> Iterator[CoveInstance]:
    """A running Cove without a guest."""
    instance = CoveInstance(open_directory)
    try:
        instance.up()
        yield instance
    finally:
        instance.close()


@pytest.fixture
def cove_with_guest(open_directory: Path, guest_directory: Path) -> Iterator[CoveInstance]:
    """A running Cove that can boot the micro guest."""
    instance = CoveInstance(open_directory, guest_directory)
    try:
        instance.up()
        yield instance
    finally:
        instance.close()
