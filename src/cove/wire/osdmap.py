"""The cluster map of OSDs: pools, where they are placed, and who is up.

A thin slice: it holds what an Objecter needs to find the primary of an object. A map without a CRUSH map (the
embedded store's) has one OSD, which is the primary of every placement group.

Source: Ceph's osd/OSDMap.h, osd/osd_types.h (`pg_pool_t`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from functools import lru_cache
from uuid import UUID

from .hashing import object_hash, stable_mod
from .types import ObjectLocator, PgId


class MapFlag(IntFlag):
    """Flags of the whole cluster."""

    NEARFULL = 1
    FULL = 2
    PAUSERD = 4
    PAUSEWR = 8


class PoolFlag(IntFlag):
    """Flags of a pool."""

    HASHPSPOOL = 1
    FULL = 2
    FULL_QUOTA = 1 << 10
    SELFMANAGED_SNAPS = 1 << 13
    EIO = 1 << 15


@dataclass(frozen=True, slots=True)
class PgPool:
    """A pool: its name, PG count, flags, and the newest snapshot id handed out."""

    name: str
    pg_num: int
    flags: PoolFlag = PoolFlag.HASHPSPOOL
    size: int = 1
    snap_seq: int = 0
    last_force_op_resend: int = 0


@dataclass(frozen=True, slots=True)
class OsdState:
    """One OSD as the map knows it."""

    address: str
    up: bool = True


@dataclass(frozen=True, slots=True)
class PgMapping:
    """Where a placement group lives: the acting set, whose first is the primary (-1: nobody)."""

    acting: tuple[int, ...]
    primary: int


@dataclass(frozen=True)
class OSDMap:
    """One epoch of the map."""

    fsid: UUID
    epoch: int
    pools: dict[int, PgPool]
    osds: dict[int, OsdState]
    flags: MapFlag = MapFlag(0)
    _by_name: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {pool.name: number for number, pool in self.pools.items()})

    def pool_id(self, name: str) -> int | None:
        """Number of the pool with that name, None if there is none."""
        return self._by_name.get(name)

    def raw_pg(self, oid: str, locator: ObjectLocator) -> PgId:
        """The placement group before stable_mod: its seed is the whole 32-bit hash."""
        seed = locator.hash if locator.hash >= 0 else cached_object_hash(oid, locator.key, locator.nspace)
        return PgId(locator.pool, seed)

    def actual_pg(self, raw: PgId) -> PgId:
        """The placement group that the hash falls into with the pool's present PG count."""
        return PgId(raw.pool, stable_mod(raw.seed, self.pools[raw.pool].pg_num))

    def pg_to_osds(self, pg: PgId) -> PgMapping:
        """Acting set and primary of a placement group."""
        acting = tuple(number for number, osd in self.osds.items() if osd.up)[:1]
        return PgMapping(acting, acting[0] if acting else -1)


cached_object_hash = lru_cache(maxsize=65536)(object_hash)
"""Hashing a name costs some 15 µs: the data objects of an open image come again and again."""
