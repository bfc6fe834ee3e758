"""Method none's payload, and names of entities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.auth import (
    AuthDone,
    AuthMethod,
    AuthRefused,
    ConnectionMode,
    NoneClientAuth,
    NoneServerAuth,
    decode_entity_name,
    encode_entity_name,
)
from cove.wire.encoding import Decoder, Encoder
from cove.wire.errors import UsageError
from cove.wire.types import EntityType


def test_names_come_back() -> None:
    for name in ("client.admin", "mgr.x", "osd.3", "client.a.b", "client."):
        encoder = Encoder()
        encode_entity_name(encoder, name)
        assert decode_entity_name(Decoder(encoder.bytes())) == name


@pytest.mark.parametrize("name", ["", "admin", "clients.admin", "client.\ud800"])
def test_names_of_no_entity_are_our_own_mistake(name: str) -> None:
    with pytest.raises(UsageError):
        encode_entity_name(Encoder(), name)


def test_an_id_that_no_name_can_hold_is_refused() -> None:
    for global_id, granted in ((2**63 - 1, True), (2**63, False)):
        payload = NoneClientAuth("client.a", EntityType.MON, global_id).request()
        step = NoneServerAuth(lambda: 1).request(AuthMethod.NONE, ConnectionMode.CRC, payload)
        assert isinstance(step, AuthDone if granted else AuthRefused)


@given(st.binary(max_size=40))
def test_any_bytes_are_granted_or_refused(payload: bytes) -> None:
    step = NoneServerAuth(lambda: 1).request(AuthMethod.NONE, ConnectionMode.CRC, payload)
    assert isinstance(step, AuthDone | AuthRefused)
