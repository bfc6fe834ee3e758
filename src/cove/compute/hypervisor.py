"""The QEMU process of an instance: its directory and descriptors, start, adoption after a restart, and end.

QEMU outlives `cove up`. What it needs to be found again is in the run directory, all of it owned by root:

    <run>/instances/<id>/pid           the process, by pid and start time
    <run>/instances/<id>/qmp.sock      its monitor
    <run>/instances/<id>/serial.sock   its serial console
    <run>/instances/<id>/disk.sock     the NBD export of its disk (the one file it may reach, and does on reconnects)
    <state>/instances/<id>/console.log what the console said; qemu.log: what QEMU itself said
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from cove.compute import qemu
from cove.compute.guest import GuestFiles
from cove.compute.qemu import Descriptor, InstanceSpec
from cove.compute.qmp import MonitorError, monitor
from cove.errors import CoveError
from cove.linux import files
from cove.linux.processes import Process, ProcessRecord, adopt, command_line_of, start_time_of, uid_of, write_record

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 20.0
MONITOR_TIMEOUT_S = 2.0
KILL_TIMEOUT_S = 10.0
CONSOLE_LOG_BYTES_MAX = 4 << 20
SOCKET_PATH_BYTES_MAX = 107
_TUNSETIFF = 0x400454CA
_TAP_FLAGS = 0x0002 | 0x1000 | 0x4000  # IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
_DESCRIPTORS_FROM = 64  # where ours are kept before they get their numbers in the child


class HypervisorError(CoveError):
    """QEMU could not be started, or does not do what it was asked."""


@dataclass(frozen=True, slots=True)
class InstancePaths:
    """Where the things of one instance are."""

    run: Path
    state: Path

    @property
    def pid_file(self) -> Path:
        """The record of the process."""
        return self.run / "pid"

    @property
    def qmp_socket(self) -> Path:
        """The monitor."""
        return self.run / "qmp.sock"

    @property
    def serial_socket(self) -> Path:
        """The serial console, for one terminal at a time."""
        return self.run / "serial.sock"

    @property
    def disk_socket(self) -> Path:
        """The NBD export of the disk."""
        return self.run / "disk.sock"

    @property
    def console_log(self) -> Path:
        """Everything the serial console has said."""
        return self.state / "console.log"

    @property
    def qemu_log(self) -> Path:
        """Standard output and error of QEMU."""
        return self.state / "qemu.log"


class Hypervisor(Protocol):
    """What the boot flow asks of the hypervisor; QEMU below, a fake in tests."""

    def paths(self, instance_id: str) -> InstancePaths:
        """Where the instance's files are."""
        ...

    def accelerator(self) -> qemu.Accelerator:
        """How guests run on this host."""
        ...

    async def prepare(self, instance_id: str) -> None:
        """Make the instance's directories."""
        ...

    async def launch(self, spec: InstanceSpec, *, uid: int, tap: str, guest: GuestFiles | None) -> Process:
        """Start QEMU and return once its monitor answers."""
        ...

    async def find(self, instance_id: str) -> Process | None:
        """The running QEMU of the instance."""
        ...

    async def resume(self, instance_id: str) -> str:
        """Let a guest that was paused by a disk error go on; returns the state it is in."""
        ...

    async def stop(self, instance_id: str, *, grace_s: float) -> None:
        """End the instance's QEMU if there is one: power button, then the plug."""
        ...

    async def clear(self, instance_id: str) -> None:
        """Remove what a stopped instance has in the run directory."""
        ...

    async def remove(self, instance_id: str) -> None:
        """Remove all files of a stopped instance."""
        ...

    async def list_present(self) -> list[str]:
        """The instances that have a directory in the run directory."""
        ...

    async def trim_console_log(self, instance_id: str) -> bool:
        """Keep the console's log from growing without bound."""
        ...


def kvm_opens() -> bool:
    """Whether /dev/kvm can be opened."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def check_searchable(path: Path) -> None:
    """Raises HypervisorError if an unprivileged process could not reach files below `path`."""
    for directory in (path, *path.parents):
        if not stat.S_IMODE(directory.stat().st_mode) & stat.S_IXOTH:
            raise HypervisorError(
                f"directory {directory} may not be searched by others, so QEMU, which runs unprivileged, would"
                f" not reach its disk's socket below it: chmod o+x {directory}, or set run_dir elsewhere"
            )


class QemuHypervisor:
    """Instances as QEMU processes on this host."""

    def __init__(self, run_dir: Path, state_dir: Path) -> None:
        self._run = run_dir / "instances"
        self._state = state_dir / "instances"
        self._accelerator: qemu.Accelerator | None = None

    def paths(self, instance_id: str) -> InstancePaths:
        """Where the instance's files are."""
        if not qemu.valid_id(instance_id):
            raise HypervisorError(f"instance id {instance_id!r}: a UUID is wanted")
        return InstancePaths(self._run / instance_id, self._state / instance_id)

    def accelerator(self) -> qemu.Accelerator:
        """KVM or TCG; looked at once."""
        if self._accelerator is None:
            self._accelerator = qemu.choose_accelerator(Path("/proc/cpuinfo").read_text(), kvm_opens)
        return self._accelerator

    async def prepare(self, instance_id: str) -> None:
        """Make the instance's directories. Raises HypervisorError if their place is of no use."""
        paths = self.paths(instance_id)
        await asyncio.to_thread(self._prepare, paths)

    def _prepare(self, paths: InstancePaths) -> None:
        if len(str(paths.serial_socket).encode()) > SOCKET_PATH_BYTES_MAX:
            raise HypervisorError(f"{paths.serial_socket}: longer than a socket's path may be; use a shorter run_dir")
        # May be searched by all, read by root only.
        files.ensure_directory(self._run, mode=0o711)
        files.ensure_directory(paths.run, mode=0o711)
        files.ensure_directory(self._state, mode=0o700)
        files.ensure_directory(paths.state, mode=0o700)
        check_searchable(paths.run)

    async def launch(self, spec: InstanceSpec, *, uid: int, tap: str, guest: GuestFiles | None) -> Process:
        """Start QEMU as user `uid` on the tap; `guest` is needed for a kernel boot.

        Returns once its monitor answers. Raises HypervisorError with QEMU's own words.
        """
        paths = self.paths(spec.id)
        argv = qemu.command(spec)
        process = await asyncio.to_thread(self._launch, paths, argv, uid, tap, guest)
        try:
            await self._wait_until_up(paths, process)
        except BaseException:
            await process.stop(timeout_s=0.5)
            process.close()
            raise
        return process

    def _launch(self, paths: InstancePaths, argv: list[str], uid: int, tap: str, guest: GuestFiles | None) -> Process:
        if guest is None and "-kernel" in argv:
            raise HypervisorError("a kernel boot wants the guest's files")
        with contextlib.ExitStack() as stack:
            inherited = {
                Descriptor.TAP: _keep(stack, _open_tap(tap)),
                Descriptor.SERIAL: _keep(stack, _listen(paths.serial_socket)),
                Descriptor.QMP: _keep(stack, _listen(paths.qmp_socket)),
                Descriptor.CONSOLE_LOG: _keep(stack, _open_log(paths.console_log)),
            }
            if guest is not None:
                inherited[Descriptor.KERNEL] = _keep(stack, os.open(guest.vmlinuz, os.O_RDONLY | os.O_CLOEXEC))
                inherited[Descriptor.INITRAMFS] = _keep(stack, os.open(guest.initramfs, os.O_RDONLY | os.O_CLOEXEC))
            pid = _spawn(qemu.unprivileged(argv, uid), inherited, paths.qemu_log)
        pidfd = os.pidfd_open(pid)
        # The command line is what it will be in a moment, when setpriv has become QEMU.
        record = ProcessRecord(pid, start_time_of(pid) or 0, argv)
        process = Process(record, pidfd)
        write_record(paths.pid_file, record)
        return process

    async def _wait_until_up(self, paths: InstancePaths, process: Process) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    if command_line_of(process.pid) == process.record.argv or not process.is_alive():
                        break
                    await asyncio.sleep(0.005)
                # The socket has been listening since before the start: this connects at once, and fails at once if
                # QEMU, its only holder by now, exits.
                async with monitor(paths.qmp_socket, timeout_s=START_TIMEOUT_S) as qmp:
                    await qmp.status()
        except (TimeoutError, MonitorError) as error:
            words = (await asyncio.to_thread(tail, paths.qemu_log)).strip()
            raise HypervisorError(f"QEMU did not start: {words or error or 'no reason given'}") from error

    async def find(self, instance_id: str) -> Process | None:
        """The running QEMU of the instance, known by pid, start time and command line."""
        return await asyncio.to_thread(_find, self.paths(instance_id).pid_file, instance_id)

    async def resume(self, instance_id: str) -> str:
        """Let a guest go on that was paused because its disk was away too long. Raises MonitorError."""
        async with monitor(self.paths(instance_id).qmp_socket) as qmp:
            state = await qmp.status()
            if state == "io-error":
                await qmp.resume()
                state = await qmp.status()
            return state

    async def stop(self, instance_id: str, *, grace_s: float) -> None:
        """End QEMU: power button and `grace_s` for the guest to react (0: none), then the plug.

        The plug is SIGKILL: QEMU's own `quit` waits for requests to a disk that may never come back, and saves nothing
        that a guest was promised, for what is acknowledged is durable. Raises HypervisorError.
        """
        process = await self.find(instance_id)
        if process is None:
            return
        try:
            if grace_s > 0:
                try:
                    async with asyncio.timeout(grace_s + MONITOR_TIMEOUT_S):
                        async with monitor(self.paths(instance_id).qmp_socket, timeout_s=MONITOR_TIMEOUT_S) as qmp:
                            await qmp.power_button()
                        async with asyncio.timeout(grace_s):
                            await process.wait()
                        return
                except (MonitorError, TimeoutError) as error:
                    log.info("hypervisor.power_button", instance=instance_id, error=str(error) or "no reaction")
            process.send_signal(signal.SIGKILL)
            try:
                async with asyncio.timeout(KILL_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                raise HypervisorError(f"QEMU (pid {process.pid}) does not end: is it stuck in the kernel?") from None
        finally:
            process.close()

    async def clear(self, instance_id: str) -> None:
        """Remove sockets and pid file; the logs stay."""
        await asyncio.to_thread(shutil.rmtree, self.paths(instance_id).run, ignore_errors=True)

    async def remove(self, instance_id: str) -> None:
        """Remove all files of the instance."""
        await self.clear(instance_id)
        await asyncio.to_thread(shutil.rmtree, self.paths(instance_id).state, ignore_errors=True)

    async def list_present(self) -> list[str]:
        """The instances that have a directory in the run directory."""
        try:
            names = await asyncio.to_thread(os.listdir, self._run)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if qemu.valid_id(name))

    async def trim_console_log(self, instance_id: str) -> bool:
        """Start the console's log anew once it is too large, keeping the last one; QEMU appends, so it goes on."""
        return await asyncio.to_thread(_trim, self.paths(instance_id).console_log)


def _find(pid_file: Path, instance_id: str) -> Process | None:
    """The process of the record; where a kill came between start and record, the one that says whose it is."""
    if pid_file.exists() or not pid_file.parent.exists():
        return adopt(pid_file)
    for name in os.listdir("/proc"):
        argv = command_line_of(int(name)) if name.isdigit() else None
        if argv and qemu.is_command_of(argv, instance_id):
            process = Process.open(int(name))
            # again, now that the process is held: the number may have passed to another one
            if process is not None and _is_qemu_of(process, instance_id):
                return process
            if process is not None:
                process.close()
    return None


def _is_qemu_of(process: Process, instance_id: str) -> bool:
    """Whether it is the instance's, and not somebody's who calls himself so."""
    uid = uid_of(process.pid)
    return qemu.is_command_of(process.record.argv, instance_id) and (uid == 0 or qemu.is_instance_uid(uid))


def _keep(stack: contextlib.ExitStack, descriptor: int) -> int:
    """Move a descriptor out of the way of the numbers it and the others will get in the child."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTORS_FROM)
    os.close(descriptor)
    stack.callback(os.close, moved)
    return moved


def _open_tap(name: str) -> int:
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise HypervisorError(f"/dev/net/tun: {error.strerror}: `cove doctor` says what is missing") from error
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_FLAGS))
    except OSError as error:
        os.close(descriptor)
        raise HypervisorError(f"tap {name}: {error.strerror}") from error
    return descriptor


def _listen(path: Path) -> int:
    files.remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise HypervisorError(f"{path}: {error.strerror}") from error
    return listener.detach()


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _spawn(argv: list[str], inherited: Mapping[Descriptor, int], output: Path) -> int:
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # What whoever started us left open without close-on-exec is none of the guest's business.
    strays = [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    actions += [(os.POSIX_SPAWN_CLOSE, number) for number in strays if _is_inheritable(number)]
    actions += [(os.POSIX_SPAWN_DUP2, source, int(number)) for number, source in sorted(inherited.items())]
    defaults = [signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD]
    try:
        return os.posix_spawn(
            argv[0], argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, file_actions=actions, setsid=True,
            setsigmask=[], setsigdef=defaults,
        )  # fmt: skip
    except OSError as error:
        raise HypervisorError(f"cannot start {argv[0]}: {error.strerror}") from error


def _is_inheritable(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # closed meanwhile: the descriptor of the directory's listing itself
        return False


def tail(path: Path, size_bytes: int = 2000) -> str:
    """The end of a log; empty if there is none."""
    return read_from(path, max(0, _size(path) - size_bytes))


def read_from(path: Path, offset: int, size_bytes_max: int = 1 << 20) -> str:
    """A log's text from an offset (bytes) on; from its start if it is shorter than that, having been trimmed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ""
    with open(descriptor, "rb") as log_file:
        log_file.seek(offset if offset <= _size(path) else 0)
        return log_file.read(size_bytes_max).decode(errors="replace")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _trim(path: Path) -> bool:
    if _size(path) <= CONSOLE_LOG_BYTES_MAX:
        return False
    # A few bytes written between copy and cut are lost; QEMU's descriptor stays good.
    shutil.copyfile(path, path.with_suffix(".log.1"))
    os.truncate(path, 0)
    return True
