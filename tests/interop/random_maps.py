"""OSD maps of all shapes from a seed, for comparisons with the real tools.

`random_osdmap(seed)` is always the same map. A map differs from a real cluster's in that everything odd happens in it
at once: OSDs down, out, missing from CRUSH or from the map, partial weights, exceptions that point nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from cove.wire.crush.build import ERASURE_TRIES, CrushBuilder, make_bucket
from cove.wire.crush.map import (
    BOBTAIL,
    DEFAULT_TYPES,
    DEFAULT_WEIGHT_SET,
    FIREFLY,
    ITEM_NONE,
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
from cove.wire.osdmap import OSDMap, simple_osdmap
from cove.wire.pool import PgPool, PoolFlag, PoolType
from cove.wire.types import PgId

SHAPES: dict[str, tuple[str, ...]] = {
    "flat": (),
    "hosts": ("host",),
    "racks": ("rack", "host"),
    "datacenters": ("datacenter", "rack", "host"),
}
TUNABLES = {
    "jewel": JEWEL,
    "legacy": LEGACY,
    "bobtail": BOBTAIL,
    "firefly": FIREFLY,
    "vary_r 4": replace(JEWEL, chooseleaf_vary_r=4),
    "few tries": replace(JEWEL, choose_total_tries=3),
}
ALGS = (BucketAlg.UNIFORM, BucketAlg.LIST, BucketAlg.TREE, BucketAlg.STRAW, BucketAlg.STRAW2)
ROOT = "default"
CLASSES = ("hdd", "ssd", "nvme")


class Shape(NamedTuple):
    """What kind of map to make; the seed decides the rest."""

    levels: str = "hosts"
    alg: BucketAlg | None = BucketAlg.STRAW2
    """None: every bucket has another one."""
    tunables: str = "jewel"
    classes: bool = False
    choose_args: bool = False
    exceptions: bool = True
    """Upmaps, temps, affinities, reweights, OSDs that are down or out."""


def shape_of(seed: int) -> Shape:
    """The first seeds go through everything once, the others mix."""
    random = Random(seed)
    levels = tuple(SHAPES)
    listed = (
        *(Shape(name, exceptions=False) for name in levels),
        *(Shape(name, classes=True) for name in levels),
        *(Shape("racks", alg, choose_args=True) for alg in (*ALGS, None)),
        *(Shape("hosts", alg, tunables="legacy") for alg in (*ALGS, None)),
        *(Shape("racks", tunables=name) for name in TUNABLES),
    )
    if seed < len(listed):
        return listed[seed]
    return Shape(
        random.choice(levels),
        random.choice((*ALGS, None, BucketAlg.STRAW2)),
        random.choice(tuple(TUNABLES)),
        random.random() < 0.4,
        random.random() < 0.4,
    )


def random_crush(random: Random, shape: Shape) -> CrushMap:
    """A tree of 2 to 60 OSDs, with rules of all kinds."""
    builder = CrushBuilder(tunables=TUNABLES[shape.tunables])
    leaves = [builder.bucket(ROOT, "root")]
    for kind in SHAPES[shape.levels]:
        leaves = [
            builder.bucket(f"{kind}-{parent}-{n}", kind, parent)
            for parent in leaves
            for n in range(random.randint(2, 3))
        ]
    uneven = random.random() < 0.7
    number = 0
    for leaf in leaves:
        for _ in range(random.randint(4, 20) if leaf == -1 else random.choice((0, 1, 2, 3, 4, 4))):
            weight = random.choice((0, WEIGHT_ONE // 3, WEIGHT_ONE, 7 * WEIGHT_ONE // 2)) if uneven else WEIGHT_ONE
            builder.osd(number, leaf, weight=weight, device_class=random.choice(CLASSES) if shape.classes else "")
            number += random.choice((1, 1, 1, 2))
    if not number:
        builder.osd(0, leaves[0], device_class="hdd" if shape.classes else "")
    _add_rules(builder, random, shape)
    crush = builder.build()
    crush.buckets = {key: _with_alg(bucket, random, shape.alg) for key, bucket in crush.buckets.items()}
    if shape.choose_args:
        crush.choose_args = {
            pool: {bucket.id: _random_replacement(bucket, random) for bucket in crush.buckets.values() if bucket.items}
            for pool in (DEFAULT_WEIGHT_SET, 3, 5)
        }
    return crush


def _add_rules(builder: CrushBuilder, random: Random, shape: Shape) -> None:
    root = builder.root_of(ROOT)
    number_of = {name: number for number, name in DEFAULT_TYPES.items()}
    levels = [*SHAPES[shape.levels], "osd"]
    for domain in levels:
        builder.replicated_rule(f"replicated-{domain}", ROOT, domain)
        builder.erasure_rule(f"erasure-{domain}", ROOT, domain)
    for name in builder.classes if shape.classes else ():
        builder.replicated_rule(f"replicated-{name}", ROOT, levels[0], device_class=name)
        builder.erasure_rule(f"erasure-{name}", ROOT, "osd", device_class=name)
    take, emit = RuleStep(Op.TAKE, root), RuleStep(Op.EMIT)
    outer, inner = number_of[levels[0]], number_of[levels[min(1, len(levels) - 1)]]
    osd = number_of["osd"]
    nested = {
        RuleType.REPLICATED: (Op.CHOOSE_FIRSTN, Op.CHOOSELEAF_FIRSTN if inner else Op.CHOOSE_FIRSTN),
        RuleType.ERASURE: (Op.CHOOSE_INDEP, Op.CHOOSELEAF_INDEP if inner else Op.CHOOSE_INDEP),
    }
    for kind, (choose, leaf) in nested.items():
        first = ERASURE_TRIES if kind is RuleType.ERASURE else ()
        if outer != osd:
            steps = (*first, take, RuleStep(choose, 2, outer), RuleStep(leaf, 2, inner), emit)
            builder.rule(f"nested-{kind}", Rule(kind, steps))
        # two takes: the first replica from anywhere, the others again from the same tree
        last = RuleStep(leaf, -1, inner)
        steps = (take, RuleStep(choose, 1, osd), emit, take, last, emit)
        builder.rule(f"two-takes-{kind}", Rule(kind, steps))
        settings = (
            RuleStep(Op.SET_CHOOSE_TRIES, random.choice((1, 3, 20))),
            RuleStep(Op.SET_CHOOSELEAF_TRIES, random.choice((1, 2, 5))),
            RuleStep(Op.SET_CHOOSE_LOCAL_TRIES, random.choice((0, 2))),
            RuleStep(Op.SET_CHOOSE_LOCAL_FALLBACK_TRIES, random.choice((0, 1, 5))),
            RuleStep(Op.SET_CHOOSELEAF_VARY_R, random.choice((0, 1, 3))),
            RuleStep(Op.SET_CHOOSELEAF_STABLE, random.choice((0, 1))),
        )
        chosen = random.sample(settings, 3)
        builder.rule(f"settings-{kind}", Rule(kind, (*chosen, take, RuleStep(leaf, 0, inner), emit)))


def _with_alg(bucket: Bucket, random: Random, alg: BucketAlg | None) -> Bucket:
    """The bucket with another algorithm. Straw lengths are made up: whoever reads the map takes them as they are."""
    alg = alg or random.choice(ALGS)
    weights = bucket.weights
    if alg is BucketAlg.STRAW:
        straws = tuple(random.choice((0x8000, 0x10000, 0x1A000)) if weight else 0 for weight in weights)
        return replace(bucket, alg=alg, extra=straws)
    if alg is BucketAlg.UNIFORM:
        weights = (max(weights, default=0),) * len(weights)
    if alg is BucketAlg.TREE and not bucket.weight:
        return bucket  # with no weight anywhere, a tree may lead to an item that is not there
    return make_bucket(bucket.id, bucket.type, alg, bucket.items, weights)


def _random_replacement(bucket: Bucket, random: Random) -> ChooseArg:
    sets = tuple(
        tuple(random.choice((0, WEIGHT_ONE // 2, WEIGHT_ONE, 3 * WEIGHT_ONE)) for _ in bucket.items)
        for _ in range(random.choice((0, 1, 1, 3)))
    )
    ids = tuple(random.randint(-50, 50) for _ in bucket.items) if random.random() < 0.4 or not sets else ()
    return ChooseArg(sets, ids)


def random_osdmap(seed: int) -> OSDMap:
    """A map with a pool for every rule."""
    random = Random(seed)
    shape = shape_of(seed)
    crush = random_crush(random, shape)
    count = crush.max_devices + random.choice((0, 3))
    pools = {number + 1: _random_pool(random, number, rule) for number, rule in enumerate(crush.rules) if rule}
    if shape.exceptions:
        pools[len(pools) + 1] = PgPool(pg_num=4, size=3, crush_rule=len(crush.rules) + 1)
    osdmap = simple_osdmap(
        UUID(int=seed + 1),
        1,
        pools,
        {number: f"pool-{number}" for number in pools},
        {osd: f"v2:127.0.0.1:{6800 + osd}/{osd + 1}" for osd in range(count)},
    )
    osdmap = replace(osdmap, crush=crush)
    return _with_exceptions(random, osdmap) if shape.exceptions else osdmap


def _random_pool(random: Random, number: int, rule: Rule) -> PgPool:
    erasure = rule.type == RuleType.ERASURE
    size = random.randint(2, 6) if erasure else random.randint(1, 6)
    pg_num = random.choice((1, 7, 8, 12, 24, 32))
    return PgPool(
        pg_num=pg_num,
        pgp_num=random.randint(1, pg_num) if random.random() < 0.4 else pg_num,
        type=PoolType.ERASURE if erasure else PoolType.REPLICATED,
        size=size,
        min_size=max(1, size - 1),
        crush_rule=number,
        object_hash=random.choice((1, 2, 2)),
        flags=PoolFlag.HASHPSPOOL if random.random() < 0.85 else 0,
    )


def _with_exceptions(random: Random, osdmap: OSDMap) -> OSDMap:
    count = osdmap.max_osd
    gone, down = random.choice(((0.0, 0.0), (0.05, 0.1), (0.1, 0.3)))

    def osd() -> int:
        return random.randrange(count)

    def some(make: Callable[[PgPool], object], share: float) -> dict[PgId, Any]:
        return {
            PgId(number, seed): make(pool)
            for number, pool in osdmap.pools.items()
            for seed in range(pool.pg_num)
            if random.random() < share
        }

    def osds(pool: PgPool) -> tuple[int, ...]:
        chosen = random.sample(range(count), min(pool.size, count))
        hole = pool.type == PoolType.ERASURE and random.random() < 0.3
        return (ITEM_NONE, *chosen[1:]) if hole else tuple(chosen)

    def pairs(_: PgPool) -> tuple[tuple[int, int], ...]:
        return tuple((osd(), osd()) for _ in range(random.randint(1, 4)))

    affinities = (0, 0x4000, 0xC000, WEIGHT_ONE, WEIGHT_ONE)
    fields: dict[str, Any] = {
        "osd_state": [0 if random.random() < gone else 1 if random.random() < down else 3 for _ in range(count)],
        "osd_weight": [random.choice((0, 0x5000, 0xC000, *[WEIGHT_ONE] * 5)) for _ in range(count)],
        "primary_affinity": [random.choice(affinities) for _ in range(count)] if random.random() < 0.7 else [],
        "pg_temp": some(osds, 0.1),
        "primary_temp": some(lambda _: osd(), 0.1),
        "pg_upmap": some(osds, 0.1),
        "pg_upmap_items": some(pairs, 0.3),
    }
    return replace(osdmap, **fields)
