"""Images of users: imported from raw and qcow2, exported to real NBD clients, and booted from."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .cove_instance import CoveInstance, eventually

SIZE = 24 << 20


def run(*command: str | Path, timeout_s: float = 120) -> str:
    """Output of a program that has to succeed."""
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True, timeout=timeout_s).stdout


def sparse_file(path: Path) -> Path:
    """A raw disk with data here and there, and holes between."""
    rng = random.Random(4)
    with path.open("wb") as file:
        file.truncate(SIZE)
        for offset in (0, 4096, (4 << 20) - 512, 9 << 20, SIZE - 4096):
            file.seek(offset)
            file.write(rng.randbytes(4096))
    return path


@contextmanager
def export_by_tcp(cove: CoveInstance, spec: str) -> Iterator[str]:
    """The URI of a read-only export on loopback."""
    command = [*cove.command, "rbd", "export-nbd", spec, "--port", "0", "--read-only"]
    export = subprocess.Popen(command, env=cove.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert export.stdout is not None
        yield export.stdout.readline().split()[0]
    finally:
        export.terminate()
        export.communicate(timeout=20)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_import_and_export(cove: CoveInstance, tmp_path: Path, kind: str) -> None:
    raw = sparse_file(tmp_path / "disk.raw")
    file = raw
    if kind == "qcow2":
        file = tmp_path / "disk.qcow2"
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, file)
    cove.cove("image", "import", str(file), "--name", "mine")
    (image,) = cove.json("image", "list")
    assert (image["name"], image["size_bytes"]) == ("mine", SIZE)
    with export_by_tcp(cove, "images/mine") as uri:
        assert uri.startswith("nbd://127.0.0.1:")
        assert json.loads(run("nbdinfo", "--json", uri))["exports"][0]["export-size"] == SIZE
        assert json.loads(run("qemu-img", "info", "--output=json", uri))["virtual-size"] == SIZE
        assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", raw, uri)
        run("nbdcopy", uri, tmp_path / "copy.raw")  # a second client: the export is read-only
    assert (tmp_path / "copy.raw").read_bytes() == raw.read_bytes()
    # only what holds data takes objects: 24 MiB are 6 objects, of which 4 have any
    assert cove.json("status")["objects"] < 6 + 6
    cove.cove("image", "delete", "mine")
    assert cove.json("image", "list") == []


def test_what_must_not_be_imported(cove: CoveInstance, tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(bytes(1 << 20))
    overlay, foreign = tmp_path / "overlay.qcow2", tmp_path / "disk.vmdk"
    run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "raw", overlay)
    run("qemu-img", "create", "-f", "vmdk", foreign, "1M")
    for file, reason in ((overlay, "refers to another file"), (foreign, "is vmdk")):
        result = cove.cove("image", "import", str(file), check=False)
        assert result.returncode == 1
        assert reason in result.stderr.replace("\n", " ")
    assert cove.cove("image", "import", str(base), "--name", "../x", check=False).returncode == 2
    assert cove.json("image", "list") == []


def test_a_name_is_taken_once(cove: CoveInstance, tmp_path: Path) -> None:
    file = tmp_path / "a.raw"
    file.write_bytes(b"first" + bytes((1 << 20) - 5))
    cove.cove("image", "import", str(file))
    again = cove.cove("image", "import", str(file), check=False)
    assert again.returncode == 1
    with export_by_tcp(cove, "images/a") as uri:  # and the first one is unharmed
        run("nbdcopy", uri, tmp_path / "copy.raw")
    assert (tmp_path / "copy.raw").read_bytes() == file.read_bytes()


def bootable_disk(path: Path, guest: Path) -> Path:
    """A disk that boots by itself: SYSLINUX on FAT, with the micro guest's kernel."""
    with path.open("wb") as file:
        file.truncate(48 << 20)
    run("mformat", "-i", path, "-T", str((48 << 20) // 512), "-h", "16", "-s", "63", "::")
    configuration = path.with_suffix(".cfg")
    configuration.write_text(
        "DEFAULT cove\nLABEL cove\n KERNEL vmlinuz\n INITRD initramfs.gz\n APPEND console=ttyS0 quiet loglevel=3\n"
    )
    run("mcopy", "-i", path, configuration, "::syslinux.cfg")
    for name in ("vmlinuz", "initramfs.gz"):
        run("mcopy", "-i", path, guest / name, f"::{name}")
    run("syslinux", "--install", path)
    return path


def test_boot_from_an_image(cove_with_guest: CoveInstance, guest_directory: Path, tmp_path: Path) -> None:
    cove = cove_with_guest
    disk = bootable_disk(tmp_path / "bootable.raw", guest_directory)
    cove.cove("image", "import", str(disk))
    cove.cove("network", "create", "lab")
    cove.cove("subnet", "create", "lab", "--network", "lab", "--cidr", "10.0.0.0/24", "--gateway", "none")
    server = cove.json("boot", "vm1", "--network", "lab", "--image", "bootable", "--disk", "64M", "--memory", "160M")
    assert server["status"] == "ACTIVE"
    with cove.client() as client:

        def lease() -> bool:
            steps = client.get(f"/cove/v1/timelines/{server['id']}").json()["steps"]
            return any(step["name"] == "lease" for step in steps)

        eventually(lease, 120, "the guest on the imported disk gets its lease")
    (shown,) = cove.json("server", "list")
    assert shown["image"]["id"] == "bootable"
    # a disk smaller than its image is refused, and nothing is left of the attempt
    refused = cove.cove("boot", "vm2", "--network", "lab", "--image", "bootable", "--disk", "16M", check=False)
    assert refused.returncode == 1
    assert [row["name"] for row in cove.json("rbd", "ls", "rbd")] == ["vm1-disk"]
    cove.cove("server", "delete", "vm1")
