"""One server to a run directory: a pid file that is locked for as long as the server lives."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from ..errors import CoveError

ACQUIRE_TIMEOUT_S = 0.5
HOLDER_TIMEOUT_S = 0.5


class PidFile:
    """Holds the lock from `acquire` until `release` or the end of the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        """Whether the lock is ours."""
        return self._fd >= 0

    def acquire(self) -> None:
        """Lock the file and write our pid. Raises CoveError if another server has it."""
        deadline = time.monotonic() + ACQUIRE_TIMEOUT_S
        while True:
            # 0600: a lock takes no more than a descriptor, and nobody else is to keep a server from starting
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # for a moment it may be someone who only looks (`holder`)
                other = os.pread(fd, 32, 0).decode(errors="replace").strip()
                os.close(fd)
                if time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
                raise CoveError(
                    f"another server ({f'pid {other}' if other else 'just starting'}) uses {self.path.parent}"
                ) from None
            if _is_at(fd, self.path):
                break
            os.close(fd)  # its last holder has removed it meanwhile: a lock on it would keep nobody out
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Remove the file and let go of the lock."""
        if self._fd >= 0:
            if _is_at(self._fd, self.path):
                self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


def holder(path: Path) -> int | None:
    """Pid of the process that holds the lock; None if nobody does."""
    deadline = time.monotonic() + HOLDER_TIMEOUT_S
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.pread(fd, 32, 0).decode(errors="replace").strip()
            if text.isdigit():
                return int(text)
        else:
            return None
        finally:
            os.close(fd)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)  # locked, and about to be written
