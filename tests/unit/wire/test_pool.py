# mypy: allow-untyped-calls
"""Pools: defaults, every layout, what releases have encoded, and damage."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire import features
from cove.wire.encoding import Decoder, Encoder
from cove.wire.errors import PeerError, UsageError
from cove.wire.pool import PeeringCrush, PgPool, PoolFlag, PoolSnap, PoolType
from cove.wire.pool_codec import FIELDS, POOL, POOL_SNAP, decode_pool, encode_pool

from .map_samples import PACIFIC, POOLS, REEF, TENTACLE, refuses_every_cut, samples

JEWEL = features.NEW_OSDOP_ENCODING | features.CRUSH_TUNABLES5
LUMINOUS = JEWEL | features.SERVER_LUMINOUS
MIMIC = LUMINOUS | features.SERVER_MIMIC
LAYOUTS = {24: JEWEL, 26: LUMINOUS, 27: MIMIC, 29: PACIFIC, 32: TENTACLE}


def packed(pool: PgPool, level: int) -> bytes:
    encoder = Encoder()
    encode_pool(encoder, pool, level)
    return encoder.bytes()


def test_the_defaults_are_those_of_a_plain_replicated_pool() -> None:
    pool = PgPool(pg_num=32)
    assert (pool.type, pool.size, pool.min_size, pool.object_hash, pool.flags) == (1, 3, 2, 2, PoolFlag.HASHPSPOOL)
    assert (pool.pgp_num, pool.pg_num_target, pool.pgp_num_target, pool.pg_num_pending) == (32, 32, 32, 32)
    assert (pool.tier_of, pool.read_tier, pool.write_tier, pool.use_gmt_hitset) == (-1, -1, -1, True)
    assert not pool.has_tier
    assert not pool.is_erasure
    assert PgPool(pg_num=32, pgp_num=16).pgp_num_target == 16


@pytest.mark.parametrize(("data", "level"), samples("pg_pool_t"))
def test_the_bytes_of_releases_come_back(data: bytes, level: int) -> None:
    assert packed(decode_pool(Decoder(data)), level) == data


@pytest.mark.parametrize(("data", "level"), samples("pool_snap_info_t"))
def test_the_bytes_of_pool_snapshots_come_back(data: bytes, level: int) -> None:
    assert POOL_SNAP.pack(POOL_SNAP.unpack(data)) == data


@given(POOLS)
def test_every_pool_comes_back(pool: PgPool) -> None:
    data = packed(pool, TENTACLE)
    assert data[0] == 32
    assert POOL.unpack(data) == pool
    nautilus = packed(pool, REEF)
    assert nautilus[0] == (29 if pool.peering_crush is None else 30)
    assert POOL.unpack(nautilus) == replace(pool, nonprimary_shards=0)


@given(POOLS, st.sampled_from(sorted(LAYOUTS)))
def test_older_layouts_have_what_they_know(pool: PgPool, version: int) -> None:
    pool = replace(pool, peering_crush=None)
    data = packed(pool, LAYOUTS[version])
    assert data[0] == version
    found = POOL.unpack(data)
    unknown = {field.name for field in FIELDS if field.since > version}
    for field in FIELDS:
        if field.name not in unknown | {"flags"}:
            assert getattr(found, field.name) == getattr(pool, field.name), field.name
    assert packed(found, LAYOUTS[version]) == data


def test_what_old_layouts_lack_is_filled_in() -> None:
    pool = PgPool(
        pg_num=32,
        pgp_num=16,
        pg_num_target=64,
        last_force_op_resend=9,
        last_force_op_resend_prenautilus=8,
        last_force_op_resend_preluminous=7,
        flags=PoolFlag.HASHPSPOOL | PoolFlag.SELFMANAGED_SNAPS | PoolFlag.EIO,
        application_metadata={"rbd": {}},
    )
    found = POOL.unpack(packed(pool, MIMIC))
    assert (found.pg_num_target, found.pgp_num_target, found.pg_num_pending) == (32, 16, 32)
    assert found.last_force_op_resend == 8
    assert found.flags == pool.flags
    found = POOL.unpack(packed(pool, JEWEL))
    assert found.last_force_op_resend == 7
    assert found.flags == PoolFlag.HASHPSPOOL | PoolFlag.EIO, "later flags are not shown to peers before Mimic"
    assert found.application_metadata == {}


def test_stretched_pools() -> None:
    pool = PgPool(pg_num=8, peering_crush=PeeringCrush(2, 2, 8, 0x7FFFFFFF))
    for level, version in ((PACIFIC, 30), (TENTACLE, 32)):
        data = packed(pool, level)
        assert data[0] == version
        assert POOL.unpack(data) == pool


def test_shards_that_cannot_be_primary() -> None:
    pool = PgPool(pg_num=8, type=PoolType.ERASURE, nonprimary_shards=1 << 127 | 1 << 64 | 0b1010)
    assert POOL.unpack(packed(pool, TENTACLE)) == pool
    data = packed(replace(pool, nonprimary_shards=0), TENTACLE)
    assert data[-2:] == b"\0\0"
    endless = data[:2] + struct.pack("<I", len(data) - 6 + 9) + data[6:-2] + b"\xff" * 11
    with pytest.raises(PeerError, match="variable length"):
        POOL.unpack(endless)


def test_unknown_options_are_kept() -> None:
    pool = PgPool(pg_num=8, opts={99: 2**40, 6: "aggressive", 17: 0.25, -5: ""})
    assert POOL.unpack(POOL.pack(pool)).opts == pool.opts
    old = packed(replace(pool, opts={}), JEWEL).replace(
        bytes.fromhex("02010400000000000000"), bytes.fromhex("0101100000000100000006000000010000000b000000")
    )
    old = old[:2] + struct.pack("<I", len(old) - 6) + old[6:]
    assert POOL.unpack(old).opts == {6: 11}, "version 1 has 32-bit numbers"
    with pytest.raises(PeerError, match="kind 3"):
        POOL.unpack(old.replace(bytes.fromhex("06000000010000000b"), bytes.fromhex("06000000030000000b")))


def test_snapshot_modes() -> None:
    assert PgPool(pg_num=8).snap_mode == 0
    assert PgPool(pg_num=8, snap_seq=3).snap_mode == PoolFlag.POOL_SNAPS
    assert PgPool(pg_num=8, snap_seq=3, removed_snaps=((1, 1),)).snap_mode == PoolFlag.SELFMANAGED_SNAPS
    both = PoolFlag.HASHPSPOOL | PoolFlag.SELFMANAGED_SNAPS
    assert PgPool(pg_num=8, flags=both).snap_mode == PoolFlag.SELFMANAGED_SNAPS


def test_what_is_cut_short_is_refused() -> None:
    pool = PgPool(
        pg_num=8,
        snaps={3: PoolSnap(3, 5, "x")},
        opts={6: "s", 15: 3, 17: 0.5},
        application_metadata={"rbd": {"a": "b"}},
        removed_snaps=((1, 2),),
    )
    refuses_every_cut(POOL.unpack, packed(pool, TENTACLE))
    refuses_every_cut(POOL_SNAP.unpack, POOL_SNAP.pack(PoolSnap(1, 2, "three")))


def test_ancient_layouts_are_refused() -> None:
    data = bytearray(packed(PgPool(pg_num=8), JEWEL))
    data[0] = 23
    with pytest.raises(PeerError, match="version 23; 24 is the oldest"):
        POOL.unpack(bytes(data))
    with pytest.raises(UsageError, match="older than Jewel"):
        packed(PgPool(pg_num=8), 0)
    with pytest.raises(PeerError, match="version 1; 2"):
        POOL_SNAP.unpack(b"\1\1" + POOL_SNAP.pack(PoolSnap(1, 2, ""))[2:])


def test_values_that_do_not_fit_are_our_fault() -> None:
    with pytest.raises(UsageError):
        packed(PgPool(pg_num=-5), PACIFIC)
    with pytest.raises(UsageError):
        packed(PgPool(pg_num=5, removed_snaps=((-1, 1),)), PACIFIC)
