"""The guest, built once for all tests, and the world around a guest."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cove.compute.guest import GuestFiles, build_guest
from tests.integration.compute.support import FileDisks, Lan, PretendedNetworkApi, remove_tree


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> GuestFiles:
    """The micro guest. COVE_TEST_GUEST_DIR keeps it from one run to the next."""
    directory = os.environ.get("COVE_TEST_GUEST_DIR")
    where = Path(directory) if directory else tmp_path_factory.mktemp("guest") / "guest"
    return asyncio.run(build_guest(where, progress=lambda _: None))


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path that an unprivileged QEMU can search."""
    directory = Path(tempfile.mkdtemp(prefix="cvt-", dir="/tmp"))
    directory.chmod(0o711)
    yield directory
    remove_tree(directory)


@pytest.fixture
async def lan(place: Path) -> AsyncIterator[Lan]:
    lan = Lan(place)
    try:
        await lan.up()
        yield lan
    finally:
        await lan.down()


@pytest.fixture
async def disks(place: Path) -> AsyncIterator[FileDisks]:
    disks = FileDisks(place)
    yield disks
    await disks.close()


@pytest.fixture
def network_api(lan: Lan) -> PretendedNetworkApi:
    return PretendedNetworkApi(lan)
