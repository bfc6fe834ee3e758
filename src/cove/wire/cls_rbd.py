"""Class `rbd`: the methods by which images are made, opened and kept, their structures, and the keys that they use.

One table for both ends: `cove.rbd` packs inputs and unpacks outputs by it, the store's class does the reverse.

Source: Ceph's cls/rbd (cls_rbd.cc, cls_rbd_types.h), include/rbd/features.h: names, layouts and meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar

from .encoding import Decoder, Encoder
from .object_map import ObjectMap
from .structure import (
    BLOB,
    BOOL,
    I64,
    NOTHING,
    RAW,
    STR,
    U8,
    U32,
    U64,
    UTIME,
    ClassMethod,
    Codec,
    Structure,
    list_of,
    map_of,
    optional,
    trailing,
)
from .types import NOSNAP, SnapContext

DIRECTORY = "rbd_directory"
TRASH = "rbd_trash"
MIRRORING = "rbd_mirroring"
CHILDREN = "rbd_children"
INFO = "rbd_info"
ID_PREFIX = "rbd_id."
HEADER_PREFIX = "rbd_header."
OBJECT_MAP_PREFIX = "rbd_object_map."
DATA_PREFIX = "rbd_data."

# keys of a header object
KEY_SIZE = "size"
KEY_ORDER = "order"
KEY_FEATURES = "features"
KEY_OBJECT_PREFIX = "object_prefix"
KEY_SNAP_SEQ = "snap_seq"
KEY_CREATE_TIMESTAMP = "create_timestamp"
KEY_ACCESS_TIMESTAMP = "access_timestamp"
KEY_MODIFY_TIMESTAMP = "modify_timestamp"
KEY_DATA_POOL_ID = "data_pool_id"
KEY_STRIPE_UNIT = "stripe_unit"
KEY_STRIPE_COUNT = "stripe_count"
KEY_FLAGS = "flags"
KEY_OP_FEATURES = "op_features"
KEY_PARENT = "parent"
KEY_SNAP_LIMIT = "snap_limit"
KEY_GROUP_REF = "rbd_group_ref"
SNAPSHOT_PREFIX = "snapshot_"
METADATA_PREFIX = "metadata_"
# keys of a directory and of the trash
DIR_NAME_PREFIX = "name_"
DIR_ID_PREFIX = "id_"
DIR_STATE_KEY = "state"


def id_object(name: str) -> str:
    """The object that holds the id of the image with that name."""
    return ID_PREFIX + name


def header_object(image_id: str) -> str:
    """The object that holds an image's settings in its omap."""
    return HEADER_PREFIX + image_id


def object_map_object(image_id: str, snap_id: int = NOSNAP) -> str:
    """The object that holds the object map of the image or of one of its snapshots."""
    return OBJECT_MAP_PREFIX + image_id + ("" if snap_id == NOSNAP else f".{snap_id:016x}")


def data_object(object_prefix: str, number: int) -> str:
    """One data object of the image with that prefix."""
    return f"{object_prefix}.{number:016x}"


class Feature(IntFlag):
    """Image features."""

    LAYERING = 1
    STRIPINGV2 = 2
    EXCLUSIVE_LOCK = 4
    OBJECT_MAP = 8
    FAST_DIFF = 16
    DEEP_FLATTEN = 32
    JOURNALING = 64
    DATA_POOL = 128
    OPERATIONS = 256
    MIGRATING = 512
    NON_PRIMARY = 1024
    DIRTY_CACHE = 2048


FEATURES_ALL = 4095
FEATURES_INCOMPATIBLE = 2179
"""Who does not know one of these cannot even read the image."""
FEATURES_RW_INCOMPATIBLE = 4095
FEATURES_MUTABLE = 3164
FEATURES_DISABLE_ONLY = 32
FEATURES_INTERNAL = 768
FEATURES_DEFAULT = 61


class ImageFlag(IntFlag):
    """What of an image's maps must not be trusted."""

    OBJECT_MAP_INVALID = 1
    FAST_DIFF_INVALID = 2


class OperationFeature(IntFlag):
    """What an image's maintenance must know of."""

    CLONE_PARENT = 1
    CLONE_CHILD = 2
    GROUP = 4
    SNAP_TRASH = 8


OPERATION_FEATURES_ALL = 15


class DirectoryState(IntEnum):
    """Whether images may be added."""

    READY = 0
    ADD_DISABLED = 1


class TrashSource(IntEnum):
    """Who moved an image to the trash."""

    USER = 0
    MIRRORING = 1
    MIGRATION = 2
    REMOVING = 3
    USER_PARENT = 4


class TrashState(IntEnum):
    """What is being done with an image in the trash."""

    NORMAL = 0
    MOVING = 1
    REMOVING = 2
    RESTORING = 3


@dataclass(frozen=True, slots=True)
class CreateImage(Structure):
    """Input of `create`. `data_pool` -1: the data is in the image's own pool."""

    size: int
    order: int
    features: int
    object_prefix: str
    data_pool: int = -1

    FIELDS: ClassVar = (
        ("size", U64),
        ("order", U8),
        ("features", U64),
        ("object_prefix", STR),
        ("data_pool", trailing(I64, -1)),
    )


@dataclass(frozen=True, slots=True)
class ImageSize(Structure):
    """Output of `get_size`: log2 of the object size, and the image's bytes."""

    order: int
    size: int

    FIELDS: ClassVar = (("order", U8), ("size", U64))


@dataclass(frozen=True, slots=True)
class GetFeatures(Structure):
    """Input of `get_features`."""

    snap_id: int = NOSNAP
    read_only: bool = False

    FIELDS: ClassVar = (("snap_id", U64), ("read_only", trailing(BOOL, False)))


@dataclass(frozen=True, slots=True)
class ImageFeatures(Structure):
    """Output of `get_features`."""

    features: int
    incompatible: int

    FIELDS: ClassVar = (("features", U64), ("incompatible", U64))


@dataclass(frozen=True, slots=True)
class MaskedValue(Structure):
    """Bits to set: those of `value` within `mask`."""

    value: int
    mask: int

    FIELDS: ClassVar = (("value", U64), ("mask", U64))


@dataclass(frozen=True, slots=True)
class SetFlags(Structure):
    """Input of `set_flags`."""

    flags: int
    mask: int
    snap_id: int = NOSNAP

    FIELDS: ClassVar = (("flags", U64), ("mask", U64), ("snap_id", trailing(U64, NOSNAP)))


@dataclass(frozen=True, slots=True)
class Striping(Structure):
    """Stripe unit (bytes) and count."""

    unit: int
    count: int

    FIELDS: ClassVar = (("unit", U64), ("count", U64))


@dataclass(frozen=True, slots=True)
class ParentImageSpec(Structure):
    """Which snapshot a clone was made from; pool -1: none."""

    pool: int = -1
    namespace: str = ""
    image_id: str = ""
    snap_id: int = NOSNAP

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("pool", I64), ("namespace", STR), ("image_id", STR), ("snap_id", U64))

    @property
    def exists(self) -> bool:
        """Whether it names a parent."""
        return self.pool >= 0 and bool(self.image_id) and self.snap_id != NOSNAP


@dataclass(frozen=True, slots=True)
class Parent(Structure):
    """Value of the key `parent`."""

    pool: int
    namespace: str
    image_id: str
    snap_id: int
    head_overlap: int | None

    FRAME: ClassVar = (2, 2)
    FIELDS: ClassVar = (
        ("pool", I64),
        ("namespace", STR),
        ("image_id", STR),
        ("snap_id", U64),
        ("head_overlap", optional(U64)),
    )

    @classmethod
    def decode(cls, decoder: Decoder) -> Parent:
        """Version 1 had no namespace, and its overlap is always there."""
        with decoder.versioned(2) as version:
            if version >= 2:
                return cls.decode_fields(decoder)
            return cls(decoder.i64(), "", decoder.str(), decoder.u64(), decoder.u64())


@dataclass(frozen=True, slots=True)
class KeysAfter(Structure):
    """Input of the listings: names after `start_after`, at most `max_return`."""

    start_after: str = ""
    max_return: int = 1024

    FIELDS: ClassVar = (("start_after", STR), ("max_return", U64))


@dataclass(frozen=True, slots=True)
class GroupSpec(Structure):
    """The group that an image belongs to; pool -1: none."""

    pool: int = -1
    group_id: str = ""

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("pool", I64), ("group_id", STR))


@dataclass(frozen=True, slots=True)
class DirectoryImage(Structure):
    """Input of `dir_add_image` and `dir_remove_image`."""

    name: str
    image_id: str

    FIELDS: ClassVar = (("name", STR), ("image_id", STR))


@dataclass(frozen=True, slots=True)
class DirectoryRename(Structure):
    """Input of `dir_rename_image`."""

    source: str
    destination: str
    image_id: str

    FIELDS: ClassVar = (("source", STR), ("destination", STR), ("image_id", STR))


@dataclass(frozen=True, slots=True)
class ObjectMapResize(Structure):
    """Input of `object_map_resize`."""

    count: int
    state: int = 0

    FIELDS: ClassVar = (("count", U64), ("state", U8))


@dataclass(frozen=True, slots=True)
class ObjectMapUpdate(Structure):
    """Input of `object_map_update`: objects [start, end) become `new` where they are `current` (None: anywhere)."""

    start: int
    end: int
    new: int
    current: int | None = None

    FIELDS: ClassVar = (("start", U64), ("end", U64), ("new", U8), ("current", optional(U8)))


@dataclass(frozen=True, slots=True)
class TrashImage(Structure):
    """An image in the trash. Times are nanoseconds since the epoch."""

    source: int
    name: str
    deletion_ns: int
    deferment_end_ns: int
    state: int = TrashState.NORMAL

    FRAME: ClassVar = (2, 1)
    FIELDS: ClassVar = (
        ("source", U8),
        ("name", STR),
        ("deletion_ns", UTIME),
        ("deferment_end_ns", UTIME),
        ("state", trailing(U8, TrashState.NORMAL)),
    )


@dataclass(frozen=True, slots=True)
class TrashAdd(Structure):
    """Input of `trash_add`."""

    image_id: str
    image: TrashImage

    FIELDS: ClassVar = (("image_id", STR), ("image", TrashImage.codec()))


@dataclass(frozen=True, slots=True)
class TrashSetState(Structure):
    """Input of `trash_state_set`."""

    image_id: str
    new: int
    expected: int

    FIELDS: ClassVar = (("image_id", STR), ("new", U8), ("expected", U8))


@dataclass(frozen=True, slots=True)
class MirrorImage(Structure):
    """Mirroring of one image."""

    global_id: str
    state: int
    mode: int = 0

    FRAME: ClassVar = (2, 1)
    FIELDS: ClassVar = (("global_id", STR), ("state", U8), ("mode", trailing(U8, 0)))


def _encode_snapc(encoder: Encoder, value: SnapContext) -> None:
    encoder.u64(value.seq)
    encoder.list(value.snaps, encoder.u64)


SNAP_CONTEXT: Codec[SnapContext] = Codec(
    _encode_snapc, lambda decoder: SnapContext(decoder.u64(), tuple(decoder.list(decoder.u64)))
)
OBJECT_MAP: Codec[ObjectMap] = Codec(
    lambda encoder, value: value.encode(encoder, footer=False), lambda decoder: ObjectMap.from_bytes(decoder.rest())
)
STR_TO_BLOB = map_of(STR, BLOB)
STR_TO_STR = map_of(STR, STR)
STR_TO_TRASH = map_of(STR, TrashImage.codec())
SNAP_ID = U64

# header
CREATE = ClassMethod("rbd", "create", CreateImage.codec(), NOTHING, writes=True)
GET_SIZE = ClassMethod("rbd", "get_size", SNAP_ID, ImageSize.codec())
SET_SIZE = ClassMethod("rbd", "set_size", U64, NOTHING, writes=True)
GET_FEATURES = ClassMethod("rbd", "get_features", GetFeatures.codec(), ImageFeatures.codec())
SET_FEATURES = ClassMethod("rbd", "set_features", MaskedValue.codec(), NOTHING, writes=True)
GET_ALL_FEATURES = ClassMethod("rbd", "get_all_features", NOTHING, U64)
OP_FEATURES_GET = ClassMethod("rbd", "op_features_get", NOTHING, U64)
OP_FEATURES_SET = ClassMethod("rbd", "op_features_set", MaskedValue.codec(), NOTHING, writes=True)
GET_FLAGS = ClassMethod("rbd", "get_flags", SNAP_ID, U64)
SET_FLAGS = ClassMethod("rbd", "set_flags", SetFlags.codec(), NOTHING, writes=True)
GET_SNAPCONTEXT = ClassMethod("rbd", "get_snapcontext", NOTHING, SNAP_CONTEXT)
GET_OBJECT_PREFIX = ClassMethod("rbd", "get_object_prefix", NOTHING, STR)
GET_DATA_POOL = ClassMethod("rbd", "get_data_pool", NOTHING, I64)
GET_STRIPE_UNIT_COUNT = ClassMethod("rbd", "get_stripe_unit_count", NOTHING, Striping.codec())
SET_STRIPE_UNIT_COUNT = ClassMethod("rbd", "set_stripe_unit_count", Striping.codec(), NOTHING, writes=True)
GET_CREATE_TIMESTAMP = ClassMethod("rbd", "get_create_timestamp", NOTHING, UTIME)
GET_ACCESS_TIMESTAMP = ClassMethod("rbd", "get_access_timestamp", NOTHING, UTIME)
GET_MODIFY_TIMESTAMP = ClassMethod("rbd", "get_modify_timestamp", NOTHING, UTIME)
SET_ACCESS_TIMESTAMP = ClassMethod("rbd", "set_access_timestamp", NOTHING, NOTHING, writes=True)
SET_MODIFY_TIMESTAMP = ClassMethod("rbd", "set_modify_timestamp", NOTHING, NOTHING, writes=True)
SNAPSHOT_GET_LIMIT = ClassMethod("rbd", "snapshot_get_limit", NOTHING, U64)
PARENT_GET = ClassMethod("rbd", "parent_get", NOTHING, ParentImageSpec.codec())
PARENT_OVERLAP_GET = ClassMethod("rbd", "parent_overlap_get", SNAP_ID, optional(U64))
METADATA_LIST = ClassMethod("rbd", "metadata_list", KeysAfter.codec(), STR_TO_BLOB)
METADATA_GET = ClassMethod("rbd", "metadata_get", STR, BLOB)
METADATA_SET = ClassMethod("rbd", "metadata_set", STR_TO_BLOB, NOTHING, writes=True)
METADATA_REMOVE = ClassMethod("rbd", "metadata_remove", STR, NOTHING, writes=True)
IMAGE_GROUP_GET = ClassMethod("rbd", "image_group_get", NOTHING, GroupSpec.codec())
# rbd_id.NAME
GET_ID = ClassMethod("rbd", "get_id", NOTHING, STR)
SET_ID = ClassMethod("rbd", "set_id", STR, NOTHING, writes=True)
# rbd_directory
DIR_ADD_IMAGE = ClassMethod("rbd", "dir_add_image", DirectoryImage.codec(), NOTHING, writes=True)
DIR_REMOVE_IMAGE = ClassMethod("rbd", "dir_remove_image", DirectoryImage.codec(), NOTHING, writes=True)
DIR_RENAME_IMAGE = ClassMethod("rbd", "dir_rename_image", DirectoryRename.codec(), NOTHING, writes=True)
DIR_GET_ID = ClassMethod("rbd", "dir_get_id", STR, STR)
DIR_GET_NAME = ClassMethod("rbd", "dir_get_name", STR, STR)
DIR_LIST = ClassMethod("rbd", "dir_list", KeysAfter.codec(), STR_TO_STR)
DIR_STATE_ASSERT = ClassMethod("rbd", "dir_state_assert", U8, NOTHING)
DIR_STATE_SET = ClassMethod("rbd", "dir_state_set", U8, NOTHING, writes=True)
# rbd_object_map.ID
OBJECT_MAP_LOAD = ClassMethod("rbd", "object_map_load", NOTHING, OBJECT_MAP)
OBJECT_MAP_SAVE = ClassMethod("rbd", "object_map_save", OBJECT_MAP, NOTHING, writes=True)
OBJECT_MAP_RESIZE = ClassMethod("rbd", "object_map_resize", ObjectMapResize.codec(), NOTHING, writes=True)
OBJECT_MAP_UPDATE = ClassMethod("rbd", "object_map_update", ObjectMapUpdate.codec(), NOTHING, writes=True)
OBJECT_MAP_SNAP_ADD = ClassMethod("rbd", "object_map_snap_add", NOTHING, NOTHING, writes=True)
OBJECT_MAP_SNAP_REMOVE = ClassMethod("rbd", "object_map_snap_remove", OBJECT_MAP, NOTHING, writes=True)
# rbd_trash
TRASH_ADD = ClassMethod("rbd", "trash_add", TrashAdd.codec(), NOTHING, writes=True)
TRASH_REMOVE = ClassMethod("rbd", "trash_remove", STR, NOTHING, writes=True)
TRASH_GET = ClassMethod("rbd", "trash_get", STR, TrashImage.codec())
TRASH_LIST = ClassMethod("rbd", "trash_list", KeysAfter.codec(), STR_TO_TRASH)
TRASH_STATE_SET = ClassMethod("rbd", "trash_state_set", TrashSetState.codec(), NOTHING, writes=True)
# rbd_mirroring: asked by every client
MIRROR_UUID_GET = ClassMethod("rbd", "mirror_uuid_get", NOTHING, STR)
MIRROR_MODE_GET = ClassMethod("rbd", "mirror_mode_get", NOTHING, U32)
MIRROR_IMAGE_GET = ClassMethod("rbd", "mirror_image_get", STR, MirrorImage.codec())
MIRROR_IMAGE_REMOVE = ClassMethod("rbd", "mirror_image_remove", STR, NOTHING, writes=True)
MIRROR_PEER_LIST = ClassMethod("rbd", "mirror_peer_list", NOTHING, list_of(RAW))
