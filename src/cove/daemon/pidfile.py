"""One server to a run directory: a pid file that is locked for as long as the server lives."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from ..errors import CoveError

ACQUIRE_TIMEOUT_S = 0.5


class PidFile:
    """Holds the lock from `acquire` until `release` or the end of the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def acquire(self) -> None:
        """Lock the file and write our pid. Raises CoveError if another server has it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + ACQUIRE_TIMEOUT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:  # for a moment it may be someone who only looks (`holder`)
                if time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
                other = os.pread(fd, 32, 0).decode(errors="replace").strip()
                os.close(fd)
                raise CoveError(f"another server (pid {other}) uses {self.path.parent}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Remove the file and let go of the lock."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def holder(path: Path) -> int | None:
    """Pid of the process that holds the lock; None if nobody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(fd, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(fd)
