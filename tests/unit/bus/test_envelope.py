"""The envelope: JSON there and back, and oslo.messaging's names."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.bus import BusError, envelope

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(), st.dictionaries(st.text(), json_values, max_size=4), st.none() | st.text())
def test_request_round_trip(method, args, msg_id):
    request = envelope.Request(method, args, "1.0", envelope.new_id(), msg_id)
    assert envelope.decode_request(envelope.encode(request)) == request


@given(json_values)
def test_reply_round_trip(result):
    reply = envelope.Reply("id", result)
    assert envelope.decode_reply(envelope.encode(reply)) == reply


def test_names_on_the_wire():
    request = json.loads(envelope.encode(envelope.Request("m", {"a": 1}, "1.5", "u", "i")))
    assert request == {"method": "m", "args": {"a": 1}, "version": "1.5", "_unique_id": "u", "_msg_id": "i"}
    cast = json.loads(envelope.encode(envelope.Request("m", {}, "1.0", "u")))
    assert "_msg_id" not in cast
    failure = envelope.failure_of(KeyError("x"))
    reply = json.loads(envelope.encode(envelope.Reply("i", failure=failure)))
    assert reply["failure"]["class"] == "KeyError"
    assert reply["ending"] is True


@given(st.binary())
def test_any_bytes_give_a_message_or_a_bus_error(data):
    for decode in (envelope.decode_request, envelope.decode_reply, envelope.decode_notification):
        try:
            decode(data)
        except BusError:
            pass


def test_ids_differ():
    ids = {envelope.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(text) == 32 for text in ids)


def test_what_has_no_json_form_is_refused():
    with pytest.raises(BusError):
        envelope.encode(envelope.Request("m", {"a": object()}, "1.0", "u"))
