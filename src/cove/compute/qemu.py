"""QEMU's command line, as a pure function of what the instance is.

The process gets no right to open anything of the host's: tap, listening sockets, console log, kernel and initramfs
come as open descriptors with the fixed numbers of `Descriptor`; the one path it uses is the socket of its disk, which
it must be able to connect to again after a restart of the disk's server. Options are those that QEMU 7.2 and 8.2
both take.
"""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cove.errors import CoveError

PROGRAM = "/usr/bin/qemu-system-x86_64"
SETPRIV = "/usr/bin/setpriv"
UID_FIRST = 700_000
UID_COUNT = 10_000
MEMORY_MB_MIN, MEMORY_MB_MAX = 96, 1 << 20
VCPUS_MAX = 64
# TCG's translation cache: QEMU's own default is a share of the host's memory; 32 MiB is enough for a small guest.
TCG_CACHE_MIB = 32
HOTPLUG_PORTS = 4
SERIAL_NUMBER_MAX = 20  # what virtio-blk can carry
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
# No legacy devices: fewer things to emulate, and fewer to attack. The dump holds a tenant's memory: not in core files.
MACHINE = "q35,usb=off,vmport=off,smbus=off,sata=off,graphics=off,dump-guest-core=off"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$")
_ID = re.compile(r"^[A-Za-z0-9-]{1,64}$")
_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
_WORD = re.compile(r"^[\x21-\x7e]+$")


class SpecError(CoveError):
    """An instance cannot be described to QEMU: says which field, its value, and what is allowed."""


class Accelerator(enum.StrEnum):
    """How the guest's instructions run."""

    KVM = "kvm"
    TCG = "tcg"


class Descriptor(enum.IntEnum):
    """The numbers under which QEMU finds what it inherits."""

    TAP = 3
    SERIAL = 4
    QMP = 5
    CONSOLE_LOG = 6
    KERNEL = 7
    INITRAMFS = 8


@dataclass(frozen=True, slots=True)
class KernelBoot:
    """Start a kernel directly; `arguments` are words of its command line."""

    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DiskBoot:
    """Let the firmware start what is on the disk."""


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """Everything that decides how QEMU is called. `disk_socket` and `disk_export` name the NBD export of /dev/vda."""

    id: str
    name: str
    memory_mb: int
    accelerator: Accelerator
    mac_address: str
    mtu: int
    disk_socket: Path
    disk_export: str
    disk_serial: str
    boot: KernelBoot | DiskBoot
    vcpus: int = 1
    reconnect_delay_s: int = 30


def choose_accelerator(cpuinfo: str, kvm_opens: Callable[[], bool]) -> Accelerator:
    """KVM where the CPU has virtualization *and* /dev/kvm opens, else TCG.

    The device alone proves nothing: with a paravirtual KVM it is there, opens, and runs no ordinary guest.
    """
    flags = {word for line in cpuinfo.splitlines() if line.startswith("flags") for word in line.split()}
    return Accelerator.KVM if flags & {"vmx", "svm"} and kvm_opens() else Accelerator.TCG


def allocate_uid(used: Collection[int]) -> int:
    """The lowest free user id for an instance. Raises SpecError if all are taken."""
    taken = frozenset(used)
    for uid in range(UID_FIRST, UID_FIRST + UID_COUNT):
        if uid not in taken:
            return uid
    raise SpecError(f"all {UID_COUNT} user ids from {UID_FIRST} belong to instances: delete one")


def is_instance_uid(uid: int | None) -> bool:
    """Whether it is a user id that instances run as."""
    return uid is not None and UID_FIRST <= uid < UID_FIRST + UID_COUNT


def valid_id(instance_id: str) -> bool:
    """Whether it is a UUID in its usual form."""
    return bool(_UUID.fullmatch(instance_id))


def kernel_arguments(name: str, instance_id: str, *, disk_test: str) -> tuple[str, ...]:
    """The micro guest's command line. `disk_test`: "write" on the first boot of a blank disk, "read" later."""
    return (
        "console=ttyS0",
        "quiet",
        "loglevel=3",
        f"cove.hostname={name}",
        f"cove.instance={instance_id}",
        f"cove.disktest={disk_test}",
    )


def validate(spec: InstanceSpec) -> None:
    """Raises SpecError for anything that must not get onto a command line."""

    def check(ok: object, field: str, value: object, allowed: str) -> None:
        if not ok:
            raise SpecError(f"{field} {value!r}: {allowed}")

    check(valid_id(spec.id), "id", spec.id, "a UUID")
    check(valid_name(spec.name), "name", spec.name, "letters, digits, dots and dashes, at most 63")
    check(MEMORY_MB_MIN <= spec.memory_mb <= MEMORY_MB_MAX, "memory_mb", spec.memory_mb, f"from {MEMORY_MB_MIN} up")
    check(1 <= spec.vcpus <= VCPUS_MAX, "vcpus", spec.vcpus, f"1 to {VCPUS_MAX}")
    check(_MAC.fullmatch(spec.mac_address), "mac_address", spec.mac_address, "six lower-case bytes as aa:bb:…")
    check(68 <= spec.mtu <= 65535, "mtu", spec.mtu, "68 to 65535")
    check(_ID.fullmatch(spec.disk_serial), "disk_serial", spec.disk_serial, "letters, digits and dashes")
    check(_WORD.fullmatch(spec.disk_export), "disk_export", spec.disk_export, "printable, without spaces")
    check(spec.disk_socket.is_absolute(), "disk_socket", str(spec.disk_socket), "an absolute path")
    check(len(str(spec.disk_socket).encode()) < 108, "disk_socket", str(spec.disk_socket), "at most 107 bytes")
    if isinstance(spec.boot, KernelBoot):
        for argument in spec.boot.arguments:
            check(_WORD.fullmatch(argument), "kernel argument", argument, "one printable word")


def valid_name(name: str) -> bool:
    """Whether an instance may be called so: it becomes a host name."""
    return bool(_NAME.fullmatch(name)) and not name.endswith((".", "-"))


def command(spec: InstanceSpec) -> list[str]:
    """The command line of QEMU for this instance. Raises SpecError."""
    validate(spec)
    kvm = spec.accelerator is Accelerator.KVM
    argv = [PROGRAM, "-name", f"guest={spec.name}", "-uuid", spec.id]
    argv += ["-nodefaults", "-no-user-config", "-display", "none", "-msg", "timestamp=on", "-sandbox", SANDBOX]
    argv += ["-machine", MACHINE, "-accel", "kvm" if kvm else f"tcg,tb-size={TCG_CACHE_MIB}"]
    argv += ["-cpu", "host" if kvm else "max", "-smp", str(spec.vcpus), "-m", str(spec.memory_mb)]
    argv += _control()
    argv += _network(spec)
    argv += _disk(spec)
    for number in range(1, HOTPLUG_PORTS + 1):
        argv += ["-device", f"pcie-root-port,id=hotplug{number},bus=pcie.0,chassis={number},slot={number}"]
    argv += ["-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0"]
    if isinstance(spec.boot, KernelBoot):
        argv += ["-kernel", f"/proc/self/fd/{Descriptor.KERNEL}", "-initrd", f"/proc/self/fd/{Descriptor.INITRAMFS}"]
        argv += ["-append", " ".join(spec.boot.arguments)]
    else:
        argv += ["-boot", "strict=on"]
    return argv


def is_command_of(argv: Sequence[str], instance_id: str) -> bool:
    """Whether it is the command line of the instance's QEMU, or of what is about to become it."""
    own = ["-uuid", instance_id]
    return PROGRAM in argv and own in (list(pair) for pair in itertools.pairwise(argv))


def _control() -> list[str]:
    log = f"/dev/fdset/{Descriptor.CONSOLE_LOG}"
    return [
        "-add-fd", f"fd={Descriptor.CONSOLE_LOG},set={Descriptor.CONSOLE_LOG}",
        "-chardev", f"socket,id=serial0,fd={Descriptor.SERIAL},server=on,wait=off,logfile={log},logappend=on",
        "-serial", "chardev:serial0",
        "-chardev", f"socket,id=qmp0,fd={Descriptor.QMP},server=on,wait=off",
        "-mon", "chardev=qmp0,mode=control",
    ]  # fmt: skip


def _network(spec: InstanceSpec) -> list[str]:
    # romfile= : no network boot, so no option ROM to run before the guest's own kernel.
    device = f"virtio-net-pci,netdev=net0,id=nic0,mac={spec.mac_address},host_mtu={spec.mtu},romfile="
    return ["-netdev", f"tap,id=net0,fd={Descriptor.TAP}", "-device", device]


def _disk(spec: InstanceSpec) -> list[str]:
    backend = {
        "driver": "nbd",
        "node-name": "disk0",
        "server": {"type": "unix", "path": str(spec.disk_socket)},
        "export": spec.disk_export,
        # While the server is away requests wait that long; after it the guest is paused (below), not told of errors.
        "reconnect-delay": spec.reconnect_delay_s,
        "discard": "unmap",
    }
    device = f"virtio-blk-pci,drive=disk0,id=vda,serial={spec.disk_serial[:SERIAL_NUMBER_MAX]}"
    device += ",werror=stop,rerror=stop,bootindex=1"
    return ["-blockdev", msgspec.json.encode(backend).decode(), "-device", device]


def unprivileged(argv: list[str], uid: int) -> list[str]:
    """The same command, run as a user that owns nothing and can never gain anything.

    Not by `-runas`: QEMU would start as root, and its own sandbox forbids the change of user that follows.
    """
    if not is_instance_uid(uid):
        raise SpecError(f"uid {uid}: {UID_FIRST} to {UID_FIRST + UID_COUNT - 1} belong to instances")
    drop = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    return [SETPRIV, *drop, "--no-new-privs", "--", *argv]
