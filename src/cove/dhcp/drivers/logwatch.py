"""Files that grow, followed without polling: one inotify descriptor for all, a callback with the new bytes of each.

A followed file is rotated by its reader when it has grown too large, with the writer's help, so that no line is lost.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

READ_SIZE = 256 * 1024
INSTANCES_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES_SPARE = 64
_IN_MODIFY, _IN_NONBLOCK, _IN_CLOEXEC, _IN_Q_OVERFLOW = 0x2, 0o4000, 0o2000000, 0x4000
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


def ensure_instances(count: int, *, limit_file: Path = INSTANCES_LIMIT) -> bool:
    """Raise the kernel's limit of inotify instances (128 a user) if `count` more would come near it.

    Every dnsmasq has one. Whether the limit was changed; a refusal is logged only: dnsmasq will say what is wrong.
    """
    try:
        limit = int(limit_file.read_text())
        wanted = 2 * count + INSTANCES_SPARE
        if limit >= wanted:
            return False
        raised = max(1024, 2 * wanted)
        limit_file.write_text(str(raised))
    except (OSError, ValueError) as error:
        log.warning("cannot raise the limit of inotify instances", file=str(limit_file), error=str(error))
        return False
    log.info("limit of inotify instances raised", file=str(limit_file), before=limit, now=raised)
    return True


class LogWatch:
    """The inotify descriptor, on the running event loop. Close it when done."""

    def __init__(self) -> None:
        self._descriptor = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"inotify: {os.strerror(code)} (see /proc/sys/fs/inotify/max_user_instances)")
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._readable)

    def add(self, path: Path, callback: Callable[[], None]) -> int:
        """Have `callback` called when the file was written to; returns what `remove` takes. Raises OSError."""
        watch = _libc.inotify_add_watch(self._descriptor, os.fsencode(path), ctypes.c_uint32(_IN_MODIFY))
        if watch < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"inotify on {path}: {os.strerror(code)}")
        self._callbacks[watch] = callback
        return int(watch)

    def remove(self, watch: int) -> None:
        """End a watch."""
        if self._callbacks.pop(watch, None) is not None and self._descriptor >= 0:
            _libc.inotify_rm_watch(self._descriptor, watch)

    def close(self) -> None:
        """End all watches."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._callbacks.clear()

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, 16384)
        except BlockingIOError:
            return
        watches: set[int] = set()
        offset = 0
        while offset + _EVENT.size <= len(data):
            watch, mask, _cookie, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            if mask & _IN_Q_OVERFLOW:
                watches.update(self._callbacks)
            watches.add(watch)
        for watch in watches:
            callback = self._callbacks.get(watch)
            if callback is None:
                continue
            try:
                callback()
            except Exception:
                log.exception("following a log failed")


class LogFollower:
    """Reads what is appended to a file and hands it on; `poll()` may also be called at any time."""

    def __init__(self, watch: LogWatch, path: Path, callback: Callable[[bytes], None], *, from_end: bool) -> None:
        """Opens the file, which must exist. Raises OSError."""
        self._watch = watch
        self._path = path
        self._callback = callback
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._previous: tuple[int, int] | None = None
        self._size = os.lseek(self._descriptor, 0, os.SEEK_END if from_end else os.SEEK_SET)
        self._handle = watch.add(path, self.poll)

    @property
    def size(self) -> int:
        """How much of the present file has been read (bytes)."""
        return self._size

    @property
    def is_turning(self) -> bool:
        """Whether the writer has not turned to the new file yet."""
        return self._previous is not None

    def poll(self) -> None:
        """Hand on everything that is there now."""
        if self._previous is not None:
            turned = os.fstat(self._descriptor).st_size > 0
            self._drain(self._previous[0])
            if not turned:
                return
            # The writer is at the new file: nothing is added to the old one any more.
            self._leave_previous()
        self._drain(self._descriptor)

    def reopen(self) -> None:
        """The path names a new file, which the writer turns to soon; the old one is read to its end first."""
        if self._previous is not None:
            return
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        handle = self._watch.add(self._path, self.poll)
        self._previous = (self._descriptor, self._handle)
        self._descriptor, self._handle, self._size = descriptor, handle, 0

    def close(self) -> None:
        """Stop following."""
        self._leave_previous()
        if self._descriptor >= 0:
            self._watch.remove(self._handle)
            os.close(self._descriptor)
            self._descriptor = -1

    def _leave_previous(self) -> None:
        if self._previous is not None:
            descriptor, handle = self._previous
            self._previous = None
            self._watch.remove(handle)
            os.close(descriptor)

    def _drain(self, descriptor: int) -> None:
        while self._is_open(descriptor) and (data := os.read(descriptor, READ_SIZE)):
            if descriptor == self._descriptor:
                self._size += len(data)
            self._callback(data)  # which may call reopen() or close()

    def _is_open(self, descriptor: int) -> bool:
        return descriptor >= 0 and (
            descriptor == self._descriptor or (self._previous is not None and descriptor == self._previous[0])
        )
