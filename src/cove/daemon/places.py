"""The server's two directories: made with the right modes, and emptied without touching what is not Cove's.

Both are settings, so either may be a directory that others use too (`/run`, a home directory): nothing changes its mode
but what was made here, and nothing is deleted but what Cove is known to make.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ..config import Settings
from ..errors import CoveError

MODE = 0o755  # may be searched by all: dnsmasq and QEMU run unprivileged
STATE_NAMES = frozenset(
    {"cove.sqlite", "cove.sqlite-wal", "cove.sqlite-shm", "store", "dhcp", "guest", "instances", "imports", "log"}
    | {"users.lock"}
    | {f"{user}-password{ending}" for user in ("admin", "demo") for ending in ("", ".new")}
)
RUN_NAMES = frozenset({"cove.pid", "endpoint.json", "token", "clouds.yaml", "instances", "imports"})
STATE_MARKS = ("cove.sqlite", "store/data.mdb")
"""One of these is in every state directory of Cove's."""


def make_directories(settings: Settings) -> None:
    """Make what is missing of the state and the run directory. Raises CoveError."""
    for setting in ("state_dir", "run_dir"):
        path: Path = getattr(settings, setting)
        try:
            missing = [directory for directory in (path, *path.parents) if not directory.exists()]
            path.mkdir(parents=True, exist_ok=True)
            for directory in missing:
                directory.chmod(MODE)  # whatever the umask
        except OSError as error:
            raise CoveError(f"{setting} {path}: {error.strerror}: choose another (COVE_{setting.upper()})") from None
        mode = path.stat().st_mode & 0o7777
        # Whoever may write there may put a file of their own in the place of a token or a password.
        if mode & 0o002 and not mode & 0o1000:
            raise CoveError(
                f"{setting} {path}: anybody may write to it (mode {mode:04o}): chmod o-w, or choose another"
            )


def holds_state(path: Path) -> bool:
    """Whether it is a state directory of Cove's."""
    return any((path / mark).exists() for mark in STATE_MARKS)


def remove_ours(path: Path, names: frozenset[str]) -> list[str]:
    """Delete Cove's entries of a directory, and then the directory if it is empty; what is left in it."""
    try:
        entries = sorted(os.listdir(path))
    except FileNotFoundError:
        return []
    left = []
    for entry in entries:
        # hidden ones are files and directories on their way to a name of Cove's, left by a kill
        ours = entry in names or any(entry.startswith(f".{name}") for name in names)
        target = path / entry
        if not ours:
            left.append(entry)
        elif target.is_dir() and not target.is_symlink():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
    if not left:
        with contextlib.suppress(FileNotFoundError):  # the server and `cove down` both clear the run directory
            path.rmdir()
    return left
