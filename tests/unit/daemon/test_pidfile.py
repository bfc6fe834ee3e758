from __future__ import annotations

import fcntl
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


def test_nobody_else_can_lock_it(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.touch(0o644)  # of an older version
    mine = PidFile(path)
    mine.acquire()
    assert path.stat().st_mode & 0o777 == 0o600
    mine.release()


def test_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p"
    flock = fcntl.flock
    removed: list[int] = []

    def remove_first(fd: int, operation: int) -> None:
        if not removed:
            removed.append(path.stat().st_ino)
            path.unlink()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    mine = PidFile(path)
    mine.acquire()
    monkeypatch.undo()
    assert holder(path) == os.getpid()
    mine.release()


def test_release_leaves_the_file_of_another_alone(tmp_path: Path) -> None:
    path = tmp_path / "p"
    mine = PidFile(path)
    mine.acquire()
    path.unlink()
    path.write_text("another's")
    mine.release()
    assert path.read_text() == "another's"


def test_what_a_dead_server_left_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_text("4194304\n")
    assert holder(path) is None
    mine = PidFile(path)
    mine.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    mine.release()
