"""Files that are whole or absent, whatever happens while they are written.

Temporary names start with a dot: programs that watch a directory (dnsmasq's `--dhcp-hostsdir`) ignore those.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_atomic(
    path: Path, data: str | bytes, *, mode: int = 0o600, durable: bool = False, temporary_in: Path | None = None
) -> None:
    """Replace `path` by a file with `data` and `mode` (exactly, whatever the umask), by rename.

    The temporary file is made beside it, or in `temporary_in` (same file system) where the directory is watched.
    With `durable`, file and directory are on stable storage when this returns. Blocking. Raises OSError.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = (temporary_in or path.parent) / f".{path.name}.{os.getpid():x}-{os.urandom(4).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(descriptor, mode)
            view = memoryview(raw)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the directory's entries (creations, renames, removals) durable. Blocking."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ensure_directory(path: Path, *, mode: int = 0o700) -> None:
    """Make the directory (and its parents, 0755) unless it is there, with exactly `mode`. Blocking."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not path.is_dir():
            raise
    if path.stat().st_mode & 0o7777 != mode:
        path.chmod(mode)


def read_text(path: Path) -> str | None:
    """The file's text, or None if there is no such file. Undecodable bytes are replaced. Blocking."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None


def remove(path: Path) -> bool:
    """Remove a file; False if there was none. Blocking."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
