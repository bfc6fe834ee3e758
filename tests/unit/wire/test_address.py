"""Addresses: as text, as bytes, and those that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.address import AddrType, EntityAddr, decode_addr, decode_addrvec, encode_addr
from cove.wire.encoding import Decoder, Encoder
from cove.wire.errors import PeerError, UsageError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.1:6800", "v2:10.0.0.1:6800/0"),
        ("v2:10.0.0.1:6800/77", "v2:10.0.0.1:6800/77"),
        ("v1:10.0.0.1:6789/0", "v1:10.0.0.1:6789/0"),
        ("any:[fe80::1]:0/4294967295", "any:[fe80::1]:0/4294967295"),
    ],
)
def test_text_of_an_address(text: str, shown: str) -> None:
    address = EntityAddr.parse(text)
    assert str(address) == shown
    encoder = Encoder()
    encode_addr(encoder, address)
    assert decode_addr(Decoder(encoder.bytes())) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v2:",
        "10.0.0.1",
        "10.0.0.1:",
        "10.0.0.1:x",
        "10.0.0.1:65536",
        "10.0.0.1:²",
        "host:6800",
        "10.0.0.1:6800/x",
        "10.0.0.1:6800/4294967296",
        "10.0.0.1:" + "9" * 5000,
        "10.0.0.1:6800/" + "9" * 5000,
    ],
)
def test_text_that_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        EntityAddr.parse(text)


def test_an_unknown_kind_can_be_shown() -> None:
    assert str(EntityAddr.of("10.0.0.1", 1, 2, 9)) == "10.0.0.1:1/2"
    assert str(EntityAddr(AddrType.ANY, 5, b"")) == "-"


@given(st.binary(max_size=200))
def test_any_bytes_are_addresses_or_a_peer_error(data: bytes) -> None:
    for prefix in (b"", b"\0", b"\1\1\1\x20\0\0\0", b"\2\2\0\0\0\1\1\1\x1c\0\0\0\2\0\0\0"):
        try:
            for address in decode_addrvec(Decoder(prefix + data)):
                assert str(address)
                assert address.host or address.family not in (2, 10)
        except PeerError:
            pass
