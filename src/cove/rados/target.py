"""Where an operation goes: pool → placement group → primary OSD, and whether it has to wait.

One `Targets` is made for each epoch of the OSD map; it remembers the placement of the objects that were asked for
(hashing a name costs more than the rest of a submission), and answers nothing from an older map.

Source: Ceph's Objecter::_calc_target; doc/dev/osd_internals/map_message_handling.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from ..wire.errors import PeerError
from ..wire.hashing import stable_mod
from ..wire.osd_ops import RequestFlag
from ..wire.osdmap import NOWHERE, MapFlag, OSDMap, PoolFlag
from ..wire.placement import primary_shard
from ..wire.types import ObjectLocator, PgId

CACHE_OBJECTS_MAX = 65536

ObjectKey = tuple[int, str, str, str]
"""Identity of an object for placement and ordering: pool number, name, locator key, namespace."""

_IGNORES_FULL = RequestFlag.FULL_TRY | RequestFlag.FULL_FORCE
_READ = int(RequestFlag.READ)
_WRITE = int(RequestFlag.WRITE)
_POOL_FULL = int(PoolFlag.FULL)
_POOL_EIO = int(PoolFlag.EIO)


class Recalc(IntEnum):
    """What a new look at the map means for an operation."""

    NO_ACTION = 0
    NEED_RESEND = 1
    POOL_DNE = 2
    POOL_EIO = 3
    POOL_UNSUPPORTED = 4


class PgTarget(NamedTuple):
    """Placement of one object in one epoch: hash, placement group, primary OSD (-1: none is up) and its shard."""

    raw_hash: int
    pg: PgId
    osd: int
    force_resend: int
    refused: Recalc | None
    """What operations on the pool end with, whatever they are; None if they go on."""
    shard: int = -1
    """Position of the primary in the acting set of an erasure-coded pool; -1 in a replicated one."""
    pg_num: int = 0
    """How many placement groups the pool has."""
    acting: tuple[int, ...] = ()
    """The acting set out of which `osd` was chosen for a read that any replica may serve; else empty."""

    def was_split_or_merged(self, old: PgTarget) -> bool:
        """Whether this group has got another size since: its OSD has then dropped what it had not begun.

        (It does so where clients say, by the feature RESEND_ON_SPLIT, that they send again. Ours do.)
        """
        less, more = sorted((self.pg_num, old.pg_num))
        if less <= 0:
            return False
        seed, step = (
            self.pg.seed,
            max(1 << (less - 1).bit_length() >> 1, 1),
        )  # what stable_mod maps to it is so far apart
        return any(stable_mod(other, less) == seed for other in range(less + (seed - less) % step, more, step))


class Targets:
    """Placement and gates of one epoch of the map."""

    __slots__ = (
        "_full_pools",
        "cache",
        "cluster_full",
        "epoch",
        "gated",
        "osdmap",
        "pause_reads",
        "pause_writes",
        "unsupported",
    )

    def __init__(self, osdmap: OSDMap, barrier_epoch: int = 0) -> None:
        self.osdmap = osdmap
        self.epoch = osdmap.epoch
        self.cache: dict[ObjectKey, PgTarget] = {}
        self.unsupported: dict[int, str] = {
            number: "the pool has a cache tier, and cache tiers are not supported"
            for number, pool in osdmap.pools.items()
            if pool.has_tier
        }
        """Pools that this client can't use, and why."""
        flags = int(osdmap.flags)
        self.pause_reads = bool(flags & MapFlag.PAUSERD)
        self.pause_writes = bool(flags & MapFlag.PAUSEWR)
        self.cluster_full = bool(flags & MapFlag.FULL)
        self._full_pools = frozenset(number for number, pool in osdmap.pools.items() if int(pool.flags) & _POOL_FULL)
        self.gated = False
        self.set_barrier(barrier_epoch)

    def set_barrier(self, barrier_epoch: int) -> None:
        """Gate everything while the map is older than the barrier."""
        self.gated = bool(
            self.pause_reads or self.pause_writes or self.cluster_full or self._full_pools or self.epoch < barrier_epoch
        )

    def is_full(self, pool: int) -> bool:
        """Whether writes to the pool that respect the full flags have to wait."""
        return self.cluster_full or pool in self._full_pools

    def is_paused(self, flags: int, pool: int, barrier_epoch: int) -> bool:
        """Whether an operation with these request flags has to wait for another map."""
        if self.epoch < barrier_epoch:
            return True
        if flags & _READ and self.pause_reads:
            return True
        if not flags & _WRITE:
            return False
        return self.pause_writes or (self.is_full(pool) and not flags & _IGNORES_FULL)

    def needs_continuous_maps(self) -> bool:
        """Whether every further map is wanted, not only the next one."""
        return self.pause_reads or self.pause_writes or self.cluster_full

    def locate(self, key: ObjectKey, locator: ObjectLocator) -> PgTarget | None:
        """Placement of an object, or of a placement group (`locator.hash` set). None: the pool does not exist."""
        pool = self.osdmap.pools.get(locator.pool)
        if pool is None:
            return None
        refused = Recalc.POOL_EIO if int(pool.flags) & _POOL_EIO else None
        try:
            raw = self.osdmap.raw_pg(key[1], locator)
            pg = self.osdmap.actual_pg(raw)
            mapping = self.osdmap.pg_to_osds(pg)
        except PeerError as problem:
            self.unsupported[locator.pool] = str(problem)
            raw, mapping = PgId(locator.pool, 0), NOWHERE
            pg = raw
        if locator.pool in self.unsupported:
            refused = Recalc.POOL_UNSUPPORTED
        primary = mapping.primary
        if primary >= 0 and not (self.osdmap.is_up(primary) and self.osdmap.is_reachable(primary)):
            primary = -1
        target = PgTarget(
            raw.seed, pg, primary, pool.last_force_op_resend, refused, primary_shard(pool, mapping), pool.pg_num
        )
        if locator.hash < 0:
            if len(self.cache) >= CACHE_OBJECTS_MAX:
                self.cache.clear()
            self.cache[key] = target
        return target
