"""Ports: create latency and rate with 1 and 8 clients, and the time until DHCP answers with 10, 500 and 5,000 ports.

Run as root from the top of the tree: `.venv/bin/python -m bench.ports`. Starts a Cove of its own, and ends it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.integration.cove_instance import CoveInstance

from .figures import memory_mib, percentile, report
from .http import Http

CREATES = 400
SAMPLES = 60
BULK = 250


async def make_network(http: Http, name: str, cidr: str) -> str:
    """A network with one subnet; its id."""
    network = (await http.request("POST", "/v2.0/networks", {"network": {"name": name}}))["network"]["id"]
    subnet = {"network_id": network, "cidr": cidr, "ip_version": 4}
    await http.request("POST", "/v2.0/subnets", {"subnet": subnet})
    return str(network)


async def create_port(http: Http, network: str) -> tuple[str, float]:
    """Its id, and the seconds that the request took."""
    began = time.perf_counter()
    port = await http.request("POST", "/v2.0/ports", {"port": {"network_id": network}})
    return port["port"]["id"], time.perf_counter() - began


async def all_active(http: Http, network: str, timeout_s: float = 120.0) -> None:
    """Wait until every port of the network is ACTIVE."""
    deadline = time.monotonic() + timeout_s
    while (await http.request("GET", f"/v2.0/ports?network_id={network}&status=DOWN&fields=id"))["ports"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"ports of {network} are not ACTIVE after {timeout_s} s")
        await asyncio.sleep(0.05)


async def rate(run: Path, clients: int) -> dict[str, Any]:
    """Create latency and rate with so many clients at once."""
    async with Http(run) as admin:
        network = await make_network(admin, f"rate-{clients}", "10.1.0.0/16")
        await all_active(admin, network)
        latencies: list[float] = []

        async def work(count: int) -> None:
            async with Http(run) as http:
                for _ in range(count):
                    latencies.append((await create_port(http, network))[1])

        began = time.perf_counter()
        await asyncio.gather(*(work(CREATES // clients) for _ in range(clients)))
        created = time.perf_counter() - began
        await all_active(admin, network)
        active = time.perf_counter() - began
    return {
        "what": f"create, {clients} client{'s' if clients > 1 else ''}",
        "p50_ms": round(percentile(latencies, 50) * 1e3, 2),
        "p95_ms": round(percentile(latencies, 95) * 1e3, 2),
        "ports_per_s": round(len(latencies) / created),
        "active_per_s": round(len(latencies) / active),
    }


async def in_force(run: Path, existing: int) -> dict[str, Any]:
    """From the request to the host entry in force, and to ACTIVE, in a network of so many ports."""
    async with Http(run) as http:
        network = await make_network(http, f"entry-{existing}", "10.2.0.0/16")
        for first in range(0, existing, BULK):
            bulk = [{"network_id": network} for _ in range(min(BULK, existing - first))]
            await http.request("POST", "/v2.0/ports", {"ports": bulk})
        await all_active(http, network, 300)
        entries, readies = [], []
        for _ in range(SAMPLES):
            port, _seconds = await create_port(http, network)
            steps: dict[str, float] = {}
            deadline = time.monotonic() + 30
            while "ready" not in steps:
                answer = await http.request("GET", f"/cove/v1/timelines/{port}")
                steps = {step["name"]: step["at"] for step in answer["steps"]}
                if time.monotonic() > deadline:
                    raise TimeoutError(f"port {port} is not ready: {steps}")
                await asyncio.sleep(0.002)
            entries.append(steps["host_entry"] - steps["requested"])
            readies.append(steps["ready"] - steps["requested"])
    return {
        "what": f"entry in force, {existing} ports",
        "p50_ms": round(percentile(entries, 50) * 1e3, 2),
        "p95_ms": round(percentile(entries, 95) * 1e3, 2),
        "ready_p50_ms": round(percentile(readies, 50) * 1e3, 2),
    }


def main() -> None:
    """Run all of it against a fresh server."""
    with tempfile.TemporaryDirectory(prefix="cove-bench-", dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        cove = CoveInstance(Path(directory))
        cove.environment["COVE_QUOTAS"] = '{"port": -1}'
        began = time.perf_counter()
        cove.up()
        started = time.perf_counter() - began
        try:
            rows: list[dict[str, Any]] = [
                {"what": "cove up, API ready", "seconds": round(started, 2)} | memory_mib(cove.pid)
            ]
            rows += [asyncio.run(rate(cove.run, clients)) for clients in (1, 8)]
            rows += [asyncio.run(in_force(cove.run, existing)) for existing in (10, 500, 5000)]
            rows.append({"what": "server afterwards"} | memory_mib(cove.pid))
            for name in subprocess.run(
                ["pgrep", "-f", str(cove.state)], capture_output=True, text=True, check=False
            ).stdout.split():
                command = Path(f"/proc/{name}/comm").read_text().strip()
                if command == "dnsmasq":
                    rows.append({"what": "dnsmasq"} | memory_mib(int(name)))
            report("ports", rows)
        finally:
            cove.close()


if __name__ == "__main__":
    main()
