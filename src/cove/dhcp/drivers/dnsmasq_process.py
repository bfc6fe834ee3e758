"""One dnsmasq process: start it or take over the one that runs, and know what it has read.

dnsmasq answers nothing but its log. A *barrier* is an empty options file renamed into a watched directory: dnsmasq
handles such changes one after the other, so when it logs that it noticed the barrier, everything renamed before is in
force. (The line `read <file>` alone comes before the file is parsed.)
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import structlog

from cove.dhcp.drivers.dnsmasq_files import BARRIERS, SUBNETS, NetworkDirectory
from cove.dhcp.drivers.dnsmasq_log import FileNoticed, FileRead, LogEvent, LogParser, Reloading
from cove.dhcp.drivers.logwatch import LogFollower, LogWatch
from cove.dhcp.errors import DriverError, NoAnswer
from cove.linux import files, namespaces, processes
from cove.linux.processes import Process

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 60.0
RELOAD_TIMEOUT_S = 60.0
BARRIER_RESEND_S = 3.0
BARRIER_TRIES = 6
LOG_SIZE_MAX = 8 << 20


class DnsmasqProcess:
    """The process of one network's directory. Exactly one of `start` and `adopt`, then use, then `stop` or `close`."""

    def __init__(
        self,
        directory: NetworkDirectory,
        watch: LogWatch,
        on_event: Callable[[LogEvent], None],
        on_exit: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._watch = watch
        self._on_event = on_event
        self._on_exit = on_exit
        self._process: Process | None = None
        self._follower: LogFollower | None = None
        self._parser = LogParser()
        self._waiters: list[tuple[LogEvent, asyncio.Future[None]]] = []
        self._barriers = 0
        self._exit_task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self.is_alive() and self._process is not None else None

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.is_alive()

    def is_as_wanted(self, argv: list[str], namespace: str) -> bool:
        """Whether it runs with this command line in this namespace."""
        return (
            self._process is not None
            and self.is_alive()
            and self._process.record.argv == argv
            and _is_inside(self._process.pid, namespace)
        )

    async def start(self, argv: list[str], namespace: str) -> None:
        """Spawn it, and return when it serves what the files say. Raises DriverError."""
        files.remove(self._directory.output)
        self._follow(from_end=True)
        serving = self._expect(FileRead(str(self._directory.options / SUBNETS)))
        try:
            self._hold(
                await processes.spawn(
                    argv,
                    pid_file=self._directory.process,
                    namespace=namespace,
                    output=self._directory.output,
                )
            )
            await self._wait(serving, START_TIMEOUT_S, "to start")
            await self.barrier()
        except BaseException:
            await self.stop()
            raise
        finally:
            self._forget(serving)

    def adopt(self, argv: list[str], namespace: str) -> bool:
        """Take over the process that an earlier agent left, if it is as wanted. What it has read is not known.

        Blocking, briefly.
        """
        process = processes.adopt(self._directory.process)
        if process is None:
            return False
        if process.record.argv != argv or not _is_inside(process.pid, namespace) or not self._directory.log.exists():
            process.close()
            return False
        self._follow(from_end=True)
        self._hold(process)
        return True

    async def barrier(self) -> None:
        """Return when all files renamed before are in force. Raises DriverError, NoAnswer."""
        for attempt in range(1, BARRIER_TRIES + 1):
            name = f"barrier-{self._barriers % BARRIERS}"
            self._barriers += 1
            noticed = self._expect(FileNoticed(str(self._directory.options / name)))
            try:
                self._directory.write(self._directory.options, name, "")
                await self._wait(noticed, BARRIER_RESEND_S, "to notice a changed file")
                return
            except NoAnswer as error:
                if attempt == BARRIER_TRIES:
                    raise
                log.warning("dnsmasq is slow", pid=self.pid, attempt=attempt, error=str(error))
            finally:
                self._forget(noticed)

    async def reload(self) -> None:
        """Have everything read again; return when that is in force. Raises DriverError, NoAnswer."""
        reloading = self._expect(Reloading())
        try:
            if self._process is None or not self._process.send_signal(signal.SIGHUP):
                raise DriverError(f"dnsmasq of {self._directory.path.name} does not run: cannot reload it")
            await self._wait(reloading, RELOAD_TIMEOUT_S, "to reload")
        finally:
            self._forget(reloading)
        await self.barrier()

    async def stop(self) -> None:
        """End it. No error if it does not run."""
        self._stop_watching_exit()
        if self._process is not None:
            await self._process.stop()
            files.remove(self._directory.process)
        self.close()

    def close(self) -> None:
        """Let go; it runs on."""
        self._stop_watching_exit()
        if self._follower is not None:
            self._follower.close()
            self._follower = None
        if self._process is not None:
            self._process.close()
            self._process = None
        for _, future in self._waiters:
            future.cancel()
        self._waiters.clear()

    # -- log ---------------------------------------------------------------------------------------------------

    def _follow(self, *, from_end: bool) -> None:
        if not self._directory.log.exists():
            files.write_atomic(self._directory.log, b"", mode=0o640, temporary_in=self._directory.temporary)
        self._follower = LogFollower(self._watch, self._directory.log, self._log_data, from_end=from_end)

    def _log_data(self, data: bytes) -> None:
        for event in self._parser.feed(data):
            for expected, future in self._waiters:
                if expected == event and not future.done():
                    future.set_result(None)
            self._on_event(event)
        if self._follower is not None and self._follower.size > LOG_SIZE_MAX:
            self._rotate()

    def _rotate(self) -> None:
        """Give dnsmasq a new log file, keeping one old one."""
        if self._follower is None or self._process is None or self._follower.is_turning:
            return
        owner = self._directory.log.stat()
        os.replace(self._directory.log, self._directory.old_log)
        descriptor = os.open(self._directory.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)
        self._follower.reopen()
        self._process.send_signal(signal.SIGUSR2)

    def _expect(self, event: LogEvent) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((event, future))
        return future

    def _forget(self, future: asyncio.Future[None]) -> None:
        self._waiters = [(event, waiter) for event, waiter in self._waiters if waiter is not future]

    async def _wait(self, future: asyncio.Future[None], timeout_s: float, what: str) -> None:
        if self._exit_task is None:
            raise DriverError(f"dnsmasq of {self._directory.path.name} does not run")
        await asyncio.wait({future, self._exit_task}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return
        if self._exit_task.done():
            raise DriverError(f"dnsmasq of network {self._directory.path.name} ended: {self._last_words()}")
        if self._follower is not None:
            self._follower.poll()  # in case the kernel's notice was lost
        if not future.done():
            raise NoAnswer(f"dnsmasq of network {self._directory.path.name} took more than {timeout_s:g} s {what}")

    def _last_words(self) -> str:
        said = (files.read_text(self._directory.output) or "").strip().splitlines()
        if not said:
            said = (files.read_text(self._directory.log) or "").strip().splitlines()
        return said[-1] if said else "it said nothing"

    # -- process -----------------------------------------------------------------------------------------------

    def _hold(self, process: Process) -> None:
        self._process = process
        self._exit_task = asyncio.create_task(self._watch_exit(process), name=f"dnsmasq {process.pid}")

    async def _watch_exit(self, process: Process) -> None:
        await process.wait()
        log.warning("dnsmasq ended by itself", pid=process.pid, network_id=self._directory.path.name)
        self._on_exit()

    def _stop_watching_exit(self) -> None:
        if self._exit_task is not None:
            self._exit_task.cancel()
            self._exit_task = None


def find_running(directory: Path) -> Process | None:
    """The process that serves this directory, whoever started it: recorded, or found by its command line.

    The second way covers a death of ours between starting it and recording it. Blocking (reads /proc).
    """
    process = processes.adopt(directory / "process.json")
    if process is not None:
        return process
    mark = f"--pid-file={directory / 'pid'}"
    for name in os.listdir("/proc"):
        if name.isdigit() and mark in (processes.command_line_of(int(name)) or ()):
            argv = processes.command_line_of(int(name))
            return Process.open(int(name), argv=argv)
    return None


def _is_inside(pid: int, namespace: str) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/ns/net", namespaces.path_of(namespace))
    except OSError:
        return False
