"""The demo, end to end: what the guest has must be what the database holds, and its bytes must be in the image."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .cove_instance import CoveInstance, eventually


def read_image(cove: CoveInstance, spec: str, target: Path) -> bytes:
    """The bytes of an image, read by a program that nobody here wrote."""
    socket = target.with_suffix(".sock")
    export = subprocess.Popen(
        [*cove.command, "rbd", "export-nbd", spec, "--socket", str(socket), "--read-only"],
        env=cove.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(socket.exists, 20, "the export's socket")
        name = spec.partition("/")[2]
        subprocess.run(["nbdcopy", f"nbd+unix:///{name}?socket={socket}", str(target)], check=True, timeout=120)
        return target.read_bytes()
    finally:
        export.terminate()
        export.wait(20)


def test_demo(cove_with_guest: CoveInstance, tmp_path: Path) -> None:
    cove = cove_with_guest
    output = cove.cove("demo").stdout
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert re.search(
        r"subnet 1\.1\.1\.0/24 · DHCP agent ready \(namespace qdhcp-.*, ns-.{11}, dnsmasq pid \d+\)", lines["network"]
    )
    assert re.search(
        r"rbd/vm1-disk 256 MiB · rbd_id\.vm1-disk · rbd_header\.\w+ · \d+ operations, \d+ commits", lines["image"]
    )
    assert re.search(r"committed \+.* cast \+.* host entry \+.* ready \+", lines["port"])
    assert re.search(r"DHCPDISCOVER \+.* DHCPOFFER · DHCPREQUEST · DHCPACK 1\.1\.1\.\d+ · lease 86400 s", lines["vm1"])
    assert "/dev/vda 256 MiB written and read back" in lines["vm1"]

    # the database's MAC and IP are the ones that the guest itself reports
    (server,) = cove.json("server", "list")
    (port,) = [p for p in cove.json("port", "list") if p["device_id"] == server["id"]]
    assert port["status"] == "ACTIVE"
    address = port["fixed_ips"][0]["ip_address"]
    console = cove.cove("console", "vm1", "--log").stdout
    assert port["mac_address"] in console
    assert f"{address}/24" in console
    assert f"{port['mac_address']} {address}" in lines["port"]

    # and dnsmasq's lease file, readable for people, says the same
    leases = cove.state / "dhcp" / port["network_id"] / "leases"
    assert f"{port['mac_address']} {address}" in leases.read_text()

    # again: quick, and nothing changes
    before = [cove.json(noun, "list") for noun in ("network", "subnet", "port", "server")]
    again = cove.cove("demo").stdout
    assert "vm1" in again
    assert [cove.json(noun, "list") for noun in ("network", "subnet", "port", "server")] == before

    # the guest's bytes are in the image
    cove.cove("server", "stop", "vm1")
    eventually(lambda: cove.json("server", "show", "vm1")["status"] == "SHUTOFF", 60, "vm1 is shut off")
    data = read_image(cove, "rbd/vm1-disk", tmp_path / "disk.raw")
    assert len(data) == 256 << 20
    assert server["id"].encode() in data

    cove.cove("server", "delete", "vm1")
    assert cove.json("server", "list") == []
    assert cove.json("rbd", "ls", "rbd") == []
    assert [p for p in cove.json("port", "list") if p["device_id"] == server["id"]] == []


def test_a_vm_keeps_its_lease_and_disk_when_the_server_is_killed(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    cove.cove("demo")
    (server,) = cove.json("server", "list")
    dnsmasq = (cove.state / "dhcp" / cove.json("network", "list")[0]["id"] / "pid").read_text()
    cove.kill()
    cove.up()
    (after,) = cove.json("server", "list")
    assert (after["id"], after["status"]) == (server["id"], "ACTIVE")
    assert (cove.state / "dhcp" / cove.json("network", "list")[0]["id"] / "pid").read_text() == dnsmasq
    # the disk is back: the guest powers off cleanly only after a sync to it
    cove.cove("server", "stop", "vm1")
    eventually(lambda: cove.json("server", "show", "vm1")["status"] == "SHUTOFF", 60, "vm1 is shut off")
    cove.cove("server", "start", "vm1")
    eventually(lambda: cove.json("server", "show", "vm1")["status"] == "ACTIVE", 120, "vm1 is up again")
