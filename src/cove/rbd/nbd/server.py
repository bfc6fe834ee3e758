"""The NBD server: listens on a unix socket or on loopback TCP and serves exports to QEMU and the nbd tools.

The path of a guest's write: session (`session.py`) → backend (`backend.py`) → image → objects. No TLS, hence no
address but loopback.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import structlog

from .backend import Backend
from .exports import Exports
from .session import Session

log = structlog.get_logger(__name__)

CLIENTS_MAX = 64
UNIX_PATH_BYTES_MAX = 107
SHUTDOWN_TIMEOUT_S = 10.0


class NbdServer:
    """Serves `exports` by name, each opened with `open_backend(name)` for its first client.

    A writable export has one client at a time; a read-only one has as many as come. Listen with `listen_unix` or
    `listen_tcp` (or both), end with `close`.
    """

    def __init__(
        self,
        open_backend: Callable[[str], Awaitable[Backend]],
        exports: Sequence[str],
        *,
        read_only: bool = False,
        description: str = "",
    ) -> None:
        if not exports:
            raise ValueError("exports: at least one name is needed")
        self.exports = Exports(exports, open_backend, read_only=read_only)
        self.read_only = read_only
        self.description = description
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._paths: list[tuple[Path, int]] = []
        self._closing = False

    async def listen_unix(self, path: Path, *, uid: int = -1, gid: int = -1) -> None:
        """Listen on a unix socket of mode 0600, owned by `uid`:`gid` (-1: ours).

        A socket that nobody listens on any more is replaced. Raises ValueError (path too long) or OSError.
        """
        sock = bind_unix(path, uid, gid)
        try:
            server = await asyncio.get_running_loop().create_unix_server(lambda: Session(self), sock=sock)
        except BaseException:
            sock.close()
            path.unlink(missing_ok=True)
            raise
        self._servers.append(server)
        self._paths.append((path, path.stat().st_ino))
        log.info("nbd_listening", path=str(path), exports=self.exports.names)

    async def listen_tcp(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on a loopback address; returns the port. Raises ValueError for any other address."""
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"host: {host} is not a loopback address, and NBD here has no TLS: use 127.0.0.1 or ::1")
        server = await asyncio.get_running_loop().create_server(lambda: Session(self), host, port)
        self._servers.append(server)
        bound = int(server.sockets[0].getsockname()[1])
        log.info("nbd_listening", host=host, port=bound, exports=self.exports.names)
        return bound

    async def close(self, timeout_s: float = SHUTDOWN_TIMEOUT_S) -> None:
        """Stop listening, finish and answer what is in flight, close all clients and backends."""
        self._closing = True
        for server in self._servers:
            server.close()
        for path, inode in self._paths:
            try:
                if path.stat().st_ino == inode:
                    path.unlink()
            except FileNotFoundError:
                pass
        self._paths.clear()
        await asyncio.gather(*(session.shut_down(timeout_s) for session in list(self._sessions)))
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    # for the sessions -------------------------------------------------------------------------------------------

    def register(self, session: Session) -> bool:
        """A new client; False if there are too many or the server is closing."""
        if self._closing or len(self._sessions) >= CLIENTS_MAX:
            return False
        self._sessions.add(session)
        return True

    def unregister(self, session: Session) -> None:
        """A client is gone."""
        self._sessions.discard(session)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the end of a session; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("nbd_session_end_failed", error=repr(error))


def bind_unix(path: Path, uid: int, gid: int) -> socket.socket:
    """A bound unix socket of mode 0600 and the given owner; nobody can connect before `listen`."""
    if len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
        raise ValueError(f"socket path {path}: longer than {UNIX_PATH_BYTES_MAX} bytes, choose a shorter one")
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        previous = os.umask(0o177)
        try:
            sock.bind(os.fspath(path))
        finally:
            os.umask(previous)
        if uid != -1 or gid != -1:
            os.chown(path, uid, gid, follow_symlinks=False)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"socket path {path}: there is something else already, remove it first")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except FileNotFoundError:
            return
    raise FileExistsError(f"socket path {path}: another server listens on it")
