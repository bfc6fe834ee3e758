"""Payloads of control frames: round trips, truncation, and the lengths that real daemons send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.address import ADDR, ADDRVEC, AddrType, EntityAddr
from cove.wire.control import (
    CONTROLS,
    SIGNATURE,
    U32_LIST,
    ClientIdent,
    Control,
    Hello,
    ServerIdent,
    decode_control,
)
from cove.wire.errors import PeerError
from cove.wire.frames import Tag
from cove.wire.structure import BLOB, BOOL, I32, I64, U8, U32, U64, UTIME

addresses = st.one_of(
    st.builds(
        EntityAddr.of,
        st.ip_addresses().map(str),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.sampled_from([AddrType.LEGACY, AddrType.MSGR2, AddrType.ANY]),
    ),
    st.just(EntityAddr(AddrType.ANY, 7, bytes(28))),
)
VALUES: dict[int, st.SearchStrategy[Any]] = {
    id(U8): st.integers(0, 0xFF),
    id(U32): st.integers(0, 2**32 - 1),
    id(U64): st.integers(0, 2**64 - 1),
    id(I32): st.integers(-(2**31), 2**31 - 1),
    id(I64): st.integers(-(2**63), 2**63 - 1),
    id(BOOL): st.booleans(),
    id(BLOB): st.binary(max_size=50),
    id(UTIME): st.integers(0, 2**32 * 10**9 - 1),
    id(U32_LIST): st.lists(st.integers(0, 2**32 - 1), max_size=5),
    id(ADDR): addresses,
    id(ADDRVEC): st.lists(addresses, max_size=3).map(tuple),
    id(SIGNATURE): st.binary(min_size=32, max_size=32),
}
controls = st.one_of(
    *(
        st.builds(structure, **{name: VALUES[id(codec)] for name, codec in structure.FIELDS})
        for structure in CONTROLS.values()
    )
)


def test_every_tag_but_message_has_its_payload() -> None:
    assert set(CONTROLS) == set(Tag) - {Tag.MESSAGE}


@given(frame=controls)
def test_round_trip_truncation_and_trailing_bytes(frame: Control) -> None:
    payload = frame.to_bytes()
    assert decode_control(frame.TAG, payload) == frame
    assert decode_control(frame.TAG, payload + b"from the future") == frame
    for cut in range(len(payload)):
        with pytest.raises(PeerError, match=frame.TAG.name):
            decode_control(frame.TAG, payload[:cut])


@given(tag=st.integers(0, 255), payload=st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_peer_error(tag: int, payload: bytes) -> None:
    try:
        decode_control(tag, payload)
    except PeerError:
        pass


def test_lengths_are_those_of_real_daemons() -> None:
    address = EntityAddr.of("127.0.0.1", 3300)
    assert len(Hello(1, address).to_bytes()) == 36
    assert len(ClientIdent((address,), address, -1, 1, 2, 3, 1, 0).to_bytes()) == 123
    assert len(ServerIdent((address,), 0, 1, 2, 3, 1, 0).to_bytes()) == 88


def test_a_hello_byte_by_byte() -> None:
    payload = bytes.fromhex("080101011c00000002000000921000001000000002000ce47f000001") + bytes(8)
    assert decode_control(Tag.HELLO, payload) == Hello(8, EntityAddr.of("127.0.0.1", 3300, 4242))
    assert Hello(8, EntityAddr.of("127.0.0.1", 3300, 4242)).to_bytes() == payload
