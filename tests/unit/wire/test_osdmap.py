# mypy: allow-untyped-calls
"""Full maps: what real clusters and releases have encoded, questions to a map, checksums, damage."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings

from cove.wire import features
from cove.wire.crc import ceph_crc32c
from cove.wire.errors import PeerError, UsageError
from cove.wire.message_codec import MessageHeader
from cove.wire.messages import MOSDMap
from cove.wire.osdmap import IN, USUAL_FLAGS, MapFlag, OSDMap, PgMapping, simple_osdmap
from cove.wire.osdmap_codec import decode_osdmap, encode_osdmap
from cove.wire.osdmap_incremental import decode_incremental
from cove.wire.pool import PgPool, PoolType
from cove.wire.types import ObjectLocator, PgId

from .map_samples import PACIFIC, REEF, TENTACLE, VECTORS, history, osdmaps, refuses_every_cut, samples, with_vectors

ADDRESSES = {0: "v2:127.0.0.1:6800/1", 2: "v2:[fe80::1]:6802/3"}


def a_map(epoch: int = 3) -> OSDMap:
    pools = {1: PgPool(pg_num=32, size=2), 2: PgPool(pg_num=12, object_hash=1)}
    return simple_osdmap(uuid4(), epoch, pools, {1: "rbd", 2: "x"}, ADDRESSES, now_ns=1_700_000_000_123_456_789)


def reseal(data: bytes) -> bytes:
    """The same bytes with a checksum that is right."""
    return data[:-4] + struct.pack("<I", ceph_crc32c(0xFFFFFFFF, data[:-4]))


@pytest.mark.parametrize(("data", "level"), samples("OSDMap"))
def test_the_bytes_of_releases_come_back(data: bytes, level: int) -> None:
    osdmap = decode_osdmap(data)
    # some have been written with the tunables of MSR rules in their CRUSH maps
    assert data in (encode_osdmap(osdmap, level), encode_osdmap(osdmap, level | features.CRUSH_MSR))


def test_the_bytes_of_a_cluster_come_back() -> None:
    maps = history()
    for epoch in range(1, 170):
        data = maps[f"full.{epoch}"]
        osdmap = decode_osdmap(data)
        assert osdmap.epoch == epoch
        assert encode_osdmap(osdmap, decode_incremental(maps[f"inc.{epoch}"]).encode_features) == data


@with_vectors
def test_the_maps_in_messages() -> None:
    for path in sorted((VECTORS / "messages").glob("MOSDMap-*.bin")):
        message = MOSDMap.from_parts(MessageHeader(type=41, version=4), path.read_bytes(), b"")
        assert message.fulls or message.incrementals
        for epoch, data in message.fulls.items():
            osdmap = decode_osdmap(data)
            assert (osdmap.epoch, osdmap.fsid) == (epoch, message.fsid)
            assert encode_osdmap(osdmap, PACIFIC) == data
            assert any(osdmap.is_up(osd) for osd in range(osdmap.max_osd))
        for epoch, data in message.incrementals.items():
            change = decode_incremental(data)
            assert (change.epoch, change.fsid) == (epoch, message.fsid)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(osdmaps())
def test_every_map_comes_back(osdmap: OSDMap) -> None:
    data = encode_osdmap(osdmap, TENTACLE)
    assert decode_osdmap(data) == osdmap
    assert encode_osdmap(decode_osdmap(data), TENTACLE) == data
    before_reef = decode_osdmap(encode_osdmap(osdmap, PACIFIC))
    assert before_reef.pg_upmap_primaries == {}
    assert before_reef.pg_upmap_items == osdmap.pg_upmap_items


def test_the_section_for_osds_is_as_new_as_it_must_be() -> None:
    osdmap = a_map()
    osd_only = osdmap.osd_only
    for changed in (
        replace(osd_only, stretch=osd_only.stretch._replace(enabled=True, bucket_count=2, bucket_type=8)),
        replace(osd_only, range_blocklist={osdmap.client_addrs[0][0]: 5 * 10**9}),
        replace(osd_only, allow_crimson=True),
    ):
        other = replace(osdmap, osd_only=changed)
        assert decode_osdmap(encode_osdmap(other)) == other


# questions


def test_osds() -> None:
    osdmap = a_map()
    assert osdmap.max_osd == 3
    assert [osdmap.exists(osd) for osd in (-1, 0, 1, 2, 3)] == [False, True, False, True, False]
    assert [osdmap.is_up(osd) for osd in (-1, 0, 1, 2, 3)] == [False, True, False, True, False]
    assert [osdmap.address_of(osd) for osd in (-1, 0, 1, 2, 3)] == ["", ADDRESSES[0], "", ADDRESSES[2], ""]
    assert [osdmap.is_reachable(osd) for osd in (-1, 0, 1, 2, 3)] == [False, True, False, True, False]
    down = replace(osdmap, osd_state=[1, 0, 2])
    assert down.exists(0)
    assert not down.is_up(0)
    assert not down.is_up(2), "up without existing"


def test_pools_and_placement() -> None:
    osdmap = a_map()
    assert (osdmap.pool_id("x"), osdmap.pool_id("y")) == (2, None)
    raw = osdmap.raw_pg("foo", ObjectLocator(1))
    assert osdmap.actual_pg(raw) == PgId(1, raw.seed & 31)
    assert osdmap.raw_pg("foo", ObjectLocator(2)).seed != raw.seed, "another hash function"
    assert osdmap.raw_pg("foo", ObjectLocator(1, key="bar")) == osdmap.raw_pg("bar", ObjectLocator(1))
    assert osdmap.raw_pg("foo", ObjectLocator(1, hash=9)).seed == 9
    mapping = osdmap.pg_to_osds(PgId(1, 3))
    assert set(mapping.acting) == {0, 2}
    assert mapping.primary == mapping.acting[0]
    assert osdmap.pg_to_osds(PgId(1, 3)) is mapping, "computed once"
    assert osdmap.pg_to_osds(PgId(1, 32)) == PgMapping((), -1, (), -1)
    with pytest.raises(PeerError, match="type 7"):
        replace(osdmap, pools={1: PgPool(pg_num=8, type=7)}).pg_to_osds(PgId(1, 0))


def test_a_map_that_is_made_from_another_remembers_nothing_of_it() -> None:
    osdmap = a_map()
    before = osdmap.pg_to_osds(PgId(1, 3))
    after = replace(osdmap, primary_affinity=[0, IN, IN], pool_names={1: "other"})
    assert (after.pool_id("rbd"), after.pool_id("other")) == (None, 1)
    assert after.pg_to_osds(PgId(1, 3)).primary == 2
    assert osdmap.pg_to_osds(PgId(1, 3)) == before


def test_simple_maps() -> None:
    osdmap = a_map()
    assert decode_osdmap(encode_osdmap(osdmap)) == osdmap
    assert osdmap.flags == USUAL_FLAGS == 0x588000
    assert osdmap.pool_max == 2
    with_more = simple_osdmap(osdmap.fsid, 1, {}, {}, {}, pool_max=7, flags=USUAL_FLAGS | MapFlag.NOOUT)
    assert (with_more.pool_max, with_more.max_osd) == (7, 0)
    assert decode_osdmap(encode_osdmap(with_more)) == with_more
    assert osdmap.osd_only.osd_uuid[0] != osdmap.osd_only.osd_uuid[2]
    with pytest.raises(UsageError):
        simple_osdmap(osdmap.fsid, 1, {}, {}, {0: "osd.0"})


# damage


def test_a_wrong_checksum_is_refused_and_named() -> None:
    data = bytearray(encode_osdmap(a_map()))
    data[40] ^= 1
    with pytest.raises(PeerError, match="checksum 0x"):
        decode_osdmap(bytes(data))
    data = bytearray(encode_osdmap(a_map()))
    data[-1] ^= 0x80
    with pytest.raises(PeerError, match="checksum 0x"):
        decode_osdmap(bytes(data))


def test_what_follows_the_checksum_is_summed_up_too() -> None:
    data = encode_osdmap(a_map())
    head, body = data[:6], data[6:-4]
    longer = head[:2] + struct.pack("<I", len(data) - 6 + 3) + body
    crc = ceph_crc32c(ceph_crc32c(0xFFFFFFFF, longer), b"new")
    assert decode_osdmap(longer + struct.pack("<I", crc) + b"new").epoch == 3
    with pytest.raises(PeerError, match="checksum"):
        decode_osdmap(longer + struct.pack("<I", crc) + b"old")


def test_what_is_cut_short_is_refused() -> None:
    refuses_every_cut(decode_osdmap, encode_osdmap(a_map()))


def test_what_is_cut_inside_is_refused_even_if_its_checksum_is_right() -> None:
    data = history()["full.100"]
    for length in range(1, len(data) - 6, 7):
        cut = data[:2] + struct.pack("<I", length + 4) + data[6 : 6 + length]
        with pytest.raises(PeerError):
            decode_osdmap(reseal(cut + bytes(4)))


@pytest.mark.parametrize("first", [b"\x06\x00", b"\x05\x00", b"\x00\x00"])
def test_the_forms_before_firefly_are_refused(first: bytes) -> None:
    with pytest.raises(PeerError, match="too old"):
        decode_osdmap(first + bytes(100))


def test_sections_before_luminous_are_refused() -> None:
    data = bytearray(encode_osdmap(a_map()))
    data[6] = 5
    with pytest.raises(PeerError, match="client section has version 5; 6 is the oldest"):
        decode_osdmap(reseal(bytes(data)))


def test_a_wrapper_of_version_7_has_no_checksum() -> None:
    osdmap = a_map()
    data = encode_osdmap(osdmap)
    without = b"\x07\x07" + struct.pack("<I", len(data) - 10) + data[6:-4]
    assert decode_osdmap(without) == osdmap


@pytest.mark.parametrize("name", ["osd_state", "osd_weight", "client_addrs", "primary_affinity"])
def test_vectors_have_an_entry_for_each_osd(name: str) -> None:
    osdmap = replace(a_map(), primary_affinity=[IN] * 3)
    wrong = replace(osdmap, **{name: getattr(osdmap, name)[:2]})
    with pytest.raises(PeerError, match="for 3 OSDs has 2"):
        decode_osdmap(encode_osdmap(wrong))


def test_so_have_those_of_the_other_section() -> None:
    osdmap = a_map()
    for name in ("hb_back_addrs", "osd_info", "cluster_addrs", "osd_uuid", "osd_xinfo", "hb_front_addrs"):
        shorter = replace(osdmap.osd_only, **{name: getattr(osdmap.osd_only, name)[1:]})
        with pytest.raises(PeerError, match=f"for 3 OSDs has 2 entries of {name}"):
            decode_osdmap(encode_osdmap(replace(osdmap, osd_only=shorter)))


def test_counts_are_believed_only_as_far_as_there_are_bytes() -> None:
    osdmap = a_map()
    data = encode_osdmap(osdmap)
    states = struct.pack("<iI3I", 3, 3, 3, 0, 3)
    assert data.count(states) == 1
    for count in (3_000_000_000, 60_000):
        wrong = data.replace(states, struct.pack("<iI3I", 3, count, 3, 0, 3))
        with pytest.raises(PeerError, match=f"{count} OSDs in"):
            decode_osdmap(reseal(wrong))


def test_memory_is_bounded_by_the_size_of_the_input() -> None:
    entries: dict[PgId, tuple[tuple[int, int], ...]] = {PgId(i, i): ((1000, 2000),) * 3 for i in range(3000)}
    data = encode_osdmap(replace(a_map(), pg_upmap_items=entries))
    tracemalloc.start()
    try:
        decode_osdmap(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30 * len(data)


def test_peers_before_nautilus_get_no_map() -> None:
    with pytest.raises(UsageError, match="older than Nautilus"):
        encode_osdmap(a_map(), features.SERVER_LUMINOUS)


def test_values_that_do_not_fit_are_our_fault() -> None:
    for wrong in (
        replace(a_map(), osd_weight=[-1, 0, 0]),
        replace(a_map(), pg_temp={PgId(1, 1): (1 << 40,)}),
        replace(a_map(), pg_upmap_items={PgId(-1, 1): ()}),
    ):
        with pytest.raises(UsageError):
            encode_osdmap(wrong)


def test_erasure_coded_pools_keep_positions() -> None:
    pool = PgPool(pg_num=8, type=PoolType.ERASURE, size=3)
    osdmap = replace(a_map(), pools={1: pool}, pg_temp={PgId(1, 0): (2, 1, 0)})
    assert osdmap.pg_to_osds(PgId(1, 0)).acting == (2, 0x7FFFFFFF, 0)


def test_reef_says_more() -> None:
    osdmap = replace(a_map(), pg_upmap_primaries={PgId(1, 1): 2})
    assert decode_osdmap(encode_osdmap(osdmap, REEF)) == osdmap
    assert decode_osdmap(encode_osdmap(osdmap, PACIFIC)).pg_upmap_primaries == {}
