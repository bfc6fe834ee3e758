"""Class `rbd`, the methods on `rbd_object_map.ID`.

Source: Ceph's cls/rbd/cls_rbd.cc (behaviour).
"""

from __future__ import annotations

import errno

from ...wire import cls_rbd as rbd
from ...wire import object_map as om
from ...wire.crc import ceph_crc32c
from ...wire.encoding import Decoder
from ...wire.errors import PeerError
from ...wire.object_map import ObjectMap, ObjectState
from ..errors import OpError
from .context import ClassContext
from .registry import cls_method


def _load(ctx: ClassContext) -> ObjectMap:
    """The whole map. Raises ENOENT for an absent object, EINVAL for a body that does not decode or has a wrong crc."""
    try:
        return ObjectMap.from_bytes(ctx.read())
    except PeerError:
        raise OpError(errno.EINVAL) from None


@cls_method(rbd.OBJECT_MAP_LOAD)
def object_map_load(ctx: ClassContext, _request: None) -> ObjectMap:
    """The whole map."""
    if not ctx.size:
        raise OpError(errno.ENOENT)
    return _load(ctx)


@cls_method(rbd.OBJECT_MAP_SAVE)
def object_map_save(ctx: ClassContext, states: ObjectMap) -> None:
    """Replace the map."""
    ctx.write_full(states.to_body())


@cls_method(rbd.OBJECT_MAP_RESIZE)
def object_map_resize(ctx: ClassContext, request: rbd.ObjectMapResize) -> None:
    """Grow with a state, or drop the last objects, which must all be in that state."""
    if request.count > om.OBJECTS_MAX or request.state > 3:
        raise OpError(errno.EINVAL)
    states = _load(ctx) if ctx.exists and ctx.size else ObjectMap()
    if request.count < states.count and states.first_not(request.count, request.state) is not None:
        raise OpError(errno.ESTALE)
    states.resize(request.count, request.state)
    ctx.write_full(states.to_body())


@cls_method(rbd.OBJECT_MAP_UPDATE)
def object_map_update(ctx: ClassContext, request: rbd.ObjectMapUpdate) -> None:
    """Set a range of objects. Only the blocks that are touched are read, checked and written, with their crcs."""
    try:
        header = ctx.read(0, om.HEADER_LENGTH)
        count = om.decode_header(header)
    except PeerError:
        raise OpError(errno.EINVAL) from None
    start, end = request.start, request.end
    if start >= end or end > count:
        raise OpError(errno.ERANGE)
    if request.new > 3:
        raise OpError(errno.EINVAL)
    first = start // om.OBJECTS_PER_BLOCK
    last = (end - 1) // om.OBJECTS_PER_BLOCK
    length = om.states_length(count)
    at = first * om.BLOCK_SIZE
    states = bytearray(ctx.read(om.HEADER_LENGTH + at, min((last + 1) * om.BLOCK_SIZE, length) - at))
    footer_at = om.HEADER_LENGTH + length
    crcs_at = footer_at + om.FOOTER_CRCS_OFFSET + 4 * first
    try:
        footer = Decoder(ctx.read(footer_at, om.FOOTER_CRCS_OFFSET))
        footer.u32()
        if footer.u32() != ceph_crc32c(0, header[4:]):
            raise PeerError("crc of the header")
        crcs = Decoder(ctx.read(crcs_at, 4 * (last - first + 1)))
        if [crcs.u32() for _ in range(last - first + 1)] != om.block_crcs(states):
            raise PeerError("crc of a block")
    except PeerError:
        raise OpError(errno.EINVAL) from None
    base = first * om.OBJECTS_PER_BLOCK
    if not om.update_states(states, start - base, end - base, request.new, request.current):
        return
    ctx.write(om.HEADER_LENGTH + at, bytes(states))
    ctx.write(crcs_at, b"".join(crc.to_bytes(4, "little") for crc in om.block_crcs(states)))


@cls_method(rbd.OBJECT_MAP_SNAP_ADD)
def object_map_snap_add(ctx: ClassContext, _request: None) -> None:
    """A snapshot was made: what exists is unchanged since."""
    states = _load(ctx)
    if states.count and states.update(0, states.count, ObjectState.EXISTS_CLEAN, ObjectState.EXISTS):
        ctx.write_full(states.to_body())


@cls_method(rbd.OBJECT_MAP_SNAP_REMOVE)
def object_map_snap_remove(ctx: ClassContext, snapshot: ObjectMap) -> None:
    """A snapshot was removed: what was clean because of it (1 in its map, or beyond its end) is so no more."""
    states = _load(ctx)
    changed = False
    for number in range(states.count):
        if states[number] == ObjectState.EXISTS_CLEAN and (
            number >= snapshot.count or snapshot[number] == ObjectState.EXISTS
        ):
            states[number] = ObjectState.EXISTS
            changed = True
    if changed:
        ctx.write_full(states.to_body())
