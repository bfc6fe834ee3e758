"""Answers that say an operation was not done, and where or when to try it instead.

    redirect   it belongs to another object or pool: there, past all caches
    EAGAIN     not by this OSD now (a replica that can't serve a read, for one): to the primary, at once
    ENXIO      not by this OSD at all, says its map; most clusters are silent then. After a while, by a newer map

It goes again under a new tid, except for a write that was sent several times: the answer is about the last time only,
and OSDs recognize what they have carried out before by its tid. So that one is kept. Another place would not
recognize it: such a write does not follow a redirect, its outcome is unknown.

And answers that say nothing of the times before: an OSD looks whether a client may (EPERM), or is locked out
(EBLOCKLISTED), or is at the right place (ENXIO) before it looks whether it has done the same request already. A write
that was sent several times and ends so may have happened.

Source: Ceph's Objecter::handle_osd_op_reply, request_redirect_t, osd_enxio_on_misdirected_op; PrimaryLogPG::do_op.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..wire.messages import MOSDOpReply
from ..wire.osd_ops import RequestFlag
from .errors import EBLOCKLISTED
from .operations import fresh_ops
from .replicas import REPLICA_READS
from .session import Op

if TYPE_CHECKING:
    from .objecter import Objecter

GO_AGAIN = frozenset((-errno.EAGAIN, -errno.ENXIO))
REFUSALS = frozenset((-errno.EPERM, -EBLOCKLISTED))
OTHERWISE = GO_AGAIN | REFUSALS
"""Results that need a second look."""
AT_ONCE_MAX = 8
"""Resubmissions without a delay; after that an OSD that keeps saying EAGAIN is asked less often."""
DELAY_S = 0.01
MISDIRECTED_MAX = 6
"""How often an operation goes to an OSD that says ENXIO; between, there is time for the map that the OSD has."""
MISDIRECTED_DELAY_S = 0.05

_ACK = int(RequestFlag.ACK)
_REDIRECTED = int(RequestFlag.REDIRECTED | RequestFlag.IGNORE_CACHE | RequestFlag.IGNORE_OVERLAY)


def answered_otherwise(objecter: Objecter, op: Op, message: MOSDOpReply) -> None:
    """Let an operation with such an answer go again, or end with it if there is no point."""
    redirect = message.redirect
    lost_before = op.is_write and op.attempts > 1
    if redirect is not None and lost_before:
        objecter._finish_op(op, -errno.EREMOTE, unknown=True)
    elif redirect is not None:
        locator, oid = redirect.locator, redirect.oid or op.key[1]
        op.locator, op.key = locator, (locator.pool, oid, locator.key, locator.nspace)
        op.flags |= _REDIRECTED
        op.pool_ever_existed, op.map_dne_bound = False, 0
        _resubmit(objecter, op, DELAY_S if op.eagain >= AT_ONCE_MAX else 0.0)
    elif message.result in REFUSALS:
        # what executed the vector says so by a flag, or a version
        unknown = lost_before and not message.flags & _ACK and not message.user_version
        objecter._finish_op(op, message.result, message.user_version, message.ops, unknown)
    elif message.result == -errno.EAGAIN:
        _resubmit(objecter, op, DELAY_S if op.eagain >= AT_ONCE_MAX else 0.0)
    elif message.flags & _ACK or op.eagain >= MISDIRECTED_MAX:
        # it was the answer of the vector itself, or there is no end of it
        unknown = lost_before and not message.flags & _ACK
        objecter._finish_op(op, message.result, message.user_version, message.ops, unknown)
    else:
        objecter.request_map()
        _resubmit(objecter, op, MISDIRECTED_DELAY_S * 2.0**op.eagain)


def _resubmit(objecter: Objecter, op: Op, delay_s: float) -> None:
    """Forget the placement, and submit anew."""
    assert op.session is not None
    del op.session.ops[op.tid]
    op.session = None
    op.flags &= ~REPLICA_READS
    op.target = None
    if not op.is_write or op.attempts == 1:
        op.attempts = 0
        op.ops = fresh_ops(op.ops)
    op.eagain += 1
    if delay_s:
        op.retry_timer = objecter._loop.call_later(delay_s, _submit_now, objecter, op)
    else:
        _submit_now(objecter, op)


def _submit_now(objecter: Objecter, op: Op) -> None:
    op.retry_timer = None
    if op.attempts:
        objecter._place(op, objecter._calc_target(op))
    else:
        objecter._op_submit(op)
