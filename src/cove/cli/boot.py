"""`cove boot`: asks the server for a VM, and shows the way of its address and of its disk while it happens."""

from __future__ import annotations

import time
from typing import Any

from rich.status import Status

from ..errors import CoveError
from .client import Client
from .output import console, errors, human_bytes, say
from .timelines import SEPARATOR, duration, first, since, steps_of
from .waiting import wait_for

BOOT_TIMEOUT_S = 2400.0  # of which the copy of a large image may take most
PORT_STEPS = ("committed", "cast", "host_entry", "ready")
DISK_STATES = {"written": "written and read back", "kept": "read back, as written at its first boot"}
DHCP_STEPS = ("DHCPDISCOVER", "DHCPOFFER", "DHCPREQUEST", "DHCPACK")
DHCPV6_STEPS = ("DHCPSOLICIT", "DHCPADVERTISE", "DHCPREQUEST", "DHCPREPLY")
GIVING_STEPS = frozenset({"DHCPACK", "DHCPREPLY"})


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

    def __init__(self, client: Client, server_id: str, name: str, status: Status) -> None:
        self.client = client
        self.id = server_id
        self.name = name
        self.status = status
        self.printed: set[str] = set()

    def once(self, what: str, label: str, text: str) -> None:
        """Print a line, unless it has been."""
        if what not in self.printed:
            self.printed.add(what)
            say(text, label)

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
        seen = [name for name in ("RTR-SOLICIT", *DHCPV6_STEPS, *DHCP_STEPS) if first(port_steps, name)]
        waiting = f"{self.name} boots (+{duration(time.time() - started['at'])})"
        self.status.update(waiting + (f", {seen[-1]}" if seen else ""))


def server_line(server: dict[str, Any], steps: list[dict[str, Any]], port_steps: list[dict[str, Any]]) -> str:
    """How the VM came to its addresses, and its disk, since QEMU's newest start; what it is where that is long ago."""
    starts = [step for step in steps if step["name"] == "started"]
    if not starts:
        addresses = [entry["addr"] for entries in server["addresses"].values() for entry in entries]
        parts = [server["status"], *addresses]
    else:
        origin = starts[-1]["at"]
        heard = [step for step in port_steps if step["at"] >= origin]
        found = first([step for step in steps if step["at"] >= origin], "addresses")
        parts = [*exchange_parts(heard, origin), *made_parts(heard, found, origin)]
        disk = first([step for step in steps if step["at"] >= origin], "disk_verified")
        if disk is not None:
            detail = disk["detail"]
            parts.append(f"/dev/{detail['disk']} {human_bytes(detail['size_bytes'])} {DISK_STATES[detail['state']]}")
    return SEPARATOR.join([*parts, f"login on `cove console {server['name']}`"])


def exchange_parts(port_steps: list[dict[str, Any]], origin: float) -> list[str]:
    """`DHCPDISCOVER +2.4 s`, `DHCPOFFER`, …, and the lease; the same for DHCPv6, whose server may give several."""
    four = [step for step in port_steps if not _is_dhcpv6(step)]
    six = [step for step in port_steps if _is_dhcpv6(step)]
    return [*_exchange(four, DHCP_STEPS, origin), *_exchange(six, DHCPV6_STEPS, origin)]


def _is_dhcpv6(step: dict[str, Any]) -> bool:
    """Both protocols have a DHCPREQUEST; in that of DHCPv6 the address is not told."""
    if step["name"] == "DHCPREQUEST":
        return step["detail"].get("ip_address", "") is None
    return step["name"] in DHCPV6_STEPS


def _exchange(steps: list[dict[str, Any]], names: tuple[str, ...], origin: float) -> list[str]:
    parts: list[str] = []
    for name in names:
        step = first(steps, name)
        if step is None:
            continue
        text = name if parts else f"{name} +{duration(step['at'] - origin)}"
        if name in GIVING_STEPS:
            given = [found["detail"]["ip_address"] for found in steps if found["name"] == name]
            text += " " + " ".join(dict.fromkeys(given))
        parts.append(text)
        if name in GIVING_STEPS and step["detail"].get("lease_s"):
            parts.append(f"lease {step['detail']['lease_s']} s")
    return parts


def made_parts(port_steps: list[dict[str, Any]], found: dict[str, Any] | None, origin: float) -> list[str]:
    """`RTR-SOLICIT +2.4 s`, `SLAAC fd77:1::…`: the addresses that the VM made of what was advertised."""
    groups = found["detail"]["expected"] if found is not None else []
    made = [address for group in groups if group["by"] == "SLAAC" for address in group["ip_addresses"]]
    if not made:
        return []
    asked = first(port_steps, "RTR-SOLICIT")
    parts = [f"RTR-SOLICIT +{duration(asked['at'] - origin)}"] if asked is not None else []
    return [*parts, f"SLAAC {' '.join(made)}"]


def boot_server(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """POST a server and follow its boot to the end. Raises CoveError with the fault when it fails."""
    server = client.post("/v2.1/servers", {"server": body})["server"]
    return follow(client, server["id"], body["name"])


def start_server(client: Client, server: dict[str, Any]) -> dict[str, Any]:
    """Start a server that is shut off, and follow its boot to the end."""
    client.post(f"/v2.1/servers/{server['id']}/action", {"os-start": None})
    return follow(client, server["id"], server["name"])


def follow(client: Client, server_id: str, name: str) -> dict[str, Any]:
    """Show a boot while it happens, until the server is ACTIVE. Raises CoveError with the fault when it fails."""
    try:
        server = _follow(client, server_id, name)
    except KeyboardInterrupt:
        errors.print(f"{name} goes on booting: `cove server show {name}`, `cove server delete {name}`", markup=False)
        raise
    print_server_line(client, server)
    return server


def _follow(client: Client, server_id: str, name: str) -> dict[str, Any]:
    with console.status("asking for the VM") as status:
        progress = Progress(client, server_id, name, status)

        def active() -> dict[str, Any] | None:
            progress.update()
            server: dict[str, Any] = client.get(f"/v2.1/servers/{server_id}")["server"]
            # one that was shut off before is so again when its start has failed
            if server["status"] == "ERROR" or (
                server["status"] == "SHUTOFF" and server["OS-EXT-STS:task_state"] is None
            ):
                fault = server.get("fault", {}).get("message", "no reason given")
                raise CoveError(f"{name} could not boot: {fault}")
            return server if server["status"] == "ACTIVE" else None

        problem = f"{name} is not up after {BOOT_TIMEOUT_S:.0f} s: `cove server show {name}`"
        server = wait_for(active, BOOT_TIMEOUT_S, problem)
        progress.update()
        return server


def print_server_line(client: Client, server: dict[str, Any]) -> None:
    """The last line of a boot."""
    port_id = server["cove:port_id"]
    port_steps = steps_of(client, port_id) if port_id else []
    say(server_line(server, steps_of(client, server["id"]), port_steps), server["name"])
