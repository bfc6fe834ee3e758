"""Daemon processes that outlive the program that started them: spawn, find again, watch, stop.

A process is known by its pid *and* its start time (`/proc/<pid>/stat`), which no other process shares; every signal
goes through a pidfd that was opened before that was checked, so that a reused pid is never hit.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from cove.errors import CoveError
from cove.linux import files, namespaces

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 5.0
KILL_TIMEOUT_S = 5.0


class ProcessError(CoveError):
    """A process could not be started, or did not end."""


class ProcessRecord(msgspec.Struct, frozen=True):
    """What a pid file holds: `start_time` is in clock ticks since boot, `argv` the command line."""

    pid: int
    start_time: int
    argv: list[str]


def start_time_of(pid: int) -> int | None:
    """When the process started (clock ticks since boot); None if there is none or only its zombie is left."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may contain anything
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def command_line_of(pid: int) -> list[str] | None:
    """The argv of a process, or None if there is no such process."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return [part.decode(errors="surrogateescape") for part in raw.split(b"\0")[:-1]]


def uid_of(pid: int) -> int | None:
    """The real user id of a process, or None if there is no such process."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None


class Process:
    """A verified daemon: holds a pidfd until `close()`, so its identity cannot change under us."""

    def __init__(self, record: ProcessRecord, pidfd: int) -> None:
        self.record = record
        self._pidfd = pidfd

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.record.pid

    @classmethod
    def open(cls, pid: int, *, argv: Sequence[str] | None = None, start_time: int | None = None) -> Process | None:
        """Take hold of a running process; None if it is gone, or if its argv or start time are not those given."""
        if pid <= 1:
            return None
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:  # a thread's id
                return None
            raise
        found_start, found_argv = start_time_of(pid), command_line_of(pid)
        if (
            found_start is None
            or found_argv is None
            or (start_time is not None and found_start != start_time)
            or (argv is not None and found_argv != list(argv))
        ):
            os.close(pidfd)
            return None
        return cls(ProcessRecord(pid, found_start, found_argv), pidfd)

    def is_alive(self) -> bool:
        """Whether it runs (a zombie does not)."""
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def send_signal(self, number: signal.Signals) -> bool:
        """Signal it; False if it has ended."""
        if self._pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    async def wait(self) -> None:
        """Wait until it has ended, however that came. Cancel it for a time-out."""
        if self._pidfd < 0:
            return
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        watched = os.dup(self._pidfd)  # two may wait at once, and close() must not pull it away from the loop
        loop.add_reader(watched, _resolve, ended)
        try:
            await ended
        finally:
            loop.remove_reader(watched)
            os.close(watched)
        self._reap()

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """TERM, and KILL after the time-out; returns when it has ended. Raises ProcessError if even KILL fails."""
        for number, limit_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, KILL_TIMEOUT_S)):
            if not self.send_signal(number):
                self._reap()
                return
            try:
                async with asyncio.timeout(limit_s):
                    await self.wait()
                return
            except TimeoutError:
                log.warning("process does not end", pid=self.pid, signal=number.name, waited_s=limit_s)
        raise ProcessError(f"process {self.pid} ({self.record.argv[0]}) does not end: is it stuck in the kernel?")

    def close(self) -> None:
        """Let go of it; it runs on."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _reap(self) -> None:
        """Collect the exit status if it was our child, so that no zombie stays."""
        try:
            os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pass


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def spawn(
    argv: Sequence[str],
    *,
    pid_file: Path | None = None,
    namespace: str | None = None,
    output: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start a daemon in a session of its own, in the network namespace, and record it in the pid file (0600).

    stdin is /dev/null, stdout and stderr go to `output` (appended) or /dev/null. `argv[0]` is an absolute path.
    The environment is empty but for PATH unless given. Raises ProcessError, NamespaceError.
    """
    return await asyncio.to_thread(_spawn, list(argv), pid_file, namespace, output, environment)


def _spawn(
    argv: list[str],
    pid_file: Path | None,
    namespace: str | None,
    output: Path | None,
    environment: Mapping[str, str] | None,
) -> Process:
    if not argv or not os.path.isabs(argv[0]):
        raise ProcessError(f"command {argv[:1]}: give the absolute path of the program")
    if environment is None:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    target = "/dev/null" if output is None else str(output)
    write_flags = os.O_WRONLY if output is None else os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, target, write_flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]

    def start() -> int:
        # The child has the calling thread's namespace. Python ignores SIGPIPE: give the default back.
        return os.posix_spawn(
            argv[0],
            argv,
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD],
        )

    try:
        pid = namespaces.run_blocking(namespace, start)
    except OSError as error:
        raise ProcessError(f"cannot start {argv[0]}: {error.strerror or error}") from error
    # Our own child cannot be replaced by another process before we have waited for it.
    pidfd = os.pidfd_open(pid)
    process = Process(ProcessRecord(pid, start_time_of(pid) or 0, argv), pidfd)
    if pid_file is not None:
        write_record(pid_file, process.record)
    return process


def write_record(path: Path, record: ProcessRecord) -> None:
    """Write a pid file. Blocking."""
    files.write_atomic(path, msgspec.json.encode(record) + b"\n")


def read_record(path: Path) -> ProcessRecord | None:
    """Read a pid file; None if there is none or it is not one of ours. Blocking."""
    text = files.read_text(path)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=ProcessRecord)
    except msgspec.MsgspecError:
        return None


def adopt(pid_file: Path) -> Process | None:
    """The running process that the pid file records; None unless pid, start time and command line all agree."""
    record = read_record(pid_file)
    if record is None:
        return None
    return Process.open(record.pid, argv=record.argv, start_time=record.start_time)
