# mypy: allow-untyped-calls
"""A store on a file system that is really full: clear errors, and it goes on when there is space again."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove import rbd
from cove.messenger import LoopbackNetwork
from cove.rados import LoopbackTransport, NoSpace, Rados
from cove.store import Store
from tests.unit.store.harness import append, delete, read, running_store, writefull

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """40 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=0700", "cove-test", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def free_bytes(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


async def fill(client, size: int) -> int:
    for number in range(1000):
        code = (await client.run(f"o{number}", writefull(os.urandom(size)))).result
        if code:
            assert code == -errno.ENOSPC
            return number
    raise AssertionError("never full")


async def test_it_keeps_enough_back_for_deletes(small_disk: Path) -> None:
    async with running_store(small_disk / "store") as (store, client):
        count = await fill(client, MIB)
        assert count >= 15
        assert free_bytes(small_disk) > 2 * MIB
        for number in range(count):
            assert (await client.run(f"o{number}", delete())).result == 0
        assert await fill(client, MIB) >= count - 2
        assert store._pipeline.failed == 0


async def test_a_disk_that_others_have_filled(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    async with running_store(small_disk / "store") as (store, client):
        for number in range(8):
            assert (await client.run(f"o{number}", writefull(bytes([number]) * MIB))).result == 0
        subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=64k"], capture_output=True, check=False)
        assert free_bytes(small_disk) == 0
        codes = [(await client.run(f"new{n}", writefull(os.urandom(4 * MIB)))).result for n in range(8)]
        assert codes[-3:] == [-errno.ENOSPC] * 3
        for number in range(8):
            assert (await client.run(f"o{number}", read())).ops[0].outdata == bytes([number]) * MIB
        # what the file was given beforehand is enough to give more back
        for number in range(4):
            assert (await client.run(f"o{number}", delete())).result == 0
        ballast.unlink()
        assert (await client.run("new", writefull(bytes(4 * MIB)))).result == 0
        assert (await client.run("o4", append(b"more"))).result == 0
        assert store._pipeline.failed == 0
    async with running_store(small_disk / "store") as (_, client):
        assert (await client.run("o0", read())).result == -errno.ENOENT
        assert (await client.run("o4", read())).ops[0].outdata == bytes([4]) * MIB + b"more"


async def test_an_image_can_be_removed_from_a_full_store(small_disk: Path) -> None:
    network = LoopbackNetwork()
    store = Store(small_disk / "store")
    await store.start(network)
    try:
        async with Rados(LoopbackTransport(network)) as cluster, cluster.open_ioctx("rbd") as ioctx:
            await rbd.create(ioctx, "a", 256 * MIB)
            content = {}
            async with await rbd.Image.open(ioctx, "a") as image:
                try:
                    for offset in range(0, image.size, MIB):
                        data = os.urandom(MIB)
                        await image.write(offset, data)
                        content[offset] = data
                except NoSpace:
                    assert len(content) > 10
                else:
                    raise AssertionError("never full")
                assert image.object_map.states is not None
                for offset, data in content.items():
                    assert await image.read(offset, MIB) == data
                with pytest.raises(NoSpace):
                    await rbd.create(ioctx, "b", 256 * MIB)
                assert await rbd.list_images(ioctx) == ["a"]
            await rbd.remove(ioctx, "a")
            await rbd.create(ioctx, "b", 256 * MIB)
            async with await rbd.Image.open(ioctx, "b") as image:
                await image.write(0, os.urandom(16 * MIB))
    finally:
        await store.stop()
