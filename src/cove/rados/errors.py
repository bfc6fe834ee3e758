"""Errors of the client: one table from error number to class, from which every error of an operation is made.

Operations answer with negative error numbers; `make_error` turns one into the class for it, with a message that
says which operation on which object failed and what can be done. `get_return_value` of a completion gives the bare
number to those who prefer it.

Source: Ceph's librados error codes; doc/rados/api/librados-intro.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ..errors import CoveError

if TYPE_CHECKING:
    from .results import OpResult

EBLOCKLISTED = errno.ESHUTDOWN
"""What a cluster answers to a client that it has locked out."""


class Error(CoveError):
    """An operation failed. `errno` is positive (`errno.ENOENT`), as in OSError.

    Attributes: errno; operation and object name (None where there is none); result: the negative number as it came.
    Of a vector of operations: `outputs`, what each of them answered, and `op_index`, which of them failed; None where
    the vector was refused before any ran, and where there was no answer.
    """

    errno: int = errno.EIO
    remedy: str = ""
    outputs: OpResult | None = None
    op_index: int | None = None

    def __init__(
        self,
        message: str = "",
        *,
        errno: int | None = None,
        operation: str | None = None,
        oid: str | None = None,
        result: int | None = None,
    ) -> None:
        if errno is not None:
            self.errno = errno
        self.operation = operation
        self.oid = oid
        self.result = -self.errno if result is None else result
        super().__init__(message or os.strerror(self.errno))


class PermissionDenied(Error):
    """The client's capabilities do not allow it (EPERM, EACCES)."""

    remedy = "check the capabilities of the client's key"


class ObjectNotFound(Error):
    """There is no such object (or pool, for operations on pools)."""

    remedy = "check object name, namespace and locator key, or create it first"


class InOutError(Error):
    """The cluster reports an I/O error, or an answer could not be understood."""

    remedy = "look at the logs of the OSD or store that serves the pool"


class ObjectExists(Error):
    """An exclusive create met an object, or a pool name is taken."""

    remedy = "choose another name, or create without exclusive=True"


class ObjectBusy(Error):
    """The object is locked, watched or otherwise in use."""

    remedy = "wait until its user has released it"


class InvalidArgument(Error):
    """The request itself is wrong: a malformed input, or values that contradict each other."""

    remedy = "check the operation's arguments"


class TooLarge(Error):
    """An offset or length beyond the largest object (EFBIG), or a request that is too large (EMSGSIZE, E2BIG)."""

    remedy = "split the data into smaller writes or objects"


class NoSpace(Error):
    """The cluster or the pool is full (ENOSPC), or a quota is used up (EDQUOT)."""

    remedy = "delete data, add storage, or raise the pool's quota"


class ReadOnly(Error):
    """A write through an io context that reads at a snapshot."""

    remedy = "call snap_set_read(None) to go back to the head before writing"


class OutOfRange(Error):
    """assert_version: the object has a newer version than the one asked for."""

    remedy = "read the object again and retry with its present version"


class NameTooLong(Error):
    """A name of an object, key, namespace or attribute is too long."""

    remedy = "shorten it: 2048 bytes for objects and keys, 256 for namespaces, 100 for attributes"


class NoData(Error):
    """There is no such attribute."""

    remedy = "check the attribute's name"


class Overflow(Error):
    """assert_version: the object is older than the version asked for; or an output is too long to be returned."""


class OldSnapContext(Error):
    """The write's snapshot context is older than what the object has seen."""

    remedy = "refresh the list of snapshots and retry"


class NotSupported(Error):
    """The OSD or store does not know the operation, object class or method; or a pool can't be used by this client."""

    remedy = (
        "use what cluster and client support; for a call, check the names of class and method; an erasure-coded pool "
        "has no object maps, and takes only appends of whole stripes unless allow_ec_overwrites is set"
    )


class NotConnected(Error):
    """A watch, or the client itself, is not connected."""

    remedy = "connect first, or register the watch again"


class Blocklisted(Error):
    """The cluster has locked this client instance out (EBLOCKLISTED, the same number as ESHUTDOWN)."""

    remedy = "open a new client; whoever took over this one's locks had it blocklisted"


class TimedOut(Error):
    """The operation did not finish in time, and is known not to have happened.

    From what only waits (`wait_for_complete`, `aio_flush`): it is not finished yet, and goes on.
    """

    remedy = "check that the cluster is up and not paused or full, or raise the time-out"


class Cancelled(Error):
    """The operation was cancelled before it was done, or a comparison in its vector did not hold (ECANCELED)."""


class Overloaded(Error):
    """More operations wait for the throttle than its bound allows (ENOBUFS)."""

    remedy = "await completions before submitting more"


class CompareMismatch(Error):
    """cmpext found other bytes. `offset`: index of the first that differs, counted from the start of the range."""

    offset = 0


class OutcomeUnknown(Error):
    """A write was sent, and its answer is lost for good: it may have happened, or may still happen.

    `errno` says why the wait ended (ETIMEDOUT, ECANCELED, ESHUTDOWN).
    """

    remedy = "read the object to see what is there, or make the write idempotent and repeat it"


ERRORS: tuple[tuple[int, type[Error]], ...] = (
    (errno.EPERM, PermissionDenied),
    (errno.EACCES, PermissionDenied),
    (errno.ENOENT, ObjectNotFound),
    (errno.EIO, InOutError),
    (errno.EEXIST, ObjectExists),
    (errno.EBUSY, ObjectBusy),
    (errno.EINVAL, InvalidArgument),
    (errno.E2BIG, TooLarge),
    (errno.EFBIG, TooLarge),
    (errno.EMSGSIZE, TooLarge),
    (errno.ENOSPC, NoSpace),
    (errno.EDQUOT, NoSpace),
    (errno.EROFS, ReadOnly),
    (errno.ERANGE, OutOfRange),
    (errno.ENAMETOOLONG, NameTooLong),
    (errno.ENODATA, NoData),
    (errno.EOVERFLOW, Overflow),
    (errno.ERESTART, OldSnapContext),
    (errno.EOPNOTSUPP, NotSupported),
    (errno.ENOTCONN, NotConnected),
    (EBLOCKLISTED, Blocklisted),
    (errno.ETIMEDOUT, TimedOut),
    (errno.ECANCELED, Cancelled),
    (errno.ENOBUFS, Overloaded),
)
"""Error number → class. A number stands here once; what is missing becomes a plain `Error`."""

CMPEXT_BASE = 4095


def _by_errno(table: tuple[tuple[int, type[Error]], ...]) -> dict[int, type[Error]]:
    """The table as a dict. Raises ValueError when a number is claimed twice, or two classes share a name."""
    found: dict[int, type[Error]] = {}
    names: dict[str, type[Error]] = {}
    for number, cls in table:
        if number in found:
            raise ValueError(f"errno {number} belongs to {found[number].__name__} already, not to {cls.__name__}")
        if names.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(f"two error classes are named {cls.__name__}")
        found[number] = cls
        if cls.errno == Error.errno:
            cls.errno = number
    return found


_CLASSES = _by_errno(ERRORS)


def error_class(result: int) -> type[Error]:
    """The class for a result, given as a negative or positive error number."""
    number = abs(result)
    if result <= -CMPEXT_BASE:
        return CompareMismatch
    return _CLASSES.get(number, Error)


def _message(what: str, code: int, operation: str | None, oid: str | None, detail: str, remedy: str) -> str:
    subject = operation or "operation"
    if oid is not None:
        subject += f" on object {oid!r}"
    name = errno.errorcode.get(code, str(code))
    text = f"{subject}: {what} [{name}]"
    if detail:
        text += f": {detail}"
    return f"{text}; {remedy}" if remedy else text


def make_error(result: int, *, operation: str | None = None, oid: str | None = None, detail: str = "") -> Error:
    """The exception for a negative result, e.g. `make_error(-2, operation="read", oid="a")` → ObjectNotFound."""
    cls = error_class(result)
    if cls is CompareMismatch:
        offset = -result - CMPEXT_BASE
        text = _message(f"bytes differ at index {offset}", errno.ECANCELED, operation, oid, detail, cls.remedy)
        mismatch = CompareMismatch(text, errno=errno.ECANCELED, operation=operation, oid=oid, result=result)
        mismatch.offset = offset
        return mismatch
    code = abs(result)
    text = _message(os.strerror(code), code, operation, oid, detail, cls.remedy)
    return cls(text, errno=code, operation=operation, oid=oid, result=-code)


def outcome_unknown(
    result: int, *, operation: str | None = None, oid: str | None = None, detail: str = ""
) -> OutcomeUnknown:
    """The error of a write that was sent and will never be answered; `result` and `detail` say why the wait ended."""
    code = abs(result)
    text = _message(
        f"the write was sent, its outcome is unknown ({os.strerror(code)})",
        code,
        operation,
        oid,
        detail,
        OutcomeUnknown.remedy,
    )
    return OutcomeUnknown(text, errno=code, operation=operation, oid=oid, result=-code)
