"""A pool as the OSD map holds it: kind, placement, snapshots, quotas, flags, options (`pg_pool_t`).

A client needs of it: PG counts and rule (placement), snapshot ids, flags, and whether a cache tier stands before it.
Everything else is kept, so that a map that is changed by an increment can be encoded again. The name is not here:
`OSDMap.pool_names` has it. How a pool is written is in `pool_codec.py`.

Source: Ceph's osd/osd_types.h (`pg_pool_t`, `pool_opts_t`, `pg_merge_meta_t`, `HitSet::Params`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import NamedTuple

from .intervals import IntervalSet
from .types import EVersion, PgId


class PoolType(IntEnum):
    """How a pool protects its objects."""

    REPLICATED = 1
    ERASURE = 3


class PoolFlag(IntFlag):
    """Flags of a pool."""

    HASHPSPOOL = 1
    FULL = 1 << 1
    EC_OVERWRITES = 1 << 2
    INCOMPLETE_CLONES = 1 << 3
    NODELETE = 1 << 4
    NOPGCHANGE = 1 << 5
    NOSIZECHANGE = 1 << 6
    WRITE_FADVISE_DONTNEED = 1 << 7
    NOSCRUB = 1 << 8
    NODEEP_SCRUB = 1 << 9
    FULL_QUOTA = 1 << 10
    NEARFULL = 1 << 11
    BACKFILLFULL = 1 << 12
    SELFMANAGED_SNAPS = 1 << 13
    POOL_SNAPS = 1 << 14
    CREATING = 1 << 15
    EIO = 1 << 16
    BULK = 1 << 17
    CRIMSON = 1 << 18
    EC_OPTIMIZATIONS = 1 << 19


_SNAP_MODES = int(PoolFlag.SELFMANAGED_SNAPS | PoolFlag.POOL_SNAPS)


class PoolSnap(NamedTuple):
    """A snapshot of the whole pool."""

    snapid: int
    stamp_ns: int
    name: str


class HitSetParams(NamedTuple):
    """How a cache tier counts hits: type 0 not at all, 1 and 2 exactly, 3 in a bloom filter with these parameters."""

    type: int = 0
    false_positive_micro: int = 0
    target_size: int = 0
    seed: int = 0


class MergeMeta(NamedTuple):
    """The last merge of two placement groups."""

    source: PgId = PgId(0, 0)
    ready_epoch: int = 0
    last_epoch_started: int = 0
    last_epoch_clean: int = 0
    source_version: EVersion = EVersion(0, 0)
    target_version: EVersion = EVersion(0, 0)


class PeeringCrush(NamedTuple):
    """What a pool stretched over two sites demands of the buckets that its acting set is in."""

    bucket_count: int
    bucket_target: int
    bucket_barrier: int
    mandatory_member: int


class OptKey(IntEnum):
    """The options that have a meaning today; others are kept as well."""

    SCRUB_MIN_INTERVAL = 0
    SCRUB_MAX_INTERVAL = 1
    DEEP_SCRUB_INTERVAL = 2
    RECOVERY_PRIORITY = 3
    RECOVERY_OP_PRIORITY = 4
    SCRUB_PRIORITY = 5
    COMPRESSION_MODE = 6
    COMPRESSION_ALGORITHM = 7
    COMPRESSION_REQUIRED_RATIO = 8
    COMPRESSION_MAX_BLOB_SIZE = 9
    COMPRESSION_MIN_BLOB_SIZE = 10
    CSUM_TYPE = 11
    CSUM_MAX_BLOCK = 12
    CSUM_MIN_BLOCK = 13
    FINGERPRINT_ALGORITHM = 14
    PG_NUM_MIN = 15
    TARGET_SIZE_BYTES = 16
    TARGET_SIZE_RATIO = 17
    PG_AUTOSCALE_BIAS = 18
    READ_LEASE_INTERVAL = 19
    DEDUP_TIER = 20
    DEDUP_CHUNK_ALGORITHM = 21
    DEDUP_CDC_CHUNK_SIZE = 22
    PG_NUM_MAX = 23
    READ_RATIO = 24
    PCT_UPDATE_DELAY = 25


AS_PG_NUM = -1
"""Default of the counts that are the same as the PG count unless a split or merge is going on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PgPool:
    """A pool. The defaults are those of a plain replicated pool of three copies, without an application."""

    pg_num: int
    type: int = PoolType.REPLICATED
    size: int = 3
    min_size: int = 2
    crush_rule: int = 0
    object_hash: int = 2
    """2 rjenkins, 1 the Linux directory cache's."""
    pgp_num: int = AS_PG_NUM
    flags: int = PoolFlag.HASHPSPOOL
    """`PoolFlag`s, those that are not known among them."""
    last_change: int = 0
    snap_seq: int = 0
    """The newest snapshot id handed out."""
    snap_epoch: int = 0
    snaps: dict[int, PoolSnap] = field(default_factory=dict)
    """Snapshots of the pool as a whole, by id."""
    removed_snaps: IntervalSet = ()
    quota_max_bytes: int = 0
    quota_max_objects: int = 0
    tiers: tuple[int, ...] = ()
    tier_of: int = -1
    cache_mode: int = 0
    read_tier: int = -1
    """The pool that reads are to be sent to instead; -1 none."""
    write_tier: int = -1
    hit_set_params: HitSetParams = HitSetParams()
    hit_set_period: int = 0
    hit_set_count: int = 0
    stripe_width: int = 0
    """Bytes of one stripe over the data shards of an erasure-coded pool; 0 for a replicated one."""
    target_max_bytes: int = 0
    target_max_objects: int = 0
    cache_target_dirty_ratio_micro: int = 0
    cache_target_full_ratio_micro: int = 0
    cache_min_flush_age: int = 0
    cache_min_evict_age: int = 0
    erasure_code_profile: str = ""
    last_force_op_resend: int = 0
    """Epoch in which clients had to send everything again, by what today's clients look at."""
    last_force_op_resend_preluminous: int = 0
    last_force_op_resend_prenautilus: int = 0
    min_read_recency_for_promote: int = 0
    min_write_recency_for_promote: int = 0
    expected_num_objects: int = 0
    cache_target_dirty_high_ratio_micro: int = 0
    use_gmt_hitset: bool = True
    fast_read: bool = False
    hit_set_grade_decay_rate: int = 0
    hit_set_search_last_n: int = 0
    opts: dict[int, str | int | float] = field(default_factory=dict)
    """Options that are set, by `OptKey`; the kind of the value is a part of it."""
    application_metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    """What uses the pool (`rbd`, `rgw`, ...), and what it noted."""
    create_time_ns: int = 0
    pg_num_target: int = AS_PG_NUM
    pgp_num_target: int = AS_PG_NUM
    pg_num_pending: int = AS_PG_NUM
    pg_autoscale_mode: int = 0
    """0 off, 1 warn, 2 on."""
    last_pg_merge_meta: MergeMeta = MergeMeta()
    peering_crush: PeeringCrush | None = None
    nonprimary_shards: int = 0
    """128 bits, one for each shard that can't be primary (optimised erasure pools of Tentacle)."""
    # without a meaning for many releases, but still sent
    lpg_num: int = 0
    lpgp_num: int = 0
    auid: int = 0
    crash_replay_interval: int = 0
    properties: dict[str, str] = field(default_factory=dict)
    dead_epochs: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for name, like in (
            ("pgp_num", self.pg_num),
            ("pg_num_target", self.pg_num),
            ("pg_num_pending", self.pg_num),
        ):
            if getattr(self, name) == AS_PG_NUM:
                object.__setattr__(self, name, like)
        if self.pgp_num_target == AS_PG_NUM:
            object.__setattr__(self, "pgp_num_target", self.pgp_num)

    @property
    def is_erasure(self) -> bool:
        """Whether the position of an OSD in the acting set is a shard."""
        return self.type == PoolType.ERASURE

    @property
    def has_tier(self) -> bool:
        """Whether clients are told to go to another pool (a cache tier)."""
        return self.read_tier >= 0 or self.write_tier >= 0

    @property
    def snap_mode(self) -> int:
        """`PoolFlag.SELFMANAGED_SNAPS` or `POOL_SNAPS`, 0 before the first snapshot; old pools lack the flag."""
        if self.flags & _SNAP_MODES or not self.snap_seq:
            return int(self.flags) & _SNAP_MODES
        return int(PoolFlag.SELFMANAGED_SNAPS if self.removed_snaps else PoolFlag.POOL_SNAPS)
