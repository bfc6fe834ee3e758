"""The real NBD clients (libnbd's tools and QEMU's) against images in the store, over unix sockets and TCP."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from cove import rbd
from cove.rados import IoCtx

from .conftest import MIB, ToolFailed, serving, tool

SIZE = 64 * MIB


def sparse_file(path: Path, size: int = SIZE) -> bytes:
    """A file with data in three places."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, length in ((0, 100_000), (5 * MIB + 7, 3 * MIB), (size - 4096, 4096)):
            file.seek(offset)
            file.write(os.urandom(length))
    return path.read_bytes()


@pytest.fixture(params=["unix", "tcp"])
async def uri(request: pytest.FixtureRequest, ioctx: IoCtx, tmp_path: Path):
    """A writable image "disk" served: its NBD URI."""
    await rbd.create(ioctx, "disk", SIZE)
    socket = tmp_path / "nbd.sock"
    async with serving(ioctx, ["disk"]) as server:
        if request.param == "unix":
            await server.listen_unix(socket)
            yield f"nbd+unix:///disk?socket={socket}"
        else:
            yield f"nbd://127.0.0.1:{await server.listen_tcp()}/disk"


async def content(ioctx: IoCtx) -> bytes:
    async with await rbd.Image.open(ioctx, "disk", read_only=True) as image:
        return await image.read(0, image.size)


async def test_nbdinfo(uri: str) -> None:
    info = json.loads(await tool("nbdinfo", "--json", uri))
    assert info["structured"] is True
    assert info["protocol"] == "newstyle-fixed"
    (export,) = info["exports"]
    assert export["export-size"] == SIZE
    assert export["is_read_only"] is False
    assert export["contexts"] == ["base:allocation"]
    assert export["block_size_maximum"] == 32 * MIB
    for ability, can in (
        ("can_cache", True),
        ("can_df", True),
        ("can_fast_zero", False),
        ("can_flush", True),
        ("can_fua", True),
        ("can_multi_conn", False),
        ("can_trim", True),
        ("can_zero", True),
    ):
        assert export[ability] is can, ability
    listed = json.loads(await tool("nbdinfo", "--json", "--list", uri))
    assert [export["export-name"] for export in listed["exports"]] == ["disk"]
    with pytest.raises(ToolFailed, match="No such file or directory for export"):
        await tool("nbdinfo", uri.replace("/disk", "/absent"))


async def test_nbdcopy_in_and_out(uri: str, ioctx: IoCtx, tmp_path: Path) -> None:
    data = sparse_file(tmp_path / "in.raw")
    await tool("nbdcopy", tmp_path / "in.raw", uri, "--flush")
    await tool("nbdcopy", uri, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == data
    await tool("nbdcopy", uri, "null:")
    assert await content(ioctx) == data
    status = json.loads(await tool("nbdinfo", "--json", "--map", uri))
    assert [(extent["offset"], extent["length"], extent["type"]) for extent in status] == [
        (0, 12 * MIB, 0),
        (12 * MIB, 48 * MIB, 3),
        (60 * MIB, 4 * MIB, 0),
    ]


async def test_nbdcopy_with_big_requests(uri: str, ioctx: IoCtx, tmp_path: Path) -> None:
    data = sparse_file(tmp_path / "in.raw")
    await tool("nbdcopy", "--request-size", str(32 * MIB), tmp_path / "in.raw", uri)
    await tool("nbdcopy", "--request-size", str(32 * MIB), uri, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == data


async def test_qemu_img(uri: str, ioctx: IoCtx, tmp_path: Path) -> None:
    data = sparse_file(tmp_path / "in.raw")
    await tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-W", tmp_path / "in.raw", uri)
    assert await content(ioctx) == data
    assert "identical" in await tool("qemu-img", "compare", "-f", "raw", "-F", "raw", tmp_path / "in.raw", uri)
    info = json.loads(await tool("qemu-img", "info", "--output=json", uri))
    assert info["virtual-size"] == SIZE
    extents = json.loads(await tool("qemu-img", "map", "-f", "raw", "--output=json", uri))
    zero = [(extent["start"], extent["length"]) for extent in extents if extent["zero"]]
    assert zero == [(12 * MIB, 48 * MIB)]
    await tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, tmp_path / "out.qcow2")
    compared = await tool(
        "qemu-img", "compare", "-f", "raw", "-F", "qcow2", tmp_path / "in.raw", tmp_path / "out.qcow2"
    )
    assert "identical" in compared
    assert (tmp_path / "out.qcow2").stat().st_size < 16 * MIB


async def test_qemu_io(uri: str, ioctx: IoCtx) -> None:
    output = await tool(
        "qemu-io",
        "-f",
        "raw",
        "-d",
        "unmap",
        uri,
        *("-c", "write -P 17 0 9M"),
        *("-c", "write -f -P 18 1M 64k"),
        *("-c", "aio_write -P 19 2M 1M"),
        *("-c", "aio_write -P 20 3M 1M"),
        *("-c", "aio_flush"),
        *("-c", "flush"),
        *("-c", "write -z 4M 64k"),
        *("-c", "write -z -u 5M 64k"),
        *("-c", "discard 8M 1M"),
        *("-c", "read -P 17 0 1M"),
        *("-c", "read -P 18 1M 64k"),
        *("-c", "read -P 19 2M 1M"),
        *("-c", "read -P 20 3M 1M"),
        *("-c", "read -P 0 4M 64k"),
        *("-c", "read -P 0 5M 64k"),
        *("-c", "read -P 0 8M 1M"),
        *("-c", "read -P 0 40M 4M"),
    )
    assert "failed" not in output.lower(), output
    assert "error" not in output.lower(), output
    data = await content(ioctx)
    assert data[8 * MIB :] == bytes(SIZE - 8 * MIB)
    assert data[MIB : MIB + 65536] == b"\x12" * 65536


async def test_second_writer_is_refused(uri: str, ioctx: IoCtx) -> None:
    process = await asyncio.create_subprocess_exec(
        "qemu-io", "-f", "raw", uri, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"write -P 7 0 4096\n")
    await process.stdin.drain()
    async with asyncio.timeout(20):
        while b"wrote" not in await process.stdout.readline():
            pass
    try:
        with pytest.raises(ToolFailed, match="in use by another client"):
            await tool("qemu-io", "-f", "raw", uri, "-c", "read 0 512")
    finally:
        process.stdin.close()
        await process.wait()
    assert "read 512" in await tool("qemu-io", "-f", "raw", uri, "-c", "read -P 7 0 512")


async def test_read_only_export(ioctx: IoCtx, tmp_path: Path) -> None:
    await rbd.create(ioctx, "disk", SIZE)
    async with await rbd.Image.open(ioctx, "disk") as image:
        await image.write(MIB, b"q" * MIB)
    socket = tmp_path / "ro.sock"
    async with serving(ioctx, ["disk"], read_only=True) as server:
        await server.listen_unix(socket)
        uri = f"nbd+unix:///?socket={socket}"
        info = json.loads(await tool("nbdinfo", "--json", uri))
        assert info["exports"][0]["is_read_only"] is True
        assert info["exports"][0]["can_multi_conn"] is True
        outputs = await asyncio.gather(*(tool("nbdcopy", uri, tmp_path / f"out{n}") for n in range(3)))
        assert len(outputs) == 3
        for number in range(3):
            assert (tmp_path / f"out{number}").read_bytes() == bytes(MIB) + b"q" * MIB + bytes(SIZE - 2 * MIB)
        with pytest.raises(ToolFailed, match=r"[Rr]ead.only|not permitted"):
            await tool("qemu-io", "-f", "raw", uri, "-c", "write 0 512")


async def test_socket_belongs_to_another_user(ioctx: IoCtx, tmp_path: Path) -> None:
    await rbd.create(ioctx, "disk", SIZE)
    socket = tmp_path / "nbd.sock"
    async with serving(ioctx, ["disk"]) as server:
        await server.listen_unix(socket, uid=65534, gid=65534)
        status = socket.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65534, 0o600)


async def test_image_of_another_layout(ioctx: IoCtx, tmp_path: Path) -> None:
    await rbd.create(ioctx, "disk", 8 * MIB + 512, order=16, stripe_unit=4096, stripe_count=3)
    data = sparse_file(tmp_path / "in.raw", 8 * MIB + 512)
    socket = tmp_path / "nbd.sock"
    async with serving(ioctx, ["disk"]) as server:
        await server.listen_unix(socket)
        uri = f"nbd+unix:///disk?socket={socket}"
        await tool("nbdcopy", tmp_path / "in.raw", uri)
        await tool("nbdcopy", uri, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == data
