# mypy: allow-untyped-calls
"""Maps to test with: those that real clusters encoded, one cluster's whole history, and Hypothesis strategies.

The strategies are made from the tables of fields by which maps are written: what a table gains, they have.
"""

from __future__ import annotations

import dataclasses
import functools
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import strategies as st

from cove.wire import features, map_fields, osdmap_codec, osdmap_incremental, pool_codec, structure
from cove.wire.address import EntityAddr
from cove.wire.crush.map import CrushMap, encode_crush
from cove.wire.errors import PeerError
from cove.wire.intervals import INTERVALS
from cove.wire.map_fields import Field
from cove.wire.names import FSID
from cove.wire.osdmap import OsdInfo, OSDMap, OsdOnly, OsdXInfo, StretchMode
from cove.wire.osdmap_incremental import Incremental, StretchChange
from cove.wire.pool import HitSetParams, MergeMeta, PeeringCrush, PgPool, PoolSnap
from cove.wire.types import EVersion, PgId

from .strategies import TEXT, TIMES, signed, unsigned

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors"
HISTORY = Path(__file__).resolve().parents[2] / "golden" / "osdmaps" / "pacific-169-epochs.tar.xz"

PACIFIC = features.SUPPORTED & ~(1 << 31)
"""Bit 31 alone has another meaning before Reef."""
REEF = features.SUPPORTED | features.SERVER_REEF
SQUID = REEF | features.SERVER_SQUID
TENTACLE = REEF | features.SERVER_TENTACLE
LEVELS = {"16.2.0": PACIFIC, "18.2.0": REEF, "19.2.0": SQUID, "20.3.0": TENTACLE}

with_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the vectors of Ceph's releases are not here")


def samples(kind: str) -> list[Any]:
    """(bytes, features) of every structure of a kind that releases have encoded, as parameters of a test."""
    found = []
    for version, level in LEVELS.items():
        folder = VECTORS / "ceph" / version / kind
        if folder.is_dir():
            found += [
                pytest.param(path.read_bytes(), level, id=f"{version}-{path.name[:8]}")
                for path in sorted(folder.iterdir())
            ]
    return found


@functools.cache
def history() -> dict[str, bytes]:
    """`inc.N` and `full.N` of every epoch of a real cluster that went through all kinds of changes."""
    with tarfile.open(HISTORY) as archive:
        return {
            member.name.removeprefix("./"): stream.read()
            for member in archive
            if (stream := archive.extractfile(member)) is not None
        }


def refuses_every_cut(decode: Callable[[bytes], Any], data: bytes, step: int = 1) -> None:
    """No beginning of `data` decodes."""
    for length in range(0, len(data), step):
        with pytest.raises(PeerError):
            decode(data[:length])


# strategies

IPS = st.ip_addresses().map(str)
ADDRS = st.builds(EntityAddr.of, IPS, unsigned(16), unsigned(32), st.sampled_from([1, 2, 3]))
ADDRVECS = st.lists(ADDRS, max_size=3).map(tuple)
PGS = st.builds(PgId, unsigned(63), unsigned(32))
OSD = st.integers(0, 3)
OSDS = st.lists(signed(32), max_size=4).map(tuple)
PAIRS = st.lists(st.tuples(signed(32), signed(32)), max_size=3).map(tuple)
F32 = st.floats(width=32, allow_nan=False)
F64 = st.floats(allow_nan=False)
RUNS = st.lists(st.tuples(unsigned(64), unsigned(64)), max_size=3).map(tuple)
STRINGS = st.dictionaries(TEXT, TEXT, max_size=2)
INFOS = st.builds(OsdInfo, *[unsigned(32)] * 6)
XINFOS = st.builds(OsdXInfo, TIMES, unsigned(32), unsigned(32), unsigned(64), unsigned(32), TIMES, unsigned(32))
BLOCKLIST = st.dictionaries(ADDRS, TIMES, max_size=2)
EVERSIONS = st.builds(EVersion, unsigned(32), unsigned(64))


def a_dict(keys: st.SearchStrategy[Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(keys, values, max_size=2)


def a_set(items: st.SearchStrategy[Any], key: Callable[[Any], Any] | None = None) -> st.SearchStrategy[Any]:
    return st.sets(items, max_size=2).map(lambda found: tuple(sorted(found, key=key)))


BY_CODEC: dict[int, st.SearchStrategy[Any]] = {
    id(structure.U8): unsigned(8),
    id(structure.U32): unsigned(32),
    id(structure.U64): unsigned(64),
    id(structure.I32): signed(32),
    id(structure.I64): signed(64),
    id(structure.BOOL): st.booleans(),
    id(structure.STR): TEXT,
    id(structure.BLOB): st.binary(max_size=5),
    id(structure.UTIME): TIMES,
    id(FSID): st.uuids(),
    id(INTERVALS): RUNS,
    id(map_fields.F32): F32,
    id(map_fields.PG_OSDS): a_dict(PGS, OSDS),
    id(map_fields.PG_OSD): a_dict(PGS, signed(32)),
    id(map_fields.PG_PAIRS): a_dict(PGS, PAIRS),
    id(map_fields.PG_SET): a_set(PGS),
    id(map_fields.BLOCKLIST): BLOCKLIST,
    id(map_fields.ADDRS): st.lists(ADDRS, max_size=2).map(tuple),
    id(map_fields.OSD_ADDRVECS): a_dict(OSD, ADDRVECS),
    id(map_fields.OSD_U32): a_dict(OSD, unsigned(32)),
    id(osdmap_codec.POOL_SNAPS): a_dict(signed(64), RUNS),
    id(osdmap_codec.POOL_NAMES): a_dict(signed(64), TEXT),
    id(osdmap_codec.PROFILES): a_dict(TEXT, STRINGS),
    id(osdmap_codec.STRETCH): st.builds(
        StretchMode, st.just(True), unsigned(32), unsigned(32), unsigned(32), signed(32)
    ),
}
"""Values of a field, by its codec."""


def of_table(fields: Iterable[Field], named: dict[str, st.SearchStrategy[Any]]) -> dict[str, st.SearchStrategy[Any]]:
    """Strategies for the fields of a table; `named` has those whose codec does not say it all."""
    made = {}
    for field in fields:
        made[field.name] = named[field.name] if field.name in named else BY_CODEC[id(field.codec)]
    return made


def some_of(cls: Any, strategies: dict[str, st.SearchStrategy[Any]], needed: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Objects of which some fields are drawn, the others have their defaults: draws stay small."""
    return st.fixed_dictionaries(
        {name: strategies[name] for name in needed},
        optional={name: strategy for name, strategy in strategies.items() if name not in needed},
    ).map(lambda values: cls(**values))


POOL_FIELDS = of_table(
    pool_codec.FIELDS,
    {
        "snaps": a_dict(unsigned(64), st.builds(PoolSnap, unsigned(64), TIMES, TEXT)),
        "tiers": a_set(unsigned(64)),
        "properties": STRINGS,
        "hit_set_params": st.one_of(
            st.integers(0, 2).map(HitSetParams),
            st.builds(HitSetParams, st.just(3), unsigned(32), unsigned(64), unsigned(64)),
        ),
        "opts": a_dict(signed(32), st.one_of(TEXT, signed(64), F64)),
        "application_metadata": a_dict(TEXT, STRINGS),
        "dead_epochs": st.tuples(unsigned(32), unsigned(32)),
        "last_pg_merge_meta": st.builds(MergeMeta, PGS, unsigned(32), unsigned(32), unsigned(32), EVERSIONS, EVERSIONS),
        "peering_crush": st.none()
        | st.builds(PeeringCrush, unsigned(32), unsigned(32), unsigned(32), st.integers(0, 2**31 - 1)),
        "nonprimary_shards": unsigned(128),
    },
)
POOLS = some_of(PgPool, POOL_FIELDS, ("pg_num",))


def _vectors(count: int) -> dict[str, dict[str, st.SearchStrategy[Any]]]:
    def each(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(items, min_size=count, max_size=count)

    return {
        "map": {
            "osd_state": each(unsigned(32)),
            "osd_weight": each(unsigned(32)),
            "client_addrs": each(ADDRVECS),
            "primary_affinity": st.just([]) | each(unsigned(32)),
        },
        "osd": {
            "hb_back_addrs": each(ADDRVECS),
            "osd_info": each(INFOS),
            "cluster_addrs": each(ADDRVECS),
            "osd_uuid": each(st.uuids()),
            "osd_xinfo": each(XINFOS),
            "hb_front_addrs": each(ADDRVECS),
        },
    }


@st.composite
def osdmaps(draw: st.DrawFn) -> OSDMap:
    """Maps of up to three OSDs."""
    count = draw(st.integers(0, 3))
    vectors = _vectors(count)
    named = {
        **vectors["map"],
        "max_osd": st.just(count),
        "pools": a_dict(signed(64), POOLS),
        "crush": st.just(CrushMap.simple(range(count))),
    }
    strategies = of_table(osdmap_codec.client_fields(), named)
    inner = some_of(
        OsdOnly,
        of_table(osdmap_codec.OSD_FIELDS, {**vectors["osd"], "allow_crimson": st.just(True)}),
        tuple(vectors["osd"]),
    )
    needed = ("fsid", "epoch", "max_osd", *vectors["map"])
    osdmap: OSDMap = draw(some_of(OSDMap, strategies, needed))
    return dataclasses.replace(osdmap, osd_only=draw(inner))


_CHANGE_FIELDS = of_table(
    (*osdmap_incremental.client_fields(), *osdmap_incremental.OSD_FIELDS),
    {
        "new_pools": a_dict(signed(64), POOLS),
        "old_pools": a_set(signed(64)),
        "old_erasure_code_profiles": st.lists(TEXT, max_size=2).map(tuple),
        "new_last_clean_interval": a_dict(OSD, st.tuples(unsigned(32), unsigned(32))),
        "new_uuid": a_dict(OSD, st.uuids()),
        "new_xinfo": a_dict(OSD, XINFOS),
        "stretch": st.builds(
            StretchChange, st.just(True), unsigned(32), unsigned(32), unsigned(32), signed(32), st.just(True)
        ),
        "fullmap": st.just(b""),
        "crush": st.sampled_from([b"", encode_crush(CrushMap.simple([0, 2]), features.SUPPORTED)]),
        "new_max_osd": st.integers(-1, 6),
    },
)
CHANGES = some_of(Incremental, {**_CHANGE_FIELDS, "full_crc": unsigned(32)}, ("fsid", "epoch"))

A_FSID = UUID("5a1e0000-0000-4000-8000-00000000abcd")
