# mypy: allow-untyped-calls
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.encoding import TIME_MAX_NS, Decoder, Encoder
from cove.wire.errors import PeerError, UsageError

U8 = st.integers(0, 2**8 - 1)
U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
I32 = st.integers(-(2**31), 2**31 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
NS = st.integers(0, (2**32 - 1) * 10**9)
TEXT = st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape"))

VALUES = st.one_of(
    st.tuples(st.just("u8"), U8),
    st.tuples(st.just("u16"), U16),
    st.tuples(st.just("u32"), U32),
    st.tuples(st.just("u64"), U64),
    st.tuples(st.just("i32"), I32),
    st.tuples(st.just("i64"), I64),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("blob"), st.binary(max_size=40)),
    st.tuples(st.just("str"), TEXT),
    st.tuples(st.just("utime"), NS),
)


@given(st.lists(VALUES, max_size=12))
def test_what_is_encoded_is_decoded(values):
    encoder = Encoder()
    for kind, value in values:
        getattr(encoder, kind)(value)
    decoder = Decoder(encoder.bytes())
    assert [getattr(decoder, kind)() for kind, _ in values] == [value for _, value in values]
    assert decoder.remaining == 0


def decode_all(decoder, values):
    return [getattr(decoder, kind)() for kind, _ in values]


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_truncation_at_every_byte_is_a_peer_error(values):
    encoder = Encoder()
    for kind, value in values:
        getattr(encoder, kind)(value)
    data = encoder.bytes()
    for length in range(len(data)):
        with pytest.raises(PeerError):
            decode_all(Decoder(data[:length]), values)


@given(st.dictionaries(TEXT, st.binary(max_size=9), max_size=8))
def test_maps_are_sorted_by_bytes(items):
    encoder = Encoder()
    encoder.map(items, encoder.str, encoder.blob)
    decoder = Decoder(encoder.bytes())
    decoded = decoder.map(decoder.str, decoder.blob)
    assert decoded == items
    keys = [key.encode("utf-8", "surrogateescape") for key in decoded]
    assert keys == sorted(keys)


@given(st.lists(U32, max_size=8), st.binary(max_size=10), st.integers(0, 3))
def test_versioned_structs_skip_what_they_do_not_know(items, extra, version):
    encoder = Encoder()
    with encoder.versioned(version + 1, 1):
        encoder.list(items, encoder.u32)
        encoder.raw(extra)
    encoder.u8(77)
    decoder = Decoder(encoder.bytes())
    with decoder.versioned(1) as found:
        assert found == version + 1
        assert decoder.list(decoder.u32) == items
        assert decoder.remaining == len(extra)
    assert decoder.u8() == 77


def test_a_struct_that_needs_a_newer_reader_is_refused():
    encoder = Encoder()
    with encoder.versioned(5, 4):
        encoder.u8(1)
    with pytest.raises(PeerError, match="version 4"), Decoder(encoder.bytes()).versioned(3):
        pass


def test_a_reader_can_not_leave_the_struct():
    encoder = Encoder()
    with encoder.versioned(1, 1):
        encoder.u8(1)
    encoder.u64(0)
    decoder = Decoder(encoder.bytes())
    with pytest.raises(PeerError), decoder.versioned(1):
        decoder.u64()


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x05\0\0\0abc"])
def test_counts_beyond_the_input_allocate_nothing(data):
    with pytest.raises(PeerError):
        Decoder(data).list(lambda: 1)
    with pytest.raises(PeerError):
        Decoder(data).map(lambda: 1, lambda: 1)
    with pytest.raises(PeerError):
        Decoder(data).blob()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("u8", 256), ("u8", -1), ("u16", 1 << 16), ("u32", -1), ("u64", 1 << 64), ("i32", 1 << 31), ("i64", 1 << 63)],
)
def test_numbers_that_do_not_fit_are_our_own_mistake(kind, value):
    with pytest.raises(UsageError):
        getattr(Encoder(), kind)(value)


def test_text_that_has_no_bytes_is_our_own_mistake():
    with pytest.raises(UsageError):
        Encoder().str("\ud800")
    with pytest.raises(UsageError):
        Encoder().map({"\ud800": 1, "": 2}, lambda key: None, lambda value: None)


@pytest.mark.parametrize(("data", "ns"), [(b"\xff" * 8, TIME_MAX_NS), (b"\1\0\0\0\xff\xff\xff\xff", 5294967295)])
def test_every_time_that_is_read_can_be_written(data, ns):
    assert Decoder(data).utime() == ns
    encoder = Encoder()
    encoder.utime(ns)
    assert Decoder(encoder.bytes()).utime() == ns


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_peer_error(data):
    decoder = Decoder(data)
    try:
        with decoder.versioned(3):
            decoder.map(decoder.str, decoder.utime)
            decoder.optional(decoder.i64)
            decoder.rest()
    except PeerError:
        pass
