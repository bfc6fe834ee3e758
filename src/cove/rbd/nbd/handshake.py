"""Parsing the data of handshake options: pure functions from bytes to typed values, or `OptionError`.

Source: NetworkBlockDevice project, doc/proto.md, "Option types".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .constants import DEFAULT_CONTEXT, QUERIES_MAX, STRING_BYTES_MAX, Info, Reply

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


class OptionError(Exception):
    """The option is refused with an error reply; the session goes on."""

    def __init__(self, reply: Reply, message: str) -> None:
        super().__init__(message)
        self.reply = reply
        self.message = message


@dataclass(frozen=True, slots=True)
class InfoQuery:
    """Data of NBD_OPT_INFO and NBD_OPT_GO: the export's name and the kinds of information wanted."""

    name: str
    infos: frozenset[int]

    def wants(self, info: Info) -> bool:
        """Whether the client asked for that kind."""
        return info in self.infos


@dataclass(frozen=True, slots=True)
class ContextQuery:
    """Data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT."""

    name: str
    queries: tuple[str, ...]

    def selects_allocation(self, *, listing: bool) -> bool:
        """Whether `base:allocation` answers the query. A listing without queries, or for `base:`, means all of it."""
        if listing and (not self.queries or "base:" in self.queries):
            return True
        return DEFAULT_CONTEXT in self.queries


class _Reader:
    """Walks over one option's data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def take(self, length: int, what: str) -> bytes:
        end = self._pos + length
        if end > len(self._data):
            raise OptionError(
                Reply.ERR_INVALID,
                f"{what}: {length} bytes wanted at {self._pos}, the option's data has {len(self._data)}",
            )
        piece = self._data[self._pos : end]
        self._pos = end
        return piece

    def u16(self, what: str) -> int:
        return int(_U16.unpack(self.take(2, what))[0])

    def u32(self, what: str) -> int:
        return int(_U32.unpack(self.take(4, what))[0])

    def string(self, what: str) -> str:
        length = self.u32(what)
        if length > STRING_BYTES_MAX:
            raise OptionError(
                Reply.ERR_TOO_BIG, f"{what}: {length} bytes are too long, at most {STRING_BYTES_MAX} are allowed"
            )
        return decode_name(self.take(length, what), what)

    def end(self) -> None:
        if self._pos != len(self._data):
            raise OptionError(
                Reply.ERR_INVALID, f"{len(self._data) - self._pos} bytes too many at the end of the option's data"
            )


def decode_name(raw: bytes, what: str) -> str:
    """A string of the protocol: UTF-8 without NUL. Raises OptionError."""
    if b"\0" in raw:
        raise OptionError(Reply.ERR_INVALID, f"{what} contains a NUL byte")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise OptionError(Reply.ERR_INVALID, f"{what} is not UTF-8") from None


def parse_info(data: bytes) -> InfoQuery:
    """u32 length and name, u16 count and that many u16 kinds. Raises OptionError."""
    reader = _Reader(data)
    name = reader.string("export name")
    count = reader.u16("number of information requests")
    infos = frozenset(reader.u16("information request") for _ in range(count))
    reader.end()
    return InfoQuery(name, infos)


def parse_contexts(data: bytes) -> ContextQuery:
    """u32 length and name, u32 count and that many u32-prefixed queries. Raises OptionError."""
    reader = _Reader(data)
    name = reader.string("export name")
    count = reader.u32("number of queries")
    if count > QUERIES_MAX:
        raise OptionError(Reply.ERR_TOO_BIG, f"{count} metadata queries are too many, at most {QUERIES_MAX}")
    queries = tuple(reader.string("query") for _ in range(count))
    reader.end()
    return ContextQuery(name, queries)


def expect_empty(data: bytes) -> None:
    """For options that carry no data. Raises OptionError."""
    if data:
        raise OptionError(Reply.ERR_INVALID, f"the option carries no data, {len(data)} bytes came")
