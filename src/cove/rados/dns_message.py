"""DNS messages, as far as finding monitors needs them: questions for SRV, A and AAAA records, and their answers.

Pure bytes and values; `dns_srv.py` sends them.

Source: RFC 1035 (§4), RFC 2782 (SRV), RFC 3596 (AAAA), RFC 6891 (the OPT record that allows longer answers).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from ..wire.errors import PeerError, UsageError

CLASS_IN = 1
UDP_BYTES_MAX = 1232
"""What we say we take by UDP: fits into one packet everywhere."""
RECORDS_MAX = 1024
_LABEL_BYTES_MAX = 63
_NAME_BYTES_MAX = 255
_POINTERS_MAX = 64
"""In one name: a chain of them is work for us, and costs who sends it nothing."""
_HEADER = struct.Struct(">6H")
_FIXED = struct.Struct(">HHIH")
_SRV = struct.Struct(">3H")
_RESPONSE, _TRUNCATED, _RECURSE = 0x8000, 0x0200, 0x0100


class RecordType(IntEnum):
    """Types of records that are looked at."""

    A = 1
    CNAME = 5
    AAAA = 28
    SRV = 33
    OPT = 41


class Answer(NamedTuple):
    """One record: `value` is an IP address, a name, or for SRV the target with the three numbers."""

    name: str
    type: int
    value: str
    priority: int = 0
    weight: int = 0
    port: int = 0


class Response(NamedTuple):
    """`rcode`: 0 it is so, 3 there is no such name. `truncated`: ask again by TCP. Records of all sections."""

    rcode: int
    truncated: bool
    records: tuple[Answer, ...]


def encode_name(name: str) -> bytes:
    """A name as labels. Raises UsageError for what is no name."""
    labels = name.rstrip(".").split(".") if name.strip(".") else []
    pieces = []
    for label in labels:
        try:
            raw = label.encode("ascii") if label.isascii() else label.encode("idna")
        except UnicodeError:
            raw = b""
        if not 0 < len(raw) <= _LABEL_BYTES_MAX:
            raise UsageError(f"{name!r} is no name of a host: {label!r}")
        pieces.append(bytes((len(raw),)) + raw)
    encoded = b"".join(pieces) + b"\0"
    if len(encoded) > _NAME_BYTES_MAX:
        raise UsageError(f"{name!r} is no name of a host: it is too long")
    return encoded


def encode_query(number: int, name: str, kind: RecordType) -> bytes:
    """A question. Raises UsageError."""
    question = encode_name(name) + struct.pack(">HH", kind, CLASS_IN)
    opt = b"\0" + _FIXED.pack(RecordType.OPT, UDP_BYTES_MAX, 0, 0)
    return _HEADER.pack(number, _RECURSE, 1, 0, 0, 1) + question + opt


def decode_response(data: bytes, number: int, name: str, kind: RecordType) -> Response:
    """The answer to a question. Raises PeerError, also if it answers another one."""
    try:
        got, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
        if got != number or not flags & _RESPONSE or questions != 1:
            raise PeerError("a DNS message that is not the answer to our question")
        asked, at = _name(data, _HEADER.size)
        if folded(asked) != folded(name) or struct.unpack_from(">HH", data, at) != (kind, CLASS_IN):
            raise PeerError(f"a DNS message about {asked!r}, not about {name!r}")
        at += 4
        count = answers + authorities + additional
        if count > RECORDS_MAX:
            raise PeerError(f"a DNS message of {count} records")
        truncated = bool(flags & _TRUNCATED)
        records: list[Answer] = []
        for _ in range(0 if truncated else count):
            owner, at = _name(data, at)
            rtype, rclass, _ttl, length = _FIXED.unpack_from(data, at)
            at += _FIXED.size
            end = at + length
            if end > len(data):
                raise PeerError(f"a DNS record of {length} bytes in {len(data) - at}")
            if rclass == CLASS_IN:
                record = _record(data, owner, rtype, at, end)
                if record is not None:
                    records.append(record)
            at = end
    except (struct.error, IndexError):
        raise PeerError(f"a DNS message ends after {len(data)} bytes") from None
    return Response(flags & 0xF, truncated, tuple(records))


def _record(data: bytes, owner: str, rtype: int, at: int, end: int) -> Answer | None:
    """One record; None if it is of a type without meaning for us."""
    if rtype == RecordType.A and end - at == 4:
        return Answer(owner, rtype, str(IPv4Address(data[at:end])))
    if rtype == RecordType.AAAA and end - at == 16:
        return Answer(owner, rtype, str(IPv6Address(data[at:end])))
    if rtype == RecordType.CNAME:
        return Answer(owner, rtype, _name(data, at)[0])
    if rtype == RecordType.SRV and end - at > _SRV.size:
        priority, weight, port = _SRV.unpack_from(data, at)
        return Answer(owner, rtype, _name(data, at + _SRV.size)[0], priority, weight, port)
    return None


def _name(data: bytes, at: int) -> tuple[str, int]:
    """A name, compressed or not, and where the message goes on. Raises PeerError, IndexError."""
    labels: list[str] = []
    after, size, limit, pointers = -1, 0, at, 0
    while True:
        length = data[at]
        if length & 0xC0 == 0xC0:
            target = (length & 0x3F) << 8 | data[at + 1]
            after = at + 2 if after < 0 else after
            pointers += 1
            if target >= limit or pointers > _POINTERS_MAX:  # only backwards, so that it comes to an end
                raise PeerError("a DNS name whose pointers lead nowhere")
            at = limit = target
            continue
        if length & 0xC0:
            raise PeerError(f"a DNS label of kind {length >> 6}")
        if not length:
            return ".".join(labels), at + 1 if after < 0 else after
        label = data[at + 1 : at + 1 + length]
        size += length + 1
        if len(label) < length or size > _NAME_BYTES_MAX:
            raise PeerError("a DNS name that is cut off or too long")
        labels.append(label.decode("ascii", "backslashreplace"))
        at += 1 + length


def folded(name: str) -> str:
    """A name in the form in which it is compared: neither upper case nor the dot at its end matters."""
    return name.rstrip(".").lower()
