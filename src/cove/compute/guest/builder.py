"""Builds the micro guest: `<directory>/{vmlinuz,initramfs.gz,manifest.json}`.

Flow: packages named by apt → fingerprint of all inputs → same as the manifest's? done : download → read kernel,
modules and IPv6 client out of the packages → initramfs → temporary directory → rename. A reader sees the old guest or
the new one, never half of one.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

import msgspec
import structlog

from cove.compute.guest import cpio
from cove.compute.guest.packages import (
    GuestBuildError,
    Kernel,
    Package,
    decompress_module,
    download,
    find_client_package,
    find_kernel_packages,
    find_libraries,
    load_order,
    module_depends,
    read_client,
    read_kernel,
    run,
)

log = structlog.get_logger(__name__)

FORMAT = 2
LEFT_BEHIND_AFTER_S = 3600.0
BUSYBOX_PATHS = (Path("/usr/bin/busybox"), Path("/bin/busybox"))
# What a virtual machine of ours needs; what is built into the kernel is not looked for.
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "button", "evdev")
MODULE_PATHS = frozenset(
    ("drivers/virtio/", "drivers/block/virtio", "drivers/net/virtio", "drivers/net/net_failover", "net/core/",
     "drivers/acpi/button", "drivers/input/evdev")
)  # fmt: skip
DIRECTORIES = (
    "bin", "dev", "etc", "lib", "lib/cove", "lib/modules", "proc", "root", "run", "sbin", "sys", "tmp",
    "var", "var/lib",
)  # fmt: skip
CLIENT = "sbin/dhcpcd"
# File in this package → path in the guest.
SCRIPTS = {
    "init": "init",
    "told.sh": "lib/cove/told.sh",
    "udhcpc.script": "lib/cove/udhcpc.script",
    "dhcpcd.script": "lib/cove/dhcpcd.script",
    "dhcpcd.conf": "lib/cove/dhcpcd.conf",
    "disktest.sh": "lib/cove/disktest.sh",
    "facts.sh": "lib/cove/facts.sh",
}
GUEST_FILES = ("vmlinuz", "initramfs.gz")
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """A built guest."""

    vmlinuz: Path
    initramfs: Path
    kernel_release: str
    fingerprint: str


class Manifest(msgspec.Struct, frozen=True):
    """What a guest was built from, and the hashes of what came out."""

    format: int
    fingerprint: str
    kernel_release: str
    packages: dict[str, str]
    modules: list[str]
    sha256: dict[str, str]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _scripts() -> dict[str, bytes]:
    package = resources.files("cove.compute.guest")
    return {target: (package / source).read_bytes() for source, target in SCRIPTS.items()}


def fingerprint(packages: list[Package], busybox: bytes, scripts: dict[str, bytes]) -> str:
    """One hash over what decides what the guest will be. The IPv6 client's libraries, this machine's, do not count."""
    inputs = {
        "format": FORMAT,
        "packages": [[package.name, package.version, package.sha256] for package in packages],
        "busybox": _sha256(busybox),
        "scripts": {name: _sha256(data) for name, data in sorted(scripts.items())},
        "modules": MODULES,
    }
    return _sha256(msgspec.json.encode(inputs, order="sorted"))


def load_guest(directory: Path) -> GuestFiles:
    """The guest that was built there. Raises GuestBuildError if there is none, or if a file was changed."""
    try:
        manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
        for name in GUEST_FILES:
            if _sha256((directory / name).read_bytes()) != manifest.sha256.get(name):
                raise GuestBuildError(f"{directory / name} is not what was built: run `cove guest build`")
    except (FileNotFoundError, NotADirectoryError):
        raise GuestBuildError(f"no guest in {directory}: run `cove guest build`") from None
    except msgspec.MsgspecError as error:
        raise GuestBuildError(f"{directory / MANIFEST}: {error}: run `cove guest build`") from None
    return _guest_files(directory, manifest)


def _guest_files(directory: Path, manifest: Manifest) -> GuestFiles:
    return GuestFiles(
        vmlinuz=directory / "vmlinuz",
        initramfs=directory / "initramfs.gz",
        kernel_release=manifest.kernel_release,
        fingerprint=manifest.fingerprint,
    )


def find_busybox() -> Path:
    """The static busybox of this machine. Raises GuestBuildError if there is none, or a dynamic one."""
    for path in BUSYBOX_PATHS:
        if path.is_file():
            # A dynamic one names its loader (PT_INTERP), and would not run in the guest, which has no libraries.
            if b"/ld-linux" in path.read_bytes()[:4096]:
                raise GuestBuildError(f"{path} is not the static one: apt-get install busybox-static")
            return path
    raise GuestBuildError("busybox is not installed: apt-get install busybox-static")


def initramfs_entries(
    busybox: bytes,
    applets: list[str],
    scripts: dict[str, bytes],
    modules: list[tuple[str, bytes]],
    programs: Mapping[str, bytes],
) -> list[cpio.Entry]:
    """Everything in the guest's file system. `modules` are (name, content) in the order to load them; `programs` are
    the IPv6 client and its libraries, by path.
    """
    above = {str(parent) for path in programs for parent in PurePosixPath(path).parents} - {".", *DIRECTORIES}
    entries = [cpio.directory(name) for name in (*DIRECTORIES, *sorted(above))]
    # The kernel opens /dev/console for init before anything is mounted.
    entries.append(cpio.character_device("dev/console", 5, 1))
    entries.append(cpio.file("bin/busybox", busybox, 0o755))
    entries += [cpio.symlink(f"bin/{applet}", "busybox") for applet in sorted(applets) if applet != "busybox"]
    entries += [cpio.file(target, data, 0o755) for target, data in sorted(scripts.items())]
    entries += [cpio.file(path, data, 0o755) for path, data in sorted(programs.items())]
    entries.append(cpio.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"))
    entries.append(cpio.file("etc/group", b"root:x:0:\n"))
    entries += [cpio.file(f"lib/modules/{name}.ko", data) for name, data in modules]
    entries.append(cpio.file("lib/modules/order", "".join(f"{name}\n" for name, _ in modules).encode()))
    return entries


async def _pick_modules(kernel: Kernel, scratch: Path) -> list[tuple[str, bytes]]:
    plain: dict[str, bytes] = {}
    depends: dict[str, tuple[str, ...]] = {}
    waiting = [name for name in MODULES if name in kernel.modules]
    while waiting:
        name = waiting.pop()
        if name in plain or name not in kernel.modules:
            continue
        path, stored = kernel.modules[name]
        plain[name] = await decompress_module(path, stored, scratch)
        depends[name] = module_depends(plain[name])
        waiting += depends[name]
    known = set(plain) | kernel.builtin
    missing = {need for needs in depends.values() for need in needs} - known
    # A list of built-in modules comes with the package or it does not (Debian's has none): only then can it be asked.
    if kernel.builtin:
        missing |= set(MODULES) - known
    if missing:
        raise GuestBuildError(f"kernel {kernel.release}: no module {', '.join(sorted(missing))}")
    return [(name, plain[name]) for name in load_order(MODULES, depends)]


async def build_guest(directory: Path, *, progress: Callable[[str], None]) -> GuestFiles:
    """Build the micro guest into `directory`, or return the one there if none of its inputs has changed.

    `progress` is told each step in a few words. Takes about 5 s plus the download of some 30 MB.
    Raises GuestBuildError.
    """
    progress("looking for the guest's kernel")
    busybox = await asyncio.to_thread(find_busybox().read_bytes)
    scripts = _scripts()
    packages = [*await find_kernel_packages(), await find_client_package()]
    wanted = fingerprint(packages, busybox, scripts)
    try:
        present = await asyncio.to_thread(load_guest, directory)
        if present.fingerprint == wanted:
            progress("the guest is up to date")
            return present
    except GuestBuildError as reason:
        log.debug("guest.build", why=str(reason))
    await asyncio.to_thread(_make_parent, directory)
    scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f".{directory.name}-", dir=directory.parent))
    try:
        return await _build(directory, scratch, packages, busybox, scripts, wanted, progress)
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)


def _make_parent(directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    for other in directory.parent.glob(f".{directory.name}-*"):
        if other.stat().st_mtime < time.time() - LEFT_BEHIND_AFTER_S:  # of a build that was killed
            shutil.rmtree(other, ignore_errors=True)


async def _build(
    directory: Path,
    scratch: Path,
    packages: list[Package],
    busybox: bytes,
    scripts: dict[str, bytes],
    wanted: str,
    progress: Callable[[str], None],
) -> GuestFiles:
    """The last of the packages is the IPv6 client's."""
    archives: list[bytes] = []
    for package in packages:
        progress(f"downloading {package.name} {package.version}")
        deb = await download(package, scratch)
        progress(f"unpacking {package.name}")
        archives.append(await run("dpkg-deb", "--fsys-tarfile", str(deb)))
        deb.unlink()
    client = read_client(archives.pop())
    kernel = await asyncio.to_thread(read_kernel, archives, MODULE_PATHS)
    del archives
    programs = {CLIENT: client, **await asyncio.to_thread(find_libraries, client)}
    progress("packing the initramfs")
    modules = await _pick_modules(kernel, scratch)
    applets = (await run(str(find_busybox()), "--list")).decode().split()
    archive = cpio.write_archive(initramfs_entries(busybox, applets, scripts, modules, programs))
    initramfs = await asyncio.to_thread(gzip.compress, archive, 9, mtime=0)
    contents = {"vmlinuz": kernel.vmlinuz, "initramfs.gz": initramfs}
    manifest = Manifest(
        format=FORMAT,
        fingerprint=wanted,
        kernel_release=kernel.release,
        packages={package.name: package.version for package in packages},
        modules=[name for name, _ in modules],
        sha256={name: _sha256(data) for name, data in contents.items()},
    )
    contents[MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest))
    await asyncio.to_thread(_publish, directory, scratch, contents)
    progress(f"the guest is ready: Linux {kernel.release}, initramfs {len(initramfs) / 2**20:.1f} MiB")
    return _guest_files(directory, manifest)


def _publish(directory: Path, scratch: Path, contents: dict[str, bytes]) -> None:
    """Write all files beside their place, then put the whole directory there by renaming."""
    fresh = scratch / "guest"
    fresh.mkdir()
    for name, data in contents.items():
        with open(fresh / name, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        # Virtual machines run as users of their own and read kernel and initramfs, which are no secrets.
        (fresh / name).chmod(0o644)
    fresh.chmod(0o755)
    if directory.exists():
        directory.rename(scratch / "old")
    fresh.rename(directory)
