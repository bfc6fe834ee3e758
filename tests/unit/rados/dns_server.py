"""A name server on the loopback, for tests of lookups: it answers by a script, over UDP and TCP."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import cast

from cove.rados.dns_message import Answer, RecordType, encode_name
from cove.rados.dns_srv import DnsConf

SRV, A, AAAA, CNAME = RecordType.SRV, RecordType.A, RecordType.AAAA, RecordType.CNAME


def record(answer: Answer) -> bytes:
    if answer.type == SRV:
        data = struct.pack(">3H", answer.priority, answer.weight, answer.port) + encode_name(answer.value)
    elif answer.type == CNAME:
        data = encode_name(answer.value)
    else:
        data = ip_address(answer.value).packed
    return encode_name(answer.name) + struct.pack(">HHIH", answer.type, 1, 60, len(data)) + data


def response(
    query: bytes, answers: list[Answer], extra: list[Answer] | None = None, rcode: int = 0, flags: int = 0x8180
) -> bytes:
    extra = extra or []
    end = query.index(b"\0", 12) + 5
    header = struct.pack(">6H", int.from_bytes(query[:2], "big"), flags | rcode, 1, len(answers), 0, len(extra))
    return header + query[12:end] + b"".join(map(record, answers + extra))


Script = Callable[[str, int, bytes], bytes | None]


class Server(asyncio.DatagramProtocol):
    """Answers by a script; says nothing where that gives None."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[tuple[str, int]] = []
        self.clients: list[tuple[str, int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def answer(self, query: bytes) -> bytes | None:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, kind = ".".join(labels), int.from_bytes(query[at + 1 : at + 3], "big")
        self.asked.append((name, kind))
        return self.script(name, kind, query)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.clients.append(addr)
        found = self.answer(data)
        if found is not None:
            self.transport.sendto(b"rubbish", addr)
            self.transport.sendto(found, addr)

    async def by_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        found = self.answer(await reader.readexactly(length)) or b""
        writer.write(len(found).to_bytes(2, "big") + found)
        writer.close()


@asynccontextmanager
async def name_server(script: Script, **settings: object) -> AsyncIterator[tuple[Server, DnsConf]]:
    server = Server(script)
    tcp = await asyncio.start_server(server.by_tcp, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", port)
    )
    values: dict[str, object] = {"servers": (("127.0.0.1", port),), "timeout_s": 5.0, "attempts": 1} | settings
    try:
        yield server, DnsConf(**values)  # type: ignore[arg-type]
    finally:
        transport.close()
        tcp.close()
        await tcp.wait_closed()
