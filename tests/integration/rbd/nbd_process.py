"""A process with a store and an NBD server of one image, to be killed by the tests.

    python -m tests.integration.rbd.nbd_process DIRECTORY SOCKET SIZE_BYTES

Creates image "disk" if there is none, prints "ready" when the socket listens, and ends cleanly at end of input.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cove import rbd
from cove.messenger import LoopbackNetwork
from cove.rados import LoopbackTransport, Rados
from cove.rbd.nbd import ImageBackend, NbdServer
from cove.store import Store


async def main(directory: Path, socket: Path, size: int) -> None:
    network = LoopbackNetwork()
    store = Store(directory, map_size_bytes=1 << 34)
    await store.start(network)
    try:
        async with Rados(LoopbackTransport(network)) as cluster, cluster.open_ioctx("rbd") as ioctx:
            await rbd.repair(ioctx)
            if "disk" not in await rbd.list_images(ioctx):
                await rbd.create(ioctx, "disk", size)

            async def open_backend(name: str) -> ImageBackend:
                return ImageBackend(await rbd.Image.open(ioctx, name))

            server = NbdServer(open_backend, ["disk"])
            await server.listen_unix(socket)
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)
            await server.close()
    finally:
        await store.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
