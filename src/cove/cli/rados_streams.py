"""Files, pipes and terminals at the ends of a transfer: whole counts of bytes at a time.

A pipe may keep us waiting for as long as it likes, and Ctrl-C must end the command even so: hence threads that nobody
waits for (rados/dump/threads.py), and standard input and output without Python's buffers, whose locks a waiting thread
would hold.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import CoveError

STANDARD = "-"


class Unbuffered:
    """As much of a binary file as transfers need, on a descriptor that stays open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def read1(self, count: int) -> bytes:
        """At most so many bytes; none at the end."""
        return os.read(self._descriptor, count)

    def read(self, count: int) -> bytes:
        """So many bytes; fewer at the end."""
        pieces: list[bytes] = []
        while count and (piece := os.read(self._descriptor, count)):
            pieces.append(piece)
            count -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """All of it."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""

    def seekable(self) -> bool:
        """Whether it is a file."""
        return stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go on elsewhere."""
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        """Where it is."""
        return self.seek(0, os.SEEK_CUR)


@contextmanager
def source_of(path: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file to read, or standard input; with its size in bytes, if it has one. Raises OSError."""
    if path == STANDARD:
        source = _unbuffered(sys.stdin.buffer)
        yield source, _size(source)
        return
    with Path(path).open("rb") as file:
        yield file, _size(file)


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Errors of a file, or of standard output, as an error that says so. Raises CoveError."""
    try:
        yield
    except BrokenPipeError:  # whoever reads has had enough: that needs no words
        raise
    except OSError as problem:
        name = "standard output" if path == STANDARD else path
        text = f"{name} can't be written: {problem.strerror}"
        better = CoveError(text + (": free some space" if problem.errno == errno.ENOSPC else ""))
        for note in getattr(problem, "__notes__", ()):
            better.add_note(note)
        raise better from None


def standard_output() -> BinaryIO:
    """Where programs get bytes from us."""
    sys.stdout.flush()
    return _unbuffered(sys.stdout.buffer)


def _unbuffered(file: BinaryIO) -> BinaryIO:
    try:
        return cast("BinaryIO", Unbuffered(file.fileno()))
    except OSError:  # it has no descriptor
        return file


def _size(file: BinaryIO) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except OSError:  # it has no descriptor
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
