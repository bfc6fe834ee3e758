"""kill -9 between the commit of a change and its cast: the next start sends what was committed.

A server process creates ports and is killed by its own hand at the point in question, at a random depth of the
outbox; the test, as the next server, looks at what is acknowledged, stored and sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.network.fakes import HOST, cloud

SERVER = """
import asyncio, json, os, signal, sys
from pathlib import Path
from cove.network import outbox
from tests.unit.network.fakes import cloud

directory, survive = Path(sys.argv[1]), int(sys.argv[2])
send = outbox.Dispatcher._send
sent = 0

async def die_instead_of_sending(self, entry):
    global sent
    if sent >= survive:
        os.kill(os.getpid(), signal.SIGKILL)
    sent += 1
    await send(self, entry)
    print(json.dumps({"sent": [entry.method, entry.payload.get("port", {}).get("id")]}), flush=True)

outbox.Dispatcher._send = die_instead_of_sending

async def create(c, network):
    while True:
        port = await c.port(network)
        print(json.dumps({"acknowledged": port["id"]}), flush=True)

async def main():
    async with cloud(directory) as c:
        await c.report()
        networks = await c.find("network")
        if not networks:
            networks = [await c.network()]
            await c.subnet(networks[0], "10.0.0.0/16")
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(create(c, networks[0]))

asyncio.run(main())
"""


def run_until_killed(directory: Path, survive: int) -> list[dict[str, Any]]:
    """Start a server that kills itself before its cast number `survive`; returns what it said before."""
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(directory), str(survive)],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{") and line.endswith(b"}")]


@pytest.mark.parametrize("seed", range(4))
async def test_a_kill_between_commit_and_cast_loses_nothing(tmp_path: Path, seed: int) -> None:
    rounds = random.Random(seed)
    acknowledged: set[str] = set()
    told: set[str] = set()
    for _ in range(3):
        said = await asyncio.to_thread(run_until_killed, tmp_path, rounds.choice([0, 1, 2, 3, 10, 40]))
        acknowledged |= {line["acknowledged"] for line in said if "acknowledged" in line}
        told |= {line["sent"][1] for line in said if "sent" in line and line["sent"][0] == "port_create_end"}
    async with cloud(tmp_path) as c:
        sent = await c.sent()
        order = [
            payload["port"]["id"] for host, method, payload in sent if method == "port_create_end" and host == HOST
        ]
        stored = dict(await c.rows("SELECT port_id, ip_address FROM ip_allocations"))
        assert acknowledged <= set(stored)
        # Every port that was committed has been told to the agent, by the killed server or by this one...
        assert set(stored) == told | set(order)
        # ...in the order of their commits; and the message that the last kill came before is sent now.
        assert sent
        assert len(order) == len(set(order))
        numbers = [tuple(map(int, stored[port_id].split("."))) for port_id in order]
        assert numbers == sorted(numbers)
        # No address was lost or given twice: what is free and what is taken make up the pool.
        free = await c.rows("SELECT first, last FROM subnet_free_ranges")
        assert sum(int(last, 16) - int(first, 16) + 1 for first, last in free) + len(stored) == 65533
        assert len(set(stored.values())) == len(stored)
