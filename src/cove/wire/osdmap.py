"""The cluster map of OSDs: pools, where they are placed, who is up and where, and all exceptions from CRUSH's choice.

A map is a value: it is never changed, `osdmap_apply.apply_incremental` makes the next epoch from it, and shares with it
all that stays. An Objecter asks it for the placement group of an object, that group's OSDs, and an OSD's address; the
arithmetic behind is in `placement.py` and `crush/`. How it is written is in `osdmap_codec.py`.

Source: Ceph's osd/OSDMap.h, osd/osd_types.h (`osd_info_t`, `osd_xinfo_t`), include/rados.h (flags).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID, uuid5

from .address import AddrVec, EntityAddr, msgr2_address
from .crush.map import CrushMap
from .errors import PeerError
from .features import SUPPORTED
from .hashing import OBJECT_HASH_RJENKINS, object_hash, stable_mod
from .intervals import IntervalSet
from .pool import PgPool, PoolFlag
from .types import ObjectLocator, PgId

__all__ = [
    "IN",
    "MapFlag",
    "OSDMap",
    "OsdInfo",
    "OsdOnly",
    "OsdState",
    "OsdXInfo",
    "PgMapping",
    "PgPool",
    "PoolFlag",
    "StretchMode",
    "simple_osdmap",
]

IN = 0x10000
"""Weight of an OSD that is wholly in, and the affinity of one that may always be primary: 1.0 as 16.16."""
RELEASE_PACIFIC = 16
RELEASE_LUMINOUS = 12


class MapFlag(IntFlag):
    """Flags of the whole cluster."""

    NEARFULL = 1
    FULL = 1 << 1
    PAUSERD = 1 << 2
    PAUSEWR = 1 << 3
    PAUSEREC = 1 << 4
    NOUP = 1 << 5
    NODOWN = 1 << 6
    NOOUT = 1 << 7
    NOIN = 1 << 8
    NOBACKFILL = 1 << 9
    NORECOVER = 1 << 10
    NOSCRUB = 1 << 11
    NODEEP_SCRUB = 1 << 12
    NOTIERAGENT = 1 << 13
    NOREBALANCE = 1 << 14
    SORTBITWISE = 1 << 15
    REQUIRE_JEWEL = 1 << 16
    REQUIRE_KRAKEN = 1 << 17
    REQUIRE_LUMINOUS = 1 << 18
    RECOVERY_DELETES = 1 << 19
    PURGED_SNAPDIRS = 1 << 20
    NOSNAPTRIM = 1 << 21
    PGLOG_HARDLIMIT = 1 << 22
    NOAUTOSCALE = 1 << 23


USUAL_FLAGS = int(MapFlag.SORTBITWISE | MapFlag.RECOVERY_DELETES | MapFlag.PURGED_SNAPDIRS | MapFlag.PGLOG_HARDLIMIT)
"""What every cluster since Nautilus has."""


class OsdState(IntFlag):
    """Bits of an OSD's state. Whether it is in is told by its weight."""

    EXISTS = 1
    UP = 1 << 1
    AUTOOUT = 1 << 2
    NEW = 1 << 3
    FULL = 1 << 4
    NEARFULL = 1 << 5
    BACKFILLFULL = 1 << 6
    DESTROYED = 1 << 7
    NOUP = 1 << 8
    NODOWN = 1 << 9
    NOIN = 1 << 10
    NOOUT = 1 << 11
    STOP = 1 << 12


_EXISTS_AND_UP = int(OsdState.EXISTS | OsdState.UP)


class OsdInfo(NamedTuple):
    """Epochs of an OSD's life."""

    last_clean_begin: int = 0
    last_clean_end: int = 0
    up_from: int = 0
    up_thru: int = 0
    down_at: int = 0
    lost_at: int = 0


class OsdXInfo(NamedTuple):
    """What else is known of an OSD."""

    down_stamp_ns: int = 0
    laggy_probability: int = 0
    """In 1/0xffffffff."""
    laggy_interval: int = 0
    features: int = 0
    old_weight: int = 0
    last_purged_snaps_scrub_ns: int = 0
    dead_epoch: int = 0


class StretchMode(NamedTuple):
    """The cluster stands on two sites and a tie-breaker."""

    enabled: bool = False
    bucket_count: int = 0
    degraded: int = 0
    recovering: int = 0
    bucket_type: int = 0


class PgMapping(NamedTuple):
    """Where a placement group should live (up) and lives (acting), each with its primary (-1: nobody).

    In the sets of erasure-coded pools, whose positions are shards, 0x7fffffff stands for nobody.
    """

    up: tuple[int, ...]
    up_primary: int
    acting: tuple[int, ...]
    primary: int


NOWHERE = PgMapping((), -1, (), -1)
"""The mapping of a placement group that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsdOnly:
    """The part of the map that clients don't need; it is kept for those that pass the map on."""

    hb_back_addrs: list[AddrVec] = field(default_factory=list)
    osd_info: list[OsdInfo] = field(default_factory=list)
    blocklist: dict[EntityAddr, int] = field(default_factory=dict)
    """Clients that are shut out, and until when (ns since the epoch)."""
    cluster_addrs: list[AddrVec] = field(default_factory=list)
    cluster_snapshot_epoch: int = 0
    cluster_snapshot: str = ""
    osd_uuid: list[UUID] = field(default_factory=list)
    osd_xinfo: list[OsdXInfo] = field(default_factory=list)
    hb_front_addrs: list[AddrVec] = field(default_factory=list)
    nearfull_ratio: float = 0.0
    full_ratio: float = 0.0
    backfillfull_ratio: float = 0.0
    require_min_compat_client: int = 0
    require_osd_release: int = 0
    """Number of a release: 16 is Pacific."""
    removed_snaps_queue: dict[int, IntervalSet] = field(default_factory=dict)
    crush_node_flags: dict[int, int] = field(default_factory=dict)
    device_class_flags: dict[int, int] = field(default_factory=dict)
    stretch: StretchMode = StretchMode()
    range_blocklist: dict[EntityAddr, int] = field(default_factory=dict)
    allow_crimson: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OSDMap:
    """One epoch of the map. All lists have `max_osd` entries, `primary_affinity` has those or none.

    Times are in nanoseconds since the epoch, weights and affinities 16.16.
    """

    fsid: UUID
    epoch: int
    created_ns: int = 0
    modified_ns: int = 0
    pools: dict[int, PgPool] = field(default_factory=dict)
    pool_names: dict[int, str] = field(default_factory=dict)
    pool_max: int = 0
    """The highest pool number ever used."""
    flags: int = USUAL_FLAGS
    """`MapFlag`s, those that are not known among them."""
    max_osd: int = 0
    osd_state: list[int] = field(default_factory=list)
    """Bits of `OsdState`."""
    osd_weight: list[int] = field(default_factory=list)
    client_addrs: list[AddrVec] = field(default_factory=list)
    pg_temp: dict[PgId, tuple[int, ...]] = field(default_factory=dict)
    primary_temp: dict[PgId, int] = field(default_factory=dict)
    primary_affinity: list[int] = field(default_factory=list)
    crush: CrushMap = field(default_factory=lambda: CrushMap.simple(()))
    erasure_code_profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    pg_upmap: dict[PgId, tuple[int, ...]] = field(default_factory=dict)
    pg_upmap_items: dict[PgId, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    crush_version: int = 0
    new_removed_snaps: dict[int, IntervalSet] = field(default_factory=dict)
    """Snapshots of each pool that this epoch removed."""
    new_purged_snaps: dict[int, IntervalSet] = field(default_factory=dict)
    last_up_change_ns: int = 0
    last_in_change_ns: int = 0
    pg_upmap_primaries: dict[PgId, int] = field(default_factory=dict)
    osd_only: OsdOnly = field(default_factory=OsdOnly)
    _by_name: dict[str, int] = field(init=False, repr=False, compare=False)
    _mappings: dict[PgId, PgMapping] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {name: number for number, name in self.pool_names.items()})
        object.__setattr__(self, "_mappings", {})

    # OSDs

    def exists(self, osd: int) -> bool:
        """Whether there is such an OSD."""
        return 0 <= osd < self.max_osd and bool(self.osd_state[osd] & 1)

    def is_up(self, osd: int) -> bool:
        """Whether there is such an OSD, and it is running."""
        return 0 <= osd < self.max_osd and self.osd_state[osd] & _EXISTS_AND_UP == _EXISTS_AND_UP

    def address_of(self, osd: int) -> str:
        """Where clients reach an OSD by msgr2, e.g. `v2:127.0.0.1:6800/4242`; empty if nowhere."""
        addr = msgr2_address(self.client_addrs[osd]) if 0 <= osd < self.max_osd else None
        return "" if addr is None else str(addr)

    def is_reachable(self, osd: int) -> bool:
        """Whether an OSD has an address that speaks msgr2."""
        return 0 <= osd < self.max_osd and msgr2_address(self.client_addrs[osd]) is not None

    # pools and placement

    def pool_id(self, name: str) -> int | None:
        """Number of the pool with that name, None if there is none."""
        return self._by_name.get(name)

    def raw_pg(self, oid: str, locator: ObjectLocator) -> PgId:
        """The placement group before stable_mod: its seed is the whole 32-bit hash. Raises PeerError."""
        if locator.hash >= 0:
            return PgId(locator.pool, locator.hash)
        pool = self.pools.get(locator.pool)
        kind = OBJECT_HASH_RJENKINS if pool is None else pool.object_hash
        return PgId(locator.pool, cached_object_hash(oid, locator.key, locator.nspace, kind))

    def actual_pg(self, raw: PgId) -> PgId:
        """The placement group that the hash falls into with the pool's present PG count. Raises PeerError."""
        count = self.pools[raw.pool].pg_num
        if count <= 0:
            raise PeerError(f"pool {raw.pool} has {count} placement groups")
        return PgId(raw.pool, stable_mod(raw.seed, count))

    def pg_to_osds(self, pg: PgId) -> PgMapping:
        """Up and acting sets of a placement group; computed once for each. Raises PeerError (`pg_to_up_acting`)."""
        mapping = self._mappings.get(pg)
        if mapping is None:
            from .placement import pg_to_up_acting  # it needs the types above

            mapping = self._mappings[pg] = pg_to_up_acting(self, pg)
        return mapping


cached_object_hash = lru_cache(maxsize=65536)(object_hash)
"""Hashing a name costs some 15 µs: the data objects of an open image come again and again."""


def simple_osdmap(
    fsid: UUID,
    epoch: int,
    pools: Mapping[int, PgPool],
    names: Mapping[int, str],
    osds: Mapping[int, str],
    *,
    flags: int = USUAL_FLAGS,
    features: int = SUPPORTED,
    pool_max: int = 0,
    now_ns: int = 0,
) -> OSDMap:
    """The map of a cluster on one host whose OSDs (number → address) are all up and in. Raises UsageError.

    It has all that other clients look for: addresses for heartbeats, ids and features of the OSDs, ratios, releases.
    """
    count = max(osds, default=-1) + 1
    addrs: list[AddrVec] = [()] * count
    for osd, address in osds.items():
        addrs[osd] = (EntityAddr.parse(address),)
    there = [osd in osds for osd in range(count)]
    return OSDMap(
        fsid=fsid,
        epoch=epoch,
        created_ns=now_ns,
        modified_ns=now_ns,
        pools=dict(pools),
        pool_names=dict(names),
        pool_max=max(pool_max, *pools, 0),
        flags=int(flags),
        max_osd=count,
        osd_state=[_EXISTS_AND_UP if present else 0 for present in there],
        osd_weight=[IN if present else 0 for present in there],
        client_addrs=addrs,
        crush=_simple_crush(tuple(osds)),
        osd_only=OsdOnly(
            hb_back_addrs=addrs,
            hb_front_addrs=addrs,
            cluster_addrs=addrs,
            osd_info=[OsdInfo(up_from=1) if present else OsdInfo() for present in there],
            osd_uuid=[uuid5(fsid, f"osd.{osd}") if there[osd] else UUID(int=0) for osd in range(count)],
            osd_xinfo=[OsdXInfo(features=features) if present else OsdXInfo() for present in there],
            nearfull_ratio=_as_f32(0.85),
            full_ratio=_as_f32(0.95),
            backfillfull_ratio=_as_f32(0.9),
            require_min_compat_client=RELEASE_LUMINOUS,
            require_osd_release=RELEASE_PACIFIC,
        ),
    )


_simple_crush = lru_cache(maxsize=16)(CrushMap.simple)


def _as_f32(value: float) -> float:
    """The nearest number that the map can carry, so that a map equals what is read back."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])
