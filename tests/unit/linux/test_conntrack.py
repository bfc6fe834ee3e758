"""Messages of the kernel's table of connections: what they say, and that odd ones do no harm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.linux import conntrack


def attribute(kind: int, value: bytes, *, nested: bool = False) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind | (0x8000 if nested else 0)) + value + bytes(-len(value) % 4)


def original(addresses: bytes, proto: bytes) -> bytes:
    return attribute(1, addresses, nested=True) + attribute(2, proto, nested=True)


IPV4 = attribute(1, bytes([192, 0, 2, 1])) + attribute(2, bytes([192, 0, 2, 2]))
IPV6 = attribute(3, bytes(15) + b"\x01") + attribute(4, bytes(15) + b"\x02")
TCP = attribute(1, b"\x06") + attribute(2, b"\x9c\x40") + attribute(3, b"\x00\x16")
PING = attribute(1, b"\x01") + attribute(4, b"\x00\x07") + attribute(5, b"\x08") + attribute(6, b"\x00")
PING6 = attribute(1, b"\x3a") + attribute(7, b"\x00\x07") + attribute(8, b"\x80") + attribute(9, b"\x00")


@pytest.mark.parametrize(
    ("version", "raw", "seen"),
    [
        (4, original(IPV4, TCP), (6, "192.0.2.1", "192.0.2.2", 40000, 22, 0, 0)),
        (4, original(IPV4, PING), (1, "192.0.2.1", "192.0.2.2", 0, 0, 8, 0)),
        (6, original(IPV6, PING6), (58, "::1", "::2", 0, 0, 128, 0)),
    ],
)
def test_a_connection(version: int, raw: bytes, seen: tuple[object, ...]) -> None:
    message = attribute(1, raw, nested=True) + attribute(12, b"\x01\x02\x03\x04") + attribute(18, b"\x01\x00")
    connection = conntrack.parse(version, message)
    assert connection is not None
    c = connection
    assert (c.protocol, c.source, c.destination, c.source_port, c.port, c.icmp_type, c.icmp_code) == seen
    assert (c.zone, c.version, c.raw_tuple, c.raw_id) == (256, version, raw, b"\x01\x02\x03\x04")


@pytest.mark.parametrize(
    "message", [b"", attribute(18, b"\x00\x01"), attribute(1, b"", nested=True), attribute(1, original(IPV6, TCP))]
)
def test_what_names_no_connection_of_that_version(message: bytes) -> None:
    assert conntrack.parse(4, message) is None


class Kernel:
    """A socket to a kernel that has these connections, of both IP versions."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = bodies

    def send(self, message: bytes) -> None:
        pass

    def recv(self, size: int) -> bytes:
        header = struct.Struct("=IHHII")
        messages = [header.pack(16 + len(b), 256, 0, 1, 0) + b + bytes(-len(b) % 4) for b in self.bodies]
        return b"".join([*messages, header.pack(20, 3, 0, 1, 0) + bytes(4)])


def test_only_connections_of_the_zones_asked_for_are_looked_at() -> None:
    family = struct.pack("=BBH", 2, 0, 0)
    kernel = Kernel(
        family + attribute(1, original(IPV4, TCP), nested=True),
        *(family + attribute(1, original(IPV4, TCP), nested=True) + attribute(18, bytes([0, zone])) for zone in (1, 2)),
        family + attribute(18, bytes([0, 2])) + attribute(12, b"\x01\x02\x03\x04"),
    )
    for zones, found in (({2}, [2]), ({1, 2}, [1, 2]), ({0, 1}, [0, 1]), ({3}, [])):
        assert [c.zone for c in conntrack._dump(kernel, 4, zones)] == found  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_any_bytes_end(data: bytes) -> None:
    assert len(list(conntrack._attributes(data))) <= len(data)
    assert len(list(conntrack._messages(data))) <= len(data)
