"""Building the bytes that an NBD server sends: greeting, option replies, simple replies, structured chunks.

Pure functions; `protocol.py` decides which of them a session may use.

Source: NetworkBlockDevice project, doc/proto.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from .constants import (
    CHUNK_DONE,
    CHUNK_MAGIC,
    INIT_MAGIC,
    OPTION_MAGIC,
    OPTION_REPLY_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRING_BYTES_MAX,
    ChunkType,
    ErrorCode,
    HandshakeFlag,
    Info,
    StatusFlag,
)

Buffer = bytes | bytearray | memoryview
Segment = tuple[int, Buffer | None]
"""A piece of a read: its length in bytes, and its data, or None for a hole that reads as zeros."""

_GREETING = struct.Struct(">QQH")
_OPTION_REPLY = struct.Struct(">QIII")
_SIMPLE = struct.Struct(">IIQ")
_CHUNK = struct.Struct(">IHHQI")
_HOLE = struct.Struct(">QI")
_OFFSET = struct.Struct(">Q")
_ERROR = struct.Struct(">IH")
_EXTENT = struct.Struct(">II")


def greeting() -> bytes:
    """What the server says first."""
    return _GREETING.pack(INIT_MAGIC, OPTION_MAGIC, HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)


def option_reply(option: int, reply: int, data: bytes = b"") -> bytes:
    """One reply to an option."""
    return _OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, reply, len(data)) + data


def text(message: str) -> bytes:
    """A string for people, cut to what the protocol allows without breaking a character."""
    return message.encode("utf-8", "replace")[:STRING_BYTES_MAX].decode("utf-8", "ignore").encode()


def info_export(size: int, flags: int) -> bytes:
    """Size (bytes) and abilities of an export."""
    return struct.pack(">HQH", Info.EXPORT, size, flags)


def info_block_size(minimum: int, preferred: int, maximum: int) -> bytes:
    """Block size limits, in bytes."""
    return struct.pack(">HIII", Info.BLOCK_SIZE, minimum, preferred, maximum)


def info_text(kind: Info, value: str) -> bytes:
    """Name or description of an export."""
    return struct.pack(">H", kind) + text(value)


def simple_reply(cookie: int, error: ErrorCode = ErrorCode.OK) -> bytes:
    """A reply without payload; after a successful one to a read, the data follows."""
    return _SIMPLE.pack(SIMPLE_REPLY_MAGIC, error, cookie)


def error_chunk(cookie: int, error: ErrorCode, message: str) -> bytes:
    """The only and last chunk of a request that failed."""
    raw = text(message)
    head = _CHUNK.pack(CHUNK_MAGIC, CHUNK_DONE, ChunkType.ERROR, cookie, _ERROR.size + len(raw))
    return head + _ERROR.pack(error, len(raw)) + raw


def read_chunks(cookie: int, offset: int, segments: Sequence[Segment]) -> list[Buffer]:
    """A successful read as data and hole chunks, the last marked as done. Data buffers are passed through uncopied."""
    if not segments:
        return [_CHUNK.pack(CHUNK_MAGIC, CHUNK_DONE, ChunkType.NONE, cookie, 0)]
    out: list[Buffer] = []
    last = len(segments) - 1
    for index, (length, data) in enumerate(segments):
        flags = CHUNK_DONE if index == last else 0
        if data is None:
            head = _CHUNK.pack(CHUNK_MAGIC, flags, ChunkType.OFFSET_HOLE, cookie, _HOLE.size)
            out.append(head + _HOLE.pack(offset, length))
        else:
            head = _CHUNK.pack(CHUNK_MAGIC, flags, ChunkType.OFFSET_DATA, cookie, _OFFSET.size + length)
            out.append(head + _OFFSET.pack(offset))
            out.append(data)
        offset += length
    return out


def status_chunk(cookie: int, context: int, extents: Iterable[tuple[int, StatusFlag]]) -> bytes:
    """Lengths and flags of consecutive extents, from the request's offset on."""
    body = struct.pack(">I", context) + b"".join(_EXTENT.pack(length, flags) for length, flags in extents)
    return _CHUNK.pack(CHUNK_MAGIC, CHUNK_DONE, ChunkType.BLOCK_STATUS, cookie, len(body)) + body
