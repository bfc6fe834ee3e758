"""Backoffs: what an OSD does not want to be sent now, e.g. while a placement group peers or an object is unreadable.

    OSD: block [begin, end) of a group → the client acknowledges, and keeps what it would send there
    OSD: unblock → it is sent (again: the OSD has dropped what it had got), in the order of submission

A connection's end ends its backoffs: a new one begins without any.

Source: Ceph's doc/dev/osd_internals/backoff, Objecter::handle_osd_backoff.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.hobject import HObjectRange
from ..wire.messages import BackoffOp, MOSDBackoff
from ..wire.types import HObject, PgId
from .session import Op, OSDSession

BACKOFFS_MAX = 65536
"""Of one session. An OSD holds back whole groups, or single objects that it can't read."""


def holds(session: OSDSession, op: Op) -> bool:
    """Whether the session's OSD does not want this operation now. To be asked only if the session has backoffs."""
    assert op.target is not None
    ranges = session.backoffs.get(op.target.pg)
    return ranges is not None and _in_any(op, ranges.values())


def block(session: OSDSession, message: MOSDBackoff) -> MOSDBackoff | None:
    """Note what is to be held back; returns the acknowledgement (None: there are too many, and it is ignored)."""
    if sum(map(len, session.backoffs.values())) >= BACKOFFS_MAX:
        return None
    session.backoffs.setdefault(message.pg, {})[message.id] = message.range
    return MOSDBackoff(
        pg=message.pg,
        shard=message.shard,
        epoch=message.epoch,
        op=BackoffOp.ACK_BLOCK,
        id=message.id,
        begin=message.begin,
        end=message.end,
    )


def unblock(session: OSDSession, message: MOSDBackoff) -> list[Op]:
    """Forget a backoff; returns the operations that it has held back and no other does, in the order to send them."""
    ranges = session.backoffs.get(message.pg, {})
    released = ranges.pop(message.id, None)
    if not ranges:
        session.backoffs.pop(message.pg, None)
    if released is None:
        return []
    return [
        op
        for op in session.in_tid_order()
        if _is_in(op, message.pg) and released.contains(_name(op)) and not _in_any(op, ranges.values())
    ]


def _is_in(op: Op, pg: PgId) -> bool:
    return op.target is not None and op.target.pg == pg


def _in_any(op: Op, ranges: Iterable[HObjectRange]) -> bool:
    name = _name(op)
    return any(item.contains(name) for item in ranges)


def _name(op: Op) -> HObject:
    """The operation's object, as its head."""
    assert op.target is not None
    pool, oid, key, nspace = op.key
    return HObject(pool=pool, oid=oid, hash=op.target.raw_hash, key="" if key == oid else key, nspace=nspace)
