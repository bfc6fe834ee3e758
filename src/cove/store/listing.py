"""Listing the objects of a placement group, page by page (pgnls).

A PG holds a contiguous part of the pool's positions (bit-reversed hashes), and the table `objects` is ordered by
position: a page is a short scan. Only what is durable is listed.

Source: Ceph's PrimaryLogPG::do_pg_op, pg_nls_response_t.
"""

from __future__ import annotations

import errno
from typing import Any

from ..wire.encoding import Decoder
from ..wire.hashing import reverse_bits
from ..wire.hobject import decode_hobject, pg_bits
from ..wire.listing import ListedObject, ListPage, pack_page
from ..wire.osd_ops import OpCode, OSDOp, PgList
from ..wire.osdmap import PgPool
from ..wire.types import ALL_NSPACES, HOBJECT_MAX, HOBJECT_MIN, NOSNAP, HObject, ObjectLocator, PgId
from .engine import Engine
from .errors import OpError
from .info import ObjectInfo
from .keys import object_key, parse_full_key, position_key, to_bytes, to_text

ENTRIES_MAX = 1024
END = 1
"""Result of the last page of a placement group."""


def pg_positions(seed: int, pg_num: int) -> tuple[int, int]:
    """First position of a PG, and the one after its last; 2^32 is the end."""
    start = reverse_bits(seed)
    return start, start + (1 << (32 - pg_bits(seed, pg_num)))


def list_page(engine: Engine, pool: PgPool, pg: PgId, locator: ObjectLocator, snapid: int, op: OSDOp) -> int:
    """Fill the operation's output with one page. Returns 1 at the end of the PG, else 0.

    Raises OpError: EINVAL for a cursor outside of the PG or a snapshot; PeerError for input that does not decode.
    """
    if op.code != OpCode.PGNLS:
        raise OpError(errno.EINVAL if op.code == OpCode.PGNLS_FILTER else errno.EOPNOTSUPP)
    if snapid != NOSNAP or not isinstance(op.params, PgList):
        raise OpError(errno.EINVAL)
    cursor = decode_hobject(Decoder(op.indata))
    first, end = pg_positions(pg.seed, pool.pg_num)
    start = position_key(pg.pool, first)
    if not cursor.max and cursor != HOBJECT_MIN:
        if not first <= reverse_bits(cursor.hash) < end:
            raise OpError(errno.EINVAL)
        start = max(start, object_key(pg.pool, cursor.hash, cursor.nspace, cursor.key, cursor.oid, cursor.snap))
        if not cursor.oid:
            start = position_key(pg.pool, reverse_bits(cursor.hash))
    elif cursor.max:
        raise OpError(errno.EINVAL)
    names, following = _scan(
        engine, start, position_key(pg.pool, end), locator.nspace, min(op.params.count, ENTRIES_MAX)
    )
    if following is not None:
        handle = following
    elif end >> 32:
        handle = HOBJECT_MAX
    else:
        handle = HObject(pool=pg.pool, oid="", hash=reverse_bits(end))
    listed = [ListedObject(name.oid, name.nspace, name.key) for name in names]
    op.outdata = pack_page(ListPage(listed, handle))
    return END if following is None else 0


def _scan(engine: Engine, start: bytes, end: bytes, nspace: str, count: int) -> tuple[list[HObject], HObject | None]:
    """Names of [start, end) within a namespace, at most `count` looked at; and the next one, if there is one."""
    names: list[HObject] = []
    wanted = to_bytes(nspace)
    seen = 0
    with engine.begin() as txn:
        cursor: Any = txn.cursor(engine.objects)
        if not cursor.set_range(start):
            return names, None
        for raw, record in cursor.iternext(keys=True, values=True):
            key = bytes(raw)
            if key >= end:
                return names, None
            full_key = ObjectInfo.unpack(record).full_key or key
            pool, position, name = parse_full_key(full_key)
            found = HObject(
                pool=pool,
                oid=to_text(name.oid),
                hash=position,
                key=to_text(name.key),
                nspace=to_text(name.nspace),
                snap=name.snap,
            )
            if seen >= count:
                return names, found
            seen += 1
            if name.snap == NOSNAP and (nspace == ALL_NSPACES or name.nspace == wanted):
                names.append(found)
    return names, None
