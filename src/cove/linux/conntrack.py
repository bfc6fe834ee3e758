"""The kernel's table of tracked connections: which there are, and forgetting one (ctnetlink, over one netlink socket).

A connection is named by its first packet: addresses, protocol, ports or ICMP type and code; and by its zone. The
tuple's bytes are kept as the kernel gave them, and handed back to name what is to be forgotten.
Source: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cove.linux import namespaces

SOCKET_TIMEOUT_S = 5.0
RECEIVE_BYTES = 1 << 18

_NETLINK_NETFILTER = 12
_CTNETLINK = 1 << 8
_NEW, _GET, _DELETE = _CTNETLINK | 0, _CTNETLINK | 1, _CTNETLINK | 2
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_NESTED = 0x8000

_TUPLE_ORIG, _ID, _ZONE = 1, 12, 18
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_V4_SRC, _V4_DST, _V6_SRC, _V6_DST = 1, 2, 3, 4
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3
_ICMP_TYPE, _ICMP_CODE, _ICMPV6_TYPE, _ICMPV6_CODE = 5, 6, 8, 9

_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("=BBH")
_ZONE_MARK = struct.pack("=HH", 6, _ZONE)
"""In each connection of a zone that is not 0. A host may have very many others, which are not worth a closer look."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A tracked connection, by its first packet."""

    zone: int
    version: int
    protocol: int
    source: str
    destination: str
    source_port: int
    port: int
    icmp_type: int
    icmp_code: int
    raw_tuple: bytes
    raw_id: bytes


def forget(doomed: Callable[[Connection], bool], *, zones: set[int], namespace: str | None = None) -> int:
    """Forget the connections in these zones that `doomed` says yes to; returns how many. Blocking.

    Raises OSError: from the kernel, or TimeoutError where it does not answer.
    """
    count = 0
    with namespaces.open_socket(namespace, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as sock:
        sock.settimeout(SOCKET_TIMEOUT_S)
        for version in (4, 6):
            for connection in [c for c in _dump(sock, version, zones) if doomed(c)]:
                count += _delete(sock, connection)
    return count


def parse(version: int, payload: bytes) -> Connection | None:
    """A connection from the attributes of a message (after the family header); None for one without addresses."""
    attributes = dict(_attributes(payload))
    raw = attributes.get(_TUPLE_ORIG)
    if raw is None:
        return None
    parts = dict(_attributes(raw))
    addresses = dict(_attributes(parts.get(_TUPLE_IP, b"")))
    proto = dict(_attributes(parts.get(_TUPLE_PROTO, b"")))
    source = addresses.get(_V4_SRC if version == 4 else _V6_SRC)
    destination = addresses.get(_V4_DST if version == 4 else _V6_DST)
    if source is None or destination is None:
        return None

    def number(*kinds: int) -> int:
        return next((int.from_bytes(proto[kind], "big") for kind in kinds if kind in proto), 0)

    return Connection(
        zone=int.from_bytes(attributes.get(_ZONE, b""), "big"),
        version=version,
        protocol=number(_PROTO_NUM),
        source=str(ipaddress.ip_address(source)),
        destination=str(ipaddress.ip_address(destination)),
        source_port=number(_SRC_PORT),
        port=number(_DST_PORT),
        icmp_type=number(_ICMP_TYPE, _ICMPV6_TYPE),
        icmp_code=number(_ICMP_CODE, _ICMPV6_CODE),
        raw_tuple=raw,
        raw_id=attributes.get(_ID, b""),
    )


def _dump(sock: socket.socket, version: int, zones: set[int]) -> Iterator[Connection]:
    sock.send(_message(_GET, _REQUEST | _DUMP, version, b""))
    while True:
        data = sock.recv(RECEIVE_BYTES)
        for kind, body in _messages(data):
            if kind == _DONE:
                return
            if kind == _ERROR:
                _raise(body)
            elif kind == _NEW and (0 in zones or _ZONE_MARK in body):
                connection = parse(version, body[_FAMILY.size :])
                if connection is not None and connection.zone in zones:
                    yield connection


def _delete(sock: socket.socket, connection: Connection) -> bool:
    """False if it has ended by itself meanwhile."""
    payload = _attribute(_TUPLE_ORIG | _NESTED, connection.raw_tuple)
    payload += _attribute(_ZONE, connection.zone.to_bytes(2, "big"))
    if connection.raw_id:
        payload += _attribute(_ID, connection.raw_id)
    sock.send(_message(_DELETE, _REQUEST | _ACK, connection.version, payload))
    for kind, body in _messages(sock.recv(RECEIVE_BYTES)):
        if kind == _ERROR:
            try:
                _raise(body)
            except FileNotFoundError:
                return False
    return True


def _message(kind: int, flags: int, version: int, payload: bytes) -> bytes:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    body = _FAMILY.pack(family, 0, 0) + payload
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _flags, _sequence, _pid = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _raise(body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0]
    if code:
        raise OSError(code, f"the kernel's table of connections: {os.strerror(code)}")
