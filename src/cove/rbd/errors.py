"""Errors of the image layer. They are `rados` errors with an errno, as librbd's are: what a caller of `rbd` sees.

Source: Ceph's librbd (which errno stands for what).
"""

from __future__ import annotations

import errno
import os

from ..rados.errors import Error as RadosError


class Error(RadosError):
    """An operation on an image failed. `errno` is positive."""


class ImageNotFound(Error):
    """There is no such image."""

    errno = errno.ENOENT


class ImageExists(Error):
    """The name is taken."""

    errno = errno.EEXIST


class ImageBusy(Error):
    """Somebody else has the image open for writing, or locked it by hand."""

    errno = errno.EBUSY


class ReadOnlyImage(Error):
    """A change of an image that is open read-only, or that may only be read."""

    errno = errno.EROFS


class InvalidArgument(Error):
    """An argument is wrong or does not fit the others."""

    errno = errno.EINVAL


class ArgumentOutOfRange(Error):
    """The order is outside of 12 to 25."""

    errno = errno.EDOM


class FunctionNotSupported(Error):
    """The image needs a feature that is not known here."""

    errno = errno.ENOSYS


class ImageClosed(Error):
    """The image has been closed."""

    errno = errno.ESHUTDOWN


class CompareMismatch(Error):
    """compare_and_write found other bytes; `offset` is the first image offset that differs."""

    errno = errno.EILSEQ

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


BY_ERRNO: dict[int, type[Error]] = {
    cls.errno: cls
    for cls in (
        ImageNotFound,
        ImageExists,
        ImageBusy,
        ReadOnlyImage,
        InvalidArgument,
        ArgumentOutOfRange,
        FunctionNotSupported,
    )
}


def image_error(number: int, message: str) -> Error:
    """The error of this module for a positive errno."""
    cls = BY_ERRNO.get(number, Error)
    return cls(f"{message}: {os.strerror(number)} [{errno.errorcode.get(number, number)}]", errno=number)
