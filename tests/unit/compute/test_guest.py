"""The guest's builder, scripts and report, without building or booting one."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.compute.guest import GuestBuildError, builder, disk_pattern, elf, facts, load_guest, packages, parse_facts

SHOW = """\
Package: linux-image-virtual
Version: 6.8.0-50.51
Depends: linux-image-6.8.0-50-generic, linux-modules-extra (>= 1), grub-pc | grub-efi-amd64
Description: kernel
 Depends: not this one
SHA256: 00ff

Package: another
Version: 1
"""
SCRIPTS = sorted(set(builder.SCRIPTS) - {"dhcpcd.conf"})


def test_parse_show() -> None:
    found = packages.parse_show(SHOW)
    wanted = ("linux-image-6.8.0-50-generic", "linux-modules-extra", "grub-pc", "grub-efi-amd64")
    assert found == packages.Package("linux-image-virtual", "6.8.0-50.51", "00ff", wanted)


def test_parse_show_of_nothing() -> None:
    with pytest.raises(GuestBuildError, match="Package"):
        packages.parse_show("")


@pytest.mark.parametrize(
    ("distribution", "known", "wanted"),
    [
        (
            "Debian",
            {"linux-image-cloud-amd64": "linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64": "kmod"},
            ["linux-image-6.1.0-9-cloud-amd64"],
        ),
        (
            "Ubuntu",
            {
                "linux-image-virtual": "linux-image-6.8.0-50-generic",
                "linux-image-6.8.0-50-generic": "kmod, linux-modules-6.8.0-50-generic",
                "linux-modules-6.8.0-50-generic": "",
            },
            ["linux-image-6.8.0-50-generic", "linux-modules-6.8.0-50-generic"],
        ),
    ],
)
async def test_find_kernel_packages(
    monkeypatch: pytest.MonkeyPatch, distribution: str, known: dict[str, str], wanted: list[str]
) -> None:
    async def run(*argv: str, **_: object) -> bytes:
        if argv[-1] not in known:
            raise GuestBuildError("unknown")
        return f"Package: {argv[-1]}\nVersion: 1\nDepends: {known[argv[-1]]}\n".encode()

    monkeypatch.setattr(packages, "run", run)
    assert [package.name for package in await packages.find_kernel_packages()] == wanted


async def test_no_kernel_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*argv: str, **_: object) -> bytes:
        raise GuestBuildError("unknown")

    monkeypatch.setattr(packages, "run", run)
    with pytest.raises(GuestBuildError, match="apt-get update"):
        await packages.find_kernel_packages()


def tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_read_kernel_of_two_packages() -> None:
    image = tar({"./boot/vmlinuz-6.8.0-50-generic": b"kernel"})
    modules = tar(
        {
            "./usr/lib/modules/6.8.0/kernel/drivers/virtio/virtio-pci.ko.zst": b"packed",
            "./lib/modules/6.8.0/kernel/drivers/usb/usb.ko": b"not wanted",
            "./lib/modules/6.8.0/modules.builtin": b"kernel/drivers/block/virtio_blk.ko\nkernel/fs/ext4/ext4.ko\n",
        }
    )
    kernel = packages.read_kernel([image, modules], builder.MODULE_PATHS)
    assert (kernel.release, kernel.vmlinuz) == ("6.8.0-50-generic", b"kernel")
    assert kernel.modules == {"virtio_pci": ("kernel/drivers/virtio/virtio-pci.ko.zst", b"packed")}
    assert kernel.builtin == {"virtio_blk", "ext4"}


def test_a_package_without_kernel() -> None:
    with pytest.raises(GuestBuildError, match="vmlinuz"):
        packages.read_kernel([tar({})], builder.MODULE_PATHS)


def test_module_depends() -> None:
    assert packages.module_depends(b"ELF\0license=GPL\0depends=virtio-ring,virtio\0name=x\0") == (
        "virtio_ring",
        "virtio",
    )
    assert packages.module_depends(b"\0depends=\0") == ()


@given(st.dictionaries(st.integers(0, 9), st.sets(st.integers(0, 9)), max_size=10))
def test_load_order(graph: dict[int, set[int]]) -> None:
    """Each after those it needs; with lower numbers needing only higher ones there is no circle."""
    depends = {str(n): tuple(str(m) for m in sorted(needs) if m > n) for n, needs in graph.items()}
    order = packages.load_order(depends, depends)
    assert sorted(order) == sorted(depends)
    for name in order:
        for needed in depends[name]:
            if needed in depends:
                assert order.index(needed) < order.index(name)


def test_modules_in_a_circle() -> None:
    with pytest.raises(GuestBuildError, match="a → b → a"):
        packages.load_order(["a"], {"a": ("b",), "b": ("a",)})


@pytest.mark.parametrize("kind", ["", ".gz", ".xz", ".zst"])
async def test_modules_are_decompressed(tmp_path: Path, kind: str) -> None:
    import gzip
    import lzma

    data = b"module" * 100
    if kind == ".zst":
        if shutil.which("zstd") is None:
            pytest.skip("no zstd")
        packed = subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout
    else:
        packed = {"": lambda d: d, ".gz": gzip.compress, ".xz": lzma.compress}[kind](data)
    assert await packages.decompress_module(f"kernel/a.ko{kind}", packed, tmp_path) == data


async def test_a_module_of_unknown_compression(tmp_path: Path) -> None:
    with pytest.raises(GuestBuildError, match="unknown kind"):
        await packages.decompress_module("a.ko.lz9", b"", tmp_path)


async def test_modules_that_are_missing(tmp_path: Path) -> None:
    kernel = packages.Kernel("6.8", b"", {}, frozenset({"virtio_pci"}))
    with pytest.raises(GuestBuildError, match="no module button, evdev, virtio_blk, virtio_net"):
        await builder._pick_modules(kernel, tmp_path)


async def test_a_programs_failure_says_why() -> None:
    with pytest.raises(GuestBuildError, match="failed with 3: because"):
        await packages.run("sh", "-c", "echo because >&2; exit 3")
    with pytest.raises(GuestBuildError, match="not installed"):
        await packages.run("cove-no-such-program")
    with pytest.raises(GuestBuildError, match="no end after"):
        await packages.run("sleep", "60", timeout_s=0.05)


def test_initramfs_has_what_init_uses() -> None:
    scripts = builder._scripts()
    programs = {"sbin/dhcpcd": b"client", "lib64/ld.so": b"loader", "lib/x86/libc.so.6": b"libc"}
    modules = [("b", b"2"), ("a", b"1")]
    entries = builder.initramfs_entries(b"busybox", ["sh", "busybox", "dd"], scripts, modules, programs)
    by_name = {entry.name: entry for entry in entries}
    assert by_name["lib/modules/order"].data == b"b\na\n"
    assert by_name["bin/sh"].data == b"busybox"
    assert by_name["dev/console"].rdev == (5, 1)
    assert {"init", "lib/cove/facts.sh", "lib/cove/disktest.sh", "lib/cove/udhcpc.script"} <= set(by_name)
    assert all(by_name[target].mode & 0o111 for target in (*scripts, *programs))
    seen: set[str] = set()
    for entry in entries:  # each directory comes before what is in it
        parent = entry.name.rpartition("/")[0]
        assert not parent or parent in seen, entry.name
        seen.add(entry.name)


def test_what_a_program_needs(tmp_path: Path) -> None:
    program = Path(sys.executable).resolve().read_bytes()
    needs = elf.read_needs(program)
    assert needs.loader.startswith("/lib")
    assert "libc.so.6" in needs.libraries
    found = packages.find_libraries(program)
    assert {needs.loader.lstrip("/"), "lib/x86_64-linux-gnu/libc.so.6"} <= found.keys()
    assert {path.rpartition("/")[2] for path in found} >= set(needs.libraries)
    with pytest.raises(GuestBuildError, match="ld-linux"):
        packages.find_libraries(program, tmp_path)


def test_a_static_program_needs_nothing() -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox")
    assert elf.read_needs(Path(busybox).read_bytes()) == elf.Needs("", ())


@given(st.binary(max_size=300), st.integers(0, 2000), st.integers(0, 255))
def test_a_broken_program_is_refused_and_does_no_harm(noise: bytes, at: int, byte: int) -> None:
    whole = Path("/lib64/ld-linux-x86-64.so.2")
    broken = bytearray(whole.read_bytes()[:4096] if whole.exists() else b"\x7fELF\x02\x01" + bytes(300))
    broken[at % len(broken)] = byte
    for data in (noise, b"\x7fELF\x02\x01" + noise, bytes(broken)):
        try:
            elf.read_needs(data)
        except ValueError:
            pass


def test_the_client_is_read_out_of_its_package() -> None:
    assert packages.read_client(tar({"./usr/share/doc/x": b"", "./usr/sbin/dhcpcd": b"client"})) == b"client"
    with pytest.raises(GuestBuildError, match="dhcpcd"):
        packages.read_client(tar({"./usr/sbin/other": b"client"}))


def test_fingerprint_sees_every_input() -> None:
    package = packages.Package("linux", "1", "aa", ())
    base = builder.fingerprint([package], b"busybox", {"init": b"1"})
    assert base == builder.fingerprint([package], b"busybox", {"init": b"1"})
    others = [
        builder.fingerprint([packages.Package("linux", "2", "aa", ())], b"busybox", {"init": b"1"}),
        builder.fingerprint([package], b"other", {"init": b"1"}),
        builder.fingerprint([package], b"busybox", {"init": b"2"}),
    ]
    assert len({base, *others}) == 4


def test_load_guest(tmp_path: Path) -> None:
    with pytest.raises(GuestBuildError, match="cove guest build"):
        load_guest(tmp_path / "none")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(GuestBuildError, match="cove guest build"):
        load_guest(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
def test_scripts_are_shell(script: str, shell: str) -> None:
    if shutil.which(shell.split()[0]) is None:
        pytest.skip(f"no {shell}")
    text = (resources.files("cove.compute.guest") / script).read_bytes()
    assert text.startswith(b"#!/bin/sh\n")
    subprocess.run([*shell.split(), "-n"], input=text, check=True)


# -- the disk test, on files ----------------------------------------------------------------------------------------

SIZE = 4 << 20
INSTANCE = "11111111-2222-3333-4444-555555555555"


def disktest(directory: Path, disk: Path, mode: str, instance: str = INSTANCE) -> str:
    """The guest's script, on a file instead of /dev/vda."""
    script = (resources.files("cove.compute.guest") / "disktest.sh").read_text()
    (directory / "size").write_text(f"{disk.stat().st_size // 512}\n")
    for old, new in (
        ("disk=/dev/vda", f"disk={disk}"),
        ("[ -b $disk ]", "[ -f $disk ]"),
        ("/sys/block/vda/size", f"{directory}/size"),
        ("/proc/sys/vm/drop_caches", "/dev/null"),
        ("iflag=direct", "iflag=fullblock"),
        ("/run/", f"{directory}/"),
    ):
        assert old in script
        script = script.replace(old, new)
    subprocess.run(["sh", "-s", mode, instance], input=script, text=True, check=True)
    return (directory / "disktest").read_text().strip()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(SIZE)
    return path


def test_a_blank_disk_gets_the_pattern_once(tmp_path: Path, disk: Path) -> None:
    assert disktest(tmp_path, disk, "write") == "yes written"
    content = disk.read_bytes()
    pattern = disk_pattern(INSTANCE)
    start = facts.DISK_PATTERN_OFFSET
    assert content == bytes(start) + pattern + bytes(SIZE - start - len(pattern))
    for mode in ("write", "read"):
        assert disktest(tmp_path, disk, mode) == "yes kept"
    assert disktest(tmp_path, disk, "write", "another") == "no foreign"
    assert disk.read_bytes() == content


@pytest.mark.parametrize("offset", [0, 1080, 65536, 1 << 20, (2 << 20) - 1, SIZE - 1])
def test_what_is_not_blank_is_left_alone(tmp_path: Path, disk: Path, offset: int) -> None:
    with open(disk, "r+b") as file:
        file.seek(offset)
        file.write(b"\x01")
    before = disk.read_bytes()
    assert disktest(tmp_path, disk, "write") == "no foreign"
    assert disk.read_bytes() == before


@pytest.mark.parametrize(("mode", "verdict"), [("read", "no foreign"), ("", "no off"), ("1", "no off")])
def test_nothing_is_written_unless_asked(tmp_path: Path, disk: Path, mode: str, verdict: str) -> None:
    assert disktest(tmp_path, disk, mode) == verdict
    assert disk.read_bytes() == bytes(SIZE)


def test_a_disk_that_is_too_small(tmp_path: Path, disk: Path) -> None:
    with open(disk, "r+b") as file:
        file.truncate(1 << 20)
    assert disktest(tmp_path, disk, "write") == "no small"


# -- the report -----------------------------------------------------------------------------------------------------

REPORT = f"""\r
boot noise
{facts.BEGIN}\r
hostname=vm1\r
kernel=6.1.0\r
nic=eth0 mac=FA:16:3E:3C:A3:3E mtu=1450 carrier=1\r
address=1.1.1.10/24 dev=eth0\r
address=fd77:1::10/128 dev=eth0\r
nic=eth1 mac=fa:16:3e:00:00:01 mtu=x carrier=\r
address=fd77:1::11/64 dev=eth9\r
route=default via 1.1.1.1 dev eth0\r
route6=fd77:1::/64 dev eth0  metric 1002\r
search=lab.test openstacklocal\r
nameserver=1.1.1.2\r
nameserver=fd77:1::2\r
option4=tftp 1.1.1.9\r
option4=opt150 0a420108\r
option6=bootfile_url tftp://[fd77:1::9]/x y\r
disk=vda bytes=268435456 serial=abc verified=yes state=written\r
{facts.END}\r
"""


def test_parse_facts() -> None:
    found = parse_facts(REPORT)
    assert found is not None
    assert (found.hostname, found.kernel) == ("vm1", "6.1.0")
    assert found.nics == (
        facts.Nic("eth0", "fa:16:3e:3c:a3:3e", 1450, ("1.1.1.10/24", "fd77:1::10/128")),
        facts.Nic("eth1", "fa:16:3e:00:00:01", 0),
    )
    assert found.nics[0].ip_addresses == ("1.1.1.10", "fd77:1::10")
    assert found.disks == (facts.Disk("vda", 268435456, "abc", True, "written"),)
    assert found.routes == ("default via 1.1.1.1 dev eth0",)
    assert found.routes_6 == ("fd77:1::/64 dev eth0  metric 1002",)
    assert found.nameservers == ("1.1.1.2", "fd77:1::2")
    assert found.search == ("lab.test", "openstacklocal")
    assert found.options == {"tftp": "1.1.1.9", "opt150": "0a420108"}
    assert found.options_6 == {"bootfile_url": "tftp://[fd77:1::9]/x y"}


def test_the_last_whole_report_counts() -> None:
    assert parse_facts(REPORT.split(facts.END)[0]) is None
    later = REPORT + REPORT.replace("vm1", "vm2") + facts.BEGIN + "\nhostname=vm3\n"
    found = parse_facts(later)
    assert found is not None
    assert found.hostname == "vm2"


@given(st.text())
def test_a_guest_may_say_anything(text: str) -> None:
    parse_facts(f"{facts.BEGIN}\n{text}\n{facts.END}")
    parse_facts(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "nic=",
                "disk=vda",
                "bytes=",
                "=",
                "\n",
                " ",
                "9" * 30,
                "mac",
                "address=",
                "dev=",
                "option4",
                "route=",
                "²",
            ]
        )
    )
)
def test_a_guest_may_say_anything_odd(words: list[str]) -> None:
    parse_facts(f"{facts.BEGIN}\n{''.join(words)}\n{facts.END}")


def test_disk_pattern_depends_on_the_instance() -> None:
    assert disk_pattern("a") != disk_pattern("b")
    assert len(disk_pattern("a")) == facts.DISK_PATTERN_BYTES
    with pytest.raises(ValueError, match="instance id"):
        disk_pattern("a b")
