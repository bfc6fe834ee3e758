"""Security groups on the distribution's own kernel, whose bridges track connections: the way that most machines go.

Where this machine's kernel has that, its own tests show it. Where it has not, they run once more, in a virtual machine
with the kernel that guests have, whose root is this machine's, read-only, with all that is written kept in memory.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cove.compute.firewall import find_tracking
from cove.compute.firewall_table import Tracking
from cove.compute.guest import cpio, packages
from cove.compute.guest.builder import find_busybox
from cove.compute.hypervisor import kvm_opens
from cove.compute.qemu import choose_accelerator

REPOSITORY = Path(__file__).resolve().parents[3]
VIRTIOFSD = next((p for p in (Path("/usr/libexec/virtiofsd"), Path("/usr/lib/qemu/virtiofsd")) if p.exists()), None)
BOOT_AND_TESTS_S = 600
MEMORY = "1500M"
MODULES = (
    "crc32c_generic", "virtio_pci", "virtiofs", "overlay", "bridge", "veth", "nf_tables", "nft_ct", "nft_meta_bridge",
    "nf_conntrack_bridge", "nf_conntrack_netlink", "af_packet", "ipv6",
)  # fmt: skip
MODULE_PATHS = frozenset(
    ("drivers/virtio/", "fs/fuse/", "fs/overlayfs/", "net/", "drivers/net/veth", "lib/", "crypto/", "arch/x86/crypto/")
)
INIT = """#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
while read module; do insmod /modules/$module; done < /modules/order
mount -t virtiofs -o ro host /lower
mount -t tmpfs memory /memory; mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay /root
for where in proc sys dev; do mount -o move /$where /root/$where; done
mkdir /repository; mount -o bind /root{repository} /repository
for where in tmp run var/tmp; do mount -t tmpfs memory /root/$where; done
mkdir -p /root{repository}; mount -o move /repository /root{repository}
mkdir -p /root/dev/shm; mount -t tmpfs memory /root/dev/shm; ip link set lo up
exec switch_root /root /bin/sh -c '{command}; echo "tests ended with $?"; busybox poweroff -f'
"""
TESTS = ("test_firewall.py", "test_firewall_with_cove.py", "test_spoofguard.py")


async def boot_files(directory: Path) -> tuple[Path, Path]:
    """The kernel, and an initramfs that runs the tests."""
    archives = []
    for package in await packages.find_kernel_packages():
        archive = await packages.download(package, directory)
        archives.append(await packages.run("dpkg-deb", "--fsys-tarfile", str(archive)))
    kernel = packages.read_kernel(archives, MODULE_PATHS)
    plain = {
        name: await packages.decompress_module(path, data, directory) for name, (path, data) in kernel.modules.items()
    }
    order = packages.load_order(MODULES, {name: packages.module_depends(data) for name, data in plain.items()})
    tests = " ".join(f"tests/integration/compute/{name}" for name in TESTS)
    command = (
        f"cd {REPOSITORY} && PATH={os.environ['PATH']} PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=src"
        f" {sys.executable} -m pytest -q -p no:cacheprovider --tb=short {tests}"
    )
    entries = [cpio.directory(name) for name in ("bin", "dev", "lower", "memory", "modules", "proc", "root", "sys")]
    entries += [
        cpio.character_device("dev/console", 5, 1),
        cpio.file("bin/busybox", find_busybox().read_bytes(), 0o755),
        cpio.symlink("bin/sh", "busybox"),
        cpio.file("init", INIT.replace("{command}", command).replace("{repository}", str(REPOSITORY)).encode(), 0o755),
        cpio.file("modules/order", "".join(f"{name}.ko\n" for name in order).encode()),
        *(cpio.file(f"modules/{name}.ko", plain[name]) for name in order),
    ]
    initramfs, vmlinuz = directory / "initramfs", directory / "vmlinuz"
    initramfs.write_bytes(cpio.write_archive(entries))
    vmlinuz.write_bytes(kernel.vmlinuz)
    return vmlinuz, initramfs


@pytest.mark.timeout(BOOT_AND_TESTS_S + 120)
def test_security_groups_where_bridges_track_connections(tmp_path: Path) -> None:
    if asyncio.run(find_tracking()) is Tracking.BRIDGE:
        pytest.skip("this machine's kernel is such a one")
    if VIRTIOFSD is None:
        pytest.skip("virtiofsd is not installed")
    vmlinuz, initramfs = asyncio.run(boot_files(tmp_path))
    accelerator = choose_accelerator(Path("/proc/cpuinfo").read_text(), kvm_opens)
    socket, log = tmp_path / "fs.sock", tmp_path / "console"
    shared = ["-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-numa", "node,memdev=memory"]
    files = [
        "-chardev", f"socket,id=fs,path={socket}",
        "-device", "vhost-user-fs-pci,chardev=fs,tag=host",
    ]  # fmt: skip
    server = subprocess.Popen(
        [VIRTIOFSD, f"--socket-path={socket}", "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < deadline
            assert server.poll() is None, "virtiofsd has ended"
            time.sleep(0.02)
        with open(log, "wb") as console:
            subprocess.run(
                [
                    "qemu-system-x86_64", "-accel", accelerator, "-cpu", "max",
                    "-m", MEMORY, *shared, *files, "-nographic", "-no-reboot", "-net", "none",
                    "-kernel", str(vmlinuz), "-initrd", str(initramfs), "-append", "console=ttyS0 panic=-1 quiet",
                ],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=BOOT_AND_TESTS_S, check=False,
            )  # fmt: skip
    finally:
        server.kill()
        server.wait()
    said = log.read_text(errors="replace")
    assert "tests ended with 0" in said, said[-5000:]
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) > 20, "what needs br_netfilter is skipped, and nothing else"
