"""The engine's file as the kernel has mapped it into this process: how much of it stays mapped, and reading ahead.

LMDB reads through a mapping of the whole file, which the kernel is told is read at random. That is right for small
reads, and leaves two things to do:

- a page once looked at counts as this process's memory (RssFile) until somebody says that it need not: `trim`;
- a large object that is not in the page cache would be fetched one page of 4 KiB after the other: `will_need`.

Both are advice, which changes no content. Where there is no /proc, nothing is advised.

Source: Linux' madvise(2), proc(5).
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

MAPPED_BYTES_MAX = 32 << 20
"""So much of the file may stay mapped. What is taken out stays in the page cache: mapping it again is quick."""
SLOW_S = 50e-6
"""A chunk that took longer to look up was not in the page cache, most likely."""


class _Buffer(ctypes.Structure):
    """Python's Py_buffer."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address_of(view: memoryview) -> int:
    """Where in memory the bytes of a view are."""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    try:
        return int(buffer.buf or 0)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


class Mapping:
    """Advice about one mapped file. Methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """`path`: a file that is mapped by now."""
        self._start, self._end = _find(path)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._statm = -1
        if self._end:
            try:
                self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                log.info("mapping_not_watched", error=str(error))
        self._others = self._resident()

    def close(self) -> None:
        """No more advice: the file is about to be unmapped."""
        self._start = self._end = 0
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1

    def _resident(self) -> int:
        """Bytes of files, this one and all others, that are in this process's memory."""
        if self._statm < 0:
            return 0
        return int(os.pread(self._statm, 256, 0).split()[2]) * mmap.PAGESIZE

    def trim(self) -> bool:
        """Unmap the pages if they have become too many."""
        if self._statm < 0 or self._resident() - self._others <= MAPPED_BYTES_MAX:
            return False
        self._advise(self._start, self._end - self._start, mmap.MADV_DONTNEED)
        return True

    def will_need(self, address: int, length: int) -> None:
        """Have the file's bytes from `address` on fetched; returns before they are there."""
        start = address & -mmap.PAGESIZE
        end = min(address + length, self._end)
        if self._start <= start < end:
            self._advise(start, end - start, mmap.MADV_WILLNEED)

    def _advise(self, start: int, length: int, advice: int) -> None:
        if self._libc.madvise(start, length, advice):
            log.debug("madvise_failed", advice=advice, error=os.strerror(ctypes.get_errno()))


def _find(path: Path) -> tuple[int, int]:
    """First and last address of the mapping of a file; zeros if there is none to be found."""
    wanted = os.path.realpath(path)
    try:
        maps = Path("/proc/self/maps").read_bytes()
    except OSError:
        return 0, 0
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and os.fsdecode(fields[5]) == wanted:
            start, _, end = fields[0].partition(b"-")
            return int(start, 16), int(end, 16)
    return 0, 0
