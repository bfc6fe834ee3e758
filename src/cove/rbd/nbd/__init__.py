"""Serving RBD images over the Network Block Device protocol."""

from .backend import Backend, ImageBackend
from .server import NbdServer

__all__ = ["Backend", "ImageBackend", "NbdServer"]
