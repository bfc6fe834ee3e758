# mypy: allow-untyped-calls
"""Placements compared with Ceph's own tools: what `osdmaptool` and `crushtool` compute from the same bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cove.wire.crush.build import make_bucket
from cove.wire.crush.map import JEWEL, BucketAlg, CrushMap, decode_crush, encode_crush
from cove.wire.crush.mapper import do_rule
from cove.wire.features import SUPPORTED
from cove.wire.osdmap import OSDMap
from cove.wire.osdmap_codec import decode_osdmap, encode_osdmap
from cove.wire.placement import pg_to_up_acting, placement_seed, raw_osds
from cove.wire.types import ObjectLocator, PgId

from .random_maps import random_osdmap, shape_of

TOOL_TIMEOUT_S = 60
MAPS = 48

pytestmark = pytest.mark.skipif(
    shutil.which("osdmaptool") is None or shutil.which("crushtool") is None, reason="needs osdmaptool and crushtool"
)


def run_tool(*args: str | Path) -> str:
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, timeout=TOOL_TIMEOUT_S)
    assert done.returncode == 0, f"{args}: {done.stderr[-2000:]}"
    return done.stdout


SET = r"\(\[([-\d,]*)\], p(-?\d+)\)"
LINE = re.compile(rf"^(\d+)\.([0-9a-f]+)\s+raw {SET} up {SET} acting {SET}$", re.MULTILINE)

Placed = tuple[tuple[int, ...], int]


def tool_placements(path: Path) -> dict[PgId, tuple[Placed, Placed, Placed]]:
    """PG → (raw, up, acting), each with its primary, as osdmaptool says."""
    found = {}
    for line in LINE.finditer(run_tool("osdmaptool", path, "--test-map-pgs-dump-all")):
        pool, seed, *sets = line.groups()
        osds = [tuple(int(osd) for osd in text.split(",") if osd) for text in sets[0::2]]
        primaries = [int(primary) for primary in sets[1::2]]
        raw, up, acting = zip(osds, primaries, strict=True)
        found[PgId(int(pool), int(seed, 16))] = (raw, up, acting)
    return found


def our_placements(osdmap: OSDMap) -> dict[PgId, tuple[Placed, Placed, Placed]]:
    found = {}
    for number, pool in osdmap.pools.items():
        for seed in range(pool.pg_num):
            pg = PgId(number, seed)
            raw = tuple(raw_osds(osdmap, number, pool, placement_seed(pool, pg)))
            up, up_primary, acting, primary = pg_to_up_acting(osdmap, pg)
            raw_primary = next((osd for osd in raw if osd != 0x7FFFFFFF), -1)
            found[pg] = ((raw, raw_primary), (up, up_primary), (acting, primary))
    return found


def assert_same(ours: dict, theirs: dict, what: str) -> None:
    assert ours.keys() == theirs.keys()
    wrong = [f"{pg}: {ours[pg]}, the tool has {theirs[pg]}" for pg in theirs if ours[pg] != theirs[pg]]
    assert not wrong, f"{what}: {len(wrong)} of {len(theirs)} differ: " + "; ".join(wrong[:3])


@pytest.mark.parametrize("seed", range(MAPS))
def test_every_placement_group_of_a_random_map(seed: int, tmp_path: Path) -> None:
    osdmap = random_osdmap(seed)
    path = tmp_path / "osdmap"
    path.write_bytes(encode_osdmap(osdmap, SUPPORTED))
    theirs = tool_placements(path)
    assert len(theirs) == sum(pool.pg_num for pool in osdmap.pools.values())
    assert_same(our_placements(osdmap), theirs, str(shape_of(seed)))


UPMAP = ("--mark-up-in", "--upmap-deviation", "1", "--upmap-max", "60", "--save", "--upmap")


@pytest.mark.parametrize("balanced", [False, True], ids=["fresh", "balanced"])
def test_maps_that_the_tool_has_made(balanced: bool, tmp_path: Path) -> None:
    path, crush = tmp_path / "osdmap", tmp_path / "crush"
    run_tool("osdmaptool", "--createsimple", "24", path, "--with-default-pool", "--pg-bits", "4")
    layers = ("host", "straw2", "3", "rack", "straw2", "4", "root", "straw2", "0")
    run_tool("crushtool", "-o", crush, "--build", "--num_osds", "24", *layers)
    run_tool("osdmaptool", path, "--import-crush", crush)
    if balanced:
        run_tool("osdmaptool", path, *UPMAP, tmp_path / "upmaps")
    osdmap = decode_osdmap(path.read_bytes())
    assert bool(osdmap.pg_upmap_items) == balanced
    assert_same(our_placements(osdmap), tool_placements(path), "a map of osdmaptool's own")


MAPPING = re.compile(r"^CRUSH rule \d+ x (\d+) \[([\d,]*)\]$", re.MULTILINE)
OLD_TUNABLES = (
    *("--set-choose-local-tries", "2", "--set-choose-local-fallback-tries", "5", "--set-choose-total-tries", "19"),
    *("--set-chooseleaf-descend-once", "0", "--set-chooseleaf-vary-r", "0", "--set-chooseleaf-stable", "0"),
    "--enable-unsafe-tunables",
)


def built_by_crushtool(path: Path, alg: BucketAlg, *options: str) -> CrushMap:
    name = alg.name.lower()
    layers = ("host", name, "4", "rack", name, "3", "root", name, "0")
    run_tool("crushtool", "-o", path, "--build", "--num_osds", "40", *layers, *options)
    run_tool("crushtool", "-i", path, "-o", path, "--create-replicated-rule", "by-rack", "root", "rack")
    run_tool("crushtool", "-i", path, "-o", path, "--create-simple-rule", "ec", "root", "host", "indep")
    return decode_crush(path.read_bytes())


@pytest.mark.parametrize("alg", BucketAlg, ids=lambda alg: alg.name)
@pytest.mark.parametrize("options", [(), OLD_TUNABLES], ids=["jewel", "legacy"])
def test_mappings_of_maps_that_crushtool_has_built(alg: BucketAlg, options: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "crush"
    crush = built_by_crushtool(path, alg, *options)
    weights = [0x10000] * crush.max_devices
    words: list[str] = []
    for device, weight in {1: 0.0, 5: 0.5, 17: 0.25, 20: 0.0, 21: 0.0, 22: 0.0, 23: 0.0}.items():
        weights[device] = int(weight * 0x10000)
        words += ["--weight", str(device), str(weight)]
    for rule in range(len(crush.rules)):
        for size in (1, 3, 6):
            number = ("--rule", str(rule), "--num-rep", str(size), "--min-x", "0", "--max-x", "99")
            output = run_tool("crushtool", "-i", path, "--test", "--show-mappings", *number, *words)
            theirs = {int(x): [int(osd) for osd in osds.split(",") if osd] for x, osds in MAPPING.findall(output)}
            assert len(theirs) == 100
            assert {x: do_rule(crush, rule, x, size, weights, 0) for x in theirs} == theirs


@pytest.mark.parametrize("alg", [alg for alg in BucketAlg if alg is not BucketAlg.STRAW], ids=lambda alg: alg.name)
def test_our_buckets_are_those_that_crushtool_builds(alg: BucketAlg, tmp_path: Path) -> None:
    crush = built_by_crushtool(tmp_path / "crush", alg)
    assert crush.tunables == JEWEL
    for bucket in crush.buckets.values():
        weights = [bucket.item_weight(index) for index in range(len(bucket.items))]
        assert make_bucket(bucket.id, bucket.type, alg, bucket.items, weights) == bucket


def test_crushtool_reads_our_map_and_writes_it_back_the_same(tmp_path: Path) -> None:
    for seed in (4, 5, 7, 8, 12):
        crush = random_osdmap(seed).crush
        ours, text, theirs = tmp_path / "ours", tmp_path / "text", tmp_path / "theirs"
        ours.write_bytes(encode_crush(crush, SUPPORTED))
        run_tool("crushtool", "-d", ours, "-o", text)
        run_tool("crushtool", "-c", text, "-o", theirs)
        back = decode_crush(theirs.read_bytes())
        assert (back.rules, back.names, back.classes) == (crush.rules, crush.names, crush.classes)
        assert back.buckets.keys() == crush.buckets.keys()


def test_object_names(tmp_path: Path) -> None:
    osdmap = random_osdmap(2)
    path = tmp_path / "osdmap"
    path.write_bytes(encode_osdmap(osdmap, SUPPORTED))
    for number in osdmap.pools:
        for name in ("foo", f"rbd_data.10226b8b4567.{number:016x}", "ä" * number):
            output = run_tool("osdmaptool", path, "--test-map-object", name, "--pool", str(number))
            pg = osdmap.actual_pg(osdmap.raw_pg(name, ObjectLocator(number)))
            found = re.search(r"-> (\d+\.[0-9a-f]+) -> \[([-\d,]*)\]", output)
            assert found is not None, output
            acting = ",".join(map(str, pg_to_up_acting(osdmap, pg).acting))
            assert found.groups() == (str(pg), acting)
