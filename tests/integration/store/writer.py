# mypy: allow-untyped-calls
"""Run by test_crash.py: writes to a store without end, and tells on standard output what was acknowledged.

Each round n of a slot is one vector: data, xattr and omap all say n, so that a vector that is half there shows. The
line is written when the reply has come.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import structlog

from tests.unit.store.harness import Client, append, omap_set, setxattr, writefull

SLOTS = 16


def body(slot: int, n: int) -> bytes:
    return f"{slot}:{n};".encode() * (1 + (slot * 977 + n * 131) % 9000)


async def slot_writer(client: Client, slot: int, n: int) -> None:
    while True:
        n += 1
        reply = await client.run(
            f"slot{slot}",
            writefull(body(slot, n)),
            setxattr("n", str(n).encode()),
            omap_set({b"n": str(n).encode(), f"at{n % 50}".encode(): str(n).encode()}),
        )
        assert reply.result == 0
        await client.run("journal", append(f"{slot}:{n}\n".encode()))
        os.write(1, f"{slot} {n}\n".encode())


async def main(path: Path, start: list[int]) -> None:
    from cove.messenger import LoopbackNetwork
    from cove.store import Store

    network = LoopbackNetwork()
    await Store(path).start(network)
    client = Client(network)
    os.write(1, b"ready\n")
    async with asyncio.TaskGroup() as group:
        for slot in range(SLOTS):
            group.create_task(slot_writer(client, slot, start[slot]))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    asyncio.run(main(Path(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")]))
