# mypy: allow-untyped-calls
"""Increments: a real cluster's whole history, each rule of their application, bytes and damage."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cove.wire import features
from cove.wire.address import AddrVec, EntityAddr
from cove.wire.crush.map import CrushMap, encode_crush
from cove.wire.errors import PeerError, UsageError
from cove.wire.osdmap import IN, MapFlag, OsdInfo, OSDMap, OsdState, OsdXInfo, StretchMode, simple_osdmap
from cove.wire.osdmap_apply import apply_incremental
from cove.wire.osdmap_codec import decode_osdmap, encode_osdmap
from cove.wire.osdmap_incremental import Incremental, StretchChange, decode_incremental, encode_incremental
from cove.wire.pool import PgPool
from cove.wire.types import PgId

from .map_samples import A_FSID, CHANGES, PACIFIC, TENTACLE, history, osdmaps, refuses_every_cut, samples

PG = PgId(1, 5)
NOW = 1_700_000_000 * 10**9


def addr(port: int) -> AddrVec:
    return (EntityAddr.of("10.0.0.1", port, 7),)


BASE = simple_osdmap(
    A_FSID,
    10,
    {1: PgPool(pg_num=8, size=2), 2: PgPool(pg_num=4)},
    {1: "rbd", 2: "x"},
    {osd: f"v2:10.0.0.{osd + 1}:6800/1" for osd in range(3)},
)


def after(base: OSDMap = BASE, **changes: Any) -> OSDMap:
    """The next epoch; the change travels as bytes."""
    change = Incremental(fsid=base.fsid, epoch=base.epoch + 1, modified_ns=NOW, **changes)
    assert decode_incremental(encode_incremental(change)) == change
    return apply_incremental(base, change)


def differing(a: OSDMap, b: OSDMap) -> set[str]:
    names = {name for name in a.__dataclass_fields__ if not name.startswith("_")}
    return {name for name in names if getattr(a, name) != getattr(b, name)}


# real ones


@pytest.mark.parametrize(("data", "level"), samples("OSDMap.Incremental"))
def test_the_bytes_of_releases_come_back(data: bytes, level: int) -> None:
    assert encode_incremental(decode_incremental(data), level) == data


def test_the_history_of_a_cluster() -> None:
    """Every epoch gives the map that the monitor has, byte for byte.

    OSDs boot, fail, go out and in, are destroyed, lost and removed; pools of both kinds come and go, with options,
    quotas, snapshots, splits and merges; flags for the cluster, OSDs, hosts and device classes; weights, affinities,
    tunables, rules, buckets, weight sets; upmaps and temporary sets; the blocklist; ratios and releases.
    """
    maps = history()
    ours = OSDMap(fsid=UUID(int=0), epoch=0)
    for epoch in range(1, 170):
        data = maps[f"inc.{epoch}"]
        change = decode_incremental(data)
        assert encode_incremental(change, PACIFIC) == data
        before, crush = encode_osdmap(ours, PACIFIC), ours.crush
        following = apply_incremental(ours, change)
        assert encode_osdmap(ours, PACIFIC) == before, "the map before has been changed"
        if not change.crush and not change.fullmap:
            assert following.crush is crush
        assert following == decode_osdmap(maps[f"full.{epoch}"])
        encoded = encode_osdmap(following, change.encode_features)
        assert encoded == maps[f"full.{epoch}"]
        assert int.from_bytes(encoded[-4:], "little") == change.full_crc
        ours = following


# rules, one by one


def test_a_change_of_nothing_shares_everything() -> None:
    osdmap = after()
    assert differing(BASE, osdmap) == {"epoch", "modified_ns"}
    assert osdmap.crush is BASE.crush
    assert osdmap.osd_only is BASE.osd_only
    assert osdmap.osd_state is BASE.osd_state
    assert osdmap.pools is BASE.pools


def test_it_must_be_the_next_epoch_of_this_cluster() -> None:
    for wrong in (
        Incremental(fsid=A_FSID, epoch=10),
        Incremental(fsid=A_FSID, epoch=12),
        Incremental(fsid=uuid4(), epoch=11),
    ):
        with pytest.raises(PeerError):
            apply_incremental(BASE, wrong)
    first = apply_incremental(OSDMap(fsid=UUID(int=0), epoch=0), Incremental(fsid=A_FSID, epoch=1))
    assert first.fsid == A_FSID


def test_a_full_map_inside_is_all_that_counts() -> None:
    other = replace(BASE, epoch=11, flags=5)
    assert after(fullmap=encode_osdmap(other), new_flags=77) == other
    for wrong in (replace(other, epoch=12), replace(other, fsid=uuid4())):
        with pytest.raises(PeerError, match="holds a full map"):
            after(fullmap=encode_osdmap(wrong))


def test_pools() -> None:
    osdmap = after(
        new_pools={1: PgPool(pg_num=16), 3: PgPool(pg_num=2)},
        new_pool_names={1: "renamed", 3: "new"},
        new_pool_max=3,
    )
    assert osdmap.pools[1] == PgPool(pg_num=16, last_change=11)
    assert osdmap.pools[2] is BASE.pools[2]
    assert osdmap.pool_names == {1: "renamed", 2: "x", 3: "new"}
    assert (osdmap.pool_id("rbd"), osdmap.pool_id("renamed"), osdmap.pool_max) == (None, 1, 3)
    gone = after(osdmap, old_pools=(1, 3, 99), new_pools={3: PgPool(pg_num=4)})
    assert (sorted(gone.pools), gone.pool_names, gone.pool_max) == ([2], {2: "x"}, 3)


def test_flags() -> None:
    assert after(new_flags=MapFlag.NOOUT).flags == MapFlag.NOOUT
    assert after(new_flags=0).flags == 0


def test_a_release_brings_flags() -> None:
    old = replace(BASE, flags=int(MapFlag.REQUIRE_JEWEL | MapFlag.NOIN))
    luminous = after(old, new_require_osd_release=12)
    assert luminous.flags == MapFlag.NOIN | MapFlag.RECOVERY_DELETES
    nautilus = after(old, new_require_osd_release=14)
    assert nautilus.flags == MapFlag.NOIN | MapFlag.RECOVERY_DELETES | MapFlag.PGLOG_HARDLIMIT
    assert nautilus.osd_only.require_osd_release == 14
    assert after(new_require_min_compat_client=9).osd_only.require_min_compat_client == 9


def test_more_and_fewer_osds() -> None:
    more = after(replace(BASE, primary_affinity=[1, 2, 3]), new_max_osd=5)
    assert more.osd_state == [3, 3, 3, 0, 0]
    assert more.osd_weight == [IN, IN, IN, 0, 0]
    assert more.client_addrs[3:] == [(), ()]
    assert more.primary_affinity == [1, 2, 3, IN, IN]
    assert more.osd_only.osd_info[4] == OsdInfo()
    assert more.osd_only.osd_uuid[4] == UUID(int=0)
    assert decode_osdmap(encode_osdmap(more)) == more
    fewer = after(new_max_osd=1)
    assert (fewer.max_osd, fewer.osd_state, fewer.primary_affinity) == (1, [3], [])
    assert decode_osdmap(encode_osdmap(fewer)) == fewer
    with pytest.raises(PeerError, match="2000000000 OSDs; at most"):
        after(new_max_osd=2_000_000_000)


def test_states_toggle() -> None:
    down = after(new_state={1: 0, 2: int(OsdState.NOUP)})
    assert down.osd_state == [3, 1, 3 | OsdState.NOUP]
    assert down.osd_only.osd_info[1] == OsdInfo(up_from=1, down_at=11)
    assert down.osd_only.osd_xinfo[1].down_stamp_ns == NOW
    assert down.osd_only.osd_xinfo[2] is BASE.osd_only.osd_xinfo[2]
    up = after(down, new_state={1: int(OsdState.UP)})
    assert up.osd_state[1] == 3
    assert up.osd_only.osd_info[1].down_at == 11, "only going down leaves a mark"


def test_an_osd_that_ceases_to_exist_leaves_nothing() -> None:
    gone = after(replace(BASE, primary_affinity=[5, 6, 7]), new_state={1: int(OsdState.EXISTS | OsdState.UP)})
    assert gone.osd_state == [3, 0, 3]
    assert gone.client_addrs[1] == ()
    assert gone.primary_affinity == [5, IN, 7]
    osd_only = gone.osd_only
    assert (osd_only.osd_uuid[1], osd_only.osd_info[1], osd_only.osd_xinfo[1]) == (UUID(int=0), OsdInfo(), OsdXInfo())
    assert (osd_only.hb_back_addrs[1], osd_only.hb_front_addrs[1], osd_only.cluster_addrs[1]) == ((), (), ())
    assert gone.osd_weight == BASE.osd_weight
    assert after(new_state={1: int(OsdState.EXISTS)}).primary_affinity == [IN] * 3


def test_an_osd_boots() -> None:
    down = replace(BASE, osd_state=[1 | OsdState.STOP, 3, 3])
    up = after(
        down,
        new_up_client={0: addr(1)},
        new_hb_back_up={0: addr(2)},
        new_hb_front_up={0: addr(3)},
        new_up_cluster={0: addr(4)},
    )
    assert up.osd_state[0] == 3
    assert up.client_addrs[0] == addr(1)
    osd_only = up.osd_only
    assert (osd_only.hb_back_addrs[0], osd_only.hb_front_addrs[0]) == (addr(2), addr(3))
    assert osd_only.cluster_addrs[0] == addr(4)
    assert osd_only.osd_info[0].up_from == 11
    with pytest.raises(PeerError, match="without heartbeat addresses"):
        after(new_up_client={0: addr(1)}, new_hb_back_up={0: addr(2)})


def test_down_and_up_again_in_one_epoch() -> None:
    booted = after(
        new_state={0: 2}, new_up_client={0: addr(1)}, new_hb_back_up={0: addr(2)}, new_hb_front_up={0: addr(3)}
    )
    assert booted.osd_state[0] == 3
    assert booted.osd_only.osd_info[0] == OsdInfo(up_from=11, down_at=11)


def test_weights() -> None:
    away = replace(BASE, osd_state=[3 | OsdState.AUTOOUT | OsdState.NEW, 0, 3], osd_weight=[0, 0, IN])
    away = replace(away, osd_only=replace(away.osd_only, osd_xinfo=[OsdXInfo(old_weight=9)] * 3))
    back = after(away, new_weight={0: IN, 1: 5, 2: 0})
    assert back.osd_weight == [IN, 5, 0]
    assert back.osd_state == [3, 1, 3], "a weight makes an OSD exist, and no longer new or out by itself"
    assert [info.old_weight for info in back.osd_only.osd_xinfo] == [0, 0, 9]


def test_affinities() -> None:
    assert after(new_primary_affinity={1: 7}).primary_affinity == [IN, 7, IN]
    assert BASE.primary_affinity == []


def test_exceptions_from_placement() -> None:
    other = PgId(2, 1)
    osdmap = after(
        new_pg_temp={PG: (1, 2), other: (0,)},
        new_primary_temp={PG: 2, other: 0},
        new_pg_upmap={PG: (2, 1)},
        new_pg_upmap_items={PG: ((0, 1),), other: ((1, 2),)},
        new_pg_upmap_primaries={PG: 2},
    )
    assert osdmap.pg_temp == {PG: (1, 2), other: (0,)}
    assert osdmap.primary_temp == {PG: 2, other: 0}
    assert osdmap.pg_upmap == {PG: (2, 1)}
    assert osdmap.pg_upmap_primaries == {PG: 2}
    less = after(
        osdmap,
        new_pg_temp={PG: (), PgId(9, 9): ()},
        new_primary_temp={PG: -1},
        old_pg_upmap=(PG,),
        old_pg_upmap_items=(PG, PgId(9, 9)),
        new_pg_upmap_items={PG: ((5, 6),)},
        old_pg_upmap_primaries=(PG,),
    )
    assert (less.pg_temp, less.primary_temp) == ({other: (0,)}, {other: 0})
    assert (less.pg_upmap, less.pg_upmap_items, less.pg_upmap_primaries) == ({}, {other: ((1, 2),)}, {})


def test_removed_snapshots_are_news_of_one_epoch_and_queued_until_purged() -> None:
    removed = after(new_removed_snaps={1: ((3, 1), (4, 2)), 2: ((1, 1),)})
    assert removed.new_removed_snaps == {1: ((3, 1), (4, 2)), 2: ((1, 1),)}
    assert removed.osd_only.removed_snaps_queue == {1: ((3, 3),), 2: ((1, 1),)}
    purged = after(removed, new_purged_snaps={1: ((4, 1),), 2: ((1, 1),), 7: ((1, 1),)})
    assert purged.new_removed_snaps == {}
    assert purged.new_purged_snaps == {1: ((4, 1),), 2: ((1, 1),), 7: ((1, 1),)}
    assert purged.osd_only.removed_snaps_queue == {1: ((3, 1), (5, 1))}
    assert after(purged).new_purged_snaps == {}


def test_profiles() -> None:
    one = after(new_erasure_code_profiles={"a": {"k": "2"}, "b": {}})
    two = after(one, old_erasure_code_profiles=("a", "b", "z"), new_erasure_code_profiles={"b": {"m": "1"}})
    assert two.erasure_code_profiles == {"b": {"m": "1"}}


def test_the_crush_map_is_replaced_last() -> None:
    crush = CrushMap.simple(range(2))
    crush.class_names[1] = "ssd"
    osd_only = replace(BASE.osd_only, device_class_flags={1: 128, 2: 128}, require_osd_release=11)
    base = replace(BASE, osd_only=osd_only)
    osdmap = after(base, crush=encode_crush(crush, PACIFIC))
    assert osdmap.crush == crush
    assert osdmap.crush_version == 0, "versions are counted since Luminous"
    assert osdmap.osd_only.device_class_flags == {1: 128}
    again = after(osdmap, crush=encode_crush(crush, PACIFIC), new_require_osd_release=16)
    assert again.crush_version == 1
    with pytest.raises(PeerError):
        after(crush=b"\0\0\1\0")


def test_the_section_for_osds() -> None:
    uuid = uuid4()
    osdmap = after(
        new_up_thru={0: 4},
        new_last_clean_interval={0: (2, 3)},
        new_lost={1: 8},
        new_uuid={2: uuid},
        new_xinfo={2: OsdXInfo(features=6)},
        new_nearfull_ratio=0.5,
        new_full_ratio=0.75,
        new_backfillfull_ratio=0.625,
        new_crush_node_flags={-1: 4, -2: 0},
        new_device_class_flags={5: 1},
        cluster_snapshot="s",
        stretch=StretchChange(True, 2, 1, 0, 8, True),
        mutate_allow_crimson=1,
    ).osd_only
    assert osdmap.osd_info[0] == OsdInfo(2, 3, 1, 4)
    assert osdmap.osd_info[1].lost_at == 8
    assert (osdmap.osd_uuid[2], osdmap.osd_xinfo[2]) == (uuid, OsdXInfo(features=6))
    assert (osdmap.nearfull_ratio, osdmap.full_ratio, osdmap.backfillfull_ratio) == (0.5, 0.75, 0.625)
    assert (osdmap.crush_node_flags, osdmap.device_class_flags) == ({-1: 4}, {5: 1})
    assert (osdmap.cluster_snapshot, osdmap.cluster_snapshot_epoch) == ("s", 11)
    assert osdmap.stretch == StretchMode(True, 2, 1, 0, 8)
    assert osdmap.allow_crimson
    base = replace(BASE, osd_only=osdmap)
    less = after(base, new_crush_node_flags={-1: 0}, mutate_allow_crimson=2, new_full_ratio=-1.0).osd_only
    assert (less.crush_node_flags, less.allow_crimson, less.full_ratio) == ({}, False, 0.75)
    assert (less.cluster_snapshot, less.cluster_snapshot_epoch) == ("", 0)
    assert less.stretch == osdmap.stretch


def test_blocklists() -> None:
    (a,), (b,), (c,) = addr(1), addr(2), addr(3)
    one = after(new_blocklist={a: 5, b: 6}, new_range_blocklist={c: 7})
    assert (one.osd_only.blocklist, one.osd_only.range_blocklist) == ({a: 5, b: 6}, {c: 7})
    two = after(one, new_blocklist={a: 50, c: 8}, old_blocklist=(b,), old_range_blocklist=(c, a))
    assert two.osd_only.blocklist == {a: 5, c: 8}, "a time that is set stays"
    assert two.osd_only.range_blocklist == {}


def test_osds_that_do_not_exist_are_refused() -> None:
    for name, value in (
        ("new_state", 1),
        ("new_weight", 1),
        ("new_up_thru", 1),
        ("new_primary_affinity", 1),
        ("new_lost", 1),
        ("new_uuid", UUID(int=1)),
        ("new_xinfo", OsdXInfo()),
        ("new_last_clean_interval", (1, 1)),
        ("new_up_cluster", addr(1)),
        ("new_up_client", addr(1)),
    ):
        for osd in (3, -1):
            changes: dict[str, Any] = {name: {osd: value}}
            with pytest.raises(PeerError, match=f"changes OSD {osd} of 3"):
                after(**changes)


# bytes


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(CHANGES)
def test_every_increment_comes_back(change: Incremental) -> None:
    data = encode_incremental(change, TENTACLE)
    assert decode_incremental(data) == change
    assert encode_incremental(decode_incremental(data), TENTACLE) == data
    before_reef = decode_incremental(encode_incremental(change, PACIFIC))
    assert before_reef.old_pg_upmap_primaries == ()
    assert before_reef.old_pg_upmap == change.old_pg_upmap


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(osdmaps(), CHANGES)
def test_any_increment_makes_a_map_or_is_refused(base: OSDMap, change: Incremental) -> None:
    base = replace(base, epoch=5)
    kept = encode_osdmap(base, TENTACLE)
    try:
        following = apply_incremental(base, replace(change, fsid=base.fsid, epoch=6))
    except PeerError:
        return
    finally:
        assert encode_osdmap(base, TENTACLE) == kept, "the map before has been changed"
    if -(2**31) <= following.pool_max < 2**31:
        assert decode_osdmap(encode_osdmap(following, TENTACLE)) == following


CHANGE = encode_incremental(
    Incremental(
        fsid=A_FSID,
        epoch=11,
        new_pools={1: PgPool(pg_num=3)},
        new_up_client={1: addr(1)},
        new_pg_temp={PG: (1, 2)},
        new_blocklist=dict.fromkeys(addr(9), 10),
        full_crc=77,
    )
)


def test_what_is_cut_short_is_refused() -> None:
    refuses_every_cut(decode_incremental, CHANGE)


@given(st.integers(0, len(CHANGE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, flip: int) -> None:
    data = bytearray(CHANGE)
    data[position] ^= flip
    with pytest.raises(PeerError):
        decode_incremental(bytes(data))


def test_the_checksum_of_the_full_map_is_summed_up_too() -> None:
    data = CHANGE[:-4] + struct.pack("<I", 78)
    with pytest.raises(PeerError, match="increment has checksum"):
        decode_incremental(data)


def test_old_forms_are_refused() -> None:
    with pytest.raises(PeerError, match="too old"):
        decode_incremental(b"\x06\x00" + bytes(60))
    with pytest.raises(PeerError, match="client section has version 4"):
        decode_incremental(CHANGE[:6] + b"\x04" + CHANGE[7:])
    with pytest.raises(UsageError, match="older than Nautilus"):
        encode_incremental(Incremental(fsid=A_FSID, epoch=1), features.SERVER_MIMIC)
