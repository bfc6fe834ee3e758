"""Any bytes are a map or a PeerError: monitor, manager and OSD maps, increments, pools; and so is what increments make.

The checksums of OSD maps are set right before they are decoded, else nothing behind them would ever be reached. What
was decoded can be encoded again, or one of its values does not fit; memory stays within a multiple of the input.

`python -m tests.fuzz.fuzz_maps` runs it with atheris; the unit tests feed it with a few inputs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

from cove.wire.address import EntityAddr
from cove.wire.crc import ceph_crc32c
from cove.wire.crush.map import encode_crush
from cove.wire.errors import PeerError, UsageError
from cove.wire.features import SUPPORTED
from cove.wire.mgrmap import MgrMap, decode_mgrmap, encode_mgrmap
from cove.wire.monmap import MonCiphers, MonInfo, MonMap, decode_monmap, encode_monmap
from cove.wire.osdmap import OSDMap, simple_osdmap
from cove.wire.osdmap_apply import apply_incremental
from cove.wire.osdmap_codec import decode_osdmap, encode_osdmap
from cove.wire.osdmap_incremental import Incremental, decode_incremental, encode_incremental
from cove.wire.pool import PgPool, PoolSnap
from cove.wire.pool_codec import POOL
from cove.wire.types import ObjectLocator, PgId

FSID = UUID("5a1e0000-0000-4000-8000-00000000abcd")
BASE = simple_osdmap(
    FSID,
    10,
    {1: PgPool(pg_num=8, size=2, snaps={3: PoolSnap(3, 4, "s")}, opts={6: "x", 15: 3, 17: 0.5})},
    {1: "rbd"},
    {osd: f"v2:10.0.0.{osd + 1}:6800/1" for osd in range(3)},
)
PLACED_MAX = 4


def one_input(data: bytes) -> None:
    """The first byte chooses what the rest is."""
    if data:
        kind, rest = data[0], data[1:]
        _KINDS[kind % len(_KINDS)](rest)


def _encodes(encode: Callable[[Any], bytes], value: object) -> bytes | None:
    try:
        return encode(value)
    except UsageError:
        return None


def _same(decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], data: bytes) -> None:
    try:
        value = decode(data)
    except PeerError:
        return
    encoded = _encodes(encode, value)
    if encoded is not None:
        # compared as bytes: a map may hold numbers that do not equal themselves
        assert encode(decode(encoded)) == encoded


def _sealed(data: bytes, crc_at: int) -> bytes:
    """With lengths and checksum made right; `crc_at` counts from the end."""
    if len(data) < 6 - crc_at:
        return data
    data = data[:2] + struct.pack("<I", len(data) - 6) + data[6:]
    end = len(data) + crc_at
    crc = ceph_crc32c(ceph_crc32c(0xFFFFFFFF, data[:end]), data[end + 4 :])
    return data[:end] + struct.pack("<I", crc) + data[end + 4 :]


def _osdmap(data: bytes) -> None:
    _same(decode_osdmap, encode_osdmap, data)
    data = _sealed(data, -4)
    _same(decode_osdmap, encode_osdmap, data)
    try:
        _look_around(decode_osdmap(data))
    except PeerError:
        return


def _look_around(osdmap: OSDMap) -> None:
    for osd in range(-1, osdmap.max_osd + 1):
        assert osdmap.address_of(osd) == "" or osdmap.exists(osd) or osd < osdmap.max_osd
    for number in list(osdmap.pools)[:PLACED_MAX]:
        try:
            pg = osdmap.actual_pg(osdmap.raw_pg("foo", ObjectLocator(number)))
            mapping = osdmap.pg_to_osds(pg)
        except PeerError:
            continue
        assert all(osd == 0x7FFFFFFF or osdmap.is_up(osd) for osd in mapping.acting)


def _incremental(data: bytes) -> None:
    _same(decode_incremental, encode_incremental, data)
    data = _sealed(data, -8)
    _same(decode_incremental, encode_incremental, data)
    try:
        following = apply_incremental(BASE, decode_incremental(data))
    except PeerError:
        return
    assert following.epoch == BASE.epoch + 1
    _look_around(following)
    encoded = _encodes(encode_osdmap, following)
    if encoded is not None:
        assert encode_osdmap(decode_osdmap(encoded)) == encoded


def _monmap(data: bytes) -> None:
    _same(decode_monmap, encode_monmap, data)
    try:
        monmap = decode_monmap(data)
    except PeerError:
        return
    for name, rank, addr in monmap.addresses():
        assert monmap.rank_of(name) == rank
        assert str(addr).startswith("v2:")


_KINDS: tuple[Callable[[bytes], None], ...] = (
    _osdmap,
    _incremental,
    _monmap,
    lambda data: _same(decode_mgrmap, encode_mgrmap, data),
    lambda data: _same(POOL.unpack, POOL.pack, data),
)


def seeds() -> list[bytes]:
    """Inputs that get far."""
    addrs = BASE.client_addrs[0]
    change = Incremental(
        fsid=FSID,
        epoch=11,
        new_pools=BASE.pools,
        new_pool_names={1: "x"},
        crush=encode_crush(BASE.crush, SUPPORTED),
        new_max_osd=4,
        new_state={0: 2, 1: 1},
        new_weight={2: 1},
        new_up_client={0: addrs},
        new_hb_back_up={0: addrs},
        new_hb_front_up={0: addrs},
        new_pg_temp={PgId(1, 2): (1, 2)},
        new_pg_upmap_items={PgId(1, 3): ((0, 1),)},
        new_removed_snaps={1: ((1, 2),)},
        new_blocklist=dict.fromkeys(addrs, 5),
    )
    infos = {"a": MonInfo("a", (EntityAddr.parse("v2:10.0.0.1:3300/0"),), crush_loc={"k": "v"}, time_added_ns=1)}
    monmap = MonMap(fsid=FSID, epoch=1, mon_info=infos, ranks=("a",), ciphers=MonCiphers())
    made = (
        encode_osdmap(BASE),
        encode_incremental(change),
        encode_monmap(monmap),
        encode_mgrmap(MgrMap(active_addrs=addrs, active_gid=3, available=True, active_name="x")),
        POOL.pack(BASE.pools[1]),
        encode_osdmap(OSDMap(fsid=FSID, epoch=1)),
    )
    return [bytes([index % len(_KINDS)]) + data for index, data in enumerate(made)]


if __name__ == "__main__":
    from .runner import main

    main(one_input, seeds())
