"""How pools are written: the table of `pg_pool_t`'s fields by version, and its parts.

Source: Ceph's osd/osd_types.cc (`pg_pool_t`, `pool_opts_t`, `pool_snap_info_t`, `pg_merge_meta_t`, `HitSet::Params`).
"""

from __future__ import annotations

from typing import Any

from . import features as feature
from .encoding import Decoder, Encoder
from .errors import PeerError, UsageError
from .intervals import INTERVALS
from .map_fields import F64, PG, Field, dict_of, read_fields, refuse_older, set_of, string_order, write_fields
from .names import decode_eversion, encode_eversion
from .pool import HitSetParams, MergeMeta, PeeringCrush, PgPool, PoolFlag, PoolSnap
from .structure import BOOL, I32, I64, STR, U8, U32, U64, UTIME, Codec

_SINCE_MIMIC = int(PoolFlag.SELFMANAGED_SNAPS | PoolFlag.POOL_SNAPS | PoolFlag.CREATING)
"""Flags that are left out for peers before Mimic."""


def _encode_snap(encoder: Encoder, snap: PoolSnap) -> None:
    with encoder.versioned(2, 2):
        encoder.u64(snap.snapid)
        encoder.utime(snap.stamp_ns)
        encoder.str(snap.name)


def _decode_snap(decoder: Decoder) -> PoolSnap:
    with decoder.versioned(2) as version:
        refuse_older("a pool snapshot", version, 2)
        return PoolSnap(decoder.u64(), decoder.utime(), decoder.str())


POOL_SNAP: Codec[PoolSnap] = Codec(_encode_snap, _decode_snap)


def _encode_hit_set(encoder: Encoder, params: HitSetParams) -> None:
    with encoder.versioned(1, 1):
        encoder.u8(params.type)
        if params.type == 3:
            with encoder.versioned(1, 1):
                encoder.u32(params.false_positive_micro)
                encoder.u64(params.target_size)
                encoder.u64(params.seed)


def _decode_hit_set(decoder: Decoder) -> HitSetParams:
    with decoder.versioned(1):
        kind = decoder.u8()
        if kind != 3:
            return HitSetParams(kind)
        with decoder.versioned(1):
            return HitSetParams(kind, decoder.u32(), decoder.u64(), decoder.u64())


def _encode_opts(encoder: Encoder, opts: dict[int, str | int | float]) -> None:
    with encoder.versioned(2, 1):
        encoder.u32(len(opts))
        for key in sorted(opts):
            value = opts[key]
            encoder.i32(key)
            if isinstance(value, str):
                encoder.i32(0)
                encoder.str(value)
            elif isinstance(value, int):
                encoder.i32(1)
                encoder.i64(value)
            else:
                encoder.i32(2)
                F64.encode(encoder, value)


def _decode_opts(decoder: Decoder) -> dict[int, str | int | float]:
    with decoder.versioned(2) as version:
        opts: dict[int, str | int | float] = {}
        for _ in range(decoder.u32()):
            key, kind = decoder.i32(), decoder.i32()
            if kind == 0:
                opts[key] = decoder.str()
            elif kind == 1:
                opts[key] = decoder.i64() if version >= 2 else decoder.i32()
            elif kind == 2:
                opts[key] = F64.decode(decoder)
            else:
                raise PeerError(f"pool option {key} has a value of kind {kind}; 0, 1 and 2 are known")
        return opts


def _encode_merge(encoder: Encoder, meta: MergeMeta) -> None:
    with encoder.versioned(1, 1):
        PG.encode(encoder, meta.source)
        encoder.u32(meta.ready_epoch)
        encoder.u32(meta.last_epoch_started)
        encoder.u32(meta.last_epoch_clean)
        encode_eversion(encoder, meta.source_version)
        encode_eversion(encoder, meta.target_version)


def _decode_merge(decoder: Decoder) -> MergeMeta:
    with decoder.versioned(1):
        return MergeMeta(
            PG.decode(decoder),
            decoder.u32(),
            decoder.u32(),
            decoder.u32(),
            decode_eversion(decoder),
            decode_eversion(decoder),
        )


def _peering(mandatory: Codec[int]) -> Codec[PeeringCrush]:
    def encode(encoder: Encoder, value: PeeringCrush) -> None:
        encoder.u32(value.bucket_count)
        encoder.u32(value.bucket_target)
        encoder.u32(value.bucket_barrier)
        mandatory.encode(encoder, value.mandatory_member)

    return Codec(
        encode,
        lambda decoder: PeeringCrush(decoder.u32(), decoder.u32(), decoder.u32(), mandatory.decode(decoder)),
    )


_PEERING_30 = _peering(I32)
_PEERING_31 = _peering(U32)
_PEERING_OPTIONAL: Codec[PeeringCrush | None] = Codec(
    lambda encoder, value: encoder.optional(value, lambda present: _PEERING_31.encode(encoder, present)),
    lambda decoder: decoder.optional(lambda: _PEERING_31.decode(decoder)),
)


def _encode_shards(encoder: Encoder, bits: int) -> None:
    for half in (bits & (1 << 64) - 1, bits >> 64):
        while half > 0x7F:
            encoder.u8(half & 0x7F | 0x80)
            half >>= 7
        encoder.u8(half)


def _decode_varint64(decoder: Decoder) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = decoder.u8()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1
    raise PeerError("a number of variable length has more than 10 bytes")


def _decode_shards(decoder: Decoder) -> int:
    low = _decode_varint64(decoder)
    return low | _decode_varint64(decoder) << 64


def _encode_dead(encoder: Encoder, epochs: tuple[int, int]) -> None:
    encoder.u32(epochs[0])
    encoder.u32(epochs[1])


FIELDS: tuple[Field, ...] = (
    Field("type", U8),
    Field("size", U8),
    Field("crush_rule", U8),
    Field("object_hash", U8),
    Field("pg_num", U32),
    Field("pgp_num", U32),
    Field("lpg_num", U32),
    Field("lpgp_num", U32),
    Field("last_change", U32),
    Field("snap_seq", U64),
    Field("snap_epoch", U32),
    Field("snaps", dict_of(U64, POOL_SNAP)),
    Field("removed_snaps", INTERVALS),
    Field("auid", U64),
    Field("flags", U64),
    Field("crash_replay_interval", U32),
    Field("min_size", U8),
    Field("quota_max_bytes", U64),
    Field("quota_max_objects", U64),
    Field("tiers", set_of(U64)),
    Field("tier_of", I64),
    Field("cache_mode", U8),
    Field("read_tier", I64),
    Field("write_tier", I64),
    Field("properties", dict_of(STR, STR, string_order)),
    Field("hit_set_params", Codec(_encode_hit_set, _decode_hit_set)),
    Field("hit_set_period", U32),
    Field("hit_set_count", U32),
    Field("stripe_width", U32),
    Field("target_max_bytes", U64),
    Field("target_max_objects", U64),
    Field("cache_target_dirty_ratio_micro", U32),
    Field("cache_target_full_ratio_micro", U32),
    Field("cache_min_flush_age", U32),
    Field("cache_min_evict_age", U32),
    Field("erasure_code_profile", STR),
    Field("last_force_op_resend_preluminous", U32),
    Field("min_read_recency_for_promote", U32),
    Field("expected_num_objects", U64),
    Field("cache_target_dirty_high_ratio_micro", U32),
    Field("min_write_recency_for_promote", U32),
    Field("use_gmt_hitset", BOOL),
    Field("fast_read", BOOL),
    Field("hit_set_grade_decay_rate", U32),
    Field("hit_set_search_last_n", U32),
    Field("opts", Codec(_encode_opts, _decode_opts)),
    Field("last_force_op_resend_prenautilus", U32, 25),
    Field("application_metadata", dict_of(STR, dict_of(STR, STR, string_order), string_order), 26),
    Field("create_time_ns", UTIME, 27),
    Field("pg_num_target", U32, 28),
    Field("pgp_num_target", U32, 28),
    Field("pg_num_pending", U32, 28),
    Field("dead_epochs", Codec(_encode_dead, lambda decoder: (decoder.u32(), decoder.u32())), 28),
    Field("last_force_op_resend", U32, 28),
    Field("pg_autoscale_mode", U8, 28),
    Field("last_pg_merge_meta", Codec(_encode_merge, _decode_merge), 29),
    Field("peering_crush", _PEERING_30, 30, 30),
    Field("peering_crush", _PEERING_OPTIONAL, 31),
    Field("nonprimary_shards", Codec(_encode_shards, _decode_shards), 32),
)
NEWEST = 32
OLDEST = 24
"""The layout of Jewel; older ones need peers that can't speak msgr2."""
COMPAT = 5


def pool_version(pool: PgPool, features: int) -> int:
    """The layout for a peer with these features. Raises UsageError if it is too old for any."""
    has = feature.has
    if has(features, feature.SERVER_TENTACLE):
        return NEWEST
    if has(features, feature.SERVER_NAUTILUS):
        return 29 if pool.peering_crush is None else 30
    if has(features, feature.SERVER_MIMIC):
        return 27
    if has(features, feature.SERVER_LUMINOUS):
        return 26
    if has(features, feature.NEW_OSDOP_ENCODING | feature.CRUSH_TUNABLES5):
        return 24
    raise UsageError(f"features {features:#x} are those of a peer older than Jewel")


def encode_pool(encoder: Encoder, pool: PgPool, features: int) -> None:
    """Append the pool for a peer with these features. Raises UsageError."""
    version = pool_version(pool, features)
    values: Any = pool
    if version < 27 and pool.flags & _SINCE_MIMIC:
        values = _WithFlags(pool, int(pool.flags) & ~_SINCE_MIMIC)
    with encoder.versioned(version, COMPAT):
        write_fields(encoder, FIELDS, version, values)


class _WithFlags:
    """A pool as seen by a peer that does not know all of its flags."""

    def __init__(self, pool: PgPool, flags: int) -> None:
        self._pool = pool
        self.flags = flags

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def decode_pool(decoder: Decoder) -> PgPool:
    """Read a pool. Raises PeerError."""
    with decoder.versioned(NEWEST) as version:
        refuse_older("a pool", version, OLDEST)
        values = read_fields(decoder, FIELDS, version)
        if version < 28:  # one force-resend epoch stood for all
            if version < 25:
                values["last_force_op_resend_prenautilus"] = values["last_force_op_resend_preluminous"]
            values["last_force_op_resend"] = values["last_force_op_resend_prenautilus"]
            values["pg_autoscale_mode"] = 1
        return PgPool(**values)


POOL: Codec[PgPool] = Codec(lambda encoder, pool: encode_pool(encoder, pool, feature.SUPPORTED), decode_pool)
"""A pool in the layout of the features that are advertised here."""
