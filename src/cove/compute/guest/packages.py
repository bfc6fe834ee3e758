"""Where the guest's kernel and its IPv6 client come from: the distribution's own packages, unpacked, not installed.

Debian: linux-image-cloud-amd64 names the real image package, which holds kernel and modules. Ubuntu:
linux-image-kvm or linux-image-virtual name it, and the modules are in a second package, linux-modules-…, compressed
with zstd. Only apt's and dpkg's everyday commands are used, and nothing here needs root.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import lzma
import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cove.compute.guest import elf
from cove.errors import CoveError

DOWNLOAD_TIMEOUT_S = 900.0
COMMAND_TIMEOUT_S = 120.0
# Packages that name the kernel for virtual machines, best first: those that apt knows decide the distribution.
META_PACKAGES = ("linux-image-cloud-amd64", "linux-image-kvm", "linux-image-virtual")
CLIENT_PACKAGE = "dhcpcd-base"
CLIENT_PROGRAM = re.compile(r"^(?:usr/)?sbin/dhcpcd$")
# Where the dynamic loader looks, in its order; they are one and the same on most machines.
LIBRARY_PLACES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib")
IMAGE_PACKAGE = re.compile(r"^linux-image-(?:unsigned-)?\d[\w.+~-]*$")
MODULES_PACKAGE = re.compile(r"^linux-modules-\d[\w.+~-]*$")


class GuestBuildError(CoveError):
    """The guest could not be built: says which step failed, and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package as apt would install it."""

    name: str
    version: str
    sha256: str
    depends: tuple[str, ...]


def parse_show(text: str) -> Package:
    """The first stanza of `apt-cache show`. Of alternatives in Depends (a | b) all are kept, in order."""
    fields: dict[str, str] = {}
    for line in text.split("\n\n", 1)[0].splitlines():
        if not line.startswith(" ") and ": " in line:
            key, value = line.split(": ", 1)
            fields.setdefault(key, value)
    try:
        name, version = fields["Package"], fields["Version"]
    except KeyError as missing:
        raise GuestBuildError(f"apt-cache show: no field {missing} in its answer") from None
    alternatives = re.split(r"[,|]", fields.get("Depends", ""))
    depends = tuple(part.split("(")[0].split(":")[0].strip() for part in alternatives if part.strip())
    return Package(name, version, fields.get("SHA256", ""), depends)


async def run(*argv: str, cwd: Path | None = None, timeout_s: float = COMMAND_TIMEOUT_S) -> bytes:
    """Output of a program. Raises GuestBuildError with its last words if it fails, is absent or takes too long."""
    environment = {**os.environ, "LC_ALL": "C"}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=cwd, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except FileNotFoundError:
        raise GuestBuildError(f"{argv[0]} is not installed") from None
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        raise GuestBuildError(f"{' '.join(argv)}: no end after {timeout_s:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last_words = err.decode(errors="replace").strip()[-400:]
        raise GuestBuildError(f"{' '.join(argv)} failed with {process.returncode}: {last_words}")
    return out


async def show(name: str) -> Package:
    """The package as apt's lists have it now. Raises GuestBuildError."""
    return parse_show((await run("apt-cache", "show", "--no-all-versions", name)).decode())


async def find_kernel_packages() -> list[Package]:
    """The packages with the kernel and its modules, as apt's lists have them now."""
    for meta_name in META_PACKAGES:
        try:
            meta = await show(meta_name)
        except GuestBuildError:
            continue
        image_names = [name for name in meta.depends if IMAGE_PACKAGE.fullmatch(name)]
        if not image_names:
            continue
        image = await show(image_names[0])
        modules = [name for name in (*image.depends, *meta.depends) if MODULES_PACKAGE.fullmatch(name)]
        return [image, *[await show(name) for name in dict.fromkeys(modules)]]
    raise GuestBuildError(
        f"apt knows none of {', '.join(META_PACKAGES)}: run `apt-get update`"
        " (the guest's kernel comes from Debian 12 or Ubuntu 24.04, amd64)"
    )


async def find_client_package() -> Package:
    """The package with the client for IPv6: advertisements and DHCPv6, which busybox here has not."""
    try:
        return await show(CLIENT_PACKAGE)
    except GuestBuildError as error:
        raise GuestBuildError(f"apt does not know {CLIENT_PACKAGE}: run `apt-get update` ({error})") from None


async def download(package: Package, directory: Path) -> Path:
    """Fetch a package's .deb into the directory with apt, which checks it against the signed lists."""
    options = ["-q"]
    if os.geteuid() == 0:
        # apt would fetch as user _apt, who may not write here; the check of signature and hash is the same.
        options += ["-o", "APT::Sandbox::User=root"]
    wanted = f"{package.name}={package.version}"
    await run("apt-get", *options, "download", wanted, cwd=directory, timeout_s=DOWNLOAD_TIMEOUT_S)
    found = sorted(directory.glob(f"{package.name}_*.deb"))
    if not found:
        raise GuestBuildError(f"apt-get download {wanted}: left no file {package.name}_*.deb")
    return found[0]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel and its modules: module name (with _ for -) to path in the package and content as stored."""

    release: str
    vmlinuz: bytes
    modules: Mapping[str, tuple[str, bytes]]
    builtin: frozenset[str]


def read_client(archive: bytes) -> bytes:
    """The client's program out of its package's tar archive."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        for member in tar:
            if member.isfile() and CLIENT_PROGRAM.fullmatch(member.name.removeprefix("./")):
                return _content(tar, member)
    raise GuestBuildError(f"package {CLIENT_PACKAGE} holds no {CLIENT_PROGRAM.pattern}")


def find_libraries(program: bytes, root: Path = Path("/")) -> dict[str, bytes]:
    """Loader and libraries that the program needs, from this machine: path (relative to /) to content. Blocking.

    They are of the same release of the distribution as the program, which apt was asked for here.
    """
    found: dict[str, bytes] = {}
    needs = _needs("the IPv6 client", program)
    if needs.loader:
        loader = needs.loader.lstrip("/")
        found[loader] = _library(root, loader)
    waiting = list(needs.libraries)
    seen = {PurePosixPath(needs.loader).name}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if PurePosixPath(name).name != name:
            raise GuestBuildError(f"the IPv6 client needs {name!r}, which is no library's name")
        place = next((place for place in LIBRARY_PLACES if (root / place / name).is_file()), None)
        if place is None:
            raise GuestBuildError(
                f"the guest's IPv6 client needs {name}: install it (`apt-get install {CLIENT_PACKAGE}`)"
            )
        found[f"{LIBRARY_PLACES[0]}/{name}"] = content = _library(root, f"{place}/{name}")
        waiting += _needs(name, content).libraries
    return found


def _library(root: Path, path: str) -> bytes:
    try:
        return (root / path).read_bytes()
    except OSError as error:
        raise GuestBuildError(f"{root / path}: {error.strerror}") from None


def _needs(what: str, data: bytes) -> elf.Needs:
    try:
        return elf.read_needs(data)
    except ValueError as error:
        raise GuestBuildError(f"{what}: {error}") from None


def module_name(path: str) -> str:
    """`…/virtio-rng.ko.zst` → `virtio_rng`."""
    return PurePosixPath(path).name.split(".ko")[0].replace("-", "_")


def read_kernel(archives: Iterable[bytes], wanted: frozenset[str]) -> Kernel:
    """Kernel, modules and list of built-in modules out of the packages' tar archives.

    `wanted` are prefixes of paths below `kernel/`: only modules there are read, as there are thousands.
    """
    vmlinuz = b""
    release = ""
    modules: dict[str, tuple[str, bytes]] = {}
    builtin: set[str] = set()
    for archive in archives:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if not member.isfile():
                    continue
                if path.startswith("boot/vmlinuz-"):
                    release = path.removeprefix("boot/vmlinuz-")
                    vmlinuz = _content(tar, member)
                    continue
                _, found, below = path.removeprefix("usr/").partition("lib/modules/")
                if not found:
                    continue
                inner = below.partition("/")[2]
                if inner == "modules.builtin":
                    builtin.update(module_name(line) for line in _content(tar, member).decode().split())
                elif ".ko" in inner and inner.removeprefix("kernel/").startswith(tuple(wanted)):
                    modules[module_name(inner)] = (inner, _content(tar, member))
    if not vmlinuz:
        raise GuestBuildError("the kernel package holds no boot/vmlinuz-*")
    return Kernel(release, vmlinuz, modules, frozenset(builtin))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = tar.extractfile(member)
    if source is None:
        raise GuestBuildError(f"{member.name}: not a file")
    with source:
        return source.read()


async def decompress_module(path: str, data: bytes, scratch: Path) -> bytes:
    """A module as busybox's insmod takes it: uncompressed, whatever the distribution stores."""
    if path.endswith(".ko"):
        return data
    if path.endswith(".ko.gz"):
        return gzip.decompress(data)
    if path.endswith(".ko.xz"):
        return lzma.decompress(data)
    if path.endswith(".ko.zst"):
        packed = scratch / PurePosixPath(path).name
        await asyncio.to_thread(packed.write_bytes, data)
        return await run("zstd", "-q", "-d", "-c", str(packed))
    raise GuestBuildError(f"{path}: unknown kind of compressed module")


def module_depends(data: bytes) -> tuple[str, ...]:
    """The modules that this one says it needs (`depends=` in its .modinfo section)."""
    found = re.search(rb"\0depends=([^\0]*)\0", data)
    names = found.group(1).decode().split(",") if found else []
    return tuple(name.replace("-", "_") for name in names if name)


def load_order(wanted: Iterable[str], depends: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Modules in an order in which each comes after those it needs. Names absent from `depends` are left out.

    Raises GuestBuildError for a circle.
    """
    order: list[str] = []
    open_names: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in depends:
            return
        if name in open_names:
            raise GuestBuildError(f"modules depend on each other: {' → '.join([*open_names, name])}")
        open_names.append(name)
        for needed in depends[name]:
            visit(needed)
        open_names.pop()
        order.append(name)

    for name in wanted:
        visit(name)
    return order
