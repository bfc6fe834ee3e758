"""Block device images on RADOS, as librbd lays them out: asyncio-native, with many requests in flight."""

from .copy import copy_image, create_from_file, create_from_image, import_file, import_stream
from .create import Created, create, init_pool
from .errors import (
    ArgumentOutOfRange,
    CompareMismatch,
    Error,
    FunctionNotSupported,
    ImageBusy,
    ImageClosed,
    ImageExists,
    ImageNotFound,
    InvalidArgument,
    ReadOnlyImage,
)
from .features import names as feature_names
from .image import Image, ImageStat
from .layout import Layout
from .listing import list_entries, list_images, rename
from .remove import remove, repair

__all__ = [
    "ArgumentOutOfRange",
    "CompareMismatch",
    "Created",
    "Error",
    "FunctionNotSupported",
    "Image",
    "ImageBusy",
    "ImageClosed",
    "ImageExists",
    "ImageNotFound",
    "ImageStat",
    "InvalidArgument",
    "Layout",
    "ReadOnlyImage",
    "copy_image",
    "create",
    "create_from_file",
    "create_from_image",
    "feature_names",
    "import_file",
    "import_stream",
    "init_pool",
    "list_entries",
    "list_images",
    "remove",
    "rename",
    "repair",
]
