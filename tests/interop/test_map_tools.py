# mypy: allow-untyped-calls
"""Maps that we have encoded, read by Ceph's own tools; and maps that those tools have made, read by us."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cove.wire.address import EntityAddr
from cove.wire.features import SUPPORTED
from cove.wire.monmap import MonInfo, MonMap, decode_monmap, encode_monmap
from cove.wire.osdmap import IN, MapFlag, OsdInfo, OSDMap, OsdXInfo, StretchMode, simple_osdmap
from cove.wire.osdmap_codec import decode_osdmap, encode_osdmap
from cove.wire.pool import HitSetParams, MergeMeta, OptKey, PeeringCrush, PgPool, PoolFlag, PoolSnap
from cove.wire.types import EVersion, PgId

from .random_maps import random_osdmap

TOOL_TIMEOUT_S = 60
FSID = UUID("5a1e0000-0000-4000-8000-00000000abcd")
S = 10**9

pytestmark = pytest.mark.skipif(
    shutil.which("osdmaptool") is None or shutil.which("monmaptool") is None, reason="needs osdmaptool and monmaptool"
)


def run_tool(*args: str | Path) -> str:
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, timeout=TOOL_TIMEOUT_S)
    assert done.returncode == 0, f"{args}: {done.stderr[-2000:]}"
    return done.stdout


def dumped(osdmap: OSDMap, folder: Path, features: int = SUPPORTED) -> dict[str, Any]:
    """What osdmaptool reads from our bytes."""
    path = folder / "osdmap"
    path.write_bytes(encode_osdmap(osdmap, features))
    text = run_tool("osdmaptool", path, "--dump", "json")
    found: dict[str, Any] = json.loads(text[text.index("{") :])
    return found


def addresses(ports: range) -> list[tuple[EntityAddr, ...]]:
    return [(EntityAddr.of("10.1.2.3", port, port + 1), EntityAddr.of("::1", port + 2, 5, 1)) for port in ports]


def everything() -> OSDMap:
    """A map in which each field has a value of its own."""
    pool = PgPool(
        pg_num=11,
        pgp_num=7,
        size=5,
        min_size=4,
        flags=PoolFlag.HASHPSPOOL | PoolFlag.NODELETE | PoolFlag.POOL_SNAPS | PoolFlag.FULL_QUOTA,
        last_change=12,
        snap_seq=13,
        snap_epoch=14,
        snaps={13: PoolSnap(13, 15 * S, "before")},
        quota_max_bytes=16,
        quota_max_objects=17,
        tiers=(2, 3),
        tier_of=18,
        cache_mode=1,
        read_tier=19,
        write_tier=20,
        hit_set_params=HitSetParams(3, 50_000, 21, 22),
        hit_set_period=23,
        hit_set_count=24,
        stripe_width=25,
        target_max_bytes=26,
        target_max_objects=27,
        cache_target_dirty_ratio_micro=28,
        cache_target_full_ratio_micro=29,
        cache_target_dirty_high_ratio_micro=30,
        cache_min_flush_age=31,
        cache_min_evict_age=32,
        erasure_code_profile="a profile",
        last_force_op_resend=33,
        last_force_op_resend_prenautilus=34,
        last_force_op_resend_preluminous=35,
        min_read_recency_for_promote=36,
        min_write_recency_for_promote=37,
        expected_num_objects=38,
        use_gmt_hitset=False,
        fast_read=True,
        hit_set_grade_decay_rate=39,
        hit_set_search_last_n=40,
        opts={OptKey.SCRUB_MIN_INTERVAL: 1.5, OptKey.COMPRESSION_MODE: "passive", OptKey.PG_NUM_MIN: 41},
        application_metadata={"rbd": {"x": "y"}, "rgw": {}},
        create_time_ns=42 * S,
        pg_num_target=43,
        pgp_num_target=44,
        pg_num_pending=45,
        pg_autoscale_mode=2,
        last_pg_merge_meta=MergeMeta(PgId(1, 46), 47, 48, 49, EVersion(50, 51), EVersion(52, 53)),
        auid=54,
    )
    osdmap = simple_osdmap(
        FSID, 9, {1: pool, 4: PgPool(pg_num=8)}, {1: "one", 4: "four"}, dict.fromkeys(range(3), "v2:10.1.2.3:1/1")
    )
    return replace(
        osdmap,
        created_ns=60 * S + 61,
        modified_ns=62 * S,
        pool_max=63,
        flags=osdmap.flags | MapFlag.NOOUT | MapFlag.NOSCRUB,
        osd_state=[3, 1, 3],
        osd_weight=[IN, 0, IN // 2],
        client_addrs=addresses(range(3)),
        pg_temp={PgId(1, 2): (2, 0)},
        primary_temp={PgId(1, 3): 2},
        primary_affinity=[IN, IN // 4, IN],
        pg_upmap={PgId(1, 4): (0, 2)},
        pg_upmap_items={PgId(1, 5): ((0, 2), (1, 0))},
        crush_version=64,
        erasure_code_profiles={"p": {"k": "2", "m": "1"}},
        new_removed_snaps={1: ((1, 2),)},
        new_purged_snaps={1: ((7, 1),)},
        last_up_change_ns=65 * S,
        last_in_change_ns=66 * S,
        osd_only=replace(
            osdmap.osd_only,
            hb_back_addrs=addresses(range(10, 13)),
            hb_front_addrs=addresses(range(20, 23)),
            cluster_addrs=addresses(range(30, 33)),
            osd_info=[OsdInfo(*range(70 + osd, 76 + osd)) for osd in range(3)],
            osd_xinfo=[OsdXInfo(80 * S, 0, 81, 82, 83, 84 * S, 85)] * 3,
            blocklist={EntityAddr.of("10.9.9.9", 0, 90): 91 * S},
            cluster_snapshot="snap",
            cluster_snapshot_epoch=9,
            nearfull_ratio=0.25,
            full_ratio=0.75,
            backfillfull_ratio=0.5,
            require_min_compat_client=14,
            require_osd_release=15,
            removed_snaps_queue={1: ((3, 4),)},
            crush_node_flags={-1: 1 << 11},
            device_class_flags={0: 1 << 8},
            stretch=StretchMode(True, 2, 93, 94, 8),
            range_blocklist={EntityAddr.of("10.8.0.0", 0, 16, 4): 95 * S},
        ),
    )


SAME_NAME = (
    "flags", "type", "size", "min_size", "crush_rule", "object_hash", "pg_num", "pg_num_target", "pg_num_pending",
    "auid", "snap_seq", "snap_epoch", "quota_max_bytes", "quota_max_objects", "tier_of", "read_tier", "write_tier",
    "target_max_bytes", "target_max_objects", "cache_target_dirty_ratio_micro", "cache_target_full_ratio_micro",
    "cache_target_dirty_high_ratio_micro", "cache_min_flush_age", "cache_min_evict_age", "erasure_code_profile",
    "hit_set_period", "hit_set_count", "use_gmt_hitset", "min_read_recency_for_promote",
    "min_write_recency_for_promote", "hit_set_grade_decay_rate", "hit_set_search_last_n", "stripe_width",
    "expected_num_objects", "fast_read", "application_metadata",
)  # fmt: skip


def test_every_field_of_a_pool_arrives(tmp_path: Path) -> None:
    osdmap = everything()
    found = {pool["pool"]: pool for pool in dumped(osdmap, tmp_path)["pools"]}
    for number, pool in osdmap.pools.items():
        theirs = found[number]
        assert {name: theirs[name] for name in SAME_NAME} == {name: getattr(pool, name) for name in SAME_NAME}
        assert theirs["pool_name"] == osdmap.pool_names[number]
        assert (theirs["pg_placement_num"], theirs["pg_placement_num_target"]) == (pool.pgp_num, pool.pgp_num_target)
        for name in (
            "last_change",
            "last_force_op_resend",
            "last_force_op_resend_prenautilus",
            "last_force_op_resend_preluminous",
        ):
            assert theirs[name] == str(getattr(pool, name))
        assert theirs["tiers"] == list(pool.tiers)
    one = found[1]
    assert [(snap["snapid"], snap["name"]) for snap in one["pool_snaps"]] == [(13, "before")]
    assert one["cache_mode"] == "writeback"
    assert one["hit_set_params"]["type"] == "bloom"
    assert (one["hit_set_params"]["target_size"], one["hit_set_params"]["seed"]) == (21, 22)
    assert one["options"] == {"scrub_min_interval": 1.5, "compression_mode": "passive", "pg_num_min": 41}
    assert one["pg_autoscale_mode"] == "on"
    assert one["last_pg_merge_meta"] == {
        "source_pgid": "1.2e",
        "ready_epoch": 47,
        "last_epoch_started": 48,
        "last_epoch_clean": 49,
        "source_version": "50'51",
        "target_version": "52'53",
    }


def test_every_field_of_the_map_arrives(tmp_path: Path) -> None:
    osdmap, theirs = everything(), dumped(everything(), tmp_path)
    assert (theirs["epoch"], theirs["fsid"], theirs["pool_max"], theirs["max_osd"]) == (9, str(FSID), 63, 3)
    assert theirs["flags_num"] == osdmap.flags
    assert theirs["crush_version"] == 64
    for name, second in (("created", 60), ("modified", 62), ("last_up_change", 65), ("last_in_change", 66)):
        assert f":{second % 60:02}.0" in theirs[name] or theirs[name].startswith(f"{second}.0"), theirs[name]
    assert theirs["pg_temp"] == [{"pgid": "1.2", "osds": [2, 0]}]
    assert theirs["primary_temp"] == ["1.3", 2]
    assert theirs["pg_upmap"] == [{"pgid": "1.4", "osds": [0, 2]}]
    mappings = [{"from": 0, "to": 2}, {"from": 1, "to": 0}]
    assert theirs["pg_upmap_items"] == [{"pgid": "1.5", "mappings": mappings}]
    assert theirs["erasure_code_profiles"] == {"p": {"k": "2", "m": "1"}}
    assert theirs["new_removed_snaps"] == [{"pool": 1, "snaps": [{"begin": 1, "length": 2}]}]
    assert theirs["new_purged_snaps"] == [{"pool": 1, "snaps": [{"begin": 7, "length": 1}]}]


def test_every_field_for_osds_arrives(tmp_path: Path) -> None:
    osdmap, theirs = everything(), dumped(everything(), tmp_path)
    osd_only = osdmap.osd_only
    for osd, found in enumerate(theirs["osds"]):
        assert (found["osd"], found["up"], found["in"]) == (
            osd,
            int(osdmap.is_up(osd)),
            int(osdmap.osd_weight[osd] > 0),
        )
        assert found["weight"] == osdmap.osd_weight[osd] / IN
        assert found["primary_affinity"] == osdmap.primary_affinity[osd] / IN
        assert found["uuid"] == str(osd_only.osd_uuid[osd])
        assert OsdInfo(**{field: found[field] for field in OsdInfo._fields}) == osd_only.osd_info[osd]
        for name, vectors in (
            ("public_addrs", osdmap.client_addrs),
            ("cluster_addrs", osd_only.cluster_addrs),
            ("heartbeat_back_addrs", osd_only.hb_back_addrs),
            ("heartbeat_front_addrs", osd_only.hb_front_addrs),
        ):
            listed = [f"{addr['type']}:{addr['addr']}/{addr['nonce']}" for addr in found[name]["addrvec"]]
            assert listed == [str(addr) for addr in vectors[osd]]
    for info in theirs["osd_xinfo"]:
        assert (info["features"], info["old_weight"], info["laggy_interval"]) == (82, 83, 81)
    assert list(theirs["blocklist"]) == ["v2:10.9.9.9:0/90"]
    assert len(theirs["range_blocklist"]) == 1
    assert theirs["cluster_snapshot"] == "snap"
    assert (theirs["nearfull_ratio"], theirs["full_ratio"], theirs["backfillfull_ratio"]) == (0.25, 0.75, 0.5)
    assert (theirs["require_min_compat_client"], theirs["require_osd_release"]) == ("nautilus", "octopus")
    assert theirs["removed_snaps_queue"] == [{"pool": 1, "snaps": [{"begin": 3, "length": 4}]}]
    assert theirs["crush_node_flags"] == {"default": ["noout"]}
    assert theirs["stretch_mode"] == {
        "stretch_mode_enabled": True,
        "stretch_bucket_count": 2,
        "degraded_stretch_mode": 93,
        "recovering_stretch_mode": 94,
        "stretch_mode_bucket": 8,
    }


def test_a_pool_over_two_sites(tmp_path: Path) -> None:
    osdmap = everything()
    pool = replace(osdmap.pools[4], peering_crush=PeeringCrush(2, 3, 8, 5))
    (found,) = dumped(replace(osdmap, pools={4: pool}), tmp_path)["pools"]
    assert [found[f"peering_crush_bucket_{name}"] for name in ("count", "target", "barrier", "mandatory_member")] == [
        2,
        3,
        8,
        5,
    ]


def test_no_field_of_everything_has_its_default() -> None:
    """Else a mix-up of two fields would not be seen."""
    osdmap, plain = everything(), OSDMap(fsid=FSID, epoch=0)
    later = {"pg_upmap_primaries", "allow_crimson"}
    for mine, other in ((osdmap, plain), (osdmap.osd_only, plain.osd_only)):
        for field in fields(mine):
            if field.compare and field.name not in {*later, "fsid"}:
                assert getattr(mine, field.name) != getattr(other, field.name), field.name


@pytest.mark.parametrize("seed", range(6))
def test_random_maps_print(seed: int, tmp_path: Path) -> None:
    osdmap = random_osdmap(seed)
    path = tmp_path / "osdmap"
    path.write_bytes(encode_osdmap(osdmap))
    text = run_tool("osdmaptool", "--print", path)
    assert f"epoch {osdmap.epoch}\nfsid {osdmap.fsid}\n" in text
    assert len(re.findall(r"^pool \d+ '", text, re.MULTILINE)) == len(osdmap.pools)
    assert len(re.findall(r"^osd\.\d+ ", text, re.MULTILINE)) == sum(map(osdmap.exists, range(osdmap.max_osd)))


def test_a_map_that_the_tool_made_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "osdmap"
    run_tool("osdmaptool", "--createsimple", "12", path, "--with-default-pool", "--clobber")
    data = path.read_bytes()
    osdmap = decode_osdmap(data)
    assert osdmap.max_osd == 12
    assert encode_osdmap(osdmap, SUPPORTED & ~(1 << 31)) == data
    run_tool("osdmaptool", path, "--adjust-crush-weight", "3:0.25", "--save")
    assert path.read_bytes() != data
    assert encode_osdmap(decode_osdmap(path.read_bytes()), SUPPORTED & ~(1 << 31)) == path.read_bytes()


def test_monitor_maps(tmp_path: Path) -> None:
    v2, v1 = EntityAddr.parse("v2:10.0.0.1:3300/0"), EntityAddr.parse("v1:10.0.0.1:6789/0")
    infos = {"a": MonInfo("a", (v2, v1)), "b": MonInfo("b", (EntityAddr.parse("v2:[fd00::2]:3300/0"),))}
    monmap = MonMap(fsid=FSID, epoch=3, mon_info=infos, ranks=("b", "a"), min_mon_release=16)
    path = tmp_path / "monmap"
    path.write_bytes(encode_monmap(monmap))
    text = run_tool("monmaptool", "--print", path)
    assert f"epoch 3\nfsid {FSID}\n" in text
    assert "min_mon_release 16 (pacific)" in text
    assert "0: v2:[fd00::2]:3300/0 mon.b\n1: [v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0] mon.a\n" in text
    run_tool("monmaptool", "--create", "--clobber", "--fsid", str(FSID), "--addv", "x", f"[{v2},{v1}]", path)
    run_tool("monmaptool", "--add", "y", "10.0.0.9:3300", path)
    data = path.read_bytes()
    theirs = decode_monmap(data)
    assert encode_monmap(theirs) == data
    assert theirs.fsid == FSID
    assert [(name, rank) for name, rank, _ in theirs.addresses()] == [("x", 0), ("y", 1)]
    assert theirs.addresses()[0][2] == v2
