"""Hypothesis strategies for CRUSH maps, and small maps for tests."""

from __future__ import annotations

from hypothesis import strategies as st

from cove.wire.crush.build import make_bucket
from cove.wire.crush.map import (
    BOBTAIL,
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
)

ROOT, HOST = 11, 1
TAKE, EMIT = Op.TAKE, RuleStep(Op.EMIT)


def bucket_of(number: int, kind: int, alg: BucketAlg, items: tuple[int, ...], weights: tuple[int, ...]) -> Bucket:
    """As `make_bucket`; straws as long as their items are heavy."""
    if alg is BucketAlg.STRAW:
        return Bucket(number, kind, alg, items, weights, sum(weights), weights)
    return make_bucket(number, kind, alg, items, weights)


def rules_over(root: int, domain: int = HOST) -> tuple[Rule, Rule]:
    """A replicated rule and one for an erasure pool."""
    tries = (RuleStep(Op.SET_CHOOSELEAF_TRIES, 5), RuleStep(Op.SET_CHOOSE_TRIES, 100))
    return (
        Rule(RuleType.REPLICATED, (RuleStep(TAKE, root), RuleStep(Op.CHOOSELEAF_FIRSTN, 0, domain), EMIT)),
        Rule(RuleType.ERASURE, (*tries, RuleStep(TAKE, root), RuleStep(Op.CHOOSELEAF_INDEP, 0, domain), EMIT)),
    )


@st.composite
def crush_maps(draw: st.DrawFn) -> CrushMap:
    """A root (-1) over hosts with OSDs, every bucket with its own algorithm; `rules_over` as rules 0 and 1."""
    weights = st.sampled_from([0, WEIGHT_ONE // 2, WEIGHT_ONE, 5 * WEIGHT_ONE])
    hosts = draw(st.integers(1, 6))
    buckets: dict[int, Bucket] = {}
    osd = 0
    for number in range(-2, -2 - hosts, -1):
        size = draw(st.integers(0, 5))
        alg = draw(st.sampled_from(BucketAlg))
        uniform = (draw(weights.filter(bool)),) * size
        each = uniform if alg is BucketAlg.UNIFORM else tuple(draw(weights) for _ in range(size))
        buckets[number] = bucket_of(number, HOST, alg, tuple(range(osd, osd + size)), each)
        osd += size
    items = tuple(buckets)
    alg = draw(st.sampled_from([BucketAlg.LIST, BucketAlg.STRAW, BucketAlg.STRAW2, BucketAlg.TREE]))
    buckets[-1] = bucket_of(-1, ROOT, alg, items, tuple(bucket.weight for bucket in buckets.values()))
    replaced = {
        bucket.id: ChooseArg((bucket.weights,), bucket.items if draw(st.booleans()) else ())
        for bucket in buckets.values()
        if bucket.alg is BucketAlg.STRAW2
    }
    return CrushMap(
        buckets,
        rules=(*rules_over(-1), None),
        max_devices=osd,
        max_buckets=len(buckets) + draw(st.integers(0, 2)),
        names={-1: "default"},
        rule_names={0: "replicated", 1: "erasure"},
        tunables=draw(st.sampled_from([JEWEL, BOBTAIL, LEGACY])),
        classes={0: 0} if osd else {},
        class_names={0: "ssd"},
        shadows={-1: {0: -2}},
        choose_args=draw(st.sampled_from([{}, {-1: replaced}, {-1: replaced, 7: replaced}])),
    )
