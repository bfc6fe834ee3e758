"""What the monitor of a store keeps: records of stores that exist already must stay readable."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

from cove.store.monitor import OSD_ADDRESS, ClusterState
from cove.wire.osdmap import USUAL_FLAGS, MapFlag
from cove.wire.osdmap_codec import decode_osdmap, encode_osdmap
from cove.wire.pool import PoolFlag
from cove.wire.types import ObjectLocator

FSID = UUID("00000000-0000-4000-8000-000000000001")
RECORD = {
    "epoch": 5,
    "flags": 0,
    "pools": {
        "1": {"name": "rbd", "pg_num": 32, "flags": 1, "snap_seq": 0},
        "4": {"name": "more", "pg_num": 16, "flags": 0x2001, "snap_seq": 3},
    },
    "next_pool": 7,
    "deleted": [5],
}


def test_a_record_is_read_and_written_the_same() -> None:
    state = ClusterState.unpack(FSID, json.dumps(RECORD).encode())
    assert json.loads(state.pack()) == RECORD
    osdmap = state.osdmap
    assert (osdmap.fsid, osdmap.epoch, osdmap.flags) == (FSID, 5, USUAL_FLAGS)
    assert osdmap.pool_names == {1: "rbd", 4: "more"}
    assert osdmap.pools[4].flags == PoolFlag.HASHPSPOOL | PoolFlag.SELFMANAGED_SNAPS
    assert (osdmap.pools[4].pg_num, osdmap.pools[4].pgp_num, osdmap.pools[4].snap_seq) == (16, 16, 3)
    assert osdmap.pool_max == 6, "numbers of pools are not used again"
    assert (state.next_pool, state.deleted) == (7, (5,))


def test_flags_that_an_operator_sets_are_kept() -> None:
    state = ClusterState.initial(FSID)
    paused = replace(state, osdmap=replace(state.osdmap, flags=USUAL_FLAGS | MapFlag.PAUSEWR))
    assert ClusterState.unpack(FSID, paused.pack()) == paused


def test_the_map_is_one_that_other_clients_understand() -> None:
    osdmap = ClusterState.initial(FSID).osdmap
    assert decode_osdmap(encode_osdmap(osdmap)) == osdmap
    assert osdmap.address_of(0) == OSD_ADDRESS
    for number, pool in osdmap.pools.items():
        for seed in range(pool.pg_num):
            assert osdmap.pg_to_osds(osdmap.actual_pg(osdmap.raw_pg("x", _at(number, seed)))).primary == 0


def _at(pool: int, seed: int) -> ObjectLocator:
    return ObjectLocator(pool, hash=seed)
