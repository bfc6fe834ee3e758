"""How full the cluster and its pools are.

Source: Ceph's librados (`rados_cluster_stat_t`, `rados_pool_stat_t`), osd/osd_types.h (`pool_stat_t`).
"""

from __future__ import annotations

from typing import NamedTuple

from ..wire.pool_stats import PoolStat


class ClusterStat(NamedTuple):
    """Space in KiB and number of objects of the whole cluster."""

    kb: int
    kb_used: int
    kb_avail: int
    num_objects: int


class PoolStats(NamedTuple):
    """One pool. Copies are replicas or shards; reads and writes are counted since the pool was created."""

    num_bytes: int
    """What users have stored, without copies."""
    bytes_used: int
    """What it takes in the stores, with copies, if they count that for each pool; else as `num_bytes`."""
    num_objects: int
    num_object_clones: int
    num_object_copies: int
    num_objects_missing_on_primary: int
    num_objects_degraded: int
    num_objects_misplaced: int
    num_objects_unfound: int
    num_omap_bytes: int
    num_omap_keys: int
    num_rd: int
    num_rd_kb: int
    num_wr: int
    num_wr_kb: int


NEW_POOL = PoolStats(*[0] * len(PoolStats._fields))
"""A pool of which the managers have not heard yet."""


def pool_stats_of(stat: PoolStat, per_pool: bool) -> PoolStats:
    """From the monitor's answer; `per_pool`: the stores count their space for each pool."""
    counters = {name: stat.counters.get(name, 0) for name in PoolStats._fields if name != "bytes_used"}
    used = stat.statfs.allocated + stat.statfs.omap_allocated if per_pool else counters["num_bytes"]
    return PoolStats(bytes_used=used, **counters)
