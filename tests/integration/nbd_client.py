"""A blocking NBD client of a page, so that a test knows exactly which write was acknowledged."""

from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path
from typing import Self

from .cove_instance import eventually

READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
_REQUEST = struct.Struct(">IHHQQI")
_REPLY = struct.Struct(">IIQ")


class NbdClient:
    """One connection, one request at a time. Raises ConnectionError when the server is gone."""

    def __init__(self, path: Path, export: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        eventually(lambda: self._accepts(path), 5, "a server listens")
        greeting = self._take(18)
        assert greeting[:16] == b"NBDMAGICIHAVEOPT"
        name = export.encode()
        self._socket.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, len(name)) + name)
        (self.size, _flags) = struct.unpack(">QH", self._take(10))

    def _accepts(self, path: Path) -> bool:
        """A socket has its name a moment before its server listens."""
        return self._socket.connect_ex(str(path)) != errno.ECONNREFUSED

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _take(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            chunk = self._socket.recv(length - len(data))
            if not chunk:
                raise ConnectionError("the server is gone")
            data += chunk
        return data

    def _request(self, kind: int, offset: int, length: int, data: bytes = b"") -> bytes:
        self._socket.sendall(_REQUEST.pack(0x25609513, 0, kind, 7, offset, length) + data)
        magic, error, cookie = _REPLY.unpack(self._take(_REPLY.size))
        assert (magic, cookie) == (0x67446698, 7)
        assert error == 0, f"NBD error {error}"
        return self._take(length) if kind == READ else b""

    def write(self, offset: int, data: bytes) -> None:
        """Returns when the write is acknowledged."""
        self._request(WRITE, offset, len(data), data)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the disk."""
        return self._request(READ, offset, length)

    def flush(self) -> None:
        """Returns when all earlier writes are durable."""
        self._request(FLUSH, 0, 0)
