# mypy: allow-untyped-calls
from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.wire.crush.build import CrushBuilder, make_bucket
from cove.wire.crush.map import (
    JEWEL,
    LEGACY,
    WEIGHT_ONE,
    Bucket,
    BucketAlg,
    ChooseArg,
    CrushMap,
    Op,
    Rule,
    RuleStep,
    RuleType,
    decode_crush,
    encode_crush,
)
from cove.wire.errors import PeerError, UsageError
from cove.wire.features import CRUSH_MSR, CRUSH_TUNABLES5, SUPPORTED
from tests.unit.wire.crush_maps import crush_maps, rules_over

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "ceph"
FILES = sorted(VECTORS.glob("*/CrushWrapper/*"))
WITH_MSR = SUPPORTED | CRUSH_MSR


@pytest.mark.skipif(not FILES, reason="the vectors of Ceph's releases are not here")
def test_the_bytes_of_four_releases_come_back():
    assert {path.parts[-3] for path in FILES} >= {"16.2.0", "18.2.0", "19.2.0", "20.3.0"}
    for path in FILES:
        data = path.read_bytes()
        has_msr = path.parts[-3] >= "19"
        assert encode_crush(decode_crush(data), WITH_MSR if has_msr else SUPPORTED) == data, path


@given(crush_maps())
def test_a_map_survives_the_wire(crush):
    crush.tunables = replace(crush.tunables, msr_descents=7)
    assert decode_crush(encode_crush(crush, WITH_MSR)) == crush
    crush.tunables = replace(crush.tunables, msr_descents=100)
    assert decode_crush(encode_crush(crush, SUPPORTED)) == crush


def some_map():
    builder = CrushBuilder()
    root = builder.bucket("default", "root")
    for host in range(3):
        number = builder.bucket(f"host-{host}", "host", root)
        for osd in range(2 * host, 2 * host + 2):
            builder.osd(osd, number, device_class="ssd" if osd % 2 else "hdd")
    builder.replicated_rule("all", "default", "host")
    builder.replicated_rule("fast", "default", "host", device_class="ssd")
    builder.choose_args(-1, root, ChooseArg(((1, 2, 3), (4, 5, 6)), (-7, 8, 9)))
    return builder.build()


def test_cut_short_it_is_refused_except_where_older_maps_end():
    crush = some_map()
    data = encode_crush(crush, WITH_MSR)
    ends = []
    for length in range(len(data)):
        try:
            decoded = decode_crush(data[:length])
        except PeerError:
            continue
        ends.append(length)
        assert decoded.buckets == crush.buckets
    # after the names, after each group of tunables, after the classes, after the weight sets
    assert len(ends) == 1 + 6 + 2
    assert decode_crush(data[: ends[0]]).tunables == LEGACY
    assert decode_crush(data[: ends[6]]).tunables == JEWEL
    assert decode_crush(data[: ends[7]]).shadows == crush.shadows
    assert decode_crush(data[: ends[8]]) == crush


def test_older_peers_get_less():
    crush = some_map()
    no_classes = encode_crush(crush, CRUSH_TUNABLES5)
    assert decode_crush(no_classes).shadows == {}
    assert decode_crush(no_classes).tunables == JEWEL
    assert encode_crush(crush, 0) == no_classes[:-1]
    assert decode_crush(encode_crush(crush, 0)).tunables.chooseleaf_stable == 0


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_bytes_are_a_map_or_a_peer_error(data):
    encoded = bytearray(encode_crush(some_map(), WITH_MSR))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_crush(bytes(encoded))
    except PeerError:
        pass


HEAD = struct.Struct("<IiIi")
BUCKET = struct.Struct("<IiHBBII")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "4 bytes wanted"),
        (HEAD.pack(0x10001, 0, 0, 0), "begins with 0x10001"),
        (HEAD.pack(0x10000, -1, 0, 0), "for -1 buckets"),
        (HEAD.pack(0x10000, 0, 0, -1), "-1 devices"),
        (HEAD.pack(0x10000, 0x7FFFFFFF, 0, 0), "2147483647 buckets"),
        (HEAD.pack(0x10000, 0, 0xFFFFFFFF, 0), "4294967295 rules"),
        (HEAD.pack(0x10000, 1, 0, 0) + BUCKET.pack(5, -2, 1, 5, 0, 0, 0), "slot of -1"),
        (HEAD.pack(0x10000, 1, 0, 0) + BUCKET.pack(5, -1, 0, 5, 0, 0, 0), "a device"),
        (HEAD.pack(0x10000, 1, 0, 0) + BUCKET.pack(5, -1, 1, 6, 0, 0, 0), "algorithm 6"),
        (HEAD.pack(0x10000, 1, 0, 0) + BUCKET.pack(5, -1, 1, 5, 1, 0, 0), "hash 1"),
        (HEAD.pack(0x10000, 1, 0, 0) + BUCKET.pack(5, -1, 1, 5, 0, 0, 0xFFFFFFFF), "bytes wanted"),
        (HEAD.pack(0x10000, 1, 0, 0) + BUCKET.pack(3, -1, 1, 3, 0, 0, 1) + b"\0\0\0\0" + b"\3" + bytes(12), "3 nodes"),
        (HEAD.pack(0x10000, 1, 0, 0) + BUCKET.pack(3, -1, 1, 3, 0, 0, 1) + b"\0\0\0\0" + b"\0", "0 nodes"),
        (HEAD.pack(0x10000, 0, 1, 0) + struct.pack("<IIBBBB", 1, 0, 1, 1, 1, 100), "rule 1 stands"),
        (HEAD.pack(0x10000, 0, 1, 0) + struct.pack("<IIBBBB", 1, 0xFFFFFFFF, 0, 1, 1, 100), "bytes wanted"),
    ],
)
def test_what_no_map_says(data, message):
    with pytest.raises(PeerError, match=message):
        decode_crush(data)


def chain(length, last):
    """Buckets that each hold the next."""
    buckets = {}
    for number in range(1, length + 1):
        item = last if number == length else -number - 1
        buckets[-number] = Bucket(-number, 1, BucketAlg.STRAW2, (item,), (WEIGHT_ONE,), WEIGHT_ONE)
    return CrushMap(buckets, max_buckets=length, max_devices=1)


def test_depth_has_a_limit():
    assert len(decode_crush(encode_crush(chain(64, 0), SUPPORTED)).buckets) == 64
    with pytest.raises(PeerError, match="64 levels"):
        decode_crush(encode_crush(chain(65, 0), SUPPORTED))


@pytest.mark.parametrize(("length", "back_to"), [(1, -1), (2, -1), (5, -3)])
def test_circles_are_refused(length, back_to):
    with pytest.raises(PeerError, match="contains itself"):
        decode_crush(encode_crush(chain(length, back_to), SUPPORTED))


def test_a_weight_set_has_the_size_of_its_bucket():
    crush = some_map()
    for wrong in (ChooseArg(((1, 2),), ()), ChooseArg((), (1,))):
        crush.choose_args = {3: {-1: wrong}}
        with pytest.raises(PeerError, match="another size"):
            decode_crush(encode_crush(crush, SUPPORTED))
    crush.choose_args = {3: {-50: ChooseArg(((1,),), ())}}
    with pytest.raises(PeerError, match="slot 49"):
        decode_crush(encode_crush(crush, SUPPORTED))


def test_a_weight_set_that_replaces_nothing_does_not_travel():
    crush = some_map()
    crush.choose_args = {3: {-1: ChooseArg()}}
    assert decode_crush(encode_crush(crush, SUPPORTED)).choose_args == {3: {}}


def test_which_weight_set_serves_a_pool():
    crush = some_map()
    crush.choose_args = {3: {}}
    assert [crush.choose_args_for(pool) for pool in (3, 4)] == [3, None]
    crush.choose_args = {3: {}, -1: {}}
    assert [crush.choose_args_for(pool) for pool in (3, 4)] == [3, -1]


def test_numbers_that_do_not_fit_are_our_fault():
    crush = some_map()
    crush.buckets = {**crush.buckets, -1: replace(crush.buckets[-1], weights=(1 << 32, 0, 0))}
    with pytest.raises(UsageError):
        encode_crush(crush, SUPPORTED)
    with pytest.raises(UsageError, match="outside the 2 slots"):
        encode_crush(replace(some_map(), max_buckets=2), SUPPORTED)


# making maps


def test_the_simple_map():
    crush = CrushMap.simple({3: WEIGHT_ONE, 0: 2 * WEIGHT_ONE}, host="store")
    assert crush.names == {-1: "default", -2: "store", 0: "osd.0", 3: "osd.3"}
    assert crush.buckets[-2].items == (0, 3)
    assert crush.buckets[-1].weight == 3 * WEIGHT_ONE
    assert crush.max_devices == 4
    assert crush.rule(0) == Rule(
        RuleType.REPLICATED, (RuleStep(Op.TAKE, -1), RuleStep(Op.CHOOSE_FIRSTN, 0, 0), RuleStep(Op.EMIT))
    )
    assert crush.rule(1) is None
    assert crush.id_of("store") == -2
    assert crush.id_of("nobody") is None
    assert CrushMap.simple([]).max_devices == 0
    with pytest.raises(UsageError):
        CrushMap.simple([-1])


def test_shadows_hold_the_devices_of_a_class():
    crush = some_map()
    shadow = crush.shadows[-1][1]
    assert crush.names[shadow] == "default~ssd"
    assert crush.class_names == {0: "hdd", 1: "ssd"}
    hosts = crush.buckets[shadow].items
    assert [crush.buckets[host].items for host in hosts] == [(1,), (3,), (5,)]
    assert [crush.classes[item] for item in (shadow, *hosts)] == [1, 1, 1, 1]
    assert crush.buckets[shadow].weight == 3 * WEIGHT_ONE
    assert crush.rules[1].steps[0] == RuleStep(Op.TAKE, shadow)
    crush.check()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=64))
def test_the_weights_of_a_tree_add_up(weights):
    bucket = make_bucket(-1, 1, BucketAlg.TREE, range(len(weights)), weights)
    nodes = bucket.weights
    assert nodes[len(nodes) >> 1] == sum(weights) == bucket.weight
    assert [bucket.item_weight(index) for index in range(len(weights))] == weights
    for node in range(2, len(nodes), 2):
        half = (node & -node) >> 1
        assert nodes[node] == nodes[node - half] + nodes[node + half]


def test_a_list_keeps_the_sums():
    assert make_bucket(-1, 1, BucketAlg.LIST, (4, 5, 6), (1, 2, 3)).extra == (1, 3, 6)


@pytest.mark.parametrize("alg", [BucketAlg.STRAW, BucketAlg.UNIFORM])
def test_buckets_that_are_not_made(alg):
    with pytest.raises(UsageError):
        make_bucket(-1, 1, alg, (0, 1), (1, 2))


def test_the_builder_refuses_what_clashes():
    builder = CrushBuilder()
    root = builder.bucket("default", "root")
    builder.osd(0, root, device_class="hdd")
    for wrong in (
        lambda: builder.bucket("default", "host"),
        lambda: builder.bucket("other", "shelf"),
        lambda: builder.bucket("other", "osd"),
        lambda: builder.osd(0, root),
        lambda: builder.osd(-1, root),
        lambda: builder.osd(1, -9),
        lambda: builder.replicated_rule("r", "nowhere", "osd"),
        lambda: builder.replicated_rule("r", "default", "shelf"),
        lambda: builder.replicated_rule("r", "default", "osd", device_class="ssd"),
    ):
        with pytest.raises(UsageError):
            wrong()
    builder.erasure_rule("r", "default", "osd", device_class="hdd")
    with pytest.raises(UsageError, match="comes after"):
        builder.osd(1, root)
    assert len(rules_over(root)) == 2
