"""A small keep-alive HTTP client, so that a benchmark measures the server and not its own client library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit


class Http:
    """One connection; requests one after another."""

    def __init__(self, run_directory: Path) -> None:
        endpoint = json.loads((run_directory / "endpoint.json").read_text())
        self._point(endpoint["api_url"], {"X-Auth-Token": (run_directory / "token").read_text().strip()})

    @classmethod
    def to(cls, url: str, headers: Mapping[str, str]) -> Self:
        """A connection to any server, with these headers in each request."""
        made = cls.__new__(cls)
        made._point(url, headers)
        return made

    def _point(self, url: str, headers: Mapping[str, str]) -> None:
        self.address = urlsplit(url)
        self._headers = [f"{name}: {value}" for name, value in headers.items()]

    async def __aenter__(self) -> Self:
        host, port = self.address.hostname, self.address.port
        self.reader, self.writer = await asyncio.open_connection(host, port, limit=1 << 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded JSON of the answer. Raises RuntimeError for an error status."""
        data = b"" if body is None else json.dumps(body).encode()
        lines = (
            f"{method} {path} HTTP/1.1",
            "Host: cove",
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
            *self._headers,
        )
        head = "\r\n".join((*lines, "", ""))
        self.writer.write(head.encode() + data)
        header = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 120)
        status = int(header.split(b" ", 2)[1])
        length = next(
            (int(line.split(b":")[1]) for line in header.split(b"\r\n") if line.lower().startswith(b"content-length")),
            0,
        )
        content = await self.reader.readexactly(length)
        if b"connection: close" in header.lower():
            await self.__aexit__()
            await self.__aenter__()
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {content.decode(errors='replace')[:500]}")
        return json.loads(content) if content else None
