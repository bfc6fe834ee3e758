"""IPv6 clients in namespaces of their own: the kernel alone (SLAAC), or dhcpcd (SLAAC and DHCPv6)."""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

from cove.dhcp import devices
from cove.linux import links, namespaces

EVENT_TIMEOUT_S = 30.0
# Where dhcpcd keeps its state: not the host's.
PRIVATE = "mkdir -p /var/lib/dhcpcd && mount -t tmpfs none /var/lib/dhcpcd && mount -t tmpfs none /run"
OPTIONS = "name_servers domain_search fqdn bootfile_url bootfile_param ntp_server sntp_servers info_refresh_time"


@dataclass
class Client:
    """A running dhcpcd: what it was told, event by event."""

    process: asyncio.subprocess.Process
    events: list[dict[str, str]] = field(default_factory=list)

    async def event(self, *reasons: str) -> dict[str, str]:
        """The first event of such a kind (ROUTERADVERT, BOUND6, INFORM6, ...) that was not asked for yet."""
        assert self.process.stdout is not None
        async with asyncio.timeout(EVENT_TIMEOUT_S):
            while True:
                for index, event in enumerate(self.events):
                    if event["reason"] in reasons:
                        return self.events.pop(index)
                event = {}
                while (line := (await self.process.stdout.readline()).decode()) != "end\n":
                    assert line, "dhcpcd ended"
                    name, _, value = line.rstrip("\n").partition("=")
                    event[name] = value.strip("'")
                self.events.append(event)


class Clients6:
    """Makes clients, and takes them away."""

    def __init__(self, directory: Path, dhcpcd: Path) -> None:
        self._directory = directory
        self._dhcpcd = dhcpcd
        self._script = directory / "dhcpcd.script"
        self._script.write_text("#!/bin/sh\nset | grep -E '^(nd1_|new_dhcp6_|reason=)'\necho end\n")
        self._script.chmod(0o755)
        self._count = itertools.count(1)
        self._made: list[tuple[str, str]] = []
        self._running: list[asyncio.subprocess.Process] = []

    async def plug(self, network_id: str, mac: str, *, accept_ra: bool = False) -> str:
        """A namespace with an eth0 in the network; with `accept_ra` its kernel does what advertisements say."""
        n = next(self._count)
        namespace, tap = f"covecli6-{os.getpid()}-{n}", f"cv6{os.getpid() % 100000}-{n}"
        self._made.append((namespace, tap))
        namespaces.create(namespace)
        switches = {"accept_ra": int(accept_ra), "dad_transmits": 0, "router_solicitation_delay": 0}
        await links.set_ipv6("default", switches, namespace=namespace)
        bridge = devices.bridge_name(network_id)
        await links.ensure_veth(tap, "eth0", peer_namespace=namespace, bridge=bridge, peer_mac_address=mac)
        await links.disable_tx_checksum_offload("eth0", namespace=namespace)
        return namespace

    async def start(self, namespace: str, *, duid: str = "ll", options: str = "") -> Client:
        """dhcpcd on the namespace's eth0."""
        configuration = self._directory / f"{namespace}.conf"
        wanted = [f"dhcp6_{name}" for name in OPTIONS.split()]
        lines = ["ipv6only", "noarp", "nodelay", "slaac hwaddr", f"duid {duid}", f"script {self._script}"]
        configuration.write_text("\n".join([*lines, f"option {', '.join(wanted)}", options, ""]))
        command = f"{PRIVATE} && exec {self._dhcpcd} -q -B -f {configuration} eth0"
        process = await asyncio.create_subprocess_exec(
            "nsenter", f"--net={namespaces.path_of(namespace)}", "unshare", "--mount", "sh", "-c", command,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self._running.append(process)
        return Client(process)

    async def client(self, network_id: str, mac: str, *, duid: str = "ll", options: str = "") -> Client:
        """A client of a namespace of its own."""
        return await self.start(await self.plug(network_id, mac), duid=duid, options=options)

    async def kill(self, client: Client) -> None:
        """End it without a word to the server."""
        if client.process.returncode is None:
            client.process.kill()
        await client.process.wait()

    async def close(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()
            await process.wait()
        for namespace, tap in self._made:
            await links.delete(tap)
            namespaces.remove(namespace)
