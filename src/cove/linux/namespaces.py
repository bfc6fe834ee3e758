"""Named network namespaces, the same that `ip netns` shows, without a process for each step.

A namespace belongs to a thread, so everything that has to run inside one runs in a thread of its own that ends
afterwards: there is nothing to restore and nothing can leak into other work.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import re
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cove.errors import CoveError

T = TypeVar("T")

NETNS_DIR = Path("/run/netns")
RUN_TIMEOUT_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 4096, 16384, 1 << 20
_MNT_DETACH = 2
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)
_mounting = threading.Lock()


class NamespaceError(CoveError):
    """A namespace does not exist, or its name is not one."""


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def path_of(name: str) -> Path:
    """Where the namespace is mounted. Raises NamespaceError on a name that could not be a file name."""
    if not _NAME.fullmatch(name):
        raise NamespaceError(f"network namespace {name!r}: use letters, digits, '.', '_' and '-'")
    return NETNS_DIR / name


def exists(name: str) -> bool:
    """Whether the namespace is there (a left-over file without a namespace mounted on it does not count)."""
    try:
        return path_of(name).stat().st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def names() -> list[str]:
    """The names of all named network namespaces, sorted."""
    try:
        entries = os.listdir(NETNS_DIR)
    except FileNotFoundError:
        return []
    return sorted(entry for entry in entries if _NAME.fullmatch(entry) and exists(entry))


def create(name: str) -> bool:
    """Make the namespace with its loopback up; False if it was there. Blocking; needs root. Raises OSError."""
    path = path_of(name)
    if exists(name):
        return False
    with _mounting:
        _share_directory()
        path.unlink(missing_ok=True)  # a file without a namespace: what a crash between the two steps leaves
        path.touch(mode=0o444)

    def unshare_and_mount() -> None:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare network namespace")
        _loopback_up()
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        _check(
            _libc.mount(source.encode(), str(path).encode(), b"none", ctypes.c_ulong(_MS_BIND), None),
            f"mount network namespace on {path}",
        )

    try:
        _in_thread(unshare_and_mount)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def remove(name: str) -> bool:
    """Unmount and remove the name; False if there was none. The kernel ends the namespace with its last user."""
    path = path_of(name)
    if not os.path.lexists(path):
        return False
    while exists(name):  # more than one mount may lie on the same name
        _check(_libc.umount2(str(path).encode(), _MNT_DETACH), f"unmount {path}")
    path.unlink(missing_ok=True)
    return True


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


def _share_directory() -> None:
    """Make the directory a shared mount, as `ip netns` does, so that every mount namespace sees the names."""
    NETNS_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    where = str(NETNS_DIR).encode()
    if _libc.mount(b"", where, b"none", ctypes.c_ulong(_MS_SHARED | _MS_REC), None) == 0:
        return
    _check(_libc.mount(where, where, b"none", ctypes.c_ulong(_MS_BIND | _MS_REC), None), f"bind {NETNS_DIR}")
    _check(_libc.mount(b"", where, b"none", ctypes.c_ulong(_MS_SHARED | _MS_REC), None), f"share {NETNS_DIR}")


def _in_thread(function: Callable[[], T]) -> T:
    """Run the function in a new thread that ends with it, and return or raise what it does."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def run_blocking(name: str | None, function: Callable[[], T]) -> T:
    """Run a function inside the namespace (None: this one) and return its result; sockets and processes that it
    makes belong there. Blocking. Raises NamespaceError if there is no such namespace, else what the function raises.
    """
    if name is None:
        return function()
    path = path_of(name)

    def enter_and_run() -> T:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NamespaceError(f"network namespace {name!r} does not exist") from None
        try:
            _check(_libc.setns(descriptor, _CLONE_NEWNET), f"enter network namespace {name}")
        finally:
            os.close(descriptor)
        return function()

    return _in_thread(enter_and_run)


async def run(name: str | None, function: Callable[[], T], *, timeout_s: float = RUN_TIMEOUT_S) -> T:
    """As run_blocking, without blocking the event loop. Raises also TimeoutError (the function then still runs)."""
    async with asyncio.timeout(timeout_s):
        return await asyncio.to_thread(run_blocking, name, function)


def open_socket(name: str | None, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that lives in the namespace; the caller uses it from anywhere. Blocking (about 0.1 ms)."""
    return run_blocking(name, lambda: socket.socket(family, kind, protocol))
