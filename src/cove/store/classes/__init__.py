"""Object classes: methods that run where the object is, as part of a vector of operations."""

from . import lock, rbd_directory, rbd_header, rbd_object_map, rbd_trash
from .registry import Method, cls_method, find_method

__all__ = ["Method", "cls_method", "find_method", "lock", "rbd_directory", "rbd_header", "rbd_object_map", "rbd_trash"]
