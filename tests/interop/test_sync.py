"""The synchronous facade does what Ceph's own Python module does: the same programs, the same output and exceptions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .ceph_cluster import CephCluster
from .peer import DEBIAN_PYTHON
from .sync_programs import PROGRAMS

POOL = "compared"
PROGRAMS_TIMEOUT_S = 90.0


def run_programs(cluster: CephCluster, python: str, module: str) -> dict[str, Any]:
    """What each program did, in a fresh pool."""
    cluster.create_pool(POOL)
    try:
        script = str(Path(__file__).with_name("sync_programs.py"))
        done = subprocess.run(
            [python, script, module, str(cluster.conf_path), POOL],
            capture_output=True,
            text=True,
            timeout=PROGRAMS_TIMEOUT_S,
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 0, done.stderr
        return {name: rest for name, *rest in lines}
    finally:
        cluster.peer().mon("osd pool delete", pool=POOL, pool2=POOL, yes_i_really_really_mean_it=True)


@pytest.fixture(scope="module")
def theirs(one_osd: CephCluster) -> dict[str, Any]:
    """What Ceph's module does."""
    return run_programs(one_osd, DEBIAN_PYTHON, "rados")


@pytest.fixture(scope="module")
def ours(theirs: dict[str, Any], one_osd: CephCluster) -> dict[str, Any]:
    """What the facade does."""
    return run_programs(one_osd, sys.executable, "cove.rados.sync")


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_as_ceph(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    shown, raised = ours[name]
    their_shown, their_raised = theirs[name]
    assert shown == their_shown
    assert raised == their_raised
