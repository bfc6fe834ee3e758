"""The public test suite for the Networking API, whole, on both engines: nothing fails that fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tempest_run import cloud_on, describe, failures, run

PASSED_MIN = 520
"""What passed when this was written was more; a suite that skips itself must not look like success."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_public_suite(engine: str, peers: Path, tmp_path: Path) -> None:
    with cloud_on(engine, tmp_path / "cloud") as cloud:
        results = run(cloud, tmp_path / "tempest")
        failed = failures(results)
        said = "\n\n".join(f"{result.id}\n{result.text[-1500:]}" for result in failed)
        assert not failed, f"{len(failed)} failed:\n{said}"
        passed = sum(result.outcome == "passed" for result in results)
        assert passed >= PASSED_MIN, describe(results, 0)
        assert cloud.errors() == []
