"""What this machine has and lacks for running Cove: a list of findings, each with the way to get what is missing.

Pure over `Probes`, the questions asked of the machine; `host_probes` asks the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cove.compute.guest import GuestBuildError, load_guest
from cove.compute.guest.builder import find_busybox
from cove.compute.hypervisor import kvm_opens
from cove.compute.qemu import Accelerator, choose_accelerator
from cove.errors import CoveError

PYTHON_MIN = (3, 11)
FREE_BYTES_MIN = 1 << 30
MEMORY_BYTES_MIN = 1 << 30
QEMU_MIN = (7, 0)
COMMAND_TIMEOUT_S = 10.0


class Health(enum.StrEnum):
    """How it is with one thing."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found and, unless it is ok, what to do."""

    name: str
    health: Health
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Probes:
    """The questions. `make_link(kind)`, `make_namespace()`, `nft_bridge()`, `connection_tracking()` and
    `connection_table()` give "" or what went wrong.
    """

    effective_uid: Callable[[], int]
    python_version: Callable[[], tuple[int, int]]
    program: Callable[[str], str | None]
    program_version: Callable[[str], tuple[int, int] | None]
    static_busybox: Callable[[], str]
    make_link: Callable[[str], str]
    make_namespace: Callable[[], str]
    nft_bridge: Callable[[], str]
    connection_tracking: Callable[[], str]
    connection_table: Callable[[], str]
    cpuinfo: Callable[[], str]
    kvm_opens: Callable[[], bool]
    free_bytes: Callable[[], int]
    available_memory_bytes: Callable[[], int]
    guest_problem: Callable[[], str]


# Program → the Debian and Ubuntu package it comes from, and what it is for.
PROGRAMS: tuple[tuple[str, str, str], ...] = (
    ("dnsmasq", "dnsmasq-base", "addresses for the guests"),
    ("qemu-system-x86_64", "qemu-system-x86", "the virtual machines"),
    ("setpriv", "util-linux", "virtual machines without privileges"),
    ("nft", "nftables", "keeping guests from spoofing"),
    ("dpkg-deb", "dpkg", "unpacking the guest's kernel"),
    ("apt-get", "apt", "fetching the guest's kernel"),
)
PROGRAMS_OPTIONAL: tuple[tuple[str, str, str], ...] = (
    ("qemu-img", "qemu-utils", "importing qcow2 images"),
    ("zstd", "zstd", "the guest's kernel modules on Ubuntu"),
)


def examine(probes: Probes) -> list[Finding]:
    """Look at everything, in the order in which a person would put things right."""
    findings = [_python(probes), _root(probes)]
    findings += [_program(probes, *program, health=Health.MISSING) for program in PROGRAMS]
    findings += [_program(probes, *program, health=Health.WARN) for program in PROGRAMS_OPTIONAL]
    findings += [_qemu_version(probes), _busybox(probes)]
    findings += _kernel(probes)
    findings += [_acceleration(probes), _disk_space(probes), _memory(probes), _guest(probes)]
    return findings


def _python(probes: Probes) -> Finding:
    version = probes.python_version()
    text = ".".join(map(str, version))
    if version >= PYTHON_MIN:
        return Finding("Python", Health.OK, text)
    return Finding("Python", Health.MISSING, text, "Python 3.11 or newer: Debian 12 and Ubuntu 24.04 have it")


def _root(probes: Probes) -> Finding:
    uid = probes.effective_uid()
    if uid == 0:
        return Finding("root", Health.OK, "yes")
    return Finding("root", Health.MISSING, f"user id {uid}", "run it with sudo: taps and namespaces need root")


def _program(probes: Probes, name: str, package: str, purpose: str, *, health: Health) -> Finding:
    path = probes.program(name)
    if path:
        return Finding(name, Health.OK, path)
    return Finding(name, health, f"not found ({purpose})", f"apt-get install {package}")


def _qemu_version(probes: Probes) -> Finding:
    version = probes.program_version("qemu-system-x86_64")
    if version is None:
        return Finding("QEMU version", Health.WARN, "unknown", "apt-get install qemu-system-x86")
    text = ".".join(map(str, version))
    if version >= QEMU_MIN:
        return Finding("QEMU version", Health.OK, text)
    return Finding("QEMU version", Health.MISSING, text, "QEMU 7.0 or newer: Debian 12 and Ubuntu 24.04 have it")


def _busybox(probes: Probes) -> Finding:
    problem = probes.static_busybox()
    if not problem:
        return Finding("static busybox", Health.OK, "yes")
    return Finding("static busybox", Health.MISSING, problem, "apt-get install busybox-static")


def _kernel(probes: Probes) -> list[Finding]:
    """Features of the running kernel, by using them: a module's name in a list proves little."""
    if probes.effective_uid() != 0:
        return [Finding("kernel features", Health.WARN, "not looked at", "run it with sudo to have them looked at")]
    module_hint = "a kernel with it: on Debian and Ubuntu the standard one; in a container, ask for its host's"
    findings = []
    for kind in ("bridge", "veth", "tap"):
        problem = probes.make_link(kind)
        findings.append(_feature(kind, problem, f"modprobe {'tun' if kind == 'tap' else kind}, or {module_hint}"))
    findings.append(_feature("network namespaces", probes.make_namespace(), module_hint))
    findings.append(_feature("nftables bridge family", probes.nft_bridge(), f"modprobe nf_tables, or {module_hint}"))
    tracking = f"for security groups: modprobe nf_conntrack_bridge nft_meta_bridge, or br_netfilter; or {module_hint}"
    findings.append(_feature("connection tracking", probes.connection_tracking(), tracking))
    findings.append(_connection_table(probes))
    return findings


def _connection_table(probes: Probes) -> Finding:
    problem = probes.connection_table()
    if not problem:
        return Finding("table of connections", Health.OK, "works")
    remedy = "modprobe nf_conntrack_netlink; without it connections go on after the rule that allowed them has gone"
    return Finding("table of connections", Health.WARN, problem, remedy)


def _feature(name: str, problem: str, remedy: str) -> Finding:
    return Finding(name, Health.MISSING, problem, remedy) if problem else Finding(name, Health.OK, "works")


def _acceleration(probes: Probes) -> Finding:
    if choose_accelerator(probes.cpuinfo(), probes.kvm_opens) is Accelerator.KVM:
        return Finding("acceleration", Health.OK, "KVM")
    return Finding(
        "acceleration",
        Health.WARN,
        "none: guests are emulated (TCG), a small one starts in about 4 s",
        "a machine whose CPU shows vmx or svm in /proc/cpuinfo, with /dev/kvm",
    )


def _disk_space(probes: Probes) -> Finding:
    free = probes.free_bytes()
    text = f"{free / 2**30:.1f} GiB free"
    if free >= FREE_BYTES_MIN:
        return Finding("disk space", Health.OK, text)
    return Finding("disk space", Health.WARN, text, "1 GiB or more: point state_dir at a larger file system")


def _memory(probes: Probes) -> Finding:
    available = probes.available_memory_bytes()
    text = f"{available / 2**30:.1f} GiB available"
    if available >= MEMORY_BYTES_MIN:
        return Finding("memory", Health.OK, text)
    return Finding("memory", Health.WARN, text, "a small guest takes about 250 MB of the host's memory")


def _guest(probes: Probes) -> Finding:
    problem = probes.guest_problem()
    if not problem:
        return Finding("micro guest", Health.OK, "built")
    return Finding("micro guest", Health.WARN, problem, "cove guest build")


# -- the real machine -----------------------------------------------------------------------------------------------


def host_probes(state_dir: Path) -> Probes:
    """The probes of this machine; `state_dir` is whose file system and guest are looked at."""
    return Probes(
        effective_uid=os.geteuid,
        python_version=lambda: (sys.version_info.major, sys.version_info.minor),
        program=lambda name: shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"),
        program_version=_program_version,
        static_busybox=_static_busybox,
        make_link=_make_link,
        make_namespace=_make_namespace,
        nft_bridge=_nft_bridge,
        connection_tracking=_connection_tracking,
        connection_table=_connection_table_problem,
        cpuinfo=lambda: Path("/proc/cpuinfo").read_text(),
        kvm_opens=kvm_opens,
        free_bytes=lambda: _free_bytes(state_dir),
        available_memory_bytes=_available_memory_bytes,
        guest_problem=lambda: _guest_problem(state_dir / "guest"),
    )


def _run(argv: Sequence[str], script: str = "") -> subprocess.CompletedProcess[str] | str:
    try:
        return subprocess.run(
            argv, input=script, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def _program_version(name: str) -> tuple[int, int] | None:
    done = _run([name, "--version"])
    if isinstance(done, str):
        return None
    for word in done.stdout.split():
        parts = word.split(".")
        if len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit():
            return int(parts[0]), int(parts[1])
    return None


def _static_busybox() -> str:
    try:
        find_busybox()
    except GuestBuildError as error:
        return str(error)
    return ""


def _make_link(kind: str) -> str:
    """Make a link of the kind under a name of its own and remove it again."""
    from pyroute2 import IPRoute  # only here: the doctor also runs where parts are missing

    name = f"cvd{uuid.uuid4().hex[:10]}"
    arguments = {"kind": "tuntap", "mode": "tap"} if kind == "tap" else {"kind": kind}
    if kind == "veth":
        arguments["peer"] = f"cvp{uuid.uuid4().hex[:10]}"
    try:
        with IPRoute() as netlink:
            netlink.link("add", ifname=name, **arguments)
            for index in netlink.link_lookup(ifname=name):
                netlink.link("del", index=index)
    except Exception as error:
        return f"{error or type(error).__name__}"
    return ""


def _make_namespace() -> str:
    from cove.linux import namespaces

    name = f"cove-doctor-{uuid.uuid4().hex[:8]}"
    try:
        namespaces.create(name)
    except (OSError, CoveError) as error:
        return str(error)
    finally:
        with contextlib.suppress(OSError, CoveError):
            namespaces.remove(name)
    return ""


def _nft_bridge() -> str:
    """Have the kernel check a rule set like the one of the spoof guard, without putting it in force."""
    script = (
        "table bridge cove_doctor {\n"
        " map guests { type ifname : verdict; }\n"
        " chain base { type filter hook prerouting priority -300; policy accept; iifname vmap @guests; }\n"
        " chain guest { ether saddr != fa:16:3e:00:00:01 drop; arp saddr ip 1.1.1.1 accept; }\n"
        "}\n"
    )
    done = _run(["nft", "--check", "-f", "-"], script)
    if isinstance(done, str):
        return done
    return "" if done.returncode == 0 else " ".join(done.stderr.split())[:200]


def _connection_tracking() -> str:
    """As a security group would ask for it, without putting it in force."""
    from cove.compute.firewall import find_tracking

    try:
        asyncio.run(find_tracking())
    except (OSError, CoveError) as error:
        return str(error)
    return ""


def _connection_table_problem() -> str:
    from cove.linux import conntrack

    try:
        conntrack.forget(lambda _: False, zones={1})
    except (OSError, CoveError) as error:
        return str(error)
    return ""


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _available_memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _guest_problem(directory: Path) -> str:
    try:
        load_guest(directory)
    except GuestBuildError as error:
        return str(error)
    except PermissionError:
        return f"{directory} cannot be read"
    return ""
