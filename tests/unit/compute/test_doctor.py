"""The doctor's findings, for machines that are well and machines that are not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cove.compute.doctor import PROGRAMS, PROGRAMS_OPTIONAL, Health, Probes, examine

WELL = Probes(
    effective_uid=lambda: 0,
    python_version=lambda: (3, 11),
    program=lambda name: f"/usr/bin/{name}",
    program_version=lambda name: (7, 2),
    static_busybox=lambda: "",
    make_link=lambda kind: "",
    make_namespace=lambda: "",
    nft_bridge=lambda: "",
    connection_tracking=lambda: "",
    connection_table=lambda: "",
    cpuinfo=lambda: "flags : vmx\n",
    kvm_opens=lambda: True,
    free_bytes=lambda: 10 << 30,
    available_memory_bytes=lambda: 4 << 30,
    guest_problem=lambda: "",
)


def findings(**answers: Any) -> dict[str, tuple[Health, str]]:
    probes = dataclasses.replace(WELL, **answers)
    return {finding.name: (finding.health, finding.remedy) for finding in examine(probes)}


def test_a_machine_that_is_well() -> None:
    assert {health for health, _ in findings().values()} == {Health.OK}


@pytest.mark.parametrize(
    ("answers", "name", "health", "remedy"),
    [
        ({"effective_uid": lambda: 1000}, "root", Health.MISSING, "sudo"),
        ({"effective_uid": lambda: 1000}, "kernel features", Health.WARN, "sudo"),
        ({"python_version": lambda: (3, 9)}, "Python", Health.MISSING, "3.11"),
        ({"program_version": lambda name: (6, 2)}, "QEMU version", Health.MISSING, "7.0"),
        ({"program_version": lambda name: None}, "QEMU version", Health.WARN, "qemu-system-x86"),
        ({"static_busybox": lambda: "a dynamic one"}, "static busybox", Health.MISSING, "busybox-static"),
        ({"make_link": lambda kind: "no" * (kind == "tap")}, "tap", Health.MISSING, "modprobe tun"),
        ({"make_link": lambda kind: "no" * (kind == "tap")}, "veth", Health.OK, ""),
        ({"make_namespace": lambda: "EPERM"}, "network namespaces", Health.MISSING, "container"),
        ({"nft_bridge": lambda: "no"}, "nftables bridge family", Health.MISSING, "nf_tables"),
        ({"connection_tracking": lambda: "no"}, "connection tracking", Health.MISSING, "modprobe nf_conntrack_bridge"),
        ({"connection_table": lambda: "no"}, "table of connections", Health.WARN, "modprobe nf_conntrack_netlink"),
        ({"cpuinfo": lambda: "flags : fpu\n"}, "acceleration", Health.WARN, "vmx"),
        ({"kvm_opens": lambda: False}, "acceleration", Health.WARN, "/dev/kvm"),
        ({"free_bytes": lambda: 1 << 20}, "disk space", Health.WARN, "state_dir"),
        ({"available_memory_bytes": lambda: 1 << 20}, "memory", Health.WARN, "250 MB"),
        ({"guest_problem": lambda: "no guest"}, "micro guest", Health.WARN, "cove guest build"),
    ],
)
def test_what_a_machine_lacks(answers: dict[str, Any], name: str, health: Health, remedy: str) -> None:
    found = findings(**answers)[name]
    assert found[0] is health
    assert remedy in found[1]


@pytest.mark.parametrize(
    ("program", "package", "health"),
    [(name, package, Health.MISSING) for name, package, _ in PROGRAMS]
    + [(name, package, Health.WARN) for name, package, _ in PROGRAMS_OPTIONAL],
)
def test_each_program_has_a_package(program: str, package: str, health: Health) -> None:
    found = findings(program=lambda name: None if name == program else "/bin/x")
    assert found[program] == (health, f"apt-get install {package}")
    assert sum(state is not Health.OK for state, _ in found.values()) == 1
