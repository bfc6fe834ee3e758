# mypy: allow-untyped-calls
from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.crush.build import CrushBuilder
from cove.wire.crush.hash import hash2
from cove.wire.crush.map import ITEM_NONE, WEIGHT_ONE
from cove.wire.errors import PeerError
from cove.wire.hashing import stable_mod
from cove.wire.osdmap import OSDMap, PgMapping, simple_osdmap
from cove.wire.placement import (
    NO_SHARD,
    NOBODY,
    apply_primary_affinity,
    pg_to_up_acting,
    placement_seed,
    primary_shard,
    raw_osds,
    upmapped,
)
from cove.wire.pool import PgPool, PoolFlag, PoolType
from cove.wire.types import ObjectLocator, PgId

REPLICATED, ERASURE = 1, 2
NONE = ITEM_NONE


def cluster(**changes) -> OSDMap:
    """Four hosts with three OSDs each; a replicated pool (size 3) and one with four shards."""
    builder = CrushBuilder()
    root = builder.bucket("default", "root")
    for host in range(4):
        number = builder.bucket(f"host-{host}", "host", root)
        for osd in range(3 * host, 3 * host + 3):
            builder.osd(osd, number)
    builder.replicated_rule("replicated", "default", "host")
    builder.erasure_rule("erasure", "default", "host")
    pools = {
        REPLICATED: PgPool(pg_num=6, size=3),
        ERASURE: PgPool(pg_num=4, pgp_num=3, type=PoolType.ERASURE, size=4, crush_rule=1),
    }
    addresses = {osd: f"v2:127.0.0.1:{6800 + osd}/1" for osd in range(12)}
    osdmap = simple_osdmap(UUID(int=1), 1, pools, {REPLICATED: "r", ERASURE: "e"}, addresses)
    return replace(osdmap, crush=builder.build(), **changes)


def with_state(osdmap: OSDMap, **states: int) -> OSDMap:
    """`osd3=0`: OSD 3 is gone; 1: it exists, but is down."""
    state = [*osdmap.osd_state]
    for name, value in states.items():
        state[int(name.removeprefix("osd"))] = value
    return replace(osdmap, osd_state=state)


# as osdmaptool 16.2 says: up, its primary, acting, its primary
CAPTURED = {
    (1, 0): ((0,), 0, (0,), 0),
    (1, 1): ((10,), 10, (10,), 10),
    (1, 2): ((3, 11, 6), 3, (3, 7, 9), 3),
    (1, 3): ((10,), 10, (10,), 11),
    (1, 4): ((6, 0, 10), 6, (6, 0, 10), 6),
    (1, 5): ((10,), 10, (10,), 10),
    (2, 0): ((9, 2, NONE, NONE), 2, (9, 2, NONE, NONE), 2),
    (2, 1): ((9, NONE, 7, 0), 7, (0, NONE, NONE, NONE), 0),
    (2, 2): ((11, 5, NONE, 0), 11, (11, 5, NONE, 0), 11),
    (2, 3): ((10, NONE, 7, 0), 7, (10, NONE, 7, 0), 7),
}


def exceptional() -> OSDMap:
    """Everything at once; what osdmaptool makes of it is above."""
    osdmap = cluster(
        osd_weight=[WEIGHT_ONE, 0, 0x8000, *[WEIGHT_ONE] * 9],
        primary_affinity=[0, 0x4000, 0xC000, *[WEIGHT_ONE] * 6, 0, 0, 0x8000],
        pg_temp={PgId(1, 2): (3, 7, 9), PgId(2, 1): (0, NONE, 4, 8)},
        primary_temp={PgId(1, 3): 11},
        pg_upmap={PgId(1, 0): (0, 4, 8), PgId(1, 1): (1, 4, 8)},
        pg_upmap_items={PgId(2, 0): ((0, 2), (3, 5)), PgId(2, 3): ((9, 10), (6, 7), (11, 1))},
    )
    return with_state(osdmap, osd4=1, osd8=0)


@pytest.mark.parametrize("pg", CAPTURED, ids=str)
def test_placements_of_osdmaptool(pg):
    assert pg_to_up_acting(exceptional(), PgId(*pg)) == CAPTURED[pg]


# object → placement group


def test_from_a_name_to_a_group():
    osdmap = cluster(pools={5: PgPool(pg_num=12), 6: PgPool(pg_num=12, object_hash=1)})
    raw = osdmap.raw_pg("obj1", ObjectLocator(5))
    assert raw == PgId(5, 0x6CF8DEFF)
    assert osdmap.actual_pg(raw) == PgId(5, 7)  # 15 is beyond 12
    assert osdmap.raw_pg("obj1", ObjectLocator(5, hash=3)) == PgId(5, 3)
    assert osdmap.raw_pg("other", ObjectLocator(5, key="obj1")) == raw
    assert osdmap.raw_pg("obj1", ObjectLocator(6)) == PgId(6, 28399855)


def test_the_seed_of_a_group():
    pool = PgPool(pg_num=12, pgp_num=8)
    assert placement_seed(pool, PgId(5, 3)) == placement_seed(pool, PgId(5, 11)) == hash2(3, 5)
    assert placement_seed(replace(pool, flags=0), PgId(5, 11)) == 8


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.data())
def test_the_seed_is_the_same_before_and_after_the_cut(raw, pg_num, data):
    pool = PgPool(pg_num=pg_num, pgp_num=data.draw(st.integers(1, pg_num)))
    assert placement_seed(pool, PgId(1, raw)) == placement_seed(pool, PgId(1, stable_mod(raw, pg_num)))


def test_a_pool_that_places_no_groups():
    with pytest.raises(PeerError):
        placement_seed(PgPool(pg_num=4, pgp_num=0), PgId(1, 1))


# placement group → OSDs


def test_groups_that_do_not_exist_live_nowhere():
    nowhere = PgMapping((), NOBODY, (), NOBODY)
    for pg in (PgId(9, 0), PgId(REPLICATED, 6), PgId(REPLICATED, -1)):
        assert pg_to_up_acting(cluster(), pg) == nowhere


def test_a_rule_that_does_not_exist():
    osdmap = cluster(pools={REPLICATED: PgPool(pg_num=6, crush_rule=9)})
    assert pg_to_up_acting(osdmap, PgId(REPLICATED, 0)).up == ()


def test_ranks_close_in_replicated_pools_and_stay_open_in_erasure_pools():
    osdmap = cluster()
    for pool in (REPLICATED, ERASURE):
        before = pg_to_up_acting(osdmap, PgId(pool, 1))
        first, second, *others = before.up
        after = pg_to_up_acting(with_state(osdmap, **{f"osd{first}": 1}), PgId(pool, 1))
        assert after.up == ((second, *others) if pool == REPLICATED else (NONE, second, *others))
        assert after.up_primary == after.primary == second
        gone = with_state(osdmap, **{f"osd{second}": 0})
        raw = raw_osds(gone, pool, gone.pools[pool], placement_seed(gone.pools[pool], PgId(pool, 1)))
        assert raw == ([first, *others] if pool == REPLICATED else [first, NONE, *others])


def test_everybody_is_down():
    osdmap = cluster(osd_state=[1] * 12)
    assert pg_to_up_acting(osdmap, PgId(REPLICATED, 0)) == PgMapping((), NOBODY, (), NOBODY)
    assert pg_to_up_acting(osdmap, PgId(ERASURE, 0)) == PgMapping((NONE,) * 4, NOBODY, (NONE,) * 4, NOBODY)


@pytest.mark.parametrize(
    ("weights", "upmap", "items", "expected"),
    [
        ({}, (5, 6, 7), (), [5, 6, 7]),
        ({6: 0}, (5, 6, 7), ((0, 9),), [0, 1, 2]),  # nothing is done, not even the items
        ({}, (5, 6, -3), (), [5, 6, -3]),
        ({}, None, ((0, 9), (9, 10)), [10, 1, 2]),
        ({}, None, ((0, 2),), [0, 1, 2]),  # there already
        ({9: 0}, None, ((0, 9), (1, 8)), [0, 8, 2]),
        ({}, None, ((0, 900),), [900, 1, 2]),  # dropped later, as down
        ({}, None, ((7, 9),), [0, 1, 2]),
        ({}, (5, 6, 7), ((6, 1),), [5, 1, 7]),
    ],
)
def test_upmaps(weights, upmap, items, expected):
    osdmap = cluster(
        osd_weight=[weights.get(osd, WEIGHT_ONE) for osd in range(12)],
        pg_upmap={} if upmap is None else {PgId(1, 0): upmap},
        pg_upmap_items={PgId(1, 0): items},
    )
    assert upmapped(osdmap, PgId(1, 0), [0, 1, 2]) == expected
    assert upmapped(osdmap, PgId(1, 1), [0, 1, 2]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("primary", "expected"), [(0, [0, 1, 2]), (2, [2, 1, 0]), (5, [0, 1, 2]), (-1, [0, 1, 2]), (99, [0, 1, 2])]
)
def test_upmapped_primaries(primary, expected):
    osdmap = cluster(pg_upmap_primaries={PgId(1, 0): primary})
    assert upmapped(osdmap, PgId(1, 0), [0, 1, 2]) == expected


def test_an_upmapped_primary_that_is_out():
    osdmap = cluster(pg_upmap_primaries={PgId(1, 0): 2}, osd_weight=[WEIGHT_ONE, WEIGHT_ONE, 0, *[WEIGHT_ONE] * 9])
    assert upmapped(osdmap, PgId(1, 0), [0, 1, 2]) == [0, 1, 2]


def test_affinity():
    osdmap = cluster(primary_affinity=[0, 0, *[WEIGHT_ONE] * 10])
    replicated, erasure = osdmap.pools[REPLICATED], osdmap.pools[ERASURE]
    up = [0, 1, 5, 7]
    assert apply_primary_affinity(osdmap, replicated, 77, up) == 5
    assert up == [5, 0, 1, 7]
    up = [NONE, 1, 5, 7]
    assert apply_primary_affinity(osdmap, erasure, 77, up) == 5
    assert up == [NONE, 1, 5, 7]
    up = [NONE, 1, 0]
    assert apply_primary_affinity(osdmap, erasure, 77, up) == 1  # all refuse: the first
    assert apply_primary_affinity(osdmap, erasure, 77, [NONE]) == NOBODY
    assert apply_primary_affinity(cluster(), replicated, 77, [4, 1]) == 4


def test_affinity_is_a_share():
    osdmap = cluster(primary_affinity=[0x4000, *[WEIGHT_ONE] * 11])
    pool = osdmap.pools[ERASURE]
    taken = sum(apply_primary_affinity(osdmap, pool, seed, [0, 1]) == 0 for seed in range(2000))
    assert taken / 2000 == pytest.approx(0.25, abs=0.04)


def test_stand_ins():
    pg = PgId(REPLICATED, 0)
    usual = pg_to_up_acting(cluster(), pg)
    temp = cluster(pg_temp={pg: (9, 4, 2)})
    assert pg_to_up_acting(temp, pg) == PgMapping(usual.up, usual.up_primary, (9, 4, 2), 9)
    assert pg_to_up_acting(with_state(temp, osd9=1), pg).acting == (4, 2)
    assert pg_to_up_acting(replace(temp, primary_temp={pg: 2}), pg).primary == 2
    alone = cluster(primary_temp={pg: 11})
    assert pg_to_up_acting(alone, pg) == usual._replace(primary=11)
    # nobody of the stand-ins is left: the usual ones are in charge
    assert pg_to_up_acting(with_state(cluster(pg_temp={pg: (3,)}), osd3=1), pg).acting != ()


def test_stand_ins_of_an_erasure_pool_hold_their_positions():
    pg = PgId(ERASURE, 0)
    osdmap = with_state(cluster(pg_temp={pg: (3, 6)}), osd3=1, osd6=1)
    mapping = pg_to_up_acting(osdmap, pg)
    assert (mapping.acting, mapping.primary) == ((NONE, NONE), NOBODY)


def test_the_shard_of_the_primary():
    osdmap = cluster()
    erasure = osdmap.pools[ERASURE]
    assert primary_shard(erasure, PgMapping((), 4, (NONE, 4, 7, 4), 4)) == 1
    assert primary_shard(erasure, PgMapping((), -1, (NONE, NONE), NOBODY)) == NO_SHARD
    assert primary_shard(osdmap.pools[REPLICATED], PgMapping((), 4, (4, 7), 4)) == NO_SHARD


def test_what_only_later_clients_understand_is_refused():
    pools = {REPLICATED: PgPool(pg_num=6, flags=PoolFlag.HASHPSPOOL | PoolFlag.EC_OPTIMIZATIONS)}
    with pytest.raises(PeerError, match="ec_optimizations"):
        pg_to_up_acting(cluster(pools=pools), PgId(REPLICATED, 0))
    with pytest.raises(PeerError, match="type 2"):
        pg_to_up_acting(cluster(pools={REPLICATED: PgPool(pg_num=6, type=2)}), PgId(REPLICATED, 0))


@given(st.lists(st.sampled_from([0, 1, 3, 3, 3]), min_size=12, max_size=12), st.sampled_from([REPLICATED, ERASURE]))
def test_only_those_that_are_up_serve(state, pool):
    osdmap = cluster(osd_state=state)
    for seed in range(4):
        up, up_primary, acting, primary = pg_to_up_acting(osdmap, PgId(pool, seed))
        assert (acting, primary) == (up, up_primary)
        osds = [osd for osd in up if osd != NONE]
        assert all(state[osd] == 3 for osd in osds)
        assert primary == (osds[0] if osds else NOBODY)
        assert pool == REPLICATED or len(up) == 4


def test_the_map_remembers():
    osdmap = cluster()
    assert osdmap.pg_to_osds(PgId(REPLICATED, 1)) is osdmap.pg_to_osds(PgId(REPLICATED, 1))
    assert osdmap.pg_to_osds(PgId(REPLICATED, 1)) == pg_to_up_acting(osdmap, PgId(REPLICATED, 1))
