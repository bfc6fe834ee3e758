"""QEMU's command line, the choice of accelerator, and user ids."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.compute import qemu
from cove.compute.uids import UidPool

ID = "01234567-89ab-cdef-0123-456789abcdef"
SPEC = qemu.InstanceSpec(
    id=ID,
    name="vm1",
    memory_mb=128,
    accelerator=qemu.Accelerator.TCG,
    mac_address="fa:16:3e:3c:a3:3e",
    mtu=1450,
    disk_socket=Path(f"/run/cove/instances/{ID}/disk.sock"),
    disk_export="vm1-disk",
    disk_serial=ID,
    boot=qemu.KernelBoot(qemu.kernel_arguments("vm1", ID, disk_test="write")),
)

GOLDEN = f"""\
/usr/bin/qemu-system-x86_64
-name guest=vm1
-uuid {ID}
-nodefaults
-no-user-config
-display none
-msg timestamp=on
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine q35,usb=off,vmport=off,smbus=off,sata=off,graphics=off,dump-guest-core=off
-accel tcg,tb-size=32
-cpu max
-smp 1
-m 128
-add-fd fd=6,set=6
-chardev socket,id=serial0,fd=4,server=on,wait=off,logfile=/dev/fdset/6,logappend=on
-serial chardev:serial0
-chardev socket,id=qmp0,fd=5,server=on,wait=off
-mon chardev=qmp0,mode=control
-netdev tap,id=net0,fd=3
-device virtio-net-pci,netdev=net0,id=nic0,mac=fa:16:3e:3c:a3:3e,host_mtu=1450,romfile=
-blockdev {{"driver":"nbd","node-name":"disk0","server":{{"type":"unix","path":"/run/cove/instances/{ID}/disk.sock"}},\
"export":"vm1-disk","reconnect-delay":30,"discard":"unmap"}}
-device virtio-blk-pci,drive=disk0,id=vda,serial=01234567-89ab-cdef-0,werror=stop,rerror=stop,bootindex=1
-device pcie-root-port,id=hotplug1,bus=pcie.0,chassis=1,slot=1
-device pcie-root-port,id=hotplug2,bus=pcie.0,chassis=2,slot=2
-device pcie-root-port,id=hotplug3,bus=pcie.0,chassis=3,slot=3
-device pcie-root-port,id=hotplug4,bus=pcie.0,chassis=4,slot=4
-object rng-builtin,id=rng0
-device virtio-rng-pci,rng=rng0
-kernel /proc/self/fd/7
-initrd /proc/self/fd/8
-append console=ttyS0 quiet loglevel=3 cove.hostname=vm1 cove.instance={ID} cove.disktest=write
"""


def in_lines(argv: list[str]) -> str:
    """One option and its value a line."""
    text = argv[0]
    for word in argv[1:]:
        text += ("\n" if word.startswith("-") else " ") + word
    return text + "\n"


def test_golden_command_of_the_micro_guest() -> None:
    assert in_lines(qemu.command(SPEC)) == GOLDEN


def test_a_disk_boot_has_no_kernel() -> None:
    argv = qemu.command(dataclasses.replace(SPEC, boot=qemu.DiskBoot()))
    assert not {"-kernel", "-initrd", "-append"} & set(argv)
    assert argv[-2:] == ["-boot", "strict=on"]


def test_kvm() -> None:
    argv = qemu.command(dataclasses.replace(SPEC, accelerator=qemu.Accelerator.KVM))
    assert argv[argv.index("-accel") + 1] == "kvm"
    assert argv[argv.index("-cpu") + 1] == "host"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "vm1"),
        ("name", "vm1,debug-threads=on"),
        ("name", "vm 1"),
        ("name", ""),
        ("name", "a" * 64),
        ("name", "vm1\n"),
        ("memory_mb", 64),
        ("vcpus", 0),
        ("mac_address", "FA:16:3e:00:00:01"),
        ("mac_address", "fa:16:3e:00:00:01,x=y"),
        ("mtu", 20),
        ("disk_serial", "a,b"),
        ("disk_export", "a b"),
        ("disk_socket", Path("disk.sock")),
        ("disk_socket", Path("/" + "a" * 108)),
        ("boot", qemu.KernelBoot(("init=/bin/sh -c",))),
        ("boot", qemu.KernelBoot(("a\nb",))),
    ],
)
def test_what_must_not_get_onto_a_command_line(field: str, value: Any) -> None:
    with pytest.raises(qemu.SpecError, match=field if field != "boot" else "kernel argument"):
        qemu.command(dataclasses.replace(SPEC, **{field: value}))


def test_it_runs_without_privileges() -> None:
    argv = qemu.unprivileged(["/usr/bin/qemu", "-x"], 700_001)
    assert argv[0] == "/usr/bin/setpriv"
    assert argv[-3:] == ["--", "/usr/bin/qemu", "-x"]
    assert {"--no-new-privs", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"} <= set(argv)
    assert argv[argv.index("--reuid") + 1] == argv[argv.index("--regid") + 1] == "700001"
    for uid in (0, 1000, qemu.UID_FIRST + qemu.UID_COUNT):
        with pytest.raises(qemu.SpecError, match="uid"):
            qemu.unprivileged([], uid)


@pytest.mark.parametrize(
    ("flags", "opens", "wanted"),
    [
        ("fpu vmx sse", True, qemu.Accelerator.KVM),
        ("fpu svm", True, qemu.Accelerator.KVM),
        ("fpu vmx", False, qemu.Accelerator.TCG),
        # The device opens, but the CPU has nothing that an ordinary guest could run on.
        ("fpu sse vmxnet", True, qemu.Accelerator.TCG),
    ],
)
def test_choice_of_accelerator(flags: str, opens: bool, wanted: qemu.Accelerator) -> None:
    assert qemu.choose_accelerator(f"model name : vmx svm\nflags\t\t: {flags}\n", lambda: opens) is wanted


def test_kvm_is_not_even_opened_without_the_cpus_flags() -> None:
    def never() -> bool:
        raise AssertionError("/dev/kvm was opened")

    assert qemu.choose_accelerator("flags : fpu\n", never) is qemu.Accelerator.TCG


@given(st.sets(st.integers(qemu.UID_FIRST, qemu.UID_FIRST + 20)))
def test_uid_is_the_lowest_free_one(used: set[int]) -> None:
    uid = qemu.allocate_uid(used)
    assert uid not in used
    assert all(lower in used for lower in range(qemu.UID_FIRST, uid))


def test_no_uid_left() -> None:
    with pytest.raises(qemu.SpecError, match="user ids"):
        qemu.allocate_uid(range(qemu.UID_FIRST, qemu.UID_FIRST + qemu.UID_COUNT))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=40))
def test_no_two_owners_share_a_uid(actions: list[tuple[bool, int]]) -> None:
    pool, owned = UidPool(lambda: {qemu.UID_FIRST + 1}), dict[str, int]()
    for take, number in actions:
        owner = f"vm{number}"
        if take:
            owned[owner] = pool.reserve(owner)
        else:
            pool.release(owner)
            owned.pop(owner, None)
        assert len(set(owned.values())) == len(owned)
        assert qemu.UID_FIRST + 1 not in owned.values()


def test_whose_command_line_it_is() -> None:
    argv = qemu.command(SPEC)
    own = ID
    assert qemu.is_command_of(argv, own)
    assert qemu.is_command_of(qemu.unprivileged(argv, qemu.UID_FIRST), own)  # on its way to become it
    assert not qemu.is_command_of(argv, "99999999-0000-0000-0000-000000000000")
    assert not qemu.is_command_of(["/bin/sh", "-uuid", own], own)
    assert not qemu.is_command_of([qemu.PROGRAM, own], own)
