# mypy: allow-untyped-calls
from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.wire.crush.build import CrushBuilder
from cove.wire.crush.map import (
    ITEM_NONE,
    JEWEL,
    WEIGHT_ONE,
    Bucket,
    BucketAlg,
    ChooseArg,
    CrushMap,
    Op,
    Rule,
    RuleStep,
    RuleType,
    Tunables,
    encode_crush,
)
from cove.wire.crush.mapper import do_rule
from cove.wire.errors import PeerError
from cove.wire.features import CRUSH_MSR, SUPPORTED
from tests.fuzz.fuzz_crush import one_input
from tests.unit.wire.crush_maps import EMIT, HOST, ROOT, TAKE, bucket_of, crush_maps, rules_over

# what crushtool 16.2 gives for the map below, x 7 to 11, with osd.5 out and osd.6 half in
CAPTURED = {
    (BucketAlg.UNIFORM, 0): ([3, 0, 10], [11, 7, 1], [0, 10, 6], [2, 8, 10], [9, 0, 6]),
    (BucketAlg.UNIFORM, 1): ([3, 1, 11], [11, 8, 0], [0, 9, 7], [2, 7, 9], [9, 2, 7]),
    (BucketAlg.LIST, 0): ([0, 9, 4], [10, 4, 8], [8, 2, 10], [9, 0, 4], [3, 10, 6]),
    (BucketAlg.LIST, 1): ([0, 9, 7], [10, 4, 7], [8, 0, 11], [9, 1, 4], [3, 11, 2]),
    (BucketAlg.TREE, 0): ([7, 2, 4], [3, 0, 9], [10, 6, 0], [4, 6, 10], [4, 6, 0]),
    (BucketAlg.TREE, 1): ([7, 0, 11], [8, 3, 10], [10, 8, 2], [4, 6, 11], [4, 8, 1]),
    (BucketAlg.STRAW, 0): ([4, 11, 2], [4, 1, 11], [9, 1, 4], [0, 8, 4], [0, 10, 4]),
    (BucketAlg.STRAW, 1): ([3, 7, 0], [4, 9, 0], [9, 4, 0], [0, 4, 8], [0, 10, 4]),
    (BucketAlg.STRAW2, 0): ([4, 11, 2], [4, 8, 1], [9, 1, 4], [0, 8, 4], [0, 10, 4]),
    (BucketAlg.STRAW2, 1): ([3, 7, 0], [4, 9, 7], [9, 4, 0], [0, 4, 8], [0, 10, 4]),
}
IN = [WEIGHT_ONE] * 12


def four_hosts(alg=BucketAlg.STRAW2):
    """Three OSDs each; the second host's middle one weighs three."""
    one, three = WEIGHT_ONE, 3 * WEIGHT_ONE
    buckets = {}
    for host in range(4):
        heavy = host == 1 and alg is not BucketAlg.UNIFORM
        items = tuple(range(3 * host, 3 * host + 3))
        buckets[-1 - host] = bucket_of(-1 - host, HOST, alg, items, (one, three if heavy else one, one))
    if alg is BucketAlg.STRAW:
        buckets[-2] = Bucket(-2, HOST, alg, (3, 4, 5), (one, three, one), 5 * one, (one, 2 * one, one))
    hosts, weights = tuple(buckets), tuple(bucket.weight for bucket in buckets.values())
    if alg is BucketAlg.STRAW:
        buckets[-5] = Bucket(-5, ROOT, alg, hosts, weights, 14 * one, (one, one + one // 2, one, one))
    else:
        buckets[-5] = bucket_of(-5, ROOT, alg, hosts, weights)
    return CrushMap(buckets, rules_over(-5), max_devices=12, max_buckets=5)


@pytest.mark.parametrize(("alg", "rule"), CAPTURED, ids=str)
def test_mappings_of_crushtool(alg, rule):
    weights = [*IN]
    weights[5], weights[6] = 0, WEIGHT_ONE // 2
    crush = four_hosts(alg)
    assert tuple(do_rule(crush, rule, x, 3, weights) for x in range(7, 12)) == CAPTURED[alg, rule]


@given(crush_maps(), st.integers(0, 2**32 - 1), st.integers(0, 6), st.data())
def test_what_every_mapping_keeps(crush, x, size, data):
    weights = data.draw(
        st.lists(st.sampled_from([0, 0x8000, WEIGHT_ONE]), min_size=crush.max_devices, max_size=crush.max_devices)
    )
    host_of = {osd: bucket.id for bucket in crush.buckets.values() for osd in bucket.items if osd >= 0}
    for rule, firstn in ((0, True), (1, False)):
        result = do_rule(crush, rule, x, size, weights)
        assert do_rule(crush, rule, x, size, weights) == result  # nothing is remembered
        assert len(result) <= size if firstn else len(result) == size
        osds = [osd for osd in result if osd != ITEM_NONE]
        assert not firstn or osds == result
        assert all(0 <= osd < crush.max_devices and weights[osd] for osd in osds)
        hosts = [host_of[osd] for osd in osds]
        assert len(set(hosts)) == len(hosts)


@given(st.integers(0, 2**32 - 1), st.integers(0, 11))
def test_an_osd_that_goes_out_moves_nothing_that_it_did_not_have(x, osd):
    crush = four_hosts()
    before = do_rule(crush, 1, x, 3, IN)
    weights = [*IN]
    weights[osd] = 0
    after = do_rule(crush, 1, x, 3, weights)
    if osd not in before:
        assert after == before
    assert osd not in after


def test_the_share_follows_the_weight():
    crush = four_hosts()
    counts = Counter(do_rule(crush, 0, x, 1, IN)[0] for x in range(2000))
    assert set(counts) == set(range(12))
    assert counts[4] / 2000 == pytest.approx(3 / 14, abs=0.03)


def test_what_a_rule_may_say():
    crush = four_hosts()

    def result(*steps, size=3):
        crush.rules = (Rule(RuleType.REPLICATED, steps),)
        return do_rule(crush, 0, 7, size, IN)

    root = RuleStep(TAKE, -5)
    assert result() == []
    assert result(RuleStep(TAKE, 3), EMIT) == [3]
    assert result(RuleStep(TAKE, 12), EMIT) == []
    assert result(RuleStep(TAKE, -6), EMIT) == []
    assert result(root, EMIT) == [-5]
    assert result(RuleStep(Op.CHOOSE_FIRSTN, 0, 0), EMIT) == []
    assert result(root, RuleStep(Op.CHOOSE_FIRSTN, -3, 0), EMIT) == []
    assert len(result(root, RuleStep(Op.CHOOSE_FIRSTN, -1, 0), EMIT)) == 2
    assert len(result(root, RuleStep(Op.CHOOSE_FIRSTN, 2, HOST), RuleStep(Op.CHOOSE_FIRSTN, 1, 0), EMIT)) == 2
    assert len(result(root, RuleStep(Op.CHOOSE_INDEP, 5, 0), EMIT)) == 3
    twice = result(root, RuleStep(Op.CHOOSE_FIRSTN, 1, 0), EMIT, root, RuleStep(Op.CHOOSE_FIRSTN, 1, 0), EMIT)
    assert len(twice) == 2
    assert twice[0] == twice[1]  # collisions are not looked for across takes
    assert result(root, RuleStep(99), RuleStep(Op.NOOP), EMIT) == [-5]
    assert result(RuleStep(TAKE, 3), EMIT, size=0) == []
    # a type that does not exist below: no list, and holes
    assert result(root, RuleStep(Op.CHOOSELEAF_FIRSTN, 0, 5), EMIT) == []
    assert result(root, RuleStep(Op.CHOOSELEAF_INDEP, 0, 5), EMIT) == [ITEM_NONE] * 3
    assert do_rule(crush, 1, 7, 3, IN) == []


def test_weight_sets_by_pool_and_position():
    crush = four_hosts()
    only = lambda host: tuple(WEIGHT_ONE if n == host else 0 for n in range(4))  # noqa: E731
    crush.choose_args = {7: {-5: ChooseArg((only(0), only(2)), ())}, -1: {-5: ChooseArg((only(3),), ())}}
    crush.rules = (Rule(1, (RuleStep(TAKE, -5), RuleStep(Op.CHOOSE_FIRSTN, 0, HOST), EMIT)),)
    assert do_rule(crush, 0, 1, 2, IN, 7) == [-1, -3]
    assert do_rule(crush, 0, 1, 2, IN, 8) == [-4]
    plain = four_hosts()
    assert all(do_rule(plain, 0, x, 3, IN, 7) == do_rule(plain, 0, x, 3, IN) for x in range(20))


def test_ids_to_hash_give_the_items_places_of_others():
    crush, other = four_hosts(), four_hosts()
    swapped = {-1: -3, -3: -1}
    crush.choose_args = {-1: {-5: ChooseArg((), tuple(swapped.get(n, n) for n in (-1, -2, -3, -4)))}}
    rule = (Rule(1, (RuleStep(TAKE, -5), RuleStep(Op.CHOOSE_FIRSTN, 1, HOST), EMIT)),)
    crush.rules = other.rules = rule
    for x in range(50):
        (before,), (after,) = do_rule(other, 0, x, 1, IN), do_rule(crush, 0, x, 1, IN)
        assert after == swapped.get(before, before)


# maps that lead nowhere, or that would take for ever


@pytest.mark.parametrize("alg", BucketAlg, ids=lambda alg: alg.name)
@pytest.mark.parametrize("item", [-50, 5000, ITEM_NONE])
def test_items_that_are_not_there(alg, item):
    crush = CrushMap({-1: bucket_of(-1, ROOT, alg, (item,), (WEIGHT_ONE,))}, rules_over(-1), 12, 1)
    assert do_rule(crush, 0, 1, 3, IN) == []
    assert do_rule(crush, 1, 1, 3, IN) == [ITEM_NONE] * 3


def test_a_tree_without_weight():
    """Ceph would read beyond the items."""
    nodes = (0,) * 8
    crush = CrushMap({-1: Bucket(-1, ROOT, BucketAlg.TREE, (0, 1, 2), nodes, 0)}, rules_over(-1, 0), 12, 1)
    assert do_rule(crush, 0, 1, 3, IN) == []


def test_empty_buckets():
    crush = CrushMap({-1: bucket_of(-1, ROOT, BucketAlg.STRAW2, (), ())}, rules_over(-1), 0, 1)
    assert do_rule(crush, 0, 1, 3, []) == []
    assert do_rule(crush, 1, 1, 3, []) == [ITEM_NONE] * 3


MANY = 0x7FFFFFFF
ENDLESS = Tunables(MANY, MANY, 0xFFFFFFFF, 0, 255, 0, 0, 0, MANY, MANY)


@pytest.mark.parametrize(
    "steps",
    [
        (RuleStep(Op.CHOOSE_FIRSTN, MANY, HOST),),
        (RuleStep(Op.CHOOSELEAF_FIRSTN, MANY, HOST),),
        (RuleStep(Op.CHOOSE_INDEP, MANY, HOST),),
        (RuleStep(Op.SET_CHOOSE_TRIES, MANY), RuleStep(Op.CHOOSELEAF_INDEP, 0, HOST)),
        (RuleStep(Op.SET_CHOOSELEAF_TRIES, MANY), RuleStep(Op.CHOOSELEAF_INDEP, 0, HOST)),
        (RuleStep(Op.CHOOSE_FIRSTN, 0, 0),),
    ],
    ids=str,
)
def test_numbers_of_tries_that_nobody_lives_to_see(steps):
    crush = four_hosts()
    crush.tunables = ENDLESS
    crush.rules = (Rule(1, (*(step for step in steps[:-1]), RuleStep(TAKE, -5), steps[-1], EMIT)),)
    with pytest.raises(PeerError, match="come to an end"):
        do_rule(crush, 0, 1, 8, [0] * 12, work_max=20_000)


def test_honest_maps_stay_far_below_the_limit():
    builder = CrushBuilder()
    root = builder.bucket("default", "root")
    for host in range(20):
        number = builder.bucket(f"host-{host}", "host", root)
        for osd in range(20):
            builder.osd(20 * host + osd, number)
    builder.erasure_rule("ec", "default", "host")
    crush = builder.build()
    # twenty-four shards want a host of their own and there are twenty: all tries are used up
    assert do_rule(crush, 0, 5, 24, [WEIGHT_ONE] * 400, work_max=1 << 17).count(ITEM_NONE) == 4


@settings(max_examples=150)
@given(crush_maps(), st.data())
def test_damaged_maps_map_or_say_so(crush, data):
    encoded = bytearray(encode_crush(crush, SUPPORTED | CRUSH_MSR))
    for _ in range(data.draw(st.integers(0, 6))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.sampled_from([0, 1, 2, 5, 127, 128, 255]))
    one_input(bytes(encoded))


# multi-step retry rules


def msr(kind, *steps):
    crush = four_hosts()
    crush.rules = (Rule(kind, steps),)
    return crush


BY_HOST = (RuleStep(TAKE, -5), RuleStep(Op.CHOOSE_MSR, 3, HOST), RuleStep(Op.CHOOSE_MSR, 2, 0), EMIT)


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([0, WEIGHT_ONE, WEIGHT_ONE]), min_size=12, max_size=12))
@settings(max_examples=50)
def test_msr_keeps_strides_apart(x, weights):
    crush = msr(RuleType.MSR_INDEP, *BY_HOST)
    result = do_rule(crush, 0, x, 6, weights)
    assert len(result) == 6
    hosts_of = [{osd // 3 for osd in result[at : at + 2] if osd != ITEM_NONE} for at in (0, 2, 4)]
    assert sum(map(len, hosts_of)) == len(set().union(*hosts_of))  # no host serves two strides
    osds = [osd for osd in result if osd != ITEM_NONE]
    assert len(set(osds)) == len(osds)
    assert all(weights[osd] for osd in osds)
    if all(weights):
        assert [len(hosts) for hosts in hosts_of] == [1, 1, 1]
        assert ITEM_NONE not in result
    crush.rules = (Rule(RuleType.MSR_FIRSTN, BY_HOST),)
    assert sorted(do_rule(crush, 0, x, 6, weights)) == sorted(osds)


def test_msr_goes_to_another_host_where_one_is_out():
    crush = msr(RuleType.MSR_INDEP, *BY_HOST)
    before = do_rule(crush, 0, 5, 6, IN)
    lost = before[0] // 3
    weights = [0 if osd // 3 == lost else WEIGHT_ONE for osd in range(12)]
    after = do_rule(crush, 0, 5, 6, weights)
    assert ITEM_NONE not in after
    assert after[2:] == before[2:]


def test_msr_blocks_share_the_result():
    second = (RuleStep(TAKE, -4), RuleStep(Op.CHOOSE_MSR, 0, 0), EMIT)
    crush = msr(
        RuleType.MSR_FIRSTN,
        *(BY_HOST[:1]),
        RuleStep(Op.CHOOSE_MSR, 2, HOST),
        RuleStep(Op.CHOOSE_MSR, 1, 0),
        EMIT,
        *second,
    )
    result = do_rule(crush, 0, 9, 5, IN)
    assert len(result) == 5
    assert {osd // 3 for osd in result[2:]} == {3}


@pytest.mark.parametrize(
    "steps",
    [
        (EMIT,),
        (RuleStep(TAKE, -5), EMIT),
        (RuleStep(TAKE, -5), RuleStep(Op.CHOOSE_MSR, 3, HOST)),
        (RuleStep(TAKE, 3), RuleStep(Op.CHOOSE_MSR, 1, 0), EMIT),
        (RuleStep(TAKE, -50), RuleStep(Op.CHOOSE_MSR, 1, 0), EMIT),
        (RuleStep(TAKE, -5), RuleStep(Op.CHOOSE_MSR, -1, 0), EMIT),
        (RuleStep(TAKE, -5), RuleStep(Op.CHOOSE_FIRSTN, 0, 0), EMIT),
        (*BY_HOST, RuleStep(TAKE, -5)),
        (*BY_HOST, RuleStep(Op.SET_MSR_DESCENTS, 5)),
    ],
    ids=str,
)
def test_msr_rules_of_another_form_give_nothing(steps):
    assert do_rule(msr(RuleType.MSR_INDEP, *steps), 0, 1, 6, IN) == []


@pytest.mark.parametrize(
    "steps",
    [
        (RuleStep(Op.CHOOSE_MSR, 3, HOST),),
        (RuleStep(Op.CHOOSE_MSR, 3, 0), RuleStep(Op.CHOOSE_MSR, 2, 0)),
        (RuleStep(Op.CHOOSE_MSR, 3, HOST), RuleStep(Op.CHOOSE_MSR, 2, HOST)),
        (RuleStep(Op.CHOOSE_MSR, MANY, 7),) * 3,
        (RuleStep(Op.CHOOSE_MSR, 2, HOST),) * 200,
    ],
    ids=lambda steps: f"{len(steps)} {steps[0]}",
)
def test_msr_steps_that_find_no_device(steps):
    crush = msr(RuleType.MSR_INDEP, RuleStep(TAKE, -5), *steps, EMIT)
    assert set(do_rule(crush, 0, 1, 6, IN)) <= {ITEM_NONE}


def test_msr_ends_where_tries_do_not():
    tries = (RuleStep(Op.SET_MSR_DESCENTS, MANY), RuleStep(Op.SET_MSR_COLLISION_TRIES, MANY))
    for weights, steps in ((IN, BY_HOST[1:2]), ([0] * 12, BY_HOST[1:3]), (IN, (RuleStep(Op.CHOOSE_MSR, 13, 0),))):
        crush = msr(RuleType.MSR_INDEP, *tries, RuleStep(TAKE, -5), *steps, EMIT)
        with pytest.raises(PeerError, match="come to an end"):
            do_rule(crush, 0, 1, 13, weights, work_max=20_000)


def test_the_tunables_say_how_often_msr_tries():
    crush = msr(RuleType.MSR_INDEP, *BY_HOST)
    crush.tunables = Tunables(msr_descents=0)
    assert do_rule(crush, 0, 1, 6, IN) == [ITEM_NONE] * 6
    crush.tunables = JEWEL
    assert ITEM_NONE not in do_rule(crush, 0, 1, 6, IN)
