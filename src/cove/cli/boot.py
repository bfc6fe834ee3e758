"""`cove boot`: asks the server for a VM, and shows the way of its address and of its disk while it happens."""

from __future__ import annotations

import time
from typing import Any

from rich.status import Status

from ..errors import CoveError
from .client import Client
from .output import console, human_bytes
from .timelines import SEPARATOR, duration, first, since, steps_of

BOOT_TIMEOUT_S = 240.0
POLL_S = 0.1
PORT_STEPS = ("committed", "cast", "host_entry", "ready")
DISK_STATES = {"written": "written and read back", "kept": "read back, as written at its first boot"}
DHCP_STEPS = ("DHCPDISCOVER", "DHCPOFFER", "DHCPREQUEST", "DHCPACK")


def line(label: str, text: str) -> None:
    """One line of the time line: what it is about, and its way."""
    console.print(f"{label:<8}{text}", markup=False, soft_wrap=True)


def image_line(detail: dict[str, Any]) -> str:
    """An image's objects, and what its creation took."""
    parts = [
        f"{detail['pool']}/{detail['name']} {human_bytes(detail['size_bytes'])}",
        *detail["object_names"],
        f"{detail['operations']} operations, {detail['commits']} commits",
    ]
    return SEPARATOR.join(parts)


def port_line(port: dict[str, Any], steps: list[dict[str, Any]]) -> str:
    """A port's MAC and IP addresses, and the steps until DHCP would answer for it."""
    addresses = " ".join(ip["ip_address"] for ip in port["fixed_ips"])
    text = f"{port['mac_address']} {addresses}"
    requested = first(steps, "requested")
    if requested is not None:
        text += SEPARATOR + since(steps, PORT_STEPS, requested["at"])
    return text


class Progress:
    """Prints each line of a boot as soon as it is complete, and a spinner that says what is awaited."""

    def __init__(self, client: Client, server: dict[str, Any], status: Status) -> None:
        self.client = client
        self.id = server["id"]
        self.name = server["name"]
        self.status = status
        self.printed: set[str] = set()

    def once(self, what: str, label: str, text: str) -> None:
        """Print a line, unless it has been."""
        if what not in self.printed:
            self.printed.add(what)
            line(label, text)

    def update(self) -> None:
        """Look at the time line, and print what is new and complete."""
        steps = steps_of(self.client, self.id)
        port_step, image_step = first(steps, "port_created"), first(steps, "image_created")
        if image_step is not None:
            self.once("image", "image", image_line(image_step["detail"]))
        if port_step is None:
            self.status.update("creating its port and its disk")
            return
        port_id = port_step["detail"]["port_id"]
        port_steps = steps_of(self.client, port_id)
        if first(port_steps, "ready") is not None and image_step is not None:
            port = self.client.get(f"/v2.0/ports/{port_id}")["port"]
            self.once("port", "port", port_line(port, port_steps))
        started = first(steps, "started")
        if started is None:
            self.status.update("waiting for its DHCP entry")
            return
        seen = [name for name in DHCP_STEPS if first(port_steps, name)]
        waiting = f"{self.name} boots (+{duration(time.time() - started['at'])})"
        self.status.update(waiting + (f", {seen[-1]}" if seen else ""))


def server_line(server: dict[str, Any], steps: list[dict[str, Any]], port_steps: list[dict[str, Any]]) -> str:
    """The VM's DHCP exchange and its disk, from the start of QEMU."""
    parts = []
    started = first(steps, "started")
    origin = started["at"] if started else server.get("cove:started_at", 0.0)
    offered = [step for name in DHCP_STEPS if (step := first([s for s in port_steps if s["at"] >= origin], name))]
    for position, step in enumerate(offered):
        text = step["name"]
        if position == 0:
            text += f" +{duration(step['at'] - origin)}"
        if text == "DHCPACK":
            text += f" {step['detail'].get('ip_address', '')}"
        parts.append(text)
    if offered and offered[-1]["name"] == "DHCPACK" and offered[-1]["detail"].get("lease_s"):
        parts.append(f"lease {offered[-1]['detail']['lease_s']} s")
    disk = first(steps, "disk_verified")
    if disk is not None:
        parts.append(
            f"/dev/{disk['detail']['disk']} {human_bytes(disk['detail']['size_bytes'])} {DISK_STATES[disk['detail']['state']]}"
        )
    parts.append(f"login on `cove console {server['name']}`")
    return SEPARATOR.join(parts)


def boot_server(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """POST a server and follow its boot to the end. Raises CoveError with the fault when it fails."""
    server = client.post("/v2.1/servers", {"server": body})["server"]
    server["name"] = body["name"]
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    with console.status("asking for the VM") as status:
        progress = Progress(client, server, status)
        while True:
            progress.update()
            current = client.get(f"/v2.1/servers/{server['id']}")["server"]
            if current["status"] == "ERROR":
                fault = current.get("fault", {}).get("message", "no reason given")
                raise CoveError(f"{body['name']} could not boot: {fault}")
            if current["status"] == "ACTIVE":
                progress.update()
                break
            if time.monotonic() > deadline:
                raise CoveError(
                    f"{body['name']} is not up after {BOOT_TIMEOUT_S:.0f} s: `cove server show {body['name']}`"
                )
            time.sleep(POLL_S)
    print_server_line(client, current)
    return dict(current)


def print_server_line(client: Client, server: dict[str, Any]) -> None:
    """The last line of a boot."""
    steps = steps_of(client, server["id"])
    port_step = first(steps, "port_created")
    port_steps = steps_of(client, port_step["detail"]["port_id"]) if port_step else []
    line(server["name"], server_line(server, steps, port_steps))
