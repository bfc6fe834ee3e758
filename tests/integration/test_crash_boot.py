"""`kill -9` of the server at every step of a boot: the next start leaves nothing half made, and the name is free."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cove.compute.firewall import Firewall
from cove.compute.spoofguard import SpoofGuard

from .cove_instance import CoveInstance, eventually, processes_that_mention

STEPS = ("requested", "port_created", "image_created", "port_active", "tap", "guarded", "protected", "started", "lease")


def begin_boot(cove: CoveInstance, name: str) -> str:
    """Ask for a VM; its id."""
    with cove.client() as client:
        (network,) = client.get("/v2.0/networks", params={"name": "lab"}).json()["networks"]
        body = {"server": {"name": name, "networks": [{"uuid": network["id"]}]}}
        answer = client.post("/v2.1/servers", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["server"]["id"])


def wait_for_step(cove: CoveInstance, server_id: str, step: str) -> None:
    """Until the boot has come that far."""
    with cove.client() as client:

        def done() -> bool:
            steps = client.get(f"/cove/v1/timelines/{server_id}").json()["steps"]
            return any(entry["name"] == step for entry in steps)

        eventually(done, 60, f"{step} of {server_id}")


def make_network(cove: CoveInstance) -> None:
    cove.cove("network", "create", "lab")
    cove.cove("subnet", "create", "lab", "--network", "lab", "--cidr", "10.7.0.0/24", "--gateway", "none")


def things(cove: CoveInstance, server_id: str) -> dict[str, Any]:
    """What there may be of a server."""
    ports = cove.json("port", "list")
    of_dhcp = {f"tap{port['id'][:11]}" for port in ports if port["device_owner"] == "network:dhcp"}
    bridges = {f"brq{network['id'][:11]}" for network in cove.json("network", "list")}
    taps = {name for name in os.listdir("/sys/class/net") if name.startswith("tap") and bridge_of(name) in bridges}
    return {
        "ports": [port["id"] for port in ports if port["device_id"] == server_id],
        "disks": [image["name"] for image in cove.json("rbd", "ls")],
        "taps": sorted(taps - of_dhcp),
        "rules": [line for line in rules_of(SpoofGuard(cove.state).table) if "guest_tap" in line],
        "security groups": [line for line in rules_of(Firewall(cove.state)._name) if '"tap' in line],
        "processes": processes_that_mention(server_id),
        "directories": [str(path) for path in (cove.run / "instances").glob("*")],
    }


def rules_of(table: str) -> list[str]:
    """The lines of a table of bridged frames; none if there is no such table."""
    command = ["nft", "list", "table", "bridge", table]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def bridge_of(device: str) -> str:
    master = Path(f"/sys/class/net/{device}/master")
    return os.path.basename(os.readlink(master)) if master.exists() else ""


def test_a_kill_at_any_step_of_a_boot(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    make_network(cove)
    for step in STEPS:
        server_id = begin_boot(cove, "vm")
        wait_for_step(cove, server_id, step)
        cove.kill()
        cove.up()
        (server,) = cove.json("server", "list")
        # the kill may come after the boot's end; then the guest goes on
        if server["status"] == "ACTIVE":
            assert step == "lease"
            continue
        assert server["status"] == "ERROR", step
        assert "undone" in server["fault"]["message"]
        left = {kind: found for kind, found in things(cove, server_id).items() if found}
        assert left == {}, f"after a kill at {step}"
    cove.cove("server", "delete", "vm")
    assert cove.json("boot", "vm", "--network", "lab")["status"] == "ACTIVE"


def test_a_guest_whose_pid_was_not_written_down_is_found(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    make_network(cove)
    server_id = cove.json("boot", "vm", "--network", "lab")["id"]
    cove.kill()
    (cove.run / "instances" / server_id / "pid").unlink()  # as if killed between start and record
    cove.up()
    assert cove.json("server", "show", "vm")["status"] == "ACTIVE"
    cove.cove("server", "delete", "vm")
    assert not any(things(cove, server_id).values())


@pytest.mark.parametrize("when", ["image_created", "started"])
def test_down_during_a_boot(cove_with_guest: CoveInstance, when: str) -> None:
    cove = cove_with_guest
    make_network(cove)
    server_id = begin_boot(cove, "vm")
    wait_for_step(cove, server_id, when)
    cove.cove("down")
    assert processes_that_mention(server_id) == []
    assert not cove.run.exists()
    cove.up()
    assert cove.json("server", "show", "vm")["status"] == "ERROR"
    assert not any(things(cove, server_id).values())


def test_delete_during_a_boot(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    make_network(cove)
    for step in ("port_created", "started"):
        server_id = begin_boot(cove, "vm")
        wait_for_step(cove, server_id, step)
        cove.cove("server", "delete", "vm")
        assert cove.json("server", "list") == []
        assert not any(things(cove, server_id).values())
