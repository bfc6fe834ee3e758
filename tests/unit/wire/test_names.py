# mypy: allow-untyped-calls
from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.address import EntityAddr
from cove.wire.encoding import Decoder, Encoder
from cove.wire.errors import PeerError, UsageError
from cove.wire.hashing import reverse_bits, stable_mod
from cove.wire.hobject import HOBJECT, HObjectRange, order_key, pg_bits, pg_range
from cove.wire.names import (
    RequestRedirect,
    decode_eversion,
    decode_locator,
    decode_redirect,
    decode_spg,
    encode_eversion,
    encode_locator,
    encode_redirect,
    encode_spg,
)
from cove.wire.pool_stats import PoolStat
from cove.wire.snapsets import CloneInfo, Interval, SnapList, SnapSet
from cove.wire.types import (
    HOBJECT_MAX,
    HOBJECT_MIN,
    NOSNAP,
    EntityName,
    EntityType,
    HObject,
    ObjectLocator,
    PgId,
)
from cove.wire.watches import NotifyAck, NotifyReplies, NotifyRequest, WatcherId, WatchItem, WatchList
from tests.unit.wire.strategies import EVERSIONS, LOCATORS, NAMES, PGS, TEXT, of_structure, signed, unsigned


def packed(encode, *values) -> bytes:
    encoder = Encoder()
    encode(encoder, *values)
    return encoder.bytes()


@given(PGS, signed(8))
def test_shards_come_back(pg, shard):
    data = packed(encode_spg, pg, shard)
    assert len(data) == 24
    assert decode_spg(Decoder(data)) == (pg, shard)


@given(EVERSIONS)
def test_versions_begin_with_the_counter(version):
    data = packed(encode_eversion, version)
    assert data == struct.pack("<QI", version.version, version.epoch)
    assert decode_eversion(Decoder(data)) == version


@given(LOCATORS)
def test_locators_come_back(locator):
    data = packed(encode_locator, locator)
    assert data[1] == (3 if locator.hash == -1 else 6)
    assert decode_locator(Decoder(data)) == locator


@given(LOCATORS, TEXT)
def test_redirects_come_back(locator, oid):
    data = packed(encode_redirect, RequestRedirect(locator, oid))
    assert decode_redirect(Decoder(data)) == RequestRedirect(locator, oid)
    old = data[:2] + struct.pack("<I", len(data) - 6 + 3) + data[6:-4] + struct.pack("<I", 3) + b"old"
    decoder = Decoder(old)
    assert decode_redirect(decoder) == RequestRedirect(locator, oid)
    assert not decoder.remaining


def test_locators_with_key_and_position_are_refused():
    data = packed(encode_locator, ObjectLocator(1, "key", "", 7))
    with pytest.raises(PeerError, match="both"):
        decode_locator(Decoder(data))
    with pytest.raises(PeerError, match="version 4"):
        decode_locator(Decoder(b"\4\3" + data[2:]))


def test_locators_of_linux_have_no_position():
    data = bytes.fromhex("05041a000000 0700000000000000 ffffffff 00000000 06000000") + b"nspace"
    assert decode_locator(Decoder(data)) == ObjectLocator(7, "", "nspace", -1)


@given(NAMES)
def test_object_names_come_back(name):
    assert HOBJECT.unpack(HOBJECT.pack(name)) == name


def test_the_smallest_name_has_an_old_form():
    old = HObject(pool=-1, oid="", snap=0)
    assert HOBJECT.unpack(HOBJECT.pack(old)) == HOBJECT_MIN


def test_names_are_ordered_by_reversed_hash_then_namespace_key_name_and_snapshot():
    ascending = [
        HOBJECT_MIN,
        HObject(pool=1, oid="", hash=0, snap=0),
        HObject(pool=1, oid="z", hash=0x80000000),
        HObject(pool=1, oid="a", hash=1, snap=4),
        HObject(pool=1, oid="a", hash=1),
        HObject(pool=1, oid="a", hash=1, key="b"),
        HObject(pool=1, oid="b", hash=1),
        HObject(pool=1, oid="a", hash=1, nspace="n"),
        HObject(pool=1, oid="\udcff", hash=1, nspace="n"),
        HObject(pool=2, oid="", hash=0),
        HOBJECT_MAX,
    ]
    keys = [order_key(name) for name in ascending]
    assert all(smaller < larger for smaller, larger in pairwise(keys))


@given(unsigned(32), st.integers(1, 300), st.integers(0, 299))
def test_a_name_is_in_the_range_of_its_placement_group_only(position, pg_num, other):
    name = HObject(pool=3, oid="o", hash=position)
    seed = stable_mod(position, pg_num)
    assert pg_range(PgId(3, seed), pg_num).contains(name)
    other %= pg_num
    if other != seed:
        assert not pg_range(PgId(3, other), pg_num).contains(name)
    assert position % (1 << pg_bits(seed, pg_num)) == seed


def test_ranges_of_placement_groups_are_those_of_a_real_osd():
    assert pg_range(PgId(6, 4), 8) == HObjectRange(
        HObject(pool=6, oid="", hash=4, snap=0), HObject(pool=6, oid="", hash=2, snap=NOSNAP)
    )
    assert pg_range(PgId(6, 7), 8).end == HOBJECT_MAX
    assert pg_range(PgId(6, 0), 1) == HObjectRange(HObject(pool=6, oid="", snap=0), HOBJECT_MAX)
    assert reverse_bits(2) == reverse_bits(4) + (1 << 29)


def test_a_range_of_one_name_holds_that_name():
    name = HObject(pool=1, oid="a", hash=5)
    assert HObjectRange(name, name).contains(name)
    assert not HObjectRange(name, name).contains(HObject(pool=1, oid="b", hash=5))


INTERVALS = st.lists(st.builds(Interval, unsigned(64), unsigned(64)), max_size=2)
CLONES = st.builds(CloneInfo, unsigned(64), st.lists(unsigned(64), max_size=2), INTERVALS, unsigned(64))
SNAPSETS = st.builds(SnapSet, unsigned(64), overlaps=st.dictionaries(unsigned(64), INTERVALS, max_size=2))
SNAPLISTS = st.builds(SnapList, st.lists(CLONES, max_size=2), unsigned(64))


@given(st.one_of(SNAPSETS, SNAPLISTS, of_structure(WatchItem)))
def test_structures_come_back_and_are_refused_when_cut(value):
    encoded = value.to_bytes()
    assert type(value).from_bytes(encoded) == value
    for length in range(len(encoded)):
        with pytest.raises(PeerError):
            type(value).from_bytes(encoded[:length])


def test_a_list_of_snapshots_as_a_real_osd_wrote_it():
    """10 bytes; snapshot 2, two bytes written at 2; snapshot 3, two bytes written at 4."""
    listed = SnapList(
        [
            CloneInfo(2, [2], [Interval(0, 2), Interval(4, 6)], 10),
            CloneInfo(3, [3], [Interval(0, 4), Interval(6, 4)], 10),
            CloneInfo(size=10),
        ],
        3,
    )
    assert len(listed.to_bytes()) == 188
    assert SnapList.from_bytes(listed.to_bytes()) == listed


def test_inputs_of_notify():
    assert NotifyRequest(30, b"abc").to_bytes() == struct.pack("<III", 1, 30, 3) + b"abc"
    assert NotifyAck(1, 2, b"ok").to_bytes() == struct.pack("<QQI", 1, 2, 2) + b"ok"
    assert NotifyAck.from_bytes(struct.pack("<QQ", 1, 2)) == NotifyAck(1, 2)


def test_answers_to_a_notify():
    replies = NotifyReplies({WatcherId(4114, 9): b"a", WatcherId(4114, 3): b""}, [WatcherId(5, 6)])
    assert NotifyReplies.from_bytes(replies.to_bytes()) == replies
    assert NotifyReplies().to_bytes() == bytes(8)
    assert NotifyReplies.from_bytes(b"") == NotifyReplies()


def test_watchers_come_back():
    address = EntityAddr.of("127.0.0.1", 0, 4242, 3)
    watchers = WatchList([WatchItem(EntityName(EntityType.CLIENT, 4114), 7, 30, address)])
    assert WatchList.from_bytes(watchers.to_bytes()) == watchers


def test_unknown_counters_of_a_pool_are_our_error():
    with pytest.raises(UsageError, match="num_cats"):
        PoolStat({"num_cats": 1}).to_bytes()
    with pytest.raises(UsageError, match="does not fit"):
        PoolStat({"num_flush_mode_high": 2**31}).to_bytes()
    older = PoolStat({"num_objects": 1}).to_bytes().replace(b"\x14\x0e", b"\x13\x0e", 1)
    with pytest.raises(PeerError, match="version 19"):
        PoolStat.from_bytes(older)
