# mypy: allow-untyped-calls
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire import object_map as om
from cove.wire.errors import PeerError, UsageError
from cove.wire.object_map import ObjectMap

STATE = st.integers(0, 3)
STATES = st.lists(STATE, min_size=1, max_size=70)


def build(states):
    found = ObjectMap(len(states))
    for number, state in enumerate(states):
        found[number] = state
    return found


def states_of(found):
    return [found[number] for number in range(found.count)]


def test_the_first_object_has_the_top_bits():
    assert bytes(build([1, 2, 3, 0, 2]).states) == bytes((0b01101100, 0b10000000))
    assert om.header_bytes(5).hex() == "0e000000" + "010108000000" + "0500000000000000"


@given(STATES)
def test_both_forms_come_back(states):
    found = build(states)
    assert states_of(found) == states
    assert ObjectMap.from_bytes(found.to_body()) == found
    assert ObjectMap.from_bytes(found.to_reply()) == found
    assert found.to_reply()[-4:] == bytes(4)


@given(STATES)
def test_truncation_at_every_byte_is_a_peer_error(states):
    data = build(states).to_body()
    for length in range(len(data)):
        with pytest.raises(PeerError):
            ObjectMap.from_bytes(data[:length])


@given(STATES, st.data())
def test_every_flipped_bit_is_found(states, data):
    body = bytearray(build(states).to_body())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = ObjectMap.from_bytes(body)
    except PeerError:
        return
    # the version byte of the header may differ only as far as the crc does not cover it: it does
    assert found == build(states)
    assert bytes(body[:18]) != om.header_bytes(len(states)) or bytes(body) == build(states).to_body()


@given(STATES, st.data(), STATE, st.none() | STATE)
def test_updates_like_a_loop_would(states, data, new, current):
    start = data.draw(st.integers(0, len(states) - 1))
    end = data.draw(st.integers(start + 1, len(states)))
    found = build(states)
    changed = found.update(start, end, new, current)
    expected = [
        new if start <= n < end and (current is None or s == current or (current == 1 and s == 3)) else s
        for n, s in enumerate(states)
    ]
    assert states_of(found) == expected
    assert changed == (expected != states)


@given(STATES, st.integers(0, 90), STATE)
def test_resizing_like_a_list(states, count, state):
    found = build(states)
    found.resize(count, state)
    assert states_of(found) == (states + [state] * count)[:count]
    assert found == build(states_of(found)) if count else not found.states


@given(st.lists(STATE, min_size=1, max_size=40), st.integers(0, 50), STATE)
def test_first_not(states, start, state):
    expected = next((n for n, s in enumerate(states) if n >= start and s != state), None)
    assert build(states).first_not(start, state) == expected


def test_blocks_have_a_crc_each():
    found = ObjectMap(om.OBJECTS_PER_BLOCK * 2 + 1)
    found[om.OBJECTS_PER_BLOCK] = 1
    assert len(om.block_crcs(found.states)) == 3
    assert found.block(2) == b"\0"
    body = bytearray(found.to_body())
    body[om.HEADER_LENGTH + om.BLOCK_SIZE] ^= 1
    with pytest.raises(PeerError, match="crc of an object map's states"):
        ObjectMap.from_bytes(body)


def test_limits():
    with pytest.raises(UsageError):
        ObjectMap(om.OBJECTS_MAX + 1)
    with pytest.raises(UsageError):
        ObjectMap(1).resize(-1)
    with pytest.raises(PeerError, match="limit"):
        ObjectMap.from_bytes(om.header_bytes(om.OBJECTS_MAX + 1))
    for number in (-1, 4):
        with pytest.raises(IndexError):
            ObjectMap(4)[number]
        with pytest.raises(IndexError):
            ObjectMap(4)[number] = 1
    with pytest.raises(IndexError):
        ObjectMap(4).update(2, 5, 1)
