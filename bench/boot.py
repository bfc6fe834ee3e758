"""A VM's boot: from `cove boot` to its lease and its verified disk, and the memory of each process.

Run as root from the top of the tree: `.venv/bin/python -m bench.boot`. Starts a Cove of its own, and ends it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.integration.cove_instance import CoveInstance, processes_that_mention

from cove.compute.guest import build_guest

from .figures import memory_mib, report

BOOTS = 3


def boot(cove: CoveInstance, number: int) -> tuple[int, dict[str, Any]]:
    """Boot one VM; the pid of its QEMU, and seconds from the request to each step."""
    began = time.time()
    server = cove.json("boot", f"vm{number}", "--network", "bench")
    with cove.client() as client:
        steps = {s["name"]: s for s in client.get(f"/cove/v1/timelines/{server['id']}").json()["steps"]}
        port = client.get(f"/cove/v1/timelines/{steps['port_created']['detail']['port_id']}").json()["steps"]
    exchange = {step["name"]: step["at"] for step in port}
    return steps["started"]["detail"]["pid"], {
        "what": f"boot {number}",
        "qemu_started_s": round(steps["started"]["at"] - began, 2),
        "discover_s": round(exchange["DHCPDISCOVER"] - began, 2),
        "lease_s": round(exchange["DHCPACK"] - began, 2),
        "disk_verified_s": round(steps["disk_verified"]["at"] - began, 2),
    }


def main() -> None:
    """Boot a few VMs one after another."""
    with tempfile.TemporaryDirectory(prefix="cove-bench-", dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        guest = Path(directory) / "guest"
        asyncio.run(build_guest(guest, progress=lambda _text: None))
        cove = CoveInstance(Path(directory), guest)
        cove.up()
        try:
            cove.cove("network", "create", "bench")
            cove.cove("subnet", "create", "bench", "--network", "bench", "--cidr", "10.3.0.0/24", "--gateway", "none")
            booted = [boot(cove, number) for number in range(1, BOOTS + 1)]
            rows = [row for _, row in booted]
            rows.append({"what": "server, with its VMs"} | memory_mib(cove.pid))
            (network,) = cove.json("network", "list")
            with cove.client() as client:
                dnsmasq = client.get(f"/cove/v1/dhcp/{network['id']}").json()["dhcp"]["pid"]
            rows.append({"what": "dnsmasq"} | memory_mib(dnsmasq))
            rows += [{"what": f"QEMU {number}"} | memory_mib(pid) for number, (pid, _) in enumerate(booted, 1)]
            report("boot", rows)
        finally:
            cove.close()
        assert not processes_that_mention(directory)


if __name__ == "__main__":
    main()
