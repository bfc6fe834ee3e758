"""What a stranger can do to the server with nothing but a socket: how much it keeps, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from cove.daemon import http_protocol
from cove.daemon.http_protocol import HEAD_BYTES_MAX, HEADERS_MAX, BoundedProtocol
from cove.daemon.http_server import HttpServer, checked_proxies
from cove.errors import CoveError

TIMEOUT_S = 10
HEAD = b"Host: cove.test\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked; /large with more than sockets hold; /deaf without having read the body."""
    body, more = b"", scope["path"] != "/deaf"
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    shown = {
        "client": scope["client"][0],
        "scheme": scope["scheme"],
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode(),
    }
    answer = b"x" * (64 << 20) if scope["path"] == "/large" else json.dumps(shown).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


class Served:
    """A server that is running, and the connections to it."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self.writers: list[asyncio.StreamWriter] = []

    async def __call__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self._server.url.rpartition(":")[2]))
        self.writers.append(writer)
        return reader, writer

    def protocol(self, writer: asyncio.StreamWriter) -> BoundedProtocol | None:
        """The server's side of a connection; None if it has none any more."""
        assert self._server._server is not None
        ours = writer.get_extra_info("sockname")
        for other in self._server._server.server_state.connections:
            assert isinstance(other, BoundedProtocol)
            if other.client == ours:
                return other
        return None


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Served]:
    server = HttpServer("127.0.0.1", 0, lambda: None, **options)
    await server.start(echo)
    served = Served(server)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield served
    finally:
        for writer in served.writers:
            writer.transport.abort()
        await server.stop()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    size = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
    body = await reader.readexactly(size)
    return int(lines[0].split()[1]), json.loads(body) if body.startswith(b"{") else body


async def ask(connect: Served, *parts: bytes) -> tuple[int, Any]:
    reader, writer = await connect()
    for part in parts:
        writer.write(part)
    return await read_answer(reader)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes the connection, whatever it says before that."""
    try:
        while await reader.read(1 << 20):
            pass
    except ConnectionError:
        pass
    return True


# --- who the client is -----------------------------------------------------------------------------------------------

FORWARDED = HEAD + b"X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https\r\n"


async def test_nobody_says_who_the_client_is() -> None:
    """Failed logins are counted by address: one that anybody may choose is none."""
    async with serving() as connect:
        _, shown = await ask(connect, b"GET / HTTP/1.1\r\n", FORWARDED, b"\r\n")
    assert (shown["client"], shown["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize("proxy", ["127.0.0.1", "127.0.0.0/8"])
async def test_but_a_proxy_that_is_trusted(proxy: str) -> None:
    async with serving(trusted_proxies=[proxy]) as connect:
        _, shown = await ask(connect, b"GET / HTTP/1.1\r\n", FORWARDED, b"\r\n")
        assert (shown["client"], shown["scheme"]) == ("192.0.2.66", "https")
        spoofed = HEAD + b"X-Forwarded-For: 10.9.9.9, 192.0.2.66\r\n"
        _, shown = await ask(connect, b"GET / HTTP/1.1\r\n", spoofed, b"\r\n")
        assert shown["client"] == "192.0.2.66", "what the client itself wrote comes first, and counts for nothing"


async def test_another_proxy_is_not_the_one() -> None:
    async with serving(trusted_proxies=["192.0.2.1"]) as connect:
        _, shown = await ask(connect, b"GET / HTTP/1.1\r\n", FORWARDED, b"\r\n")
    assert (shown["client"], shown["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize("proxy", ["*", "", "proxy.example", "192.0.2.1/24", "unix:"])
def test_proxies_that_are_no_addresses(proxy: str) -> None:
    with pytest.raises(CoveError, match="api_trusted_proxies"):
        checked_proxies(["192.0.2.1", proxy])


async def test_trailers_are_no_headers() -> None:
    """A proxy that sets X-Forwarded-For, or takes a header away, does not look behind the body."""
    chunks = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Forwarded-For: 192.0.2.66\r\nIf-Match: x\r\n\r\n"
    async with serving(trusted_proxies=["127.0.0.1"]) as connect:
        _, shown = await ask(connect, b"POST / HTTP/1.1\r\n", HEAD, chunks)
    assert shown["body"] == "hi"
    assert shown["client"] == "127.0.0.1"
    assert [name for name, _ in shown["headers"]] == ["host", "transfer-encoding"]


# --- how large -------------------------------------------------------------------------------------------------------


async def test_a_head_that_is_as_large_as_may_be() -> None:
    async with serving() as connect:
        code, shown = await ask(
            connect, b"GET / HTTP/1.1\r\n", HEAD, b"X: " + b"a" * (HEAD_BYTES_MAX - 100), b"\r\n\r\n"
        )
        assert (code, len(shown["headers"])) == (200, 2)
        code, shown = await ask(connect, b"GET / HTTP/1.1\r\n", HEAD, b"X: a\r\n" * (HEADERS_MAX - 1), b"\r\n")
        assert (code, len(shown["headers"])) == (200, HEADERS_MAX)


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\n", HEAD, b"X: a\r\n" * HEADERS_MAX, b"\r\n"],
        [b"GET / HTTP/1.1\r\n", HEAD, (b"X: " + b"a" * 1000 + b"\r\n") * 80, b"\r\n"],
        [b"GET / HTTP/1.1\r\nX: ", b"a" * (HEAD_BYTES_MAX + 1000)],
        [b"GET /", b"a" * (HEAD_BYTES_MAX + 1000)],
        [b"GET / HTTP/1.1\r\n", b"a" * (HEAD_BYTES_MAX + 1000)],
    ],
    ids=["many", "long together", "one without end", "path without end", "name without end"],
)
async def test_a_head_that_is_too_large(parts: list[bytes]) -> None:
    """Refused before it has ended: what never ends would be kept for ever."""
    async with serving() as connect:
        reader, writer = await connect()
        writer.write(b"".join(parts))
        try:
            answer = await reader.read(1 << 20)
        except ConnectionError:  # it was still sending
            answer = b""
        assert answer.startswith(b"HTTP/1.1 431 ") or not answer
        assert await ended(reader)
        assert (await ask(connect, b"GET / HTTP/1.1\r\n", HEAD, b"\r\n"))[0] == 200


async def test_the_next_request_of_a_connection_is_counted_anew() -> None:
    request = b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"a" * (HEAD_BYTES_MAX - 1000) + b"\r\n\r\n"
    body = b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 500000\r\n\r\n" + b"a" * 500000
    async with serving() as connect:
        reader, writer = await connect()
        for each in (request, body, request):
            writer.write(each)
            assert (await read_answer(reader))[0] == 200
        writer.write(request * 3)  # in one go
        for _ in range(3):
            assert (await read_answer(reader))[0] == 200


# --- how long --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.2)
    monkeypatch.setattr(http_protocol, "BODY_S", 0.2)
    monkeypatch.setattr(http_protocol, "READ_S", 0.2)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"GET /large HTTP/1.1\r\n" + HEAD + b"\r\n",
    ],
    ids=[
        "nothing",
        "a letter",
        "an empty line",
        "half a head",
        "no body",
        "half a body",
        "half a chunked one",
        "reading",
    ],
)
async def test_clients_that_take_their_time(sent: bytes) -> None:
    async with serving() as connect:
        reader, writer = await connect()
        writer.write(sent)
        if b"/large" in sent:  # nobody reads: there is no end to be seen from here
            await reader.readexactly(100)
            while connect.protocol(writer) is not None:
                await asyncio.sleep(0.05)
        else:
            assert await ended(reader)


@pytest.mark.usefixtures("hasty")
async def test_drops_that_come_in_time_do_not_help() -> None:
    """It is the whole head that has its time, not each of its bytes; also on a connection that has had an answer."""
    async with serving() as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert (await read_answer(reader))[0] == 200
        ending = asyncio.create_task(ended(reader))
        while not ending.done():
            writer.write(b"\r\n")
            await asyncio.wait({ending}, timeout=0.02)


@pytest.mark.usefixtures("hasty")
async def test_what_follows_an_answer_that_came_early_has_an_end() -> None:
    async with serving() as connect:
        reader, writer = await connect()
        writer.write(b"POST /deaf HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000000000\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
        ending = asyncio.create_task(ended(reader))
        while not ending.done():
            writer.write(b"a" * 100)
            await asyncio.wait({ending}, timeout=0.02)


@pytest.mark.usefixtures("hasty")
async def test_those_who_wait_for_us_or_for_their_next_request_stay() -> None:
    async with serving() as connect:
        reader, writer = await connect()
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
            assert (await read_answer(reader))[0] == 200
            protocol = connect.protocol(writer)
            assert protocol is not None
            assert not protocol.overdue(asyncio.get_running_loop().time() + 30), "keep-alive has a time of its own"


# --- how many --------------------------------------------------------------------------------------------------------


async def test_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is idle makes room for a new one; those that are at work stay."""
    monkeypatch.setattr("cove.daemon.http_server.connections_max", lambda: 3)
    async with serving() as connect:
        first = await connect()
        first[1].write(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert (await read_answer(first[0]))[0] == 200
        busy = [await connect() for _ in range(2)]
        for _, writer in busy:
            writer.write(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n")
        # The idle one makes room for the fourth; for the fifth there is none.
        fourth = await connect()
        fourth[1].write(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n")
        assert await ended(first[0])
        fifth = await connect()
        assert await ended(fifth[0])
        for reader, writer in (*busy, fourth):
            writer.write(b"ok")
            assert (await read_answer(reader))[1]["body"] == "ok"
