"""Which clients are old enough for a map, and who is shut out by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from cove.wire.address import EntityAddr, plain_text
from cove.wire.compat import is_blocklisted, min_compat_client
from cove.wire.crush.map import FIREFLY, HAMMER, LEGACY, BucketAlg, CrushMap
from cove.wire.osdmap import IN, OSDMap, simple_osdmap
from cove.wire.pool import PgPool
from cove.wire.types import PgId


def a_map(**changes: Any) -> OSDMap:
    pools = {1: PgPool(pg_num=8)}
    return replace(simple_osdmap(UUID(int=1), 1, pools, {1: "rbd"}, {0: "v2:127.0.0.1:6800/1"}), **changes)


def crush(tunables: Any, alg: BucketAlg) -> CrushMap:
    plain = CrushMap.simple((0,))
    buckets = {number: replace(bucket, alg=alg) for number, bucket in plain.buckets.items()}
    return replace(plain, buckets=buckets, tunables=tunables)


OLD = crush(LEGACY, BucketAlg.STRAW)


@pytest.mark.parametrize(
    ("changes", "release"),
    [
        ({}, 10),
        ({"pg_upmap_items": {PgId(1, 0): ((0, 1),)}}, 12),
        ({"crush": replace(CrushMap.simple((0,)), choose_args={-1: {}})}, 12),
        ({"crush": crush(HAMMER, BucketAlg.STRAW2)}, 8),
        ({"crush": crush(FIREFLY, BucketAlg.STRAW)}, 6),
        ({"crush": OLD}, 4),
        ({"crush": OLD, "primary_affinity": [IN]}, 4),
        ({"crush": OLD, "primary_affinity": [0]}, 6),
        ({"crush": OLD, "pools": {1: PgPool(pg_num=8, flags=0)}}, 1),
        ({"crush": OLD, "pools": {1: PgPool(pg_num=8, tier_of=2)}}, 6),
    ],
)
def test_the_oldest_clients(changes: dict[str, Any], release: int) -> None:
    assert min_compat_client(a_map(**changes)) == release


@pytest.mark.parametrize(
    ("entry", "shut_out"),
    [
        ("any:10.0.0.1:0/77", True),
        ("v1:10.0.0.1:0/77", True),
        ("any:10.0.0.1:0/78", False),
        ("any:10.0.0.1:5/77", False),
        ("any:10.0.0.2:0/77", False),
        ("any:10.0.0.1:0/0", True),
    ],
)
def test_single_entries(entry: str, shut_out: bool) -> None:
    ours = EntityAddr.parse("any:10.0.0.1:0/77")
    assert is_blocklisted(ours, {EntityAddr.parse(entry): 0}, {}) is shut_out
    assert not is_blocklisted(EntityAddr(), {EntityAddr.parse(entry): 0}, {})


@pytest.mark.parametrize(
    ("network", "shut_out"),
    [
        ("10.0.0.0:0/24", True),
        ("10.0.0.0:0/32", False),
        ("10.0.1.0:0/24", False),
        ("0.0.0.0:0/0", True),
        ("[fd00::]:0/8", False),
        ("10.0.0.1:0/99", False),
    ],
)
def test_networks(network: str, shut_out: bool) -> None:
    ours = EntityAddr.parse("any:10.0.0.1:0/77")
    assert is_blocklisted(ours, {}, {EntityAddr.parse(f"cidr:{network}"): 0}) is shut_out


def test_addresses_as_text() -> None:
    one, two = EntityAddr.parse("any:127.0.0.1:0/5"), EntityAddr.parse("v1:127.0.0.1:0/5")
    assert plain_text((one,)) == "127.0.0.1:0/5"
    assert plain_text((one, two)) == "[127.0.0.1:0/5,v1:127.0.0.1:0/5]"
    assert plain_text(()) == "[]"
