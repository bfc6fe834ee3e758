"""The server around the protocol, with a backend in memory and a small client over a unix socket."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from cove.rbd.errors import ReadOnlyImage
from cove.rbd.nbd import NbdServer, session
from cove.rbd.nbd.exports import HANDOVER_TIMEOUT_S

from .memory import MemoryBackend
from .nbd_client import FIXED_NO_ZEROES, Client, request

SIZE = 16 << 20


async def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(
    path: Path, backend: MemoryBackend, *, read_only: bool = False, opened: list[str] | None = None
) -> AsyncIterator[NbdServer]:
    async def open_backend(name: str) -> MemoryBackend:
        if opened is not None:
            opened.append(name)
        backend.closed = False
        return backend

    server = NbdServer(open_backend, ["disk"], read_only=read_only)
    await server.listen_unix(path)
    try:
        yield server
    finally:
        backend.gate.set()
        await server.close(timeout_s=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nbd.sock"


async def test_read_write_and_close(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    opened: list[str] = []
    async with serving(path, backend, opened=opened):
        client = await Client.connect(str(path))
        data = os.urandom(3 << 20)
        assert (await client.call(1, 1234, data=data)).error == 0
        assert await client.read(1234, len(data)) == data
        assert await client.read(1000, 300) == bytes(234) + data[:66]
        assert (await client.call(3)).error == 0
        assert (await client.call(4, 0, 4096)).error == 0
        assert (await client.call(6, 0, 8192, flags=2)).error == 0
        assert (await client.call(6, 0, 8192)).error == 0
        assert await client.read(0, 8192) == bytes(8192)
        status = await client.call(7, 0, 4096)
        assert status.error == 22  # no context was negotiated
        assert backend.discards == [(0, 4096)]
        assert backend.thick == [True, False]
        assert backend.flushes == 1
        await client.disconnect()
        await eventually(lambda: backend.closed)
    assert opened == ["disk"]
    assert not path.exists()


async def test_fua_flushes_only_where_writes_are_not_durable(path: Path) -> None:
    for durable, flushes in ((True, 0), (False, 1)):
        backend = MemoryBackend(SIZE, durable_writes=durable)
        async with serving(path, backend):
            client = await Client.connect(str(path))
            await client.call(1, 0, data=b"x", flags=1)
            assert backend.flushes == flushes
            await client.close()


async def test_errors_are_told(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    async with serving(path, backend):
        client = await Client.connect(str(path))
        for failure, code in (
            (ReadOnlyImage("no"), 1),
            (OSError(errno.ENOSPC, "full"), 28),
            (RuntimeError("bug"), 5),
            (OSError(errno.ENOENT, "gone"), 5),
        ):
            backend.failure = failure
            answer = await client.call(1, 0, data=b"abc")
            assert answer.error == code
            assert answer.message
        backend.failure = None
        assert (await client.call(0, 0, 10)).error == 0
        await client.close()


async def test_many_requests_in_flight_and_replies_out_of_order(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    async with serving(path, backend):
        client = await Client.connect(str(path))
        backend.gate.clear()
        cookies = {client.send(1, index * 4096, data=bytes([index]) * 4096) for index in range(64)}
        await eventually(lambda: backend.entered == 64)
        backend.gate.set()
        assert {(await client.reply()).cookie for _ in range(64)} == cookies
        await client.close()


async def test_requests_in_flight_are_bounded(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    async with serving(path, backend):
        client = await Client.connect(str(path))
        backend.gate.clear()
        total = 3 * session.REQUESTS_IN_FLIGHT_MAX
        for index in range(total):
            client.send(1, index * 512, data=b"z" * 512)
        await eventually(lambda: backend.entered == session.REQUESTS_IN_FLIGHT_MAX)
        await asyncio.sleep(0.05)
        assert backend.entered == session.REQUESTS_IN_FLIGHT_MAX
        backend.gate.set()
        for _ in range(total):
            assert (await client.reply()).error == 0
        await client.close()


async def test_a_client_that_does_not_read_is_not_served_further(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    backend.allocated.update(range(SIZE // 4096))
    async with serving(path, backend):
        client = await Client.connect(str(path))
        transport = cast(asyncio.Transport, client.writer.transport)
        transport.pause_reading()
        total = 400
        for _ in range(total):
            client.send(0, 0, 1 << 20)
        seen = -1
        while backend.entered != seen:
            seen = backend.entered
            await asyncio.sleep(0.1)
        # what is read, but not taken, is bounded by the bytes in flight and the socket's buffers
        assert backend.entered <= session.BYTES_IN_FLIGHT_MAX // (1 << 20) + 8
        transport.resume_reading()
        done = 0
        while done < total:
            chunk = await client.reply()
            assert not chunk.error
            done += chunk.done
        await client.close()


async def test_second_writer_is_refused_and_waits_for_one_that_leaves(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    async with serving(path, backend):
        first = await Client.connect(str(path))
        with pytest.raises(ConnectionRefusedError, match=r"0x80000002.*in use"):
            await Client.connect(str(path))
        backend.gate.clear()
        first.send(1, 0, data=b"late")
        await eventually(lambda: backend.entered == 1)
        await first.close()
        # a request of the first client is still being worked on: the second waits for it
        second = asyncio.create_task(Client.connect(str(path)))
        await asyncio.sleep(0.05)
        assert not second.done()
        backend.gate.set()
        client = await asyncio.wait_for(second, HANDOVER_TIMEOUT_S)
        assert await client.read(0, 4) == b"late"
        await client.close()


async def test_read_only_serves_many(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    opened: list[str] = []
    async with serving(path, backend, read_only=True, opened=opened):
        clients = [await Client.connect(str(path)) for _ in range(5)]
        for client in clients:
            assert await client.read(0, 100) == bytes(100)
            assert (await client.call(1, 0, data=b"x")).error == 1
        for client in clients:
            await client.close()
        await eventually(lambda: backend.closed)
    assert opened == ["disk"]


@pytest.mark.parametrize("cut", [0, 3, 17, 20, 40, 60, 90, 100, 200])
async def test_client_vanishes_mid_request(path: Path, cut: int) -> None:
    backend = MemoryBackend(SIZE)
    async with serving(path, backend) as server:
        client = await Client.connect(str(path))
        stream = request(1, 1, 0, 100, data=b"a" * 100) + request(0, 2, 0, 1 << 20)
        client.writer.write(stream[:cut])
        transport = cast(asyncio.Transport, client.writer.transport)
        await client.writer.drain()
        transport.abort()
        await eventually(lambda: backend.closed and not server._sessions)
        assert backend.data[:100] in (bytes(100), b"a" * 100)
        again = await Client.connect(str(path))
        assert (await again.call(1, 0, data=b"b" * 100)).error == 0
        await again.close()


async def test_close_answers_what_is_in_flight(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    async with serving(path, backend) as server:
        client = await Client.connect(str(path))
        backend.gate.clear()
        client.send(1, 0, data=b"last")
        await eventually(lambda: backend.entered == 1)
        closing = asyncio.create_task(server.close(timeout_s=5))
        await asyncio.sleep(0.02)
        backend.gate.set()
        assert (await client.reply()).error == 0
        assert await client.reader.read() == b""
        await closing
        assert backend.closed
        assert bytes(backend.data[:4]) == b"last"
        await client.close()


async def test_close_with_a_stuck_backend(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    async with serving(path, backend) as server:
        client = await Client.connect(str(path))
        backend.gate.clear()
        client.send(1, 0, data=b"never")
        await eventually(lambda: backend.entered == 1)
        async with asyncio.timeout(5):
            await server.close(timeout_s=0.1)
        await client.close()


async def test_handshake_timeout(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HANDSHAKE_TIMEOUT_S", 0.05)
    async with serving(path, MemoryBackend(SIZE)):
        reader, writer = await asyncio.open_unix_connection(path)
        async with asyncio.timeout(5):
            assert len(await reader.read()) == 18
        writer.close()


async def test_garbage_closes_only_that_client(path: Path) -> None:
    backend = MemoryBackend(SIZE)
    async with serving(path, backend):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(5):
            try:
                assert len(await reader.read()) == 18
            except ConnectionResetError:
                pass
        writer.close()
        client = await Client.connect(str(path))
        assert await client.read(0, 10) == bytes(10)
        await client.close()


async def test_backend_that_does_not_open(path: Path) -> None:
    async def fail(_name: str) -> MemoryBackend:
        raise OSError(errno.ENOENT, "no such image")

    server = NbdServer(fail, ["disk"])
    await server.listen_unix(path)
    try:
        with pytest.raises(ConnectionRefusedError, match="no such image"):
            await Client.connect(str(path))
    finally:
        await server.close()


async def test_socket_mode_stale_socket_and_bad_paths(path: Path) -> None:
    open_backend: Callable[[str], Awaitable[MemoryBackend]] = lambda _name: asyncio.sleep(0, MemoryBackend(4096))  # noqa: E731
    server = NbdServer(open_backend, ["disk"])
    await server.listen_unix(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = NbdServer(open_backend, ["disk"])
    with pytest.raises(FileExistsError, match="another server"):
        await other.listen_unix(path)
    for listening in server._servers:  # as if the process had died: the socket stays
        listening.close()
    server._paths.clear()
    await server.close()
    assert path.exists()
    await other.listen_unix(path)
    client = await Client.connect(str(path))
    await client.close()
    await other.close()
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="something else"):
        await other.listen_unix(path)
    assert path.read_text() == "precious"
    with pytest.raises(ValueError, match="longer than 107"):
        await other.listen_unix(path.with_name("x" * 120))


async def test_tcp_is_loopback_only() -> None:
    server = NbdServer(lambda _name: asyncio.sleep(0, MemoryBackend(4096)), ["disk"])
    with pytest.raises(ValueError, match="not a loopback"):
        await server.listen_tcp("0.0.0.0")  # noqa: S104
    port = await server.listen_tcp()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert len(await reader.readexactly(18)) == 18
    writer.write(FIXED_NO_ZEROES + struct.pack(">QII", 0x49484156454F5054, 2, 0))
    assert len(await reader.read()) == 20
    writer.close()
    await server.close()
