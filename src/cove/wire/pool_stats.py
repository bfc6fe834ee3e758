"""Statistics of a pool as the monitor sends them: 40 counters of its objects, and what the stores say of their space.

Source: Ceph's osd/osd_types.h (`pool_stat_t`, `object_stat_collection_t`, `object_stat_sum_t`, `store_statfs_t`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import ClassVar

from .encoding import Decoder, Encoder
from .errors import PeerError, UsageError
from .structure import I32, I64, Codec, Structure, trailing

COUNTERS = (
    "num_bytes",
    "num_objects",
    "num_object_clones",
    "num_object_copies",
    "num_objects_missing_on_primary",
    "num_objects_degraded",
    "num_objects_unfound",
    "num_rd",
    "num_rd_kb",
    "num_wr",
    "num_wr_kb",
    "num_scrub_errors",
    "num_objects_recovered",
    "num_bytes_recovered",
    "num_keys_recovered",
    "num_shallow_scrub_errors",
    "num_deep_scrub_errors",
    "num_objects_dirty",
    "num_whiteouts",
    "num_objects_omap",
    "num_objects_hit_set_archive",
    "num_objects_misplaced",
    "num_bytes_hit_set_archive",
    "num_flush",
    "num_flush_kb",
    "num_evict",
    "num_evict_kb",
    "num_promote",
    "num_flush_mode_high",
    "num_flush_mode_low",
    "num_evict_mode_some",
    "num_evict_mode_full",
    "num_objects_pinned",
    "num_objects_missing",
    "num_legacy_snapsets",
    "num_large_omap_objects",
    "num_objects_manifest",
    "num_omap_bytes",
    "num_omap_keys",
    "num_objects_repaired",
)
"""Names of the counters in the order of the encoding."""
_NARROW = frozenset(COUNTERS[28:32])
"""Those of 32 bits; the others have 64. All are signed."""
_LAYOUT = struct.Struct("<" + "".join("i" if name in _NARROW else "q" for name in COUNTERS))
_COUNTERS_VERSION, _COUNTERS_COMPAT = 20, 14
_COLLECTION_VERSION = 2


def _encode_counters(encoder: Encoder, counters: dict[str, int]) -> None:
    unknown = counters.keys() - set(COUNTERS)
    if unknown:
        raise UsageError(f"no counters of a pool: {', '.join(sorted(unknown))}")
    with encoder.versioned(_COLLECTION_VERSION, 2):
        with encoder.versioned(_COUNTERS_VERSION, _COUNTERS_COMPAT):
            try:
                encoder.raw(_LAYOUT.pack(*(counters.get(name, 0) for name in COUNTERS)))
            except struct.error as error:
                raise UsageError(f"a counter of a pool does not fit: {error}") from None
        encoder.u32(0)  # sums by category: gone since 0.90


def _decode_counters(decoder: Decoder) -> dict[str, int]:
    with decoder.versioned(_COLLECTION_VERSION), decoder.versioned(_COUNTERS_VERSION) as version:
        if version < _COUNTERS_VERSION:
            raise PeerError(f"counters of a pool have version {version}; {_COUNTERS_VERSION} and newer are known")
        return dict(zip(COUNTERS, _LAYOUT.unpack(decoder.raw(_LAYOUT.size)), strict=True))


COUNTERS_CODEC: Codec[dict[str, int]] = Codec(_encode_counters, _decode_counters)


@dataclass(frozen=True, slots=True)
class StoreStatfs(Structure):
    """Space in a store, in bytes."""

    total: int = 0
    available: int = 0
    internally_reserved: int = 0
    allocated: int = 0
    data_stored: int = 0
    data_compressed: int = 0
    data_compressed_allocated: int = 0
    data_compressed_original: int = 0
    omap_allocated: int = 0
    internal_metadata: int = 0

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (
        ("total", I64),
        ("available", I64),
        ("internally_reserved", I64),
        ("allocated", I64),
        ("data_stored", I64),
        ("data_compressed", I64),
        ("data_compressed_allocated", I64),
        ("data_compressed_original", I64),
        ("omap_allocated", I64),
        ("internal_metadata", I64),
    )


@dataclass(frozen=True, slots=True)
class PoolStat(Structure):
    """One pool: `counters` by the names of COUNTERS, sizes of its logs, its groups' members, and its space."""

    counters: dict[str, int] = field(default_factory=dict)
    log_size: int = 0
    ondisk_log_size: int = 0
    up: int = 0
    acting: int = 0
    statfs: StoreStatfs = StoreStatfs()
    num_store_stats: int = 0

    FRAME: ClassVar = (7, 5)
    FIELDS: ClassVar = (
        ("counters", COUNTERS_CODEC),
        ("log_size", I64),
        ("ondisk_log_size", I64),
        ("up", I32),
        ("acting", I32),
        ("statfs", StoreStatfs.codec()),
        ("num_store_stats", trailing(I32, 0)),
    )
