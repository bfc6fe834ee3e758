"""`cove rados` with the embedded store in place of a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cove.cli import rados_transfer
from cove.cli.main import app
from cove.cli.rados_options import Cluster
from cove.messenger import LoopbackNetwork
from cove.rados import LoopbackTransport, Rados
from cove.rados.dump import contents
from cove.store import Store

from .rados_runner import PIECE, Run


@pytest.fixture
def seen() -> list[Cluster]:
    """The options that the commands of a test arrived with."""
    return []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list[Cluster]) -> Run:
    """Runs a command; each starts the store of this test for itself."""

    @asynccontextmanager
    async def connect(cluster: Cluster) -> AsyncIterator[Rados]:
        seen.append(cluster)
        network = LoopbackNetwork()
        store = Store(tmp_path / "store", map_size_bytes=1 << 30)
        await store.start(network)
        try:
            async with Rados(LoopbackTransport(network)) as rados:
                yield rados
        finally:
            await store.stop()

    monkeypatch.setattr(Cluster, "connect", connect)
    monkeypatch.setattr(rados_transfer, "PIECE", PIECE)
    monkeypatch.setattr(contents, "PIECE", PIECE)
    monkeypatch.setattr(contents, "MEMORY_MAX", 4 * PIECE)
    monkeypatch.setattr(contents, "VECTOR_BYTES_MAX", 2 * PIECE)

    def invoke(*words: str, stdin: bytes = b"", ok: bool = True) -> Result:
        result = CliRunner().invoke(app, ["rados", *words], input=stdin)
        assert not ok or result.exit_code == 0, (result.output, result.exception)
        return result

    return invoke
