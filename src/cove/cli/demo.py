"""`cove demo`: a network, a subnet and a VM, and the way of their address and disk, line by line.

Run again it finds all of them, and changes nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from .boot import boot_server, follow, print_server_line, start_server
from .client import Client
from .guest import build
from .output import console, say
from .timelines import SEPARATOR
from .waiting import wait_for

NETWORK, SUBNET, SERVER = "demo-net", "demo-subnet", "vm1"
CIDR = "1.1.1.0/24"
POOL = {"start": "1.1.1.10", "end": "1.1.1.250"}
DISK_BYTES = 256 << 20
MEMORY_MB = 128
DHCP_TIMEOUT_S = 30.0


def ensure(client: Client, collection: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """The object of that name; created if it is not there."""
    found = client.get(f"/v2.0/{collection}", name=attributes["name"])[collection]
    if found:
        return dict(found[0])
    singular = collection.removesuffix("s")
    return dict(client.post(f"/v2.0/{collection}", {singular: attributes})[singular])


def wait_for_dhcp(client: Client, network_id: str) -> dict[str, Any]:
    """What serves the network's addresses, as soon as it does. Raises CoveError."""

    def served() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/cove/v1/dhcp/{network_id}")["dhcp"]
        return found if found.get("pid") else None

    problem = f"no DHCP server for {NETWORK} after {DHCP_TIMEOUT_S:.0f} s: see `cove status`"
    return wait_for(served, DHCP_TIMEOUT_S, problem)


def network_line(subnet: dict[str, Any], served: dict[str, Any]) -> str:
    """The network, its subnet, and what serves its addresses."""
    namespace = served["namespace"]
    short = namespace if len(namespace) < 16 else f"{namespace[:14]}…"
    agent = f"DHCP agent ready (namespace {short}, {served['interface']}, dnsmasq pid {served['pid']})"
    return SEPARATOR.join((NETWORK, f"subnet {subnet['cidr']}", agent))


def demo() -> None:
    """Boot the demo VM, and show the way of its address and disk."""
    build()
    with Client.open() as client:
        network = ensure(client, "networks", {"name": NETWORK})
        subnet = ensure(
            client,
            "subnets",
            {
                "name": SUBNET,
                "network_id": network["id"],
                "cidr": CIDR,
                "ip_version": 4,
                "gateway_ip": None,  # nothing routes here: a gateway that does not answer only costs time
                "allocation_pools": [POOL],
            },
        )
        with console.status("waiting for the DHCP server"):
            served = wait_for_dhcp(client, network["id"])
        say(network_line(subnet, served), "network")
        servers = client.get("/v2.1/servers/detail")["servers"]
        existing = next((server for server in servers if server["name"] == SERVER), None)
        if existing is None or existing["status"] == "ERROR":
            body = {
                "name": SERVER,
                "imageRef": None,
                "networks": [{"uuid": network["id"]}],
                "cove:disk_bytes": DISK_BYTES,
                "cove:memory_mb": MEMORY_MB,
            }
            boot_server(client, body)
        elif existing["status"] == "SHUTOFF":
            start_server(client, existing)
        elif existing["status"] == "BUILD":
            follow(client, existing["id"], SERVER)
        else:
            print_server_line(client, existing)
    print_hints()


def print_hints() -> None:
    """How to look around, and how to stop."""
    program = Path(sys.argv[0])
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    cove = f"{'sudo ' if 'SUDO_USER' in os.environ else ''}{program}"
    console.print()
    hints = Table.grid(padding=(0, 2, 0, 0))
    for command, text in (
        (f"console {SERVER}", "log in; Ctrl-] leaves"),
        ("server list", "VMs; also: network|subnet|port list, rbd ls"),
        ("boot NAME --network demo-net", "another VM"),
        ("down", "stop everything; the state stays (--purge deletes it)"),
    ):
        hints.add_row("", Text(f"{cove} {command}", no_wrap=True), Text(text))
    console.print(hints)


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(demo)
