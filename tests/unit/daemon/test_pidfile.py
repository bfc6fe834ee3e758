from __future__ import annotations

import os
from pathlib import Path

import pytest

from cove.daemon import pidfile
from cove.daemon.pidfile import PidFile, holder
from cove.errors import CoveError


def test_holder_is_whoever_has_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "cove.pid"
    assert holder(path) is None
    first = PidFile(path)
    first.acquire()
    assert holder(path) == os.getpid()
    first.release()
    assert holder(path) is None
    assert not path.exists()


def test_only_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pidfile, "ACQUIRE_TIMEOUT_S", 0.02)
    first, second = PidFile(tmp_path / "p"), PidFile(tmp_path / "p")
    first.acquire()
    with pytest.raises(CoveError, match=str(os.getpid())):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_what_a_dead_server_left_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_text("4194304\n")
    assert holder(path) is None
    mine = PidFile(path)
    mine.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    mine.release()
