"""Class `rbd`, the methods on `rbd_header.ID`: what an image is.

Snapshots, clones and groups come with their own methods later; what is read here already knows of their keys.

Source: Ceph's cls/rbd/cls_rbd.cc (behaviour).
"""

from __future__ import annotations

import errno

from ...wire import cls_rbd as rbd
from ...wire.cls_rbd import Feature
from ...wire.encoding import Decoder
from ...wire.structure import I64, STR, U8, U64, UTIME
from ...wire.types import NOSNAP, SnapContext
from ..errors import OpError
from .context import ClassContext, decode_stored
from .registry import cls_method

_PARENT = rbd.Parent.codec()
_UNLIMITED = (1 << 64) - 1
_METADATA_PAGE = 64


@cls_method(rbd.CREATE)
def create(ctx: ClassContext, request: rbd.CreateImage) -> None:
    """Fill a new header."""
    if request.features & ~rbd.FEATURES_ALL:
        raise OpError(errno.ENOSYS)
    if not request.object_prefix:
        raise OpError(errno.EINVAL)
    if ctx.find(rbd.KEY_OBJECT_PREFIX) is not None:
        raise OpError(errno.EEXIST)
    has_pool = request.data_pool != -1
    if request.features & Feature.OPERATIONS or bool(request.features & Feature.DATA_POOL) != has_pool:
        raise OpError(errno.EINVAL)
    now = UTIME.pack(ctx.now_ns)
    items = {
        rbd.KEY_SIZE: U64.pack(request.size),
        rbd.KEY_ORDER: U8.pack(request.order),
        rbd.KEY_FEATURES: U64.pack(request.features),
        rbd.KEY_OBJECT_PREFIX: STR.pack(request.object_prefix),
        rbd.KEY_SNAP_SEQ: U64.pack(0),
        rbd.KEY_CREATE_TIMESTAMP: now,
        rbd.KEY_ACCESS_TIMESTAMP: now,
        rbd.KEY_MODIFY_TIMESTAMP: now,
    }
    if has_pool:
        items[rbd.KEY_DATA_POOL_ID] = I64.pack(request.data_pool)
    ctx.put_all(items)


def _snapshot(ctx: ClassContext, snap_id: int) -> tuple[int, int, int | None]:
    """Size, flags and parent overlap out of a snapshot's record. Raises ENOENT."""
    record = ctx.get(f"{rbd.SNAPSHOT_PREFIX}{snap_id:016x}")
    return decode_stored(_decode_snapshot, record)


def _decode_snapshot(record: bytes) -> tuple[int, int, int | None]:
    decoder = Decoder(record)
    with decoder.versioned(8):
        decoder.u64()
        decoder.str()
        size = decoder.u64()
        decoder.u8()
        flags = decoder.u64()
        with decoder.versioned(1):
            pass  # the namespace
        decoder.utime()
        decoder.u32()
        return size, flags, decoder.optional(decoder.u64)


@cls_method(rbd.GET_SIZE)
def get_size(ctx: ClassContext, snap_id: int) -> rbd.ImageSize:
    """Order and size of the image or of a snapshot."""
    order = ctx.load(rbd.KEY_ORDER, U8)
    size = ctx.load(rbd.KEY_SIZE, U64) if snap_id == NOSNAP else _snapshot(ctx, snap_id)[0]
    return rbd.ImageSize(order, size)


@cls_method(rbd.SET_SIZE)
def set_size(ctx: ClassContext, size: int) -> None:
    """Resize; a clone keeps no more of its parent than it has room for."""
    old = ctx.load(rbd.KEY_SIZE, U64)
    ctx.save(rbd.KEY_SIZE, U64, size)
    if size < old:
        parent = ctx.find(rbd.KEY_PARENT)
        if parent is not None:
            spec = decode_stored(_PARENT.unpack, parent)
            if spec.head_overlap is not None and spec.head_overlap > size:
                shrunk = rbd.Parent(spec.pool, spec.namespace, spec.image_id, spec.snap_id, size)
                ctx.save(rbd.KEY_PARENT, _PARENT, shrunk)


@cls_method(rbd.GET_FEATURES)
def get_features(ctx: ClassContext, request: rbd.GetFeatures) -> rbd.ImageFeatures:
    """Features, and those of them that a client must know to read or to write."""
    features = ctx.load(rbd.KEY_FEATURES, U64)
    mask = rbd.FEATURES_INCOMPATIBLE if request.read_only else rbd.FEATURES_RW_INCOMPATIBLE
    return rbd.ImageFeatures(features, features & mask)


@cls_method(rbd.SET_FEATURES)
def set_features(ctx: ClassContext, request: rbd.MaskedValue) -> None:
    """Switch features that may be switched."""
    if request.mask & rbd.FEATURES_INTERNAL:
        raise OpError(errno.EINVAL)
    mask = request.mask & rbd.FEATURES_ALL
    switched_on = request.value & mask
    switched_off = mask & ~request.value
    if switched_on & ~rbd.FEATURES_MUTABLE:
        raise OpError(errno.EINVAL)
    if switched_off & ~(rbd.FEATURES_MUTABLE | rbd.FEATURES_DISABLE_ONLY):
        raise OpError(errno.EINVAL)
    features = ctx.load(rbd.KEY_FEATURES, U64)
    ctx.save(rbd.KEY_FEATURES, U64, (features & ~mask) | switched_on)


@cls_method(rbd.GET_ALL_FEATURES)
def get_all_features(_ctx: ClassContext, _request: None) -> int:
    """Features that this server knows."""
    return rbd.FEATURES_ALL


@cls_method(rbd.OP_FEATURES_GET)
def op_features_get(ctx: ClassContext, _request: None) -> int:
    """What maintenance operations must know of."""
    return ctx.load_or(rbd.KEY_OP_FEATURES, U64, 0)


@cls_method(rbd.OP_FEATURES_SET)
def op_features_set(ctx: ClassContext, request: rbd.MaskedValue) -> None:
    """Change operation features; the feature `operations` says whether there are any."""
    if request.mask & ~rbd.OPERATION_FEATURES_ALL:
        raise OpError(errno.EINVAL)
    old = ctx.load_or(rbd.KEY_OP_FEATURES, U64, 0)
    new = (old & ~request.mask) | (request.value & request.mask)
    if new == old:
        return
    features = ctx.load(rbd.KEY_FEATURES, U64)
    if new:
        ctx.save(rbd.KEY_OP_FEATURES, U64, new)
        features |= Feature.OPERATIONS
    else:
        ctx.drop(rbd.KEY_OP_FEATURES)
        features &= ~Feature.OPERATIONS
    ctx.save(rbd.KEY_FEATURES, U64, features)


@cls_method(rbd.GET_FLAGS)
def get_flags(ctx: ClassContext, snap_id: int) -> int:
    """Flags of the image or of a snapshot."""
    ctx.require()
    if snap_id != NOSNAP:
        return _snapshot(ctx, snap_id)[1]
    return ctx.load_or(rbd.KEY_FLAGS, U64, 0)


@cls_method(rbd.SET_FLAGS)
def set_flags(ctx: ClassContext, request: rbd.SetFlags) -> None:
    """Change flags of the image."""
    ctx.require()
    if request.snap_id != NOSNAP:
        _snapshot(ctx, request.snap_id)
        raise OpError(errno.EOPNOTSUPP)  # snapshots are not written yet
    flags = ctx.load_or(rbd.KEY_FLAGS, U64, 0)
    ctx.save(rbd.KEY_FLAGS, U64, (flags & ~request.mask) | (request.flags & request.mask))


@cls_method(rbd.GET_SNAPCONTEXT)
def get_snapcontext(ctx: ClassContext, _request: None) -> SnapContext:
    """Newest snapshot id ever, and the ids of the snapshots, descending."""
    seq = ctx.load(rbd.KEY_SNAP_SEQ, U64)
    ids = [int(key, 16) for key, _ in ctx.items(rbd.SNAPSHOT_PREFIX)]
    return SnapContext(seq, tuple(reversed(ids)))


@cls_method(rbd.GET_OBJECT_PREFIX)
def get_object_prefix(ctx: ClassContext, _request: None) -> str:
    """What the names of the data objects begin with."""
    return ctx.load(rbd.KEY_OBJECT_PREFIX, STR)


@cls_method(rbd.GET_DATA_POOL)
def get_data_pool(ctx: ClassContext, _request: None) -> int:
    """The pool of the data objects, -1 if it is the image's own."""
    return ctx.load_or(rbd.KEY_DATA_POOL_ID, I64, -1)


def _need(ctx: ClassContext, feature: Feature) -> None:
    if not ctx.load_or(rbd.KEY_FEATURES, U64, 0) & feature:
        raise OpError(errno.ENOEXEC)


@cls_method(rbd.GET_STRIPE_UNIT_COUNT)
def get_stripe_unit_count(ctx: ClassContext, _request: None) -> rbd.Striping:
    """Striping of an image that has it."""
    ctx.require()
    _need(ctx, Feature.STRIPINGV2)
    unit = ctx.load_or(rbd.KEY_STRIPE_UNIT, U64, 0) or 1 << ctx.load(rbd.KEY_ORDER, U8)
    return rbd.Striping(unit, ctx.load_or(rbd.KEY_STRIPE_COUNT, U64, 1))


@cls_method(rbd.SET_STRIPE_UNIT_COUNT)
def set_stripe_unit_count(ctx: ClassContext, request: rbd.Striping) -> None:
    """Set the striping."""
    if not request.unit or not request.count:
        raise OpError(errno.EINVAL)
    ctx.require()
    _need(ctx, Feature.STRIPINGV2)
    if (1 << ctx.load(rbd.KEY_ORDER, U8)) % request.unit:
        raise OpError(errno.EINVAL)
    ctx.put_all({rbd.KEY_STRIPE_UNIT: U64.pack(request.unit), rbd.KEY_STRIPE_COUNT: U64.pack(request.count)})


@cls_method(rbd.GET_CREATE_TIMESTAMP)
def get_create_timestamp(ctx: ClassContext, _request: None) -> int:
    """When the image was made."""
    return ctx.load_or(rbd.KEY_CREATE_TIMESTAMP, UTIME, 0)


@cls_method(rbd.GET_ACCESS_TIMESTAMP)
def get_access_timestamp(ctx: ClassContext, _request: None) -> int:
    """When the image was read, roughly."""
    return ctx.load_or(rbd.KEY_ACCESS_TIMESTAMP, UTIME, 0)


@cls_method(rbd.GET_MODIFY_TIMESTAMP)
def get_modify_timestamp(ctx: ClassContext, _request: None) -> int:
    """When the image was written, roughly."""
    return ctx.load_or(rbd.KEY_MODIFY_TIMESTAMP, UTIME, 0)


@cls_method(rbd.SET_ACCESS_TIMESTAMP)
def set_access_timestamp(ctx: ClassContext, _request: None) -> None:
    """The image is being read."""
    ctx.require()
    ctx.save(rbd.KEY_ACCESS_TIMESTAMP, UTIME, ctx.now_ns)


@cls_method(rbd.SET_MODIFY_TIMESTAMP)
def set_modify_timestamp(ctx: ClassContext, _request: None) -> None:
    """The image is being written."""
    ctx.require()
    ctx.save(rbd.KEY_MODIFY_TIMESTAMP, UTIME, ctx.now_ns)


@cls_method(rbd.SNAPSHOT_GET_LIMIT)
def snapshot_get_limit(ctx: ClassContext, _request: None) -> int:
    """How many snapshots the image may have."""
    return ctx.load_or(rbd.KEY_SNAP_LIMIT, U64, _UNLIMITED)


@cls_method(rbd.PARENT_GET)
def parent_get(ctx: ClassContext, _request: None) -> rbd.ParentImageSpec:
    """What the image was cloned from."""
    ctx.require()
    value = ctx.find(rbd.KEY_PARENT)
    if not ctx.load_or(rbd.KEY_FEATURES, U64, 0) & Feature.LAYERING or value is None:
        return rbd.ParentImageSpec()
    parent = decode_stored(_PARENT.unpack, value)
    return rbd.ParentImageSpec(parent.pool, parent.namespace, parent.image_id, parent.snap_id)


@cls_method(rbd.PARENT_OVERLAP_GET)
def parent_overlap_get(ctx: ClassContext, snap_id: int) -> int | None:
    """How many bytes of the parent show through."""
    ctx.require()
    if snap_id != NOSNAP:
        return _snapshot(ctx, snap_id)[2]
    value = ctx.find(rbd.KEY_PARENT)
    return decode_stored(_PARENT.unpack, value).head_overlap if value is not None else None


@cls_method(rbd.METADATA_LIST)
def metadata_list(ctx: ClassContext, request: rbd.KeysAfter) -> dict[str, bytes]:
    """Metadata after a key."""
    return dict(ctx.page(rbd.METADATA_PREFIX, request.start_after, request.max_return or _METADATA_PAGE))


@cls_method(rbd.METADATA_GET)
def metadata_get(ctx: ClassContext, key: str) -> bytes:
    """One value."""
    return ctx.get(rbd.METADATA_PREFIX + key)


@cls_method(rbd.METADATA_SET)
def metadata_set(ctx: ClassContext, items: dict[str, bytes]) -> None:
    """Set values."""
    ctx.put_all({rbd.METADATA_PREFIX + key: value for key, value in items.items()})


@cls_method(rbd.METADATA_REMOVE)
def metadata_remove(ctx: ClassContext, key: str) -> None:
    """Remove a value; an absent one is no error."""
    ctx.drop(rbd.METADATA_PREFIX + key)


@cls_method(rbd.IMAGE_GROUP_GET)
def image_group_get(ctx: ClassContext, _request: None) -> rbd.GroupSpec:
    """The group that the image belongs to."""
    return ctx.load_or(rbd.KEY_GROUP_REF, rbd.GroupSpec.codec(), rbd.GroupSpec())
