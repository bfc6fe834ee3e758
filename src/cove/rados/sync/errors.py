"""The exceptions of Ceph's Python module `rados`: its classes, its hierarchy, its texts, chosen by error number.

`OSError`, `IOError` and `PermissionError` here are not Python's own of that name: all derive from `Error`.

Source: Ceph's pybind/rados (names, hierarchy, texts).
"""

from __future__ import annotations

import errno as errnos
from typing import Any

from .constants import MAX_ERRNO


class Error(Exception):
    """Anything that goes wrong. `errno` is a positive error number, or None where there is none."""

    _text = ""
    """What stands around the message."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(f"{self._text} ({message})" if self._text else message)
        self.errno = errno

    def __str__(self) -> str:
        message = str(self.args[0])
        return message if self.errno is None else f"[errno {self.errno}] {message}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[Error], args: tuple[Any, ...], state: dict[str, Any]) -> Error:
    """An error from its pickle: its text is complete already."""
    problem = cls.__new__(cls, *args)
    problem.args = args
    problem.__dict__.update(state)
    return problem


class InvalidArgumentError(Error):
    """EINVAL."""

    _text = "RADOS invalid argument"


class ExtendMismatch(Error):
    """A comparison found other bytes. `offset`: of the first that differs; `errno`: MAX_ERRNO + offset."""

    _text = "object content does not match"

    def __init__(self, message: str, errno: int, offset: int) -> None:
        super().__init__(message, errno)
        self.offset = offset


class OSError(Error):
    """The cluster or its client reports an error number; those without a class of their own are just this."""


class InterruptedOrTimeoutError(OSError):
    """EINTR."""

    _text = "RADOS interrupted or timeout"


class PermissionError(OSError):
    """EPERM."""

    _text = "RADOS permission error"


class PermissionDeniedError(OSError):
    """EACCES."""

    _text = "RADOS permission denied"


class ObjectNotFound(OSError):
    """ENOENT: no such object, pool, snapshot, option, …"""

    _text = "RADOS object not found"


class NoData(OSError):
    """ENODATA: no such attribute."""

    _text = "RADOS no data"


class ObjectExists(OSError):
    """EEXIST."""

    _text = "RADOS object exists"


class ObjectBusy(OSError):
    """EBUSY."""

    _text = "RADOS object busy"


class IOError(OSError):
    """EIO."""

    _text = "RADOS I/O error"


class NoSpace(OSError):
    """ENOSPC."""

    _text = "RADOS no space"


class NotConnected(OSError):
    """ENOTCONN."""

    _text = "RADOS not connected"


class RadosStateError(Error):
    """The handle is not (or no longer) in the state that the call needs."""

    _text = "RADOS rados state"


class IoctxStateError(Error):
    """The io context is closed."""

    _text = "RADOS Ioctx state error"


class ObjectStateError(Error):
    """The object has been removed."""

    _text = "RADOS object state error"


class LogicError(Error):
    """The caller's mistake, or an answer that can't be."""

    _text = "RADOS logic error"


class TimedOut(OSError):
    """ETIMEDOUT."""

    _text = "RADOS timed out"


class InProgress(Error):
    """EINPROGRESS."""

    _text = "RADOS in progress error"


class IsConnected(Error):
    """EISCONN."""

    _text = "RADOS is connected error"


class ConnectionShutdown(OSError):
    """ESHUTDOWN: the client is blocklisted, or its connection is gone for good."""

    _text = "RADOS connection was shutdown"


CLASSES: dict[int, type[Error]] = {
    errnos.EPERM: PermissionError,
    errnos.ENOENT: ObjectNotFound,
    errnos.EIO: IOError,
    errnos.ENOSPC: NoSpace,
    errnos.EEXIST: ObjectExists,
    errnos.EBUSY: ObjectBusy,
    errnos.ENODATA: NoData,
    errnos.EINTR: InterruptedOrTimeoutError,
    errnos.ETIMEDOUT: TimedOut,
    errnos.EACCES: PermissionDeniedError,
    errnos.EINPROGRESS: InProgress,
    errnos.EISCONN: IsConnected,
    errnos.EINVAL: InvalidArgumentError,
    errnos.ENOTCONN: NotConnected,
    errnos.ESHUTDOWN: ConnectionShutdown,
}


def make_ex(ret: int, msg: str) -> Error:
    """The exception for a result, a negative (or positive) error number."""
    number = abs(ret)
    if number >= MAX_ERRNO:
        return ExtendMismatch(msg, number, number - MAX_ERRNO)
    return CLASSES.get(number, OSError)(msg, number)
