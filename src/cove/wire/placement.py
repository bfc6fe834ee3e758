"""From an object's placement group to the OSDs that hold it.

    name ── OSDMap.raw_pg (hash) ── OSDMap.actual_pg (stable_mod) ── pg ── seed (pps) ── CRUSH rule ── raw set
      ── pg_upmap, pg_upmap_items, pg_upmap_primaries ── without those that are down ── primary affinity ── up
      ── pg_temp, primary_temp ── acting: the OSDs in charge now; its primary takes the requests

Replicated pools close ranks where an OSD is missing. In erasure pools the position is the shard, so that a missing
OSD leaves a hole (ITEM_NONE). All functions are pure: an OSD map in, a placement out.

Source: Ceph's osd/OSDMap.cc (_pg_to_raw_osds, _apply_upmap, _raw_to_up_osds, _apply_primary_affinity, _get_temp_osds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .crush.hash import hash2
from .crush.map import ITEM_NONE, WEIGHT_ONE
from .crush.mapper import do_rule
from .errors import PeerError
from .hashing import stable_mod
from .osdmap import PgMapping
from .pool import PgPool, PoolFlag, PoolType
from .types import PgId

if TYPE_CHECKING:
    from .osdmap import OSDMap

NOBODY: Final = -1
"""In place of a primary: there is none."""
NO_SHARD: Final = -1
"""In place of a shard: the pool is replicated."""

_HASHPSPOOL: Final = int(PoolFlag.HASHPSPOOL)
_EC_OPTIMIZATIONS: Final = int(PoolFlag.EC_OPTIMIZATIONS)
_NOWHERE: Final = PgMapping((), NOBODY, (), NOBODY)


def placement_seed(pool: PgPool, pg: PgId) -> int:
    """What the CRUSH rule is run with (pps). Groups beyond pgp_num stay with the one they were split from."""
    if pool.pgp_num <= 0:
        raise PeerError(f"pool {pg.pool} places {pool.pgp_num} groups")
    seed = stable_mod(pg.seed, pool.pgp_num)
    if pool.flags & _HASHPSPOOL:
        return hash2(seed, pg.pool)
    return seed + pg.pool & 0xFFFFFFFF


def pg_to_up_acting(osdmap: OSDMap, pg: PgId) -> PgMapping:
    """Where a group should live (up) and lives (acting). A group that does not exist lives nowhere.

    Raises PeerError for a map that can't be followed: a pool of an unknown type, or of a kind that only later
    clients can use, or a CRUSH rule that does not come to an end.
    """
    pool = osdmap.pools.get(pg.pool)
    if pool is None or not 0 <= pg.seed < pool.pg_num:
        return _NOWHERE
    if pool.flags & _EC_OPTIMIZATIONS:
        raise PeerError(f"pool {pg.pool} has ec_optimizations, which this client does not know")
    seed = placement_seed(pool, pg)
    raw = upmapped(osdmap, pg, raw_osds(osdmap, pg.pool, pool, seed))
    up = _keep(osdmap, pool, raw, _EXISTS_AND_UP)
    up_primary = apply_primary_affinity(osdmap, pool, seed, up)
    temp, primary = temporary(osdmap, pg, pool)
    acting = temp or up
    if primary == NOBODY and not temp:
        primary = up_primary
    return PgMapping(tuple(up), up_primary, tuple(acting), primary)


def raw_osds(osdmap: OSDMap, number: int, pool: PgPool, seed: int) -> list[int]:
    """What CRUSH gives to a placement seed of pool `number`, as far as those OSDs exist."""
    osds = do_rule(osdmap.crush, pool.crush_rule, seed, pool.size, osdmap.osd_weight, number)
    return _keep(osdmap, pool, osds, _EXISTS)


def upmapped(osdmap: OSDMap, pg: PgId, raw: list[int]) -> list[int]:
    """The raw set after the exceptions that balancers and operators have put into the map."""
    weights = osdmap.osd_weight

    def is_out(osd: int) -> bool:
        return 0 <= osd < len(weights) and not weights[osd]

    replacement = osdmap.pg_upmap.get(pg)
    if replacement is not None:
        if any(is_out(osd) for osd in replacement):
            return raw
        raw = list(replacement)
    for source, target in osdmap.pg_upmap_items.get(pg, ()):
        if source in raw and target not in raw and not is_out(target):
            raw[raw.index(source)] = target
    primary = osdmap.pg_upmap_primaries.get(pg)
    if primary is not None and 0 <= primary < len(weights) and weights[primary] and primary in raw[1:]:
        at = raw.index(primary, 1)
        raw[0], raw[at] = primary, raw[0]
    return raw


def apply_primary_affinity(osdmap: OSDMap, pool: PgPool, seed: int, up: list[int]) -> int:
    """The primary of an up set. In replicated pools it is moved to the front of `up`."""
    present = [osd for osd in up if osd != ITEM_NONE]
    if not present:
        return NOBODY
    affinity = osdmap.primary_affinity
    if not affinity or all(affinity[osd] == WEIGHT_ONE for osd in present):
        return present[0]
    for osd in present:
        # an OSD with a lower affinity refuses its share of the groups, unless all do
        if affinity[osd] >= WEIGHT_ONE or hash2(seed, osd) >> 16 < affinity[osd]:
            primary = osd
            break
    else:
        primary = present[0]
    if pool.type == PoolType.REPLICATED:
        up.remove(primary)
        up.insert(0, primary)
    return primary


def temporary(osdmap: OSDMap, pg: PgId, pool: PgPool) -> tuple[list[int], int]:
    """The set and the primary that stand in while OSDs catch up: empty or NOBODY where nobody does."""
    entry = osdmap.pg_temp.get(pg)
    osds = _keep(osdmap, pool, entry, _EXISTS_AND_UP) if entry else []
    primary = osdmap.primary_temp.get(pg, NOBODY)
    if primary == NOBODY:
        primary = next((osd for osd in osds if osd != ITEM_NONE), NOBODY)
    return osds, primary


def primary_shard(pool: PgPool, mapping: PgMapping) -> int:
    """Which shard of an erasure-coded group its primary holds; NO_SHARD in replicated pools, or without a primary."""
    if pool.type != PoolType.ERASURE or mapping.primary not in mapping.acting:
        return NO_SHARD
    return mapping.acting.index(mapping.primary)


_EXISTS: Final = 1
_EXISTS_AND_UP: Final = 3


def _keep(osdmap: OSDMap, pool: PgPool, osds: Sequence[int], wanted: int) -> list[int]:
    """The OSDs that have all `wanted` bits of their state: without the others, or with holes for them."""
    state = osdmap.osd_state
    known = len(state)
    if pool.type == PoolType.REPLICATED:
        return [osd for osd in osds if 0 <= osd < known and state[osd] & wanted == wanted]
    if pool.type == PoolType.ERASURE:
        return [osd if 0 <= osd < known and state[osd] & wanted == wanted else ITEM_NONE for osd in osds]
    raise PeerError(f"a pool of type {pool.type}, neither replicated nor erasure-coded")
