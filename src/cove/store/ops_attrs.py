"""Operations on xattrs and omap. Handlers as in `ops_data.py`.

Source: Ceph's PrimaryLogPG::do_osd_ops.
"""

from __future__ import annotations

import errno
import operator
from collections.abc import Callable
from typing import Any

from ..wire.encoding import Decoder, Encoder
from ..wire.osd_ops import CmpMode, CmpOp, OSDOp, Xattr
from .context import ObjectContext
from .errors import OpError
from .ops_data import params_of

XATTR_NAME_MAX = 100
OMAP_KEYS_MAX = 1024
OMAP_BYTES_MAX = 1 << 30

_COMPARE: dict[int, Callable[[Any, Any], bool]] = {
    CmpOp.EQ: operator.eq,
    CmpOp.NE: operator.ne,
    CmpOp.GT: operator.gt,
    CmpOp.GTE: operator.ge,
    CmpOp.LT: operator.lt,
    CmpOp.LTE: operator.le,
}
_OMAP_COMPARE = {code: _COMPARE[code] for code in (CmpOp.EQ, CmpOp.GT, CmpOp.LT)}


def getxattr(ctx: ObjectContext, op: OSDOp) -> int:
    """Value of an xattr."""
    ctx.require_stored()
    name, _ = op.xattr_parts()
    value = ctx.stored.xattr(name)
    if value is None:
        raise OpError(errno.ENODATA)
    op.outdata = value
    return 0


def getxattrs(ctx: ObjectContext, op: OSDOp) -> int:
    """All xattrs."""
    ctx.require_stored()
    op.outdata = encode_pairs(list(ctx.stored.xattrs().items()))
    return 0


def cmpxattr(ctx: ObjectContext, op: OSDOp) -> int:
    """Compare the value given (left) with the stored one; a missing one is empty, or 0. True: result 1."""
    ctx.require_stored()
    name, given = op.xattr_parts()
    params = params_of(op, Xattr)
    compare = _COMPARE.get(params.cmp_op)
    if compare is None:
        raise OpError(errno.EINVAL)
    stored = ctx.stored.xattr(name) or b""
    if params.cmp_mode == CmpMode.STRING:
        holds = compare(given, stored)
    elif params.cmp_mode == CmpMode.U64:
        holds = compare(Decoder(given).u64(), _decimal(stored))
    else:
        raise OpError(errno.EINVAL)
    if not holds:
        raise OpError(errno.ECANCELED)
    return 1


def _decimal(text: bytes) -> int:
    """The stored attribute is decimal text; empty is 0."""
    if not text:
        return 0
    if not text.isdigit() or int(text) >= 1 << 64:
        raise OpError(errno.EINVAL)
    return int(text)


def setxattr(ctx: ObjectContext, op: OSDOp) -> int:
    """Set an xattr."""
    name, value = op.xattr_parts()
    if len(name) > XATTR_NAME_MAX:
        raise OpError(errno.ENAMETOOLONG)
    ctx.set_xattr(name, value)
    return 0


def rmxattr(ctx: ObjectContext, op: OSDOp) -> int:
    """Remove an xattr; an absent one is no error."""
    ctx.require()
    name, _ = op.xattr_parts()
    ctx.remove_xattr(name)
    return 0


def encode_pairs(items: list[tuple[bytes, bytes]]) -> bytes:
    """u32 count, then names and values, in the order given."""
    encoder = Encoder()
    encoder.u32(len(items))
    for key, value in items:
        encoder.blob(key)
        encoder.blob(value)
    return encoder.bytes()


def _page(ctx: ObjectContext, after: bytes, count: int, prefix: bytes) -> tuple[list[tuple[bytes, bytes]], bool]:
    """Entries after a key, with a prefix; and whether there are more."""
    count = min(count, OMAP_KEYS_MAX)
    start = prefix if prefix > after else after + b"\0"
    found: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in ctx.stored.omap_items(start):
        if not key.startswith(prefix):
            return found, False
        if len(found) >= count or size >= OMAP_BYTES_MAX:
            return found, True
        found.append((key, value))
        size += len(key) + len(value)
    return found, False


def omap_get_keys(ctx: ObjectContext, op: OSDOp) -> None:
    """Keys after one, and whether there are more."""
    ctx.require_stored()
    decoder = Decoder(op.indata)
    found, more = _page(ctx, decoder.blob(), decoder.u64(), b"")
    encoder = Encoder()
    encoder.list([key for key, _ in found], encoder.blob)
    encoder.bool(more)
    op.outdata = encoder.bytes()


def omap_get_vals(ctx: ObjectContext, op: OSDOp) -> None:
    """Keys after one and with a prefix, their values, and whether there are more."""
    ctx.require_stored()
    decoder = Decoder(op.indata)
    found, more = _page(ctx, decoder.blob(), decoder.u64(), decoder.blob())
    op.outdata = encode_pairs(found) + (b"\1" if more else b"\0")


def omap_get_header(ctx: ObjectContext, op: OSDOp) -> None:
    """The header as it is."""
    ctx.require_stored()
    op.outdata = ctx.stored.omap_header()


def omap_get_vals_by_keys(ctx: ObjectContext, op: OSDOp) -> None:
    """The values of those keys that are there."""
    ctx.require_stored()
    decoder = Decoder(op.indata)
    wanted = sorted(set(decoder.list(decoder.blob)))
    found = [(key, ctx.stored.omap_value(key)) for key in wanted]
    op.outdata = encode_pairs([(key, value) for key, value in found if value is not None])


def omap_cmp(ctx: ObjectContext, op: OSDOp) -> None:
    """Compare stored values (left) with those given; a missing key is empty. All must hold."""
    ctx.require_stored()
    decoder = Decoder(op.indata)
    wanted = decoder.map(decoder.blob, lambda: (decoder.blob(), decoder.i32()))
    for key, (given, code) in wanted.items():
        compare = _OMAP_COMPARE.get(CmpOp(code)) if code in CmpOp.__members__.values() else None
        if compare is None:
            raise OpError(errno.EINVAL)
        if not compare(ctx.stored.omap_value(key) or b"", given):
            raise OpError(errno.ECANCELED)


def omap_set_vals(ctx: ObjectContext, op: OSDOp) -> int:
    """Set keys."""
    decoder = Decoder(op.indata)
    ctx.omap_set(decoder.map(decoder.blob, decoder.blob))
    return 0


def omap_set_header(ctx: ObjectContext, op: OSDOp) -> int:
    """Set the header."""
    ctx.omap_set_header(bytes(op.indata))
    return 0


def omap_clear(ctx: ObjectContext, op: OSDOp) -> int:
    """Remove all keys and the header."""
    ctx.omap_clear()
    return 0


def omap_rm_keys(ctx: ObjectContext, op: OSDOp) -> int:
    """Remove keys; absent ones are no error."""
    ctx.require()
    decoder = Decoder(op.indata)
    ctx.omap_remove(decoder.list(decoder.blob))
    return 0


def omap_rm_key_range(ctx: ObjectContext, op: OSDOp) -> int:
    """Remove the keys of [begin, end)."""
    ctx.require()
    decoder = Decoder(op.indata)
    ctx.omap_remove_range(decoder.blob(), decoder.blob())
    return 0
