"""The client's side of NBD for tests: what it sends, and a reader of what it gets, written apart from the server's."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field

FIXED_NO_ZEROES = struct.pack(">I", 3)


def option(number: int, data: bytes = b"") -> bytes:
    return b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data


def string(text: str) -> bytes:
    return struct.pack(">I", len(text.encode())) + text.encode()


def go(name: str, *infos: int, number: int = 7) -> bytes:
    return option(number, string(name) + struct.pack(">H", len(infos)) + b"".join(struct.pack(">H", i) for i in infos))


def contexts(name: str, *queries: str, number: int = 10) -> bytes:
    return option(number, string(name) + struct.pack(">I", len(queries)) + b"".join(map(string, queries)))


def request(kind: int, cookie: int, offset: int = 0, length: int = 0, flags: int = 0, data: bytes = b"") -> bytes:
    return struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length) + data


@dataclass
class Chunk:
    cookie: int
    kind: int  # -1: a simple reply
    error: int = 0
    done: bool = True
    offset: int = 0
    data: bytes = b""
    hole: int = 0
    extents: list[tuple[int, int]] = field(default_factory=list)
    message: str = ""


class Reader:
    """Parses the server's bytes; anything unexpected fails the test."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.pos = 0

    def take(self, length: int) -> bytes:
        piece = self.data[self.pos : self.pos + length]
        assert len(piece) == length, f"{length} bytes wanted, {len(piece)} there"
        self.pos += length
        return piece

    @property
    def left(self) -> int:
        return len(self.data) - self.pos

    def greeting(self) -> None:
        assert self.take(18) == b"NBDMAGICIHAVEOPT\x00\x03"

    def option_reply(self) -> tuple[int, int, bytes]:
        magic, number, kind, length = struct.unpack(">QIII", self.take(20))
        assert magic == 0x3E889045565A9
        return number, kind, self.take(length)

    def reply(self, simple_read_length: int = 0) -> Chunk:
        (magic,) = struct.unpack(">I", self.take(4))
        if magic == 0x67446698:
            error, cookie = struct.unpack(">IQ", self.take(12))
            return Chunk(cookie, -1, error, data=self.take(simple_read_length) if not error else b"")
        assert magic == 0x668E33EF, hex(magic)
        flags, kind, cookie, length = struct.unpack(">HHQI", self.take(16))
        body = Reader(self.take(length))
        chunk = Chunk(cookie, kind, done=bool(flags & 1))
        if kind == 1:
            (chunk.offset,) = struct.unpack(">Q", body.take(8))
            chunk.data = body.take(body.left)
        elif kind == 2:
            chunk.offset, chunk.hole = struct.unpack(">QI", body.take(12))
        elif kind == 5:
            assert struct.unpack(">I", body.take(4)) == (1,)
            while body.left:
                chunk.extents.append(struct.unpack(">II", body.take(8)))
        elif kind == 0x8001:
            chunk.error, size = struct.unpack(">IH", body.take(6))
            chunk.message = body.take(size).decode()
        else:
            assert kind == 0, kind
        assert not body.left
        return chunk


class Client:
    """A small asyncio client: one request at a time, or many by cookie."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.cookie = 0

    @classmethod
    async def connect(cls, path: str, name: str = "disk", *, structured: bool = True) -> Client:
        self = cls(*await asyncio.open_unix_connection(path))
        await self.reader.readexactly(18)
        self.writer.write(FIXED_NO_ZEROES)
        if structured:
            self.writer.write(option(8))
            assert (await self.option_reply())[1] == 1
        self.writer.write(go(name))
        while (reply := await self.option_reply())[1] == 3:
            pass
        if reply[1] != 1:
            self.writer.close()
            raise ConnectionRefusedError(f"{reply[1]:#x} {reply[2].decode()}")
        return self

    async def option_reply(self) -> tuple[int, int, bytes]:
        head = await self.reader.readexactly(20)
        length = struct.unpack(">I", head[16:])[0]
        return Reader(head + await self.reader.readexactly(length)).option_reply()

    def send(self, kind: int, offset: int = 0, length: int = 0, *, flags: int = 0, data: bytes = b"") -> int:
        self.cookie += 1
        self.writer.write(request(kind, self.cookie, offset, length or len(data), flags, data))
        return self.cookie

    async def reply(self) -> Chunk:
        head = await self.reader.readexactly(16)
        if head[:4] == b"\x67\x44\x66\x98":
            return Reader(head).reply()
        head += await self.reader.readexactly(4)
        return Reader(head + await self.reader.readexactly(struct.unpack(">I", head[16:])[0])).reply()

    async def call(self, kind: int, offset: int = 0, length: int = 0, *, flags: int = 0, data: bytes = b"") -> Chunk:
        cookie = self.send(kind, offset, length, flags=flags, data=data)
        answer = await self.reply()
        assert answer.cookie == cookie
        return answer

    async def read(self, offset: int, length: int) -> bytes:
        cookie = self.send(0, offset, length)
        out = bytearray(length)
        while True:
            chunk = await self.reply()
            assert chunk.cookie == cookie
            assert not chunk.error, chunk.message
            start = chunk.offset - offset
            out[start : start + len(chunk.data)] = chunk.data
            if chunk.done:
                return bytes(out)

    async def disconnect(self) -> None:
        self.writer.write(request(2, 0))
        assert await self.reader.read() == b""
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass
